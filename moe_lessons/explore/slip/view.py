"""Slip's pictures: the tokens of eight layers, the shares that slip, log ratios with and without replay."""

import math

from moe_lessons.explore.handles import Along, handle
from moe_lessons.explore.scale import Scale, pointer
from moe_lessons.explore.slip.state import Params, State, by_margin, recorded, simulate
from moe_lessons.explore.slip.strips import (
    LEFT,
    RATIOS,
    SCALES,
    SLIPS,
    axis,
    spot,
    strip,
    values,
)
from moe_lessons.svg import ACCENT, Drawing, bar, element, figure, text
from moe_lessons.svg.palette import FAINT, INK, MUTED, PAPER

ROW, TOP = 21.0, 28.0
FOOT = TOP + 8 * ROW
BARS = Scale(0, 0.15, 468, 588)
"""Of the shares: what is beyond has an arrow, and its number as all have."""
TALL = 11.0
LOWER = 278.0
"""Top of the two strips of log ratios."""
CLIP = math.log(1.2)
EDGES = (0, 0.003, 0.01, 0.03, 0.1, math.inf)
ALONG = {
    "place": "place in its window of 64",
    "letter": "how often its letter is in the training text",
    "margin": "margin: the second logit minus the third",
}
STRIP = (0, 3, 6, 9)
"""Sizes in the picture for pages without a kernel."""


