"""Router logits -> who computes what: the gates, and the other ways to share out tokens.

A router is one linear map; a gate is what turns its logits into K chosen experts and their weights.
"""

from moe_lessons.routing.base import Routing, router_logits, tokens_per_expert
from moe_lessons.routing.gates import (
    GATES,
    sigmoid_topk,
    softmax_topk,
    sqrt_softplus_topk,
    topk_sigmoid,
    topk_softmax,
)

__all__ = [
    "GATES",
    "Routing",
    "router_logits",
    "sigmoid_topk",
    "softmax_topk",
    "sqrt_softplus_topk",
    "tokens_per_expert",
    "topk_sigmoid",
    "topk_softmax",
]
