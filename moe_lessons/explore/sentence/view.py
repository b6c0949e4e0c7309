"""Explorable 0's pictures: the live frame, the layers side by side, and the static strip."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.sentence.panels import LIVE, SMALL, STILL, Sizes, load, matrix, short, total
from moe_lessons.explore.sentence.reader import small
from moe_lessons.explore.sentence.state import SHOWN, Params, State, simulate
from moe_lessons.svg import Drawing, figure, text
from moe_lessons.svg.base import INK, MUTED, polyline

WIDTH, RIGHT = 720, 462
LOAD = 44 + LIVE.rows
BODY = LOAD + LIVE.deep + 36


def draw(state: State) -> str:
    """Draw one frame: tokens by experts, the load below, one token's sum on the right.

    Examples
    --------
    >>> draw(simulate(Params("two words")))[:4]
    '<svg'
    """
    return figure(WIDTH, BODY, title(state), in_words(state), body(state), caption=question(state)).svg


def body(state: State, sizes: Sizes = LIVE) -> str:
    """Everything of a frame but its title and caption."""
    p, words = state.params, 8 + LIVE.words
    parts = [text(words - 7, 12, "1  tokens", text_anchor="end", fill=MUTED)]
    parts.append(text(words, 12, "2  router: a score per expert (%); framed: the K best", fill=MUTED))
    parts.append(matrix(state, 8, 20, sizes))
    if state.tokens:
        parts.append(text(RIGHT, 12, f"3  the weighted sum for ‘{short(state.tokens[p.token])}’", fill=MUTED))
        parts.append(total(state, RIGHT, 24, WIDTH - 8 - RIGHT, LOAD + LIVE.deep - 20))
        parts.append(_leads(state))
    else:
        parts.append(text(words, 96, "No tokens yet. Type a sentence.", font_size=15))
    parts.append(load(state, 8, LOAD))
    return "".join(parts) + text(8, BODY - 4, _left_out(state), fill=MUTED)


def _leads(state: State) -> str:
    """A line from the chosen token's row to its sum."""
    tall = LIVE.tall(state)
    y = 42 + tall * state.params.token + (tall - 3) / 2
    points = [
        (8 + LIVE.words + LIVE.cell * len(state.load_E) - 1, y),
        (RIGHT - 16, y),
        (RIGHT - 16, 32),
        (RIGHT - 6, 32),
    ]
    return polyline(points, stroke=INK, stroke_width=1.5)


def title(state: State) -> str:
    """Say where the chosen token goes.

    Examples
    --------
    >>> title(simulate(Params("")))
    'A layer of 8 experts, and nothing to read'
    """
    p, n = state.params, len(state.load_E)
    if not state.tokens:
        return f"A layer of {n} experts, and nothing to read"
    ids = state.topk_ids_TK[p.token]
    token = short(state.tokens[p.token])
    if len(ids) > 3:
        return f"Layer {p.layer}: {len(ids)} of {n} experts read ‘{token}’, expert {ids[0]} above all"
    return f"Layer {p.layer}: {listed(ids)} of {n} read{'s' if len(ids) == 1 else ''} ‘{token}’"


