"""How fine?'s pictures: the errors of four granularities by seed, and what the chosen cut looks like."""

from moe_lessons.explore.granularity.state import EXPERTS, GRAINS, RATES, Column, Params, State, simulate
from moe_lessons.explore.handles import pick
from moe_lessons.explore.scale import Scale
from moe_lessons.svg import ACCENT, Drawing, element, figure, text
from moe_lessons.svg.palette import FAINT, INK, MUTED, PAPER

LEFT, TOP, FOOT, STEP = 60.0, 40.0, 296.0, 90.0
HIGHEST = 0.95
"""The end of the error's axis: no run of the grid is above."""


def draw(state: State) -> str:
    """Draw one frame: errors on the left, the cut on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p, lowest = state.params, state.lowest
    rates = "each at its best rate" if p.best else f"rate {p.rate:g} for all"
    skills = "One skill a token" if p.at_once == 1 else f"{p.at_once} skills a token"
    title = f"{skills}, {rates}: G = {lowest.granularity} has the lowest error, {lowest.mean:.3f}"
    body = _errors(state) + _cut(state, 470.0)
    return figure(720, 344, title, _in_words(state), body, caption=question(state)).svg


def _errors(state: State) -> str:
    y = Scale(0, HIGHEST, FOOT, TOP)
    parts = [text(LEFT - 34, 20, "error (1 is what the answer 0 would get)", fill=MUTED)]
    for tick in (0, 0.2, 0.4, 0.6, 0.8):
        at = y.at(tick)
        parts.append(element("line", x1=LEFT, x2=LEFT + 4 * STEP, y1=at, y2=at, stroke=FAINT))
        parts.append(text(LEFT - 8, at + 4, f"{tick:g}", text_anchor="end", fill=MUTED))
    for i, column in enumerate(state.columns):
        chosen = column.granularity == state.params.granularity
        parts.append(_column(column, LEFT + STEP * (i + 0.5), y, chosen, column is state.lowest))
    return "".join(parts)


def _column(column: Column, middle: float, y: Scale, chosen: bool, lowest: bool) -> str:
    box = {"x": middle - 38, "y": TOP - 8, "width": 76, "height": FOOT - TOP + 16}
    frame = element(
        "rect",
        **box,
        fill=PAPER,
        fill_opacity="0",
        stroke=ACCENT if chosen else FAINT,
        stroke_width=2 if chosen else 1,
        **pick(Slices=column.granularity),
    )
    parts = [frame]
    for seed, error in enumerate(column.errors):
        across = middle - 22 + 44 * (5 * seed % 16) / 15  # no two neighbours in seed beside each other
        parts.append(element("circle", cx=across, cy=y.at(error), r=3, fill=ACCENT, fill_opacity="0.55"))
    level = y.at(column.mean)
    parts.append(
        element("line", x1=middle - 26, x2=middle + 26, y1=level, y2=level, stroke=INK, stroke_width=2)
    )
    low, high = y.at(column.mean - column.half), y.at(column.mean + column.half)
    parts.append(element("line", x1=middle, x2=middle, y1=low, y2=high, stroke=INK, stroke_width=5))
    label = f"G = {column.granularity}"
    parts.append(
        text(middle, FOOT + 24, label, text_anchor="middle", font_weight="700" if lowest else "400", fill=INK)
    )
    said = f"{column.mean:.3f} ± {column.half:.3f}"
    parts.append(text(middle, FOOT + 40, said, text_anchor="middle", font_size=11, fill=MUTED))
    return "".join(parts)


def _cut(state: State, left: float) -> str:
    g, width = state.params.granularity, 232.0
    parts = [text(left, 20, _experts(state), fill=INK, font_weight="600")]
    taken = {(5 * i + 2) * state.experts // (5 * g) % state.experts for i in range(g)}
    parts.append(text(left, 44, "one token's choice (an example)", fill=MUTED))
    for e in range(EXPERTS):
        for s in range(g):
            slot = width / EXPERTS
            box = {"x": left + slot * e + (slot - 4) * s / g, "y": 52, "width": (slot - 4) / g, "height": 26}
            inside = ACCENT if e * g + s in taken else PAPER
            parts.append(element("rect", **box, fill=inside, stroke=INK, stroke_width=0.6))
    rows = (
        ("choices a token has, in bits", state.choices_bits, 33.0, f"{state.choices_bits:.1f}"),
        ("router, of a token's work", 100 * state.router_share, 100.0, f"{100 * state.router_share:.0f} %"),
        (f"seeds better than G = 1, of {len(state.columns[0].errors)}", state.wins(g), 16.0, _wins(state)),
    )
    for i, (name, value, most, said) in enumerate(rows):
        top = 112 + 56 * i
        parts.append(text(left, top, name, fill=MUTED))
        parts.append(
            element("rect", x=left, y=top + 8, width=width - 50, height=14, fill=PAPER, stroke=FAINT)
        )
        length = (width - 50) * min(value / most, 1.0)
        parts.append(element("rect", x=left, y=top + 8, width=length, height=14, fill=ACCENT))
        parts.append(text(left + width, top + 20, said, text_anchor="end", fill=INK))
    rate = state.columns[GRAINS.index(g)].rate
    parts.append(text(left, 292, f"learning rate here: {rate:g}", fill=MUTED))
    return "".join(parts)


def _experts(state: State) -> str:
    units = "unit" if state.units == 1 else "units"
    return f"{state.experts} experts of {state.units} {units}, {state.chosen} a token"


def _wins(state: State) -> str:
    return "–" if state.params.granularity == 1 else str(state.wins(state.params.granularity))


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params(at_once=4, best=True)))
    'What is going on? A coarse expert has to hold a combination of skills. How many are there?'
    """
    p = state.params
    if not p.best and p.rate == RATES[0]:
        return "What is going on? None is done at this rate. Who is quicker, and who would be better?"
    if p.at_once == 1 and state.lowest.granularity == 1:
        return "What is going on? One skill is enough. What must eight slices do that one expert need not?"
    if p.best and p.at_once == 4:
        return "What is going on? A coarse expert has to hold a combination of skills. How many are there?"
    if p.best:
        return "What is going on? Does the best cut follow the number of skills, or simply the finest one?"
    return "What is going on? Switch to each cut's own best rate. Which of the four had the wrong one?"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    columns = "; ".join(
        f"G = {c.granularity}: {c.mean:.3f} ± {c.half:.3f} at rate {c.rate:g}" for c in state.columns
    )
    bits = (
        f"{state.choices_bits:.1f} bits of choice, router {100 * state.router_share:.0f} % of a token's work"
    )
    return f"{columns}. Chosen: {_experts(state)}, {bits}. {question(state)}"


