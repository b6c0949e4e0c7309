"""Kernel 4, combine: each token collects its K rows and adds them in a fixed order."""

import triton
import triton.language as tl
from torch import Tensor

from moe_lessons.kernels.plan import Plan


@triton.jit
def combine_kernel(
    results_SD,
    weights_S,
    rows_S,
    out_TD,
    d_model,
    TOP_K: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Compute out[t] = sum over k of weight[t, k] * results[row of slot (t, k)], one piece of one token.

    Grid (T * cdiv(D, BLOCK_D),). Sums in fp32. Gathering is the point: were each row added where its token
    sits, the order of the sum, and with it the last bits, would depend on which program comes first. Without
    WEIGHTED the weights count as 1: the gradient of the tokens.
    FLOPs 2 S D, nothing beside the traffic: reads S D, writes T D elements.
    """
    n_pieces = tl.cdiv(d_model, BLOCK_D)
    token = (tl.program_id(0) // n_pieces).to(tl.int64)
    d = tl.program_id(0) % n_pieces * BLOCK_D + tl.arange(0, BLOCK_D)
    is_d = d < d_model
    acc = tl.zeros((BLOCK_D,), tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + token * TOP_K + k)
        result = tl.load(results_SD + row * d_model + d, mask=is_d, other=0.0).to(tl.float32)
        if WEIGHTED:
            result *= tl.load(weights_S + token * TOP_K + k).to(tl.float32)
        acc += result
    tl.store(out_TD + token * d_model + d, acc.to(out_TD.dtype.element_ty), mask=is_d)


def combine(results_SD: Tensor, weights_TK: Tensor | None, plan: Plan) -> Tensor:
    """Return (T, D) from S = T*K rows; without weights, their plain sum."""
    n_rows, d_model = results_SD.shape
    n_tokens = n_rows // plan.top_k
    out_TD = results_SD.new_empty(n_tokens, d_model)
    block = min(1024, triton.next_power_of_2(d_model))
    combine_kernel[(n_tokens * triton.cdiv(d_model, block),)](
        results_SD,
        weights_TK,
        plan.rows_S,
        out_TD,
        d_model,
        TOP_K=plan.top_k,
        WEIGHTED=weights_TK is not None,
        BLOCK_D=block,
        num_warps=4,
    )
    return out_TD


def combine_naive(results_SD: Tensor, weights_TK: Tensor | None, plan: Plan) -> Tensor:
    """Do what `combine` does."""
    results_TKD = results_SD[plan.rows_S].float().unflatten(0, (-1, plan.top_k))
    if weights_TK is not None:
        results_TKD = results_TKD * weights_TK.float().unsqueeze(-1)
    return results_TKD.sum(dim=1).to(results_SD.dtype)
