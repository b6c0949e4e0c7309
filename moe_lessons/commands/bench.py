"""``moe-lessons bench``; imports what it needs when it runs."""

import json
import time
from pathlib import Path
from typing import Any

import click

QUICK_ROUNDS, ROUNDS = 3, 15
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--quick", is_flag=True, help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}.")
@click.option("--rounds", type=click.IntRange(min=3), help="How often everybody takes a turn.")
@click.option("--shapes", help="Names of shapes, separated by commas.  [all of them; --list shows them]")
@click.option("--dtype", type=click.Choice(["fp32", "bf16"]), help="Only this dtype.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch.  [all cores]")
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    show_default=True,
    help="cpu counts processor time, best with --threads 1, for when others use the machine.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--list", "as_list", is_flag=True, help="List the shapes.")
def bench(
    device: str,
    quick: bool,
    rounds: int | None,
    shapes: str | None,
    dtype: str | None,
    threads: int | None,
    clock: str,
    out: Path | None,
    as_json: bool,
    as_list: bool,
) -> None:
    """Time the MoE layer, forward and backward, against other formulations and against dense products.

    Everybody gets the same tokens and the same routing, new ones each round, and takes turns in an order that
    is drawn each round. Whoever computes something else than an fp64 oracle is left out.

    \b
    Examples:
      moe-lessons bench --quick
      moe-lessons bench --shapes few-experts,decode-1 --rounds 9
      moe-lessons bench --threads 1 --clock cpu --json
    """
    from moe_lessons.bench.shapes import CPU_SHAPES, GPU_SHAPES
    from moe_lessons.device import pick_device

    kind = pick_device(device).type
    chosen = pick(GPU_SHAPES if kind == "cuda" else CPU_SHAPES, shapes)
    if as_list:
        click.echo(shape_table(chosen))
        return
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}; make it first")
    result = run(kind, chosen, dtype, rounds or (QUICK_ROUNDS if quick else ROUNDS), threads, clock)
    text = json.dumps(result, indent=1) + "\n"
    if as_json:
        click.echo(text, nl=False)
    else:
        from moe_lessons.bench.report import table

        click.echo(table(result["rows"]))
    if out is not None:  # last: if it cannot be written, what was measured has been shown
        out.write_text(text, encoding="utf-8")


def pick(known: Any, names: str | None) -> list[Any]:
    """Return the shapes with these names, all of them without names.

    Examples
    --------
    >>> from moe_lessons.bench.shapes import CPU_SHAPES
    >>> [shape.n_tokens for shape in pick(CPU_SHAPES, "decode-8,decode-1")]
    [8, 1]
    """
    by_name = {shape.name: shape for shape in known}
    wanted = list(by_name) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in by_name:
            raise ValueError(f"--shapes {name}: choose among {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def shape_table(shapes: Any) -> str:
    """Lay shapes out as text, with what the columns mean.

    Examples
    --------
    >>> from moe_lessons.bench.shapes import CPU_SHAPES
    >>> print(shape_table(CPU_SHAPES[1:2]).splitlines()[1])
    few-experts-skewed  2048  256  512  8  2  1.0   experts  fp32 bf16
    """
    rows = [("shape", "T", "D", "F", "E", "K", "skew", "what", "dtypes")]
    for s in shapes:
        sizes = (s.n_tokens, s.d_model, s.d_expert, s.n_experts, s.top_k, s.skew)
        rows.append((s.name, *map(str, sizes), s.scope, " ".join(s.dtypes)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    legend = (
        "T tokens, D model width, F expert hidden width, E experts, K of them for each token.",
        "skew s: expert number i is chosen in proportion to i ** -s; 0 is even.",
        "what: the experts alone, all with the same routing, or the whole layer, router included.",
    )
    return "\n".join([*lines, "", *legend])


def run(
    device: str, shapes: list[Any], dtype: str | None, rounds: int, threads: int | None, clock: str
) -> dict[str, Any]:
    """Measure the shapes, telling on stderr what is being measured, and return the result."""
    import torch

    from moe_lessons.bench.measuring import measure
    from moe_lessons.bench.report import about, rows
    from moe_lessons.bench.shapes import Case

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        made = []
        for shape in shapes:
            for name in shape.dtypes:
                if dtype in (None, name):
                    click.echo(f"{shape.name} {name} ...", err=True)
                    case = Case(shape, name, device)
                    made += rows(case, name, measure(case, rounds, CLOCKS[clock]))
        if not made:
            raise ValueError(f"--dtype {dtype}: none of the chosen shapes is measured in it")
        return {"about": about(device, torch.get_num_threads(), rounds, clock), "rows": made}
    finally:
        torch.set_num_threads(before)
