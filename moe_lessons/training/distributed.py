"""Training on several devices or machines: the same command, started once for each device.

    torchrun --nproc-per-node 2 -m moe_lessons train --preset cpu-tiny

starts two processes, *ranks*. Each takes its share of every step's windows, so that N ranks train on the
same tokens in each step as one process would. What they exchange goes over NCCL between GPUs (rank r of a
machine takes GPU r) and over gloo between CPUs. The setting `parallel` says who holds what:

- "ddp": every rank holds the whole model; gradients are averaged.
- "fsdp": parameters, gradients and optimizer state are cut along their first axis, 1/N to a rank; a
  block's weights are gathered just before they are used (PyTorch's `fully_shard`). A rank builds the whole
  model once, before it is cut.
- "ep": each rank holds E / N of the experts and computes them for the tokens of all ranks, which send their
  rows there and get results back (`moe_lessons.parallel`); all else is as with "ddp". With `ep_size` below
  the number of ranks, there are several such groups, and each holds all experts.
- "ep_fsdp": the same, with all else as in "fsdp".
- "auto": "ddp", unless what training keeps of the model would fill half a GPU.

Only the first rank logs, shows progress and writes. A checkpoint holds the whole state whoever wrote it: a
run of two processes goes on with one or with four, whatever `parallel` is then. All ranks read it, so several
machines need a disk they share. Layers on different ranks (pipeline parallelism) are out of scope.

**When a rank is lost.** A process that ends closes its connections: over gloo the others notice within
seconds and stop with one line each (`RankLost`, exit code 6). One that hangs, or has skipped a meeting, is
given up after 30 minutes, with "ep" and "ep_fsdp" after 5: there every layer has meetings of its own. A
checkpoint is renamed into place when it is complete, so the last one stays whole.

**Why the mean of the gradients is right.** Rank r of R holds the tokens S_r of all T. Text loss and z-loss
are means over tokens, and every S_r is as large: the mean over ranks of the ranks' means is the mean over
all tokens, and so for the gradients. The balancing loss is a sum of products of two means,

    L = c sum_e f_e P_e,    f_e: a count over all T tokens,    P_e = (1/T) sum_t p_te,

and the mean of the ranks' own c sum_e f_e^r P_e^r is another function (scope "micro_batch"). With f counted
over all ranks ("global_batch"), rank r takes l_r = c sum_e f_e (R/T) sum_(t in S_r) p_te. The mean of l_r
over ranks is L. A count has no gradient, so L is linear in p, and the mean over ranks of the gradients is

    (1/R) sum_r c sum_e f_e (R/T) sum_(t in S_r) dp_te = c sum_e f_e (1/T) sum_t dp_te = dL.

So only counts travel in the forward pass, and no all-reduce has to be differentiable. One would have to be
if L were not linear in P: the squared variation of the importance is not.
"""

import atexit
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from moe_lessons.config import TrainConfig, difference
from moe_lessons.device import pick_device

# For a rank that neither answers nor ends; one that ends is noticed at once.
PATIENCE, PATIENCE_EP = timedelta(minutes=30), timedelta(minutes=5)
EXPERT_PARALLEL = ("ep", "ep_fsdp")
# Settings that ranks on several machines may have of their own: names, and paths to the same bytes.
OWN_SETTINGS = ("name", "corpus", "held_out", "tokenizer")


class RankLost(ConnectionError):
    """Another process of this run ended, and this one cannot go on without it."""

    exit_code = 6


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, seen from one of them; by default there is one.

    Every method but `rows` is a meeting: all ranks must call it, in the same order.

    Attributes
    ----------
    rank, size : int
        Which process this is, from 0, and how many there are.
    device : torch.device
        What this one computes on.

    Examples
    --------
    >>> Ranks(rank=1, size=2).rows(torch.arange(8)), Ranks(rank=1, size=2).rows(torch.arange(8), n_parts=2)
    (tensor([4, 5, 6, 7]), tensor([2, 3, 6, 7]))
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process logs, shows progress and writes."""
        return self.rank == 0

    def rows(self, batch: Tensor, n_parts: int = 1) -> Tensor:
        """Return this rank's share of a batch: of each micro-batch as many rows as every other rank."""
        return torch.cat([part.chunk(self.size)[self.rank] for part in batch.chunk(n_parts)])

    def mean(self, values: Tensor) -> Tensor:
        """Average small tensors over the ranks, in float64 on the CPU."""
        if self.size == 1:
            return values
        total = values.detach().to("cpu", torch.float64)
        distributed.all_reduce(total)
        return total / self.size

    def sum(self, number: float) -> float:
        """Add up a number over the ranks."""
        mean = self.mean(torch.tensor(number, dtype=torch.float64))
        return number if self.size == 1 else mean.item() * self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag if self.size == 1 else self.sum(float(flag)) > 0

    def wait(self) -> None:
        """Go on when all ranks are here."""
        self.any(False)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first rank through before the others: what it puts into a cache, they find there."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


