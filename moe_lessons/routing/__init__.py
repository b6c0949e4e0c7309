"""Router logits -> who computes what: the gates, and the other ways to share out tokens.

A router is one linear map; a gate is what turns its logits into K chosen experts and their weights. `Gate`
puts one together from parts. `ROUTERS` lists all ways under one signature, with what each guarantees.
`moe_lessons.interop.recipes` says which model uses what.
"""

from moe_lessons.routing.assignment import base_assignment, greedy_assignment
from moe_lessons.routing.base import Routing, router_logits, tokens_per_expert
from moe_lessons.routing.batch_bias import current_batch_bias_topk
from moe_lessons.routing.causality import LeakRate, earlier_tokens_changed, leak_rate
from moe_lessons.routing.composed import SCORES, Gate
from moe_lessons.routing.dense import Decision, dense_assignment, dense_weights
from moe_lessons.routing.expert_choice import ExpertChoice, expert_choice
from moe_lessons.routing.gates import (
    GATES,
    sigmoid_topk,
    softmax_topk,
    sqrt_softplus_topk,
    topk_sigmoid,
    topk_softmax,
)
from moe_lessons.routing.groups import group_limited_softmax_topk, group_limited_topk
from moe_lessons.routing.hashing import balanced_table, hash_topk, random_table, weighted_hash_topk
from moe_lessons.routing.hierarchical import Utilisation, two_level_topk, two_level_utilisation
from moe_lessons.routing.noisy import NoisyRouting, jitter, noisy_topk
from moe_lessons.routing.registry import ROUTERS, Router, leak_of
from moe_lessons.routing.sinkhorn import sinkhorn_plan, sinkhorn_topk
from moe_lessons.routing.soft import SoftSlots, empty_slots, fill_slots, soft_slots
from moe_lessons.routing.sparse_mixer import sparse_mixer_topk

__all__ = [
    "GATES",
    "ROUTERS",
    "SCORES",
    "Decision",
    "ExpertChoice",
    "Gate",
    "LeakRate",
    "NoisyRouting",
    "Router",
    "Routing",
    "SoftSlots",
    "Utilisation",
    "balanced_table",
    "base_assignment",
    "current_batch_bias_topk",
    "dense_assignment",
    "dense_weights",
    "earlier_tokens_changed",
    "empty_slots",
    "expert_choice",
    "fill_slots",
    "greedy_assignment",
    "group_limited_softmax_topk",
    "group_limited_topk",
    "hash_topk",
    "jitter",
    "leak_of",
    "leak_rate",
    "noisy_topk",
    "random_table",
    "router_logits",
    "sigmoid_topk",
    "sinkhorn_plan",
    "sinkhorn_topk",
    "soft_slots",
    "softmax_topk",
    "sparse_mixer_topk",
    "sqrt_softplus_topk",
    "tokens_per_expert",
    "topk_sigmoid",
    "topk_softmax",
    "two_level_topk",
    "two_level_utilisation",
    "weighted_hash_topk",
]