def draw(state: State) -> str:
    """Draw one frame: tokens by layer, the shares that slip beside them, log ratios below, a question.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body = _layers(state) + _shares(state) + _ratios(state)
    return figure(720, 354, heading(state), _in_words(state), body, caption=question(state)).svg


def heading(state: State) -> str:
    """Say how many slip.

    Examples
    --------
    >>> heading(simulate(Params(0)))
    'Errors of 0.0001: 2 of 256 tokens slip in at least one layer'
    """
    n_tokens = recorded().n_tokens
    slip = round(n_tokens * state.shares[-1])
    return f"Errors of {state.size:g}: {slip} of {n_tokens} tokens slip in at least one layer"


def question(state: State) -> str:
    """Ask what to look at next.

    Examples
    --------
    >>> question(simulate(Params(0, "margin")))[:60]
    'What is going on? Hardly a token slips. How far does its pro'
    """
    p = state.params
    if p.order != "margin":
        return "Squares get other experts than without the error. Is there an order in who does?"
    if p.bf16:
        return (
            "Rings slip in bf16, strokes are the size of its errors. Why do these grow from layer to layer?"
        )
    if state.shares[-1] > 0.3:
        return (
            "What is going on? Many slip. How much of the difference does replay leave, and why not nothing?"
        )
    if state.shares[-1] < 0.02:
        return (
            "What is going on? Hardly a token slips. How far does its probability jump, and how far at ten "
            "times the error?"
        )
    return "What is going on? Move the line. Which marks move along, and which only grow in number?"


def _layers(state: State) -> str:
    """A strip for each layer."""
    order = state.params.order
    scale, found = SCALES[order], recorded()
    parts = [axis(scale, TOP, FOOT), text(LEFT, FOOT + 34, ALONG[order], fill=MUTED)]
    parts.append(text(LEFT, 11, "● keeps its experts", fill=MUTED))
    parts.append(text(LEFT + 138, 11, "■ slips: gets another pair", fill=SLIPS, font_weight="600"))
    for layer, slipped in enumerate(state.slipped):
        middle, where = TOP + ROW * (layer + 0.5), values(order, layer)
        parts.append(text(8, middle + 4, f"layer {layer}"))
        parts.append(strip(where, [digit == "1" for digit in slipped], scale, middle))
        if state.params.bf16:
            for token, digit in enumerate(found.bf16_slipped[layer]):
                if digit == "1":
                    x, y = spot(where[token], token, scale, middle)
                    look: dict[str, str | float] = {"fill": "none", "stroke": INK, "stroke_width": 1.5}
                    parts.append(element("circle", cx=x, cy=y, r=5.5, **look))
            if order == "margin":
                x = scale.at(found.bf16_error[layer])
                parts.append(
                    element("line", x1=x, x2=x, y1=middle - 9, y2=middle + 9, stroke=INK, stroke_width=2)
                )
    if order == "margin":
        parts.append(_line(state, scale))
    return "".join(parts)


def _line(state: State, scale: Scale) -> str:
    """The size of the error on the scale of the margins, to be dragged."""
    x, sizes = scale.at(state.size), recorded().sizes
    along = Along("Error", (scale.at(sizes[0]), scale.at(sizes[-1])), (0, len(sizes) - 1))
    touch = handle("the size of the error", {"Error": float(state.params.size)}, x=along)
    return element("line", x1=x, x2=x, y1=TOP - 2, y2=FOOT, stroke=ACCENT, stroke_width=2) + element(
        "circle", cx=x, cy=TOP - 4, r=6, fill=ACCENT, stroke=PAPER, stroke_width=1.5, **touch
    )


def _shares(state: State) -> str:
    """A bar for each layer, one for all of them, and beside each what bf16 does, measured."""
    parts = [text(BARS.start, 11, "share that slips", fill=MUTED)]
    parts.append(text(712, 11, "| in bf16", text_anchor="end", fill=MUTED))
    for i, (share, measured) in enumerate(zip(state.shares, state.bf16_shares, strict=True)):
        y = TOP + ROW * (i + 0.5) if i < len(state.slipped) else FOOT + 30
        if i == len(state.slipped):
            parts.append(text(BARS.start - 8, y + 4, "in any", text_anchor="end"))
        wide = max(BARS.at(share) - BARS.start, 0.6)
        parts.append(element("rect", x=BARS.start, y=y - TALL / 2, width=wide, height=TALL, fill=SLIPS))
        if BARS.beyond(share):
            parts.append(pointer(BARS.end + 2, y, 1, 0, SLIPS))
        tick: dict[str, str | float] = {"x1": BARS.at(measured), "x2": BARS.at(measured)}
        tick |= {"y1": y - 8, "y2": y + 8}
        parts.append(element("line", **tick, stroke=PAPER, stroke_width=4.5))
        parts.append(element("line", **tick, stroke=INK, stroke_width=2))
        if BARS.beyond(measured):
            parts.append(pointer(BARS.end + 2, y - 8, 1, 0, INK, 6))
        parts.append(text(652, y + 4, f"{100 * share:.1f} %", text_anchor="end"))
        parts.append(text(712, y + 4, f"{100 * measured:.1f} %", text_anchor="end"))
    parts.append(element("line", x1=BARS.start, x2=BARS.start, y1=TOP, y2=FOOT + 40, stroke=FAINT))
    return "".join(parts)


def _ratios(state: State) -> str:
    """Both strips of log ratios, each with its largest number."""
    words = "log ratio of a byte's probability, with the error and without (absolute; a whole pass, measured)"
    parts = [text(8, LOWER - 12, words, fill=MUTED), axis(RATIOS, LOWER, LOWER + 52)]
    x = RATIOS.at(CLIP)
    dashes: dict[str, str | float] = {"stroke": INK, "stroke_dasharray": "4 3"}
    parts.append(element("line", x1=x, x2=x, y1=LOWER - 6, y2=LOWER + 52, **dashes))
    parts.append(text(712, LOWER - 12, "- - a ratio of 1.2", text_anchor="end", fill=MUTED))
    for i, (name, found) in enumerate((("own experts", state.run.own), ("replayed", state.run.replayed))):
        middle = LOWER + 13 + 26 * i
        parts.append(text(8, middle + 4, name))
        parts.append(strip(found, state.astray, RATIOS, middle))
        parts.append(text(712, middle + 4, f"largest {max(found):.2g}", text_anchor="end"))
    return "".join(parts)


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    layers = ", ".join(f"{100 * share:.1f}" for share in state.shares[:-1])
    measured = ", ".join(f"{100 * share:.1f}" for share in state.bf16_shares[:-1])
    return (
        f"Slip, by layer (%): {layers}; in bf16: {measured}; in any layer {100 * state.shares[-1]:.1f}, in "
        f"bf16 {100 * state.bf16_shares[-1]:.1f}. Largest log ratio of a whole pass: "
        f"{max(state.run.own):.2g} with its own experts, {max(state.run.replayed):.2g} with the experts "
        f"replayed. Sorted by {ALONG[state.params.order]}. {question(state)}"
    )


def answer() -> Drawing:
    """Draw who slipped in bf16, by margin: for the prediction.

    Examples
    --------
    >>> answer().alt[:30]
    'In bf16 those with a small mar'
    """
    classes = by_margin(EDGES)
    most = 0.5
    parts = [
        text(8, 14, "margin", fill=MUTED),
        text(120, 14, "slipped in bf16, of so many in all layers", fill=MUTED),
    ]
    said = []
    for i, (slipped, there) in enumerate(classes):
        low, high = EDGES[i], EDGES[i + 1]
        name = (
            f"over {low:g}" if math.isinf(high) else f"under {high:g}" if not low else f"{low:g} to {high:g}"
        )
        y = 24 + 24 * i
        share = slipped / there
        parts.append(text(8, y + 13, name))
        parts.append(bar(120, y, 16, share, most, 220, f"{slipped} of {there:,}", INK))
        said.append(f"{name}: {slipped} of {there:,}")
    parts.append(element("line", x1=120, x2=120, y1=20, y2=142, stroke=FAINT))
    title = "In bf16 those with a small margin slip"
    caption = f"{recorded().n_tokens} tokens in eight layers. Margin: the second logit minus the third."
    return figure(460, 146, title, "; ".join(said) + ". " + caption, "".join(parts), caption)


def still() -> Drawing:
    """Draw the log ratios of four sizes, for a page without a kernel.

    Examples
    --------
    >>> still()
    A smaller error makes fewer tokens slip, and each still jumps; replayed, none does. ...
    """
    columns = (("own experts", 150.0), ("experts replayed", 446.0))
    parts = [text(8, 14, "error", fill=MUTED), text(62, 14, "slip", fill=MUTED)]
    said = []
    for name, left in columns:
        scale = Scale(RATIOS.low, RATIOS.high, left, left + 264, log=True)
        parts.append(text(left, 14, f"log ratios, {name}", font_weight="600"))
        parts.append(axis(scale, 24, 24 + 36 * len(STRIP), every=2))
    for i, size in enumerate(STRIP):
        state = simulate(Params(size))
        middle = 42 + 36 * i
        slip = f"{sum(state.astray)} of {len(state.astray)}"
        parts.append(text(8, middle + 4, f"{state.size:g}", font_weight="600"))
        parts.append(text(62, middle + 4, slip))
        for found, (_, left) in zip((state.run.own, state.run.replayed), columns, strict=True):
            scale = Scale(RATIOS.low, RATIOS.high, left, left + 264, log=True)
            parts.append(strip(found, state.astray, scale, middle))
        largest = f"{max(state.run.own):.2g} and, replayed, {max(state.run.replayed):.2g}"
        said.append(f"error {state.size:g}: {slip} slip, largest log ratio {largest}")
    title = "A smaller error makes fewer tokens slip, and each still jumps; replayed, none does"
    caption = (
        "Each mark is a byte, ■ where its token got other experts in some layer. Noise of the size of the "
        "error on every router's logits, eight layers; measured by benchmarks/slip.py."
    )
    words = "; ".join(said) + ". " + caption
    return figure(720, 24 + 36 * len(STRIP) + 24, title, words, "".join(parts), caption)
