"""Exercise 09.grouped_product: each expert's rows times that expert's matrix, tile by tile."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Outputs, Plain
from moe_lessons.exercises.triton_kernels.memory import (
    BLOCK,
    GROWING_NUMBER,
    PYTHON_ONLY,
    SIZES,
    array,
    computes,
    kernel,
    mistake,
    reads_beyond,
    rounds,
    strays,
)
from moe_lessons.exercises.triton_kernels.product_emulated import (
    OUT,
    axes_swapped,
    columns_beyond,
    emulate,
    last_rows_lost,
    one_row_too_many,
    spare_computed,
    tile_not_turned,
)

LONG = "a long sum"


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Ragged everywhere with an empty expert; whole steps of F; a sum that needs more than half precision."""
    cases = [
        _case(rng, "", [5, 0, 19], d_expert=20, d_model=18),
        _case(rng, "", [16, 7], d_expert=16, d_model=33),
        _case(rng, LONG + ", ", [3, 2], d_expert=80, d_model=16),
    ]
    rows_SF, down_EDF = np.asarray(cases[2].args["rows_SF"]), np.asarray(cases[2].args["down_EDF"])
    # 2048, then three times 0.75, then -2048: in half precision 2048 + 0.75 is 2048.
    rows_SF[:], down_EDF[:] = 1, 0
    down_EDF[:, :, [0, 16, 32, 48, 64]] = [2048, 0.75, 0.75, 0.75, -2048]
    rows_SF[:, [16, 32, 48]] = rng.uniform(0.8, 1.2, (len(rows_SF), 3))
    return cases


