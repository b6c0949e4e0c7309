"""How a class is run: what counts, what happens when something breaks, what a seed means."""

import csv
import json
import sys
from pathlib import Path

import classroom
import jsonschema
import pytest

from moe_lessons.exercises import registry
from moe_lessons.grade import batches, feedback, nbval_run, results, run, tables
from moe_lessons.grade.notebook import Answer, assemble
from moe_lessons.grade.records import (
    CANNOT_RUN,
    FAILED,
    FAULT,
    NOT_FOUND,
    NOT_HANDED_IN,
    OWN,
    PASSED,
    Limits,
    Notebook,
    RefusedError,
    Submission,
    Verdict,
)

LESSON = classroom.LESSONS[0]
MINE = [id for id in classroom.IDS if id.startswith(LESSON.number)]


def submission(name, answers, lesson=LESSON.id, alone=False):
    return Submission(name, (Notebook("one.ipynb", lesson, answers),), alone)


def everything_passes(answers, *rest):
    return {(a.learner, a.exercise): Verdict(a.learner, a.exercise, PASSED) for a in answers}


def graded(submissions, **options):
    return run.grade_class(submissions, seed=1, isolation=OWN, **options).grades


@pytest.fixture
def no_running(monkeypatch):
    monkeypatch.setattr(batches, "run", everything_passes)


@pytest.mark.usefixtures("no_running")
def test_everyone_with_a_folder_is_graded_over_the_same_lessons():
    other = classroom.LESSONS[-1]
    ada = submission("ada", dict.fromkeys(MINE, ""))
    bob = submission("bob", {}, other.id)
    empty = Submission("cy", (), False)
    alone = submission("dan", {MINE[0]: ""}, alone=True)
    grades = graded([ada, bob, empty, alone])
    assert [grade.of for grade in grades] == [LESSON.points + other.points] * 3 + [LESSON.points]
    statuses = {one.exercise: one.verdict.status for one in grades[1].outcomes}
    assert statuses[MINE[0]] == NOT_HANDED_IN
    assert statuses[other.exercises[0].id] == NOT_FOUND
    assert {one.verdict.status for one in grades[2].outcomes} == {NOT_HANDED_IN}


@pytest.mark.usefixtures("no_running")
def test_what_this_machine_cannot_run_costs_no_points_and_is_said(monkeypatch):
    """Kernel exercises where Triton does not exist (macOS): in no maximum, in every result."""
    lesson = next(one for one in classroom.LESSONS if any(e.driver == "kernel" for e in one.exercises))
    kernels = [e.id for e in lesson.exercises if e.driver == "kernel"]
    ada = submission("ada", {e.id: "" for e in lesson.exercises}, lesson.id)
    monkeypatch.setitem(sys.modules, "triton", None)
    found = run.grade_class([ada], seed=1, isolation=OWN)
    points = lesson.points - sum(registry.exercise(id).points for id in kernels)
    assert (found.grades[0].points, found.grades[0].of) == (points, points)
    assert found.not_counted == kernels
    statuses = {one.exercise: one.verdict.status for one in found.grades[0].outcomes}
    assert {id for id, status in statuses.items() if status == CANNOT_RUN} == set(kernels)
    header, row = csv.reader(tables.as_csv(found).splitlines())
    assert dict(zip(header, row, strict=True))[kernels[0]] == ""
    said = results.as_results(found, {})
    jsonschema.validate(said, json.loads((Path(run.__file__).parent / "results.schema.json").read_text()))
    assert said["not_counted"] == kernels
    assert results.read(json.dumps(said), "x").not_counted == kernels
    assert f"Not counted, for lack of Triton, which needs Linux: {kernels[0]}" in tables.as_markdown(found)
    assert feedback.page(found.grades[0], 1, "").count("it counts for no one") == len(kernels)
    monkeypatch.undo()
    monkeypatch.setattr(batches, "run", everything_passes)
    assert run.grade_class([ada], seed=1, isolation=OWN).not_counted == []


@pytest.mark.usefixtures("no_running")
def test_lessons_can_be_chosen():
    (ada,) = graded([submission("ada", dict.fromkeys(classroom.IDS, ""))], lessons=[LESSON.number])
    assert ada.of == LESSON.points
    with pytest.raises(RefusedError, match="no lesson '77'"):
        graded([submission("ada", {})], lessons=["77"])


