"""Exercise 10.causal_attention: the part of a block that lets a token look at those before it."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Plain

Tensor = torch.Tensor


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Heads in groups of several sizes; numbers large enough for the softmax to choose."""
    cases = []
    for B, H, G, L, P in [
        (2, 4, 2, 5, 3),
        (1, 6, 2, 7, 4),
        (2, 6, 3, 4, 5),
        (1, 3, 3, 6, 2),
        (2, 4, 1, 1, 3),
    ]:
        args: dict[str, Plain] = {
            "q_BHLP": (1.5 * rng.standard_normal((B, H, L, P))).astype(np.float32),
            "k_BGLP": (1.5 * rng.standard_normal((B, G, L, P))).astype(np.float32),
            "v_BGLP": rng.standard_normal((B, G, L, P)).astype(np.float32),
        }
        # With as many key-value heads as heads, or with one token, several mistakes do not show.
        cases.append(Case(f"B={B}, H={H}, G={G}, L={L}, P={P}", args, edge=H == G or L == 1))
    return cases


def grouped(q: Tensor, k: Tensor) -> Tensor:
    """Give each query head its key or value head: neighbours share one."""
    return k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)


def earlier(q: Tensor) -> Tensor:
    """Which places a place may see: itself and those before it."""
    return torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Mix the values by the softmax of the scores that the mask leaves."""
    scores = (scale * q @ k.transpose(-1, -2)).masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1) @ v


def reference(q_BHLP: Tensor, k_BGLP: Tensor, v_BGLP: Tensor) -> Tensor:
    """Causal attention with grouped heads."""
    k_BHLP, v_BHLP = grouped(q_BHLP, k_BGLP), grouped(q_BHLP, v_BGLP)
    return attend(q_BHLP, k_BHLP, v_BHLP, earlier(q_BHLP), 1 / math.sqrt(q_BHLP.shape[-1]))


def with_scale(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """The same with another scale."""
    return attend(q, grouped(q, k), grouped(q, v), earlier(q), scale)


def with_mask(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The same with another mask."""
    return attend(q, grouped(q, k), grouped(q, v), mask, 1 / math.sqrt(q.shape[-1]))


