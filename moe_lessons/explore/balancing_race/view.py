"""The balancing race's pictures: four lanes of load, the price of balance, and the static strip."""

from moe_lessons.explore.balancing_race.lanes import LETTERS, MUTED, badge, columns, lane_of, thousandths
from moe_lessons.explore.balancing_race.price import HIGHEST, LOWEST, price
from moe_lessons.explore.balancing_race.state import EVERY, STEPS, Params, State, simulate
from moe_lessons.svg import Drawing, figure, text


def draw(state: State) -> str:
    """Draw one frame: the lanes on the left, the price on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p = state.params
    title = f"Steps {p.step}-{p.step + EVERY - 1}: alpha {p.alpha:g} costs {thousandths(state.cost(1))}, "
    title += f"bias step {p.rate:g} costs {thousandths(state.cost(2))} (thousandths)"
    body = "".join(lane_of(state, i, 8, 30 + 82 * i, 280) for i in range(4)) + price(state, 444, 30, 264, 286)
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


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    lanes = "; ".join(
        f"{lane.name}: MaxVio {lane.vio:.2f}, error {lane.error:.3f}, loads (%) "
        + ", ".join(f"{100 * share:.0f}" for share in lane.load_E)
        for lane in state.lanes
    )
    costs = [1000 * state.cost(lane) for lane in range(len(state.lanes))]
    outside = [
        f"{letter} {thousandths(cost / 1000)}"
        for letter, cost in zip(LETTERS, costs, strict=True)
        if not LOWEST <= cost <= HIGHEST
    ]
    note = f" Error against N, off the scale: {', '.join(outside)} thousandths." if outside else ""
    return f"{lanes}.{note} {question(state)}"


def answer(params: Params) -> Drawing:
    """Draw the price of balance at one setting.

    Examples
    --------
    >>> answer(Params(step=580)).alt[:31]
    'At equal balance the loss costs'
    """
    state = simulate(params)
    loss, bias = (thousandths(state.cost(lane)) for lane in (1, 2))
    if params.alpha > 1:
        title = f"Turned up, both pay: the loss {loss}, the bias {bias} thousandths of error"
    else:
        title = f"At equal balance the loss costs {loss} thousandths of error, the bias {bias}"
    caption = (
        "N no balancing, L loss (dashed: every alpha), B bias (solid: every step), E expert choice. Means of "
        "16 seeds at the last step shown."
    )
    return figure(480, 352, title, caption, price(state, 56, 30, 400, 270), caption)


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
            cost = thousandths(state.cost(lane))
            parts.append(badge(lane, left + 9, top + 8) + text(left + 23, top + 12, setting[lane]))
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
