"""The calculator's panels: parameters as bars that add up, bytes and FLOPs as dots on logarithmic axes."""

import math
from functools import lru_cache

from moe_lessons.explore.calculator.state import Params, State, choose, parts, simulate
from moe_lessons.explore.scale import Scale, pointer, round_ticks
from moe_lessons.svg import ACCENT, SERIES, bar, element, text, tint

INK, MUTED, FAINT, PAPER = "#1a1a1a", "#595959", "#d9d9d9", "#ffffff"
LEFT, RIGHT = 168, 560
ROW = 22
HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": PAPER, "stroke_width": 3}
BYTES, FLOPS = (1e6, 1e14), (1e7, 1e14)
LABELS = ("0.01", "1", "100", "10,000")
"""Ends and labels of the logarithmic axes, the same for every model; no setting of the controls leaves them.

A cache goes from megabytes to hundreds of gigabytes as the context is dragged. Beside all the weights, on a
linear axis, it would not move for most of the way. Here every doubling is one and the same step, for each
amount and in each model, and what overtakes what is seen from a short text to a long one.
"""
WEIGHTS, CACHE = ACCENT, SERIES[3]
"""The colours of what is counted; no expert has them."""


def billions(count: float) -> str:
    """Parameters in billions, with three digits; small numbers in millions.

    Examples
    --------
    >>> billions(46702792704), billions(671026404352), billions(1314816), billions(0)
    ('46.7 B', '671 B', '1.3 M', 'none')
    """
    value = count / 1e9
    if value < 0.0995:
        return f"{1000 * value:.1f} M" if count else "none"
    return f"{value:,.0f} B" if value >= 99.95 else f"{value:.1f} B" if value >= 0.95 else f"{value:.2f} B"


def gigabytes(count: float) -> str:
    """Bytes in GB (10⁹), with about three digits; small numbers in MB.

    Examples
    --------
    >>> gigabytes(93405585408), gigabytes(536870912), gigabytes(33554432)
    ('93.4 GB', '0.54 GB', '33.6 MB')
    """
    value = count / 1e9
    if value < 0.0995:
        return f"{1000 * value:.1f} MB"
    return f"{value:,.0f} GB" if value >= 99.95 else f"{value:.1f} GB" if value >= 0.95 else f"{value:.2f} GB"


def tokens(count: int) -> str:
    """A number of tokens.

    Examples
    --------
    >>> tokens(196533)
    '196,533 tokens'
    """
    return f"{count:,} tokens"


def waterfall_axis(model: str) -> tuple[Scale, list[float]]:
    """The axis of a model's parameters, in billions, and its ticks.

    Linear, because parts add up on it. It has room for twice the model's own experts, so that doubling E is
    seen as a bar of twice the length while the active one stays; it belongs to the model and no drag moves
    it. A bar that does not fit is torn off.

    Examples
    --------
    >>> waterfall_axis("Mixtral-8x7B")[1]
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    ticks = round_ticks(2 * published_state(model).parameters.total / 1e9)
    return Scale(0, ticks[-1], LEFT, RIGHT), ticks


def waterfall_rows(state: State, top: float) -> str:
    """Draw the parameters: each part begins where the one above it ends; active and total are sums so far."""
    rows = list(parts(state))
    total, active = state.parameters.total, state.parameters.active
    model = state.params.model
    scale, ticks = waterfall_axis(model)
    own = published_state(model).parameters
    head = f"parameters (billions) on {model}'s axis; each part begins where the one above it ends"
    out = [text(8, top + 12, head, fill=MUTED)]
    out.append(text(712, top + 12, "┃ as published", text_anchor="end", fill=MUTED))
    foot = top + 22 + ROW * (len(rows) + 2)
    for tick in ticks:
        x = scale.at(tick)
        out.append(element("line", x1=x, x2=x, y1=top + 20, y2=foot, stroke=FAINT))
        out.append(text(x, foot + 12, f"{tick:,g}", text_anchor="middle", fill=MUTED, font_size=11))
    so_far, y = 0.0, top + 22
    for name, count in (*rows[:-1], ("= active", active), rows[-1], ("= total", total)):
        is_sum = name.startswith("=")
        begin = 0.0 if is_sum else so_far
        fill = INK if is_sum else tint(WEIGHTS, 0.45) if name == rows[-1][0] else WEIGHTS
        weight = "700" if is_sum else "400"
        out.append(text(LEFT - 8, y + 13, name, text_anchor="end", font_weight=weight))
        out.append(_part(scale, begin, count / 1e9, y, billions(count), fill))
        if is_sum:
            was = own.active if name == "= active" else own.total
            out.append(_published(scale.at(was / 1e9), y, 16))
        else:
            so_far += count / 1e9
            x = scale.at(so_far)
            out.append(element("line", x1=x, x2=x, y1=y + 16, y2=y + ROW, stroke=MUTED))
        y += ROW
    return "".join(out)


def _part(scale: Scale, begin: float, value: float, y: float, label: str, fill: str) -> str:
    """A bar that begins at ``begin``; an arrow where that itself lies off the scale."""
    left = scale.at(begin)
    if value > 0 and scale.end - left < 20 and begin + value > scale.high:
        arrow = pointer(scale.end - 4, y + 8, 1, 0, fill)
        return arrow + text(scale.end + 10, y + 13, f"{label}, off the scale")
    return bar(left, y, 16, value, scale.high - begin or 1.0, scale.end - left, label, fill)


def _published(x: float, y: float, height: float) -> str:
    """A tick where the published model stands, whatever is dragged."""
    edge: dict[str, str | float] = {"stroke": PAPER, "stroke_width": 0.8}
    return element("rect", x=x - 1.2, y=y - 2, width=2.4, height=height + 4, fill=INK, **edge)


@lru_cache(maxsize=32)
def published_state(model: str) -> State:
    """The state of a model's own sizes, in bf16, at 4,096 tokens of context: what the ticks stand for."""
    return simulate(choose(Params(), model))


