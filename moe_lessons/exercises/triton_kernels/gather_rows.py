"""Exercise 09.gather_rows: the smallest useful kernel, a masked copy of rows found through an index."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from moe_lessons.exercises.kernel_driver import CLEAN
from moe_lessons.exercises.spec import Case, Exercise, Outputs, Plain
from moe_lessons.exercises.triton_kernels.memory import (
    BLOCK,
    PYTHON_ONLY,
    SIZES,
    array,
    computes,
    either,
    kernel,
    load,
    mistake,
    strays,
    tail,
)

OUT = "out_SD"


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Widths that are no multiple of a piece, one that is, one narrower than a piece, and K = 1.

    The last case is small and has a large K: its slots are beyond 2**24, where fp32 no longer knows each
    whole number, and its values are near the end of fp32.
    """
    cases = []
    for n_tokens, d_model, top_k in [(5, 20, 2), (3, 7, 3), (4, 32, 1), (4, 45, 2)]:
        n_rows = n_tokens * top_k
        args: dict[str, Plain] = {
            "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "slots_S": _shuffled(rng, n_rows),
            OUT: np.full((n_rows, d_model), np.nan, np.float32),
            "top_k": top_k,
        }
        cases.append(Case(f"T={n_tokens}, D={d_model}, K={top_k}", args))
    top_k = 2**23 + 1
    first_T = np.arange(3) * top_k
    far: dict[str, Plain] = {
        "hidden_TD": (rng.uniform(1, 3, (3, 18)) * 1e38).astype(np.float32),
        "slots_S": rng.permutation(np.concatenate([first_T, first_T + top_k - 1])),
        OUT: np.full((6, 18), np.nan, np.float32),
        "top_k": top_k,
    }
    return [*cases, Case(f"T=3, D=18, K={top_k:,}, six of the slots", far, edge=True)]


def _shuffled(rng: np.random.Generator, n_rows: int) -> np.ndarray:
    """Slots in an order other than their own, so that a row is not its own source."""
    while True:
        slots_S = rng.permutation(n_rows)
        if (slots_S[:2] > 1).all():
            return slots_S


