"""What each of two ranks does for test_training.py: `rank_trains.py FOLDER`, with RANK and the like set."""

import copy
import os
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from together import curve, settings
from torch import nn

from moe_lessons.config import preset
from moe_lessons.model import MoETransformer
from moe_lessons.parallel import mesh_of
from moe_lessons.parallel.experts import local
from moe_lessons.training import distributed as ours
from moe_lessons.training.checkpoint import read_state, restore_optimizer, restore_weights, save_checkpoint
from moe_lessons.training.distributed import RankLost, meet
from moe_lessons.training.objective import make_optimizer, router_losses
from moe_lessons.training.shards import whole
from moe_lessons.training.wrapping import clip_gradients, wrap

LAYOUTS = [("ep", 0), ("ep_fsdp", 0), ("ep", 1)]


def fresh():
    return MoETransformer(preset("smoke").model, generator=torch.Generator().manual_seed(0)).double()


def gradients(parallel, ep_size):
    """The norm, and the gradient of every parameter, in float64; each rank has half of the windows."""
    model, config = fresh(), preset("smoke").override(parallel=parallel, ep_size=ep_size, grad_clip=1e30)
    with meet(config) as ranks:
        forward = wrap(model, ranks, parallel, ep_size)
        tokens_BL = ranks.rows(torch.arange(128).reshape(4, 32) % 7)
        output = forward(tokens_BL, tokens_BL)
        router = router_losses(output.routings, scope="global_batch")
        (output.loss + router.load_balancing + 0.1 * router.z).backward()
        norm = clip_gradients(model, config, ranks)
        found = {name: whole(parameter.grad).clone() for name, parameter in model.named_parameters()}
        return found | {"norm": norm}


def copied(folder, parallel, ep_size):
    """Take over what one process left, and write it down again at once."""
    there = folder / "alone" / "step-000010"
    config = settings(folder, parallel=parallel, ep_size=ep_size)
    with meet(config) as ranks:
        model = MoETransformer(config.model)
        wrap(model, ranks, parallel, ep_size)
        optimizer = make_optimizer(model, config)
        restore_weights(there, model)
        restore_optimizer(there, optimizer)
        state = {
            name: value for name, value in read_state(there).items() if name in ("config", "corpus_sha256")
        }
        save_checkpoint(folder / f"copy-{parallel}-{ep_size}", 10, model, optimizer, state, ranks.first)


def own_experts(parallel):
    """This rank's experts of the first layer after wrapping; and with DDP around plain shards."""
    model, config = fresh(), preset("smoke").override(parallel=parallel)
    with meet(config) as ranks:
        wrap(model, ranks, parallel)
        mine = local(model.blocks[0].moe.experts.down_proj).detach().clone()
        # Without telling DDP which parameters are shards: it takes them for copies of the first rank's.
        trap = fresh()
        wrap(trap, ranks, parallel)
        trap = copy.copy(trap.blocks[0].moe.experts)
        plain = nn.Linear(1, 1)
        plain.register_parameter("shard", nn.Parameter(local(trap.down_proj).detach().clone()))
        nn.parallel.DistributedDataParallel(plain)
        return mine, plain.shard.detach().clone()


def others_settings():
    rank = int(os.environ["RANK"])
    config = preset("smoke").override(parallel="ep", n_experts=8 if rank == 0 else 4)
    try:
        with meet(config):
            return "no error"
    except ValueError as error:
        return str(error)


def stay_away(folder):
    """The second rank skips the exchange of one layer; the first gives it up after the time that it has."""
    config, started = preset("smoke").override(parallel="ep"), time.monotonic()
    try:
        with meet(config) as ranks:
            ours.PATIENCE_EP = timedelta(seconds=5)
            model = MoETransformer(config.model)
            wrap(model, ranks, "ep")
            assert mesh_of(model) is not None
            ranks.wait()
            started = time.monotonic()
            if ranks.first:
                model(torch.zeros(1, 8, dtype=torch.int64))
            else:
                deadline = time.monotonic() + 120
                while not (folder / "waited-0.pt").exists() and time.monotonic() < deadline:
                    time.sleep(0.1)
    except RankLost as error:
        return str(error), time.monotonic() - started
    return "no error", time.monotonic() - started


def leave(folder):
    """Let the second rank end without a word, in the middle of a step."""
    original, calls = MoETransformer.forward, []

    def forward(self, *arguments):
        calls.append(1)
        if os.environ["RANK"] == "1" and len(calls) == 13:
            os._exit(3)
        return original(self, *arguments)

    MoETransformer.forward = forward
    started = time.monotonic()
    try:
        curve(settings(folder, parallel="ep", checkpoint_every=5), out=folder / "left")
    except RankLost as error:
        return str(error), time.monotonic() - started
    return "no error", time.monotonic() - started


def main(folder):
    warnings.simplefilter("error")  # FSDP2 warns where a wrapped module returns a view
    found = {}
    for parallel, ep_size in LAYOUTS:
        found["gradients", parallel, ep_size] = gradients(parallel, ep_size)
        copied(folder, parallel, ep_size)
    found["own"], found["trap"] = own_experts("ep")
    found["curve", "ep"] = curve(settings(folder, steps=50, parallel="ep"), out=folder / "ep")
    found["curve", "ep_fsdp"] = curve(settings(folder, parallel="ep_fsdp"), out=folder / "ep_fsdp")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        start = {"resume": folder / "alone" / "step-000010", "out": folder / "on"}
        found["resumed"] = curve(settings(folder, parallel="ep"), **start)
    parts = {"accumulation_steps": 2, "gate": "sigmoid", "balancing": "bias_sign", "n_shared_experts": 1}
    found["curve", "parts"] = curve(settings(folder, steps=6, parallel="ep", **parts))
    found["curve", "bf16"] = curve(settings(folder, steps=3, parallel="ep", precision="bf16"))
    found["other"] = others_settings()
    rank = os.environ["RANK"]
    torch.save(found, folder / f"found-{rank}.pt")
    torch.save(stay_away(folder), folder / f"waited-{rank}.pt")
    os._exit(0)


def four(folder):
    """Four processes in every layout."""
    layouts = [("ep", 0), ("ep", 2), ("ep_fsdp", 0), ("ep_fsdp", 2)]
    for parallel, ep_size in layouts:
        where = {"out": folder / "four"} if (parallel, ep_size) == ("ep", 2) else {}
        found = curve(settings(folder, parallel=parallel, ep_size=ep_size), **where)
        torch.save(found, folder / f"four-{parallel}-{ep_size}-{os.environ['RANK']}.pt")


if __name__ == "__main__":
    if sys.argv[2:] == ["four"]:
        four(Path(sys.argv[1]))
        os._exit(0)
    if sys.argv[2:] == ["leave"]:
        torch.save(leave(Path(sys.argv[1])), Path(sys.argv[1]) / "lost.pt")
        os._exit(0)
    main(Path(sys.argv[1]))
