"""What bugs add to the columns of sorted rows: weights, wrong places, verdicts, the crash."""

from moe_lessons.explore.rows.columns import INK, MUTED, Column
from moe_lessons.explore.sorted_layer.state import BUGS, WEIGHTS, Params, State, simulate, verdict
from moe_lessons.svg import color, element, text, tint, wrap

WRONG = "#A32900"
"""The ink of what is wrong, which always has a cross, a word or a second number beside it."""


def sizes(state: State, column: Column) -> str:
    """Write the group sizes, as they were counted, below the sorted rows."""
    counted = ", ".join(map(str, state.sizes))
    foot = column.top + column.row * len(state.row_ids) + 19
    look: dict[str, str | float] = {"fill": WRONG, "font_weight": "700"} if state.crashed else {}
    return text(column.x + column.width / 2, foot, f"sizes {counted}", text_anchor="middle", **look)


def weights(state: State, column: Column, on: bool) -> str:
    """Draw the weight that each row is multiplied with, crossed out where it is another slot's."""
    parts = []
    for p, (slot, weight_slot) in enumerate(zip(state.row_ids, state.weight_slots, strict=True)):
        box = {"x": column.x, "y": column.top + p * column.row, "width": column.width, "height": column.row}
        if not on:
            parts.append(element("rect", **box, fill="#ffffff", stroke="#d0d0d0", stroke_dasharray="2 3"))
            continue
        followed, wrong = slot in state.slots, slot != weight_slot
        edge = WRONG if wrong else INK if followed else "#8c8c8c"
        fill = tint(color(state.expert(weight_slot)), 0.16)
        parts.append(element("rect", **box, fill=fill, stroke=edge, stroke_width=1.6 if followed else 0.8))
        parts.append(
            text(
                column.x + column.width / 2,
                column.middle(p) + 4,
                f"{'✗' if wrong else '×'} {amount(WEIGHTS[weight_slot])}",
                text_anchor="middle",
                font_weight="700" if followed else "400",
                fill=WRONG if wrong else INK,
            )
        )
    return "".join(parts)


def wrong_places(state: State, column: Column, on: bool) -> str:
    """Frame the rows that stand in another slot's place."""
    parts = []
    for place, slot in enumerate(state.landed if on else ()):
        y = column.top + place * column.row
        if slot != place:
            box = {"x": column.x, "y": y, "width": column.width, "height": column.row}
            parts.append(element("rect", **box, fill="none", stroke=WRONG, stroke_width=1.6))
    return "".join(parts)


def verdicts(state: State, x: float, top: float, tall: float, on: bool) -> str:
    """Say for each token what it got, beside its output."""
    parts = []
    for t in range(len(state.ids) if on or state.crashed else 0):
        y = top + t * tall + tall / 2
        found = verdict(state, t)
        sign, ink = ("✓", INK) if found.right else ("✗", WRONG)
        parts.append(text(x, y - 3, f"{sign} {found.said}", font_size=11.5, font_weight="700", fill=ink))
        if state.terms(t):
            parts.append(text(x, y + 12, sum_of(state, t), font_size=10.5, fill=MUTED))
    return "".join(parts)


def crash(state: State, x: float, y: float) -> str:
    """Say where it stopped."""
    missing = len(state.sizes)
    lines = ("IndexError", f"Expert {missing} asks for group {missing}.", f"Groups: 0 to {missing - 1}.")
    return "".join(
        text(x, y + 17 * i, line, font_weight="400" if i else "700", fill=INK if i else WRONG)
        for i, line in enumerate(lines)
    )


def sum_of(state: State, token: int) -> str:
    """Write what a token adds up, and the sum of its weights where that is not 1.

    Examples
    --------
    >>> sum_of(simulate(Params(bugs=frozenset({"no_inverse"}))), 0)
    '.30 r1 + .60 r2 (weights .90)'
    """
    terms = state.terms(token)
    total = sum(weight for weight, _ in terms)
    note = "" if abs(total - 1) < 1e-9 else f" (weights {amount(total)})"
    return " + ".join(f"{amount(weight)} r{slot}" for weight, slot in terms) + note


def amount(weight: float) -> str:
    """Write a weight with two decimals and no leading zero.

    >>> amount(0.3), amount(1.25)
    ('.30', '1.25')
    """
    return f"{weight:.2f}".removeprefix("0")


def table(routing: str, bugs: tuple[str, ...], x: float, y: float, width: float) -> str:
    """Draw what each token gets under each bug, a row per token."""
    states = [simulate(Params(routing=routing, bugs=frozenset({bug}))) for bug in bugs]
    first, rest = 58, (width - 58) / len(bugs)
    parts = [text(x, y, "token", font_weight="600")]
    for j, (bug, state) in enumerate(zip(bugs, states, strict=True)):
        left = x + first + rest * j
        for i, line in enumerate(reversed(wrap(BUGS[bug], rest - 30, 11.5))):
            parts.append(text(left, y - 14 * i, line, font_weight="600", font_size=11.5))
        for t in range(len(state.ids)):
            found = verdict(state, t)
            sign = "✓" if found.right else "✗"
            ink = INK if found.right else WRONG
            parts.append(text(left, y + 19 * (t + 1), f"{sign} {found.said}", font_size=11.5, fill=ink))
    for t in range(len(states[0].ids)):
        at = y + 19 * t + 6
        parts.append(element("line", x1=x, x2=x + width, y1=at, y2=at, stroke="#d0d0d0"))
        parts.append(text(x, y + 19 * (t + 1), f"y{t}"))
    return "".join(parts)
