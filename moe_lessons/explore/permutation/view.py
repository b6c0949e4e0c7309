"""Drawing of the dispatch permutation: one frame, and the strip of its stages."""

from collections.abc import Sequence

from moe_lessons.explore.permutation.state import Params, State, reached, simulate
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
from moe_lessons.svg import Drawing, figure

TOP, ROW = 40.0, 20.0
# Column, its left edge and width, the two lines above it, and the stage that fills it.
LAYOUT = {
    "in": (8, 44, ("tokens", "x"), "tokens"),
    "slots": (84, 58, ("slots", "t · K + k"), "flatten"),
    "sorted": (232, 58, ("sorted", "by expert"), "sort"),
    "experts": (338, 50, ("experts", "one product"), "products"),
    "results": (400, 58, ("results", "sorted"), "products"),
    "back": (548, 58, ("results", "slot order"), "inverse"),
    "out": (660, 48, ("outputs", "y"), "combine"),
}


def draw(state: State) -> str:
    """Draw one frame: all columns, filled as far as the stage, and a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    S = len(state.row_ids)
    columns = {name: Column(x, width, TOP, ROW) for name, (x, width, _, _) in LAYOUT.items()}
    on = {name: reached(state, stage) for name, (_, _, _, stage) in LAYOUT.items()}
    body = "".join(heading(columns[name], words, on[name]) for name, (_, _, words, _) in LAYOUT.items())
    body += _wires(state, columns, on)
    body += tokens(state, columns["in"], on["in"], "x", live=True)
    slots = tuple(range(S))
    body += rows(state, columns["slots"], slots, on["slots"], key="slots")
    body += rows(state, columns["sorted"], state.row_ids, on["sorted"], key="sorted", origin="slots")
    body += boundaries(state, columns["sorted"], reached(state, "offsets"))
    body += experts(state, columns["experts"], on["experts"])
    body += rows(state, columns["results"], state.row_ids, on["results"], key="results", origin="sorted")
    body += rows(state, columns["back"], slots, on["back"], key="back", origin="results")
    body += tokens(state, columns["out"], on["out"], "y", live=True)
    body += positions(state, columns["sorted"], on["sorted"])
    foot = TOP + ROW * S
    body += legend(state, 84, foot + 22)
    return figure(720, foot + 30, title(state), in_words(state), body, caption=question(state)).svg


def _wires(state: State, columns: dict[str, Column], on: dict[str, bool]) -> str:
    """The lines from token to slot, slot to position, and all the way back."""
    slots = range(len(state.row_ids))
    k, box = state.top_k, state.top_k * ROW
    token_y = {s: TOP + box * (s // k + 0.5) for s in slots}
    slot_y = {s: columns["slots"].middle(s) for s in slots}
    sorted_y = {s: columns["slots"].middle(state.inverse[s]) for s in slots}

    def between(left: str, right: str, start: dict[int, float], end: dict[int, float]) -> str:
        heights = {s: (start[s], end[s]) for s in slots}
        return links(state, columns[left], columns[right], heights, on[right])

    return (
        between("in", "slots", token_y, slot_y)
        + between("slots", "sorted", slot_y, sorted_y)
        + between("results", "back", sorted_y, slot_y)
        + between("back", "out", slot_y, token_y)
    )


def title(state: State) -> str:
    """Say in one sentence what happens at this stage to the token that is followed.

    Examples
    --------
    >>> title(simulate(Params(stage=2)))
    'Sort: the slots 10 and 11 of token 5 go to positions 15 and 3'
    """
    t = state.params.token
    slots = " and ".join(map(str, state.slots))
    places = " and ".join(str(state.inverse[s]) for s in state.slots)
    chosen = [state.expert(s) for s in state.slots]
    names = " and ".join(map(str, chosen))
    return (
        f"Token {t} asks for experts {names}",
        f"Flatten: the two copies of token {t} get slots {slots}",
        f"Sort: the slots {slots} of token {t} go to positions {places}",
        "Offsets: where each expert's rows end is all that the product must know",
        f"Products: each row meets its expert, those of token {t} the experts {names}",
        f"Inverse: slots {slots} fetch their results from positions {places}",
        f"Combine: token {t} adds its {state.top_k} results, in the order of its choices",
    )[state.params.stage]


def question(state: State) -> str:
    """Ask what to look at, given the stage.

    Examples
    --------
    >>> question(simulate(Params(stage=3)))
    'An expert without rows starts where it ends. Which one is it here, and what is its end?'
    """
    idle = any(start == end for start, end in zip(state.starts, state.ends, strict=True))
    return (
        "Every token goes to two experts. How many rows will the experts see altogether?",
        "A slot's number alone gives its token: slot // 2. And what does slot % 2 say?",
        "Follow the lines of one expert: do they ever cross each other? That is what stable means.",
        "An expert without rows starts where it ends. Which one is it here, and what is its end?"
        if idle
        else "The ends are a running sum of the group sizes. What are the sizes?",
        "Neighbouring rows share a matrix, so it is read once for all of them. Who has the most rows?",
        "Compare with the lines of the sort: what is the same, what is mirrored?",
        "Each output fetches its rows; no row is sent. Which order are the two terms added in?",
    )[state.params.stage]


def in_words(state: State) -> str:
    """The rest of the alt text."""
    t = state.params.token
    parts = [
        f"choice {k}: slot {s}, expert {state.expert(s)}, position {state.inverse[s]}"
        for k, s in enumerate(state.slots)
    ]
    order = ", ".join(map(str, state.row_ids))
    ends = ", ".join(map(str, state.ends))
    return (
        f"Token {t}, {'; '.join(parts)}. Slots in sorted order: {order}. "
        f"Ends of experts 0 to 3: {ends}. {question(state)}"
    )


def strip() -> Drawing:
    """Draw five stages side by side, token 5 followed.

    Examples
    --------
    >>> strip()
    Two copies of token 5 leave as slots 10 and 11, are sorted to positions 15 and 3, and come back. ...
    """
    state = simulate(Params(stage=6))
    S, k = len(state.row_ids), state.top_k
    row, top = 15.0, 40.0
    slots = tuple(range(S))
    token_y = {s: top + row * k * (s // k + 0.5) for s in slots}
    slot_y = {s: top + row * (s + 0.5) for s in slots}
    sorted_y = {s: top + row * (state.inverse[s] + 0.5) for s in slots}

    def at(x: float, width: float = 46) -> Column:
        return Column(x, width, top, row)

    def wires(left: Column, right: Column, start: dict[int, float], end: dict[int, float]) -> str:
        return links(state, left, right, {s: (start[s], end[s]) for s in slots}, True)

    xs: Sequence[tuple[float, str, str]] = (
        (8, "tokens", "x"),
        (92, "1 flatten", "slots"),
        (232, "2 sort", "positions"),
        (334, "3, 4", "ends, products"),
        (408, "results", "sorted"),
        (556, "5 inverse", "slots"),
        (656, "6 combine", "outputs y"),
    )
    columns = [at(x) for x, _, _ in xs]
    body = "".join(heading(c, (a, b), True) for c, (_, a, b) in zip(columns, xs, strict=True))
    start, flat, ordered, matrices, results, back, out = columns
    body += wires(start, flat, token_y, slot_y) + wires(flat, ordered, slot_y, sorted_y)
    body += wires(results, back, sorted_y, slot_y) + wires(back, out, slot_y, token_y)
    body += tokens(state, start, True, "x") + rows(state, flat, slots, True)
    body += rows(state, ordered, state.row_ids, True) + positions(state, ordered, True, 9.5)
    body += boundaries(state, ordered, True, 10.5)
    body += experts(state, matrices, True) + rows(state, results, state.row_ids, True)
    body += rows(state, back, slots, True) + tokens(state, out, True, "y")
    body += legend(state, 92, top + row * S + 22)
    caption = (
        "A number in a box is a slot, t · 2 + k; its marker is the expert. Thick: token 5, dashed its second "
        "choice. Left of the sorted rows their positions, right of them the ends; expert 1 is idle, so its "
        "range is empty."
    )
    words = "Two copies of token 5 leave as slots 10 and 11, are sorted to positions 15 and 3, and come back"
    return figure(720, top + row * S + 30, words, in_words(state), body, caption)
