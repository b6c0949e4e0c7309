"""From a layer's input to its `Routing`: the router, then the gate that the layer was given."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moe_lessons.layer.router import Router
from moe_lessons.routing import GATES, Gate, Routing
from moe_lessons.routing.own import as_routing


def routed(
    router: Router,
    gate: str | Callable[..., Any],
    top_k: int,
    hidden_TD: Tensor,
    gate_inputs: dict[str, Tensor],
    scale: float = 1.0,
) -> Routing:
    """Score the experts, choose K, weigh them; the router's bias, if it has one, steers the choice."""
    bias_E = router.expert_bias_E
    biased = {} if bias_E is None else {"expert_bias_E": bias_E}
    logits_TE = router(hidden_TD)
    if isinstance(gate, str | Gate):
        named = GATES[gate] if isinstance(gate, str) else gate
        routing = named(logits_TE, top_k, **biased, **gate_inputs)
    else:
        routing = as_routing(gate(logits_TE, top_k, **biased, **gate_inputs), logits_TE, top_k, gate)
    weights_TK = router.rescale(routing.topk_weights_TK, routing.topk_ids_TK)
    return routing._replace(topk_weights_TK=weights_TK if scale == 1 else weights_TK * scale)
