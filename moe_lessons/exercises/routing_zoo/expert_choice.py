"""Exercise 06.expert_choice: the experts choose their tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

SHAPES = ((8, 4, 2), (12, 6, 1), (15, 5, 2), (6, 3, 3))


def _probabilities(logits_TE: Tensor) -> Tensor:
    return logits_TE.softmax(dim=-1)


def _variant(
    score: Callable[[Tensor], Tensor] = _probabilities,
    rank: Callable[[Tensor, Tensor], Tensor] = lambda z, s: s,
    capacity: Callable[[int, int, int], int] = lambda t, e, c: t * c // e,
    finish: Callable[[Tensor, Tensor], Tensor] = lambda s, chosen: s * chosen,
) -> Callable[..., Tensor]:
    """The right routing, with one of its parts replaced."""

    def route(logits_TE: Tensor, experts_per_token: int) -> Tensor:
        scores_TE = score(logits_TE)
        n = capacity(logits_TE.shape[0], logits_TE.shape[1], experts_per_token)
        ids_CE = rank(logits_TE, scores_TE).topk(n, dim=0).indices
        return finish(scores_TE, torch.zeros_like(scores_TE).scatter(0, ids_CE, 1.0))

    return route


reference = _variant()
by_logit = _variant(rank=lambda z, s: z)


def tokens_choose(logits_TE: Tensor, experts_per_token: int) -> Tensor:
    """Top-k along the experts: what everyone else does."""
    probs_TE = _probabilities(logits_TE)
    ids_TK = probs_TE.topk(experts_per_token, dim=1).indices
    return probs_TE * torch.zeros_like(probs_TE).scatter(1, ids_TK, 1.0)


def _among_chosen(scores_TE: Tensor, chosen_TE: Tensor) -> Tensor:
    return scores_TE.log().masked_fill(chosen_TE == 0, -torch.inf).softmax(dim=0)


def _per_token(scores_TE: Tensor, chosen_TE: Tensor) -> Tensor:
    kept_TE = scores_TE * chosen_TE
    return kept_TE / kept_TE.sum(dim=1, keepdim=True).clamp_min(1e-9)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes in which T * c / E is a whole number; with c = 1 some tokens are chosen by nobody."""
    cases = []
    for n_tokens, n_experts, c in SHAPES:
        while True:
            # Rows of different spread: the largest logit of a column need not be its largest probability,
            # and few experts want a token whose row is nearly flat.
            heat_T1 = rng.permutation(np.linspace(0.1, 2.5, n_tokens)).reshape(-1, 1)
            logits_TE = (heat_T1 * rng.standard_normal((n_tokens, n_experts))).astype(np.float32)
            if _decisive(torch.from_numpy(logits_TE), c):
                break
        args: dict[str, Any] = {"logits_TE": logits_TE, "experts_per_token": c}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, {c} experts per token on average", args))
    return cases


def _decisive(logits_TE: Tensor, c: int) -> bool:
    n_tokens, n_experts = logits_TE.shape
    n = n_tokens * c // n_experts
    if n == n_tokens:
        return True
    right = reference(logits_TE, c) > 0
    unclear = any(
        (v.sort(dim=0, descending=True).values[n - 1] - v.sort(dim=0, descending=True).values[n]).min() < 1e-3
        for v in (_probabilities(logits_TE), logits_TE)
    )
    return (
        not unclear
        and (c > 1 or bool((right.sum(dim=1) == 0).any()))
        and not torch.equal(right, by_logit(logits_TE, c) > 0)
    )


def _equal_columns(case: Case, got: Outputs, want: Outputs) -> str | None:
    tokens_E, capacity = (got["weights_TE"] != 0).sum(axis=0), int((want["weights_TE"] != 0).sum(axis=0)[0])
    for e, n in enumerate(tokens_E.tolist()):
        if n != capacity:
            return f"expert {e} has {n} tokens, and {capacity} places"
    return None


