"""Starts processes that train together, and says how far two loss curves lie apart."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

from moe_lessons.config import TrainConfig, preset
from moe_lessons.training import train

HERE = Path(__file__).parent


def settings(folder: Path, **changes: object) -> TrainConfig:
    """The smoke preset with every step recorded, on `text` in that folder."""
    rhythm = {"steps": 20, "log_every": 1, "evaluate_every": 1000, "checkpoint_every": 10}
    return preset("smoke").override(**{**rhythm, "corpus": str(folder / "text"), **changes})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quiet_environment(**more: str) -> dict[str, str]:
    """One thread for each process, as torchrun sets it, and gloo on this machine's own interface."""
    interface = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    paths = os.pathsep.join(
        filter(None, (str(HERE), os.environ.get("PYTHONPATH")))
    )  # scripts import this file
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **interface, **more}


def start(n_ranks: int, script: Path, *arguments: object) -> list[subprocess.Popen[str]]:
    """Start a script once for each rank, without torchrun: then none is ended because another one is."""
    port = str(free_port())
    command = [sys.executable, str(script), *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env=quiet_environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(n_ranks),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(n_ranks)
    ]


def torchrun(n_ranks: int, *arguments: object) -> subprocess.Popen[str]:
    """Start `torchrun --nproc-per-node N ...`."""
    options = ("--nproc-per-node", n_ranks, "--master-addr", "127.0.0.1", "--master-port", free_port())
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *map(str, (*options, *arguments))],
        env=quiet_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def curve(config: TrainConfig, **where: object) -> list[list[float]]:
    """Train; each step's text loss and balancing loss in nats, on the first rank; nothing on the others."""
    steps: list[list[float]] = []

    def note(record):
        steps.append([record.train_bits_per_byte * math.log(2), record.load_balancing_loss])

    train(config, on_step=note, **where)
    return steps


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference of the text loss, of any step."""
    assert len(ours) == len(theirs) > 0
    return max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True))
