"""The state of explorable 0: a sentence's tokens, what the router says of each, and one token's sum."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from moe_lessons.explore.sentence.reader import (
    Matrix,
    Vector,
    choose,
    read,
    small,
    softmax,
    step,
    weighted_sum,
)

SHOWN = 16
"""Tokens that a picture has room for."""

READ = 400
"""Characters of a longer text that are read: more than enough for the tokens shown, and quick."""

SENTENCE = "The function returns a value, and the method returns a name."


@dataclass(frozen=True)
class Params:
    """What can be typed and chosen."""

    sentence: str = SENTENCE
    layer: int = 0
    k: int = 2
    token: int = 3


@dataclass(frozen=True)
class State:
    """Everything that one frame shows; without a token there are no rows.

    Attributes
    ----------
    params : Params
        With the token within the sentence.
    tokens : tuple of str, length T
        The first `SHOWN`, as they are to be written.
    n_tokens : int
        How many the text has as far as it was read.
    cut : int
        Characters after the first `READ`.
    probs_TE : T rows of E numbers
        The router's softmax over all experts.
    topk_ids_TK, topk_weights_TK : T rows of K numbers
        The chosen experts, the heaviest first, and their weights.
    load_E : E integers
        Tokens that each expert gets.
    weighted_KD : K rows of D numbers
        The chosen token's outputs, each times its weight.
    output_D : D numbers
        Their sum.
    full : float
        The largest number in these tokens' weighted answers and sums, at any K: the scale for all of them.
    """

    params: Params
    tokens: tuple[str, ...]
    n_tokens: int
    cut: int
    probs_TE: Matrix
    topk_ids_TK: tuple[tuple[int, ...], ...]
    topk_weights_TK: Matrix
    load_E: tuple[int, ...]
    weighted_KD: Matrix
    output_D: Vector
    full: float


def simulate(params: Params) -> State:
    """Read the sentence up to the layer, choose K experts for each token, and add up one token's outputs.

    Examples
    --------
    >>> state = simulate(Params("The words"))
    >>> state.tokens[0], sum(state.load_E) == 2 * len(state.tokens)
    ('The', True)
    >>> simulate(Params("")).tokens
    ()
    """
    model = small()
    text = " ".join(params.sentence[:READ].split())
    every = model.pairs.encode(text)
    ids = every[:SHOWN]
    cut = max(len(params.sentence) - READ, 0)
    params = replace(params, token=min(max(params.token, 0), max(len(ids) - 1, 0)))
    if not ids:
        load = (0,) * model.n_experts
        return State(params, (), 0, cut, (), (), (), load, (), (0.0,) * int(model.sizes["d_model"]), 1.0)
    found = read(ids, params.layer)
    ids_TK, weights_TK = zip(*(choose(logits_E, params.k) for logits_E in found.logits_TE), strict=True)
    outputs_ED = found.outputs_TED[params.token]
    mine = list(zip(ids_TK[params.token], weights_TK[params.token], strict=True))
    weighted_KD = tuple(tuple([weight * one for one in outputs_ED[e]]) for e, weight in mine)
    reached = Counter(e for row in ids_TK for e in row)
    return State(
        params,
        model.pairs.labels(ids),
        len(every),
        cut,
        tuple(map(softmax, found.logits_TE)),
        ids_TK,
        weights_TK,
        tuple(reached[e] for e in range(model.n_experts)),
        weighted_KD,
        tuple(map(sum, zip(*weighted_KD, strict=True))),
        max(_largest(ids[: t + 1], params.layer) for t in range(len(ids))) or 1.0,
    )


@lru_cache(maxsize=1024)
def _largest(beginning: tuple[int, ...], layer: int) -> float:
    """The largest number that the last token would show at any K, in a weighted answer or in their sum."""
    found = step(beginning, layer)
    ids, weights = choose(found.logits_E, len(found.logits_E))
    largest, total, summed_D = 0.0, 0.0, [0.0] * len(found.after_D)
    highest = 0.0  # of the answers so far, each times its weight at the full K
    for e, weight in zip(ids, weights, strict=True):
        total += weight  # by which the first K weights fall short of 1
        answer_D = found.outputs_ED[e]
        highest = max(highest, weight * max(map(abs, answer_D)))
        summed_D = weighted_sum((1.0, weight), (summed_D, answer_D))
        largest = max(largest, highest / total, max(map(abs, summed_D)) / total)
    return largest


def together(state: State, first: int, second: int) -> tuple[int, ...]:
    """Experts that two tokens of the picture share, lowest number first.

    Examples
    --------
    >>> together(simulate(Params("two words", k=8)), 0, 1)
    (0, 1, 2, 3, 4, 5, 6, 7)
    """
    one, other = (set(state.topk_ids_TK[place]) for place in (first, second))
    return tuple(sorted(one & other))
