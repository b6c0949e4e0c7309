"""What every exercise owes: solution, stub, mistakes that are named, other right answers that pass."""

import importlib
import importlib.util
import os

import numpy as np
import pytest
import torch

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells, without_solution
from moe_lessons.course.checking import card
from moe_lessons.exercises import answers, drivers, registry
from moe_lessons.exercises.crash_table import GENERAL
from moe_lessons.exercises.everywhere import OTHER_DTYPE, SAME_FOR_ALL, SWAPPED, TRANSPOSED, WRITTEN_IN
from moe_lessons.exercises.findings import request, trial
from moe_lessons.exercises.habits import (
    CHANGED,
    LOST,
    PARTLY_LOST,
    TOO_MANY_PRODUCTS,
    TOO_MANY_ROWS,
    asks_gradient,
)
from moe_lessons.exercises.judge import draw, judge, local
from moe_lessons.exercises.kernel_driver import gpu_suits
from moe_lessons.exercises.off_by_size import FACTOR, NORMALISER, NOT_REDUCED, OTHER_AXIS, OTHER_SHAPE
from moe_lessons.exercises.published import published, reference, with_solution
from moe_lessons.exercises.recognise import recognise

SEEDS = (0, 1, 2)
# Triton asks once per process whether to interpret: test_kernel_exercises.py starts a process that does.
RUNS_KERNELS = importlib.util.find_spec("triton") is not None and (
    os.environ.get("TRITON_INTERPRET") == "1" or gpu_suits()
)
EXERCISES = [
    e for lesson in registry.lessons() for e in lesson.exercises if RUNS_KERNELS or e.driver != "kernel"
]


def planted(lesson):
    return importlib.import_module(f"planted.{registry.module(lesson)}")


WRONG = [(e, mistake) for e in EXERCISES for mistake in planted(e.lesson).WRONG[e.id]]
RIGHT = [(e, i) for e in EXERCISES for i in range(len(planted(e.lesson).RIGHT.get(e.id, [])))]


def name(value):
    return getattr(value, "id", str(value))


def answer_cell(exercise):
    lesson = paths.LESSONS / f"{registry.lesson(exercise.lesson).id}.py"
    cells = [cell.source for cell in read_cells(lesson) if cell.metadata.get("answer") == exercise.id]
    assert len(cells) == 1, f"{lesson.name} needs exactly one cell with answer={exercise.id!r}"
    return cells[0]


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_solution_passes(exercise, record_property):
    record_property("exercise test", "solutions")
    answer = answers.load(with_solution(answer_cell(exercise)), exercise.entry)
    for seed in SEEDS:
        report = judge(exercise, local(answer), seed=seed)
        assert report.status == "passed", report.findings


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_stub_is_not_attempted(exercise, record_property):
    record_property("exercise test", "stubs")
    answer = answers.load(without_solution(answer_cell(exercise)), exercise.entry)
    report = judge(exercise, local(answer))
    assert report.status == "not attempted"
    assert report.points == 0


@pytest.mark.parametrize(("exercise", "mistake"), WRONG, ids=name)
def test_wrong_answer_is_named(exercise, mistake, record_property):
    """Each planted answer fails on every seed and is recognised as its own mistake and no other."""
    record_property("exercise test", "planted wrong answers")
    answer = planted(exercise.lesson).WRONG[exercise.id][mistake]
    own = {m.id for m in exercise.misconceptions}
    for seed in SEEDS:
        report = judge(exercise, local(answer), seed=seed)
        assert report.status == "failed"
        if mistake in own:
            found = [m.id for m in named(exercise, answer, seed)]
            assert found == [mistake] or (exercise.together is not None and not found)
        assert report.misconception.id == mistake.split(":")[0]
        assert report.misconception.message in card(report).text
        # What an exercise names itself points to a hint of its own; what every exercise names cannot.
        assert report.misconception.hint in ((1, 2, 3) if mistake in own else (0, 1, 2, 3))


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_a_wrong_answer_that_fails_on_the_last_inputs_is_named_by_the_others(exercise):
    """Never by another's name; most by their own, where there are enough inputs left to tell them apart."""
    own = []
    for mistake in (m.id for m in exercise.misconceptions):
        answer = planted(exercise.lesson).WRONG[exercise.id][mistake]
        last = sum(not case.is_edge for case in draw(exercise, 0)) - 1
        fails = [lambda _: drivers.Failure("exception", "IndexError: empty")]
        replies = iter([local(answer)] * last + fails * len(draw(exercise, 0)))
        report = judge(exercise, lambda request, replies=replies: next(replies)(request))
        assert report.status == "failed"
        assert not report.findings[0].passed
        assert report.misconception is None or report.misconception.id == mistake
        own.append(report.misconception is not None)
    assert sum(own) >= 0.5 * len(own)


