"""A run that is stopped keeps what its open notebooks have judged."""

import sys
import threading

import pytest

from moe_lessons.grade import batches, nbval_run
from moe_lessons.grade.notebook import Answer
from moe_lessons.grade.records import PASSED, Limits, Notebook, Verdict

RUNNER = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
verdict = '{"learner": %d, "exercise": "x", "status": "passed", "findings": [], "misconception": null}'
case = ('<testcase><properties><property name="learner" value="%d"/>'
        '<property name="exercise" value="x"/></properties></testcase>')
try:
    with open("verdicts.jsonl", "w") as file:
        file.write("".join(verdict % number + "\\n" for number in range(3)))
    time.sleep(600)
except KeyboardInterrupt:
    if WRITES:  # of the third cell nbval has not yet seen the end
        with open("junit.xml", "w") as file:
            file.write("<testsuites>" + case % 0 + case % 1 + ("</testsuites>" if WRITES == "whole" else ""))
"""


@pytest.mark.parametrize(("writes", "kept"), [("whole", {0, 1}), ("half", set()), ("", set())])
def test_what_both_have_seen_is_kept(tmp_path, monkeypatch, writes, kept):
    words = [sys.executable, "-c", f"WRITES = {writes!r}\n{RUNNER}"]
    monkeypatch.setattr(nbval_run, "command", lambda *rest: words)
    found = nbval_run.run(tmp_path / "grading.ipynb", Limits(), lambda judged: judged < 3)
    assert {learner for learner, _ in found} == kept
    assert all(verdict.status == PASSED for verdict in found.values())


def test_a_notebook_beside_the_one_that_is_stopped_hands_over_what_it_has():
    begun, kept = threading.Event(), {}

    def run(group, tick):
        if group[0].learner == 0:
            assert begun.wait(60)
            raise KeyboardInterrupt
        assert tick(1)
        begun.set()
        while tick(1):
            begun.wait(0.01)
        return {(1, "x"): Verdict(1, "x", PASSED)}

    answers = [[Answer(place, "x", Notebook("x.ipynb", answers={"x": ""}))] for place in range(4)]
    with pytest.raises(KeyboardInterrupt):
        batches.judge(answers, run, lambda group, found: kept.update(found), lambda *_: None, 2, 1)
    assert set(kept) == {(1, "x")}
