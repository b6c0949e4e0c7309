"""Two rounded numbers' pictures: the published pair in its plane, and what is left for expert and rest."""

from moe_lessons.explore.handles import Along, handle
from moe_lessons.explore.scale import Scale, pointer, round_ticks
from moe_lessons.explore.two_numbers.state import MODELS, RUMOUR, Params, State, simulate
from moe_lessons.svg import ACCENT, Drawing, element, figure, marker, num, text, tint
from moe_lessons.svg.palette import FAINT, INK, MUTED

SIDE = 250.0
LEFT, RIGHT, TOP = 62.0, 430.0, 34.0
HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}
HATCH = (
    '<defs><pattern id="numbers-no" width="7" height="7" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="7" height="7" fill="#ececec"/>'
    '<rect width="1.6" height="7" fill="#9a9a9a"/></pattern></defs>'
)
STRIP = (
    (Params(), "Mixtral"),
    (Params(314, 86, 1, 8, 2, "Grok-1"), "Grok-1, 86 B"),
    (Params(314, 78.5, 1, 8, 2, "Grok-1"), "Grok-1, 25 %"),
    (Params(1800, 280, 10, 8, 2, RUMOUR), "GPT-4, 8 experts"),
)
SHORT = {
    "follows": "this model",
    "does not follow": "not this model",
    "impossible": "impossible",
    "possible": "possible",
    "no numbers": "no numbers",
}


