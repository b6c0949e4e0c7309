"""The two panels of All to all: a bar for each rank, and a table of nodes."""

from moe_lessons.explore.all_to_all.state import NODES, ROW_BYTES, TOP_K, State
from moe_lessons.explore.scale import Scale, pointer
from moe_lessons.svg import ACCENT, element, ink_on, text, tint
from moe_lessons.svg.palette import FAINT, INK, MUTED, PAPER

HIGHEST = 5.0
"""The end of the ranks' scale, in multiples of an even rank's load; what is beyond has a mark."""


def ranks(state: State, left: float, top: float, width: float, height: float, small: bool = False) -> str:
    """Draw each rank's load: a bar for the step, a line for the average, dashed what one expert needs."""
    foot = top + height - (0 if small else 20)
    start = left + (0 if small else 26)
    y = Scale(0, HIGHEST, foot, top + (8 if small else 22))
    parts = []
    for tick in (1,) if small else range(int(HIGHEST) + 1):
        at, ink = y.at(tick), INK if tick == 1 else FAINT
        parts.append(element("line", x1=start, x2=left + width, y1=at, y2=at, stroke=ink))
        if not small:
            parts.append(text(start - 6, at + 4, f"{tick}", text_anchor="end", fill=MUTED))
    if not small:
        parts.append(text(left, top, "rows of a rank, over the mean (1 is even)", fill=MUTED))
    slot = (left + width - start) / len(state.drawn_G)
    for rank, (drawn, expected) in enumerate(zip(state.drawn_G, state.expected_G, strict=True)):
        parts.append(_rank(drawn, expected, start + slot * rank, slot, y, fullest=drawn == state.drawn))
    if not y.beyond(state.hottest):
        at = y.at(state.hottest)
        parts.append(
            element("line", x1=start, x2=left + width, y1=at, y2=at, stroke=INK, stroke_dasharray="5 4")
        )
        if not small:
            label = f"the hottest expert alone: {state.hottest:.2f}"
            parts.append(text(left + width, at - 5, label, text_anchor="end", fill=INK))
    if not small:
        n = len(state.drawn_G)
        said = f"ranks 0 to {n - 1}; bar: this step, max {state.drawn:.2f}; line: on average, max "
        parts.append(text(start, foot + 18, f"{said}{state.expected:.2f}", fill=INK))
    return "".join(parts)


def _rank(drawn: float, expected: float, x: float, slot: float, y: Scale, fullest: bool) -> str:
    inside = max(slot - 2, 1.5)
    high, level = y.at(drawn), y.at(expected)
    fill = ACCENT if fullest else tint(ACCENT, 0.45)
    parts = [element("rect", x=x, y=high, width=inside, height=y.start - high, fill=fill)]
    parts.append(element("line", x1=x, x2=x + inside, y1=level, y2=level, stroke=INK, stroke_width=2))
    most = max(drawn, expected)
    if y.beyond(most):
        parts.append(pointer(x + inside / 2, y.end, 0, -1, INK, size=6))
        parts.append(text(x + inside + 3, y.end + 4, f"{most:.1f}", fill=INK, font_weight="600"))
    return "".join(parts)


def heat(state: State, left: float, top: float, width: float) -> str:
    """Draw what each node sends to each: darker is more, on one scale for all settings of the controls."""
    side = (width - 30) / NODES
    most = state.params.tokens / NODES * ROW_BYTES * TOP_K * 0.6
    corner, head = left + 24, top + 22
    unit, digits, name = (1e6, 1, "MB") if state.params.tokens >= 512 else (1e3, 0, "kB")
    parts = [text(left, top, f"sent between nodes, {name} (row: from)", fill=MUTED)]
    for node in range(NODES):
        middle = head + 18 + side * (node + 0.62)
        parts.append(text(corner - 8, middle, f"{node}", text_anchor="end", fill=MUTED))
        across = corner + side * (node + 0.5)
        parts.append(text(across, head + 10, f"{node}", text_anchor="middle", fill=MUTED))
        for other in range(NODES):
            sent = state.bytes_NN[node][other]
            fill = tint(ACCENT, min(sent / most, 1.0)) if node != other else PAPER
            box = {"x": corner + side * other, "y": head + 18 + side * node, "width": side, "height": side}
            parts.append(element("rect", **box, fill=fill, stroke=FAINT))
            said = "–" if node == other else f"{sent / unit:.{digits}f}"
            parts.append(
                text(
                    corner + side * (other + 0.5),
                    middle,
                    said,
                    text_anchor="middle",
                    font_size=11,
                    fill=MUTED if node == other else ink_on(fill),
                )
            )
    below = head + 18 + side * NODES + 20
    parts.append(text(left, below, f"a token meets {state.nodes_per_token:.2f} of 8 nodes", fill=INK))
    how = "once to each node" if state.params.once else "once for each expert"
    parts.append(
        text(left, below + 18, f"sent {how}: {state.crossing / unit:,.{digits}f} {name} cross", fill=INK)
    )
    return "".join(parts)
