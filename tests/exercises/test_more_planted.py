"""More wrong answers: those that learners reported or are likely to give, several for one mistake.

`MORE` in a lesson's planted module lists them by exercise, each as (the mistake's id, the answer); None for
the id where the mistake has no name. None may pass at any of 20 seeds, and none may get another's name.
"""

import importlib
import importlib.util
import os

import pytest

from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.kernel_driver import gpu_suits

RUNS_KERNELS = importlib.util.find_spec("triton") is not None and (
    os.environ.get("TRITON_INTERPRET") == "1" or gpu_suits()
)


def more():
    for lesson in registry.lessons():
        planted = importlib.import_module(f"planted.{registry.module(lesson.number)}")
        for exercise in lesson.exercises:
            if RUNS_KERNELS or exercise.driver != "kernel":
                for mistake, answer in getattr(planted, "MORE", {}).get(exercise.id, []):
                    yield pytest.param(exercise, mistake, answer, id=f"{exercise.id}-{answer.__name__}")


@pytest.mark.parametrize(("exercise", "mistake", "answer"), more())
def test_it_fails_at_every_seed_and_is_named(exercise, mistake, answer):
    for seed in range(20):
        report = judge(exercise, local(answer), seed=seed)
        name = report.misconception.id if report.misconception else None
        assert (report.status, name) == ("failed", mistake), f"seed {seed}: {report.findings}"
