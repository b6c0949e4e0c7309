"""What lesson 14 starts as processes: a layer against one process, a short training, who waits for whom.

    torchrun --nproc-per-node 2 -m moe_lessons.parallel.demo

The first rank prints one line of JSON, what `main` returns. `moe_lessons.parallel.launch.run_ranks` starts it
from a notebook.
"""

import json
import os
import time
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.data import load_corpus
from moe_lessons.parallel.against_one import COUNTS, MISTAKES, ROUTERS, compare
from moe_lessons.parallel.exchange import exchange
from moe_lessons.parallel.experts import ep_of
from moe_lessons.parallel.mesh import expert_mesh
from moe_lessons.parallel.rehearsal import Rehearsal, rehearse

STEPS = 10
SLEEP_S, LATE_S = 0.05, 0.4


def equal(mesh: DeviceMesh) -> dict[str, Any]:
    """Compare a layer on the ranks with one process, right and with each mistake.

    Returns
    -------
    dict
        Under "cases" a list, each with "tokens", "routing" and the error of each part of the comparison, the
        largest over the ranks; under "mistakes" the errors for each of `MISTAKES`.
    """
    cases = [
        {"tokens": name, "routing": router, **compare(mesh, counts, router=router, dtype=torch.float32)}
        for router in ROUTERS
        for name, counts in COUNTS.items()
    ]
    mistakes = {mistake: compare(mesh, COUNTS["uneven"], mistake=mistake) for mistake in MISTAKES}
    return {"cases": cases, "mistakes": mistakes}


def trained(mesh: DeviceMesh) -> dict[str, Any]:
    """Train for a few steps: in one process, on the ranks, and with averaged experts' gradients.

    Returns
    -------
    dict
        The losses of each, in nats.
    """
    plan = Rehearsal(steps=STEPS)
    corpus = load_corpus("language-reference", context_length=plan.model.context_length)
    averaged = Rehearsal(steps=STEPS, mistake="experts_averaged")
    return {
        "one process": rehearse(plan, corpus).losses,
        "ranks": rehearse(plan, corpus, mesh).losses,
        "experts averaged": rehearse(averaged, corpus, mesh).losses,
    }


def waiting(mesh: DeviceMesh, late_s: float, *, steps: int = 3, late_rank: int = 1) -> list[dict[str, float]]:
    """Time a step's three phases on each rank, with experts that only sleep, one rank's longer.

    Parameters
    ----------
    mesh : DeviceMesh
    late_s : float
        How much longer one rank's experts take.
    steps : int
        The times are means over so many.
    late_rank : int

    Returns
    -------
    list of dict
        For each rank the seconds of "dispatch", "experts" and "combine".
    """
    ep = ep_of(mesh)
    rank, n_ranks = ep.get_local_rank(), ep.size()
    rows_SD, even_G = torch.zeros(n_ranks * 64, 256), [64] * n_ranks
    phases = dict.fromkeys(("dispatch", "experts", "combine"), 0.0)
    exchange(rows_SD, even_G, even_G, ep)
    for _ in range(steps):
        distributed.barrier()
        for phase in phases:
            started = time.perf_counter()
            if phase == "experts":
                time.sleep(SLEEP_S + (late_s if rank == late_rank else 0.0))
            else:
                exchange(rows_SD, even_G, even_G, ep)
            phases[phase] += (time.perf_counter() - started) / steps
    found: list[Any] = [None] * n_ranks
    distributed.all_gather_object(found, phases, group=ep.get_group())
    return found


def main() -> dict[str, Any]:
    """Run all of it on the ranks that torchrun has started.

    Returns
    -------
    dict
        "ranks", "seconds" of each part, and "equal", "trained", "on time" and "late".
    """
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    mesh = expert_mesh(distributed.get_world_size())
    result: dict[str, Any] = {"ranks": mesh.size(), "seconds": {}}
    parts = {
        "equal": lambda: equal(mesh),
        "trained": lambda: trained(mesh),
        "on time": lambda: waiting(mesh, 0.0),
        "late": lambda: waiting(mesh, LATE_S),
    }
    for name, part in parts.items():
        started = time.perf_counter()
        result[name] = part()
        result["seconds"][name] = round(time.perf_counter() - started, 2)
    return result


if __name__ == "__main__":
    found = main()
    if found and distributed.get_rank() == 0:
        print(json.dumps(found), flush=True)
    distributed.barrier()
    os._exit(0)  # gloo's threads can turn the orderly way out into an abort
