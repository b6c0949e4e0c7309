"""What is installed here, which path a MoE layer takes, and what is missing. Loads torch when called."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from moe_lessons.device import cpu_name, memory_bytes

ESSENTIAL = {"torch": "2.11", "numpy": "1.26", "safetensors": "0.4.3", "platformdirs": "4", "rich": "13"}
NOTEBOOKS = {
    "jupyterlab": "4.6",
    "ipykernel": "6.29",
    "ipywidgets": "7.7",
    "anywidget": "0.9",
    "matplotlib": "3.8",
    "scipy": "1.11",
}
OLDEST_PYTHON = (3, 11)
TRITON_NEEDS = (8, 0)  # compute capability


def diagnose() -> dict[str, Any]:
    """Look at Python, packages, devices and corpora.

    Returns
    -------
    dict
        ``missing`` lists what is not here, each with ``what``, ``essential`` and ``remedy``; the rest
        describes what is.

    Examples
    --------
    >>> sorted(diagnose())[:3]
    ['compute_capability', 'corpora', 'cpu']
    """
    missing: list[dict[str, Any]] = []

    def miss(what: str, remedy: str, *, essential: bool = False) -> None:
        missing.append({"what": what, "essential": essential, "remedy": remedy})

    if sys.version_info < OLDEST_PYTHON:
        miss(f"Python {platform.python_version()} is too old", "install Python 3.11 to 3.14", essential=True)
    packages = {}
    for needed, essential in ((ESSENTIAL, True), (NOTEBOOKS, False)):
        for name, oldest in needed.items():
            packages[name] = installed = _version(name)
            if installed is None:
                miss(f"{name} is not installed", f'pip install "{name}>={oldest}"', essential=essential)
            elif _numbers(installed) < _numbers(oldest):
                miss(
                    f"{name} {installed} is too old",
                    f'pip install -U "{name}>={oldest}"',
                    essential=essential,
                )
    packages["triton"] = _version("triton")
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "memory_bytes": memory_bytes(),
        "packages": packages,
        **_compute(packages["triton"], miss),
        "corpora": _corpora(miss),
        "missing": missing,
    }


def _compute(triton: str | None, miss: Any) -> dict[str, Any]:
    """Describe the device, the threads, and the path that a MoE layer takes there."""
    unknown = {"device": None, "compute_capability": None, "threads": None}
    unknown |= {"path": None, "path_reason": None, "fp32_products": None}
    try:
        import torch

        from moe_lessons.config import preset
        from moe_lessons.dispatch.products import onednn_is_faster
        from moe_lessons.layer import MoELayer
    except (ImportError, OSError) as error:
        miss(f"torch does not load ({str(error).splitlines()[0]})", "pip install torch", essential=True)
        return unknown
    on_gpu = torch.cuda.is_available()
    capability = torch.cuda.get_device_capability() if on_gpu else None
    if not on_gpu:
        reason = "no CUDA GPU here"
    elif capability is not None and capability < TRITON_NEEDS:
        reason = f"compute capability {capability[0]}.{capability[1]} is below the 8.0 that Triton needs"
    elif triton is None:
        reason = "Triton is not installed"
        if sys.platform == "linux":
            miss("triton is not installed, so the GPU runs PyTorch's own kernels", "pip install triton")
    else:
        reason = "the kernels run on this GPU"
    sizes = preset("cpu-tiny").model
    layer = MoELayer(sizes.d_model, sizes.d_expert, sizes.n_experts, sizes.top_k)
    layer = layer.to("cuda" if on_gpu else "cpu")
    training = layer.path_for()
    onednn = not on_gpu and onednn_is_faster()
    with torch.no_grad():
        one_token = layer.path_for(layer.experts.down_proj.new_zeros(1, sizes.d_model))
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
        "threads": torch.get_num_threads(),
        "path": "Triton" if training == "triton" else f"PyTorch ({training}; for a single token {one_token})",
        "path_reason": reason,
        "fp32_products": "oneDNN where they are large" if onednn else "as PyTorch does",
    }


def _corpora(miss: Any) -> dict[str, int | None]:
    try:
        from moe_lessons.data import CORPORA
    except (ImportError, OSError):
        return {}
    sizes: dict[str, int | None] = {}
    for name, load in CORPORA.items():
        try:
            sizes[name] = len(load())
        except OSError as error:
            sizes[name] = None
            miss(str(error).partition(":")[0], "install Python with its standard library's sources")
    return sizes


def describe(found: dict[str, Any]) -> str:
    """Turn what `diagnose` found into lines to read."""
    memory = found["memory_bytes"]
    capability = f", compute capability {found['compute_capability']}" if found["compute_capability"] else ""
    rows = {
        "python": f"{found['python']} on {found['platform']}",
        "processor": f"{found['cpu']}, {os.cpu_count()} cores, threads: {found['threads']}",
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "unknown",
        "device": f"{found['device']}{capability}",
        "path": f"{found['path']}: {found['path_reason']}",
        "fp32 products": found["fp32_products"],
        **{name: number or "not installed" for name, number in found["packages"].items()},
        **{
            f"corpus {name}": f"{size:,} bytes" if size else "missing"
            for name, size in found["corpora"].items()
        },
    }
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    if not found["missing"]:
        return "\n".join([*lines, "", "Nothing is missing."])
    lines += ["", "Missing:"]
    for item in found["missing"]:
        kind = "essential" if item["essential"] else "optional"
        lines.append(f"  {item['what']} ({kind}): {item['remedy']}")
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Compare-able leading numbers of a version.

    Examples
    --------
    >>> _numbers("2.13.0+cpu") > _numbers("2.11")
    True
    """
    numbers = []
    for part in text.split("+")[0].split("."):
        digits = "".join(character for character in part if character.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers)
