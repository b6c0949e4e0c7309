"""A result that is made row by row: what was measured is there at once, and is not measured again.

Used by `adaptation.py` and `frontier.py`; run as a script it does nothing.
"""

import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch

from moe_lessons.device import environment

Part = Callable[[], tuple[list[dict[str, Any]], Callable[..., dict[str, Any]], dict[str, Any]]]
"""Returns jobs, what measures one of them, and the settings that all share."""

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"


def rounded(value: Any, to: Callable[[float], float]) -> Any:
    """The same with all its numbers rounded, in dictionaries and lists too."""
    if isinstance(value, dict):
        return {key: rounded(one, to) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one, to) for one in value]
    return to(value) if isinstance(value, float) else value


def command(name: str, parts: Mapping[str, Part], to: Callable[[float], float]) -> click.Command:
    """The command that measures parts and writes `name`.json."""
    file = RESULTS / f"{name}.json"

    def stored() -> dict[str, Any]:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def write(result: dict[str, Any]) -> None:
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(result[key])}" for key in sorted(result))
        file.write_text("{" + lines + "}\n", encoding="utf-8")

    def add(part: str, row: dict[str, Any], settings: dict[str, Any], seconds: float) -> None:
        result, about = stored(), environment(torch.device("cpu"))
        result["about"] = {
            "script": f"benchmarks/{name}.py",
            **about,
            "python": platform.python_version(),
        }
        of_part = result.setdefault(part, {"cpu_s": 0.0, "rows": []})
        of_part["settings"] = settings
        of_part["cpu_s"] = round(of_part["cpu_s"] + seconds, 1)
        of_part["rows"].append(row)
        write(result)

    @click.command()
    @click.option("--only", type=click.Choice(list(parts)), multiple=True, default=tuple(parts))
    @click.option("--seconds", default=math.inf, help="Begin no further row after so many CPU seconds.")
    @click.option("--again", is_flag=True, help="Measure rows anew that are there.")
    def main(only: tuple[str, ...], seconds: float, again: bool) -> None:
        """Measure and write; parts that are not asked for stay as they are in the result."""
        torch.set_num_threads(1)
        if again:
            write({key: value for key, value in stored().items() if key not in only})
        for part in only:
            jobs, measure, settings = parts[part]()
            rows = stored().get(part, {"rows": []})["rows"]
            for job in jobs:
                if any(job.items() <= row.items() for row in rows):
                    continue
                began = time.process_time()
                if began > seconds:
                    return
                row = rounded({**job, **measure(**job)}, to)
                took = time.process_time() - began
                add(part, row, settings, took)
                print(part, json.dumps(row), f"{took:.1f} CPU s", flush=True)

    return main
