"""The SwiGLU MoE in Triton, forward and backward: one file per kernel, its naive twin beside it.

In the order of a call: `plan` (who sits where), `up`, `product` (down), `combine`; backward `pre_gradient`,
`product` and `combine` again, `weight_gradient`. `moe` puts them in order, `support` says where they run,
`mode` whether compiled or interpreted, `tiles` how large a piece one program takes, `limits` how fast the
hardware would let them be; `traffic` counts what they move, `compiled` what they use. `up_persistent` and
`product_tma` are variants with levers that no GPU has judged yet.

Importing this package loads neither torch nor Triton.
"""

from moe_lessons.lazy import lazy

_EXPORTS = {
    "kernel_device": "mode",
    "moe_triton": "support",
    "roofline": "limits",
    "triton_supported": "support",
}

__all__ = ["kernel_device", "moe_triton", "roofline", "triton_supported"]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