def reference(hidden_TD: Tensor, slots_S: Tensor, out_SD: Tensor, top_k: int) -> None:
    """Row p is the token of slot p."""
    out_SD.copy_(hidden_TD[slots_S // top_k])


def _with_source(
    source: Callable[[np.ndarray, int], np.ndarray], width: int = 0
) -> Callable[[Case], np.ndarray]:
    """Rows copied from `source(slots, K)`, each of which is taken to be `width` elements long."""

    def emulate(case: Case) -> np.ndarray:
        n_columns, top_k = array(case, OUT).shape[1], int(array(case, "top_k"))
        start_S = source(array(case, "slots_S"), top_k) * (width or n_columns)
        return load(array(case, "hidden_TD"), start_S[:, None] + np.arange(n_columns))

    return emulate


def _token(slots_S: np.ndarray, top_k: int) -> np.ndarray:
    return slots_S // top_k


def _only(where: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> Callable[[Case], np.ndarray]:
    """Right where `where(row, column, pieces)` holds, unwritten elsewhere."""

    def emulate(case: Case) -> np.ndarray:
        right = _with_source(_token)(case)
        rows, columns = np.arange(right.shape[0])[:, None], np.arange(right.shape[1])
        return np.where(where(rows, columns, tail(right.shape[1]) // BLOCK), right, np.nan)

    return emulate


def _padded(*, stores: bool = True) -> Callable[[Case], np.ndarray]:
    """Rows that are taken to be whole pieces long, where they are read, and where they are stored too."""

    def emulate(case: Case) -> np.ndarray:
        out_SD = np.full(array(case, OUT).shape, np.nan)
        width, n_rows = array(case, OUT).shape[1], len(array(case, OUT))
        found = _with_source(_token, tail(width))(case)
        places = np.arange(n_rows)[:, None] * (tail(width) if stores else width) + np.arange(width)
        inside = places < out_SD.size
        out_SD.reshape(-1)[places[inside]] = found[inside]
        return out_SD

    return emulate


def _scattered(case: Case) -> np.ndarray:
    slots_S, top_k = array(case, "slots_S"), int(array(case, "top_k"))
    out_SD = np.empty(array(case, OUT).shape)
    if slots_S.max() >= len(out_SD):
        return out_SD  # so far away that the kernel is stopped
    out_SD[slots_S] = array(case, "hidden_TD")[np.arange(len(slots_S)) // top_k]
    return out_SD


def _one_too_many(case: Case, got: Outputs, want: Outputs) -> bool:
    memory = str(got["memory"])
    right = bool(np.allclose(got[OUT], want[OUT]))
    return right and ("writes 1 element outside " + OUT in memory if _ragged(case) else memory == CLEAN)


def _rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right but where slots are beyond what fp32 can count; there even memory may be another's."""
    right = bool(np.allclose(got[OUT], want[OUT]))
    return not right if case.is_edge else right and got["memory"] == CLEAN


def _ragged(case: Case) -> bool:
    return array(case, OUT).shape[1] % BLOCK != 0


GATHER_ROWS = Exercise(
    id="09.gather_rows",
    title="Gather rows, with a mask",
    task=(
        "Write the kernel behind `gather_rows`: row p of `out_SD` becomes a copy of the token that slot "
        "`slots_S[p]` belongs to. Slots are numbered t * K + k, so the token is the slot divided by K, "
        "rounded down. One program copies one piece of BLOCK columns of one row. `out_SD` arrives full of "
        "NaN; write each of its elements once, and touch nothing outside the tensors." + SIZES
    ),
    entry="gather_rows",
    points=3,
    minutes=15,
    difficulty=2,
    **kernel(OUT, "SD", "hidden_TD", "slots_S", OUT, "top_k"),
    draw=draw,
    reference=reference,
    misconceptions=(
        mistake(
            "no_load_mask",
            strays(OUT, ("reads",), ("writes",), _ragged),
            2,
            "The values are right, but the last piece of a row loads past the row's end, and past the end of "
            "`hidden_TD` for the last token. Here that is NaN which nobody keeps. On a GPU it is someone "
            "else's memory, or a crash. The load needs the mask `column < d_model` as the store does.",
        ),
        mistake(
            "no_store_mask",
            strays(OUT, ("writes",), ("reads", "writes 1 element outside"), _ragged),
            2,
            "The last piece of each row is stored past the row's end, over the beginning of the next row. "
            "The interpreter runs programs one after another, so the next row's own program repairs it. On a "
            "GPU nobody says which of the two comes last. The store needs the mask `column < d_model` too.",
        ),
        mistake(
            "no_masks",
            strays(OUT, ("reads", "writes"), ("writes 1 element outside",), _ragged),
            2,
            "The last piece of a row runs on past its end, in the load and in the store: the mask is "
            "missing, or lets too many columns through. `tl.arange` always gives BLOCK columns; those below "
            "`d_model` exist.",
        ),
        mistake(
            "forgot_top_k",
            computes(OUT, _with_source(lambda slots_S, top_k: slots_S)),
            1,
            "A slot was used as if it were a token. There are K slots for each token: slot t * K + k "
            "belongs to token t. Rows beyond the T tokens came from memory that is not yours.",
        ),
        mistake(
            "remainder",
            computes(OUT, _with_source(lambda slots_S, top_k: slots_S % top_k)),
            1,
            "`slot % K` is *which choice* of the token this is, k. The token itself is the other half of the "
            "division.",
        ),
        mistake(
            "one_column_too_many",
            _one_too_many,
            2,
            "The values are right, and each row's last program goes one column too far. Columns 0 to D - 1 "
            "exist: the mask is `column < d_model`.",
        ),
        mistake(
            "row_over_k",
            computes(OUT, _with_source(lambda slots_S, top_k: np.arange(len(slots_S)) // top_k)),
            1,
            "The row's number was divided by K. Rows are sorted, and no longer stand in the order of "
            "tokens: divide the *slot*, which `slots_S` holds at the row's place.",
        ),
        mistake(
            "no_row_stride",
            computes(OUT, _with_source(_token, 1)),
            2,
            "A token's number was added to the pointer as it is. One step of a pointer is one element; the "
            "next token begins `d_model` elements further on.",
        ),
        mistake(
            "pieces_overlap",
            computes(OUT, _only(lambda row, column, pieces: column < BLOCK + pieces - 1)),
            3,
            "The pieces overlap: piece 1 begins at column 1. It begins where piece 0 ends, at column BLOCK.",
        ),
        mistake(
            "slot_as_float",
            _rounded,
            2,
            "Right for small slot numbers, another token's row for large ones: the slot was divided as a "
            "floating-point number (`/`). From 2**24 on fp32 does not know every whole number. Divide "
            "whole numbers with `//`.",
        ),
        mistake(
            "no_gather",
            computes(OUT, _with_source(lambda slots_S, top_k: np.arange(len(slots_S)))),
            1,
            "Row p was copied from token p: the index in `slots_S` is never looked at. Load `slots_S` at the "
            "place of your row first, and let that decide where to read.",
        ),
        mistake(
            "scattered",
            computes(OUT, _scattered),
            1,
            "The copy runs the other way: token p // K was written to row `slots_S[p]`. That is a scatter. "
            "Row p is where a program *writes*; the slot says where it reads.",
        ),
        mistake(
            "axes_swapped",
            computes(OUT, _only(lambda row, column, pieces: row < pieces)),
            3,
            "Most rows were never written. The grid is (rows, pieces): `tl.program_id(0)` is the row, "
            "`tl.program_id(1)` the piece. They are swapped here.",
        ),
        mistake(
            "wrong_stride",
            computes(OUT, _with_source(_token, BLOCK)),
            2,
            "The row to read was found by multiplying with BLOCK. A pointer knows no rows: the next token "
            "begins `d_model` elements further on, however wide a piece is.",
        ),
        mistake(
            "padded_rows",
            either(computes(OUT, _padded()), computes(OUT, _padded(stores=False))),
            2,
            "Rows were taken to be whole pieces long, so the next one was looked for too far on. In memory "
            "there is nothing between two rows: each is `d_model` elements long.",
        ),
        mistake(
            "first_piece_only",
            computes(OUT, _only(lambda row, column, pieces: column < BLOCK)),
            3,
            "Every program copies columns 0 to BLOCK - 1; the others stay NaN. `tl.arange` starts at 0 in "
            "each program. Which piece is this one?",
        ),
        PYTHON_ONLY,
    ),
    hints=(
        "Three questions for one program: which row am I, which token does my row copy, which columns are "
        "mine?",
        "A row of width D begins at D times its number, in `hidden_TD` and in `out_SD` alike. Columns are "
        "`first + tl.arange(0, BLOCK)`; the mask `column < d_model` belongs to the load *and* the store.",
        "`row = tl.program_id(0).to(tl.int64)`, `column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)`, "
        "and `token = tl.load(slots_S + row) // TOP_K`.",
    ),
    notice=(
        "The row number is widened to 64 bits *before* it is multiplied: rows times width can exceed what "
        "32 bits hold, and a wrapped offset reads someone else's memory."
    ),
)
