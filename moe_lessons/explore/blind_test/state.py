"""The blind test's state: four strips of the same text, and how much order there is in each."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise

STRIPS = ("shuffled", "untrained", "trained", "table")
"""What is drawn as A, B, C and D."""

LETTERS = "ABCD"
NAMES = {
    "shuffled": "the trained choices, exchanged among equal bytes",
    "untrained": "the router before any training",
    "trained": "the trained router",
    "table": "a table, drawn at random: one expert for each byte",
}
N_EXPERTS = 8
WINDOW = 64


@dataclass(frozen=True)
class Recorded:
    """What `benchmarks/what_experts_learn.py` recorded: first choices as one digit for each byte.

    Attributes
    ----------
    kinds : tuple of str
        The kinds of text.
    text : tuple of str
        The bytes of each kind, one character each.
    steps : tuple of int
        Steps of training; 0 is the untrained router.
    tables : tuple of str
        For each model a table over bytes: the digit at place b is the expert of byte b.
    trained, shuffled : nested tuples of str
        ``[model][step][layer][kind]``.
    """

    kinds: tuple[str, ...]
    text: tuple[str, ...]
    steps: tuple[int, ...]
    tables: tuple[str, ...]
    trained: tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]
    shuffled: tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]

    @property
    def n_layers(self) -> int:
        """Layers of the models."""
        return len(self.trained[0][0])


@dataclass(frozen=True)
class Params:
    """What can be chosen; `step` is a place in the recorded steps, `named` whether the strips have names."""

    step: int = 6
    layer: int = 1
    model: int = 0
    kind: int = 0
    named: bool = False


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    params : Params
    text : str
    strips : tuple of str
        For A to D one digit, the expert, for each byte of the text.
    alike, by_chance : tuple of float
        Of each strip: how often neighbours share an expert, over all kinds of text, and chance at its loads.
    """

    params: Params
    text: str
    strips: tuple[str, ...]
    alike: tuple[float, ...]
    by_chance: tuple[float, ...]


@lru_cache(maxsize=1)
def recorded() -> Recorded:
    """Load the strips that come with the package.

    Examples
    --------
    >>> recorded().n_layers, recorded().steps[0], len(recorded().text[0])
    (2, 0, 128)
    """
    found = json.loads(resources.files(__package__).joinpath("strips.json").read_text(encoding="utf-8"))
    text = tuple(found["text"])

    def of(place: int) -> tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]:
        return tuple(
            tuple(
                tuple(_cut(layer[place], len(text[0])) for layer in model[str(step)])
                for step in found["steps"]
            )
            for model in found["seeds"]
        )

    return Recorded(tuple(found["kinds"]), text, tuple(found["steps"]), tuple(found["tables"]), of(0), of(1))


def _cut(digits: str, length: int) -> tuple[str, ...]:
    return tuple(digits[start : start + length] for start in range(0, len(digits), length))


def strips_of(params: Params) -> dict[str, tuple[str, ...]]:
    """Each strip's experts, kind by kind."""
    found = recorded()
    table = found.tables[params.model]
    return {
        "shuffled": found.shuffled[params.model][params.step][params.layer],
        "untrained": found.trained[params.model][0][params.layer],
        "trained": found.trained[params.model][params.step][params.layer],
        "table": tuple("".join(table[ord(byte)] for byte in text) for text in found.text),
    }


def simulate(params: Params) -> State:
    """Look up the four strips, and count neighbours that share an expert.

    Examples
    --------
    >>> state = simulate(Params())
    >>> len(state.strips), {len(strip) for strip in state.strips}
    (4, {128})
    """
    found = strips_of(params)
    counted = [neighbours(found[name]) for name in STRIPS]
    return State(
        params,
        recorded().text[params.kind],
        tuple(found[name][params.kind] for name in STRIPS),
        tuple(alike for alike, _ in counted),
        tuple(chance for _, chance in counted),
    )


def neighbours(strips: tuple[str, ...]) -> tuple[float, float]:
    """How often neighbours within a window share an expert, and how often by chance at these loads.

    Examples
    --------
    >>> neighbours(("0011",))  # two of three pairs; 1/4 + 1/4
    (0.6666666666666666, 0.5)
    """
    windows = [strip[at : at + WINDOW] for strip in strips for at in range(0, len(strip), WINDOW)]
    pairs = [pair for window in windows for pair in pairwise(window)]
    counts = Counter("".join(windows))
    total = sum(counts.values())
    alike = sum(before == after for before, after in pairs) / len(pairs)
    return alike, sum((count / total) ** 2 for count in counts.values())


def runs(strip: str) -> list[tuple[int, int, int]]:
    """Neighbours of the same expert as one piece: start, length and expert of each.

    Examples
    --------
    >>> runs("113")
    [(0, 2, 1), (2, 1, 3)]
    """
    found: list[tuple[int, int, int]] = []
    for place, digit in enumerate(strip):
        if found and found[-1][2] == int(digit):
            start, length, expert = found[-1]
            found[-1] = (start, length + 1, expert)
        else:
            found.append((place, 1, int(digit)))
    return found
