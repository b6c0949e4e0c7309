"""The decode roofline's panels: the roof, a bar of bytes, and the curve of experts read."""

import math
from functools import lru_cache
from typing import NamedTuple

from moe_lessons.explore.roofline.state import (
    HARDWARE,
    MOST_BATCH,
    PROMPT,
    State,
    touched,
    weights_read,
)
from moe_lessons.explore.scale import Scale, pointer, round_ticks
from moe_lessons.svg import SERIES, element, num, text, text_width
from moe_lessons.svg.palette import ACCENT, FAINT, INK, MUTED, PAPER

SHARED, EXPERTS, CACHE = INK, ACCENT, SERIES[3]
"""What is read, by colour; each has its name beside it."""


class Plane(NamedTuple):
    """Two scales: across and upwards."""

    x: Scale
    y: Scale


CURVE = Plane(Scale(1, MOST_BATCH, 444, 700, log=True), Scale(0, 1, 318, 206))
"""Experts read, as a share, against the batch."""
INTENSITY = Scale(0.5, 16_384, 52, 376, log=True)
DECADES = 4.3
"""Powers of ten on the roof's upright axis, below 2.5 times what the hardware computes at most."""


def roof_plane(hardware: str) -> Plane:
    """Axes of the roofline; they belong to the hardware and no drag moves them.

    Examples
    --------
    >>> roof_plane("H100").y.high / HARDWARE["H100"][0]
    2.5
    """
    top = 2.5 * HARDWARE[hardware][0]
    return Plane(INTENSITY, Scale(top / 10**DECADES, top, 318, 44, log=True))


def flops_words(speed: float) -> str:
    """FLOP/s with a unit.

    Examples
    --------
    >>> flops_words(798e12), flops_words(2e11)
    ('798 TFLOP/s', '0.2 TFLOP/s')
    """
    return f"{speed / 1e12:.3g} TFLOP/s"


def gigabytes(count: float) -> str:
    """Bytes in GB (10⁹).

    Examples
    --------
    >>> gigabytes(25.5e9), gigabytes(1.3e12), gigabytes(5e7)
    ('25.5 GB', '1,300 GB', '0.05 GB')
    """
    value = count / 1e9
    return f"{value:,.0f} GB" if value >= 99.95 else f"{value:.1f} GB" if value >= 9.95 else f"{value:.2f} GB"


def roof(state: State) -> str:
    """Draw the roof, the step's dot, the prompt's square and the dense step's triangle."""
    x, y = plane = roof_plane(state.params.hardware)
    flops_s, bytes_s = HARDWARE[state.params.hardware]
    parts = [text(8, 16, f"speed, on the {_named(state.params.hardware)}", fill=MUTED)]
    for tick in (1, 10, 100, 1_000, 10_000):
        at = x.at(tick)
        parts.append(element("line", x1=at, x2=at, y1=y.end, y2=y.start, stroke=FAINT))
        parts.append(text(at, y.start + 16, f"{tick:,}", text_anchor="middle", fill=MUTED))
    for decade in range(math.ceil(math.log10(y.low)), math.floor(math.log10(y.high)) + 1):
        at = y.at(10.0**decade)
        parts.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, stroke=FAINT))
        parts.append(text(x.start - 6, at + 4, f"{10 ** (decade - 12):g}", text_anchor="end", fill=MUTED))
    parts.append(text(8, 34, "TFLOP/s", fill=MUTED))
    parts.append(text(x.end, y.start + 32, "FLOP for each byte read", text_anchor="end", fill=MUTED))
    low = max(x.low, y.low / bytes_s)
    line = [(low, low * bytes_s), (state.ridge, flops_s), (x.high, flops_s)]
    points = " ".join(f"{num(x.at(a))},{num(y.at(b))}" for a, b in line)
    parts.append(element("polyline", points=points, fill="none", stroke=INK, stroke_width=2))
    parts.append(text(x.end, y.at(flops_s) - 8, flops_words(flops_s), text_anchor="end", fill=INK))
    key = "△ a dense model of the active size"
    parts.append(text(x.end, y.start - 8, key, text_anchor="end", fill=MUTED, font_size=11))
    parts += [_prompt(state, plane), _dense(state, plane), _step(state, plane)]
    return "".join(parts)


def _named(hardware: str) -> str:
    return "laptop's processor" if hardware == "laptop" else hardware


def _dot(plane: Plane, intensity: float, speed: float) -> tuple[float, float]:
    return plane.x.at(intensity), plane.y.at(speed)


def _step(state: State, plane: Plane) -> str:
    x, y = _dot(plane, state.intensity, state.speed)
    above = x > 150  # left of the roof nothing else is drawn
    at = (x - 11, y - 9) if above else (x + 11, y + 16)
    anchor = "end" if above else "start"
    label = text(*at, f"a step: {state.intensity:.3g}", text_anchor=anchor, fill=INK, font_weight="600")
    return element("circle", cx=x, cy=y, r=7, fill=ACCENT, stroke=PAPER, stroke_width=2) + label


def _prompt(state: State, plane: Plane) -> str:
    flops_s, bytes_s = HARDWARE[state.params.hardware]
    speed = min(flops_s, state.prompt_intensity * bytes_s)
    x, y = _dot(plane, state.prompt_intensity, speed)
    mark = element("rect", x=x - 6, y=y - 6, width=12, height=12, fill=PAPER, stroke=INK, stroke_width=2)
    words = f"a prompt of {PROMPT:,}: {state.prompt_intensity:.0f}"
    return mark + text(min(x + 12, plane.x.end - text_width(words, 12)), y + 26, words, fill=MUTED)


