"""Which tensor of a Mixtral checkpoint stands where in ours."""

from typing import Any, NamedTuple

import torch

from moe_lessons.config import ModelConfig
from moe_lessons.model import MoETransformer

LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.q_proj.weight": "self_attn.q_proj.weight",
    "attention.k_proj.weight": "self_attn.k_proj.weight",
    "attention.v_proj.weight": "self_attn.v_proj.weight",
    "attention.o_proj.weight": "self_attn.o_proj.weight",
    "moe_norm.weight": "post_attention_layernorm.weight",
    "moe.router.weight": "block_sparse_moe.gate.weight",
}
GATE_UP, DOWN = "moe.experts.gate_up_proj", "moe.experts.down_proj"


class Piece(NamedTuple):
    """A tensor of theirs, and the part of one of ours that it is; the empty index is all of it."""

    key: str
    where: tuple[Any, ...] = ()


def pieces(config: ModelConfig, *, fused_layers: frozenset[int] = frozenset()) -> dict[str, list[Piece]]:
    """Map the name of each of our tensors to the tensors of theirs that it is made of.

    Parameters
    ----------
    config : ModelConfig
    fused_layers : set of int
        Layers whose experts lie in two tensors, as transformers 5 holds them in memory. On disk they are
        apart: `w1` (gate), `w3` (up) and `w2` (down) of each expert.

    Examples
    --------
    >>> found = pieces(ModelConfig(n_layers=1, n_experts=2, d_expert=128))
    >>> found["head.weight"]
    [Piece(key='lm_head.weight', where=())]
    >>> for piece in found["blocks.0.moe.experts.gate_up_proj"][:2]:
    ...     print(piece.key.removeprefix("model.layers.0.block_sparse_moe."), piece.where)
    experts.0.w1.weight (0, slice(None, 128, None))
    experts.0.w3.weight (0, slice(128, None, None))
    """
    found = {"embedding.weight": [Piece("model.embed_tokens.weight")]}
    half, experts = config.d_expert, range(config.n_experts)
    for layer in range(config.n_layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        for name, key in LAYER.items():
            found[ours + name] = [Piece(theirs + key)]
        bank = f"{theirs}block_sparse_moe.experts."
        if layer in fused_layers:
            found[ours + GATE_UP], found[ours + DOWN] = (
                [Piece(f"{bank}gate_up_proj")],
                [Piece(f"{bank}down_proj")],
            )
            continue
        found[ours + GATE_UP] = [
            piece
            for expert in experts
            for piece in (
                Piece(f"{bank}{expert}.w1.weight", (expert, slice(None, half))),
                Piece(f"{bank}{expert}.w3.weight", (expert, slice(half, None))),
            )
        ]
        found[ours + DOWN] = [Piece(f"{bank}{expert}.w2.weight", (expert,)) for expert in experts]
    found["final_norm.weight"] = [Piece("model.norm.weight")]
    if not config.tie_embeddings:
        found["head.weight"] = [Piece("lm_head.weight")]
    return found


def skeleton(config: ModelConfig) -> MoETransformer:
    """Build a model that has shapes and no memory, of any size.

    Examples
    --------
    >>> skeleton(ModelConfig(d_model=2**14, n_heads=4)).head.weight.shape
    torch.Size([256, 16384])
    """
    with torch.device("meta"):
        return MoETransformer(config)
