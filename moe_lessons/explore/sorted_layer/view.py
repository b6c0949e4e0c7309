"""Drawing of a sorted layer with bugs: one frame, and the strip with what each bug does to each token."""

from moe_lessons.explore.rows.columns import (
    Column,
    boundaries,
    experts,
    heading,
    legend,
    links,
    positions,
    rows,
    tokens,
)
from moe_lessons.explore.sorted_layer.panels import (
    amount,
    crash,
    sizes,
    sum_of,
    table,
    verdicts,
    weights,
    wrong_places,
)
from moe_lessons.explore.sorted_layer.state import (
    BUGS,
    STAGES,
    WEIGHTS,
    Params,
    State,
    n_right,
    reached,
    simulate,
    verdict,
)
from moe_lessons.svg import Drawing, figure, text

TOP, ROW = 40.0, 22.0
# Column, its left edge and width, the two lines above it, and the stage that fills it.
LAYOUT = {
    "in": (10, 32, ("tokens", "x"), "tokens"),
    "slots": (56, 44, ("slots", "t · K + k"), "slots"),
    "sorted": (154, 44, ("sorted", "by expert"), "sort"),
    "experts": (226, 36, ("experts", "W"), "experts"),
    "results": (274, 46, ("results", "r"), "experts"),
    "weights": (328, 46, ("weights", "× w"), "weights"),
    "back": (434, 46, ("put back", "slot order"), "put back"),
    "out": (500, 36, ("outputs", "y"), "sum"),
}


