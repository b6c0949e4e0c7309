"""What goes wrong in 08.grouped_product, by name."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Misconception, Outputs


def _by_slices(rows_SD: Tensor, matrices_EDF: Tensor, bounds: list[int]) -> Tensor:
    """Expert e gets the rows from bounds[e] up to bounds[e + 1], excluded."""
    parts_SF = rows_SD.new_zeros(len(rows_SD), matrices_EDF.shape[2])
    for e, (start, end) in enumerate(pairwise(bounds)):
        placed = rows_SD[start:end] @ matrices_EDF[e]
        parts_SF = torch.cat([parts_SF[:start], placed, parts_SF[start + len(placed) :]])
    return parts_SF


def _by_owner(rows_SD: Tensor, matrices_EDF: Tensor, owner_S: Tensor) -> Tensor:
    """Row s goes to expert owner_S[s]; to none if there is no such expert."""
    parts_SF = rows_SD.new_zeros(len(rows_SD), matrices_EDF.shape[2])
    for e, matrix_DF in enumerate(matrices_EDF):
        (mine,) = torch.where(owner_S == e)  # not a mask to multiply with: 0 times NaN is NaN
        parts_SF = parts_SF.index_add(0, mine, rows_SD[mine] @ matrix_DF)
    return parts_SF


def _owners(rows_SD: Tensor, ends_E: Tensor) -> Tensor:
    return torch.searchsorted(ends_E, torch.arange(len(rows_SD)), right=True)


def _owned_by(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A mistake in who owns a row: change gets the right owners and the ends."""

    def wrong(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
        return _by_owner(rows_SD, matrices_EDF, change(_owners(rows_SD, ends_E), ends_E))

    return wrong


def _ends_as_starts(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return owner_S - 1


def _last_row_lost(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return torch.where(torch.isin(torch.arange(len(owner_S)) + 1, ends_E), -1, owner_S)


def _one_too_many(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return torch.searchsorted(ends_E, torch.arange(len(owner_S)), right=False)


def _one_too_many_owned(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return torch.where(owner_S < len(ends_E), _one_too_many(owner_S, ends_E), owner_S)


def _tail_to_last(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return owner_S.clamp(max=len(ends_E) - 1)


def _ends_as_sizes(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    return _by_slices(rows_SD, matrices_EDF, [0, *ends_E.cumsum(0).tolist()])


def _idle_forgotten(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    return _by_slices(rows_SD, matrices_EDF, sorted({0, *ends_E.tolist()}))


def _transposed(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    return _by_slices(rows_SD, matrices_EDF.mT, [0, *ends_E.tolist()])


def _detached(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether the product is right, and each gradient either right or missing."""
    return _close(got["result_SF"], want["result_SF"]) and all(
        _close(got[name], want[name]) or not np.any(got[name]) for name in ("d_rows_SD", "d_matrices_EDF")
    )


def _all_before(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """Every expert begins at row 0; the later one writes over the earlier."""
    last_S = torch.where(torch.arange(len(rows_SD)) < ends_E[-1], len(ends_E) - 1, -1)
    return _by_owner(rows_SD, matrices_EDF, last_S)


def _owned_only(rows_SD: Tensor, matrices_EDF: Tensor, ends_E: Tensor) -> Tensor:
    return _by_slices(rows_SD, matrices_EDF, [0, *ends_E.tolist()])[: ends_E[-1]]


def _first_for_all(owner_S: Tensor, ends_E: Tensor) -> Tensor:
    return torch.where(owner_S < len(ends_E), 0, owner_S)


def _tail_not_zero(case: Case, got: Outputs, want: Outputs) -> bool:
    """All right where somebody owns the rows; behind the last end anything but zeros, in any of the three."""
    end = int(np.asarray(case.args["ends_E"])[-1])
    owned = [("result_SF", end), ("d_rows_SD", end), ("d_matrices_EDF", None)]
    if end == len(np.asarray(case.args["rows_SD"])):
        return all(_close(got[name], want[name]) for name, _ in owned)
    if np.isnan(got["result_SF"][end:]).any() and not np.any(got["d_rows_SD"][end:]):
        owned = owned[:2]  # multiplied away: the matrices' gradients may be NaN for it too
    fine = all(_close(got[name][:stop], want[name][:stop]) for name, stop in owned)
    return fine and bool(np.any(got["result_SF"][end:] != 0) or np.any(got["d_rows_SD"][end:] != 0))


def _masked_gradient(case: Case, got: Outputs, want: Outputs) -> bool:
    """The result is right, and NaN reaches the matrices' gradients through rows that nobody owns."""
    if not np.isnan(np.asarray(case.args["rows_SD"])).any():
        return all(_close(got[name], want[name]) for name in ("result_SF", "d_matrices_EDF"))
    return _close(got["result_SF"], want["result_SF"]) and bool(np.isnan(got["d_matrices_EDF"]).any())


def _close(got: Any, want: Any) -> bool:
    return np.shape(got) == np.shape(want) and np.allclose(np.asarray(got), np.asarray(want), 1e-4, 1e-5)


MISTAKES = (
    Misconception(
        "ends_as_starts",
        "Each expert works on the next expert's rows, and the first group on nothing: the ends were read "
        "as starts. Expert 0 begins at 0, and everyone else where the one before ends.",
        wrong=_owned_by(_ends_as_starts),
        hint=1,
    ),
    Misconception(
        "last_row_lost",
        "The last row of every group is missing. The end is excluded already, as in a Python slice; "
        "take nothing off.",
        wrong=_owned_by(_last_row_lost),
        hint=1,
    ),
    Misconception(
        "one_too_many",
        "The first row of each group went to the expert before. A row at position `ends_E[e]` is no "
        "longer e's: look at which side your comparison takes when they are equal.",
        wrong=_owned_by(_one_too_many),
        also=(_owned_by(_one_too_many_owned),),
        hint=1,
    ),
    Misconception(
        "idle_forgotten",
        "As soon as an expert has no rows, all later groups meet the wrong matrix. An idle expert has an "
        "empty group, but its matrix still has its number.",
        wrong=_idle_forgotten,
        hint=2,
    ),
    Misconception(
        "tail_to_last",
        "The last expert took the rows that belong to nobody. Buffers are often larger than the load; "
        "what lies beyond the last end must not count, in the gradients either.",
        wrong=_owned_by(_tail_to_last),
        hint=3,
    ),
    Misconception(
        "tail_not_zero",
        "Right for every row that somebody owns; the rows behind the last end do not come out as "
        "zeros. They were written by nobody (`new_empty`, and `F.grouped_mm`, leave there what was in "
        "memory before), or multiplied with zeros, and 0 times NaN is NaN. Write zeros; and select "
        "rows (a slice, `torch.where`) rather than multiplying them away.",
        detects=_tail_not_zero,
        hint=3,
    ),
    Misconception(
        "masked_gradient",
        "The result is right, but all rows went through the product and the wrong ones were masked "
        "afterwards. In the backward pass the NaN of a row that nobody owns is multiplied with 0, and "
        "the matrix's gradient is NaN. Take the expert's rows out *before* the product.",
        detects=_masked_gradient,
        hint=2,
    ),
    Misconception(
        "all_rows_before",
        "Each expert took all rows up to its end, and so overwrote those of the experts before it. Its "
        "rows begin where the expert before it ends: move the start along.",
        wrong=_all_before,
        hint=1,
    ),
    Misconception(
        "owned_only",
        "The rows behind the last end are missing. The result has as many rows as came in; those that "
        "nobody owns are zeros.",
        wrong=_owned_only,
        hint=3,
    ),
    Misconception(
        "ends_as_sizes",
        "The ends were used as group sizes. They are running sums: a size is the difference of two.",
        wrong=_ends_as_sizes,
        hint=1,
    ),
    Misconception(
        "transposed",
        "It fits where D = F, and nowhere else: here a matrix is stored [D, F], input first, so that "
        "`rows @ matrix` needs no transpose.",
        wrong=_transposed,
        hint=2,
    ),
    Misconception(
        "first_matrix_for_all",
        "Every row met the first expert's matrix. Matrix e belongs to the rows between two ends.",
        wrong=_owned_by(_first_for_all),
        hint=1,
    ),
    Misconception(
        "detached",
        "The product is right, but no gradient comes back to the rows, the matrices, or both: a value "
        "was copied out of the graph (`.detach()`, `.data`, `.numpy()`, `torch.tensor(...)`), or none "
        "was recorded (`torch.no_grad()`).",
        detects=_detached,
        hint=2,
    ),
)