def launched_size() -> int:
    """Count the processes that torchrun, or another launcher that sets its variables, has started."""
    known = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return int(os.environ["WORLD_SIZE"]) if known else 1


@contextmanager
def meet(config: TrainConfig) -> Iterator[Ranks]:
    """Bring together the processes that torchrun started; a process that was started alone stays alone.

    Raises
    ------
    ValueError
        If the ranks cannot share the batch or the GPUs evenly, or the balancing cannot be shared.
    RankLost
        If another rank ends while this one needs it.
    """
    size = launched_size()
    if size == 1:
        yield Ranks(device=pick_device(config.device))
        return
    check_shares(config, size)
    device = own_device(config.device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        # Once for the process, for the next run to use: a second meeting reads addresses of the first.
        if not distributed.is_initialized():
            distributed.init_process_group(backend, timeout=patience(config.parallel))
            atexit.register(distributed.destroy_process_group)
        ranks = Ranks(distributed.get_rank(), size, device)
        check_same(ranks, {k: v for k, v in config.to_dict().items() if k not in OWN_SETTINGS})
        yield ranks
        time.sleep(0.1)  # for gloo's threads to let go of finished work: at Python's own end they abort
    except BaseException as error:
        if device.type == "cuda":  # NCCL, unlike gloo, can wait at its end for ranks that will not come
            atexit.unregister(distributed.destroy_process_group)
        # What gloo, NCCL and the store say is long, and names addresses instead of the cause.
        if not (isinstance(error, RuntimeError) and _is_about_a_peer(error)):
            raise
        raise RankLost(_what_is_lost(error, size, patience(config.parallel))) from error


def patience(parallel: str) -> timedelta:
    """How long a rank waits for one that neither answers nor ends."""
    return PATIENCE_EP if parallel in EXPERT_PARALLEL else PATIENCE


def check_same(ranks: Ranks, mine: dict[str, Any]) -> None:
    """Refuse to begin where a rank has other settings, or another text, than the first.

    With other sizes, a rank would take numbers that were meant for something else, without an error.

    Examples
    --------
    >>> check_same(Ranks(), {"n_experts": 8})  # alone, nobody differs
    """
    if ranks.size == 1:
        return
    found: list[Any] = [None] * ranks.size
    distributed.all_gather_object(found, json.loads(json.dumps(mine)))
    for rank, theirs in enumerate(found):
        if theirs != found[0]:
            what = ", ".join(difference(theirs, found[0]))
            raise ValueError(
                f"rank {rank} of {ranks.size} differs from rank 0; there -> here: {what}; "
                "start all ranks with the same command"
            )


def check_shares(config: TrainConfig, size: int) -> None:
    """Refuse settings that several ranks cannot share.

    Examples
    --------
    >>> check_shares(TrainConfig(batch_size=8), 3)
    Traceback (most recent call last):
        ...
    ValueError: batch_size=8 on 3 processes: choose a multiple of 3, such as 9
    """
    unit = size * config.accumulation_steps
    if config.batch_size % unit:
        parts = config.accumulation_steps
        raise ValueError(
            f"batch_size={config.batch_size} on {size} processes"
            + (f" with accumulation_steps={parts}" if parts > 1 else "")
            + f": choose a multiple of {unit}, such as {-(-config.batch_size // unit) * unit}"
        )
    if config.parallel in EXPERT_PARALLEL:
        from moe_lessons.parallel.mesh import check_ranks, experts_each

        check_ranks(config.ep_size or size, size)
        experts_each(config.model.n_experts, config.ep_size or size)
    if config.balancing == "bias_quantile":
        raise ValueError(
            f"balancing is 'bias_quantile' on {size} processes: quantiles, unlike counts, do not add up; "
            "choose bias_sign"
        )


def own_device(name: str) -> torch.device:
    """Choose this rank's device: the GPU that has its number on this machine, or the CPU."""
    device = pick_device(name)
    if device.type != "cuda":
        return device
    number, n_gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if device.index is not None or number >= n_gpus:
        raise ValueError(
            f"device={name!r}: process {number} of this machine takes GPU {number} of {n_gpus}; "
            f"choose auto, or cpu, or start torchrun with --nproc-per-node {n_gpus}"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _what_is_lost(error: RuntimeError, size: int, waited: timedelta) -> str:
    rank = f"rank {os.environ['RANK']} of {size} stopped"
    if "timed out" in str(error).lower():
        return (
            f"{rank}: another process of this run did not come to a meeting within "
            f"{waited.total_seconds():g} s; "
            "it hangs, or it has skipped one, as a rank does that returns early; go on with --resume"
        )
    return f"{rank}: it lost another process of this run, whose own message says why; go on with --resume"


def _is_about_a_peer(error: RuntimeError) -> bool:
    words = ("gloo", "nccl", "connection closed by peer", "connection reset", "timed out waiting")
    return isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in words)