def draw(state: State) -> str:
    """Draw one frame: all columns, filled as far as the stage, and beside each output what it is made of.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body, foot = _layer(state, live=True)
    return figure(720, foot, title(state), in_words(state), body, caption=question(state)).svg


def _layer(state: State, *, live: bool = False) -> tuple[str, float]:
    """The columns and what is below them, and their height."""
    columns = {name: Column(x, width, TOP, ROW) for name, (x, width, _, _) in LAYOUT.items()}
    on = {name: reached(state, stage) for name, (_, _, _, stage) in LAYOUT.items()}
    slots = tuple(range(len(state.row_ids)))
    foot = TOP + ROW * len(slots)
    stopped = state.crashed and state.params.stage > STAGES.index("split")
    body = "".join(heading(columns[name], words, on[name]) for name, (_, _, words, _) in LAYOUT.items())
    body += _wires(state, columns, on)
    body += tokens(state, columns["in"], on["in"], "x", live=live)
    body += rows(state, columns["slots"], slots, on["slots"], **_keys(live, "slots"))
    keys = _keys(live, "sorted", "slots")
    body += rows(state, columns["sorted"], state.row_ids, on["sorted"], **keys)
    body += positions(state, columns["sorted"], on["sorted"])
    body += boundaries(state, columns["sorted"], reached(state, "split"))
    body += sizes(state, columns["sorted"]) if reached(state, "split") else ""
    if stopped:
        body += crash(state, columns["experts"].x + 6, TOP + ROW * 4)
    else:
        body += experts(state, columns["experts"], on["experts"])
        keys = _keys(live, "results", "sorted")
        body += rows(state, columns["results"], state.row_ids, on["results"], letter="r", **keys)
        body += weights(state, columns["weights"], on["weights"])
        keys = _keys(live, "back", "results")
        body += rows(state, columns["back"], state.landed, on["back"], letter="r", **keys)
        body += positions(state, columns["back"], on["back"])
        body += wrong_places(state, columns["back"], on["back"])
    body += tokens(state, columns["out"], on["out"], "y", live=live)
    body += verdicts(state, columns["out"].right + 5, TOP, state.top_k * ROW, on["out"] or stopped)
    body += legend(state, 8, foot + 44)
    return body, foot + 52


def _keys(live: bool, key: str, origin: str = "") -> dict[str, str]:
    return {"key": key, "origin": origin} if live else {}


def _wires(state: State, columns: dict[str, Column], on: dict[str, bool]) -> str:
    """The lines from token to slot, slot to position, and from there to where the row goes."""
    slots = range(len(state.row_ids))
    k, box = state.top_k, state.top_k * ROW
    place = {slot: at for at, slot in enumerate(state.landed)}
    slot_y = {s: TOP + ROW * (s + 0.5) for s in slots}
    sorted_y = {s: slot_y[state.inverse[s]] for s in slots}
    place_y = {s: slot_y[place[s]] for s in slots}
    token_y = {s: TOP + box * (s // k + 0.5) for s in slots}
    output_y = {s: TOP + box * (place[s] // k + 0.5) for s in slots}

    def between(left: str, right: str, start: dict[int, float], end: dict[int, float]) -> str:
        heights = {s: (start[s], end[s]) for s in slots}
        return links(state, columns[left], columns[right], heights, on[right])

    return (
        between("in", "slots", token_y, slot_y)
        + between("slots", "sorted", slot_y, sorted_y)
        + between("weights", "back", sorted_y, place_y)
        + between("back", "out", place_y, output_y)
    )


def title(state: State) -> str:
    """Say in one sentence what came of it, or what this stage does.

    Examples
    --------
    >>> title(simulate(Params(bugs=frozenset({"no_inverse"}))))
    'No inverse: 1 of 5 tokens gets its own output'
    >>> title(simulate(Params(routing="last idle", bugs=frozenset({"no_minlength"}))))
    'bincount without minlength: no output, for expert 3 was not counted'
    """
    t = state.params.token
    slots = " and ".join(map(str, state.slots))
    places = " and ".join(str(state.inverse[s]) for s in state.slots)
    names = " and ".join(str(state.expert(s)) for s in state.slots)
    shares = " and ".join(amount(WEIGHTS[s]) for s in state.slots)
    early = (
        f"Token {t} asks for experts {names}, with weights {shares}",
        f"Slots: the two copies of token {t} are numbers {slots}",
        f"Sort: the rows {slots} of token {t} go to positions {places}",
        f"Split: {len(state.sizes)} groups of {', '.join(map(str, state.sizes))} rows",
        "Experts: each group meets its expert, once",
        "Weights: each result is multiplied with its weight",
        "Put back: the rows return to the order of the slots",
    )
    if state.params.stage < STAGES.index("sum") and not (state.crashed and state.params.stage > 3):
        return early[state.params.stage]
    found = _names(state)[0] if len(state.params.bugs) == 1 else f"{len(state.params.bugs) or 'No'} bugs"
    if state.crashed:
        return f"{found}: no output, for expert {len(state.sizes)} was not counted"
    right, total = n_right(state), len(state.ids)
    if right == total:
        return f"{found}: all {total} tokens get their own output"
    return (
        f"{found}: {right or 'none'} of {total} tokens {'gets its' if right < 2 else 'get their'} own output"
    )


def question(state: State) -> str:
    """Ask what to look at, given the stage and the bugs.

    Examples
    --------
    >>> question(simulate(Params()))
    'Follow one token there and back. Which of its rows had the longer way?'
    """
    bugs = state.params.bugs
    if state.params.stage < STAGES.index("sum") and not state.crashed:
        return (
            "How many rows will the experts see altogether?",
            "A slot's number alone gives its token. How?",
            "Which rows moved, and which stayed where they were?",
            "The sizes cut the rows into groups. Which expert's group has size 0?",
            "Where did a token's two results end up? Are they still neighbours?",
            "The weights come in slot order, the rows do not. What must happen to the weights first?",
            "Which position does place 0 take its row from?",
        )[state.params.stage]
    if state.crashed:
        return "The sizes end at the highest expert that occurs. Which routing hides this?"
    if "no_minlength" in bugs and bugs == {"no_minlength"}:
        return "An idle expert in the middle is counted as 0. Which expert would have to be idle?"
    if n_right(state) == len(state.ids) and bugs:
        return "All right, with a bug on. What is special about this routing?"
    if "weights_twice" in bugs and len(bugs - {"no_minlength"}) == 1:
        return "Every row came home. Do a token's weights still add up to 1?"
    if bugs:
        return f"Who got the rows of token {state.params.token}? And is any token right by accident?"
    return "Follow one token there and back. Which of its rows had the longer way?"


def in_words(state: State) -> str:
    """The rest of the alt text."""
    order = ", ".join(map(str, state.row_ids))
    counted = ", ".join(map(str, state.sizes))
    switched = ", ".join(_names(state)) or "no bug"
    parts = [f"Switched on: {switched}. Slots in sorted order: {order}. Group sizes: {counted}."]
    if reached(state, "sum"):
        made = (f"y{t}: {verdict(state, t).said}, {sum_of(state, t)}" for t in range(len(state.ids)))
        parts.append("; ".join(made) + ".")
    elif state.crashed and state.params.stage > STAGES.index("split"):
        missing = len(state.sizes)
        parts.append(f"IndexError: expert {missing} asks for group {missing}, groups are 0 to {missing - 1}.")
    return " ".join([*parts, question(state)])


def _names(state: State) -> list[str]:
    return [name for bug, name in BUGS.items() if bug in state.params.bugs]


def strip() -> Drawing:
    """Draw the layer without a bug, and below it what each bug does to each token.

    Examples
    --------
    >>> strip()
    Three bugs hand tokens the wrong rows or weights; the fourth hides until the last expert is idle. ...
    """
    body, height = _layer(simulate(Params()))
    body += text(8, height + 22, "The same tokens, with one bug each:", font_weight="600")
    body += table("mixed", tuple(BUGS), 8, height + 60, 704)
    caption = (
        "A number in a box is a slot, t · 2 + k; its marker is the expert. Thick: token 2, dashed its second "
        "choice. Expert 1 is idle, and bincount counts it as 0. Were the last expert idle, it would not be "
        "counted at all, and the loop over experts would find no group for it."
    )
    title = "Three bugs hand tokens the wrong rows or weights; the fourth hides until the last expert is idle"
    said = []
    for bug, name in BUGS.items():
        state = simulate(Params(bugs=frozenset({bug})))
        said.append(f"{name}: " + ", ".join(f"y{t} {verdict(state, t).said}" for t in range(len(state.ids))))
    return figure(720, height + 164, title, "; ".join(said) + ".", body, caption)
