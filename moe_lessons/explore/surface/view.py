"""Drawing of the load-loss surface: one frame, and the strip."""

from moe_lessons.explore.surface.panels import MUTED, PATTERNS, gauge, plane, tokens
from moe_lessons.explore.surface.state import Params, State, simulate
from moe_lessons.svg import Drawing, figure, text

STRIP = (
    (Params(1.0, 1.0), "all to 1, and sure"),
    (Params(1.0, 0.5), "all to 1, by a hair"),
    (Params(0.5, 0.75), "even load, any P"),
    (Params(0.75, 0.375), "75 to 25, lowest"),
)


def draw(state: State) -> str:
    """Draw one frame: the plane on the left, tokens and loss on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p = state.params
    title = f"f₁ = {100 * p.f:.4g} %, P₁ = {100 * p.P:.4g} %: the loss is {state.loss:.3f}"
    body = PATTERNS + text(8, 16, "P₁: mean probability of expert 1 (%)", fill=MUTED)
    body += plane(state, 40, 28, 360)
    body += tokens(state, 424, 48, 288, 200)
    body += text(454, 284, "filled area: P₁    - - who crosses it, changes sides", fill=MUTED, font_size=11)
    body += gauge(state, 454, 330, 250)
    return figure(720, 428, title, _in_words(state), body, caption=question(state)).svg


def question(state: State) -> str:
    """Ask what to look at next, given where the point stands.

    Examples
    --------
    >>> question(simulate(Params(0.5, 0.7)))
    'An even load. Drag P₁ as far as it goes: what does the loss say about it?'
    """
    p = state.params
    if not state.reachable:
        return "Hatched: a token goes where its probability is larger. Which tokens would you need here?"
    if abs(p.f - 0.5) < 0.003:
        return "An even load. Drag P₁ as far as it goes: what does the loss say about it?"
    if abs(p.P - 0.5) < 0.003:
        return "P₁ is a half, and the loss is 1 for every load. Is everything well? Look at the arrow."
    if state.loss <= 0.8755:
        return "The lowest that tokens can reach, and a load of 75 to 25. Where does the arrow push P₁?"
    if not state.co_sorted:
        return "Below 1 with an uneven load. Who is undecided here, and who is sure?"
    if state.loss > 1.9:
        return "Everybody goes to one expert, and means it. Which way does the arrow point?"
    return "Dotted: f and P agree on who is ahead. Can you get below 1 without leaving the dots?"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    p = state.params
    kind = "co-sorted" if state.co_sorted else "not co-sorted"
    if state.sure is None:
        kind = f"no tokens can do this: P of expert 1 lies between {state.low:.3f} and {state.high:.3f}"
    push = "down" if state.slope > 0.02 else "up" if state.slope < -0.02 else "nowhere"
    return (
        f"Expert 1 has {p.f:.3f} of the tokens and a mean probability of {p.P:.3f}; {kind}. Gradient descent "
        f"pushes that probability {push}. {question(state)}"
    )


def _small(params: Params, name: str, left: float, top: float) -> str:
    state = simulate(params)
    heading = text(left, top + 12, f"{name}: {state.loss:.4g}", font_weight="600")
    words = f"f₁ {100 * params.f:.4g} %, P₁ {100 * params.P:.4g} %"
    return (
        heading
        + text(left, top + 28, words, fill=MUTED)
        + plane(state, left + 28, top + 38, 128)
        + tokens(state, left, top + 214, 160, 90, note="p of expert 1 (%)")
    )


def lowest() -> Drawing:
    """Draw the pair with the lowest loss that tokens can reach.

    Examples
    --------
    >>> lowest()
    75 % of the tokens, 37.5 % of the probability: the loss is 0.875, below the balanced 1. ...
    """
    state = simulate(Params(0.75, 0.375))
    title = "75 % of the tokens, 37.5 % of the probability: the loss is 0.875, below the balanced 1"
    words = (
        "Three of four tokens choose expert 1 and are undecided, 50 to 50. One of four is sure of expert 2. "
        "Filled: P₁ = 0.75 · 0.5."
    )
    parts = plane(state, 44, 8, 190) + tokens(state, 270, 26, 250, 140) + gauge(state, 300, 214, 220)
    body = PATTERNS + parts
    return figure(540, 276, title, words, body, caption=words)


def strip() -> Drawing:
    """Draw four places of the surface side by side.

    Examples
    --------
    >>> strip()
    A loss of 1 does not mean balance, and it is not the minimum. ...
    """
    body = PATTERNS + "".join(_small(p, name, 8 + 178 * i, 0) for i, (p, name) in enumerate(STRIP))
    caption = (
        "Above: f₁ across, P₁ upwards, in percent. Shaded with dots: co-sorted, loss 1 or more; plain: below "
        "1; hatched: no tokens can do this; diamonds: 0.875, the lowest. Below: tokens that produce the "
        "pair; the filled area is P₁, left of the line those that go to expert 1."
    )
    words = "; ".join(f"{name}: {simulate(p).loss:.4g}" for p, name in STRIP)
    title = "A loss of 1 does not mean balance, and it is not the minimum"
    return figure(720, 330, title, f"{words}. {caption}", body, caption)
