"""Grading: a class of submissions in, ``results.json``, grades and a feedback page for each learner out.

The path of a submission: ``submissions`` finds it, ``reading`` takes its answer cells and nothing else,
``notebook`` assembles a grading notebook of our own cells, ``nbval_run`` runs that under nbval. Its kernel is
trusted: ``session`` judges there, and never executes learner code. Answers run in a process of their own
(``worker``, forked from ``warm``), which is sent inputs and sends back raw arrays (``wire``, ``messages``).
``records`` holds what came of it; ``results``, ``tables`` and ``feedback`` write it down.

Limits of this version: it separates processes and limits time and memory, but it is no security sandbox.
Grade only code that you trust, or grade inside a container.
"""
