"""Exercise 08.grouped_product: one product per expert, on its own rows, from the ends alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.dispatch.draws import floats
from moe_lessons.exercises.dispatch.product_mistakes import MISTAKES
from moe_lessons.exercises.spec import Case, Crash, Exercise, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Idle experts in the middle and at the end; rows that nobody owns; a square matrix; no rows.

    D and F are multiples of 4, so that `F.grouped_mm` takes them, and shows what it leaves unwritten. In the
    rows that nobody owns stands NaN, as in a buffer that was never filled.
    """

    def case(sizes: Sequence[int], unowned: int, D: int, F: int, note: str) -> Case:
        rows_SD = floats(rng, sum(sizes) + unowned, D)
        rows_SD[sum(sizes) :] = np.nan
        args = {
            "rows_SD": rows_SD,
            "matrices_EDF": floats(rng, len(sizes), D, F),
            "ends_E": np.cumsum(sizes).astype(np.int64),
        }
        return Case(f"group sizes {', '.join(map(str, sizes))}{note}", args)

    a, b, c = (int(size) for size in rng.integers(2, 6, size=3))
    return [
        case((a, 1, b), 0, 4, 4, "; D = F"),
        case((b, 0, 0, c, a, 0), 0, 8, 4, ""),
        case((c, 0, a), 3, 4, 8, " and 3 rows of no expert"),
        case((0, 0), 0, 8, 4, ""),
    ]


def reference(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """Cut at the ends, multiply, fill up with zeros."""
    # Lessons build with this until an answer passes; `matrices_EDF[e]` would make its backward slow.
    sizes = torch.diff(ends_E, prepend=ends_E.new_zeros(1)).tolist()
    groups = rows_SD[: sum(sizes)].split(sizes)
    results = [group @ matrix for group, matrix in zip(groups, matrices_EDF.unbind(0), strict=True)]
    return torch.cat([*results, rows_SD.new_zeros(len(rows_SD) - sum(sizes), matrices_EDF.shape[2])])


def _unowned_zero(case: Case, got: Outputs, want: Outputs) -> str | None:
    end = int(np.asarray(case.args["ends_E"])[-1])
    if np.any(got["result_SF"][end:] != 0):
        return f"rows from position {end} on belong to no expert: they must come out as zeros"
    if np.any(got["d_rows_SD"][end:] != 0):  # `F.grouped_mm` writes nothing there in its backward either
        return f"rows from position {end} on come out as zeros, but get a gradient: it must be zero too"
    return None


def _idle_zero(case: Case, got: Outputs, want: Outputs) -> str | None:
    ends = np.asarray(case.args["ends_E"])
    for e, size in enumerate(np.diff(ends, prepend=0)):
        if size == 0 and np.any(got["d_matrices_EDF"][e] != 0):
            return f"expert {e} has no rows, so its matrix must have a gradient of zero"
    return None


GROUPED_PRODUCT = Exercise(
    id="08.grouped_product",
    title="The grouped product",
    task=(
        "Rows lie sorted by expert, and `ends_E[e]` is the first position that no longer belongs to expert "
        "e. Multiply every row with the matrix of its expert: `[S, F]`. Experts without rows do nothing; "
        "rows from `ends_E[-1]` on belong to nobody: anything may stand in them, NaN too, and they come "
        "out as zeros. Gradients must reach rows and matrices."
    ),
    entry="grouped_product",
    points=3,
    minutes=15,
    difficulty=3,
    outputs=(
        Output("result_SF", "SF"),
        Output("d_rows_SD", "SD"),
        Output("d_matrices_EDF", "EDF"),
    ),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0, 1]},
    properties=(
        Property("rows of no expert are zero", _unowned_zero, early=True),
        Property("idle experts have no gradient", _idle_zero),
    ),
    misconceptions=MISTAKES,
    crashes=(
        Crash(
            "ends_for_sizes",
            "`split` takes sizes, and these do not add up to the {n} rows. `ends_E` holds ends: an expert's "
            "size is its end minus the one before. The rows of nobody are one more group.",
            pattern=r"split_with_sizes expects split_sizes to sum exactly to (?P<n>\d+)",
            hint=3,
        ),
    ),
    hints=(
        "With ends 3, 3, 7: which positions are expert 0's, expert 1's, expert 2's? Where does each begin?",
        "Cut the rows into E + 1 groups (`torch.split` takes a list of sizes, zeros allowed), multiply each "
        "with its matrix, and `torch.cat` the results.",
        "`sizes = torch.diff(ends_E, prepend=ends_E.new_zeros(1)).tolist()`; what is left over, "
        "`len(rows_SD) - sum(sizes)` rows, gets `new_zeros`.",
    ),
    notice="The rows of nobody are left out, not multiplied and then zeroed: NaN times 0 is NaN.",
)
