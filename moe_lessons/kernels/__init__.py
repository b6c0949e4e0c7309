"""The SwiGLU MoE in Triton, forward and backward: one file per kernel, its naive twin beside it.

In the order of a call: `plan` (who sits where), `up`, `product` (down), `combine`; backward `pre_gradient`,
`product` and `combine` again, `weight_gradient`. `moe` puts them in order, `support` says where they run,
`mode` whether compiled or interpreted, `tiles` how large a piece one program takes, `limits` how fast the
hardware would let them be; `traffic` counts what they move, `compiled` what they use.

Importing this package loads neither torch nor Triton.
"""

import importlib
from typing import Any

_EXPORTS = {
    "kernel_device": "mode",
    "moe_triton": "support",
    "roofline": "limits",
    "triton_supported": "support",
}

__all__ = ["kernel_device", "moe_triton", "roofline", "triton_supported"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"moe_lessons.kernels.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'moe_lessons.kernels' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
