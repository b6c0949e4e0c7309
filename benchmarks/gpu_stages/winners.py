"""Which tiles to enter into the table, from the stage's rows: pure arithmetic and text."""

import math
from collections.abc import Sequence
from typing import Any

from gpu_stages.candidates import FORWARD_ONLY, today
from moe_lessons.kernels.limits import CEILINGS, roofline
from moe_lessons.kernels.tiles import TILE_OF_STEP, Tile, Tiles

Shapes = dict[str, tuple[int, ...]]
Times = dict[str, dict[Tile, float]]
"""By field of `Tiles`, milliseconds by tile; of two steps that share a field, the sum."""


def times_of(rows: Sequence[dict[str, Any]], shape: str) -> Times:
    """Collect the times of a shape, of tiles that were right in all steps of their field."""
    by_step: dict[str, dict[Tile, float]] = {}
    for row in rows:
        if row.get("what") == "timed" and row["shape"] == shape and row.get("ok") and "ms" in row:
            by_step.setdefault(row["kernel"], {})[Tile(*row["tile"])] = row["ms"]
    times: Times = {}
    for step, field in TILE_OF_STEP.items():
        if step not in by_step:
            continue
        mine = by_step[step]
        times[field] = (
            {tile: times[field][tile] + ms for tile, ms in mine.items() if tile in times[field]}
            if field in times
            else mine
        )
    return times


def choose(shapes: dict[str, Times], fallback: Tiles) -> Tiles:
    """Return the tiles with which the shapes together take the least of their time today.

    All fields but `weight_gradient` share their rows m, so each m is tried; fields without times, and tiles
    that were not timed for every shape, do not take part, and keep what `fallback` has.

    Examples
    --------
    >>> a, b, small = Tile(128, 128, 64, 8, 3), Tile(128, 256, 64, 8, 3), Tile(64, 64, 64, 4, 3)
    >>> times = {"up": {a: 3.0, small: 2.0}, "down": {b: 1.0, small: 2.5}}  # alone, `up` would take small
    >>> choose({"one": times}, Tiles(a, b, a, b, b))[:2] == (a, b)
    True
    """
    fields = [field for field in Tiles._fields if all(field in times for times in shapes.values())]
    base = {name: _total(times, fallback, fields) for name, times in shapes.items()}

    def cost(field: str, tile: Tile) -> float:
        return sum(times[field][tile] / base[name] for name, times in shapes.items())

    def best(field: str, rows: int | None) -> Tile | None:
        everywhere = set.intersection(*(set(times[field]) for times in shapes.values()))
        fit = [tile for tile in everywhere if rows in (None, tile.m)]
        return min(fit, key=lambda tile: cost(field, tile), default=None)

    sharing = [field for field in fields if field != "weight_gradient"]
    tried = []
    for rows in {tile.m for times in shapes.values() for field in sharing for tile in times[field]}:
        picked = {field: best(field, rows) for field in sharing}
        if all(picked.values()):
            tried.append((sum(cost(field, tile) for field, tile in picked.items() if tile), rows, picked))
    chosen = fallback
    if tried:
        _, rows, picked = min(tried, key=lambda one: one[:2])
        others = {name: getattr(fallback, name)._replace(m=rows) for name in Tiles._fields[:-1]}
        chosen = chosen._replace(**others)._replace(**picked)
    if "weight_gradient" in fields and (tile := best("weight_gradient", None)):
        chosen = chosen._replace(weight_gradient=tile)
    return chosen


def _total(times: Times, tiles: Tiles, fields: Sequence[str]) -> float:
    """Add up what the fields take with these tiles; without a time, the slowest stands in."""
    return sum(times[field].get(getattr(tiles, field), max(times[field].values())) for field in fields) or 1.0


def code(tile: Tile) -> str:
    """Write a tile as it stands in the table.

    Examples
    --------
    >>> code(Tile(128, 64, 32, 4, 3, group=8))
    'Tile(128, 64, 32, 4, 3, group=8)'
    """
    levers = [f"{name}={value}" for name, value in tile.levers.items()]
    return f"Tile({', '.join([*map(str, tile[:5]), *levers])})"


def table(
    rows: Sequence[dict[str, Any]], shapes: Shapes, capability: tuple[int, int] | None, gpu: str
) -> str:
    """Return the winners as text: of each shape, and the entries HOPPER and DECODE for `tiles.py`.

    Parameters
    ----------
    rows : list of dict
        The stage's.
    shapes : dict
        T, D, F, E and K by name.
    capability : (int, int) or None
        Of the GPU; None is the interpreter, whose times go into no table.
    gpu : str
        A name in `limits.CEILINGS`; else there is no distance to the limit.
    """
    timed = {shape: times for shape in shapes if (times := times_of(rows, shape))}
    lines = []
    for shape, times in timed.items():
        lines += _of_shape(shape, times, shapes[shape], today(shapes[shape], capability), gpu)
    entries = {"HOPPER": [shape for shape in timed if shape not in FORWARD_ONLY]}
    entries["DECODE"] = [shape for shape in timed if shape in FORWARD_ONLY]
    for entry, names in entries.items():
        if names and capability:
            best = choose({shape: timed[shape] for shape in names}, today(shapes[names[0]], capability))
            lines += [f"\n# best for {', '.join(names)} together, on {gpu}", f"{entry} = Tiles("]
            lines += [f"    {field}={code(tile)}," for field, tile in best._asdict().items()]
            lines += [")"]
    return "\n".join(lines)


def _of_shape(shape: str, times: Times, sizes: tuple[int, ...], now: Tiles, gpu: str) -> list[str]:
    chosen, limits = choose({shape: times}, now), _limits(sizes, gpu)
    head = f"{shape} {sizes}"
    lines = ["", f"{head:<65}{'ms':>9}{'today':>9}{'gain':>7}{'of limit':>10}"]
    total = [0.0, 0.0, 0.0]
    for field, of_tiles in times.items():
        tile = getattr(chosen, field)
        known = [of_tiles.get(tile), of_tiles.get(getattr(now, field)), limits.get(field)]
        numbers = [math.nan if number is None else number for number in known]
        lines += [_line(f"  {field:<16}{code(tile)}", *numbers)]
        total = [sum(pair) for pair in zip(total, numbers, strict=True)]
    return [*lines, _line(f"  together, with blocks of {chosen.rows} rows", *total)]


def _line(name: str, ms: float, before: float, limit: float) -> str:
    cells = [f"{ms:9.3f}", f"{before:9.3f}", f"{before / ms:7.2f}", f"{ms / limit:10.2f}"]
    return f"{name:<65}" + "".join(cell.replace("nan", "  -") for cell in cells)


def _limits(sizes: tuple[int, ...], gpu: str) -> dict[str, float]:
    """Return the least milliseconds by field; nothing for a GPU whose ceilings are not known."""
    if gpu not in CEILINGS:
        return {}
    found, limits = roofline(*sizes, device=gpu).kernels_ms, dict.fromkeys(Tiles._fields, 0.0)
    for step, field in TILE_OF_STEP.items():
        limits[field] += found[step]
    return limits
