"""Every router under one signature, with what it guarantees: for tables, tests and comparisons.

Each is run as in training, where it does what it is known for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from moe_lessons.routing.assignment import base_assignment, greedy_assignment
from moe_lessons.routing.base import Routing, router_logits
from moe_lessons.routing.batch_bias import current_batch_bias_topk
from moe_lessons.routing.causality import LeakRate, leak_rate
from moe_lessons.routing.dense import Decision
from moe_lessons.routing.expert_choice import ExpertChoice, expert_choice
from moe_lessons.routing.gates import GATES, sigmoid_topk
from moe_lessons.routing.groups import group_limited_softmax_topk, group_limited_topk
from moe_lessons.routing.hashing import hash_topk, random_table
from moe_lessons.routing.noisy import noisy_topk
from moe_lessons.routing.sinkhorn import sinkhorn_topk
from moe_lessons.routing.soft import SoftSlots, soft_slots

VOCABULARY = 1000  # token ids that the hash table of the registry knows


@dataclass(frozen=True)
class Router:
    """One way to share out tokens.

    Parameters
    ----------
    route : callable
        Takes logits (T, E), top_k and token ids (T,) below `VOCABULARY`; returns a decision.
    causal : bool
        Whether a token's decision is independent of later tokens.
    balanced : bool
        Whether all experts get the same load (within one token) by construction, on every batch.
    reason : str
        Why it is causal, or not.
    source : str
    one_expert : bool
        Whether it gives each token a single expert: top_k must then be 1.
    """

    route: Callable[[Tensor, int, Tensor], Decision]
    causal: bool
    balanced: bool
    reason: str
    source: str
    one_expert: bool = False


def leak_of(name: str, *, n_experts: int = 8, top_k: int = 1, seed: int = 0, **settings: int) -> LeakRate:
    """Measure how often a router of `ROUTERS` lets the last token change what is decided about earlier ones.

    Parameters
    ----------
    name : str
        A key of `ROUTERS`.
    n_experts, top_k : int
    seed : int
        Draws the router's weights and the trials.
    **settings
        `n_tokens`, `d_model`, `n_last`, `n_trials` of `leak_rate`.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> leak_of("sigmoid", n_trials=20).trials
    0.0
    >>> leak_of("expert_choice", n_trials=20).trials > 0.5
    True
    """
    if name not in ROUTERS:
        raise ValueError(f"name is {name!r}: choose one of {', '.join(ROUTERS)}")
    d_model = settings.get("d_model", 16)
    router_ED = torch.randn(n_experts, d_model, generator=torch.Generator().manual_seed(seed)) / d_model**0.5

    def decide(hidden_TD: Tensor) -> Decision:
        # A stand-in for token ids: like them, it changes when the token does.
        token_ids_T = (hidden_TD[:, 0] * VOCABULARY).long() % VOCABULARY
        return ROUTERS[name].route(router_logits(hidden_TD, router_ED), top_k, token_ids_T)

    return leak_rate(decide, seed=seed, **settings)


def _gate(name: str) -> Callable[[Tensor, int, Tensor], Routing]:
    return lambda logits_TE, top_k, _: GATES[name](logits_TE, top_k)


def _past_bias(logits_TE: Tensor, top_k: int, _: Tensor) -> Routing:
    bias_E = torch.linspace(-0.1, 0.1, logits_TE.shape[-1], device=logits_TE.device)  # what the past has left
    return sigmoid_topk(logits_TE, top_k, expert_bias_E=bias_E)


def _noisy(logits_TE: Tensor, top_k: int, _: Tensor) -> Routing:
    generator = torch.Generator(logits_TE.device).manual_seed(0)  # the same noise in every call
    scales_TE = torch.zeros_like(logits_TE)
    return noisy_topk(logits_TE, scales_TE, top_k, training=True, generator=generator).routing


def _groups(route: Callable[..., Routing], logits_TE: Tensor, top_k: int, _: Tensor) -> Routing:
    n_experts = logits_TE.shape[-1]
    n_groups = next(n for n in (4, 3, 2, 1) if n_experts % n == 0)
    half, fewest = -(-n_groups // 2), -(-top_k * n_groups // max(1, n_experts))
    return route(logits_TE, top_k, n_groups=n_groups, topk_groups=max(half, fewest))


def _hash(logits_TE: Tensor, top_k: int, token_ids_T: Tensor) -> Routing:
    n_experts = logits_TE.shape[-1]
    table_VK = random_table(VOCABULARY, n_experts, top_k, generator=torch.Generator().manual_seed(0))
    return hash_topk(token_ids_T, table_VK.to(token_ids_T.device), n_experts)


def _expert_choice(logits_TE: Tensor, top_k: int, _: Tensor) -> ExpertChoice:
    return expert_choice(logits_TE, logits_TE.shape[0] * top_k // max(1, logits_TE.shape[-1]))


def _soft(logits_TE: Tensor, top_k: int, _: Tensor) -> SoftSlots:
    return soft_slots(logits_TE.unsqueeze(-1))


def _single(route: Callable[[Tensor], Routing]) -> Callable[[Tensor, int, Tensor], Routing]:
    def routed(logits_TE: Tensor, top_k: int, _: Tensor) -> Routing:
        if top_k != 1:
            raise ValueError(f"top_k is {top_k}: {route.__name__} gives each token one expert, choose 1")
        return route(logits_TE)

    return routed


_OWN = "a token is routed by its own logits alone"
_TABLE = "a token is routed by its own id alone"
_COMPETE = "tokens compete for places"

ROUTERS = {
    **{name: Router(_gate(name), True, False, _OWN, "moe_lessons.routing.GATES") for name in GATES},
    "noisy": Router(_noisy, True, False, "own logits and own noise", "arXiv 1701.06538, eq. 3-5"),
    "past_bias": Router(_past_bias, True, False, "the bias was fixed before this batch", "arXiv 2408.15664"),
    "group_limited": Router(
        partial(_groups, group_limited_topk), True, False, _OWN, "arXiv 2412.19437, section 2.1.2"
    ),
    "group_limited_softmax": Router(
        partial(_groups, group_limited_softmax_topk), True, False, _OWN, "arXiv 2405.04434, section 2.2.2"
    ),
    "hash": Router(_hash, True, False, _TABLE, "arXiv 2106.04426"),
    "current_batch_bias": Router(
        lambda logits_TE, top_k, _: current_batch_bias_topk(logits_TE, top_k),
        False,
        False,
        "the bias counts this batch's tokens, later ones too",
        "arXiv 2408.15664, section 3, warns of it",
    ),
    "expert_choice": Router(_expert_choice, False, True, _COMPETE, "arXiv 2202.09368"),
    "base": Router(_single(base_assignment), False, True, _COMPETE, "arXiv 2103.16716", one_expert=True),
    "greedy_assignment": Router(
        _single(greedy_assignment), False, False, _COMPETE, "its optimal twin: BASE", one_expert=True
    ),
    "sinkhorn": Router(
        lambda logits_TE, top_k, _: sinkhorn_topk(logits_TE, top_k),
        False,
        False,
        "every token's plan is scaled by what all tokens ask for",
        "arXiv 2202.01169; Megatron-LM",
    ),
    "soft_moe": Router(_soft, False, True, "a slot is an average over all tokens", "arXiv 2308.00951"),
}
