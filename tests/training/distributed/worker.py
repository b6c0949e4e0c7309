"""What each of two ranks does for test_together.py: `worker.py FOLDER`, with RANK and the like set."""

import os
import sys
import time
import warnings
from pathlib import Path

import torch
from together import curve, settings
from torch import distributed

from moe_lessons.config import preset
from moe_lessons.model import MoETransformer
from moe_lessons.training.distributed import RankLost, meet
from moe_lessons.training.objective import router_losses
from moe_lessons.training.shards import whole
from moe_lessons.training.wrapping import wrap


def gradients(parallel, scope):
    """The gradient of every parameter in float64, each rank with half of the windows."""
    config = preset("smoke")
    model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0)).double()
    with meet(config) as ranks:
        forward = wrap(model, ranks, parallel)
        tokens_BL = ranks.rows(torch.arange(128).reshape(4, 32) % 7)
        output = forward(tokens_BL, tokens_BL)
        router = router_losses(output.routings, scope=scope)
        (output.loss + router.load_balancing + 0.1 * router.z).backward()
        return {name: whole(parameter.grad) for name, parameter in model.named_parameters()}


def leave(folder, step):
    """Let the second rank end without a word, in the middle of a step."""
    original, calls = MoETransformer.forward, []

    def forward(self, *arguments):
        calls.append(1)
        if os.environ["RANK"] == "1" and len(calls) == step:
            os._exit(3)
        return original(self, *arguments)

    MoETransformer.forward = forward
    started = time.monotonic()
    try:
        curve(settings(folder))
    except RankLost as error:
        return str(error), time.monotonic() - started


def main(folder):
    warnings.simplefilter("error")  # FSDP2 warns where a wrapped module returns a view
    found = {}
    for scope in ("global_batch", "micro_batch"):
        found["curve", scope] = curve(settings(folder, steps=50, balancing_scope=scope))
        for parallel in ("ddp", "fsdp"):
            found["gradients", parallel, scope] = gradients(parallel, scope)
    for parallel in ("ddp", "fsdp"):
        config = settings(folder, parallel=parallel)
        found["curve", parallel] = curve(config, out=folder / parallel)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = {"resume": folder / "alone" / "step-000010", "out": folder / f"on-{parallel}"}
            found["resumed", parallel] = curve(config, **start)
        found["warnings", parallel] = [str(warning.message) for warning in caught]
    parts = settings(folder, steps=6, accumulation_steps=2, gate="sigmoid", balancing="bias_sign")
    found["curve", "parts"] = curve(parts, out=folder / "parts")
    torch.save(found, folder / f"found-{os.environ['RANK']}.pt")
    distributed.barrier()
    torch.save(leave(folder, step=3), folder / f"lost-{os.environ['RANK']}.pt")
    os._exit(0)  # as the command does: threads that wait for the other rank can abort an orderly way out


if __name__ == "__main__":
    main(Path(sys.argv[1]))
