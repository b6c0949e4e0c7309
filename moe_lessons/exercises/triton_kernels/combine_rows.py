"""Exercise 09.combine_rows: each token collects its K rows, in a fixed order."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.kernel_driver import CLEAN
from moe_lessons.exercises.spec import Case, Exercise, Outputs, Plain
from moe_lessons.exercises.triton_kernels.memory import (
    BLOCK,
    GROWING_NUMBER,
    PYTHON_ONLY,
    SIZES,
    array,
    computes,
    kernel,
    load,
    mistake,
    rounds,
    strays,
)

OUT, CANCELS, ORDER = "out_TD", "large rows that cancel", "an order that matters"


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K = 3, 1 and 2, ragged and whole widths; rows whose large parts cancel; an order that shows."""
    cases = [
        _case(rng, "", 5, 20, 3, np.float32),
        _case(rng, "", 3, 16, 1, np.float32),
        _case(rng, "", 4, 37, 2, np.float32),
        _case(rng, CANCELS + ", ", 3, 16, 3, np.float16),
    ]
    results_SD, rows_S = np.asarray(cases[3].args["results_SD"]), np.asarray(cases[3].args["rows_S"])
    np.asarray(cases[3].args["weights_TK"])[:] = [0.5, 1.0, 0.5]
    results_SD[rows_S[0::3]], results_SD[rows_S[2::3]] = 4096, -4096
    results_SD[rows_S[1::3]] = rng.uniform(0.5, 0.9, (3, 16))
    ordered = _case(rng, ORDER + ", ", 4, 20, 3, np.float32)
    results_SD, rows_S = np.asarray(ordered.args["results_SD"]), np.asarray(ordered.args["rows_S"])
    np.asarray(ordered.args["weights_TK"])[:] = [1.0, 1.0, 0.5]
    # 2**25 and its opposite first, and then what is small: in another order fp32 rounds that away.
    results_SD[rows_S[0::3]], results_SD[rows_S[1::3]] = 2.0**25, -(2.0**25)
    results_SD[rows_S[2::3]] = rng.uniform(0.5, 0.9, (4, 20))
    return [*cases, ordered]


def _case(rng: np.random.Generator, name: str, n_tokens: int, d_model: int, top_k: int, dtype: type) -> Case:
    weights_TK = rng.uniform(0.3, 2.0, (n_tokens, top_k)).astype(np.float32)
    rows_S = rng.permutation(n_tokens * top_k)
    while n_tokens * top_k > 1 and (rows_S == np.arange(len(rows_S))).any():
        rows_S = rng.permutation(n_tokens * top_k)  # no slot sits in the row of its own number
    args: dict[str, Plain] = {
        "results_SD": rng.standard_normal((n_tokens * top_k, d_model)).astype(dtype),
        "weights_TK": weights_TK,
        "rows_S": rows_S,
        OUT: np.full((n_tokens, d_model), np.nan, dtype),
    }
    return Case(f"{name}T={n_tokens}, D={d_model}, K={top_k}", args)


def reference(results_SD: Tensor, weights_TK: Tensor, rows_S: Tensor, out_TD: Tensor) -> None:
    """The weighted sum of each token's K rows, in fp32."""
    results_TKD = results_SD.float()[rows_S].unflatten(0, weights_TK.shape)
    total_TD = torch.zeros(out_TD.shape, device=out_TD.device)
    for k in range(weights_TK.shape[1]):
        total_TD = total_TD + weights_TK[:, k, None] * results_TKD[:, k]
    out_TD.copy_(total_TD)


Index = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _emulate(
    *,
    row: Index = lambda rows_S, slots_TK, top_k: rows_S[slots_TK],
    weight: Index | None = lambda rows_S, slots_TK, top_k: slots_TK,
    choices: slice = slice(None),
) -> Callable[[Case], np.ndarray]:
    """The kernel in numpy, with one thing done differently; `row` and `weight` say where to read."""

    def emulate(case: Case) -> np.ndarray:
        results_SD, weights_TK, rows_S, _ = (np.asarray(value) for value in case.args.values())
        (_, d_model), (n_tokens, top_k) = results_SD.shape, weights_TK.shape
        slots_TK = np.arange(n_tokens * top_k).reshape(n_tokens, top_k)
        start_TK = row(rows_S, slots_TK, top_k) * d_model
        results_TKD = load(results_SD, start_TK[..., None] + np.arange(d_model))
        if weight is not None:
            results_TKD = results_TKD * load(weights_TK, weight(rows_S, slots_TK, top_k))[..., None]
        return np.asarray(results_TKD[:, choices].sum(axis=1))

    return emulate


