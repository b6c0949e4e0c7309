"""Who takes part: our layer, and the formulations that others use, each built for one case.

Peers are written here as their authors would write them, or taken from where they are installed; nothing of
ours helps them. A builder returns a function of tokens, expert ids and weights, or raises `NotHere`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.bench.shapes import Case
from moe_lessons.dispatch import moe_auto
from moe_lessons.kernels import moe_triton, triton_supported
from moe_lessons.layer import MoELayer

Run = Callable[[Tensor, Tensor, Tensor], Tensor]
LARGEST_COPY_BYTES = 2 * 2**30


class NotHere(Exception):
    """A contestant cannot take part; the message says why."""


def ours(case: Case) -> Run:
    """Return the path that the layer would take."""
    weights = case.gate_up_proj, case.down_proj
    if case.shape.scope == "layer":
        layer = MoELayer(case.shape.d_model, case.shape.d_expert, case.shape.n_experts, case.shape.top_k)
        layer.experts.gate_up_proj, layer.experts.down_proj = weights
        layer.router.weight = case.router
        return lambda hidden_TD, ids_TK, weights_TK: layer(hidden_TD).hidden
    supported, _ = triton_supported(case.gate_up_proj)
    path = moe_triton if case.device == "cuda" and supported else moe_auto
    return lambda hidden_TD, ids_TK, weights_TK: path(hidden_TD, ids_TK, weights_TK, *weights)


def transformers_experts(implementation: str) -> Callable[[Case], Run]:
    """Return a builder of Hugging Face's Mixtral experts, or block, with one of its implementations."""

    def build(case: Case) -> Run:
        try:
            from transformers import MixtralConfig
            from transformers.models.mixtral import modeling_mixtral as mixtral
        except ImportError:
            raise NotHere("transformers is not installed") from None
        shape = case.shape
        if implementation == "batched_mm":
            n_slots = shape.n_tokens * shape.top_k
            copied = n_slots * case.gate_up_proj[0].numel() * 3 // 2 * case.gate_up_proj.itemsize
            if copied > LARGEST_COPY_BYTES:
                raise NotHere(f"would copy {copied / 2**30:.0f} GiB of expert weights")
        config = MixtralConfig(
            hidden_size=shape.d_model,
            intermediate_size=shape.d_expert,
            num_local_experts=shape.n_experts,
            num_experts_per_tok=shape.top_k,
        )
        config._experts_implementation = implementation
        with torch.device("meta"):
            block = mixtral.MixtralSparseMoeBlock(config)
        block.experts.gate_up_proj, block.experts.down_proj = case.gate_up_proj, case.down_proj
        block.gate.weight = case.router
        if shape.scope == "layer":
            return lambda hidden_TD, ids_TK, weights_TK: block(hidden_TD.unsqueeze(0)).squeeze(0)
        return block.experts

    return build


