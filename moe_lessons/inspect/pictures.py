"""The report's pictures: a map of all loads, and lines over the layers."""

from typing import Any

from moe_lessons.svg import WRONG, Drawing, element, figure, line_chart, text, tint

MUTED = "#595959"
WIDTH = 720
FULL = 4.0  # times the mean at which a cell is darkest


def load_map(layers: list[dict[str, Any]]) -> Drawing:
    """Draw every expert of every layer as a cell: the darker the fuller, a cross where it read nothing.

    Examples
    --------
    >>> load_map([{"load_shares": [0.75, 0.25, 0.0], "n_experts": 3}]).alt[:26]
    'The load of every expert: '
    """
    most = max(len(layer["load_shares"]) for layer in layers)
    side = min(22.0, (WIDTH - 70) / most)
    tall = min(22.0, max(8.0, 420 / len(layers)))
    parts = [text(60, 12, f"expert 0 to {most - 1} →", fill=MUTED), text(8, 12, "layer ↓", fill=MUTED)]
    every = max(1, round(14 / tall))
    dead = 0
    for i, layer in enumerate(layers):
        y = 20 + tall * i
        if i % every == 0:
            parts.append(text(46, y + tall / 2 + 4, str(i), text_anchor="end"))
        for expert, share in enumerate(layer["load_shares"]):
            times = share * layer["n_experts"]
            x = 56 + side * expert
            fill = tint("#00548A", min(0.04 + times / FULL, 1.0))
            gap = 1 if side > 4 else 0
            parts.append(element("rect", x=x, y=y, width=side - gap, height=tall - 1, fill=fill))
            if share == 0:
                dead += 1
                parts.append(_cross(x, y, side - gap, tall - 1))
    bottom = 20 + tall * len(layers) + 6
    for j, times in enumerate((0, 1, 2, 4)):
        x = 56 + 128 * j
        fill = tint("#00548A", min(0.04 + times / FULL, 1.0))
        parts.append(element("rect", x=x, y=bottom, width=16, height=14, fill=fill))
        if times == 0:
            parts.append(_cross(x, bottom, 16, 14))
        label = (
            "read nothing"
            if times == 0
            else "the mean"
            if times == 1
            else f"{times} times{' or more' if times == 4 else ''}"
        )
        parts.append(text(x + 22, bottom + 11.5, label))
    fullest = max(max(layer["load_shares"]) * layer["n_experts"] for layer in layers)
    title = (
        f"The load of every expert: the fullest has {fullest:.1f} times its layer's mean, {dead} read nothing"
    )
    return figure(WIDTH, bottom + 22, title, "One row a layer, one cell an expert.", "".join(parts))


def _cross(x: float, y: float, width: float, height: float) -> str:
    if width < 4:
        return element("rect", x=x, y=y, width=width, height=height, fill=WRONG)
    inset = min(width, height) * 0.25
    line: dict[str, str | float] = {"stroke": WRONG, "stroke_width": 1.5}
    left, right, top, low = x + inset, x + width - inset, y + inset, y + height - inset
    return element("line", x1=left, y1=top, x2=right, y2=low, **line) + element(
        "line", x1=left, y1=low, x2=right, y2=top, **line
    )


def effective_picture(layers: list[dict[str, Any]]) -> Drawing:
    """Draw effective experts as a share of all, over the layers, with the untrained copy's."""
    series = {"this model": _line(layers, lambda layer: _part(layer, layer["effective_experts"]))}
    if all("untrained" in layer for layer in layers):
        series["untrained copy"] = _line(
            layers, lambda layer: _part(layer, layer["untrained"]["effective_experts"])
        )
    low = min(min(values) for _, values in series.values())
    return line_chart(
        series,
        title=f"Effective experts, of all: between {low:.0f} % and {_highest(series):.0f} %",
        x_label="layer",
        y_label="% of experts",
        y_range=(0, 100),
        references={"all alike": 100},
        width=WIDTH,
        height=220,
    )


def information_picture(layers: list[dict[str, Any]], label: str) -> Drawing:
    """Draw the share of the choice that a label tells, over the layers: model, untrained copy, chance."""
    series = {
        "this model": _line(layers, lambda layer: 100 * layer["information"][label]["share"]),
        "shuffled": _line(layers, lambda layer: 100 * layer["information"][label]["chance_share"]),
    }
    if all("untrained" in layer for layer in layers):
        series["untrained copy"] = _line(
            layers, lambda layer: 100 * layer["untrained"]["information"][label]["share"]
        )
    names = {
        "token": "What token it is",
        "previous": "Which token came before it",
        "position": "Where in the text it stands (eighths)",
        "domain": "Which file it comes from",
    }
    gain = max(
        layer["information"][label]["share"] - layer["information"][label]["chance_share"] for layer in layers
    )
    return line_chart(
        series,
        title=f"{names[label]}: tells at most {100 * gain:.0f} points more of the choice than chance",
        x_label="layer",
        y_label="% of the choice's entropy",
        y_range=(0, max(10.0, 1.1 * _highest(series))),
        width=WIDTH,
        height=220,
    )


def _line(layers: list[dict[str, Any]], value: Any) -> tuple[list[float], list[float]]:
    # One layer would be no line: its value is drawn across.
    at = list(range(len(layers))) if len(layers) > 1 else [0, 1]
    values = [float(value(layer)) for layer in layers]
    return [float(x) for x in at], values if len(layers) > 1 else values * 2


def _part(layer: dict[str, Any], effective: float) -> float:
    return 100 * effective / layer["n_experts"]


def _highest(series: dict[str, tuple[list[float], list[float]]]) -> float:
    return max(max(values) for _, values in series.values())
