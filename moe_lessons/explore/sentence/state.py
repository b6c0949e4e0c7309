"""The state of explorable 0: a sentence's tokens, what the router says of each, and one token's sum."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from moe_lessons.explore.sentence.reader import Array, choose, read, small, softmax

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
    """Everything that one frame shows; without a token all arrays are empty.

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
    probs_TE : array of shape (T, E)
        The router's softmax over all experts.
    topk_ids_TK, topk_weights_TK : arrays of shape (T, K)
        The chosen experts, the heaviest first, and their weights.
    load_E : array of int, shape (E,)
        Tokens that each expert gets.
    weighted_KD : array of shape (K, D)
        The chosen token's outputs, each times its weight.
    output_D : array of shape (D,)
        Their sum.
    full : float
        The largest number in these tokens' weighted answers and sums, at any K: the scale for all of them.
    """

    params: Params
    tokens: tuple[str, ...]
    n_tokens: int
    cut: int
    probs_TE: Array
    topk_ids_TK: NDArray[np.intp]
    topk_weights_TK: Array
    load_E: NDArray[np.intp]
    weighted_KD: Array
    output_D: Array
    full: float


def simulate(params: Params) -> State:
    """Read the sentence up to the layer, choose K experts for each token, and add up one token's outputs.

    Examples
    --------
    >>> state = simulate(Params("The words"))
    >>> state.tokens[0], int(state.load_E.sum()) == 2 * len(state.tokens)
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
        nothing = np.zeros((0, model.n_experts), dtype=np.float32)
        none_K = np.zeros((0, params.k), dtype=np.intp)
        width = np.zeros(int(model.sizes["d_model"]), dtype=np.float32)
        load = np.zeros(model.n_experts, dtype=np.intp)
        return State(
            params, (), 0, cut, nothing, none_K, nothing[:, : params.k], load, width[None][:0], width, 1
        )
    logits_TE, outputs_TED = read(ids, params.layer)
    ids_TK, weights_TK = choose(logits_TE, params.k)
    weighted_KD = weights_TK[params.token][:, None] * outputs_TED[params.token, ids_TK[params.token]]
    return State(
        params,
        model.pairs.labels(ids),
        len(every),
        cut,
        softmax(logits_TE),
        ids_TK,
        weights_TK,
        np.bincount(ids_TK.ravel(), minlength=model.n_experts),
        weighted_KD,
        weighted_KD.sum(axis=0),
        _full(ids, params.layer),
    )


@lru_cache(maxsize=64)
def _full(tokens: tuple[int, ...], layer: int) -> float:
    """The largest number that any choice of K and token would show; 1 if there is none."""
    logits_TE, outputs_TED = read(tokens, layer)
    largest = 0.0
    for k in range(1, logits_TE.shape[1] + 1):
        ids_TK, weights_TK = choose(logits_TE, k)
        weighted_TKD = weights_TK[:, :, None] * np.take_along_axis(outputs_TED, ids_TK[:, :, None], axis=1)
        largest = max(
            largest, float(np.abs(weighted_TKD).max()), float(np.abs(weighted_TKD.sum(axis=1)).max())
        )
    return largest or 1.0


def together(state: State, first: int, second: int) -> tuple[int, ...]:
    """Experts that two tokens of the picture share, lowest number first.

    Examples
    --------
    >>> together(simulate(Params("two words", k=8)), 0, 1)
    (0, 1, 2, 3, 4, 5, 6, 7)
    """
    one, other = (set(state.topk_ids_TK[place].tolist()) for place in (first, second))
    return tuple(sorted(one & other))
