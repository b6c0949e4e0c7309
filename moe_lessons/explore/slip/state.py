"""Slip's state: which tokens of a measured batch get other experts, for an error of some size."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

ORDERS = ("place", "letter", "margin")
"""What the tokens may be sorted by: place in the text, frequency of their byte, margin."""


@dataclass(frozen=True)
class Pass:
    """A whole pass with errors, in which those of one layer reach the next, against the clean one.

    Attributes
    ----------
    slipped : str
        One digit a token: 1 where it had another set of experts in at least one layer.
    shares : tuple of float
        Share of the tokens with another set, by layer.
    own, replayed : tuple of float
        Absolute log ratios of the bytes' probabilities in the two passes, with the clean pass's own experts
        and with those of the other one. The last byte of a window predicts nothing.
    """

    slipped: str
    shares: tuple[float, ...]
    own: tuple[float, ...]
    replayed: tuple[float, ...]


@dataclass(frozen=True)
class Recorded:
    """What `benchmarks/slip.py` recorded.

    Attributes
    ----------
    text : str
        The batch, a token each letter; `window` of them are read together.
    seen : dict of str to int
        How often each letter is in the text that the model was trained on.
    margins, slips_from : tuple of tuple of float
        For each layer and token the K-th logit minus the next, and the size from which the noise changes the
        token's set of experts (infinity for none), where nothing has gone wrong in the layers before.
    sizes : tuple of float
        Widths of the noise.
    passes : tuple of Pass
        One for each size.
    bf16 : Pass
        In place of noise: another number format for all but the routers.
    bf16_slipped : tuple of str
        Who slips in bf16, layer by layer.
    bf16_error : tuple of float
        Root mean square of what bf16 does to a logit, by layer.
    """

    text: str
    window: int
    seen: dict[str, int]
    margins: tuple[tuple[float, ...], ...]
    slips_from: tuple[tuple[float, ...], ...]
    sizes: tuple[float, ...]
    passes: tuple[Pass, ...]
    bf16: Pass
    bf16_slipped: tuple[str, ...]
    bf16_error: tuple[float, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens of the batch."""
        return len(self.text)

    @property
    def predicting(self) -> list[int]:
        """Tokens with another one behind them in their window."""
        return [t for t in range(self.n_tokens) if (t + 1) % self.window]


@dataclass(frozen=True)
class Params:
    """What can be chosen.

    Attributes
    ----------
    size : int
        A place in the recorded sizes.
    order : str
        One of ``ORDERS``.
    bf16 : bool
        Whether what slips in bf16 is marked.
    """

    size: int = 5
    order: str = "place"
    bf16: bool = False


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    size : float
        The error's.
    slipped : tuple of str
        For each layer one digit a token, each layer by itself.
    shares, bf16_shares : tuple of float
        Of the tokens, by layer; the last is the share of those that slip in at least one.
    run : Pass
        The whole pass with this error.
    astray : tuple of bool
        For each of its log ratios, whether the token that predicts has slipped in some layer of the pass.
    """

    params: Params
    size: float
    slipped: tuple[str, ...]
    shares: tuple[float, ...]
    bf16_shares: tuple[float, ...]
    run: Pass
    astray: tuple[bool, ...]


@lru_cache(maxsize=1)
def recorded() -> Recorded:
    """Load the batch that comes with the package.

    Examples
    --------
    >>> found = recorded()
    >>> found.n_tokens, len(found.margins), found.sizes[0], found.sizes[-1]
    (256, 8, 0.0001, 0.1)
    """
    found = json.loads(resources.files(__package__).joinpath("batch.json").read_text(encoding="utf-8"))
    return Recorded(
        found["text"],
        found["settings"]["window"],
        found["seen"],
        tuple(map(tuple, found["margins"])),
        tuple(tuple(math.inf if s is None else s for s in layer) for layer in found["slips from"]),
        tuple(one["size"] for one in found["passes"]),
        tuple(map(_run, found["passes"])),
        _run(found["bf16"]),
        tuple(found["bf16"]["slipped by layer"]),
        tuple(found["bf16"]["error"]),
    )


def _run(found: dict[str, Any]) -> Pass:
    by_layer, own, replayed = (tuple(found[key]) for key in ("changed by layer", "own", "replayed"))
    return Pass(found["slipped"], by_layer, own, replayed)


def somewhere(slipped: Sequence[str]) -> str:
    """Mark the tokens that slip in at least one layer.

    Examples
    --------
    >>> somewhere(("0010", "1010"))
    '1010'
    """
    return "".join("01"["1" in layers] for layers in zip(*slipped, strict=True))


def shares(slipped: Sequence[str]) -> tuple[float, ...]:
    """Share of the tokens that slip, layer by layer and in at least one.

    Examples
    --------
    >>> shares(("0010", "1010"))
    (0.25, 0.5, 0.5)
    """
    return tuple(layer.count("1") / len(layer) for layer in (*slipped, somewhere(slipped)))


def simulate(params: Params) -> State:
    """Say who slips at this size.

    Examples
    --------
    >>> few, many = (simulate(Params(size)).shares[-1] for size in (0, 9))
    >>> few < 0.02, many > 0.8
    (True, True)
    """
    found = recorded()
    size, run = found.sizes[params.size], found.passes[params.size]
    slipped = tuple("".join("01"[start < size] for start in layer) for layer in found.slips_from)
    astray = tuple(run.slipped[t] == "1" for t in found.predicting)
    return State(params, size, slipped, shares(slipped), shares(found.bf16_slipped), run, astray)


def by_margin(edges: Sequence[float]) -> list[tuple[int, int]]:
    """Count, between each two margins, the tokens of all layers that slip in bf16, and all tokens.

    Examples
    --------
    >>> (slipped, there), = by_margin((0, 100))
    >>> there
    2048
    """
    found = recorded()
    pairs = [
        (margin, digit == "1")
        for margins, slipped in zip(found.margins, found.bf16_slipped, strict=True)
        for margin, digit in zip(margins, slipped, strict=True)
    ]
    classes = []
    for low, high in pairwise(edges):
        inside = [slips for margin, slips in pairs if low <= margin < high]
        classes.append((sum(inside), len(inside)))
    return classes
