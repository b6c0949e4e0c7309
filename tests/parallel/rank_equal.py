"""What each rank does for test_equal.py: `rank_equal.py FOLDER N_EP`, with RANK and the like set."""

import os
import random
import sys
from pathlib import Path

import torch
from torch import distributed

from moe_lessons.layer import MoELayer
from moe_lessons.parallel import expert_mesh, shard_experts
from moe_lessons.parallel.against_one import COUNTS, MISTAKES, ROUTERS, Sizes, compare


def others_layers(mesh):
    """What a rank is told whose layer, or another one's, has another number of experts."""
    layer = MoELayer(8, 8, 8 if distributed.get_rank() == 0 else 16, 2)
    try:
        shard_experts(layer, mesh)
    except ValueError as error:
        return str(error)
    return "no error"


def main(folder, n_ep):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    mesh = expert_mesh(n_ep)
    found = {}
    for dtype in (torch.float64, torch.float32):
        for router in ROUTERS:
            for name, counts in COUNTS.items():
                found[dtype, router, name] = compare(mesh, counts, router=router, dtype=dtype)
    # The weight on the input travels with the row; the quick paths sort and multiply otherwise.
    found["topk_sigmoid"] = compare(mesh, COUNTS["uneven"], gate="topk_sigmoid")
    for path in ("auto", "grouped", "slots", "fused"):
        for name in ("uneven", "only rank 0 has tokens"):
            found[path, name] = compare(mesh, COUNTS[name], dtype=torch.float32, path=path)
    draw = random.Random(0)
    for number in range(8):  # as small as one token, and as uneven as it comes
        counts = tuple(draw.choice((0, 1, 2, 7, 30)) for _ in range(4))
        found["drawn", number] = compare(mesh, counts, router=draw.choice(ROUTERS))
    one_each = Sizes(n_experts=n_ep, top_k=1, d_expert=8)
    one_way = {"gate": "softmax_topk", "path": "auto", "dtype": torch.float32}
    found["one each"] = compare(mesh, COUNTS["uneven"], sizes=one_each, **one_way)
    found["other layers"] = others_layers(mesh)
    for mistake in MISTAKES:
        found[mistake] = compare(mesh, COUNTS["uneven"], mistake=mistake)
    if distributed.get_rank() == 0:
        torch.save(found, folder / "found.pt")
    distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
