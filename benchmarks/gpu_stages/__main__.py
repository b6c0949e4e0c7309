"""One stage in this process: `python -m gpu_stages STAGE DEVICE SECONDS FILE`, as `gpu_day.py` starts it."""

import importlib
import sys
import time
from pathlib import Path

from gpu_stages.stage import Stage

SPARE_S = 2.0  # for Python to start and to end


def main(name: str, device: str, seconds: str, file: str) -> None:
    end = time.monotonic() + float(seconds) - SPARE_S  # before anything slow is imported
    module = importlib.import_module(f"gpu_stages.{name}")
    module.run(Stage(Path(file), device, end - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
