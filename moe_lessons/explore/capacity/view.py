"""The pictures of the capacity explorable: the live frame, the reveals, the static strip."""

from dataclasses import replace

from moe_lessons.explore.capacity.panels import MUTED, in_order, legend, queue_scale, queues, shares
from moe_lessons.explore.capacity.state import Params, State, simulate
from moe_lessons.svg import Drawing, element, figure, text

STRIP = (
    Params(),
    Params(n_tokens=512),
    Params(n_tokens=512, n_experts=64),
    Params(factor=1.5),
    Params(skew=1.0),
    Params(skew=1.0, factor=2.0),
)
"""The key frames."""


def draw(state: State) -> str:
    """Draw one frame: queues on the left, shares on the right, the batch in order below, and a question.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body = text(8, 12, _queue_label(state), fill=MUTED)
    body += queues(state, 8, 24, 424, 286, live=True) + in_order(state, 8, 336, 424)
    body += legend(state, 446, 12) + shares(state, 446, 60, 266, 308)
    return figure(720, 374, _title(state), _in_words(state), body, caption=question(state)).svg


def waiting(state: State) -> str:
    """Draw the places before a token has come: a frame with tokens would answer the prediction.

    Examples
    --------
    >>> "13.1 %" in draw(simulate(Params())), "13.1 %" in waiting(simulate(Params()))
    (True, False)
    """
    p = state.params
    vacant = replace(state, queues=((),) * p.n_experts)
    places = f"{state.capacity} place{'s' if state.capacity > 1 else ''}"
    body = text(8, 12, f"an expert's queue; dashed: {places}; hatched: empty", fill=MUTED)
    body += queues(vacant, 8, 24, 424, 286)
    title = f"T={p.n_tokens}, E={p.n_experts}, K={p.k}, factor {p.factor:g}: nobody has come yet"
    words = f"{p.n_experts} experts with {state.capacity} empty places each."
    return figure(720, 374, title, words, body, caption="Predict first; then the tokens come.").svg


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params()))
    'What is going on? As many places as rows, and both × and empty places. Are the two shares equal?'
    """
    p = state.params
    if p.skew > 0 and state.expected_dropped > 0.05:
        return "What is going on? A few experts turn tokens away, the others wait. Which factor would end it?"
    if p.skew > 0:
        return "What is going on? Few drops now. What do the empty places cost?"
    if p.factor == 1.0 and p.n_tokens * p.k % p.n_experts == 0:
        if p.n_tokens / p.n_experts > 16:
            return "What is going on? The same factor, fewer drops. What has T / E to do with it?"
        return (
            "What is going on? As many places as rows, and both × and empty places. Are the two shares equal?"
        )
    if p.factor > 1:
        return "What is going on? Each step to the right buys fewer drops. What does it cost?"
    return "What is going on? Fewer places than rows. Which tokens of the batch are turned away?"


def _title(state: State) -> str:
    p = state.params
    skew = f", skew {p.skew:g}" if p.skew else ""
    return (
        f"T={p.n_tokens}, E={p.n_experts}, K={p.k}, factor {p.factor:g}{skew}: "
        f"{100 * state.dropped:.1f} % dropped, {100 * state.expected_dropped:.1f} % on average"
    )


def _queue_label(state: State) -> str:
    p = state.params
    places = f"{state.capacity} place{'s' if state.capacity > 1 else ''}"
    longest = max(map(len, state.queues))
    if longest > queue_scale(p.n_tokens, p.n_experts, p.k):
        return f"dashed: {places}; hatched: empty; ×: dropped; ▸: goes on, to {longest}"
    return f"an expert's queue; dashed: {places}; hatched: empty; ×: dropped"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    loads = [len(queue) for queue in state.queues]
    lost = sum(drops > 0 for drops in state.drops_T)
    return (
        f"{len(loads)} experts with {state.capacity} places each; queues from {min(loads)} to {max(loads)} "
        f"tokens. Empty places: {100 * state.empty:.1f} %, on average {100 * state.expected_empty:.1f} %. "
        f"{lost} of {len(state.drops_T)} tokens lost a choice. {question(state)}"
    )


def _small(params: Params, left: float, top: float, width: float, height: float) -> str:
    """A frame in small: what it is, its queues, its two shares."""
    state = simulate(params)
    p = state.params
    skew = f", skew {p.skew:g}" if p.skew else ""
    head = text(
        left, top + 12, f"T={p.n_tokens}, E={p.n_experts}, factor {p.factor:g}{skew}", font_weight="600"
    )
    notes = (
        f"dropped {100 * state.dropped:.1f} %, on average {100 * state.expected_dropped:.1f} %",
        f"empty {100 * state.empty:.1f} %, on average {100 * state.expected_empty:.1f} %",
    )
    feet = "".join(text(left, top + height + 54 + 15 * i, note) for i, note in enumerate(notes))
    return head + queues(state, left - 8, top + 24, width, height) + feet


def frames(all_params: tuple[Params, ...], title: str, caption: str) -> Drawing:
    """Draw some key frames side by side, three to a row.

    Examples
    --------
    >>> frames((Params(),), "One frame", "")
    One frame. T=64, E=8, K=1, factor 1: 14.1 % dropped, 13.1 % on average.
    """
    across, tall = min(3, len(all_params)), 150
    body = ""
    for i, params in enumerate(all_params):
        body += _small(params, 10 + 240 * (i % across), 240 * (i // across), 226, tall)
        if i >= across and i % across == 0:
            y = 240 * (i // across) - 8
            body += element("line", x1=8, x2=240 * across - 8, y1=y, y2=y, stroke="#d9d9d9")
    words = "; ".join(_title(simulate(params)) for params in all_params) + "."
    rows = -(-len(all_params) // across)
    return figure(240 * across, 240 * rows - 12, title, f"{words} {caption}".strip(), body, caption)


def strip() -> Drawing:
    """Draw the key frames as one picture.

    Examples
    --------
    >>> strip()
    Chance alone drops rows; tokens per expert and skew decide how many. ...
    """
    return frames(
        STRIP,
        "Chance alone drops rows; tokens per expert and skew decide how many",
        "A row is an expert's queue; dashed: its capacity; hatched: empty places; ×: dropped; ▸: goes on, to "
        "that length. Above: the router is perfectly random and the factor 1. Below: what a larger factor "
        "buys, and what it cannot.",
    )