STRIP = (
    (Params(1, 8, 0.003, False), "One skill, rate 0.003"),
    (Params(1, 1, 0.003, True), "One skill, best rates"),
    (Params(4, 8, 0.003, False), "Four skills, rate 0.003"),
    (Params(4, 8, 0.003, True), "Four skills, best rates"),
)
"""The strip's settings and their names."""


def strip() -> Drawing:
    """Draw four settings side by side.

    Examples
    --------
    >>> strip()
    One skill a token: the rate decides who wins; four at once: the finest cut. ...
    """
    parts, words = [], []
    y = Scale(0, HIGHEST, 196, 36)
    for i, (params, name) in enumerate(STRIP):
        state, left = simulate(params), 28 + 174 * i
        parts.append(text(left, 16, name, font_weight="600"))
        for tick in (0, 0.4, 0.8):
            at = y.at(tick)
            parts.append(element("line", x1=left, x2=left + 156, y1=at, y2=at, stroke=FAINT))
            parts.append(text(left - 4, at + 4, f"{tick:g}", text_anchor="end", fill=MUTED, font_size=10))
        for j, column in enumerate(state.columns):
            middle = left + 20 + 39 * j
            for seed, error in enumerate(column.errors):
                across = middle - 12 + 24 * (5 * seed % 16) / 15
                parts.append(
                    element("circle", cx=across, cy=y.at(error), r=2, fill=ACCENT, fill_opacity="0.55")
                )
            level = y.at(column.mean)
            lines: dict[str, str | float] = {"stroke": INK, "stroke_width": 2}
            parts.append(element("line", x1=middle - 14, x2=middle + 14, y1=level, y2=level, **lines))
            weight = "700" if column is state.lowest else "400"
            parts.append(
                text(middle, 214, f"G={column.granularity}", text_anchor="middle", font_weight=weight)
            )
            parts.append(
                text(middle, 230, f"{column.mean:.2f}", text_anchor="middle", fill=MUTED, font_size=11)
            )
        means = ", ".join(f"{c.mean:.3f}" for c in state.columns)
        words.append(f"{name}: {means} for G = 1, 2, 4, 8")
    title = "One skill a token: the rate decides who wins; four at once: the finest cut"
    caption = (
        "Dots: error of 16 seeds; lines: their mean; bold: the lowest. All have equal parameters and work."
    )
    return figure(720, 240, title, "; ".join(words) + ". " + caption, "".join(parts), caption)


def answer(params: Params) -> Drawing:
    """Draw the errors in the setting of a question.

    Examples
    --------
    >>> answer(Params(best=True)).alt[:30]
    'Each at its best rate: G = 1 i'
    """
    state = simulate(params)
    lead = "Each at its best rate" if params.best else f"At a rate of {params.rate:g}"
    title = f"{lead}: G = {state.lowest.granularity} is best, with {state.lowest.mean:.3f}"
    caption = "Tokens that need one skill. Dots: error of 16 seeds; lines: mean and its 95 % interval."
    return figure(460, 344, title, _in_words(state), _errors(state), caption)
