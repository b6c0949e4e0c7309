"""What goes wrong in 09.down_gradient, by name."""

from collections.abc import Callable

import numpy as np

from moe_lessons.exercises.spec import Case, Outputs
from moe_lessons.exercises.triton_kernels.memory import (
    BLOCK,
    GROWING_NUMBER,
    PYTHON_ONLY,
    array,
    computes,
    either,
    load,
    mistake,
    reads_beyond,
    rounds,
    tail,
    turn_tiles,
)

OUT, LONG = "d_down_EDF", "a long sum"


def _emulate(
    *,
    start: Callable[[int, np.ndarray], int] = lambda e, ends_E: int(ends_E[e - 1]) if e else 0,
    masks: Callable[[int, int], int] | None = lambda end, n_rows: end,
    other: float = 0.0,
    last_step: bool = False,
    mean: bool = False,
) -> Callable[[Case], np.ndarray]:
    """The kernel in numpy, with one thing done differently."""

    def emulate(case: Case) -> np.ndarray:
        grad_SD, act_SF, ends_E, out = (np.asarray(value) for value in case.args.values())
        out_EDF = np.zeros(out.shape)
        for e, end in enumerate(ends_E.tolist()):
            begin = start(e, ends_E)
            row = begin + np.arange(tail(max(0, end - begin)))[-BLOCK if last_step else None :]
            inside = (row < masks(end, len(grad_SD)))[:, None] if masks else True
            grad, act = (
                load(rows, row[:, None] * rows.shape[1] + np.arange(rows.shape[1]), inside, other)
                for rows in (grad_SD, act_SF)
            )
            out_EDF[e] = grad.T @ act / (max(1, end - begin) if mean else 1)
        return out_EDF

    return emulate


def _from_zero(case: Case) -> np.ndarray:
    grad_SD, act_SF, ends_E, out = (np.asarray(value, np.float64) for value in case.args.values())
    out_EDF = np.zeros(out.shape)
    for e, (begin, end) in enumerate(zip([0, *ends_E[:-1]], ends_E, strict=True)):
        rows = slice(0, min(tail(int(end - begin)), int(end)))
        out_EDF[e] = grad_SD[rows].T @ act_SF[rows]
    return out_EDF


def _empty_unwritten(case: Case) -> np.ndarray:
    counts_E = np.diff(np.asarray(case.args["ends_E"]), prepend=0)
    return np.where((counts_E > 0)[:, None, None], _emulate()(case), np.nan)


def _transposed(case: Case) -> np.ndarray:
    right_EDF = _emulate()(case)
    return np.asarray(right_EDF.transpose(0, 2, 1).reshape(right_EDF.shape))


