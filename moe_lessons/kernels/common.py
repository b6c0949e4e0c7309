"""What the kernels share: a matrix product that is right in the interpreter too, and how it rounds."""

import os

import torch
import triton
import triton.language as tl

# A product and a sum become one instruction. Triton 3.9 warns where this is not said; 3.10 is to change it.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

# Triton asks for TRITON_INTERPRET once, when it is first imported: its own functions tell what it saw.
INTERPRETED = not isinstance(tl.cdiv, triton.JITFunction)


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr):
    """Return acc + a @ b, accumulated in fp32.

    The interpreter of Triton 3.7 multiplies the bit patterns of bf16 as integers (triton#11584), so there,
    PRECISION is "upcast". On a GPU it is "ieee" or "tf32" and matters to fp32 only.
    """
    if PRECISION == "upcast":
        return acc + tl.dot(a.to(tl.float32), b.to(tl.float32))
    else:
        return tl.dot(a, b, acc, input_precision=PRECISION)


def precision() -> str:
    """How `dot` multiplies, following `torch.set_float32_matmul_precision`."""
    if INTERPRETED:
        return "upcast"
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
