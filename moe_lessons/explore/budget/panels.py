"""Budget bench's panels: what a design uses, what it is worth, and what twice as much would buy."""

from moe_lessons.explore.budget.state import State
from moe_lessons.explore.scale import Scale, pointer
from moe_lessons.svg import SERIES, element, marker, text
from moe_lessons.svg.bars import bar
from moe_lessons.svg.palette import ACCENT, FAINT, INK, MUTED, PAPER

BARS, LOSS, PRICES = (418.0, 22.0), (418.0, 178.0), (418.0, 250.0)
"""Left and top of each."""
NAMES = {"memory": "memory", "seconds": "time", "flops": "compute", "tokens": "text"}
FULL, LONG = 2.0, 110.0
"""The bars' scale: twice what there is, in px."""
PRICE_LONG = 150.0
DEAREST = 0.07
"""Nats at the end of the prices' scale; the dearest resource of all budgets costs less."""
PARTS = (("experts", ACCENT), ("rest", INK), ("cache", SERIES[3]))


def bars(state: State, left: float, top: float) -> str:
    """Draw the share of each resource that is used; a line marks all that there is."""
    parts = [text(left, top, "used, of what there is", fill=MUTED, font_size=12.5)]
    x, uses = left + 64, state.verdict.uses or {}
    for i, (name, word) in enumerate(NAMES.items()):
        y = top + 10 + 27 * i
        parts.append(text(left, y + 13, word))
        if name not in uses:
            parts.append(text(x + LONG + 5, y + 13.5, "no verdict", fill=MUTED))
            continue
        share, fill = uses[name], ACCENT if name == "memory" else INK
        said = f"{100 * share:.0f} %"
        parts.append(bar(x, y, 17, share, FULL, LONG, said if share > FULL else "", fill))
        if share <= FULL:
            parts.append(text(x + LONG + 5, y + 13.5, said))
            parts.append(_pieces(state, x, y, share) if name == "memory" else "")
    limit = x + LONG / FULL
    parts.append(
        element(
            "line",
            x1=limit,
            x2=limit,
            y1=top + 6,
            y2=top + 116,
            stroke=INK,
            stroke_width=1.5,
            stroke_dasharray="4 3",
        )
    )
    at = left
    for name, fill in PARTS:
        parts.append(element("rect", x=at, y=top + 124, width=10, height=10, fill=fill))
        parts.append(text(at + 14, top + 133, name, fill=MUTED, font_size=12))
        at += 34 + 7 * len(name)
    return "".join(parts)


def _pieces(state: State, x: float, y: float, share: float) -> str:
    """Cut the bar of memory into experts, rest and cache."""
    whole, drawn = sum(state.memory.values()), []
    for name, fill in PARTS:
        wide = LONG * share / FULL * state.memory[name] / whole
        drawn.append(
            element("rect", x=x, y=y, width=wide, height=17, fill=fill, stroke=PAPER, stroke_width=0.5)
        )
        x += wide
    return "".join(drawn)


def loss_scale(state: State) -> Scale:
    """The axis of losses of a budget: from a little below the best to what a small dense model has."""
    return Scale(state.best.loss - 0.03, state.best.loss + 0.27, 0, 280)


def loss_line(state: State, left: float, top: float) -> str:
    """Draw your loss, the best one and the best dense one on one axis."""
    x = loss_scale(state)
    parts = [text(left, top - 4, "predicted loss (lower is better)", fill=MUTED, font_size=12.5)]
    parts.append(element("line", x1=left, x2=left + 280, y1=top + 18, y2=top + 18, stroke=MUTED))
    tick = round(x.low + 0.05, 1)
    while tick < x.high:
        if tick > x.low:
            at = left + x.at(tick)
            parts.append(element("line", x1=at, x2=at, y1=top + 18, y2=top + 23, stroke=MUTED))
            parts.append(text(at, top + 37, f"{tick:.1f}", text_anchor="middle", fill=MUTED, font_size=12))
        tick = round(tick + 0.1, 1)
    best, dense, own = state.best.loss, state.best.dense_loss, state.verdict.loss
    if dense is not None and dense > best:
        parts.append(marker(2, left + x.at(dense), top + 18, 6, fill=PAPER, stroke=INK, stroke_width=2))
    parts.append(marker(3, left + x.at(best), top + 18, 7, fill=PAPER, stroke=INK, stroke_width=2))
    if own is not None:
        at, beyond = left + x.at(own), x.beyond(own)
        parts.append(element("circle", cx=at, cy=top + 18, r=6, fill=ACCENT, stroke=PAPER, stroke_width=1.5))
        if beyond:
            parts.append(pointer(at + 8 * beyond, top + 18, beyond, 0, ACCENT))
    key = "● yours   ◇ best found   △ best dense"
    parts.append(text(left + 280, top + 52, key, text_anchor="end", fill=MUTED, font_size=12))
    return "".join(parts)


def prices(state: State, left: float, top: float) -> str:
    """Draw by how much the best loss falls with twice as much of each resource, always on one scale."""
    heading = "twice as much lowers the best loss by (nats)"
    parts = [text(left, top, heading, fill=MUTED, font_size=12.5)]
    for i, (name, word) in enumerate(NAMES.items()):
        y, price = top + 9 + 20 * i, state.best.twice[name]
        parts.append(text(left, y + 12, word))
        parts.append(bar(left + 64, y, 13, price, DEAREST, PRICE_LONG, f"{price:.3f}", INK))
    parts.append(element("line", x1=left + 64, x2=left + 64, y1=top + 6, y2=top + 88, stroke=FAINT))
    return "".join(parts)
