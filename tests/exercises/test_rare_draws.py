"""Seeds on which chance once spoiled a verdict: a mistake passed, or had no name, or another's."""

import pytest
from test_exercises import planted

from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import judge, local

ONCE_SPOILED = [
    ("06.leaks_future", "choice_not_moved:nudges", 506),  # a choice so near its edge that a nudge moved it
    ("07.capacity", "k_and_e_swapped", 508),  # 3835.0000000000005, rounded up
    ("07.capacity", "k_and_e_swapped", 515),
    ("07.expected_drop_rate", "simulated", 509),  # chance came within 1e-4 of the bell curve
    ("07.expected_drop_rate", "simulated", 514),
    ("07.assignment", "best_pair_first", 507),  # the best pair first was best
    ("07.assignment", "by_score", 830),
    ("10.moe_block", "experts_on_stream", 517),  # large values that cancel, summed in another order
]


@pytest.mark.parametrize(("id", "mistake", "seed"), ONCE_SPOILED)
def test_is_named(id, mistake, seed):
    exercise = registry.exercise(id)
    report = judge(exercise, local(planted(exercise.lesson).WRONG[id][mistake]), seed=seed)
    assert report.status == "failed"
    assert report.misconception is not None
    assert report.misconception.id == mistake.split(":")[0]
