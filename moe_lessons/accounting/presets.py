"""The twelve published models that the lessons quote, each with its dimensions, its gate and its counts.

Everything here follows from `models.json`: dimensions and counts from a model's config, as `count` reads it;
the gate, which no count needs, from the file's own line for it.
"""

from dataclasses import dataclass

from moe_lessons.accounting.catalogue import published
from moe_lessons.accounting.describing import describe
from moe_lessons.accounting.parameters import count
from moe_lessons.accounting.shapes import Dense, weights


@dataclass(frozen=True)
class Preset:
    """One published model.

    Parameters
    ----------
    name : str
    n_experts, top_k : int
        Routed experts E of one MoE layer, and how many of them a token visits.
    d_model, d_expert : int
        Token width D and hidden width F of one routed expert.
    n_layers, n_moe_layers : int
        Blocks of the transformer, and how many of them hold experts. An encoder-decoder counts both halves.
    gate : str
        A key of `moe_lessons.routing.GATES`.
    total_parameters, active_parameters : int
        All parameters, embeddings included; and the same without the routed experts that a token leaves out.
        Publishers draw the second line in several ways, so their figure may differ.
    source, gate_source : str
        Where the dimensions, and the gate, can be read.
    scale : float
        Factor on the routing weights.
    n_shared_experts : int
        Experts that see every token, counted in widths of `d_expert`.
    d_dense : int or None
        Hidden width of the feed-forward network in layers without experts; None where every layer has them.
    expert_matrices : int
        3 for a gated expert (gate, up, down), 2 for a plain one.

    Examples
    --------
    >>> PRESETS["Mixtral-8x7B"].parameters_per_expert  # 3 * 4096 * 14336
    176160768
    """

    name: str
    n_experts: int
    top_k: int
    d_model: int
    d_expert: int
    n_layers: int
    n_moe_layers: int
    gate: str
    total_parameters: int
    active_parameters: int
    source: str
    gate_source: str
    scale: float
    n_shared_experts: int
    d_dense: int | None
    expert_matrices: int

    @property
    def parameters_per_expert(self) -> int:
        """Weights of one routed expert, biases left out."""
        return self.expert_matrices * self.d_model * self.d_expert


def get_preset(name: str) -> Preset:
    """Look up a published model by name.

    Parameters
    ----------
    name : str
        A key of `PRESETS`.

    Returns
    -------
    Preset

    Raises
    ------
    ValueError
        If no such model is listed; the message lists those that are.

    Examples
    --------
    >>> get_preset("OLMoE-1B-7B").top_k
    8
    """
    if name not in PRESETS:
        raise ValueError(f"name is {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _preset(name: str) -> Preset:
    entry, model = published()[name], describe(name)
    counted, (moe, _) = count(model), model.moes[0]
    dense = [layer.ffn.matrices[-1].n_in for layer, _ in model.layers if isinstance(layer.ffn, Dense)]
    return Preset(
        name=name,
        n_experts=moe.n_experts,
        top_k=moe.top_k,
        d_model=model.d_model,
        d_expert=moe.expert[-1].n_in,
        n_layers=model.n_layers,
        n_moe_layers=model.n_moe_layers,
        gate=entry.gate,
        total_parameters=counted.total,
        active_parameters=counted.active,
        source=entry.source,
        gate_source=entry.gate_source,
        scale=float(entry.config.get("routed_scaling_factor", 1.0)),
        n_shared_experts=weights(moe.shared) // weights(moe.expert),
        d_dense=dense[0] if dense else None,
        expert_matrices=sum(matrix.copies for matrix in moe.expert),
    )


# In the order in which the lessons list them.
PRESETS: dict[str, Preset] = {
    name: _preset(name)
    for name in (
        "Switch-Base-8",
        "Mixtral-8x7B",
        "Grok-1",
        "DBRX",
        "OLMoE-1B-7B",
        "Qwen3-30B-A3B",
        "gpt-oss-20b",
        "Llama-4-Scout",
        "DeepSeek-V2",
        "DeepSeek-V3",
        "GLM-4.5",
        "Kimi-K2",
    )
}
