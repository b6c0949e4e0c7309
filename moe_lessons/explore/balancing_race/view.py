"""The balancing race's pictures: four lanes of load, the price of balance, and the static strip."""

from moe_lessons.explore.balancing_race.state import EVERY, STEPS, E, Params, State, simulate
from moe_lessons.svg import SERIES, Drawing, color, element, figure, ink_on, num, rim, text

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
INKS = (SERIES[3], SERIES[1], SERIES[0], SERIES[2])
"""One per lane: its letter stands on it, and no expert has it."""
LETTERS = "NLBE"
HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}
MOST_VIO, LOWEST, HIGHEST = 1.4, -20.0, 100.0
"""The map's limits: MaxVio, and the difference of errors in thousandths."""


def draw(state: State) -> str:
    """Draw one frame: the lanes on the left, the price on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p = state.params
    title = f"Steps {p.step}-{p.step + EVERY - 1}: alpha {p.alpha:g} costs {_thousandths(state.cost(1))}, "
    title += f"bias step {p.rate:g} costs {_thousandths(state.cost(2))} (thousandths)"
    body = "".join(_lane(state, i, 8, 30 + 82 * i, 280) for i in range(4)) + _map(state, 444, 30, 264, 286)
    body += text(8, 14, f"loads: one batch of seed {p.seed}; numbers: means of 16 seeds", fill=MUTED)
    return figure(720, 366, title, _in_words(state), body, caption=question(state)).svg


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params()))
    'What is going on? All four begin with the same model. Which lane is even already, and why?'
    """
    p = state.params
    loss, bias = state.lanes[1], state.lanes[2]
    if p.step == 0:
        return "What is going on? All four begin with the same model. Which lane is even already, and why?"
    if p.rate >= 0.03 and bias.vio > 0.35:
        return "What is going on? The bias lane swings. Where would it rest if every step is that large?"
    if p.alpha >= 3:
        return "What is going on? L is even, and above all others. What does the router still learn for?"
    if bias.vio > 0.5 or loss.vio > 0.5:
        return "What is going on? A knob turned low costs nothing and balances little. Which one is it?"
    if abs(loss.vio - bias.vio) < 0.06 and state.cost(1) > state.cost(2) + 0.004:
        return "What is going on? L and B are equally even. Why does only one of them pay?"
    return "What is going on? E is even and low. Would you put it into a model that writes text?"


def _thousandths(difference: float) -> str:
    rounded = round(1000 * difference)
    return f"{rounded:+d}".replace("-", "−") if rounded else "0"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    lanes = "; ".join(
        f"{lane.name}: MaxVio {lane.vio:.2f}, error {lane.error:.3f}, loads (%) "
        + ", ".join(f"{100 * share:.0f}" for share in lane.load_E)
        for lane in state.lanes
    )
    return f"{lanes}. {question(state)}"


def _badge(lane: int, x: float, y: float, radius: float = 9) -> str:
    """A lane's letter on its colour."""
    disc = element("circle", cx=x, cy=y, r=radius, fill=INKS[lane], stroke="#ffffff", stroke_width=1.5)
    letter: dict[str, str | float] = {
        "text_anchor": "middle",
        "font_weight": "700",
        "fill": ink_on(INKS[lane]),
        "font_size": 11,
    }
    return disc + text(x, y + 4, LETTERS[lane], **letter)


def _lane(state: State, lane: int, left: float, top: float, width: float) -> str:
    """One lane: its name and setting, a column per expert over the even share, MaxVio and error."""
    p, one = state.params, state.lanes[lane]
    setting = ("", f", alpha {p.alpha:g}", f", step {p.rate:g}", "")[lane]
    head = _badge(lane, left + 9, top + 8) + text(left + 24, top + 12, one.name + setting, font_weight="600")
    numbers = text(left + width + 8, top + 40, f"MaxVio {one.vio:.2f}") + text(
        left + width + 8, top + 56, f"error {one.error:.3f}"
    )
    return head + numbers + columns(one.load_E, left, top + 18, width, 46)


def columns(load_E: list[float], left: float, top: float, width: float, height: float) -> str:
    """One column per expert, full height being three times the even share; a number where it is higher."""
    step, base = width / E, top + height
    even = base - height / 3
    parts = [element("rect", x=left, y=top, width=width, height=height, fill="#f7f7f7")]
    for e, share in enumerate(load_E):
        x, tall = left + step * e, min(share * E / 3, 1.0) * height
        shape = {"x": x + 3, "y": base - tall, "width": step - 6, "height": max(tall, 0.5)}
        parts.append(element("rect", **shape, fill=color(e), **rim(color(e))))
        if share * E > 3:
            middle = x + step / 2
            parts.append(text(middle, top + 12, f"{100 * share:.0f} %", text_anchor="middle", font_size=10))
        if width > 200:
            parts.append(
                text(x + step / 2, base + 12, str(e), text_anchor="middle", font_size=10, fill=MUTED)
            )
    parts.append(
        element("line", x1=left, x2=left + width, y1=even, y2=even, stroke=INK, stroke_dasharray="2 3")
    )
    return "".join(parts)


