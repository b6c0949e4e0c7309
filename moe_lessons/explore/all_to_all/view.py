"""All to all's pictures: what each rank has to do, and what travels between nodes."""

from moe_lessons.explore.all_to_all.panels import heat, ranks
from moe_lessons.explore.all_to_all.state import TOKENS, Params, State, simulate
from moe_lessons.svg import Drawing, figure, text
from moe_lessons.svg.palette import INK, MUTED

CHANCE, DRIFTED = 1.25, 1.3
"""From here on max/mean of a step, or of another day, is worth a question."""


def draw(state: State) -> str:
    """Draw one frame: ranks on the left, traffic between nodes on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body = ranks(state, 8.0, 16.0, 424.0, 262.0) + heat(state, 462.0, 16.0, 250.0)
    return figure(720, 316, _title(state), _in_words(state), body, caption=question(state)).svg


def _where(params: Params) -> str:
    if params.copies:
        return f"with {params.copies * params.n_ranks} copies"
    if params.packed:
        return "packed by load"
    return "numbered by popularity" if params.numbered else "numbered at random"


def _title(state: State) -> str:
    p = state.params
    day = ", another day's load" if p.stale else ""
    # One line in a laptop's window: a second one would move the controls.
    return (
        f"{p.n_ranks} ranks, {_where(p)}{day}: max/mean {state.expected:.2f} on average, "
        f"{state.drawn:.2f} over {p.tokens:,} tokens"
    )


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params(packed=True)))
    'What is going on? No packing gets below the dashed line. What would?'
    """
    p = state.params
    if p.stale and (p.packed or p.copies) and state.expected > DRIFTED:
        return "What is going on? The plan is yesterday's. Would more copies help, or a newer plan?"
    if p.copies and p.tokens < TOKENS[-1] and state.drawn > CHANCE:
        return (
            "What is going on? The plan is even on average, and this step is not. How many tokens would do?"
        )
    if p.copies and state.expected < 1.05:
        return "What is going on? A copy halves what cannot be moved. What does it cost?"
    if p.packed and state.hottest > 1:
        return "What is going on? No packing gets below the dashed line. What would?"
    if p.numbered and not p.packed:
        return "What is going on? Neighbours are alike in popularity. Who waits for whom?"
    if p.once:
        return "What is going on? A token crosses once to each node. How many nodes does it meet?"
    return "What is going on? Every rank has as many experts. Which rank ends the step?"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    p = state.params
    how = "once to each node" if p.once else "once for each expert"
    return (
        f"Popularity like 1 / r^{p.zipf:g}; the hottest expert alone is {state.hottest:.2f} times an even "
        f"rank's load. A token meets {state.nodes_per_token:.2f} of 8 nodes; sent {how}, "
        f"{state.crossing / 1e6:.1f} MB cross between nodes. {question(state)}"
    )


STRIP = (
    (Params(), "No plan"),
    (Params(packed=True), "Packed by load"),
    (Params(copies=1), "Packed, 32 copies"),
    (Params(copies=1, tokens=32), "The same, 32 tokens"),
    (Params(copies=1, stale=True), "Another day's load"),
)
"""The strip's settings and their names."""


def strip() -> Drawing:
    """Draw five settings side by side.

    Examples
    --------
    >>> strip()
    Packing ends at the hottest expert; copies go on, for the load of the plan. ...
    """
    parts, words = [], []
    for i, (params, name) in enumerate(STRIP):
        state, left = simulate(params), 6 + 143 * i
        parts.append(text(left, 14, name, font_weight="600", fill=INK))
        parts.append(ranks(state, left, 24.0, 132.0, 150.0, small=True))
        parts.append(text(left, 196, f"on average {state.expected:.2f}", fill=MUTED))
        parts.append(text(left, 212, f"in this step {state.drawn:.2f}", fill=MUTED))
        words.append(f"{name}: {state.expected:.2f} on average, {state.drawn:.2f} in the step")
    title = "Packing ends at the hottest expert; copies go on, for the load of the plan"
    caption = (
        "Bars: rows of each of 32 ranks in a step, over their mean; lines: on average; "
        "dashed: the hottest expert alone."
    )
    return figure(720, 222, title, "; ".join(words) + ". " + caption, "".join(parts), caption)


def answer(params: Params) -> Drawing:
    """Draw the ranks in the setting of a question.

    Examples
    --------
    >>> answer(Params(packed=True)).alt[:38]
    '32 ranks, packed by load: max/mean 3.2'
    """
    state = simulate(params)
    body = ranks(state, 8.0, 16.0, 424.0, 262.0)
    caption = "Bars: this step; lines: on average; dashed: the hottest expert alone."
    return figure(460, 316, _title(state), _in_words(state), body, caption)
