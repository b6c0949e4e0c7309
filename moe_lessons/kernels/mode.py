"""Compiled on a GPU or interpreted on a CPU: one process does one of the two, and decides early."""

import importlib.util
import os
import sys

import torch

LOWEST_CAPABILITY = (8, 0)  # Triton's own floor, and the first with bf16; a T4 is 7.5


def interpreting() -> bool:
    """Say whether Triton runs, or would run, kernels in its interpreter in this process.

    Triton reads TRITON_INTERPRET when it is first imported; later changes come too late.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    if "triton" in sys.modules:
        from moe_lessons.kernels.common import INTERPRETED

        return INTERPRETED
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def kernel_device() -> torch.device:
    """Decide where this process runs Triton kernels: compiled on the GPU, or interpreted on the CPU.

    To be asked before Triton is first imported, in a notebook's first cell: where no GPU can compile the
    kernels it sets TRITON_INTERPRET.

    Returns
    -------
    torch.device
        "cuda", or "cpu" for the interpreter.

    Raises
    ------
    RuntimeError
        If Triton is not installed, or was imported before and would compile for a GPU that is not here.
    """
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError("Triton is not installed: it exists for Linux only")
    on_gpu = torch.cuda.is_available() and torch.cuda.get_device_capability() >= LOWEST_CAPABILITY
    if on_gpu and not interpreting():
        return torch.device("cuda")
    if "triton" in sys.modules and not interpreting():
        raise RuntimeError("Triton was imported before it could be told to interpret: restart, and ask first")
    os.environ["TRITON_INTERPRET"] = "1"
    return torch.device("cpu")
