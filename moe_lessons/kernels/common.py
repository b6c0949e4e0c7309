"""What the kernels share: a product that is right in the interpreter too, who computes what, descriptors."""

import os

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

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


@triton.jit
def share(task, n_tasks, n_pieces, GROUP_M: tl.constexpr):
    """Return the block of rows and the piece of columns that is the task's, of n_tasks = blocks * pieces.

    Tasks that follow each other run at about the same time, and find in the cache what they have in common.
    With GROUP_M = 1 that is the rows: all pieces of a block come first. With more, that many blocks take
    turns at each piece, and have its weights in common as well.
    """
    if GROUP_M == 1:
        return task // n_pieces, task % n_pieces
    else:
        first = task // (GROUP_M * n_pieces) * GROUP_M
        n_turns = tl.minimum(n_tasks // n_pieces - first, GROUP_M)  # the last group may be smaller
        turn = task % (GROUP_M * n_pieces)
        return first + turn % n_turns, turn // n_turns


def descriptor(tensor: Tensor, block: list[int], name: str) -> TensorDescriptor:
    """Describe a contiguous tensor to the copy engine, which brings a block of it and knows where it ends.

    Filled in by the host and passed by value: nothing to allocate, nothing that a CUDA graph could lose. On
    GPUs before Hopper, Triton makes pointers of it.

    Raises
    ------
    ValueError
        If rows do not start on multiples of 16 bytes.
    """
    row_bytes = tensor.shape[-1] * tensor.itemsize
    if row_bytes % 16 or tensor.data_ptr() % 16:
        raise ValueError(
            f"tile.tma=True: {name} has rows of {row_bytes} bytes from address {tensor.data_ptr()} on, and "
            "the copy engine needs multiples of 16: use a tile with tma=False"
        )
    return TensorDescriptor.from_tensor(tensor, block)


def multiprocessors(device: torch.device) -> int:
    """How many programs run at once, one each; PyTorch keeps the number, so the GPU is not asked.

    In the interpreter 3, few enough that a program has several pieces; as on an H100 where nothing runs.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 3 if device.type == "cpu" else 132
