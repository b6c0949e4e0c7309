"""A MoE layer with its experts cut into slices: finer, and for the time being the same function."""

from dataclasses import replace

from moe_lessons.experts import SwiGLUExperts, split_experts
from moe_lessons.layer.moe import MoELayer
from moe_lessons.routing import Gate

# Gates whose K weights have a sum of their own, which slices must share; of the others each stands by itself.
SHARED_SUM = ("topk_softmax", "softmax_topk", "softmax_topk_renorm", "sigmoid", "sqrt_softplus")


def cut_layer(layer: MoELayer, granularity: int) -> MoELayer:
    """Return a layer with G times as many experts of a G-th of the width, which computes the same.

    It has a router row for each slice and `routed_scale` times G, where the gate's weights share a sum. From
    there on its slices can be trained apart: it contains all that the old layer could become, and more.

    Parameters
    ----------
    layer : MoELayer
        Of SwiGLU experts behind a named gate or a `Gate` without groups, and without a bias on the choice.
    granularity : int
        G, a divisor of F.

    Raises
    ------
    ValueError
        If G does not divide F, or the layer has parts that this does not cut.

    References
    ----------
    DeepSeekMoE, arXiv 2401.06066, section 3.1.

    Examples
    --------
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> fine, hidden = cut_layer(layer, 4), torch.randn(5, 8)
    >>> fine.spec.n_experts, fine.spec.top_k, fine.spec.routed_scale
    (16, 8, 4.0)
    >>> bool(torch.allclose(fine(hidden).hidden, layer(hidden).hidden, atol=1e-6))
    True
    """
    spec = layer.spec
    extra = spec.expert_bias or spec.router_bias or spec.expert_scale or spec.n_null_experts
    shares = _shares_a_sum(spec.gate)
    if not isinstance(layer.experts, SwiGLUExperts) or extra or shares is None:
        raise ValueError(
            f"layer is {spec.describe()!r}: give one of SwiGLU experts without biases, behind a named "
            "gate or a Gate without groups"
        )
    cut = split_experts(layer.experts.gate_up_proj, layer.experts.down_proj, layer.router.weight, granularity)
    fine = MoELayer.of(
        replace(
            spec,
            n_experts=spec.n_experts * granularity,
            top_k=spec.top_k * granularity,
            d_expert=spec.d_expert // granularity,
            routed_scale=spec.routed_scale * (cut.factor if shares else 1.0),
        ),
        path=layer.path,
    )
    fine = fine.to(layer.experts.down_proj)
    slices = {
        "experts.gate_up_proj": cut.gate_up_proj,
        "experts.down_proj": cut.down_proj,
        "router.weight": cut.router_ED,
    }
    fine.load_state_dict({**layer.state_dict(), **slices})
    return fine


def _shares_a_sum(gate: object) -> bool | None:
    """Whether equal logits share a weight, or each has it whole; None where that is not known."""
    if isinstance(gate, str):
        return gate in SHARED_SUM
    if not isinstance(gate, Gate) or gate.n_groups > 1 or gate.n_always or gate.least_sum or gate.norm != 1:
        return None
    return gate.score == "softmax" or gate.renormalize
