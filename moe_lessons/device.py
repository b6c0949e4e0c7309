"""What this machine computes with: device, names, threads, memory. Imports torch only when asked to."""

import os
import platform
import sys
from pathlib import Path
from typing import Any


def pick_device(name: str = "auto") -> Any:
    """Choose the device: a GPU if there is one, else the CPU.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda", or one of several GPUs, as in "cuda:1".

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the device is unknown or not here.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        known = device.type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise ValueError(f"device={name!r}: choose auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}: PyTorch sees no CUDA GPU; choose auto or cpu")
    return device


def cpu_name() -> str:
    """Return the processor's model name as the system gives it."""
    if sys.platform == "linux" and Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        import subprocess

        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.stdout.strip():
            return answer.stdout.strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def describe_device(device: Any) -> str:
    """Name a device by its model, never by its host.

    Examples
    --------
    >>> import torch
    >>> ", threads: " in describe_device(torch.device("cpu"))
    True
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{cpu_name()}, threads: {threads}"


def environment(device: Any) -> dict[str, Any]:
    """Collect what must be equal for two runs to agree bit for bit."""
    import torch

    return {
        "torch": torch.__version__,
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def memory_bytes() -> int | None:
    """Return the machine's memory in bytes, or None where the system doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def available_bytes() -> tuple[int, str] | None:
    """Return how much more memory this process may take, and what says so; None where nothing does.

    The least of: what the system has free, what the control group (as of a container) leaves, and the
    limits of the process (`ulimit -v` and `-d`).
    """
    found = []
    meminfo = _numbers(Path("/proc/meminfo"), 1024)
    if "MemAvailable" in meminfo:
        free = meminfo["MemAvailable"] + meminfo.get("SwapFree", 0)
        found.append((free, "free on this machine"))
    elif (total := memory_bytes()) is not None:
        found.append((total, "of this machine"))
    for folder in _control_groups():
        allowed, taken = _number(folder / "memory.max"), _number(folder / "memory.current")
        if allowed is not None and taken is not None:
            cache = _numbers(folder / "memory.stat").get("inactive_file", 0)
            found.append((allowed - taken + cache, "left by the control group's limit"))
    status = _numbers(Path("/proc/self/status"), 1024)
    try:
        import resource

        for kind, used in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
            limit = resource.getrlimit(getattr(resource, kind))[0]
            if limit != resource.RLIM_INFINITY and used in status:
                found.append((limit - status[used], "left by the process's limit (ulimit)"))
    except (ImportError, AttributeError):  # Windows
        pass
    return min(found) if found else None


def _control_groups() -> list[Path]:
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    paths = [line.removeprefix("0::").strip("/") for line in own if line.startswith("0::")]
    return [
        folder
        for path in paths
        for folder in (root / path, *(root / path).parents)
        if root in (folder, *folder.parents)
    ]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max": no limit
        return None


def _numbers(path: Path, unit: int = 1) -> dict[str, int]:
    """Read lines of a name and a number."""
    try:
        words = [line.replace(":", " ").split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {line[0]: unit * int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