def _dense(state: State, plane: Plane) -> str:
    """A plain step of a dense model of the active size."""
    flops = state.flops / (state.params.gamma + 1)
    reading = weights_read(state.params.model, state.params.dtype, 1) + state.cache_bytes
    x, y = _dot(plane, flops / reading, flops / state.dense_step_s)
    corners = f"{num(x)},{num(y - 7)} {num(x - 7)},{num(y + 5)} {num(x + 7)},{num(y + 5)}"
    return element("polygon", points=corners, fill=PAPER, stroke=INK, stroke_width=1.5)


@lru_cache(maxsize=16)
def bytes_scale(model: str, left: float, right: float) -> Scale:
    """The axis of what is read: room for all weights in bf16 and a quarter more, whatever is dragged.

    Examples
    --------
    >>> bytes_scale("Mixtral-8x7B", 0.0, 100.0).high
    150.0
    """
    return Scale(0, round_ticks(1.25 * weights_read(model, "bf16", 10**6) / 1e9)[-1], left, right)


def bytes_bar(state: State, left: float, top: float, name: str = "read in a step") -> str:
    """Draw what is read: shared weights, experts, caches, on one bar; what it comes to beside."""
    p = state.params
    scale = bytes_scale(p.model, left, left + 300)
    kinds = (
        ("shared", state.shared_bytes, SHARED),
        ("experts", state.expert_bytes, EXPERTS),
        ("caches", state.cache_bytes, CACHE),
    )
    parts = [text(left, top - 8, f"{name}: {gigabytes(state.read_bytes)}", fill=INK, font_weight="600")]
    parts.append(element("rect", x=left, y=top, width=300, height=22, fill=PAPER, stroke=FAINT))
    reached = 0.0
    for i, (kind, count, fill) in enumerate(kinds):
        start, end = scale.at(reached / 1e9), scale.at((reached + count) / 1e9)
        if end > start:
            parts.append(element("rect", x=start, y=top, width=end - start, height=22, fill=fill))
        reached += count
        x = left + (0, 104, 215)[i]
        parts.append(element("rect", x=x, y=top + 32, width=10, height=10, fill=fill))
        parts.append(text(x + 14, top + 41, f"{kind} {gigabytes(count)}", fill=INK, font_size=11))
    if scale.beyond(reached / 1e9):
        parts.append(pointer(left + 301, top + 11, 1, 0, INK))
    for share in (0.0, 0.5, 1.0):
        value, anchor = share * scale.high, ("start", "middle", "end")[round(2 * share)]
        parts.append(
            text(scale.at(value), top + 60, f"{value:,.0f} GB", text_anchor=anchor, fill=MUTED, font_size=11)
        )
    each = f"{gigabytes(state.bytes_per_token)} for each token, {1000 * state.step_s:.3g} ms a step"
    parts.append(text(left, top + 78, each, fill=INK))
    if p.gamma:
        gain = f"draft of {p.gamma}: {state.speedup:.2f} times as fast; dense: {state.dense_speedup:.2f}"
        parts.append(text(left, top + 96, gain, fill=INK))
    return "".join(parts)


def coverage_curve(state: State) -> str:
    """Draw how many experts are read for each batch; the dot that can be dragged is drawn over it."""
    p, (x, y) = state.params, CURVE
    drafts = f", {p.gamma + 1} tokens each" if p.gamma else ""
    said = f"experts read: {state.touched:.0f} of {state.n_experts}{drafts}"
    parts = [text(404, 190, said, fill=INK, font_weight="600")]
    for share in (0, 0.5, 0.9):
        at = y.at(share)
        parts.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, stroke=FAINT))
        parts.append(text(x.start - 12, at + 4, f"{share:.0%}", text_anchor="end", fill=MUTED))
    for tick in (1, 8, 64, 512, 4096):
        parts.append(text(x.at(tick), y.start + 16, f"{tick:,}", text_anchor="middle", fill=MUTED))
    parts.append(text(x.end, y.start + 32, "users (batch)", text_anchor="end", fill=MUTED))
    batches = [2 ** (i / 2) for i in range(27)]
    points = " ".join(
        f"{num(x.at(b))},{num(y.at(touched(p.model, b * (p.gamma + 1)) / state.n_experts))}" for b in batches
    )
    parts.append(element("polyline", points=points, fill="none", stroke=ACCENT, stroke_width=2))
    return "".join(parts)


def frame_words(state: State) -> str:
    """The rest of the alt text.

    Examples
    --------
    >>> from moe_lessons.explore.roofline.state import Params, simulate
    >>> frame_words(simulate(Params()))[:60]
    'Read: shared 2.95 GB, experts 22.5 GB, caches 0.13 GB; 25.6 '
    """
    p = state.params
    draft = (
        f" A draft of {p.gamma} makes it {state.speedup:.2f} times as fast, a dense model "
        f"{state.dense_speedup:.2f} times."
        if p.gamma
        else ""
    )
    return (
        f"Read: shared {gigabytes(state.shared_bytes)}, experts {gigabytes(state.expert_bytes)}, caches "
        f"{gigabytes(state.cache_bytes)}; {gigabytes(state.bytes_per_token)} for each token. "
        f"{state.touched:.0f} of {state.n_experts} experts in each layer. {state.intensity:.3g} FLOP for "
        f"each byte; from {state.ridge:.0f} on computing takes longer than reading. A prompt of {PROMPT:,} "
        f"tokens: {state.prompt_intensity:.0f}.{draft}"
    )
