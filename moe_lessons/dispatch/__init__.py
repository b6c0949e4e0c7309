"""Bring each token to its experts and the results back: one sort, and several ways to do the arithmetic.

All paths share one signature and compute, for each token t, the sum over its choices k of
weight[t, k] * expert[id[t, k]](hidden[t]).
`moe_loop` is the definition, `moe_slots` its quick form for a token or two, `moe_counted` one for a few dozen
without gradients. `moe_unbind` runs one expert after the other, `moe_grouped` all of them in PyTorch's
grouped products: both leave gradients to autograd. `moe_fused` and `moe_padded` bring their own. `moe_auto`
takes the path that `choose` names. All of these are for SwiGLU experts; `moe_generic` takes any function.

Under `torch.compile` on a CPU, "auto", "fused" and "padded" are one graph, without a break: the experts are
an operator, which the compiler calls and does not look into (`operators`). In bf16 "auto" is "grouped", and
one graph too. All others break it, because what they do next depends on numbers that are not there before the
tokens are: "unbind", and "grouped" in other dtypes, cuts the rows by the loads; "counted" asks for the
largest load; "loop" and "slots" pick experts by id; `moe_generic` cuts rows too; a token mask picks the real
tokens. Each break is a return to Python. The results are the same.
"""

from collections.abc import Callable

from torch import Tensor

from moe_lessons.dispatch.choose import choose, moe_auto
from moe_lessons.dispatch.counted import moe_counted
from moe_lessons.dispatch.fused import moe_fused, moe_padded
from moe_lessons.dispatch.generic import NULLS, moe_generic
from moe_lessons.dispatch.grouped import grouped_supported, moe_grouped
from moe_lessons.dispatch.loops import moe_loop, moe_slots, moe_unbind
from moe_lessons.dispatch.plan import Plan, permutation_plan

PATHS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "loop": moe_loop,
    "slots": moe_slots,
    "counted": moe_counted,
    "unbind": moe_unbind,
    "grouped": moe_grouped,
    "fused": moe_fused,
    "padded": moe_padded,
}

__all__ = [
    "NULLS",
    "PATHS",
    "Plan",
    "choose",
    "grouped_supported",
    "moe_auto",
    "moe_counted",
    "moe_fused",
    "moe_generic",
    "moe_grouped",
    "moe_loop",
    "moe_padded",
    "moe_slots",
    "moe_unbind",
    "permutation_plan",
]
