"""Values that no exercise asks for: the judge says that they are wrong, and does not fall over itself."""

import dataclasses

import numpy as np
import pytest
import torch

from moe_lessons.exercises import drivers, registry
from moe_lessons.exercises.drivers import Value
from moe_lessons.exercises.findings import request
from moe_lessons.exercises.judge import draw, judge

QUICK = [e for lesson in registry.lessons() for e in lesson.exercises if e.driver in ("call", "gradient")]
ODD = {
    "text": lambda value: "moe",
    "the largest whole number": lambda value: np.full(np.shape(value), 2**63 - 1),
    "nothing of many axes": lambda value: np.zeros((0,) * 16, dtype=np.float32),
}


def made_odd(reply, odd):
    return tuple(Value(data, str(getattr(data, "dtype", type(data).__name__))) for data in map(odd, reply))


def without_wrong_functions(exercise):
    """Only misconceptions that look at the odd values; the others compute their own, which takes long."""
    looking = tuple(m for m in exercise.misconceptions if m.detects is not None)
    return dataclasses.replace(exercise, misconceptions=looking)


LOOKING = [one for one in map(without_wrong_functions, QUICK) if one.canonical or one.properties]


@pytest.mark.parametrize("exercise", LOOKING, ids=lambda e: e.id)
def test_no_exercise_stumbles(exercise):
    """An error of the judge's own would count as the grader's fault, not as the answer's."""
    right = [drivers.run(exercise.reference, request(exercise, case)) for case in draw(exercise, 7)]
    for name, odd in ODD.items():
        told = iter([made_odd([value.data for value in reply], odd) for reply in right])
        report = judge(exercise, lambda request, told=told: next(told), seed=7)
        assert report.status == "failed", name
        assert any(finding.passed is False and finding.detail for finding in report.findings), name


def test_an_id_of_two_to_the_sixty_three():
    """NumPy's ``bincount`` writes outside its memory for this number: it must not get there."""
    exercise = registry.exercise("07.assignment")

    def answer(scores_TE, capacity):
        return torch.full((len(scores_TE),), 2**63 - 1), 0.0, 1e9

    report = judge(exercise, lambda req: drivers.run(answer, req), seed=7)
    problem = next(finding.detail for finding in report.findings if finding.passed is False)
    assert "an expert's id is 9223372036854775807" in problem
