"""The layer's benchmark on the GPU: ours, its peers and the dense limit, with the machine's own ceilings.

Everybody takes turns in an order drawn each round, on tokens and a routing drawn each round; each turn is
timed by the host's clock between two synchronisations, and repeats what is quicker than 4 ms. Beside each
row: clocks, temperature and power before and after, the least time at the ceilings measured here, and
whether all that one pass touches would fit into the L2 cache (then repeats read from there).
"""

import gc
import importlib
import time
from typing import Any

import torch

from gpu_stages import clocks
from gpu_stages.stage import Stage
from moe_lessons.bench.measuring import measure
from moe_lessons.bench.report import rows
from moe_lessons.bench.shapes import GPU_SHAPES, Case, Shape
from moe_lessons.kernels.limits import Ceiling, costs, roofline

LIMIT_S = 180
ROUNDS, FEW_ROUNDS = 15, 5
ENOUGH_S, LEAST_S = 60.0, 20.0  # with less than the first, few rounds; with less than the second, none

MIXTRAL = Shape("mixtral", 8192, 4096, 14336, 8, 2, dtypes=("bf16",), compute_bound=("bf16",))
TINY = Shape("tiny", 12, 16, 24, 4, 2, dtypes=("fp32",))
FIRST = ("many-experts", "fine-grained", "mixtral", "decode-64")
"""The reference shape, Qwen3-30B's, Mixtral's, and a step of decoding; the others follow."""


def run(stage: Stage) -> None:
    """Measure the ceilings, then one shape and dtype after the other."""
    ceiling = ceilings(stage)
    for shape, dtype in jobs(stage.dry):
        if stage.have(shape=shape.name, dtype=dtype):
            continue
        if stage.left() < LEAST_S:
            stage.say("no time for further shapes")
            return
        stage.say(f"{shape.name} {dtype} ...")
        began = time.perf_counter()
        try:
            made = of_shape(stage, shape, dtype, ceiling)
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            made = [{"shape": shape.name, "dtype": dtype, "ok": False, "why": why}]
        for row in made:
            stage.add({**row, "seconds": round(time.perf_counter() - began, 1)})
        gc.collect()
        if not stage.dry:
            torch.cuda.synchronize()  # raises after a fault: a fresh process goes on with the next shape
            torch.cuda.empty_cache()


def jobs(dry: bool) -> list[tuple[Shape, str]]:
    """List shapes and dtypes in order of worth."""
    if dry:
        return [(TINY, dtype) for dtype in TINY.dtypes]
    shapes = {shape.name: shape for shape in (*GPU_SHAPES, MIXTRAL)}
    order = [*FIRST, *(name for name in shapes if name not in FIRST)]
    found = [(shapes[name], dtype) for name in order for dtype in shapes[name].dtypes]
    return sorted(found, key=lambda job: job[1] != "bf16")  # fp32 last; the order is kept otherwise


def of_shape(stage: Stage, shape: Shape, dtype: str, ceiling: Ceiling | None) -> list[dict[str, Any]]:
    """Measure one shape; return a row for forward and one for forward and backward."""
    before = None if stage.dry else clocks.now()
    case = Case(shape, dtype, stage.device)
    n_rounds = ROUNDS if stage.left() > ENOUGH_S else FEW_ROUNDS
    made = rows(case, dtype, measure(case, 3 if stage.dry else n_rounds))
    beside = {"clocks": {"before": before, "after": None if stage.dry else clocks.now()}}
    limit = least_ms(shape, ceiling) if dtype == "bf16" and ceiling else {}
    return [
        {**row, **limit.get(row["pass"], {}), **resident(shape, case, row["pass"]), **beside} for row in made
    ]


def least_ms(shape: Shape, ceiling: Ceiling) -> dict[str, dict[str, float]]:
    """Return, for each pass, the least time at these ceilings, kernel by kernel and added."""
    limit = roofline(shape.n_tokens, shape.d_model, shape.d_expert, shape.n_experts, shape.top_k, ceiling)
    return {
        "forward": {"roofline_ms": round(limit.forward_ms, 4)},
        "forward_backward": {"roofline_ms": round(limit.total_ms, 4)},
    }


def resident(shape: Shape, case: Case, which: str) -> dict[str, Any]:
    """Say how much one pass touches, and whether that fits into the L2 cache."""
    sizes = shape.n_tokens, shape.d_model, shape.d_expert, shape.n_experts, shape.top_k
    kernels = costs(*sizes, itemsize=case.dtype.itemsize)
    names = ("up", "down", "combine") if which == "forward" else tuple(kernels)
    least = max(kernels[name].bytes for name in names)  # the largest kernel's: a lower bound of the whole
    if case.device != "cuda":
        return {"touched_bytes_at_least": least}
    cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0)
    return {"touched_bytes_at_least": least, "l2_bytes": cache, "may_sit_in_l2": least <= cache}


def ceilings(stage: Stage) -> Ceiling | None:
    """Measure a large copy and a large bf16 product, or return what is stored; None in a dry run's stead."""
    found = stage.have(name="ceilings")
    if found is None:
        small = stage.dry
        found = {
            "name": "ceilings",
            "bytes_per_s": copy_rate(stage.device, 2**20 if small else 2**32),
            "flops_per_s": product_rate(stage.device, 64 if small else 8192),
            "what": "copy on the device, bytes read plus written; bf16 product of random matrices; medians",
            "clocks": None if small else clocks.now(),
        }
        stage.add(found)
    return None if stage.dry else Ceiling(found["flops_per_s"], found["bytes_per_s"])


def copy_rate(device: str, n_bytes: int) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.randint(0, 255, (n_bytes,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / median_s(lambda: target.copy_(source), device)


def product_rate(device: str, n: int) -> float:
    """Operations a second of an n by n by n product in bf16."""
    left, right = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 / median_s(lambda: left @ right, device)


def median_s(call: Any, device: str, repeats: int = 15) -> float:
    """Return the median seconds of a call, by events on a GPU."""
    if device == "cuda":
        timed = importlib.import_module("triton.testing").do_bench(call, return_mode="median")
        return timed / 1000
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[repeats // 2]
