"""Peak memory of a training run, measured in a fresh process and predicted.

    python -m moe_lessons.bench.memory PRESET STEPS [THREADS]

prints JSON. The baseline is the process after two steps of the smallest preset: by then every library is
loaded and its code was run once, but nothing of the preset is there. What comes on top at most is the
measurement.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
BASELINE, BASELINE_STEPS = "smoke", 2


def measure(
    preset: str, steps: int, *, threads: int = 1, capability: str | None = None, timeout_s: float = 600
) -> dict[str, Any]:
    """Train in a process of its own and return what it says of its memory, in bytes.

    Parameters
    ----------
    preset : str
    steps : int
        From the first; where oneDNN multiplies, every load of an expert that comes for the first time adds
        a little, most of them in the first thirty steps.
    threads : int
    capability : str, optional
        Of the CPU, as `ATEN_CPU_CAPABILITY` takes it: "avx2" has PyTorch multiply with MKL everywhere.
    timeout_s : float

    Returns
    -------
    dict
        ``measured`` and ``predicted`` peak above ``baseline``, and of the prediction ``tensors`` and
        ``prepared``.

    Raises
    ------
    OSError
        Where the system does not say what is resident (all but Linux).
    """
    if not STATUS.exists():
        raise OSError(f"{STATUS} is not there: the peak can be measured on Linux only")
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    if capability is not None:
        environment["ATEN_CPU_CAPABILITY"] = capability
    command = [sys.executable, "-m", "moe_lessons.bench.memory", preset, str(steps), str(threads)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=timeout_s
    )
    return json.loads(done.stdout.splitlines()[-1])


def train_and_tell(preset_name: str, steps: int, threads: int) -> dict[str, Any]:
    """Train in this process; return its peak above the baseline beside the prediction."""
    import torch

    from moe_lessons.config import preset
    from moe_lessons.dispatch.products import prepares_code
    from moe_lessons.training import train
    from moe_lessons.training.footprint import predicted

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        train(preset(BASELINE).override(steps=BASELINE_STEPS, device="cpu"), out=f"{folder}/baseline")
        baseline = status("VmRSS")
        config = preset(preset_name).override(device="cpu")
        corpus = train(config.override(steps=steps), out=f"{folder}/run").corpus
        peak = status("VmHWM")
    needed = predicted(config, corpus)
    return {
        "preset": preset_name,
        "steps": steps,
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": prepares_code(torch.float32, torch.device("cpu")),
        "baseline": baseline,
        "measured": peak - baseline,
        "predicted": needed.total,
        "tensors": needed.tensors,
        "prepared": needed.prepared,
    }


def status(field: str) -> int:
    """Return a size that the system keeps of this process, in bytes: VmRSS is resident now, VmHWM at most."""
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise OSError(f"{STATUS} has no line {field}: the peak can be measured on Linux only")


if __name__ == "__main__":
    print(json.dumps(train_and_tell(sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or ["1"])[0]))))