def bytes_dots(state: State, left: float, top: float) -> str:
    """Draw what the weights, those of one token, and one text's cache weigh."""
    p, own = state.params, published_state(state.params.model)
    kept = "MLA cache" if p.latent_cache else "KV cache"
    rows = (
        (f"all weights, {p.dtype}", state.weight_bytes, own.weight_bytes, WEIGHTS),
        ("weights one token uses", state.active_bytes, own.active_bytes, WEIGHTS),
        (f"{kept}, bf16", state.cache_bytes, own.cache_bytes, CACHE),
    )
    far = state.outweighs_at
    note = f"cache of {tokens(p.context)}"
    note += f"; outweighs row 2 from {far:,}" if far else ""
    return _dots(left, top, "bytes (GB)", BYTES, [(n, v, o, gigabytes(v), c) for n, v, o, c in rows], note)


def flops_dots(state: State, left: float, top: float) -> str:
    """Draw where the FLOPs of one new token go."""
    now, own = state.flops, published_state(state.params.model).flops
    rows = (
        ("weights of the layers", now.matrices, own.matrices, WEIGHTS),
        ("head", now.head, own.head, WEIGHTS),
        ("attention to the context", now.context, own.context, CACHE),
    )
    shown = [(name, value, was, f"{value / 1e9:,.2f}", fill) for name, value, was, fill in rows]
    note = f"in all {now.total / 1e9:,.1f} GFLOP; attention grows with the context"
    return _dots(left, top, "FLOPs for one new token (billions)", FLOPS, shown, note)


def _dots(
    left: float,
    top: float,
    head: str,
    ends: tuple[float, float],
    rows: list[tuple[str, float, float, str, str]],
    note: str,
) -> str:
    """Amounts on a logarithmic axis, and a tick where each was as published."""
    scale = Scale(*ends, left + 150, left + 338, log=True)
    foot = top + 20 + 23 * len(rows)
    out = [text(left, top + 12, head, fill=MUTED)]
    out.append(text(left, foot + 13, "each line × 10", fill=MUTED, font_size=11))
    for i in range(round(math.log10(ends[1] / ends[0])) + 1):
        tick = ends[0] * 10**i
        x = scale.at(tick)
        out.append(element("line", x1=x, x2=x, y1=top + 18, y2=foot, stroke=FAINT))
        label = f"{tick / 1e9:,g}"
        if label in LABELS:
            out.append(text(x, foot + 13, label, text_anchor="middle", fill=MUTED, font_size=11))
    for i, (name, value, was, shown, fill) in enumerate(rows):
        y = top + 30 + 23 * i
        x, out_of = scale.at(value), scale.beyond(value)
        out.append(text(left, y + 4, name))
        out.append(_published(scale.at(was), y - 8, 16))
        if out_of:
            out.append(pointer(x, y, out_of, 0, fill))
            shown += ", off the scale"
        else:
            out.append(element("circle", cx=x, cy=y, r=5.5, fill=fill, stroke=PAPER))
        # The number stands on the side where the tick is not, unless there is no room.
        wide = 6.6 * len(shown) + 10
        before = value < was and x - wide > left + 6.2 * len(name)
        before = before or x + wide > left + 358
        place: dict[str, str | float] = {"text_anchor": "end"} if before else {}
        out.append(text(x + (-10 if before else 10), y + 4, shown, **place, **HALO))
    out.append(text(left, foot + 31, note, fill=MUTED, font_size=11.5))
    return "".join(out)