def interleaved(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Head h takes key-value head h % G."""
    times = q.shape[1] // k.shape[1]
    tiled_k, tiled_v = (x.repeat(1, times, 1, 1) for x in (k, v))
    return attend(q, tiled_k, tiled_v, earlier(q), 1 / math.sqrt(q.shape[-1]))


def scores_of(q: Tensor, k: Tensor) -> Tensor:
    """Scaled products of all queries with all keys."""
    return q @ grouped(q, k).transpose(-1, -2) / math.sqrt(q.shape[-1])


def _before(q: Tensor) -> Tensor:
    return earlier(q).tril(-1)


def _itself_first(q: Tensor) -> Tensor:
    """The past, and for the first place itself."""
    seen = _before(q)
    seen[0, 0] = True
    return seen


def _after_the_first(q: Tensor) -> Tensor:
    return torch.arange(q.shape[2]).unsqueeze(-1) > 0


def over_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The softmax runs over the queries."""
    scores = scores_of(q, k).masked_fill(~earlier(q), -torch.inf)
    return scores.softmax(dim=-2) @ grouped(q, v)


CAUSAL_ATTENTION = Exercise(
    id="10.causal_attention",
    title="Causal attention with grouped heads",
    task=(
        "Mix the values: in every head each place takes the mean of the values at its own place and at those "
        "before it, weighted by the softmax of the scores. A score is the product of query and key, divided "
        "by the root of the head's width P. There are H query heads and G key-value heads, G a divisor of H: "
        "the first H / G query heads use key-value head 0, the next H / G head 1, and so on. Gradients are "
        "checked too. (`F.scaled_dot_product_attention` does it in one call. Write it out once.)"
    ),
    entry="causal_attention",
    points=3,
    minutes=15,
    difficulty=3,
    outputs=(
        Output("mixed_BHLP", "BHLP"),
        Output("q_gradient_BHLP", "BHLP"),
        Output("k_gradient_BGLP", "BGLP"),
        Output("v_gradient_BGLP", "BGLP"),
    ),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0, 1, 2]},
    misconceptions=(
        Misconception(
            "no_mask",
            "Every place sees the whole sequence, what comes later too. A model trained so knows the next "
            "byte and learns nothing. Leave the later places out before the softmax.",
            wrong=lambda q, k, v: with_mask(q, k, v, torch.ones_like(earlier(q))),
            hint=2,
        ),
        Misconception(
            "sees_the_future",
            "The mask is the wrong way round: a place sees itself and those *after* it. Rows are queries, "
            "columns are keys; the triangle below the diagonal is the past.",
            wrong=lambda q, k, v: with_mask(q, k, v, earlier(q).T),
            hint=2,
        ),
        Misconception(
            "own_place_left_out",
            "A place sees those before it and not itself. It has been read when it is asked for what comes "
            "next, so it counts: the diagonal belongs to the triangle. (And the first place would have "
            "nothing to look at.)",
            wrong=lambda q, k, v: with_mask(q, k, v, _before(q)),
            also=(
                lambda q, k, v: with_mask(q, k, v, _itself_first(q)),
                lambda q, k, v: (
                    scores_of(q, k).masked_fill(~_before(q), -1e9).softmax(dim=-1) @ grouped(q, v)
                ),
                lambda q, k, v: with_mask(q, k, v, _itself_first(q)) * _after_the_first(q),
            ),
            hint=2,
        ),
        Misconception(
            "masked_after",
            "The later places are set to zero *after* the softmax. They have taken their share of it by "
            "then, so the weights of a place no longer sum to 1. Mask the scores instead.",
            wrong=lambda q, k, v: (scores_of(q, k).softmax(dim=-1) * earlier(q)) @ grouped(q, v),
            hint=2,
        ),
        Misconception(
            "masked_with_zero",
            "The scores of later places are set to 0. The softmax of 0 is not 0: it gives them a weight all "
            "the same. Which score has the weight 0?",
            wrong=lambda q, k, v: (scores_of(q, k) * earlier(q)).softmax(dim=-1) @ grouped(q, v),
            hint=2,
        ),
        Misconception(
            "no_scale",
            "The scores are not divided by the root of P. A sum of P products grows with that root, and "
            "the softmax of large scores picks one place and has no gradient for the others.",
            wrong=lambda q, k, v: with_scale(q, k, v, 1.0),
            hint=2,
        ),
        Misconception(
            "scaled_by_width",
            "The scores are divided by P, not by its root: they come out too small, and every place takes "
            "nearly the plain mean.",
            wrong=lambda q, k, v: with_scale(q, k, v, 1 / q.shape[-1]),
            hint=2,
        ),
        Misconception(
            "scaled_by_the_model",
            "The scores are divided by the root of the model's width, H times P. Each head makes its own "
            "products, of P numbers.",
            wrong=lambda q, k, v: with_scale(q, k, v, (q.shape[1] * q.shape[-1]) ** -0.5),
            hint=2,
        ),
        Misconception(
            "heads_in_turn",
            "Query heads take the key-value heads in turn (0, 1, 0, 1): what `repeat` does. Neighbours share "
            "one (0, 0, 1, 1). Shapes are the same, and a checkpoint loaded this way writes nonsense.",
            wrong=interleaved,
            hint=3,
        ),
        Misconception(
            "softmax_over_queries",
            "The softmax runs over the queries, so the weights of a *place* do not sum to 1. It belongs over "
            "the keys: the last axis, if a row is a query.",
            wrong=over_queries,
            hint=2,
        ),
    ),
    crashes=(
        Crash(
            "heads_not_shared",
            "H query heads meet G key-value heads, and the two do not fit: {sizes} Give each query head a "
            "copy of its key-value head first.",
            pattern=r"(must match the size of tensor|batch1 to be the same|broadcast)",
            line=r"@|matmul|einsum|bmm",
            hint=3,
        ),
    ),
    hints=(
        "For one head: which matrix has a row for each query and a column for each key, and which of its "
        "places may not count?",
        "Scores `q @ k.transpose(-1, -2) / sqrt(P)`, then `-inf` where the column is later than the row "
        "(`torch.ones(L, L).tril()`), then `softmax(dim=-1)`, then `@ v`.",
        "Before that, `k.repeat_interleave(H // G, dim=1)`, and the same for `v`.",
    ),
    notice=(
        "`repeat_interleave` puts neighbouring query heads on one key-value head, where `repeat` would "
        "deal them out in turn; production kernels copy neither and read the shared head where it lies."
    ),
)
