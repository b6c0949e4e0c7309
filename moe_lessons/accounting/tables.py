"""The report as a table in a terminal: models side by side, or one a line where there are many."""

from typing import Any

from rich.console import Console
from rich.table import Table

SIDE_BY_SIDE = 4  # so many columns of exact numbers fit a usual terminal
PIPE_WIDTH = 400  # nothing is cut where the reader is a program

LABELS = {
    "total": "total",
    "active": "active",
    "active_excl_input_embedding": "  without input embedding",
    "active_excl_embed_and_head": "  without embedding and head",
}


def show(reports: list[dict[str, Any]]) -> None:
    """Print the reports of one or more models."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(_side_by_side(reports) if len(reports) <= SIDE_BY_SIDE else _one_a_line(reports))
    for found in reports:
        for line in remarks(found):
            console.print(f"{found['name']}: {line}", markup=False, style="dim")


def human(number: float, unit: str = "") -> str:
    """A number with a letter for its power of a thousand.

    Examples
    --------
    >>> human(46_702_792_704), human(93_405_585_408, "B"), human(131072, "B")
    ('46.7 G', '93.4 GB', '131 kB')
    """
    for letter, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:
            return f"{_three_digits(number / size)} {letter}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def _three_digits(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def remarks(found: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers: source, published figures, what was assumed."""
    lines = [found["source"]] if found["source"] else []
    if found["published"]:
        lines.append("published: {total} total, {active} active".format_map(found["published"]))
    if found["assumed"]:
        lines.append(f"not in the config, assumed: {', '.join(found['assumed'])}")
    return lines + found["notes"]


def _side_by_side(reports: list[dict[str, Any]]) -> Table:
    table = Table(title=_title(reports[0]["setting"]), title_justify="left")
    table.add_column("", no_wrap=True)
    for found in reports:
        table.add_column(found["name"], justify="right", overflow="fold")
    for key, label in LABELS.items():
        table.add_row(label, *(f"{found[key]:,}" for found in reports))
    table.add_section()
    for key in dict.fromkeys(key for found in reports for key in found["components"]):
        table.add_row(key.replace("_", " "), *(_share(found, key) for found in reports))
    table.add_section()
    table.add_row("experts, chosen", *(_experts(found, "{n_experts}, {top_k}") for found in reports))
    table.add_row("touched in decode", *(_experts(found, "{touched_in_decode:.3g}") for found in reports))
    table.add_section()
    for key in ("prefill", "decode", "training"):
        row = (human(found["flops"][f"{key}_per_token"], "FLOP") for found in reports)
        table.add_row(f"{key}, per token", *row)
    table.add_section()
    for dtype in reports[0]["bytes"]["weights"]:
        table.add_row(
            f"weights, {dtype}", *(human(found["bytes"]["weights"][dtype], "B") for found in reports)
        )
    for key, label in (
        ("kv_cache_per_token", "KV cache, per token"),
        ("kv_cache", "KV cache"),
        ("decode_read", "read per decode step"),
    ):
        table.add_row(label, *(human(found["bytes"][key], "B") for found in reports))
    for key, label in (("training", "training step"), ("training_recompute", "  with recomputation")):
        table.add_row(label, *(human(found["bytes"][key]["total"], "B") for found in reports))
    return table


def _one_a_line(reports: list[dict[str, Any]]) -> Table:
    table = Table(title=_title(reports[0]["setting"]), title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("E, K", "total", "active", "without input embedding", "without embedding and head"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("decode, per token", justify="right")
    table.add_column("weights", justify="right")
    table.add_column("KV cache, per token", justify="right")
    for found in reports:
        table.add_row(
            found["name"],
            _experts(found, "{n_experts}, {top_k}"),
            *(f"{found[key]:,}" for key in LABELS),
            human(found["flops"]["decode_per_token"], "FLOP"),
            human(found["bytes"]["weights"][found["setting"]["dtype"]], "B"),
            human(found["bytes"]["kv_cache_per_token"], "B"),
        )
    return table


def _title(setting: dict[str, Any]) -> str:
    return (
        f"context {setting['context']}, batch {setting['batch']}, weights in {setting['dtype']}, "
        f"KV cache in {setting['cache_dtype']}"
    )


def _share(found: dict[str, Any], key: str) -> str:
    held, touched = found["components"].get(key, 0), found["active_components"].get(key, 0)
    return f"{held:,}" if held == touched else f"{held:,} ({human(touched)} active)"


def _experts(found: dict[str, Any], form: str) -> str:
    return "; ".join(form.format_map(kind) for kind in found["experts"]) or "-"