def _map(state: State, left: float, top: float, width: float, height: float) -> str:
    """Every setting of both knobs as a curve from low to high; the four lanes as badges.

    What lies beyond an axis stands at its end with a pointer outwards, and is said in numbers.
    """

    def cost(error: float) -> float:
        return 1000 * (error - state.lanes[0].error)

    def place(vio: float, error: float) -> tuple[float, float]:
        x = left + width * min(vio, MOST_VIO) / MOST_VIO
        return x, top + height * (HIGHEST - min(max(cost(error), LOWEST), HIGHEST)) / (HIGHEST - LOWEST)

    parts = [text(left - 34, 14, "error above that without balancing (thousandths)", fill=MUTED)]
    for level in (-20, 0, 20, 40, 60, 80, 100):
        y = top + height * (HIGHEST - level) / (HIGHEST - LOWEST)
        stroke = INK if level == 0 else FAINT
        parts.append(element("line", x1=left, x2=left + width, y1=y, y2=y, stroke=stroke))
        # Clear of a badge that stands on the axis.
        parts.append(text(left - 13, y + 4, _thousandths(level / 1000), text_anchor="end", fill=MUTED))
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4):
        x = left + width * tick / MOST_VIO
        parts.append(text(x, top + height + 27, f"{tick:g}", text_anchor="middle", fill=MUTED))
    axis = "MaxVio: the fullest expert's excess (even is 0)"
    parts.append(text(left + width / 2, top + height + 43, axis, text_anchor="middle", fill=MUTED))
    for lane, curve, dash in ((1, state.loss_curve, "7 3"), (2, state.bias_curve, "")):
        spots = [place(*point) for point in curve]
        line = " ".join(f"{num(x)},{num(y)}" for x, y in spots)
        style = {"stroke_dasharray": dash} if dash else {}
        parts.append(
            element("polyline", points=line, fill="none", stroke=INKS[lane], stroke_width=1.5, **style)
        )
        for (x, y), (vio, error) in zip(spots, curve, strict=True):
            out = beyond(vio, cost(error))
            dot = element("circle", cx=x, cy=y, r=2.8, fill=INKS[lane])
            parts.append(_pointer(out, x, y, 5, INKS[lane]) if out else dot)
    outside = []
    for lane in (0, 3, 1, 2):
        one = state.lanes[lane]
        out = beyond(one.vio, cost(one.error))
        x, y = place(one.vio, one.error)
        if out:
            parts.append(_pointer(out, x, y, 17, INKS[lane]))
            outside.append(f"{LETTERS[lane]} {_thousandths(state.cost(lane))}")
        parts.append(_badge(lane, x, y))
    if outside:
        said = "off the scale: " + ", ".join(sorted(outside))
        parts.append(text(left + width, top + 14, said, text_anchor="end", font_weight="600", **HALO))
    return "".join(parts)


def beyond(vio: float, cost: float) -> tuple[int, int] | None:
    """Say where a point lies outside the map, as steps to the right and downwards; None inside.

    Examples
    --------
    >>> beyond(0.2, -279.0), beyond(2.0, 0.0)
    ((0, 1), (1, 0))
    >>> beyond(0.2, 10.0) is None
    True
    """
    where = (int(vio > MOST_VIO), int(cost < LOWEST) - int(cost > HIGHEST))
    return where if any(where) else None


def _pointer(out: tuple[int, int], x: float, y: float, reach: float, fill: str) -> str:
    """A triangle whose tip lies `reach` beyond (x, y), towards what is off the scale."""
    right, down = out
    tip = (x + right * reach, y + down * reach)
    back = (x + right * (reach - 7), y + down * (reach - 7))
    side = (-down * 5, right * 5)
    corners = (tip, (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1]))
    return element("polygon", points=" ".join(f"{num(a)},{num(b)}" for a, b in corners), fill=fill)


def answer(params: Params) -> Drawing:
    """Draw the price of balance at one setting.

    Examples
    --------
    >>> answer(Params(step=580)).alt[:31]
    'At equal balance the loss costs'
    """
    state = simulate(params)
    loss, bias = (_thousandths(state.cost(lane)) for lane in (1, 2))
    if params.alpha > 1:
        title = f"Turned up, both pay: the loss {loss}, the bias {bias} thousandths of error"
    else:
        title = f"At equal balance the loss costs {loss} thousandths of error, the bias {bias}"
    caption = (
        "N no balancing, L loss (dashed: every alpha), B bias (solid: every step), E expert choice. Means of "
        "16 seeds at the last step shown."
    )
    return figure(480, 352, title, caption, _map(state, 56, 30, 400, 270), caption)


STRIP = (
    (Params(0.01, 0.0001, STEPS - 20), "Both low"),
    (Params(0.1, 0.003, STEPS - 20), "Both good"),
    (Params(1.0, 0.001, STEPS - 20), "Equally even"),
    (Params(10.0, 0.3, STEPS - 20), "Both high"),
)
"""The strip's settings and their names."""


def strip() -> Drawing:
    """Draw four settings at the end of the race, side by side.

    Examples
    --------
    >>> strip()
    Well set, loss and bias cost the same; turned up, both pay. ...
    """
    parts, words = [], []
    for i, (params, name) in enumerate(STRIP):
        state = simulate(params)
        left = 8 + 178 * i
        parts.append(text(left, 14, name, font_weight="600"))
        for lane, one in enumerate(state.lanes):
            top = 28 + 84 * lane
            setting = (
                "no balancing",
                f"alpha {params.alpha:g}",
                f"bias step {params.rate:g}",
                "expert choice",
            )
            cost = _thousandths(state.cost(lane))
            parts.append(_badge(lane, left + 9, top + 8) + text(left + 23, top + 12, setting[lane]))
            parts.append(columns(one.load_E, left, top + 20, 160, 32))
            note = f"MaxVio {one.vio:.2f}" + (f", error {cost}" if lane else f", error {one.error:.3f}")
            parts.append(text(left, top + 66, note, fill=MUTED))
            words.append(f"{name}, {setting[lane]}: {note}")
    title = "Well set, loss and bias cost the same; turned up, both pay"
    caption = (
        "Columns: load of each expert in one batch of one seed at the end; dashed: the even share. MaxVio "
        "and error: means of 16 seeds; for L, B and E the error is the difference from N in thousandths."
    )
    return figure(720, 360, title, "; ".join(words) + ". " + caption, "".join(parts), caption)
