"""Starts one Python module as several processes that meet, and takes what the first one prints."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any


class RanksFailed(RuntimeError):
    """A process that was started did not end well; the message is what it said last."""


def command(n_ranks: int, module: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the `torchrun` command that starts a module once for each rank, on this machine.

    Examples
    --------
    >>> command(2, "moe_lessons.parallel.demo")[1:]
    ['-m', 'torch.distributed.run', '--nproc-per-node', '2', '-m', 'moe_lessons.parallel.demo']
    """
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n_ranks)]
    return [*start, "-m", module, *arguments]


def can_start() -> str | None:
    """Say why processes cannot meet here; None where they can.

    Examples
    --------
    >>> can_start() is None or len(can_start()) > 0
    True
    """
    from torch import distributed

    if not distributed.is_available() or not distributed.is_gloo_available():
        return "this PyTorch was built without gloo"
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        return f"no connection to 127.0.0.1: {error.strerror}"
    return None


def run_ranks(
    n_ranks: int, module: str, arguments: Sequence[str] = (), *, timeout_s: float = 120.0
) -> dict[str, Any]:
    """Start a module as several processes, wait for all, and read the JSON that the first one prints last.

    Each process computes with one thread. All are ended when the time is up or the caller is interrupted.

    Parameters
    ----------
    n_ranks : int
    module : str
        Started with `python -m`, or the path of a script that ends in ".py"; with RANK, WORLD_SIZE and where
        to meet in its environment, as `torchrun` sets them. `command` gives the line to type.
    arguments : sequence of str
    timeout_s : float

    Returns
    -------
    dict

    Raises
    ------
    RanksFailed
        If a process ends with an error, or the time is up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    what = [module] if module.endswith(".py") else ["-m", module]
    # Files, not pipes: nobody reads while all are waited for, and a full pipe would stop whoever writes.
    with ExitStack() as stack:
        printed, *said = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(n_ranks + 1))
        ranks: list[subprocess.Popen[str]] = []
        try:
            for rank in range(n_ranks):
                ranks.append(
                    subprocess.Popen(
                        [sys.executable, *what, *arguments],
                        env={**os.environ, **_environment(rank, n_ranks, port)},
                        stdout=printed if rank == 0 else subprocess.DEVNULL,
                        stderr=said[rank],
                        text=True,
                    )
                )
            late, failed = _wait(ranks, timeout_s)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        if late or failed is not None:
            rank = failed or 0
            said[rank].seek(0)
            lines = said[rank].read().strip().splitlines()
            last = lines[-1].strip() if lines else "it said nothing"
            if late:
                raise RanksFailed(f"{module} on {n_ranks} processes took more than {timeout_s:g} s: {last}")
            code = ranks[rank].returncode
            raise RanksFailed(f"{module}: process {rank} of {n_ranks} ended with code {code}: {last}")
        printed.seek(0)
        return json.loads(printed.read().strip().splitlines()[-1])


def _wait(ranks: list[subprocess.Popen[str]], timeout_s: float) -> tuple[bool, int | None]:
    """Wait until all are done or one has failed; say whether the time was up, and who failed first."""
    deadline = time.monotonic() + timeout_s
    while True:
        codes = [process.poll() for process in ranks]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed or None not in codes:
            return False, failed[0] if failed else None
        if time.monotonic() > deadline:
            return True, None
        time.sleep(0.05)


def _environment(rank: int, n_ranks: int, port: int) -> dict[str, str]:
    own_interface = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        **own_interface,
    }
