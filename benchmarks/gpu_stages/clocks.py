"""Clocks, temperature and power of the GPU as it is: read, never set."""

import contextlib
import subprocess

FIELDS = {  # name here: name for nvidia-smi
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "celsius": "temperature.gpu",
    "watts": "power.draw",
}


def now() -> dict[str, float] | None:
    """Return the first GPU's clocks (MHz), temperature and power; None where nothing says them."""
    return _by_nvml() or _by_nvidia_smi()


def driver() -> str | None:
    """Return the driver's version; None where nothing says it."""
    lines = _ask_nvidia_smi("driver_version")
    return lines[0] if lines else None


def _by_nvml() -> dict[str, float] | None:
    try:
        import pynvml as nvml  # nvidia-ml-py
    except ImportError:
        return None
    with contextlib.suppress(Exception):  # its own errors, whatever they are: nvidia-smi is asked then
        nvml.nvmlInit()
        gpu = nvml.nvmlDeviceGetHandleByIndex(0)
        return {
            "sm_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "memory_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            "celsius": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "watts": round(nvml.nvmlDeviceGetPowerUsage(gpu) / 1000),
        }
    return None


def _by_nvidia_smi() -> dict[str, float] | None:
    values = _ask_nvidia_smi(",".join(FIELDS.values()))
    with contextlib.suppress(ValueError):
        return dict(zip(FIELDS, map(float, values), strict=True)) if values else None
    return None


def _ask_nvidia_smi(fields: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [value.strip() for value in done.stdout.strip().split(",")]
