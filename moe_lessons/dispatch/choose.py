"""Which path is fastest: a short rule from this project's measurements.

`moe-lessons bench` measures every path beside the others; what it found on the CPU is in
`moe_lessons/results/layer_cpu.json`.
"""

from functools import partial

import torch
from torch import Tensor

from moe_lessons.dispatch.arguments import check_ids, check_shapes, compute_dtype
from moe_lessons.dispatch.counted import moe_counted
from moe_lessons.dispatch.fused import moe_fused, moe_padded
from moe_lessons.dispatch.grouped import grouped_supported, moe_grouped
from moe_lessons.dispatch.loops import moe_slots, moe_unbind
from moe_lessons.dispatch.plan import permutation_plan
from moe_lessons.routing import tokens_per_expert

# From so many rows of an expert and so many multiplications (rows x D x F) on it doesn't matter that Python
# starts each product: that takes 2 us in fp32, and 12 us in 16-bit types, which multiply four times as fast.
MANY_ROWS, LARGE_PRODUCT, LARGE_NARROW_PRODUCT = 32, 2**22, 2**24
FEW_SLOTS = 8  # up to so many slots it is quicker not to sort
# Batched products start all experts at once and give each thread experts of its own, where a small product
# alone keeps one thread busy. But they read weights at half the speed, those of idle experts too, and
# multiply padding.
SMALL_MATRIX, SMALL_MATRIX_ALONE = 2**19, 2**18  # D x F; the second where there is one thread
MOST_PADDING = 2.5  # rows of the equal rooms / rows there are
MOST_TO_COUNT = 512  # slots; beyond, sorting them is quicker than counting
# With so few rows, reading the weights takes the time, not multiplying.
FEW_ROWS, MOST_PADDING_OF_FEW = 8, 4


def choose(
    n_slots: int,
    n_experts: int,
    d_model: int,
    d_expert: int,
    dtype: torch.dtype,
    *,
    device: str = "cpu",
    largest_load: int | None = None,
    grouped: bool = True,
    gradients: bool = False,
    threads: int = 1,
) -> str:
    """Name the fastest path.

    Parameters
    ----------
    n_slots : int
        S = T * K routed rows.
    n_experts, d_model, d_expert : int
        E, D and F.
    dtype : torch.dtype
        Of the products.
    device : str
        "cpu", or another type of device.
    largest_load : int, optional
        Rows of the busiest expert; without it, loads count as even.
    grouped : bool
        Whether `F.grouped_mm` takes the tensors: what `grouped_supported` says.
    gradients : bool
        Whether there is to be a backward.
    threads : int
        Of PyTorch on the CPU.

    Returns
    -------
    str
        A key of `PATHS`. Off the CPU "grouped", which never waits for the host, or else "unbind". On the CPU
        "fused" where an expert's products are large. Where they are small, what counts is how they are
        started: all at once in "padded" if matrices are small and loads even, except in fp32 on one thread;
        otherwise one after the other without Python in "grouped". Without gradients "slots" for a handful of
        slots, and "counted" in place of "padded" for a few hundred.

    Examples
    --------
    >>> choose(4096, 8, 256, 512, torch.float32)
    'fused'
    >>> choose(8192, 64, 128, 128, torch.bfloat16, largest_load=150)
    'padded'
    >>> choose(128, 64, 512, 256, torch.float32), choose(128, 64, 512, 256, torch.float32, threads=2)
    ('grouped', 'counted')
    >>> choose(2, 8, 512, 1024, torch.float32)
    'slots'
    """
    if device != "cpu":
        return "grouped" if grouped else "unbind"
    if n_slots <= FEW_SLOTS and not gradients:
        return "slots"
    narrow = dtype.itemsize == 2
    rows = n_slots / max(1, min(n_experts, n_slots))
    large = rows * d_model * d_expert >= (LARGE_NARROW_PRODUCT if narrow else LARGE_PRODUCT)
    if not grouped or (large and rows >= MANY_ROWS):
        return "fused"
    if largest_load is None:
        largest_load = -(-n_slots // n_experts)
    if n_slots < n_experts or (threads == 1 and not narrow):
        return "grouped"
    small = d_model * d_expert <= (SMALL_MATRIX if threads > 1 else SMALL_MATRIX_ALONE)
    few = narrow and threads > 1 and largest_load <= FEW_ROWS
    even = n_experts * largest_load <= (MOST_PADDING_OF_FEW if few else MOST_PADDING) * n_slots
    if not (small and even):
        return "grouped"
    return "padded" if gradients or n_slots > MOST_TO_COUNT else "counted"


def moe_auto(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Take the path that `choose` names for these tensors and this load.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_auto(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)
    tensor([[50.]])
    """
    arguments = hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj
    check_shapes(*arguments)
    grouped = grouped_supported(hidden_TD, gate_up_proj, down_proj)
    on_cpu = hidden_TD.device.type == "cpu"
    if not on_cpu or torch.compiler.is_compiling():  # no choice by load: reading it would break the graph
        otherwise = moe_fused if on_cpu else moe_unbind
        return (moe_grouped if grouped else otherwise)(*arguments)
    n_experts, d_model, d_expert = down_proj.shape
    ask = partial(
        choose,
        topk_ids_TK.numel(),
        n_experts,
        d_model,
        d_expert,
        compute_dtype(hidden_TD),
        grouped=grouped,
        gradients=torch.is_grad_enabled(),
        threads=torch.get_num_threads(),
    )
    path = ask()  # as if loads were even
    if path == "slots":
        return moe_slots(*arguments)
    if path == "counted":
        check_ids(topk_ids_TK, n_experts)
        if ask(largest_load=int(tokens_per_expert(topk_ids_TK, n_experts).max())) == "counted":
            return moe_counted(*arguments)
    plan = permutation_plan(topk_ids_TK, n_experts)
    path = ask(largest_load=int(plan.tokens_per_expert_E.max()))
    return {"fused": moe_fused, "padded": moe_padded, "grouped": moe_grouped}[path](*arguments, plan)
