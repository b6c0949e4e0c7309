"""The grouped product in numpy, with the mistakes of exercise 09.grouped_product in it."""

from collections.abc import Callable

import numpy as np

from moe_lessons.exercises.kernel_driver import CLEAN
from moe_lessons.exercises.spec import Case, Outputs
from moe_lessons.exercises.triton_kernels.memory import BLOCK, array, load, tail, turn_tiles

OUT = "out_SD"


def emulate(
    *,
    weight: Callable[..., np.ndarray] = lambda e, n, k, D, F: (e * D + n) * F + k,
    k_mask: bool = True,
    other: float = 0.0,
    steps: slice = slice(None),
    first: Callable[[int, int], int] = lambda block, first: first,
    works: Callable[[int, np.ndarray, int], np.ndarray] = lambda block, n, blocks: n >= 0,
    spare: bool = False,
) -> Callable[[Case], np.ndarray]:
    """The kernel in numpy, with one thing done differently; what it does not write stays NaN."""

    def kernel(case: Case) -> np.ndarray:
        rows_SF, down_EDF, blocks_G2, ends_E, out = (np.asarray(value) for value in case.args.values())
        (n_rows, width), (_, height, _) = rows_SF.shape, down_EDF.shape
        out_SD = np.full(out.shape, np.nan)
        k = np.concatenate(np.split(np.arange(tail(width)), tail(width) // BLOCK)[steps])
        inside = (k < width) if k_mask else np.ones_like(k, bool)
        n = np.arange(height)
        for block, (expert, begin) in enumerate(blocks_G2.tolist()):
            if expert < 0 and not spare:
                continue
            row = first(block, begin) + np.arange(BLOCK)
            row = row[row < min(load(ends_E, np.array(expert)), n_rows)]
            x = load(rows_SF, row[:, None] * width + k, inside, other)
            w = load(down_EDF, weight(expert, n[:, None], k, height, width), inside, other)
            mine = n[works(block, n, len(blocks_G2))]
            out_SD[row[:, None], mine] = (x @ w.T)[:, mine]
        return out_SD

    return kernel


def axes_swapped(case: Case) -> np.ndarray:
    """Blocks and pieces of D exchanged: some of the output is nobody's."""
    n_pieces = tail(array(case, OUT).shape[1]) // BLOCK
    works = emulate(works=lambda block, n, blocks: (block < n_pieces) & (n // BLOCK < blocks))
    return works(case)


def spare_computed(case: Case) -> np.ndarray:
    """Spare blocks come last: they leave NaN, made from what lies before the matrices, in the first rows."""
    out_SD = emulate()(case)
    if (np.asarray(case.args["blocks_G2"])[:, 0] < 0).any():
        out_SD[:BLOCK] = np.nan
    return out_SD


def last_rows_lost(case: Case) -> np.ndarray:
    """Each expert's last row stays unwritten."""
    out_SD = emulate()(case)
    ends_E = array(case, "ends_E")
    out_SD[ends_E[np.diff(ends_E, prepend=0) > 0] - 1] = np.nan
    return out_SD


def columns_beyond(case: Case, got: Outputs, want: Outputs) -> bool:
    """Stores past the end of each row, where D is ragged, and nothing else."""
    memory = str(got["memory"])
    if array(case, OUT).shape[1] % BLOCK == 0:
        return memory == CLEAN
    return "more than once" in memory and "outside " + OUT in memory and "reads" not in memory


def tile_not_turned(case: Case) -> np.ndarray:
    """Each tile of the matrix in its place, transposed."""
    rows_SF, down_EDF, _, ends_E, out = (np.asarray(value) for value in case.args.values())
    x_SF = np.pad(rows_SF.astype(np.float64), ((0, 0), (0, tail(rows_SF.shape[1]) - rows_SF.shape[1])))
    groups = zip(np.split(x_SF, ends_E[:-1]), down_EDF, strict=True)
    return np.concatenate([x @ turn_tiles(w).T for x, w in groups])[:, : out.shape[1]]


def one_row_too_many(case: Case, got: Outputs, want: Outputs) -> bool:
    """The right values, and one row beyond the last expert's end; between experts it is stored twice."""
    out = array(case, OUT)
    near = np.allclose(got[OUT], want[OUT], rtol=1e-2, atol=1e-2)
    return bool(near) and f"writes {out.shape[1]} elements outside {OUT}" in str(got["memory"])