def _slot_by_choice(rows_S: np.ndarray, slots_TK: np.ndarray, top_k: int) -> np.ndarray:
    return slots_TK % top_k * len(slots_TK) + slots_TK // top_k


def _by_choice(rows_S: np.ndarray, slots_TK: np.ndarray, top_k: int) -> np.ndarray:
    return np.asarray(rows_S[_slot_by_choice(rows_S, slots_TK, top_k)])


def _leaves(emulate: Callable[[Case], np.ndarray]) -> Callable[[Case, Outputs, Outputs], bool]:
    """What a mistake computes; where the order matters, fp32 may leave anything that is not right."""
    same = computes(OUT, emulate)

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        if case.name.startswith(ORDER):
            return not np.allclose(got[OUT], want[OUT], rtol=1e-2, atol=1e-2)
        return same(case, got, want)

    return detects


def _ragged(case: Case) -> bool:
    return array(case, OUT).shape[1] % BLOCK != 0


def _several(case: Case) -> bool:
    return array(case, "weights_TK").shape[1] > 1


def _rows_raced(case: Case, got: Outputs, want: Outputs) -> bool:
    """Added in place: right wherever the output is wide enough for it, and stored again and again."""
    if case.name.startswith((CANCELS, ORDER)):
        return "more than once" in got["memory"]
    return strays(OUT, ("more than once",), ("outside",), _several)(case, got, want)


