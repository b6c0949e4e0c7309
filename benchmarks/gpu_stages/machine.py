"""What the day runs on: asked of a process of its own, so that a broken driver does not break the day.

`python -m gpu_stages.machine DEVICE` prints it as JSON.
"""

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpu_stages import clocks

NEEDED = ("torch", "numpy", "safetensors", "platformdirs", "rich", "click")  # of pyproject.toml
NAMED = ("torch", "triton", "numpy", "transformers", "tokenizers", "liger-kernel")
WAIT_S = 120.0


class NotHere(Exception):
    """The day cannot begin; the message says why, and what to do."""


def ask(device: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Describe the machine.

    Raises
    ------
    NotHere
        If a package is missing, or `device` is "cuda" and PyTorch sees no GPU.
    """
    command = [sys.executable, "-m", "gpu_stages.machine", device]
    try:
        done = subprocess.run(
            command, env=dict(env), capture_output=True, text=True, timeout=WAIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotHere(
            f"PyTorch did not say within {WAIT_S:.0f} s what is here; is the driver well?"
        ) from None
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0:
        raise NotHere(f"PyTorch does not start: {lines[-1] if lines else f'exit code {done.returncode}'}")
    about = json.loads(lines[-1])
    if missing := about.pop("missing"):
        raise NotHere(f"install {', '.join(missing)} first (as wheels, where there is no network)")
    if device == "cuda" and about["device"] is None:
        raise NotHere("PyTorch sees no CUDA GPU here; --device cpu makes a dry run")
    return about


def describe(device: str) -> dict[str, Any]:
    """Collect names, versions and clocks; "device" is None where "cuda" is asked for and not there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    about: dict[str, Any] = {"device": None, "dry": device == "cpu", "missing": missing}
    if "torch" not in missing:
        about |= _gpu() if device == "cuda" else {"device": _cpu()}
    return about | {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in NAMED},
        "commit": _commit(),
    }


def _gpu() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "capability": [properties.major, properties.minor],
        "memory_bytes": properties.total_memory,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "driver": clocks.driver(),
        "clocks_before": clocks.now(),
    }


def _cpu() -> str:
    from moe_lessons.device import cpu_name

    return cpu_name()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    print(json.dumps(describe(sys.argv[1])))
