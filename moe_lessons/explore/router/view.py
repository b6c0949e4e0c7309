"""The router playground's pictures: the live frame, before and after, and the static strip."""

from moe_lessons.explore.router.panels import MUTED, bar, loads, plane, row_name, softmax
from moe_lessons.explore.router.state import E, Params, State, heat, lengthen, simulate
from moe_lessons.svg import Drawing, color, figure, text

# A token that, at K=4, also goes to an expert whose logit is negative.
STRIP_TOKEN = 95


def draw(state: State) -> str:
    """Draw one frame: the map on the left, loads and a softmax on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p = state.params
    share = 100 * state.routed.load_E[p.expert]
    title = f"Expert {p.expert} gets {share:.0f} % of the tokens at K={p.k}, with a router vector of norm "
    title += f"{p.norms[p.expert]:.4g}"
    body = plane(state, 8, 22, 396) + loads(state, 424, 22, 288) + softmax(state, 424, 232, 288)
    body += text(8, 14, _map_label(state), fill=MUTED)
    return figure(720, 424, title, _in_words(state), body, caption=question(state)).svg


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params()))
    'What is going on? The vectors cut the plane. Which two experts share each border?'
    """
    p = state.params
    chose = [p.expert in row for row in state.routed.topk_ids_TK]
    gained = state.routed.load_E[p.expert] - state.load_before_E[p.expert]
    if p.k == E:
        return "Every token reaches every expert. What is left for the router to decide?"
    if abs(p.temperature - 1) > 0.02:
        return "What is going on? The softmax has changed height. Has the set of ✓ changed with it?"
    if p.norms[p.expert] > 1.02 and gained > 0:
        return "What is going on? The region has grown. Who paid? How far can it go as the norm grows?"
    if p.norms[p.expert] > 1.02 and gained < 0:
        return "What is going on? A longer vector, and fewer tokens. On which side of the dashed line?"
    if p.norms[p.expert] < 0.98:
        return "What is going on? A short vector, logits near 0. Which tokens choose it, and why?"
    if any(row[p.expert] < 0 for row, mine in zip(state.routed.logits_TE, chose, strict=True) if mine):
        return "What is going on? The region crosses the dashed line. How can a negative logit win?"
    return "What is going on? The vectors cut the plane. Which two experts share each border?"


def _map_label(state: State) -> str:
    p = state.params
    meaning = "region number: who is chosen" if p.k == 1 else f"tinted: {p.expert} is among the {p.k} chosen"
    return f"{meaning};  - - logit of expert {p.expert} is 0"


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    p = state.params
    shares = ", ".join(f"{e}: {100 * v:.0f}" for e, v in enumerate(state.routed.load_E))
    chosen = ", ".join(str(e) for e in sorted(state.chosen))
    return f"Tokens that reach each expert (%): {shares}. Token {p.token} goes to {chosen}. {question(state)}"


def _small(params: Params, left: float, top: float, note: str) -> str:
    """A map of 216 px with a line above it."""
    return text(left, top + 13, note, font_weight="600") + plane(simulate(params), left, top + 20, 216)


def _note(params: Params) -> str:
    load = simulate(params).routed.load_E[params.expert]
    return f"K={params.k}, norm {params.norms[params.expert]:.4g}: expert 0 gets {100 * load:.0f} %"


def before_after(k: int) -> Drawing:
    """Draw the map with expert 0's router vector of norm 1 and of norm 2.

    Examples
    --------
    >>> before_after(1)
    At K=1, doubling router vector 0 takes its expert from 18 % to 33 % of the tokens. ...
    """
    first = Params(k=k)
    pair = (first, lengthen(first, 2.0))
    body = "".join(_small(p, 8 + 240 * i, 0, _note(p)) for i, p in enumerate(pair))
    low, high = (100 * simulate(p).routed.load_E[0] for p in pair)
    title = (
        f"At K={k}, doubling router vector 0 takes its expert from {low:.0f} % to {high:.0f} % of the tokens"
    )
    words = "Strong tint: expert 0. Dashed: where its logit is 0."
    return figure(480, 244, title, words, body, caption=words)


def strip() -> Drawing:
    """Draw the three findings as pairs of frames, before above after.

    Examples
    --------
    >>> strip()
    A longer router vector wins tokens at K=1, loses some at K=4; temperature never changes the choice. ...
    """
    parts = []
    for column, k in enumerate((1, 4)):
        for row, norm in enumerate((1.0, 2.0)):
            p = lengthen(Params(k=k), norm)
            parts.append(_small(p, 8 + 240 * column, 252 * row, _note(p)))
    for row, temperature in enumerate((0.5, 2.0)):
        state = simulate(heat(Params(k=4, token=STRIP_TOKEN), temperature))
        parts.append(_small_softmax(state, 488, 252 * row))
    title = (
        "A longer router vector wins tokens at K=1, loses some at K=4; temperature never changes the choice"
    )
    caption = (
        "Left, middle: expert 0's region (strong tint) with a router vector of norm 1, then 2; at the dashed "
        "line its logit is 0. Right: one token at two temperatures; ✓ marks its top 4, the same ones."
    )
    words = "; ".join(_note(lengthen(Params(k=k), n)) for k in (1, 4) for n in (1.0, 2.0))
    return figure(720, 500, title, f"{words}. {caption}", "".join(parts), caption)


def _small_softmax(state: State, left: float, top: float) -> str:
    note = f"Temperature {state.params.temperature:.4g}: softmax (%)"
    parts = [text(left, top + 13, note, font_weight="600")]
    for e, probability in enumerate(state.probs_E):
        y = top + 30 + 34 * e
        chosen = e in state.chosen
        parts.append(row_name(e, left - 10, y + 11, False))
        parts.append(bar(left + 32, y, 140, 22, probability, color(e), False, hollow=not chosen))
        parts.append(text(left + 180, y + 15.5, f"{100 * probability:.0f}{' ✓' if chosen else ''}"))
    return "".join(parts)