def _case(rng: np.random.Generator, name: str, counts: list[int], d_expert: int, d_model: int) -> Case:
    n_rows, n_experts = sum(counts), len(counts)
    ends_E = np.cumsum(counts)
    blocks = [(e, first) for e, end in enumerate(ends_E) for first in range(end - counts[e], end, BLOCK)]
    blocks += [(-1, 0)] * (n_rows // BLOCK + min(n_experts, n_rows) - len(blocks))
    args: dict[str, Plain] = {
        "rows_SF": rng.standard_normal((n_rows, d_expert)).astype(np.float16),
        "down_EDF": (rng.standard_normal((n_experts, d_model, d_expert)) / 4).astype(np.float16),
        "blocks_G2": np.array(blocks, np.int32),
        "ends_E": ends_E.astype(np.int32),
        OUT: np.full((n_rows, d_model), np.nan, np.float16),
    }
    return Case(f"{name}rows per expert {counts}, F={d_expert}, D={d_model}", args)


def reference(rows_SF: Tensor, down_EDF: Tensor, blocks_G2: Tensor, ends_E: Tensor, out_SD: Tensor) -> None:
    """Each expert's rows times its matrix, in fp32."""
    groups = rows_SF.float().tensor_split(ends_E[:-1].tolist())
    out_SD.copy_(torch.cat([rows @ w.T for rows, w in zip(groups, down_EDF.float(), strict=True)]))


_strays_along = strays(OUT, ("outside " + OUT, "outside rows_SF"), ("outside down_EDF",))


def _without_end(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whole blocks of rows that are not the expert's, and not one row, which has a name of its own."""
    return _strays_along(case, got, want) and not one_row_too_many(case, got, want)


GROUPED_PRODUCT = Exercise(
    id="09.grouped_product",
    title="The grouped matrix product",
    task=(
        "Write the kernel behind `grouped_product`: row p of `out_SD` becomes `down_EDF[e] @ rows_SF[p]`, "
        "where e is the expert that row p belongs to. One program computes a tile of BLOCK rows by BLOCK "
        "columns: its expert and first row stand in `blocks_G2` (a spare block has expert -1: return at "
        "once), the expert's rows end before `ends_E[e]`. Walk over F in steps of BLOCK, with `tl.dot`, and "
        "add up in fp32: the inputs are fp16. `out_SD` arrives full of NaN; write each element once." + SIZES
    ),
    entry="grouped_product",
    points=5,
    minutes=30,
    difficulty=4,
    **kernel(OUT, "SD", "rows_SF", "down_EDF", "blocks_G2", "ends_E", OUT),
    draw=draw,
    reference=reference,
    misconceptions=(
        mistake(
            "no_f_mask",
            computes(OUT, emulate(k_mask=False)),
            2,
            "The last step over F runs past the end of the rows: it multiplies the beginning of the next row "
            "with the beginning of the next row of the matrix, and adds that. Where F is no multiple of "
            "BLOCK, mask both loads.",
        ),
        mistake(
            "no_other",
            computes(OUT, emulate(other=np.nan)),
            2,
            "The masked loads do not say what stands where the mask is false. On a GPU that is undefined: "
            "whatever was in the register. It goes into the sum (here it was made NaN, so that it shows). "
            "Zero is harmless in a sum; say so with `other=0.0`.",
        ),
        mistake(
            "one_matrix_for_all",
            computes(OUT, emulate(weight=lambda e, n, k, D, F: n * F + k)),
            1,
            "Every row was multiplied with expert 0's matrix. Expert e's begins e * D * F elements further "
            "on.",
        ),
        mistake(
            "expert_stride",
            computes(OUT, emulate(weight=lambda e, n, k, D, F: (e + n) * F + k)),
            2,
            "One step from expert to expert was taken as one row of a matrix. A whole matrix lies between "
            "them: expert e's begins e * D * F elements further on.",
        ),
        mistake(
            "begins_at_zero",
            computes(OUT, emulate(first=lambda block, first: 0)),
            1,
            "Every block works on rows 0 to BLOCK - 1. Its first row is the second number in `blocks_G2`.",
        ),
        mistake(
            "last_row_lost",
            computes(OUT, last_rows_lost),
            2,
            "Each expert's last row was never written. `ends_E[e]` is the first row that is *no longer* "
            "e's: the mask is `row < end`.",
        ),
        mistake(
            "rows_unmasked_along_f",
            reads_beyond(
                OUT, "rows_SF", ("down_EDF",), lambda case: array(case, "rows_SF").shape[1] % BLOCK != 0
            ),
            2,
            "The load of the rows lacks its mask along F: its last step runs into the next row, and past "
            "the end of the tensor. The zeros of the other factor hide it, until a NaN stands there.",
        ),
        mistake(
            "matrix_unmasked_along_d",
            reads_beyond(OUT, "down_EDF", ("rows_SF",), lambda case: array(case, OUT).shape[1] % BLOCK != 0),
            2,
            "The load of the matrix lacks its mask along D: the last piece reads past the matrix. Nobody "
            "keeps these columns; but on a GPU the read itself is out of bounds.",
        ),
        mistake(
            "no_column_mask",
            columns_beyond,
            2,
            "The store lacks its mask along D: the last piece of a row runs into the beginning of the next "
            "one. A tile has two edges, and the store's mask both.",
        ),
        mistake(
            "one_row_too_many",
            one_row_too_many,
            2,
            "The rows' mask lets one too many through: row `ends_E[e]` is the next expert's, or nobody's. "
            "The interpreter's order repairs it by chance; on a GPU it is a race. The mask is `row < end`.",
        ),
        mistake(
            "no_row_mask",
            strays(OUT, ("outside " + OUT,), ("reads",)),
            2,
            "An expert's last block is stored with all its BLOCK rows. Those after the expert's end belong "
            "to the next expert, or to nobody. The interpreter's order repairs it by chance; on a GPU it is "
            "a race. The store's mask must know where the expert's rows end.",
        ),
        mistake(
            "rows_without_end",
            _without_end,
            2,
            "Nothing says where an expert's rows end: its last block loads and stores all its BLOCK rows, "
            "those of the next expert and those of nobody too. The interpreter's order repairs it by chance; "
            "on a GPU it is a race. `row < end` belongs to the load and to the store.",
        ),
        mistake(
            "half_accumulator",
            rounds(OUT, LONG),
            3,
            "Right for short sums, off for a long one: the partial sums were kept in fp16. There, 2048 + "
            "0.75 is 2048. The inputs may be narrow; the accumulator is fp32, and is rounded once, at the "
            "store.",
        ),
        mistake(
            "transposed",
            computes(OUT, emulate(weight=lambda e, n, k, D, F: e * D * F + k * D + n)),
            2,
            "The matrix was read as [F, D]. In memory it is [D, F]: one step along D is F elements, one step "
            "along F is one. `tl.dot` wants a tile [F, D], but it is the *pointers* that must make it so.",
        ),
        mistake(
            "tile_not_turned",
            computes(OUT, tile_not_turned),
            2,
            "The tile of the matrix was loaded as [columns of D, F] and went into `tl.dot` like that. The "
            "axis that is summed must be x's second and w's *first*. BLOCK by BLOCK tiles hide it: no shape "
            "can warn you. Load w as [F, D], or turn the tile before the product.",
        ),
        mistake(
            "one_step",
            computes(OUT, emulate(steps=slice(0, 1))),
            3,
            "Only the first BLOCK elements of F were multiplied. A tile fits F = 16 exactly; for more, walk "
            "over F in a loop.",
        ),
        mistake(
            "last_step_only",
            computes(OUT, emulate(steps=slice(-1, None))),
            3,
            "Each step over F replaced the one before: what is stored is the last step alone. The "
            "accumulator goes in and out: `acc = tl.dot(x, w, acc)`.",
        ),
        mistake(
            "row_from_block_number",
            computes(OUT, emulate(first=lambda block, first: block * BLOCK)),
            1,
            "The first row was computed as block number times BLOCK. Blocks are not packed like that: each "
            "expert begins a new one. The second number in `blocks_G2` is the first row.",
        ),
        mistake(
            "axes_swapped",
            computes(OUT, axes_swapped),
            1,
            "Part of the output was never written. The grid is (blocks, pieces of D): `tl.program_id(0)` is "
            "the block, `tl.program_id(1)` the piece. They are swapped here.",
        ),
        mistake(
            "spare_computed",
            computes(OUT, spare_computed),
            1,
            "Spare blocks were computed. Their expert is -1, so a matrix was read from before the beginning "
            "of `down_EDF`, and the result was written over rows of others. Return when the expert is "
            "negative.",
        ),
        GROWING_NUMBER,
        PYTHON_ONLY,
    ),
    hints=(
        "Before any product: which block am I, whose is it, which rows and which columns are mine, and where "
        "do this expert's rows end?",
        "`rows_SF` is [S, F]: element (p, k) lies at p * F + k. `down_EDF` is [E, D, F]: element (e, n, k) "
        "lies at (e * D + n) * F + k; widen p and e with `.to(tl.int64)` as soon as they are loaded. "
        "Each load is masked along both of its axes, with `other=0.0`.",
        "`acc = tl.zeros((BLOCK, BLOCK), tl.float32)`; in the loop, x is [rows, k] and w is [k, n], and "
        "`acc = tl.dot(x, w, acc)`; at the end store `acc.to(tl.float16)`.",
    ),
    notice=(
        "`other=0.0` makes the masked part of a tile add nothing; without it a masked load is undefined "
        "on a GPU, and the interpreter's convenient zeros hide that."
    ),
)
