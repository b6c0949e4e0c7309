"""The checks that the stage "right" does in its own process."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).resolve().parents[2] / "tests" / "kernels"
sys.path[:0] = [str(TESTS)]

from interpreted.test_steps import TILE, steps  # noqa: E402
from kernel_cases import EDGES, LIMITS, assert_close, draw_case, oracle, relative_error, run  # noqa: E402

from moe_lessons.config import preset  # noqa: E402
from moe_lessons.kernels import moe_triton  # noqa: E402
from moe_lessons.training import train  # noqa: E402

EDGE = "odd D and F, prime E"
STEPS = 50
CURVES_WITHIN = 0.02
"""Bits per byte between two curves of the smoke preset at each of their records: bf16 autocast, and fp32.

Both on a CPU, they were at most 0.002 apart; a learning rate lower by a twentieth is 0.07 away."""


def checks(device: str) -> dict[str, Callable[[], dict[str, Any] | None]]:
    """Name the checks; those of kernels are here for the interpreter only, a GPU has the tests."""
    found: dict[str, Callable[[], dict[str, Any] | None]] = {}
    if device == "cpu":
        for dtype in LIMITS:
            found[f"each kernel against its twin, {dtype}"] = partial(kernels, dtype)
            found[f"moe_triton against the definition in fp64, {dtype}"] = partial(whole, dtype)
        found["moe_triton repeats bit for bit"] = repeats
    found[f"preset smoke, {STEPS} steps, bf16 against fp32 on the CPU"] = partial(smoke, device)
    return found


def kernels(dtype: torch.dtype) -> dict[str, Any]:
    """Each kernel beside its naive twin in fp64; zeros must not pass."""
    worst = 0.0
    for name, (mine, twin) in steps(draw_case(*EDGES[EDGE], dtype=dtype), TILE).items():
        pairs = zip(*(pair if isinstance(pair, tuple) else (pair,) for pair in (mine, twin)), strict=True)
        for found, exact in pairs:
            worst = max(worst, relative_error(found, exact))
            assert relative_error(found, exact) <= LIMITS[dtype], name
            assert relative_error(torch.zeros_like(found), exact) > LIMITS[dtype], f"{name}: zeros pass"
    return {"error": worst, "limit": LIMITS[dtype]}


def whole(dtype: torch.dtype) -> dict[str, Any]:
    """Output and all gradients beside the definition in fp64; zeros must not pass."""
    case = draw_case(*EDGES[EDGE], dtype=dtype)
    mine, exact = run(moe_triton, case), oracle(case)
    assert_close(mine, exact, LIMITS[dtype])
    assert all(
        relative_error(torch.zeros_like(x), y) > LIMITS[dtype] for x, y in zip(mine, exact, strict=True)
    )
    errors = [relative_error(*pair) for pair in zip(mine, exact, strict=True)]
    return {"error": max(errors), "limit": LIMITS[dtype]}


def repeats() -> None:
    """Twice the same, to the last bit."""
    case = draw_case(*EDGES[EDGE], dtype=torch.bfloat16)
    assert all(torch.equal(*pair) for pair in zip(run(moe_triton, case), run(moe_triton, case), strict=True))


def smoke(device: str) -> dict[str, Any]:
    """Train in bf16 here and in fp32 on the CPU; the curves must lie as near as rounding lets them."""
    mine, exact = curve(device, "bf16"), curve("cpu", "fp32")
    gaps = [abs(a - b) for a, b in zip(mine, exact, strict=True)]
    found = {"bits_per_byte": mine, "bits_per_byte_fp32_cpu": exact, "gap": max(gaps), "limit": CURVES_WITHIN}
    assert max(gaps) <= CURVES_WITHIN, found
    assert mine[-1] < mine[0] - 10 * CURVES_WITHIN, f"it learned nothing: {found}"
    return found


def curve(device: str, precision: str, **changes: Any) -> list[float]:
    """Train the smoke preset and return the bits per byte of each record, the held-out ones last."""
    config = preset("smoke").override(
        steps=STEPS, evaluate_every=STEPS, device=device, precision=precision, **changes
    )
    result = train(config)
    return [*(record.train_bits_per_byte for record in result.history), result.validation_bits_per_byte]
