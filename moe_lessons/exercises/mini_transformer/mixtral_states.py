"""One layer under a checkpoint's names, as Mixtral has it and as it is often got wrong."""

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
State = dict[str, Tensor]


def prefix(layer: int) -> str:
    """How the names of a layer's Mixture-of-Experts part begin."""
    return f"model.layers.{layer}.block_sparse_moe."


Expert = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def split_rows(gate_up_proj: Tensor, down_proj: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One expert's w1 (gate), w2 (down) and w3 (up)."""
    gate, up = gate_up_proj.chunk(2, dim=0)
    return gate, down_proj, up


def with_experts(expert: Expert, *, first: int = 0, own: bool = True) -> Callable[..., State]:
    """The whole layer, given what becomes of one expert."""

    def keys(router_ED: Tensor, gate_up_proj: Tensor, down_proj: Tensor, layer: int) -> State:
        state = {prefix(layer) + "gate.weight": router_ED}
        for e, bank in enumerate(zip(gate_up_proj, down_proj, strict=True)):
            for name, weight in zip(("w1", "w2", "w3"), expert(*bank), strict=True):
                state[f"{prefix(layer)}experts.{e + first}.{name}.weight"] = weight
        if own:
            state = {
                name: weight.clone(memory_format=torch.contiguous_format) for name, weight in state.items()
            }
        return state

    return keys


reference = with_experts(split_rows)


def in_order(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers in the order of computing."""
    gate, up = gate_up.chunk(2, dim=0)
    return gate, up, down


def halves_swapped(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Up first, gate behind."""
    up, gate = gate_up.chunk(2, dim=0)
    return gate, down, up


def transposed(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every matrix turned."""
    w1, w2, w3 = split_rows(gate_up, down)
    return w1.T, w2.T, w3.T


def down_transposed(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The down matrix turned."""
    w1, w2, w3 = split_rows(gate_up, down)
    return w1, w2.T, w3


def interleaved(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every other row."""
    return gate_up[0::2], down, gate_up[1::2]


def split_inputs(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut along the inputs."""
    gate, up = gate_up.chunk(2, dim=-1)
    return gate, down, up


def fused(router_ED: Tensor, gate_up_proj: Tensor, down_proj: Tensor, layer: int) -> State:
    """The banks as they are."""
    return {
        prefix(layer) + "gate.weight": router_ED,
        prefix(layer) + "experts.gate_up_proj": gate_up_proj,
        prefix(layer) + "experts.down_proj": down_proj,
    }


def router_transposed(router_ED: Tensor, *rest: Any) -> State:
    """The router turned."""
    return reference(router_ED.T.contiguous(), *rest)


def first_layer(*args: Any) -> State:
    """Layer 0, whichever it is."""
    return reference(*args[:-1], 0)
