"""A mistake of 17.design that only all budgets together tell: memory filled as far as it goes."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.capstone.costing import NAMES, costs, grid, one, possible
from moe_lessons.exercises.capstone.design_judged import shape_of
from moe_lessons.exercises.capstone.design_mistakes import of_all_budgets
from moe_lessons.exercises.spec import Case, Misconception, Outputs

FULL = 0.95
"""Of the most bytes that any design of the grid takes that fits: what is as full as it goes."""

MEMORY_FILLED = Misconception(
    "memory_filled",
    "Each design takes nearly as much memory as fits. A full memory is no aim: what fills it may be worth "
    "less than fewer parameters that see more text. Of all that fits, keep the one whose *loss* is lowest.",
    detects=lambda case, got, want: False,  # the best design of a budget may fill it: one alone tells nothing
    hint=3,
)


def together(seen: Sequence[tuple[Case, Outputs, Outputs]]) -> str:
    """What the designs for all budgets have in common, where no mistake explains each by itself."""
    filled = all(_full(case, got) for case, got, _ in seen)  # the best designs leave room in some budgets
    return MEMORY_FILLED.id if filled else of_all_budgets(seen)


def _full(case: Case, got: Outputs) -> bool:
    """Whether a design fits, and hardly one that fits takes more."""
    b = {name: float(case.args[name]) for name in NAMES}  # type: ignore[arg-type]
    designs, came = grid(int(b["devices"])), costs(one(shape_of(got)), b)
    cost = costs(designs, b)
    fits = possible(designs, b) & (cost.memory <= b["memory"]) & (cost.seconds <= b["seconds"])
    most = float(np.where(fits, cost.memory, 0.0).max())
    fitting = came.memory[0] <= b["memory"] and came.seconds[0] <= b["seconds"]
    return bool(fitting and came.memory[0] >= FULL * most)