def listed(ids: Sequence[int]) -> str:
    """Write some experts.

    Examples
    --------
    >>> listed([3]), listed([3, 1])
    ('expert 3', 'experts 3 and 1')
    """
    if len(ids) == 1:
        return f"expert {ids[0]}"
    return f"experts {', '.join(map(str, ids[:-1]))} and {ids[-1]}"


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params("two words", k=8)))
    'Every expert reads every token: four times the work of K=2. What is left for the router to decide?'
    """
    p, n = state.params, len(state.load_E)
    if not state.tokens:
        return "What would you like the layer to read?"
    if p.k == n:
        times = f"{n // small().top_k} times".replace("4 times", "four times")
        return (
            f"Every expert reads every token: {times} the work of K=2. What is left for the router to decide?"
        )
    stray = next((token for token in state.tokens if token.startswith("‹")), None)
    if stray is not None:
        return f"{stray} is a byte of a sign that this model has no token for. Who reads such bytes?"
    if p.k == 1:
        return "K=1: one expert for each token, with weight 1. Which experts have nothing to do?"
    if any(token.startswith("…") for token in state.tokens):
        return "A word that the model seldom saw comes in pieces (…). Do its pieces meet the same experts?"
    if 0 in state.load_E and p.k <= small().top_k:
        idle = [e for e, tokens in enumerate(state.load_E) if not tokens]
        verb = "reads" if len(idle) == 1 else "read"
        return f"{listed(idle).capitalize()} {verb} nothing here. Which two words share an expert?"
    return "Which two words share an expert? Take another layer: do they still?"


def _left_out(state: State) -> str:
    """Say what of the text the picture has no room for."""
    if state.cut:
        return f"Shown: the first {len(state.tokens)} tokens; {state.cut:,} characters were not read at all."
    if state.n_tokens > SHOWN:
        return f"Shown: the first {SHOWN} of {state.n_tokens} tokens."
    return ""


def in_words(state: State) -> str:
    """The rest of the alt text."""
    if not state.tokens:
        return question(state)
    pairs = zip(state.tokens, state.topk_ids_TK, strict=True)
    rows = ", ".join(f"{short(token)}: {' '.join(map(str, ids))}" for token, ids in pairs)
    loads = ", ".join(map(str, state.load_E))
    experts = f"experts 0 to {len(state.load_E) - 1}"
    return f"Experts of each token: {rows}. Load of {experts}: {loads}. {question(state)}"


def _small(params: Params, left: float, top: float, note: str) -> str:
    """Tokens by experts with the load below, without the sum."""
    state = simulate(params)
    table = matrix(state, left, top + 20, SMALL)
    below = load(state, left, top + 20 + 22 + SMALL.tall(state) * len(state.tokens) + 4, SMALL)
    return text(left + 2, top + 11, note, font_weight="600") + table + below


HIGH = 20 + 22 + SMALL.rows + 4 + SMALL.deep + 18
"""Of a small frame."""


def layers(params: Params | None = None) -> Drawing:
    """Draw the sentence in all layers, side by side.

    Examples
    --------
    >>> layers()
    The same sentence in three layers: each has experts of its own, and a router of its own. ...
    """
    params = params or Params()
    shown = [replace(params, layer=layer) for layer in range(small().n_layers)]
    parts = "".join(_small(p, 4 + 239 * i, 0, f"layer {p.layer}, K={p.k}") for i, p in enumerate(shown))
    title = "The same sentence in three layers: each has experts of its own, and a router of its own"
    caption = "Framed: the experts chosen for a token. Expert 0 of one layer is not expert 0 of another."
    words = " ".join(f"Layer {p.layer}: {in_words(simulate(p))}" for p in shown)
    return figure(WIDTH, HIGH, title, words, parts, caption)


def strip() -> Drawing:
    """Draw four key frames: one whole, then two other layers and K=1.

    Examples
    --------
    >>> strip().svg.count("layer 2, K=2")
    1
    """
    first = simulate(Params())
    others = (Params(layer=1), Params(layer=2), Params(k=1))
    top = BODY + 8
    parts = body(first, STILL) + "".join(
        _small(p, 4 + 239 * i, top, f"layer {p.layer}, K={p.k}") for i, p in enumerate(others)
    )
    caption = (
        "Above: layer 0, K=2. Below: the same sentence in the two other layers, and with one expert for each "
        "token. Which two words share an expert in every layer?"
    )
    words = f"{title(first)}. {in_words(first)} " + " ".join(
        f"Layer {p.layer}, K={p.k}: {in_words(simulate(p))}" for p in others
    )
    head = "One sentence, three layers: scores, a choice, and a weighted sum for each token"
    return figure(WIDTH, top + HIGH, head, words, parts, caption)