def test_a_run_that_breaks_is_repeated_for_each_learner_alone(monkeypatch):
    groups = []

    def breaks_for_many(answers, *rest):
        groups.append(sorted({answer.learner for answer in answers}))
        return everything_passes(answers, *rest) if len(groups[-1]) == 1 and groups[-1] != [1] else {}

    monkeypatch.setattr(batches, "run", breaks_for_many)
    grades = graded([submission(name, {MINE[0]: ""}) for name in ("ada", "bob", "cy")], batch=2)
    assert groups == [[0, 1], [2], [0], [1]]
    assert [grade.outcomes[0].verdict.status for grade in grades] == [PASSED, FAULT, PASSED]
    assert grades[1].points == 0


@pytest.mark.parametrize(
    ("learners", "jobs", "sizes"),
    [(1, 2, [1]), (5, 2, [3, 2]), (10, 2, [5, 5]), (12, 2, [3, 3, 3, 3]), (11, 1, [4, 4, 3])],
)
@pytest.mark.usefixtures("no_running")
def test_notebooks_are_of_one_size_and_as_many_as_run_side_by_side(monkeypatch, learners, jobs, sizes):
    groups = []

    def counted(answers, *rest):
        groups.append(len({answer.learner for answer in answers}))
        return everything_passes(answers, *rest)

    monkeypatch.setattr(batches, "run", counted)
    graded([submission(f"l{n}", {MINE[0]: ""}) for n in range(learners)], batch=5, jobs=jobs)
    assert sorted(groups, reverse=True) == sizes


@pytest.mark.parametrize(
    ("status", "passed", "agree"),
    [
        (PASSED, True, True),
        (PASSED, False, False),
        (FAILED, False, True),
        (FAILED, True, False),
        (PASSED, None, False),
    ],
)
def test_judge_and_nbval_must_agree(status, passed, agree):
    assert nbval_run._agree(Verdict(0, MINE[0], status), passed) is agree


def test_junit_cells_that_are_no_passes(tmp_path):
    def case(number, inside="", more=""):
        names = {"learner": number, "exercise": "x", "points": 1}
        properties = "".join(f'<property name="{k}" value="{v}"/>' for k, v in names.items())
        return f"<testcase><properties>{properties}{more}</properties>{inside}</testcase>"

    unseen = '<property name="unseen" value="yes"/>'
    cases = [case(0), case(1, "<failure/>"), case(2, "<error/>"), case(3, "<skipped/>"), case(4, more=unseen)]
    junit = tmp_path / "junit.xml"
    junit.write_text(f"<testsuites><testsuite><testcase/>{''.join(cases)}</testsuite></testsuites>")
    assert dict(nbval_run.cells(junit)) == {(n, "x"): n == 0 for n in range(5)}


def test_the_grading_notebook_holds_no_learner_code(tmp_path):
    built = assemble(
        tmp_path,
        [Answer(0, MINE[0], Notebook("ada.ipynb", answers={MINE[0]: "import this_is_learner_code"}))],
    )
    assert "learner_code" not in str(built)
    exercise = registry.exercise(MINE[0])
    assert (
        built.cells[1].outputs[0].text
        == f"✔ {exercise.id}: passed, {exercise.points} of {exercise.points} points\n"
    )
    assert all(cell.execution_count for cell in built.cells)  # nbval compares nothing without it


def test_a_lesson_has_a_total_time_and_warnings_cost_nothing():
    first, *others = [id for id in classroom.IDS if id.startswith("01.")][:2]
    entry = registry.exercise(first).entry
    endless = {first: f"def {entry}(*args):\n    while True:\n        pass"}  # sleeping would cost nothing
    rest = {id: classroom.ANSWERS[id] for id in others}
    # Slow learner: the second answer finds no time left, be it in another file. Others have their own.
    files = (Notebook("one.ipynb", "01_router", endless), Notebook("two.ipynb", "01_router", rest))
    slow = Submission("slow", files, False)
    noisy = f"import warnings\nwarnings.warn('noise')\nprint('x')\n{classroom.ANSWERS[MINE[0]]}"
    quick = submission("quick", {MINE[0]: noisy})
    grades = graded([slow, quick], limits=Limits(1.5, 1.5))
    found = {one.exercise: one.verdict for one in grades[0].outcomes}
    assert "stopped after 1." in found[first].problem
    assert all("have used up their 1.5 s" in found[id].problem for id in others)
    assert grades[1].outcomes[0].verdict.status == PASSED
