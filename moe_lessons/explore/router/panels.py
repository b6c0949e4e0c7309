"""The panels of the router playground: the map, the load bars, one token's softmax."""

import math

from moe_lessons.explore.handles import Around, handle, pick
from moe_lessons.explore.router.state import E, Params, State, Wedge, router_vectors
from moe_lessons.svg import color, element, ink_on, marker, num, rim, text, tint

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
REACH = 3.0
"""The map shows -3 to 3 in both directions."""
ARROW = 0.68
"""Length of a norm-1 router vector on the map, so that norm 4 still fits."""


def plane(state: State, left: float, top: float, side: float) -> str:
    """Draw the map: regions, tokens, router vectors, and the line where the chosen expert's logit is 0."""
    p = state.params
    unit = side / 2 / REACH
    parts = [element("rect", x=-REACH * unit, y=-REACH * unit, width=side, height=side, fill="#ffffff")]
    parts += [_sector(w, p, unit) for w in state.routed.wedges]
    parts.append(_zero_line(p, unit))
    parts += _tokens(state, unit, side)
    parts += [_name(w, p, unit, side) for w in state.routed.wedges]
    live = side > 300
    parts += [_arrow(p, e, unit, live) for e in range(E) if e != p.expert]
    parts.append(_arrow(p, p.expert, unit, live))
    if side > 300:
        x, y = state.tokens_T2[p.token]
        parts.append(
            element("circle", cx=x * unit, cy=-y * unit, r=10, fill="none", stroke=INK, stroke_width=2)
        )
    # A nested <svg> clips what reaches over its edge.
    half = num(side / 2)
    box = f"-{half} -{half} {num(side)} {num(side)}"
    inside = element("svg", "".join(parts), x=left, y=top, width=side, height=side, viewBox=box)
    frame = element("rect", x=left, y=top, width=side, height=side, fill="none", stroke="#8c8c8c")
    return inside + frame


def _sector(wedge: Wedge, p: Params, unit: float) -> str:
    """One region: at K=1 in its expert's tint, at larger K tinted where the chosen expert is in the set."""
    winner = next(iter(wedge.experts)) if p.k == 1 else p.expert
    strength = 0.42 if winner == p.expert else 0.17
    fill = tint(color(winner), strength) if winner in wedge.experts else "#ffffff"
    far, points = 3 * REACH * unit, ["0,0"]
    steps = max(1, math.ceil((wedge.stop - wedge.start) / 45))
    for i in range(steps + 1):
        angle = math.radians(wedge.start + (wedge.stop - wedge.start) * i / steps)
        points.append(f"{num(far * math.cos(angle))},{num(-far * math.sin(angle))}")
    return element("polygon", points=" ".join(points), fill=fill, stroke="#ffffff" if p.k == 1 else FAINT)


def _zero_line(p: Params, unit: float) -> str:
    """Where the chosen expert's logit is 0, with its sign on both sides."""
    angle = math.radians(p.angles[p.expert])
    x, y = -2 * REACH * unit * math.sin(angle), -2 * REACH * unit * math.cos(angle)
    line = element("line", x1=-x, y1=-y, x2=x, y2=y, stroke=INK, stroke_dasharray="6 5", stroke_width=1.2)
    signs = []
    for sign, shift in (("+", 11), ("−", -11)):
        at_x, at_y = 0.33 * x + shift * math.cos(angle), 0.33 * y - shift * math.sin(angle) + 5
        signs.append(text(at_x, at_y, sign, text_anchor="middle", font_size=17, font_weight="700", **_HALO))
    return line + "".join(signs)


def _tokens(state: State, unit: float, side: float) -> list[str]:
    """Tokens as their top expert's marker; at K > 1 those that miss the chosen expert are small dots."""
    p = state.params
    size = 4.2 if side > 300 else 2.6
    parts = []
    for i, at in enumerate(state.tokens_T2):
        x, y = (unit * part for part in at)
        experts = state.routed.topk_ids_TK[i]
        touch = pick(Token=i) if side > 300 else {}
        if p.k == 1:
            parts.append(marker(experts[0], x, -y, size, stroke="#ffffff", stroke_width=0.6, **touch))
        elif p.expert in experts:
            parts.append(marker(p.expert, x, -y, size, stroke="#ffffff", stroke_width=0.6, **touch))
        else:
            parts.append(element("circle", cx=x, cy=-y, r=size * 0.5, fill="#8c8c8c", **touch))
    return parts


def _name(wedge: Wedge, p: Params, unit: float, side: float) -> str:
    """Write the experts of a region near the map's edge, where there is room."""
    large = side > 300
    if wedge.stop - wedge.start < (15 if large else 30) or (p.k > 1 and not large):
        return ""
    turn = math.radians((wedge.start + wedge.stop) / 2)
    # The edge of a square lies further out along its diagonals.
    edge = REACH * unit / max(abs(math.cos(turn)), abs(math.sin(turn)))
    away = min(edge, REACH * unit * 1.2) - (20 if large else 11)
    names = " ".join(str(e) for e in sorted(wedge.experts))
    size = (17 if large else 13) if p.k == 1 else 10.5
    limit = side / 2 - 4 - 0.3 * size * len(names)
    x = min(max(away * math.cos(turn), -limit), limit)
    return text(
        x,
        -away * math.sin(turn) + size * 0.35,
        names,
        text_anchor="middle",
        font_size=size,
        font_weight="600",
        fill=INK,
        **_HALO,
    )


_HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}


def _arrow(p: Params, expert: int, unit: float, live: bool) -> str:
    """A router vector, with the expert's number at its tip; on a live map the tip can be dragged."""
    x, y = (part * ARROW * unit for part in router_vectors(p.angles, p.norms)[expert])
    chosen = expert == p.expert
    shaft = {"x1": 0, "y1": 0, "x2": x, "y2": -y}
    parts = [
        element("line", **shaft, stroke="#ffffff", stroke_width=6 if chosen else 5),
        element("line", **shaft, stroke=INK if chosen else MUTED, stroke_width=3 if chosen else 1.8),
    ]
    radius = 10 if chosen else 8.5
    fill = color(expert)
    rim: dict[str, str | float] = {"stroke": INK if chosen else "#ffffff", "stroke_width": 2}
    if live:
        stands = {"Its angle (°)": p.angles[expert], "Its norm": p.norms[expert]}
        polar = Around("Its angle (°)", "Its norm", ARROW * unit)
        rim |= handle(f"router vector {expert}", stands, around=polar, first={"Expert": expert})
    parts.append(element("circle", cx=x, cy=-y, r=radius, fill=fill, **rim))
    number = {"text_anchor": "middle", "font_weight": "700", "fill": ink_on(fill)}
    parts.append(text(x, -y + 4.2, str(expert), **number))
    return "".join(parts)


def loads(state: State, left: float, top: float, width: float) -> str:
    """Draw the share of tokens that reaches each expert, with the share before anything was dragged."""
    p = state.params
    x0, full = left + 44, width - 44 - 46
    parts = [text(left, top - 8, "tokens that reach the expert (%)", fill=MUTED)]
    for e, (load, before) in enumerate(zip(state.routed.load_E, state.load_before_E, strict=True)):
        y = top + 8 + 25 * e
        parts.append(row_name(e, left, y + 9, e == p.expert))
        parts.append(bar(x0, y, full, 18, load, color(e), e == p.expert))
        tick = x0 + full * before
        parts.append(element("line", x1=tick, x2=tick, y1=y - 2, y2=y + 20, stroke=INK, stroke_width=2))
        parts.append(text(x0 + full + 8, y + 13.5, f"{100 * load:.0f}"))
    uniform = x0 + full * p.k / E
    low, high = top + 4, top + 154
    parts.append(element("line", x1=uniform, x2=uniform, y1=low, y2=high, stroke=INK, stroke_dasharray="2 3"))
    parts.append(text(x0, top + 170, f"┆ uniform share {100 * p.k / E:.0f}    ┃ before dragging", fill=MUTED))
    return "".join(parts)


def softmax(state: State, left: float, top: float, width: float) -> str:
    """Draw one token's logits and softmax, its chosen experts ticked."""
    p = state.params
    x0, full = left + 104, width - 104 - 46
    head = f"token {p.token}: softmax at temperature {p.temperature:.4g} (%)"
    parts = [text(left, top - 10, head, fill=MUTED), text(left + 96, top + 6, "logit", text_anchor="end")]
    logits = state.routed.logits_TE[p.token]
    for e, probability in enumerate(state.probs_E):
        y = top + 12 + 25 * e
        chosen = e in state.chosen
        parts.append(row_name(e, left, y + 9, e == p.expert))
        parts.append(text(left + 96, y + 13.5, f"{logits[e]:+.2f}", text_anchor="end", fill=MUTED))
        parts.append(bar(x0, y, full, 18, probability, color(e), False, hollow=not chosen))
        parts.append(text(x0 + full + 8, y + 13.5, f"{100 * probability:.0f}{' ✓' if chosen else ''}"))
    parts.append(
        text(
            x0,
            top + 176,
            "✓ chosen: the largest logit" if p.k == 1 else f"✓ chosen: the {p.k} largest logits",
            fill=MUTED,
        )
    )
    return "".join(parts)


def row_name(expert: int, left: float, y: float, chosen: bool) -> str:
    """Start a row: the expert's marker and number, pointed at where it is the chosen expert."""
    weight = "700" if chosen else "400"
    arrow = text(left, y + 4.5, "▸") if chosen else ""
    return (
        arrow + marker(expert, left + 18, y, 4.2) + text(left + 28, y + 4.5, str(expert), font_weight=weight)
    )


def bar(
    x: float, y: float, full: float, tall: float, share: float, fill: str, bold: bool, hollow: bool = False
) -> str:
    """A horizontal bar on a faint track; ``hollow`` for what is not chosen."""
    track = element("rect", x=x, y=y, width=full, height=tall, fill="#f2f2f2")
    inside = tint(fill, 0.18) if hollow else fill
    edge: dict[str, str | float] = (
        {"stroke": fill if hollow else INK, "stroke_width": 1.2} if hollow or bold else rim(fill)
    )
    return track + element("rect", x=x, y=y, width=max(full * share, 0.5), height=tall, fill=inside, **edge)