def _axes_swapped(case: Case) -> np.ndarray:
    right_EDF = _emulate()(case)
    _, d, f = np.indices(right_EDF.shape)
    m_pieces, n_pieces = (tail(size) // BLOCK for size in right_EDF.shape[1:])
    return np.where((d // BLOCK < n_pieces) & (f // BLOCK < m_pieces), right_EDF, np.nan)


def _first_start(*, strays: bool) -> Callable[[Case, Outputs, Outputs], bool]:
    """Expert 0's start is what stands before `ends_E`, or what stands for a masked load: the same number."""
    same = computes(OUT, _emulate(start=lambda e, ends_E: int(load(ends_E, np.array(e - 1)))))

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        return same(case, got, want) and ("outside ends_E" in got["memory"]) == strays

    return detects


def _tile_not_turned(case: Case) -> np.ndarray:
    grad_SD, act_SF, ends_E, out = (np.asarray(value) for value in case.args.values())
    found = []
    for grad, act in zip(np.split(grad_SD, ends_E[:-1]), np.split(act_SF, ends_E[:-1]), strict=True):
        act = np.pad(act.astype(np.float64), ((0, tail(len(act)) - len(act)), (0, 0)))
        found.append((turn_tiles(grad).T @ act)[: out.shape[1]])
    return np.stack(found)


def _stored_whole(case: Case) -> np.ndarray:
    """Whole tiles, zeros beyond the edge, stored in the interpreter's order: a later one wipes out a part."""
    right_EDF = _emulate()(case)
    n_experts, height, width = right_EDF.shape
    flat = np.zeros(right_EDF.size + BLOCK * (width + 1))
    for e, d, f in np.ndindex(n_experts, tail(height) // BLOCK, tail(width) // BLOCK):
        d_tile, f_tile = d * BLOCK + np.arange(BLOCK), f * BLOCK + np.arange(BLOCK)
        inside = (d_tile < height)[:, None] & (f_tile < width)
        source = (e * height + d_tile[:, None]) * width + f_tile
        flat[source] = load(right_EDF, np.where(inside, source, 0), inside)
    return flat[: right_EDF.size].reshape(right_EDF.shape)


MISTAKES = (
    mistake(
        "empty_not_written",
        computes(OUT, _empty_unwritten),
        1,
        "The gradient of an expert without rows was never written: what stands there is what was in "
        "memory before, and the optimiser will take it for a gradient. Its sum has no terms, and is "
        "zero. Store it all the same.",
    ),
    mistake(
        "before_the_first",
        _first_start(strays=True),
        2,
        "Expert 0's rows were taken to begin at `ends_E[-1]`. In Python that is the last element; a "
        "pointer reads what lies *before* the tensor. Expert 0 begins at row 0: mask that load, with "
        "`other=0`.",
    ),
    mistake(
        "start_without_other",
        _first_start(strays=False),
        2,
        "Expert 0's rows do not begin at 0: the load of `ends_E[e - 1]` is masked, as it must be, but "
        "nothing says what stands in its place. The interpreter would give 0; on a GPU it is undefined "
        "(here it was made another number, so that it shows). Say `other=0`.",
    ),
    mistake(
        "all_rows_before",
        computes(OUT, _emulate(start=lambda e, ends_E: 0)),
        1,
        "Each expert's sum begins at row 0, so it includes the rows of all experts before it. Begin "
        "where the expert before ends.",
    ),
    mistake(
        "no_row_mask",
        either(*(computes(OUT, _emulate(masks=m)) for m in (None, lambda end, n_rows: n_rows))),
        2,
        "The last step takes BLOCK rows, and some of them are the next expert's, or nobody's. Here rows "
        "are what is *summed*, so each of them changes the result. Mask both loads at *this* "
        "expert's end.",
    ),
    mistake(
        "begins_at_its_end",
        computes(OUT, lambda case: 0 * _emulate()(case)),
        2,
        "Every gradient is zero: each expert's rows were taken to begin at its own end. They begin "
        "where the expert before it ends, `ends_E[e - 1]`.",
    ),
    mistake(
        "counted_from_zero",
        computes(OUT, _from_zero),
        3,
        "The loop runs as often as the expert has rows, but from row 0: expert 0's rows over and over. "
        "Let it run from the expert's start to its end.",
    ),
    mistake(
        "activations_unmasked",
        reads_beyond(OUT, "act_SF", ("grad_SD",), lambda case: array(case, "act_SF").shape[1] % BLOCK != 0),
        2,
        "The load of the activations lacks its mask along F: the last piece runs into the next row, "
        "and past the end of the tensor. Nobody keeps these columns; but on a GPU the read itself is "
        "out of bounds.",
    ),
    mistake(
        "no_other",
        computes(OUT, _emulate(other=np.nan)),
        2,
        "The masked loads do not say what stands where the mask is false, and here these rows are summed "
        "over. On a GPU it is undefined (here it was made NaN, so that it shows). Say `other=0.0`.",
    ),
    mistake(
        "transposed",
        computes(OUT, _transposed),
        3,
        "The numbers are right and lie in the wrong places: the tile was stored as [F, D]. The gradient "
        "has the shape of the weight, [E, D, F]: one step along D is F elements.",
    ),
    mistake(
        "tile_not_turned",
        computes(OUT, _tile_not_turned),
        3,
        "The gradient's tile was loaded as [rows, D] and went into `tl.dot` like that. The sum runs over "
        "the rows, so they must be the first factor's *second* axis. BLOCK by BLOCK tiles hide it: no "
        "shape can warn you.",
    ),
    mistake(
        "last_step_only",
        computes(OUT, _emulate(last_step=True)),
        3,
        "Experts with more than BLOCK rows lost all but their last rows: each step of the loop replaced "
        "the one before. The accumulator goes in and out: `acc = tl.dot(a, b, acc)`.",
    ),
    mistake(
        "mean",
        computes(OUT, _emulate(mean=True)),
        1,
        "Each expert's gradient was divided by its number of rows. A loss may be a mean over all tokens, "
        "and that is in `grad_SD` already. The gradient of a matrix that is used many times is a sum.",
    ),
    mistake(
        "half_accumulator",
        rounds(OUT, LONG),
        3,
        "Right for few rows, off for many: the partial sums were kept in fp16. A popular expert sums "
        "over thousands of rows; there, 2048 + 0.75 is 2048. Accumulate in fp32 and round once.",
    ),
    mistake(
        "axes_swapped",
        computes(OUT, _axes_swapped),
        1,
        "Part of the gradient was never written. The grid is (experts, pieces of D, pieces of F): "
        "`tl.program_id(1)` counts along D, `tl.program_id(2)` along F. They are swapped here.",
    ),
    mistake(
        "no_store_mask",
        computes(OUT, _stored_whole),
        2,
        "Tiles at the edge were stored whole: past the end of a row lies the next row, which lost part "
        "of what its own program had written, and past the last expert lies someone else's memory. The "
        "store needs a mask along D *and* along F.",
    ),
    GROWING_NUMBER,
    PYTHON_ONLY,
)
