"""Time one kernel with one tile, alone, once its result is right: `Worker("gpu_stages.timing")`."""

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu_stages.compiling import cache_hits
from gpu_stages.workers import serve
from moe_lessons.kernels.plan import Plan, make_plan
from moe_lessons.kernels.pre_gradient import pre_gradient
from moe_lessons.kernels.product import product
from moe_lessons.kernels.tiles import TILE_OF_STEP, Tile, tiles_for
from moe_lessons.kernels.up import up
from moe_lessons.kernels.weight_gradient import weight_gradient

ERROR_LIMIT = 1e-2  # of two results in bf16 that add in another order; a wrong one is at 1
REPEAT_MS = 100


class Layer:
    """One layer's tensors, random, and what each kernel reads of the others, made once with today's tiles.

    Parameters
    ----------
    sizes : list of int
        T, D, F, E and K.
    device : torch.device
    """

    def __init__(self, sizes: list[int], device: torch.device) -> None:
        n_tokens, d_model, d_expert, self.n_experts, top_k = sizes
        generator = torch.Generator(device).manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, device=device, dtype=torch.bfloat16)

        self.hidden_TD, self.grad_TD = normal(n_tokens, d_model), normal(n_tokens, d_model)
        scores_TE = torch.rand(n_tokens, self.n_experts, generator=generator, device=device)
        self.ids_TK = scores_TE.topk(top_k).indices
        self.weights_TK = torch.rand(n_tokens, top_k, generator=generator, device=device)
        self.gate_up = normal(self.n_experts, 2 * d_expert, d_model).div_(d_model**0.5)
        self.down = normal(self.n_experts, d_model, d_expert).div_(d_expert**0.5)
        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        aligned = all(width * 2 % 16 == 0 for width in (d_model, d_expert))
        today = tiles_for(capability, 2, n_tokens * top_k / self.n_experts, aligned)
        self.today = {step: getattr(today, field) for step, field in TILE_OF_STEP.items()}
        self._plans: dict[int, Plan] = {}
        self._expected: dict[str, tuple[Tensor, ...]] = {}
        plan = self.plan(today.rows)
        self.act_SF, self.pre_S2F = up(self.hidden_TD, self.gate_up, plan, today.up, store_pre=True)
        backward = (self.grad_TD, self.down, self.weights_TK, self.pre_S2F, plan, today.pre_gradient)
        self.d_pre_S2F, self.weighted_act_SF, _ = pre_gradient(*backward)

    def plan(self, block_rows: int) -> Plan:
        if block_rows not in self._plans:
            self._plans[block_rows] = make_plan(self.ids_TK, self.n_experts, block_rows)
        return self._plans[block_rows]

    def call(self, step: str, tile: Tile) -> Callable[[], tuple[Tensor, ...]]:
        """Return what runs one step with a tile; all that it reads is there already."""
        plan = self.plan(tile.m)  # the weights' gradients do not look at its blocks
        new = torch.empty_like
        calls: dict[str, Callable[[], tuple[Tensor, ...]]] = {
            "up": lambda: up(self.hidden_TD, self.gate_up, plan, tile, store_pre=True),
            "down": lambda: (product(self.act_SF, self.down, plan, tile),),
            "pre_gradient": lambda: pre_gradient(
                self.grad_TD, self.down, self.weights_TK, self.pre_S2F, plan, tile
            ),
            "hidden_gradient": lambda: (product(self.d_pre_S2F, self.gate_up.mT, plan, tile),),
            "gate_up_gradient": lambda: (
                weight_gradient(self.hidden_TD, self.d_pre_S2F, plan, tile, new(self.gate_up).mT),
            ),
            "down_gradient": lambda: (
                weight_gradient(self.grad_TD, self.weighted_act_SF, plan, tile, new(self.down)),
            ),
        }
        return calls[step]

    def expected(self, step: str) -> tuple[Tensor, ...]:
        """Return what the step computes with today's tile; of one step at a time it is kept."""
        if step not in self._expected:
            self._expected = {step: poisoned(self.call(step, self.today[step]))}
        return self._expected[step]


def poisoned(call: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Run a call whose new tensors begin as NaN: what it leaves out shows."""
    torch.use_deterministic_algorithms(True)
    try:
        return call()
    finally:
        torch.use_deterministic_algorithms(False)


def largest_error(mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> float:
    """Return the largest relative Frobenius error of the tensors; NaN if one is in them.

    Examples
    --------
    >>> largest_error((torch.zeros(2), torch.ones(2)), (torch.ones(2), torch.ones(2)))
    1.0
    """
    errors = [
        float((a.float() - b.float()).norm() / b.float().norm()) for a, b in zip(mine, theirs, strict=True)
    ]
    return sum(errors) if any(error != error for error in errors) else max(errors)


def time_of(call: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return the median time and what a fifth of the runs were below or above; the cache is cleared between.

    In the interpreter, the time of one run.
    """
    if device.type == "cuda":
        import triton.testing

        times = triton.testing.do_bench(call, warmup=25, rep=REPEAT_MS, quantiles=[0.5, 0.2, 0.8])
        return dict(zip(("ms", "ms_20", "ms_80"), times, strict=True))
    began = time.perf_counter()
    call()
    return {"ms": 1000 * (time.perf_counter() - began)}


@functools.lru_cache(maxsize=1)
def layer_of(sizes: tuple[int, ...], device: torch.device) -> Layer:
    return Layer(list(sizes), device)


def measure(question: dict[str, Any]) -> dict[str, Any]:
    """Answer {"step", "sizes", "tile"} with the time and the error against today's tile.

    `compiled_before` says whether what had to be loaded was in Triton's cache; None if nothing had to.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layer, step, tile = layer_of(tuple(question["sizes"]), device), question["step"], Tile(*question["tile"])
    expected, call = layer.expected(step), layer.call(step, tile)
    with cache_hits() as hits:
        error = largest_error(poisoned(call), expected)
    right = error <= ERROR_LIMIT
    answer = {"ok": right, "relative_error": error, "compiled_before": all(hits) if hits else None}
    if not right:
        return {**answer, "why": f"its result differs from that of today's tile by {error:.1e}, relatively"}
    return answer | time_of(call, device)


if __name__ == "__main__":
    serve(measure)
