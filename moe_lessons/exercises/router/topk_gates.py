"""Exercise 01.topk_gates: a batched top-k with softmax weights, renormalised or not."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.router.draws import (
    SWAPPED_RETURN,
    THE_RIGHT_CHOICE,
    by_expert,
    spaced_logits,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Gates = tuple[torch.Tensor, torch.Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both conventions on several shapes, K = 1 in both, K = E, and logits that overflow a bare exp."""
    cases = []
    args: dict[str, Plain]
    for n_tokens, n_experts, top_k, renormalize in [
        (5, 7, 2, True),
        (5, 7, 2, False),
        (4, 6, 1, False),
        (2, 5, 1, True),
        (6, 3, 3, True),
        (3, 8, 4, False),
    ]:
        args = {
            "logits_TE": spaced_logits(rng, n_tokens, n_experts),
            "top_k": top_k,
            "renormalize": renormalize,
        }
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, renormalize={renormalize}", args))
    args = {"logits_TE": 200 + spaced_logits(rng, 3, 5), "top_k": 2, "renormalize": True}
    return [*cases, Case("T=3, E=5, K=2, renormalize=True, logits near 200", args)]


def reference(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    """Softmax over all experts, top-k along the expert axis, then rescale if asked to."""
    weights_TK, ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
    return ids_TK, weights_TK


def _softmax_over_tokens(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.softmax(dim=0).topk(top_k, dim=-1)
    if renormalize:
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
    return ids_TK, weights_TK


def _smallest(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1, largest=False)
    if renormalize:
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
    return ids_TK, weights_TK


def _softmax_twice(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids_TK, weights_TK.softmax(dim=-1) if renormalize else weights_TK


def _sum_over_batch(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids_TK, weights_TK / weights_TK.sum() if renormalize else weights_TK


def _no_softmax(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.topk(top_k, dim=-1)
    return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True) if renormalize else weights_TK


def _sliced_rows(case: Case, got: Outputs, want: Outputs) -> bool:
    n_tokens, n_experts = np.asarray(case.args["logits_TE"]).shape
    rows = (min(int(case.args["top_k"]), n_tokens), n_experts)  # type: ignore[arg-type]
    return bool(np.shape(got["topk_ids_TK"]) == rows)


def _bare_exp(case: Case, got: Outputs, want: Outputs) -> bool:
    weights_TK = np.asarray(got["topk_weights_TK"])
    if "near 200" in case.name:
        return not np.isfinite(weights_TK).all()
    return bool(np.allclose(weights_TK, want["topk_weights_TK"], rtol=1e-4, atol=1e-5))


def _misplaced(case: Case, got: Outputs, want: Outputs) -> bool:
    weights_TK, wanted_TK = (np.sort(x["topk_weights_TK"], axis=-1) for x in (got, want))
    ids_TK = got["topk_ids_TK"]
    same_ids = ids_TK.dtype.kind in "iu" and np.array_equal(ids_TK, want["topk_ids_TK"])
    return same_ids and bool(np.allclose(weights_TK, wanted_TK, rtol=1e-4, atol=1e-5))


def _ids_exist(case: Case, got: Outputs, want: Outputs) -> str | None:
    ids_TK, n_experts = got["topk_ids_TK"], np.asarray(case.args["logits_TE"]).shape[1]
    if ids_TK.min() < 0 or ids_TK.max() >= n_experts:
        return f"an expert id is outside 0 to {n_experts - 1}"
    if any(len(set(row)) < len(row) for row in ids_TK.tolist()):
        return "a token has the same expert twice"
    return None


def _sums(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["topk_weights_TK"].sum(axis=-1)
    if case.args["renormalize"]:
        worst = int(np.abs(sums_T - 1).argmax())
        if abs(sums_T[worst] - 1) > 1e-4:
            return f"the weights of token {worst} sum to {sums_T[worst]:.4g}"
    elif sums_T.max() > 1 + 1e-4:
        return f"probabilities cannot sum to more than 1, those of token {int(sums_T.argmax())} do"
    return None


TOPK_GATES = Exercise(
    id="01.topk_gates",
    title="Top-k gates, for a whole batch",
    task=(
        "From logits `[T, E]`, return the ids and the weights `[T, K]` of each token's K experts. The "
        "weights are the softmax over *all* E experts, kept as they are (`renormalize=False`, as in "
        "Switch) or rescaled so that each token's K weights sum to 1 (`renormalize=True`, as in Mixtral). "
        "Any order of a token's experts is fine, as long as ids and weights agree."
    ),
    entry="topk_gates",
    points=4,
    minutes=10,
    difficulty=2,
    outputs=(Output("topk_ids_TK", "TK", kind="int"), Output("topk_weights_TK", "TK")),
    draw=draw,
    reference=reference,
    canonical=by_expert,
    properties=(
        Property("each token has K different experts", _ids_exist),
        Property("each token's weights sum to 1 when renormalised, to at most 1 otherwise", _sums),
        *THE_RIGHT_CHOICE,
    ),
    misconceptions=(
        SWAPPED_RETURN,
        Misconception(
            "sliced_rows",
            "The choice ran along the first axis. In a batch that axis is tokens: `[-k:]` keeps the last k "
            "*tokens* with all their experts, and `dim=0` compares tokens with each other. It works on one "
            "token alone and breaks on two. Choose along the last axis.",
            detects=_sliced_rows,
            hint=1,
        ),
        Misconception(
            "softmax_over_tokens",
            "The softmax ran down the columns: each expert's values sum to 1 over the tokens. A token's "
            "weights then depend on who else is in the batch. The competition is between experts, along "
            "the last axis.",
            wrong=_softmax_over_tokens,
            hint=1,
        ),
        Misconception(
            "always_renormalized",
            "The weights always sum to 1. That is right for `renormalize=True`. Without it the weights stay "
            "probabilities among all E experts, also those that were not chosen.",
            wrong=lambda logits_TE, top_k, renormalize: reference(logits_TE, top_k, True),
            hint=2,
        ),
        Misconception(
            "never_renormalized",
            "`renormalize=True` changes nothing here. Either the argument is not looked at, or the weights "
            "were divided by the sum over all E experts, which is already 1. Divide by the sum over the K "
            "that were kept.",
            wrong=lambda logits_TE, top_k, renormalize: reference(logits_TE, top_k, False),
            hint=3,
        ),
        Misconception(
            "flag_swapped",
            "The two conventions are swapped: the weights sum to 1 exactly when `renormalize` is False.",
            wrong=lambda logits_TE, top_k, renormalize: reference(logits_TE, top_k, not renormalize),
            hint=2,
        ),
        Misconception(
            "smallest",
            "These are the K *least* likely experts. `argsort` sorts upwards, so the best stand at the end "
            "of each row, not at its beginning.",
            wrong=_smallest,
            hint=2,
        ),
        Misconception(
            "softmax_twice",
            "A second softmax was put on top of the probabilities. That flattens the weights. To "
            "renormalise, divide; or take one softmax, over the K chosen *logits*.",
            wrong=_softmax_twice,
            hint=3,
        ),
        Misconception(
            "no_softmax",
            "The weights are the logits themselves. A logit may be negative or 200; a weight is meant to "
            "be a share. Put a softmax in between.",
            wrong=_no_softmax,
            hint=2,
        ),
        Misconception(
            "sum_over_batch",
            "The weights were divided by one sum over the whole batch. Each token needs its own sum: sum "
            "over the last axis, and keep that axis so that the division lines up.",
            wrong=_sum_over_batch,
            hint=3,
        ),
        Misconception(
            "weights_misplaced",
            "Right experts, right weights, but not together: ids and weights stand in different orders. "
            "`topk` lists the best first, `argsort` lists it last. Take both from one call, or read the "
            "weights at the ids with `gather`.",
            detects=_misplaced,
            hint=2,
        ),
        Misconception(
            "bare_exp",
            "Right on small logits; near 200 the weights are not numbers, because exp(200) is beyond fp32. "
            "A softmax may subtract each row's maximum first without changing its value. `torch.softmax` "
            "does.",
            detects=_bare_exp,
            hint=2,
        ),
    ),
    hints=(
        "`logits_TE` has one row per token. Along which axis do experts compete, and is every step along "
        "that one?",
        "`softmax(dim=-1)` and `topk(top_k, dim=-1)`, which returns values and indices, in this order. "
        "Only then comes the question whether `renormalize` asks for more.",
        "`weights_TK / weights_TK.sum(dim=-1, keepdim=True)` makes each token's weights sum to 1.",
    ),
)