def draw(state: State) -> str:
    """Draw one frame: the two numbers on the left, what follows on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body = HATCH + published(state, LEFT, TOP, SIDE, large=True) + following(state, RIGHT, TOP, SIDE)
    return figure(720, 334, heading(state), _in_words(state), body, caption=question(state)).svg


def heading(state: State) -> str:
    """Say in one line what the two numbers leave possible.

    Examples
    --------
    >>> heading(simulate(Params(314, 86, 1, 8, 2, "Grok-1")))
    'Possible, but not this model: Grok-1 has 38.7 B in an expert and 6.4 B in the rest'
    """
    p, config = state.params, state.config
    if state.says is None:
        return "K must be below E, and no more can be active than there is"
    if not state.says.possible:
        return f"Impossible: {p.top_k} experts alone would be more than the {p.active:g} B that are active"
    if config is None:
        return "Possible, and that is all that follows: nobody can compare it with a config"
    if state.fits:
        return f"Follows: this is {p.model}, as its config has it"
    return (
        f"Possible, but not this model: {p.model} has {config.expert:.3g} B in an expert and "
        f"{config.rest[1]:.2g} B in the rest"
    )


def question(state: State) -> str:
    """Ask what to look at next.

    Examples
    --------
    >>> question(simulate(Params()))
    'The cross is what the config says. How coarsely could the numbers be rounded, until nothing follows?'
    """
    p = state.params
    verdict = state.verdict
    if verdict == "no numbers":
        return "With E = K all experts are active. What would two equal numbers tell about them?"
    if verdict == "impossible":
        return "Hatched: the rest would be negative. Which of E, K and the two numbers would you doubt?"
    if verdict == "possible":
        return "Drag the point. For how many pairs could somebody say that it “all fits”?"
    if verdict == "does not follow":
        return "The cross is what the config says. Which two numbers would have to be published to meet it?"
    if p.unit >= 1:
        return "The area is what rounding leaves open. Why is the rest so much less certain than the expert?"
    return (
        "The cross is what the config says. How coarsely could the numbers be rounded, until nothing follows?"
    )


def _in_words(state: State) -> str:
    p = state.params
    words = (
        f"Total {p.total:g} B, active {p.active:g} B, each to {p.unit:g} B; {p.n_experts} experts, "
        f"{p.top_k} a token. "
    )
    if state.says is not None:
        words += (
            f"One expert in all layers has {state.says.expert[0]:.3g} to {state.says.expert[1]:.3g} B, the "
            f"rest {state.says.rest[0]:.3g} to {state.says.rest[1]:.3g} B. "
        )
    return words + question(state)


def published(state: State, left: float, top: float, side: float, *, large: bool) -> str:
    """Draw the plane of published numbers: hatched where no model can be, and the point that is dragged."""
    p, ends = state.params, MODELS[state.params.model]
    x, y = Scale(0, ends.total, 0, side), Scale(0, ends.active, side, 0)
    parts = [element("rect", x=0, y=0, width=side, height=side, fill="#ffffff", stroke="#8c8c8c")]
    share = p.top_k / p.n_experts
    # Below active = total K / E the rest is negative; above active = total more is active than there is.
    for slope, corner in ((share, (side, side)), (1.0, (0.0, 0.0))):
        reach = min(ends.total, ends.active / slope)
        edge = [(0.0, side), (x.at(reach), y.at(slope * reach))]
        if slope == share:
            edge += [(side, y.at(slope * reach))] if reach < ends.total else []
            edge += [corner]
        else:
            edge += [corner]
        points = " ".join(f"{num(a)},{num(b)}" for a, b in edge)
        parts.append(element("polygon", points=points, fill="url(#numbers-no)", stroke=MUTED))
    parts += _axes(x, y, side, "total (B)" if large else "", "active (B)" if large else "")
    if large:
        parts.append(
            text(side - 8, side - 14, "the rest would be below 0", text_anchor="end", font_size=12, **HALO)
        )
    touch: dict[str, str | float] = {}
    if large:
        across = Along("Total (B)", (0, side), (0, ends.total))
        upwards = Along("Active (B)", (side, 0), (0, ends.active))
        touch = handle("the two numbers", {"Total (B)": p.total, "Active (B)": p.active}, x=across, y=upwards)
    at = x.at(p.total), y.at(p.active)
    parts.append(
        element(
            "circle",
            cx=at[0],
            cy=at[1],
            r=7 if large else 4.5,
            fill=ACCENT,
            stroke=INK,
            stroke_width=2,
            **touch,
        )
    )
    for axis, value, right, down in ((x, p.total, 1, 0), (y, p.active, 0, -1)):
        if axis.beyond(value) > 0:
            parts.append(pointer(at[0] + 10 * right, at[1] + 10 * down, right, down, INK))
    return element("g", "".join(parts), transform=f"translate({num(left)} {num(top)})")


def following(state: State, left: float, top: float, side: float) -> str:
    """Draw what is left for one expert and for the rest, and the config where there is one."""
    ends = MODELS[state.params.model]
    x, y = Scale(*ends.expert, 0, side), Scale(*ends.rest, side, 0)
    zero = y.at(0)
    parts = [
        element("rect", x=0, y=0, width=side, height=side, fill="#ffffff", stroke="#8c8c8c"),
        element("rect", x=0, y=zero, width=side, height=side - zero, fill="url(#numbers-no)", stroke=MUTED),
    ]
    parts += _axes(
        x, y, side, "one expert, all layers (B)", "the rest (B)", lows=(ends.expert[0], ends.rest[0])
    )
    parts.append(text(side - 8, side - 14, "impossible", text_anchor="end", font_size=12, **HALO))
    if state.corners:
        points = " ".join(f"{num(x.at(e))},{num(y.at(r))}" for e, r in state.corners)
        parts.append(
            element(
                "polygon",
                points=points,
                fill=tint(ACCENT, 0.5),
                stroke=ACCENT,
                stroke_width=3,
                stroke_linejoin="round",
            )
        )
        middle = [sum(axis) / 4 for axis in zip(*state.corners, strict=True)]
        for axis, value, right, down in ((x, middle[0], 1, 0), (y, middle[1], 0, -1)):
            if beyond := axis.beyond(value):
                at = x.at(middle[0]), y.at(middle[1])
                parts.append(pointer(at[0], at[1], right * beyond, down * beyond, ACCENT))
    if state.config is not None:
        at_x = x.at(state.config.expert)
        low, high = (y.at(rest) for rest in state.config.rest)
        parts.append(element("line", x1=at_x, x2=at_x, y1=low, y2=high, stroke=INK, stroke_width=3))
        parts.append(marker(6, at_x, high, 6, fill=INK))
        parts.append(text(at_x + 10, high - 8, "config", font_size=12, font_weight="600", **HALO))
    return element("g", "".join(parts), transform=f"translate({num(left)} {num(top)})")


def _axes(
    x: Scale, y: Scale, side: float, across: str, upwards: str, lows: tuple[float, float] = (0.0, 0.0)
) -> list[str]:
    parts = []
    for scale, low in ((x, lows[0]), (y, lows[1])):
        ticks = [low + tick for tick in round_ticks(scale.high - low, 4) if low + tick <= scale.high + 1e-9]
        for tick in ticks:
            at = scale.at(tick)
            if scale is x:
                parts.append(text(at, side + 16, f"{tick:g}", text_anchor="middle", fill=MUTED, font_size=12))
            else:
                parts.append(text(-6, at + 4, f"{tick:g}", text_anchor="end", fill=MUTED, font_size=12))
                if 0 < at < side:
                    parts.append(element("line", x1=0, x2=side, y1=at, y2=at, stroke=FAINT, stroke_width=0.6))
    if across:
        parts.append(text(side, side + 34, across, text_anchor="end", fill=MUTED, font_size=12.5))
        parts.append(text(-34, -10, upwards, fill=MUTED, font_size=12.5))
    return parts


def answer(params: Params) -> Drawing:
    """Draw what two numbers say, for the prediction about them.

    Examples
    --------
    >>> answer(Params(1800, 280, 10, 8, 2, "GPT-4, as rumoured"))
    Impossible: 2 experts alone would be more than the 280 B that are active. ...
    """
    state = simulate(params)
    words = _in_words(state).removesuffix(question(state)).strip()
    body = HATCH + published(state, LEFT, TOP, SIDE, large=False) + following(state, RIGHT, TOP, SIDE)
    return figure(720, 334, heading(state), words, body, caption=words)


def strip() -> Drawing:
    """Draw four pairs side by side.

    Examples
    --------
    >>> strip()
    Two numbers can be a model, another one than they are said of, or none. ...
    """
    parts = [HATCH]
    for i, (params, name) in enumerate(STRIP):
        state, left = simulate(params), 30 + 178 * i
        parts.append(text(left - 22, 14, name, font_weight="600", font_size=12.5))
        numbers = f"{params.total:g} and {params.active:g} B"
        parts.append(text(left - 22, 31, numbers, fill=MUTED, font_size=12.5))
        parts.append(published(state, left, 44, 128, large=False))
        parts.append(text(left - 22, 212, SHORT[state.verdict], font_weight="600", font_size=12.5))
        if state.says is not None:
            low, high = state.says.rest
            parts.append(text(left - 22, 229, f"rest {low:.3g} to {high:.3g} B", fill=MUTED, font_size=12.5))
    kinds = [simulate(params).verdict for params, _ in STRIP]
    words = "; ".join(f"{name}: {SHORT[kind]}" for (_, name), kind in zip(STRIP, kinds, strict=True))
    title = "Two numbers can be a model, another one than they are said of, or none"
    caption = (
        "Total across and active upwards, in billions of parameters. Hatched: no model can have these two "
        "numbers, because its experts alone would be more than what is active, or more would be active than "
        "there is. Below: what is left for everything but the experts."
    )
    return figure(720, 238, title, f"{words}. {caption}", "".join(parts), caption)