EXPERT_CHOICE = Exercise(
    id="06.expert_choice",
    title="Expert choice",
    task=(
        "Score with a softmax over the experts, as usual. Then let each *expert* take the T * c / E tokens "
        "that give it the highest probability, where c (`experts_per_token`) is how many experts a token "
        "has on average. Return the weights `[T, E]`: the probability where the expert took the token, 0 "
        "elsewhere (arXiv 2202.09368, section 3.2)."
    ),
    entry="expert_choice",
    points=3,
    minutes=10,
    difficulty=3,
    outputs=(Output("weights_TE", "TE"),),
    draw=draw,
    reference=reference,
    properties=(Property("every expert takes T * c / E tokens", _equal_columns),),
    misconceptions=(
        Misconception(
            "tokens_choose",
            "The tokens chose: top-k went along the experts. Here an expert looks down its *column* of "
            "tokens and takes the best. Which axis is that?",
            wrong=tokens_choose,
            hint=1,
        ),
        Misconception(
            "values_only",
            "These are the probabilities that each expert took, the largest first: whose they are is lost. "
            "Put them back on their tokens, [T, E], with zeros elsewhere (`scatter` along the same axis).",
            wrong=lambda z, c: _probabilities(z).topk(len(z) * c // z.shape[1], dim=0).values,
            hint=3,
        ),
        Misconception(
            "softmax_over_tokens",
            "The softmax went over the tokens. Then it depends on the other tokens what a token offers, even "
            "before anybody chooses. The softmax stays where it was, over the experts; only the top-k turns.",
            wrong=_variant(score=lambda z: z.softmax(dim=0)),
            hint=1,
        ),
        Misconception(
            "ranked_by_logit",
            "The experts ranked the tokens by their logits. Along a row logits and probabilities have the "
            "same order, but down a column they do not: every row has a denominator of its own. Rank by "
            "probability.",
            wrong=by_logit,
            hint=2,
        ),
        Misconception(
            "capacity_without_c",
            "Every expert took T / E tokens, so that a token has one expert on average. It should have c.",
            wrong=_variant(capacity=lambda t, e, c: t // e),
            hint=2,
        ),
        Misconception(
            "c_tokens_each",
            "Every expert took c tokens, however long the batch. c counts experts per *token*: all tokens "
            "together take T * c places, and the E experts share them.",
            wrong=_variant(capacity=lambda t, e, c: c),
            hint=2,
        ),
        Misconception(
            "only_a_mask",
            "These are ones and zeros. Who is chosen is right, but a weight is the probability: without it "
            "no gradient reaches the router.",
            wrong=_variant(finish=lambda s, chosen: chosen),
            hint=3,
        ),
        Misconception(
            "rescaled_per_token",
            "Each token's weights were rescaled to sum to 1. That is a choice of other gates; here a token "
            "may have no expert at all, and the probabilities stay as they are.",
            wrong=_variant(finish=_per_token),
            hint=3,
        ),
        Misconception(
            "rescaled_to_nan",
            "Each token's weights were divided by their sum, and for a token that nobody took that is 0 by "
            "0. Such tokens exist here. Nor should the others' weights be rescaled: they are the "
            "probabilities.",
            wrong=_variant(finish=lambda s, chosen: s * chosen / (s * chosen).sum(dim=1, keepdim=True)),
            hint=3,
        ),
        Misconception(
            "softmax_among_chosen",
            "The weights were rescaled down each column, among the tokens that the expert took. They are the "
            "probabilities that the softmax over the experts gave.",
            wrong=_variant(finish=_among_chosen),
            hint=3,
        ),
    ),
    hints=(
        "Two operations, softmax and top-k. In token choice both run along the experts. Which one turns?",
        "`topk(n, dim=0)` ranks down the columns. n is T * c / E, a whole number here.",
        "`torch.zeros_like(probs_TE).scatter(0, ids, 1.0)` marks what was taken; multiply by `probs_TE`.",
    ),
    notice=(
        "The whole change is `dim=0` in the `topk`: loads are equal by construction, and what becomes of "
        "a token now depends on the tokens beside it, later ones too."
    ),
)
