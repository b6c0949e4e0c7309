"""The blind test's pictures: four strips below a text, and once they have names, the order in each."""

from dataclasses import replace

from moe_lessons.explore.blind_test.state import (
    LETTERS,
    NAMES,
    STRIPS,
    WINDOW,
    Params,
    State,
    recorded,
    runs,
    simulate,
)
from moe_lessons.explore.scale import Scale
from moe_lessons.svg import Drawing, color, dot_rows, element, figure, ink_on, text, visible

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
WIDTH, LEFT = 720, 26
CELL = (WIDTH - LEFT - 8) / WINDOW
ROW, LINE = 21, 18  # of a strip, of the letters above
BLOCK = LINE + len(STRIPS) * ROW + 12
METER = 20
MOST = 0.8
"""The end of the meters' scale; a test holds that no strip goes beyond it."""


def draw(state: State) -> str:
    """Draw one frame: the text in lines of a window, under each the four strips.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body, top = "", 4.0
    for start in range(0, len(state.text), WINDOW):
        body += _block(state, start, top)
        top += BLOCK
    if state.params.named:
        body += _meters(state, top + 4)
        top += 4 + _meters_height()
    return figure(WIDTH, top, _title(state), _in_words(state), body, caption=question(state.params)).svg


def question(params: Params) -> str:
    """Ask what to look at."""
    if not params.named:
        return (
            "Each colour and number is an expert; neighbours of the same expert are drawn as one piece. "
            "Which strip is the trained router's?"
        )
    if recorded().steps[params.step] == 0:
        return "What is going on? At step 0 the trained router is the untrained one. Move on, step by step."
    return "What is going on? Which strip changes with the step, and which one stays?"


def _block(state: State, start: int, top: float) -> str:
    """One line of text and its four strips."""
    letters = state.text[start : start + WINDOW]
    look: dict[str, str | float] = {"text_anchor": "middle", "font_family": MONO, "font_size": 13}
    parts = [
        text(LEFT + CELL * (place + 0.5), top + 12, visible(letter), fill=INK, **look)
        for place, letter in enumerate(letters)
        if letter != " "
    ]
    for i, strip in enumerate(state.strips):
        y = top + LINE + ROW * i
        parts.append(text(8, y + 13, LETTERS[i], font_weight="600"))
        parts += [_piece(*piece, y) for piece in runs(strip[start : start + WINDOW])]
    return "".join(parts)


def _piece(start: int, length: int, expert: int, y: float) -> str:
    x, wide, fill = LEFT + CELL * start, CELL * length - 1, color(expert)
    box = element("rect", x=x, y=y, width=wide, height=ROW - 4, fill=fill)
    number: dict[str, str | float] = {"text_anchor": "middle", "font_size": 10, "font_weight": "600"}
    return box + text(x + wide / 2, y + 12.5, str(expert), fill=ink_on(fill), **number)


def _meters_height() -> float:
    return 34 + METER * len(STRIPS)


def _meters(state: State, top: float) -> str:
    """A bar for each strip: how often neighbours share an expert; a tick where chance would be."""
    scale = Scale(0, MOST, 410, WIDTH - 60)
    parts = [
        text(410, top + 10, "neighbours with the same expert (%); | by chance", fill=MUTED),
    ]
    for i, name in enumerate(STRIPS):
        y = top + 18 + METER * i
        alike, chance = state.alike[i], state.by_chance[i]
        bold = {"font_weight": "600"} if name == "trained" else {}
        parts.append(text(8, y + 12, f"{LETTERS[i]}  {NAMES[name]}", **bold))
        box: dict[str, str | float] = {"x": scale.start, "y": y + 1, "height": METER - 6}
        fill = INK if name == "trained" else "#8c8c8c"
        parts.append(element("rect", **box, width=scale.at(alike) - scale.start, fill=fill))
        tick: dict[str, str | float] = {"x1": scale.at(chance), "x2": scale.at(chance)}
        parts.append(element("line", **tick, y1=y - 1, y2=y + METER - 3, stroke="#ffffff", stroke_width=4))
        parts.append(element("line", **tick, y1=y - 1, y2=y + METER - 3, stroke=INK, stroke_width=2))
        parts.append(text(scale.at(max(alike, chance)) + 6, y + 12, f"{100 * alike:.0f} %"))
    return "".join(parts)


def _title(state: State) -> str:
    p = state.params
    if not p.named:
        return "One of these four strips is a trained router's"
    trained, before = (state.alike[STRIPS.index(name)] for name in ("trained", "untrained"))
    step = recorded().steps[p.step]
    return (
        f"Layer {p.layer} after {step} steps: neighbours share an expert in {100 * trained:.0f} % of pairs, "
        f"before training in {100 * before:.0f} %"
    )


def _in_words(state: State) -> str:
    if not state.params.named:
        return f"Strips A to D over the text “{visible(state.text)}”. {question(state.params)}"
    said = [
        f"{LETTERS[i]}, {NAMES[name]}: neighbours alike {100 * state.alike[i]:.0f} %, "
        f"by chance {100 * state.by_chance[i]:.0f} %"
        for i, name in enumerate(STRIPS)
    ]
    return f"{'; '.join(said)}. {question(state.params)}"


def strip(params: Params) -> Drawing:
    """Draw the strips of the last step with their names, for a page without a kernel."""
    state = simulate(replace(params, step=len(recorded().steps) - 1, named=True))
    body, top = _block(state, 0, 4.0), 4.0 + BLOCK
    body += _meters(state, top + 4)
    before, after = (100 * state.alike[STRIPS.index(name)] for name in ("untrained", "trained"))
    title = (
        f"Neighbours share an expert in {before:.0f} % of pairs before training, in {after:.0f} % after it"
    )
    caption = (
        "Each colour and number is an expert. The shares are of all three kinds of text; models and text as "
        "recorded by benchmarks/what_experts_learn.py."
    )
    return figure(WIDTH, top + 4 + _meters_height(), title, _in_words(state), body, caption)


def all_models() -> Drawing:
    """Draw how often neighbours are alike in each strip, in all models and layers, after the last step."""
    found = recorded()
    rows: dict[str, list[float]] = {name: [] for name in STRIPS}
    for model in range(len(found.trained)):
        for layer in range(found.n_layers):
            state = simulate(Params(len(found.steps) - 1, layer, model))
            for i, name in enumerate(STRIPS):
                rows[name].append(100 * state.alike[i])
    least, most = min(rows["untrained"]), max(rows["trained"])
    named = {f"{LETTERS[i]} {name}": rows[name] for i, name in enumerate(STRIPS)}
    n_models = len(found.trained)
    return dot_rows(
        named,
        title=f"Neighbours alike: at least {least:.0f} % before training, at most {most:.0f} % after it",
        x_label="neighbours with the same expert (%)",
        dot_label="a layer of a model",
        x_range=(0, 100 * MOST),
        value_format="{:.0f}",
        caption=f"{n_models} models of two layers. The table over bytes knows no context, and no layer.",
    )