COMBINE_ROWS = Exercise(
    id="09.combine_rows",
    title="Combine, without a race",
    task=(
        "Write the kernel behind `combine_rows`: token t collects its K rows and adds them with their "
        "weights. Slot t * K + k sits in row `rows_S[t * K + k]` of `results_SD`, and `weights_TK[t, k]` "
        "is its weight. One program makes one piece of BLOCK columns of one token, adds in fp32, in the "
        "order k = 0, 1, ..., and stores once. No atomics." + SIZES
    ),
    entry="combine_rows",
    points=4,
    minutes=20,
    difficulty=3,
    **kernel(OUT, "TD", "results_SD", "weights_TK", "rows_S", OUT),
    draw=draw,
    reference=reference,
    misconceptions=(
        mistake(
            "no_weights",
            _leaves(_emulate(weight=None)),
            1,
            "The rows were added without their weights. The gradient of the tokens is added so; the output "
            "is not.",
        ),
        mistake(
            "rows_not_looked_up",
            _leaves(_emulate(row=lambda rows_S, slots_TK, top_k: slots_TK)),
            1,
            "Rows t * K to t * K + K - 1 were added, as if the results lay in the order of the tokens. They "
            "lie sorted by expert. `rows_S` says in which row a slot sits.",
        ),
        mistake(
            "weight_of_the_row",
            _leaves(_emulate(weight=lambda rows_S, slots_TK, top_k: rows_S[slots_TK])),
            2,
            "The weight was read at the place of the *row*. Results lie sorted by expert, weights do not: "
            "they are [T, K], one for each slot. A row number used as a slot number picks someone else's.",
        ),
        mistake(
            "one_weight_for_all",
            _leaves(_emulate(weight=lambda rows_S, slots_TK, top_k: slots_TK[:, :1] + 0 * slots_TK)),
            2,
            "Each row of a token was weighted with the token's first weight. The weight of choice k lies k "
            "elements after it.",
        ),
        mistake(
            "token_for_slot",
            _leaves(
                _emulate(row=lambda rows_S, slots_TK, top_k: rows_S[slots_TK // top_k + slots_TK % top_k]),
            ),
            2,
            "`rows_S` was read at token + k. Token t's slots begin at t * K, not at t.",
        ),
        mistake(
            "weight_of_token",
            _leaves(_emulate(weight=lambda rows_S, slots_TK, top_k: slots_TK // top_k + slots_TK % top_k)),
            2,
            "`weights_TK` was read at token + k. A row of it has K elements: token t's begins at t * K.",
        ),
        mistake(
            "choice_major",
            _leaves(_emulate(row=_by_choice, weight=_slot_by_choice)),
            2,
            "Slots were numbered k * T + t, all first choices first. Here they run along a token: t * K + k.",
        ),
        mistake(
            "mean",
            _leaves(lambda case: _emulate()(case) / array(case, "weights_TK").shape[1]),
            1,
            "The sum was divided by K. The weights say already how much each row counts: add.",
        ),
        mistake(
            "last_choice_missing",
            _leaves(_emulate(choices=slice(0, -1))),
            3,
            "The last choice of each token is missing: the loop ends one too early. `range(TOP_K)` gives 0 "
            "to K - 1, which is all of them.",
        ),
        mistake(
            "last_choice_only",
            _leaves(_emulate(choices=slice(-1, None))),
            3,
            "What is stored is the last choice alone: each step of the loop replaced the one before. Add to "
            "an accumulator.",
        ),
        mistake(
            "half_accumulator",
            rounds(OUT, CANCELS),
            3,
            "Right in fp32, off in fp16: the sum was kept in the dtype of the rows. There, 2048 + 0.7 is "
            "2048, and what cancels later takes the rest with it. Convert each row with `.to(tl.float32)` "
            "before you add, and round once, at the store.",
        ),
        mistake(
            "another_order",
            lambda case, got, want: (
                got["memory"] == CLEAN
                and np.allclose(got[OUT], want[OUT], rtol=1e-2, atol=1e-2) != case.name.startswith(ORDER)
            ),
            3,
            "Right but for the order: the rows were not added as k = 0, 1, 2, ... A floating-point sum "
            "depends on its order, and here it was fixed so that every kernel, and every run, gives the "
            "same bits.",
        ),
        mistake(
            "added_in_place",
            _rows_raced,
            1,
            "Elements of `out_TD` are stored more than once. Where several programs add their row to what "
            "stands there, the interpreter lets them take turns. On a GPU two of them read the same old "
            "value, and one row is lost; with an atomic none is lost, but the order of the sum, and with it "
            "the last bits, is left to chance. Let one program per output *collect* its K rows, and store "
            "behind the loop, not in it.",
        ),
        mistake(
            "no_load_mask",
            strays(OUT, ("reads",), ("writes",), _ragged),
            2,
            "The values are right, but the last piece of the last row loads past the end of `results_SD`. On "
            "a GPU that is someone else's memory, or a crash. Mask the load as you mask the store.",
        ),
        mistake(
            "no_store_mask",
            strays(OUT, ("writes",), ("reads",), _ragged),
            2,
            "The last piece of each token is stored past its end, over the beginning of the next token. The "
            "interpreter's order repairs it; on a GPU it is a race. Mask the store.",
        ),
        mistake(
            "no_masks",
            strays(OUT, ("reads", "writes"), (), _ragged),
            2,
            "The last piece of a token runs on past its end, in the load and in the store: the mask is "
            "missing, or lets too many columns through. Columns below `d_model` exist.",
        ),
        GROWING_NUMBER,
        PYTHON_ONLY,
    ),
    hints=(
        "A program owns a piece of one token's output. Which K rows does it need, and who tells it where "
        "they sit?",
        "Slot number: `token * TOP_K + k`, with `token = tl.program_id(0).to(tl.int64)`. It is the index "
        "into `rows_S` *and* into `weights_TK`, which lie both in the order of slots. Only `results_SD` lies "
        "in the order of rows.",
        "`acc = tl.zeros((BLOCK,), tl.float32)`; for each k: load the row number, load that row's piece with "
        "mask and `other`, convert to fp32, multiply with the weight, add to `acc`.",
    ),
    notice=(
        "One program owns its piece of a token, adds the K rows in a fixed order and stores once: no "
        "atomics, and the same bits in every run."
    ),
)