def unbind_loop(case: Case) -> Run:
    """Sort, split, one linear layer after the other over unbound weights, add up by index."""

    def run(hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        ids_S, order_S = ids_TK.flatten().sort(stable=True)
        tokens_S = order_S // ids_TK.shape[1]
        counts = torch.bincount(ids_S, minlength=case.shape.n_experts).tolist()
        groups = hidden_TD[tokens_S].split(counts)
        parts = [
            _expert(rows, gate_up, down)
            for rows, gate_up, down in zip(
                groups, case.gate_up_proj.unbind(), case.down_proj.unbind(), strict=True
            )
        ]
        return _add_up(torch.cat(parts), hidden_TD, tokens_S, weights_TK.flatten()[order_S])

    return run


def grouped_mm(case: Case) -> Run:
    """Sort, two grouped products, add up by index: PyTorch's own building blocks, used plainly."""
    if case.device == "cpu" and case.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise NotHere("grouped_mm has no such dtype")

    def run(hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        ids_S, order_S = ids_TK.flatten().sort(stable=True)
        tokens_S = order_S // ids_TK.shape[1]
        experts_E = torch.arange(case.shape.n_experts, device=ids_S.device)
        ends_E = torch.searchsorted(ids_S, experts_E, right=True).int()
        gate_S, up_S = F.grouped_mm(hidden_TD[tokens_S], case.gate_up_proj.mT, offs=ends_E).chunk(2, dim=-1)
        results_SD = F.grouped_mm(F.silu(gate_S) * up_S, case.down_proj.mT, offs=ends_E)
        return _add_up(results_SD, hidden_TD, tokens_S, weights_TK.flatten()[order_S])

    return run


def padded_bmm(case: Case) -> Run:
    """Give every expert the busiest one's number of rows, two batched products, add up by index."""
    n_experts, d_model = case.shape.n_experts, case.shape.d_model

    def run(hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        ids_S, order_S = ids_TK.flatten().sort(stable=True)
        tokens_S = order_S // ids_TK.shape[1]
        counts_E = torch.bincount(ids_S, minlength=n_experts)
        capacity = int(counts_E.max())
        if n_experts * capacity * d_model * hidden_TD.itemsize > LARGEST_COPY_BYTES:
            raise NotHere(f"would pad to {n_experts} x {capacity} rows")
        first_E = counts_E.cumsum(0) - counts_E
        places_S = torch.arange(len(ids_S), device=ids_S.device) - first_E[ids_S] + ids_S * capacity
        empty = hidden_TD.new_zeros(n_experts * capacity, d_model)
        rows_ECD = empty.index_copy(0, places_S, hidden_TD[tokens_S]).view(n_experts, capacity, d_model)
        gate, up = torch.bmm(rows_ECD, case.gate_up_proj.mT).chunk(2, dim=-1)
        results = torch.bmm(F.silu(gate) * up, case.down_proj.mT).flatten(0, 1)
        return _add_up(results[places_S], hidden_TD, tokens_S, weights_TK.flatten()[order_S])

    return run


def masking(case: Case) -> Run:
    """Pick each expert's tokens with a boolean mask, as makeMoE and many tutorials do."""

    def run(hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        weights_TE = weights_TK.new_zeros(len(hidden_TD), case.shape.n_experts).scatter(1, ids_TK, weights_TK)
        output_TD = torch.zeros_like(hidden_TD)
        for expert, (gate_up, down) in enumerate(
            zip(case.gate_up_proj.unbind(), case.down_proj.unbind(), strict=True)
        ):
            mask_T = (ids_TK == expert).any(dim=-1)
            if mask_T.any():
                results = _expert(hidden_TD[mask_T], gate_up, down)
                output_TD[mask_T] += (results * weights_TE[mask_T, expert, None]).to(output_TD.dtype)
        return output_TD

    return run


def liger(case: Case) -> Run:
    """Return Liger-Kernel's fused MoE."""
    if case.device != "cuda":
        raise NotHere("needs a GPU")
    try:
        from liger_kernel.ops.fused_moe import LigerFusedMoEFunction
    except ImportError:
        raise NotHere("liger-kernel with fused_moe is not installed") from None
    return lambda hidden_TD, ids_TK, weights_TK: LigerFusedMoEFunction.apply(
        hidden_TD, case.gate_up_proj, case.down_proj, ids_TK.int(), weights_TK
    )


def sonic(case: Case) -> Run:
    """Return SonicMoE as transformers loads it."""
    if case.device != "cuda":
        raise NotHere("needs a GPU")
    try:
        from transformers.integrations.sonicmoe import is_sonicmoe_loadable
    except ImportError:
        raise NotHere("this transformers has no SonicMoE") from None
    if not is_sonicmoe_loadable():
        raise NotHere("SonicMoE's packages are not installed, or the GPU is older than Hopper")
    return transformers_experts("sonicmoe")(case)


OURS = "ours"
CONTESTANTS: dict[str, Callable[[Case], Run]] = {
    OURS: ours,
    "hf_eager": transformers_experts("eager"),
    "hf_grouped_mm": transformers_experts("grouped_mm"),
    "hf_batched_mm": transformers_experts("batched_mm"),
    "unbind_loop": unbind_loop,
    "grouped_mm": grouped_mm,
    "padded_bmm": padded_bmm,
    "masking": masking,
    "liger": liger,
    "sonicmoe": sonic,
}
LAYER_CONTESTANTS = (OURS, "hf_eager", "hf_grouped_mm", "hf_batched_mm")


def build(case: Case) -> tuple[dict[str, Run], dict[str, str]]:
    """Build who can take part, and say of the others why not."""
    runs: dict[str, Run] = {}
    absent: dict[str, str] = {}
    for name, builder in CONTESTANTS.items():
        if case.shape.scope == "layer" and name not in LAYER_CONTESTANTS:
            continue
        try:
            runs[name] = builder(case)
        except NotHere as reason:
            absent[name] = str(reason)
        except Exception as problem:  # another version of a library may lack what a builder asks for
            absent[name] = f"failed: {(str(problem) or type(problem).__name__).splitlines()[0]}"
    return runs, absent


def _expert(rows_ND: Tensor, gate_up_2FD: Tensor, down_DF: Tensor) -> Tensor:
    gate_NF, up_NF = F.linear(rows_ND, gate_up_2FD).chunk(2, dim=-1)
    return F.linear(F.silu(gate_NF) * up_NF, down_DF)


def _add_up(results_SD: Tensor, hidden_TD: Tensor, tokens_S: Tensor, weights_S: Tensor) -> Tensor:
    weighted_SD = (results_SD * weights_S.unsqueeze(1)).to(hidden_TD.dtype)
    return torch.zeros_like(hidden_TD).index_add(0, tokens_S, weighted_SD)
