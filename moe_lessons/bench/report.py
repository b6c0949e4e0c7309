"""From samples to rows: medians, spread, and ratios of what was measured in the same round."""

import platform
import statistics
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import moe_lessons
from moe_lessons.bench.contestants import OURS
from moe_lessons.bench.measuring import PASSES
from moe_lessons.bench.shapes import Case
from moe_lessons.device import describe_device
from moe_lessons.dispatch import choose
from moe_lessons.kernels import triton_supported
from moe_lessons.routing import tokens_per_expert


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile.

    Examples
    --------
    >>> quartiles([4.0, 1.0, 3.0, 2.0, 5.0])
    (2.0, 3.0, 4.0)
    """
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    first, middle, third = statistics.quantiles(samples, n=4, method="inclusive")
    return first, middle, third


def ratio(ours_ms: list[float], other_ms: list[float]) -> dict[str, float]:
    """Divide round by round, so that what slows a whole round cancels; return median and quartiles.

    Examples
    --------
    >>> ratio([1.0, 20.0, 3.0], [2.0, 40.0, 3.0])
    {'ratio': 0.5, 'q1': 0.5, 'q3': 0.75}
    """
    pairs = [mine / theirs for mine, theirs in zip(ours_ms, other_ms, strict=True)]
    first, middle, third = quartiles(pairs)
    return {"ratio": round(middle, 3), "q1": round(first, 3), "q3": round(third, 3)}


def rows(case: Case, dtype: str, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Make one row for forward and one for forward and backward.

    Raises
    ------
    ValueError
        If our own result was wrong: then there is nothing to report.
    """
    samples, absent = measured["samples_ms"], measured["absent"]
    shape = case.shape
    if OURS not in samples:
        raise ValueError(f"shape {shape.name} in {dtype}: our result is {absent[OURS]}; nothing is reported")
    limit_names = [name for name in samples if name.startswith("dense_")]
    peers = [name for name in samples if name != OURS and name not in limit_names]
    made = []
    for which in PASSES:
        medians = {name: statistics.median(samples[name][which]) for name in samples}
        mine = samples[OURS][which]
        regular = [name for name in peers if len(samples[name][which]) == len(mine)]
        best = min(regular, key=lambda name: medians[name]) if regular else None
        row: dict[str, Any] = {"shape": shape.name, "dtype": dtype, "pass": which}
        if best is not None:
            row["ratio_to_best_peer"] = ratio(mine, samples[best][which])
        row["ratio_to_limit"] = ratio(mine, samples["dense_mm"][which])
        if "dense_onednn" in samples:
            row["ratio_to_onednn_limit"] = ratio(mine, samples["dense_onednn"][which])
        row |= {
            "best_peer": best,
            "compute_bound": dtype in shape.compute_bound,
            "path": path(case, which),
            "ours_ms": round(medians[OURS], 4),
            "contestants": {
                name: {
                    "median_ms": round(medians[name], 4),
                    "q1_ms": round(quartiles(samples[name][which])[0], 4),
                    "q3_ms": round(quartiles(samples[name][which])[2], 4),
                    "min_ms": round(min(samples[name][which]), 4),
                    "samples": len(samples[name][which]),
                    **({"error": float(f"{error:.1e}")} if (error := measured["errors"].get(name)) else {}),
                }
                for name in sorted(samples, key=lambda name: medians[name])
            },
            "not_measured": absent,
            **shape.numbers(),
        }
        made.append(row)
    return made


def path(case: Case, which: str) -> str:
    """Name the path that ours takes for this shape and the load of its first draw."""
    if case.device == "cuda" and triton_supported(case.gate_up_proj)[0]:
        return "triton"
    shape = case.shape
    loads_E = tokens_per_expert(case.draw(0).topk_ids_TK, shape.n_experts)
    sizes = shape.n_tokens * shape.top_k, shape.n_experts, shape.d_model, shape.d_expert
    return choose(
        *sizes,
        case.dtype,
        device=case.device,
        largest_load=int(loads_E.max()),
        gradients=which != "forward",
        threads=torch.get_num_threads(),
    )


def about(device: str, threads: int, rounds: int, clock: str) -> dict[str, Any]:
    """Say what the numbers were measured with."""
    root = Path(__file__).resolve().parents[2]
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": describe_device(torch.device(device)),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "clock": clock,
        "rounds": rounds,
        "units": "milliseconds; ratios are medians of ours / other in the same round, with quartiles",
        "limit": "the same multiplications as dense products: torch.mm, and oneDNN where ours uses it",
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: _version(name) for name in ("transformers", "triton", "liger-kernel")},
        "moe_lessons": moe_lessons.__version__,
        "commit": commit or None,
    }


def table(made: list[dict[str, Any]]) -> str:
    """Lay the rows out as text: ratios first."""
    head = [
        "shape",
        "dtype",
        "pass",
        "/ best peer",
        "",
        "best peer",
        "/ limit",
        "/ oneDNN",
        "ours ms",
        "path",
    ]
    lines = [head]
    for row in made:
        peer, onednn = row.get("ratio_to_best_peer"), row.get("ratio_to_onednn_limit")
        lines.append(
            [
                row["shape"],
                row["dtype"],
                "forward" if row["pass"] == "forward" else "+ backward",
                f"{peer['ratio']:.2f}" if peer else "-",
                f"({peer['q1']:.2f}-{peer['q3']:.2f})" if peer else "",
                row["best_peer"] or "-",
                f"{row['ratio_to_limit']['ratio']:.2f}" + ("*" if row["compute_bound"] else ""),
                f"{onednn['ratio']:.2f}" if onednn else "-",
                f"{row['ours_ms']:.2f}",
                row["path"],
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    legend = (
        "/ best peer: our time over that of the fastest other way, median and quartiles of the rounds;",
        "  below 1 ours is faster. / limit: over a dense product chain of as many FLOPs, / oneDNN: over one",
        "  by oneDNN; * marks shapes where products dwarf all else. path: the way that our layer chose.",
    )
    return "\n".join([*text, "", *legend])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
