"""Exercise 08.combine: each token's K results added up, in an order that nobody else can change."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.dispatch.draws import choices, floats, inverse_of, order_of
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Tokens in pairs with the same results and weights, whose experts have other numbers.

    So the two rows of a pair stand in different orders in the sorted buffer, and only a sum that does not
    look at this order gives both the same bits.
    """
    return [
        _paired(rng, 24, 8, 3, 6),
        _paired(rng, 12, 9, 5, 4),
        _paired(rng, 8, 6, 2, 3),
        _paired(rng, 20, 7, 4, 5, "bfloat16"),
        _paired(rng, 0, 3, 2, 4),
    ]


def _paired(rng: np.random.Generator, T: int, E: int, K: int, D: int, cast: str | None = None) -> Case:
    ids_TK = choices(rng, T, E, K)
    slots_TKD = np.repeat(floats(rng, T // 2, K, D), 2, axis=0)
    weights_TK = np.repeat(rng.uniform(0.1, 0.8, (T // 2, K)).astype(np.float32), 2, axis=0)
    order_S = order_of(ids_TK)
    args = {
        "results_SD": slots_TKD.reshape(T * K, D)[order_S],
        "topk_weights_TK": weights_TK,
        "row_ids_S": order_S,
    }
    name = f"T={T}, E={E}, K={K}, D={D}{', bf16 results' if cast else ', no token' if not T else ''}"
    return Case(name, args, {"results_SD": cast} if cast else {})


def reference(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    """Gather in slot order, then sum over k from the first to the last."""
    return _summed(_gathered(results_SD, inverse_of(row_ids_S), weights_TK), weights_TK)


def _gathered(results_SD: Tensor, rows_S: Tensor, weights_TK: Tensor) -> Tensor:
    return results_SD[rows_S].float().view(*weights_TK.shape, results_SD.shape[1])


def _summed(results_TKD: Tensor, weights_TK: Tensor) -> Tensor:
    total_TD = results_TKD.new_zeros(results_TKD.shape[0], results_TKD.shape[2])
    for k in range(weights_TK.shape[1]):
        total_TD = total_TD + weights_TK[:, k, None] * results_TKD[:, k]
    return total_TD


def _weights_unsorted(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    weighted_SD = results_SD.float() * weights_TK.flatten().unsqueeze(1)
    return reference(weighted_SD, torch.ones_like(weights_TK), row_ids_S)


def _weights_by_inverse(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    weighted_SD = results_SD.float() * weights_TK.flatten()[inverse_of(row_ids_S)].unsqueeze(1)
    return reference(weighted_SD, torch.ones_like(weights_TK), row_ids_S)


def _not_put_back(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return _summed(_gathered(results_SD, torch.arange(len(row_ids_S)), weights_TK), weights_TK)


def _order_as_inverse(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return _summed(_gathered(results_SD, row_ids_S, weights_TK), weights_TK)


def _wrong_fold(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    weighted_SD = results_SD[inverse_of(row_ids_S)].float() * weights_TK.flatten().unsqueeze(1)
    return weighted_SD.view(weights_TK.shape[1], len(weights_TK), results_SD.shape[1]).sum(dim=0)


def _no_weights(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return reference(results_SD, torch.ones_like(weights_TK), row_ids_S)


def _mean(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return reference(results_SD, weights_TK / weights_TK.shape[1], row_ids_S)


def _renormalised(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return reference(results_SD, weights_TK / weights_TK.sum(dim=1, keepdim=True), row_ids_S)


def _first_weight(results_SD: Tensor, weights_TK: Tensor, row_ids_S: Tensor) -> Tensor:
    return reference(results_SD, weights_TK[:, :1].expand_as(weights_TK), row_ids_S)


def _overwritten(case: Case, got: Outputs, want: Outputs) -> bool:
    """Each token has one of its weighted results, whichever: that depends on what was written last."""
    results_SD, weights_TK, row_ids_S = (torch.as_tensor(value) for value in case.args.values())
    slots_TKD = _gathered(results_SD, inverse_of(row_ids_S), weights_TK) * weights_TK[..., None]
    one_TK = np.isclose(got["output_TD"][:, None], slots_TKD.numpy(), rtol=0.01, atol=1e-5).all(axis=2)
    return np.shape(got["output_TD"]) == np.shape(want["output_TD"]) and bool(one_TK.any(axis=1).all())


def _rounded_to_bf16(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right where results are fp32, and where they are bf16 off by as much as bf16 rounds."""
    if not case.casts:
        return _close(got, want) and _pairs_differ(got) is None
    return _within(got, want, rtol=0.03, atol=0.03) and not _close(got, want)


def _pairs_differ(got: Outputs) -> int | None:
    """The first token whose bits differ from those of its twin."""
    rows_TD = np.asarray(got["output_TD"])
    unequal = np.flatnonzero((rows_TD[0::2] != rows_TD[1::2]).any(axis=1))
    return 2 * int(unequal[0]) if len(unequal) else None


def _same_bits(case: Case, got: Outputs, want: Outputs) -> str | None:
    t = _pairs_differ(got)
    if t is None or not _close(got, want):  # wrong sums are told as such
        return None
    return (
        f"tokens {t} and {t + 1} have the same results and the same weights, choice by choice, so their sums "
        "must have the same bits. They differ"
    )


def _right_but_for_bits(case: Case, got: Outputs, want: Outputs) -> bool:
    n_tokens, n_choices = np.asarray(case.args["topk_weights_TK"]).shape
    # Two rounded products have one sum in either order (fused into the addition, they need not); from three
    # on the order shows.
    shows = n_choices > 2 and n_tokens > 0
    return _close(got, want) and (_pairs_differ(got) is not None or not shows)


def _close(got: Outputs, want: Outputs) -> bool:
    return _within(got, want, rtol=1e-4, atol=1e-5)


def _within(got: Outputs, want: Outputs, rtol: float, atol: float) -> bool:
    found_TD, right_TD = np.asarray(got["output_TD"]), np.asarray(want["output_TD"])
    return found_TD.shape == right_TD.shape and np.allclose(found_TD, right_TD, rtol, atol)


COMBINE = Exercise(
    id="08.combine",
    title="A combine that does not depend on the sort",
    task=(
        "Undo the sort, weight, and add up each token's K results: `[T, D]` in fp32, added in fp32 even if "
        "the results are bf16. The sum must depend on the slots alone. Two tokens with the same K results "
        "and weights get *the same bits*, whatever the numbers of their experts. T may be "
        "0."
    ),
    entry="combine",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("output_TD", "TD", dtype="float32"),),
    draw=draw,
    reference=reference,
    properties=(Property("equal tokens get equal bits", _same_bits),),
    misconceptions=(
        Misconception(
            "added_as_sorted",
            "All numbers are right to within rounding, and yet two equal tokens get different bits. The rows "
            "were added in the order in which they lie, so the number of an expert decides which addition "
            "comes first; with three or more terms that changes the rounding. Fetch each token's K results "
            "instead of sending rows to it.",
            detects=_right_but_for_bits,
            hint=2,
        ),
        Misconception(
            "weights_unsorted",
            "The rows are sorted by expert and the weights by token when they meet, so most rows get another "
            "slot's weight. Bring both into one order first.",
            wrong=_weights_unsorted,
            hint=1,
        ),
        Misconception(
            "weights_by_inverse",
            "The weights were brought to the sorted rows by the inverse. Position p holds slot "
            "`row_ids_S[p]`, so that is whose weight it needs.",
            wrong=_weights_by_inverse,
            hint=1,
        ),
        Misconception(
            "not_put_back",
            "The rows were folded into [T, K, D] while they still lay sorted by expert: a token's sum is "
            "made of its neighbours' rows.",
            wrong=_not_put_back,
            hint=2,
        ),
        Misconception(
            "order_as_inverse",
            "`results_SD[row_ids_S]` sorts a second time. To fetch, you need the place of each slot, which "
            "is the inverse.",
            wrong=_order_as_inverse,
            hint=2,
        ),
        Misconception(
            "wrong_fold",
            "Folded into [K, T, D], or summed over the wrong axis: in slot order a token's K rows stand side "
            "by side.",
            wrong=_wrong_fold,
            hint=3,
        ),
        Misconception(
            "mean",
            "The weighted results were averaged: everything is K times too small. The weights say already "
            "how much each choice counts. Add.",
            wrong=_mean,
            hint=3,
        ),
        Misconception(
            "renormalised",
            "The weights were made to sum to 1 first. Whether they do is the router's business; the combine "
            "takes them as they come.",
            wrong=_renormalised,
            hint=3,
        ),
        Misconception(
            "first_weight",
            "All K results of a token got the weight of its first choice.",
            wrong=_first_weight,
            hint=3,
        ),
        Misconception(
            "no_weights",
            "The results are added as they are. Each is to be multiplied by its routing weight.",
            wrong=_no_weights,
            hint=3,
        ),
        Misconception(
            "overwritten",
            "Only one of a token's K results is left: `out[token_ids] = rows` writes each over the one "
            "before, and so does `+=`, where a token stands in the index more than once.",
            detects=_overwritten,
            hint=2,
        ),
        Misconception(
            "bf16_sum",
            "Right where the results are fp32. Where they are bf16, something else was rounded to bf16 too: "
            "the weights, the products or the sum. That keeps 8 bits of each. Widen the results first.",
            detects=_rounded_to_bf16,
            hint=3,
        ),
    ),
    hints=(
        "Which order do the weights have, and which the results? Choose the one in which a token's K rows "
        "stand side by side.",
        "`index_add` goes through the rows as they lie. A gather followed by a sum over k goes through a "
        "token's choices: the sort has no say. You need the inverse of `row_ids_S`.",
        "`results_SD.float()[inverse].view(T, K, D)`, times `topk_weights_TK.unsqueeze(-1)`, then "
        "`.sum(dim=1)`.",
    ),
    notice=(
        "Each token fetches its own K rows and adds them in the order of its choices: no two rows race "
        "for one place, as they do in an `index_add` on a GPU."
    ),
)