@pytest.mark.parametrize(("exercise", "index"), RIGHT, ids=name)
def test_other_right_answer_passes(exercise, index, record_property):
    record_property("exercise test", "alternatives")
    answer = planted(exercise.lesson).RIGHT[exercise.id][index]
    for seed in range(10):  # more of them: a grader's draw must not fail what the notebook's let pass
        report = judge(exercise, local(answer), seed=seed)
        assert report.status == "passed", report.findings


def detached(returned):
    if isinstance(returned, torch.Tensor):
        return returned.detach()
    return tuple(map(detached, returned)) if isinstance(returned, tuple) else returned


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if asks_gradient(e)], ids=name)
def test_right_values_without_their_gradient_are_not_enough(exercise):
    report = judge(exercise, local(lambda *args: detached(exercise.reference(*args))))
    assert report.misconception.id == LOST
    assert card(report).text.count("no gradient reaches") == 2


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if e.driver != "kernel"], ids=name)
def test_right_values_do_not_excuse_a_changed_argument(exercise):
    def answer(*args):
        returned = exercise.reference(*args)
        returned = (
            tuple(r.clone() if isinstance(r, torch.Tensor) else r for r in returned)
            if isinstance(returned, tuple)
            else returned
        )
        for arg in args:
            if isinstance(arg, torch.Tensor) and not arg.requires_grad:
                arg.copy_(~arg if arg.dtype == torch.bool else arg + 1)
        return returned

    report = judge(exercise, local(answer))
    watched = [n for n, a in draw(exercise, 0)[0].args.items() if isinstance(a, np.ndarray)]
    if set(watched) - set(exercise.may_change):
        # Where a gradient is taken, it may need what was overwritten.
        assert report.misconception.id in (CHANGED, "overwritten_for_backward")
    else:
        assert report.status == "passed"


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_exercise_is_complete(exercise):
    wrong, right = planted(exercise.lesson).WRONG[exercise.id], planted(exercise.lesson).RIGHT[exercise.id]
    mistakes = {m.id for m in exercise.misconceptions}
    assert mistakes <= set(wrong)
    # Beside them: errors with a name, and what holds for every exercise ("gradient_lost:in numpy").
    others = {c.id for c in (*exercise.crashes, *GENERAL)} | {
        LOST,
        PARTLY_LOST,
        CHANGED,
        SWAPPED,
        TRANSPOSED,
        WRITTEN_IN,
        OTHER_DTYPE,
        SAME_FOR_ALL,
        TOO_MANY_ROWS,
        TOO_MANY_PRODUCTS,
        FACTOR,
        NORMALISER,
        NOT_REDUCED,
        OTHER_AXIS,
        OTHER_SHAPE,
    }
    assert {m.split(":")[0] for m in wrong} <= mistakes | others
    assert {c.id for c in exercise.crashes} <= {m.split(":")[0] for m in wrong}
    assert len(mistakes) >= 5
    assert len(right) >= 2
    assert exercise.entry in answer_cell(exercise)
    assert 1 <= exercise.difficulty <= 5


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_most_mistakes_look_right(exercise):
    """At least four in five misconceptions return the right shape and dtype: values must give them away."""
    wrong = [planted(exercise.lesson).WRONG[exercise.id][m.id] for m in exercise.misconceptions]
    alike = sum(looks_right(exercise, answer) for answer in wrong)
    assert alike >= 0.8 * len(wrong)


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_draws_follow_the_seed(exercise):
    def arrays(seed):
        return [v for case in draw(exercise, seed) for v in case.args.values() if isinstance(v, np.ndarray)]

    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays(3), arrays(3), strict=True))
    if arrays(3):
        assert any(
            a.shape != b.shape or not np.array_equal(a, b, equal_nan=True)
            for a, b in zip(arrays(3), arrays(4), strict=False)
        )


def named(exercise, answer, seed):
    trials = [trial(exercise, c, local(answer)(request(exercise, c))) for c in draw(exercise, seed)]
    return recognise(exercise, trials)


def looks_right(exercise, answer):
    for case in draw(exercise, 0):
        got = local(answer)(request(exercise, case))
        want = local(exercise.reference)(request(exercise, case))
        if isinstance(got, drivers.Failure) or len(got) != len(want):
            return False
        for g, w in zip(got, want, strict=True):
            if g.dtype != w.dtype or np.shape(g.data) != np.shape(w.data):
                return False
    return True


ALL = [exercise for lesson in registry.lessons() for exercise in lesson.exercises]


@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
def test_after_a_pass_there_is_something_to_notice(exercise):
    """One sentence, and the answer that the lesson publishes."""
    assert 40 < len(exercise.notice) < 240
    assert exercise.notice.endswith(".")
    assert ". " not in exercise.notice.replace("...", "")
    assert exercise.notice.count("`") % 2 == 0
    code = published(exercise.id)
    assert f"def {exercise.entry}(" in code
    assert "SOLUTION" not in code
    assert '"""' not in code
    assert code != reference(exercise)  # that stands in where no lesson is found


def test_no_two_exercises_say_the_same_to_notice():
    assert len({exercise.notice for exercise in ALL}) == len(ALL)
