"""Grading: a class of submissions in, ``results.json``, grades and a feedback page for each learner out.

The path of a submission: ``submissions`` finds it, ``reading`` takes its answer cells and nothing else,
``notebook`` assembles a grading notebook of our own cells, ``nbval_run`` runs that under nbval, ``batches``
several side by side. Its kernel is trusted: ``session`` judges there, and never executes learner code.
Answers run in a process of their own (``worker``, forked from ``warm``), inside ``sandbox`` and a ``jail``;
it is sent inputs and sends back raw arrays (``wire``, ``messages``). ``records`` holds what came of it;
``resume`` keeps it, ``results``, ``tables`` and ``feedback`` write it down, ``merge`` puts parts together.

For instructors: ``INSTRUCTORS.md`` beside this file.
"""
