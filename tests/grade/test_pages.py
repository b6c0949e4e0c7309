"""A learner's page says what ``check`` says, and no submission makes it large."""

import json

import classroom
import pytest

from moe_lessons.course import checking
from moe_lessons.exercises import answers, registry
from moe_lessons.exercises.judge import judge, local
from moe_lessons.grade import feedback, results, submissions
from moe_lessons.grade.escape import prose
from moe_lessons.grade.records import OWN, ClassGrades, Grade, Limits, Notebook, Outcome, Submission, Verdict

EXERCISE = registry.exercise("01.router_logits")
UNNAMED = {
    "right values, another shape": "h, w = args\n    return (h @ w.T)[None]",
    "three times too large": "return 3 * (args[0].float() @ args[1].float().T)",
    "an error": "return args[0] @ args[1].T @ undefined",
    "nothing": "pass",
}


def judged(body):
    code = f"def {EXERCISE.entry}(*args):\n    {body}"
    return judge(EXERCISE, local(answers.load(code, EXERCISE.entry)), seed=5)


def page(report):
    mistake = report.misconception
    verdict = Verdict(
        0,
        EXERCISE.id,
        report.status,
        report.line,
        tuple((f.name, f.passed, f.detail) for f in report.findings),
        mistake and (mistake.id, mistake.message, mistake.hint),
        observation=report.observation,
    )
    outcome = Outcome(EXERCISE.id, EXERCISE.title, 0, EXERCISE.points, verdict)
    return feedback.page(Grade(Submission("ada", (), False), (outcome,)), 5, "")


@pytest.mark.parametrize("body", UNNAMED.values(), ids=UNNAMED)
def test_check_and_the_page_say_the_same(body):
    report = judged(body)
    said, written = checking.card(report).text, page(report)
    assert ("What agrees" in said) == ("What agrees" in written) == bool(report.observation)
    assert prose(report.observation) in written
    assert ("What may have happened" in said) == ("What may have happened" in written)
    assert ("Mend this first" in said) == ("Mend this first" in written)
    assert ("not a mistake we know by name" in said) == ("not a mistake we know by name" in written)
    for finding in report.findings:
        assert (finding.passed is not None) == (prose(finding.name) in written)


def test_some_of_these_have_something_that_agrees():
    assert any(judged(body).observation for body in UNNAMED.values())


def test_however_much_is_said_a_page_stays_small():
    """Two hundred files with twenty warnings each, names as long as there are, all answers in all of them."""
    name = "x" * 200
    files = tuple(
        Notebook(f"{number}-{name}", "01_router", dict.fromkeys(classroom.IDS, "x"), ("<" * 10_000,) * 20)
        for number in range(200)
    )
    findings = (("n" * 100, False, "<" * 1000),) * 12
    outcomes = tuple(
        Outcome(id, "t", 0, 1, Verdict(0, id, "failed", "", findings, observation="o" * 500))
        for id in classroom.IDS
    )
    grade = Grade(Submission("ada", files, False), outcomes)
    assert len(grade.submission.warnings) == 101
    assert grade.submission.warnings[-1].startswith("and 39")
    small = 5 << 20
    assert len(feedback.page(grade, 1, "").encode()) < small
    graded = ClassGrades((grade,), 1, Limits(), OWN, ("01",))
    assert len(results.as_text(graded, {})) < small


def test_one_learner_does_not_fill_the_grader(tmp_path, monkeypatch):
    """Files full of answers, files that take the reader's whole time, paths without end."""
    monkeypatch.setattr(submissions, "_MOST_TEXT", 1000)
    long = "/".join(["d" * 200] * 8)
    for folder, length in (("ada", 400), ("bob", 10)):
        (tmp_path / folder / long).mkdir(parents=True)
        for number in range(5):
            cell = {"cell_type": "code", "metadata": {"moe_lessons": {"answer": EXERCISE.id}}}
            cell["source"] = f"def {EXERCISE.entry}(*args):\n    return {number} # {'x' * length}"
            text = json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]})
            (tmp_path / folder / long / f"{number}.ipynb").write_text(text, encoding="utf-8")
    ada, bob = submissions.collect(tmp_path)
    assert [bool(notebook.answers) for notebook in ada.notebooks] == [True, True, False]
    assert "more than 1,000 characters of answers" in ada.notebooks[-1].problem
    assert len(bob.notebooks) == 5
    assert all(len(notebook.file) < 210 for notebook in bob.notebooks)
    monkeypatch.setattr(submissions, "read", lambda path, name: Notebook(name, problem=submissions.TOO_MUCH))
    (tmp_path / "cy.ipynb").write_text("{}")
    monkeypatch.setattr(submissions, "_require_something", lambda *found: None)
    found = {one.learner: one for one in submissions.collect(tmp_path)}
    assert len(found["ada"].notebooks) == 4
    assert found["ada"].notebooks[-1].problem.startswith("3 files too large")
