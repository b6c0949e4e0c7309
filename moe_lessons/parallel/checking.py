"""Is expert parallelism right on these machines, and how fast is the network? For `moe-lessons ep-check`."""

import json
import os
import time
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.parallel.against_one import COUNTS, MISTAKES, ROUTERS, Sizes, compare, device_of
from moe_lessons.parallel.exchange import exchange
from moe_lessons.parallel.experts import ep_of
from moe_lessons.parallel.mesh import divisors, expert_mesh
from moe_lessons.parallel.steptime import fit_alpha_beta

LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}
FOUND = 0.1  # a mistake's largest error is above
ROW_FLOATS, ROWS, REPEATS = 256, (1, 16, 64, 256, 1024), 20
N_EXPERTS = 8


def check(mesh: DeviceMesh) -> list[dict[str, Any]]:
    """Compare layers with one process in every case, and see that each planted mistake is found.

    Returns
    -------
    list of dict
        Of each check its "what", its largest "error", its "limit", and whether it is "ok".
    """
    experts = -(-N_EXPERTS // ep_of(mesh).size()) * ep_of(mesh).size()
    found = []
    for dtype, limit in LIMITS.items():
        for router in ROUTERS:
            for name, counts in COUNTS.items():
                errors = compare(mesh, counts, router=router, dtype=dtype, sizes=Sizes(n_experts=experts))
                what = f"{str(dtype).removeprefix('torch.')}, {name}, router: {router}"
                worst = max(errors.values())
                found.append({"what": what, "error": worst, "limit": limit, "ok": worst < limit})
    for mistake in MISTAKES if ep_of(mesh).size() > 1 else ():
        worst = max(compare(mesh, COUNTS["uneven"], mistake=mistake, sizes=Sizes(n_experts=experts)).values())
        what = f"a planted mistake is found: {mistake.replace('_', ' ')}"
        found.append({"what": what, "error": worst, "limit": FOUND, "ok": worst > FOUND})
    return found


def measure(mesh: DeviceMesh) -> dict[str, float]:
    """Time the exchange at several sizes, the least of many repetitions each, and fit a network to it.

    Returns
    -------
    dict
        "latency_us", "gigabytes_per_s" and "worst", the fit's largest relative error.
    """
    ep, device = ep_of(mesh), device_of(mesh)
    sizes, seconds = [], []
    for rows in ROWS:
        rows_SD, even_G = torch.zeros(ep.size() * rows, ROW_FLOATS, device=device), [rows] * ep.size()
        least = min(timed(lambda a=rows_SD, g=even_G: exchange(a, g, g, ep), device) for _ in range(REPEATS))
        sizes.append((ep.size() - 1) * rows * ROW_FLOATS * 4.0)
        seconds.append(least)
    return fit_alpha_beta(sizes, seconds)._asdict() if ep.size() > 1 else {}


def timed(work: Any, device: torch.device) -> float:
    """Seconds that work takes, from when all ranks are here to when the last one is done."""
    distributed.barrier()
    _finish(device)
    started = time.perf_counter()
    work()
    _finish(device)
    slowest = torch.tensor(time.perf_counter() - started, dtype=torch.float64, device=device)
    distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
    return slowest.item()


def main() -> dict[str, Any] | None:
    """Check on the ranks that torchrun has started; return what came of it on the first, else None."""
    torch.set_num_threads(1)
    cuda = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    size = distributed.get_world_size()
    layouts = []
    # All ranks share the experts; and, where the number allows it, two replicas that do.
    for n_ep in dict.fromkeys([size, *(n for n in divisors(size) if n * 2 == size and n > 1)]):
        mesh = expert_mesh(n_ep, "cuda" if cuda else "cpu")
        layouts.append(
            {"replicas": size // n_ep, "ep": n_ep, "checks": check(mesh), "network": measure(mesh)}
        )
    result = {"ranks": size, "device": "cuda, nccl" if cuda else "cpu, gloo", "layouts": layouts}
    distributed.barrier()  # whoever leaves early can bring down the others
    return result if distributed.get_rank() == 0 else None


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    found = main()
    if found is not None:
        print(json.dumps(found), flush=True)
    os._exit(0)
