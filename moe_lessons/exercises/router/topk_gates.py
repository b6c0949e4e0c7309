"""Exercise 01.topk_gates: a batched top-k with softmax weights, renormalised or not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.router.draws import THE_RIGHT_CHOICE, by_expert, spaced_logits
from moe_lessons.exercises.router.topk_mistakes import MISTAKES, Gates, gates
from moe_lessons.exercises.spec import Case, Exercise, Output, Outputs, Plain, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both conventions on several shapes, K = 1 in both, K = E, logits that overflow a bare exp, and ties."""
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
    cases.append(Case("T=3, E=5, K=2, renormalize=True, logits near 200", args))
    return [*cases, *(_tied(rng, renormalize) for renormalize in (True, False))]


def _tied(rng: np.random.Generator, renormalize: bool) -> Case:
    """The second and the third largest logit are equal, and K = 2: either expert is right, both are not."""
    logits_TE = spaced_logits(rng, 4, 6)
    order_TE = np.argsort(-logits_TE, axis=-1)
    third_T1, second_T1 = order_TE[:, 2:3], order_TE[:, 1:2]
    np.put_along_axis(logits_TE, third_T1, np.take_along_axis(logits_TE, second_T1, axis=-1), axis=-1)
    args: dict[str, Plain] = {"logits_TE": logits_TE, "top_k": 2, "renormalize": renormalize}
    return Case(f"T=4, E=6, K=2, renormalize={renormalize}, two experts tied", args, edge=True)


def _one_of_the_tied(case: Case, values: dict[str, Any]) -> dict[str, Any]:
    """Of experts with equal logits at the edge of the choice, the same ones, whichever were taken."""
    if "tied" not in case.name:
        return values
    logits_TE, top_k = np.asarray(case.args["logits_TE"]), int(case.args["top_k"])  # type: ignore[arg-type]
    ids_TK = values["topk_ids_TK"].copy()
    for row_E, ids_K in zip(logits_TE, ids_TK, strict=True):
        tied = np.flatnonzero(row_E == np.sort(row_E)[-top_k])
        taken = np.isin(ids_K, tied)
        ids_K[taken] = tied[: taken.sum()]
    return by_expert(values | {"topk_ids_TK": ids_TK})


def reference(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    """Softmax over all experts, top-k along the expert axis, then rescale if asked to."""
    return gates(logits_TE, top_k, renormalize)


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
        "Any order of a token's experts is fine, as long as ids and weights agree. The router learns through "
        "the weights."
    ),
    entry="topk_gates",
    points=4,
    minutes=10,
    difficulty=2,
    outputs=(Output("topk_ids_TK", "TK", kind="int"), Output("topk_weights_TK", "TK")),
    draw=draw,
    reference=reference,
    canonical=by_expert,
    ties=_one_of_the_tied,
    properties=(
        Property("each token has K different experts", _ids_exist),
        Property("each token's weights sum to 1 when renormalised, to at most 1 otherwise", _sums),
        *THE_RIGHT_CHOICE,
    ),
    misconceptions=MISTAKES,
    hints=(
        "`logits_TE` has one row per token. Along which axis do experts compete, and is every step along "
        "that one?",
        "`softmax(dim=-1)` and `topk(top_k, dim=-1)`, which returns values and indices, in this order. "
        "Only then comes the question whether `renormalize` asks for more.",
        "`weights_TK / weights_TK.sum(dim=-1, keepdim=True)` makes each token's weights sum to 1.",
    ),
    notice=(
        "`topk` returns values as well as places: taken from the softmax, the values are the weights "
        "already, and nothing has to be gathered."
    ),
)
