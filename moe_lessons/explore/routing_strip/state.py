"""The routing strip's state: a text, the experts of its tokens in each layer, and what one expert reads."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources

MAX_TOKENS = 2000


@dataclass(frozen=True)
class Strip:
    """A text and its routing, at one or more steps of training.

    Parameters
    ----------
    tokens : tuple of str, length T
    n_experts : int
    steps : tuple of str
        Names of the steps, such as "before training".
    ids : nested tuples of int
        ``ids[step][layer][token]`` are the K experts of a token, the heaviest first.
    weights : nested tuples of float
        Their weights, in the same order.
    source : str
        What was recorded.
    """

    tokens: tuple[str, ...]
    n_experts: int
    steps: tuple[str, ...]
    ids: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    weights: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]
    source: str = ""

    @property
    def n_layers(self) -> int:
        """Layers with experts."""
        return len(self.ids[0])

    @cached_property
    def fullest(self) -> float:
        """The largest share of a layer's choices that any expert takes, at any step in any layer."""
        counts = [Counter(e for row in layer for e in row) for step in self.ids for layer in step]
        return max(max(count.values(), default=0) / max(count.total(), 1) for count in counts)

    @cached_property
    def commonest(self) -> int:
        """How often the most frequent token occurs."""
        return max(Counter(self.tokens).values())


@dataclass(frozen=True)
class Params:
    """What can be chosen: step, layer and expert, and the first token shown."""

    strip: Strip
    step: int = 0
    layer: int = 0
    expert: int = 0
    first: int = 0


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Parameters
    ----------
    params : Params
    reads : tuple of (str, int, int)
        The chosen expert's most frequent tokens: the token, how often it reads it, how often it occurs.
    load : tuple of float
        Each expert's share of all choices in this layer.
    constancy : float
        How often a token that occurs again goes first to the expert that its kind goes to most; 1 is always.
    by_chance : float
        The same if each occurrence were sent anew, in proportion to the loads.
    """

    params: Params
    reads: tuple[tuple[str, int, int], ...]
    load: tuple[float, ...]
    constancy: float
    by_chance: float


def make_strip(
    tokens: Sequence[str],
    ids: Sequence[Sequence[Sequence[Sequence[int]]]],
    weights: Sequence[Sequence[Sequence[Sequence[float]]]],
    *,
    n_experts: int,
    steps: Sequence[str] = ("",),
    source: str = "",
) -> Strip:
    """Check and freeze a text and its routing.

    Parameters
    ----------
    tokens : T str
    ids, weights : (steps, layers, T, K)
    n_experts : int
    steps : str, one for each step
    source : str

    Raises
    ------
    ValueError
        If the shapes do not agree, there is no token, or more than 2,000.

    Examples
    --------
    >>> make_strip(["a", "b"], [[[[0], [1]]]], [[[[1.0], [1.0]]]], n_experts=2).n_layers
    1
    """
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise ValueError(f"tokens has {len(tokens)} entries: give 1 to {MAX_TOKENS}")
    if len(ids) != len(steps) or len(weights) != len(steps):
        raise ValueError(f"ids and weights have {len(ids)} and {len(weights)} steps, steps {len(steps)}")
    rows = [row for step in ids for layer in step for row in layer]
    if any(len(layer) != len(tokens) for step in ids for layer in step):
        raise ValueError(f"every layer needs the experts of each of the {len(tokens)} tokens")
    if any(not 0 <= expert < n_experts for row in rows for expert in row):
        raise ValueError(f"ids holds an expert outside 0 to {n_experts - 1}")
    ordered_ids, ordered_weights = [], []
    for step_ids, step_weights in zip(ids, weights, strict=True):
        layers = [_heaviest_first(a, b) for a, b in zip(step_ids, step_weights, strict=True)]
        ordered_ids.append(tuple(one for one, _ in layers))
        ordered_weights.append(tuple(one for _, one in layers))
    return Strip(tuple(tokens), n_experts, tuple(steps), tuple(ordered_ids), tuple(ordered_weights), source)


def _heaviest_first(
    ids: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]]:
    pairs = [
        sorted(zip(row, values, strict=True), key=lambda pair: -pair[1])
        for row, values in zip(ids, weights, strict=True)
    ]
    return (
        tuple(tuple(int(expert) for expert, _ in row) for row in pairs),
        tuple(tuple(round(float(weight), 4) for _, weight in row) for row in pairs),
    )


@lru_cache(maxsize=1)
def sample() -> Strip:
    """A sentence of Python's reference, read by the smoke preset's model before and after training."""
    text = resources.files(__package__).joinpath("sample.json").read_text(encoding="utf-8")
    values = json.loads(text)
    return make_strip(
        values["tokens"],
        values["ids"],
        values["weights"],
        n_experts=values["n_experts"],
        steps=values["steps"],
        source=values["source"],
    )


def simulate(params: Params) -> State:
    """Count what the chosen expert reads, and how constant the layer's choices are.

    Examples
    --------
    >>> strip = make_strip(list("aba"), [[[[0], [1], [0]]]], [[[[1.0]] * 3]], n_experts=2)
    >>> state = simulate(Params(strip))
    >>> state.reads, state.load, state.constancy
    ((('a', 2, 2),), (0.6666666666666666, 0.3333333333333333), 1.0)
    """
    strip, rows = params.strip, params.strip.ids[params.step][params.layer]
    everywhere = Counter(strip.tokens)
    mine = Counter(token for token, row in zip(strip.tokens, rows, strict=True) if params.expert in row)
    counts = Counter(expert for row in rows for expert in row)
    total = sum(counts.values())
    load = tuple(counts[expert] / total for expert in range(strip.n_experts))
    reads = tuple((token, n, everywhere[token]) for token, n in mine.most_common(8))
    firsts: dict[str, Counter[int]] = {}
    for token, row in zip(strip.tokens, rows, strict=True):
        firsts.setdefault(token, Counter())[row[0]] += 1
    again = [kind for token, kind in firsts.items() if everywhere[token] > 1]
    occurrences = sum(sum(kind.values()) for kind in again)
    constancy = sum(kind.most_common(1)[0][1] for kind in again) / occurrences if occurrences else 1.0
    chance = _by_chance(tuple(row[0] for row in rows), tuple(sum(kind.values()) for kind in again))
    return State(params, reads, load, constancy, chance)


@lru_cache(maxsize=64)
def _by_chance(firsts: tuple[int, ...], sizes: tuple[int, ...]) -> float:
    """Mean share of the fullest expert, if n tokens are dealt in proportion to the first choices' loads.

    The layer's own first choices are dealt out in turn, from many starts: no random number, the same bytes.
    """
    if not sizes:
        return 1.0
    fullest: dict[int, float] = {}
    for size in set(sizes):
        step = max(1, len(firsts) // size)
        shares = []
        for start in range(0, len(firsts), max(1, len(firsts) // 40)):
            dealt = Counter(firsts[(start + i * step + i) % len(firsts)] for i in range(size))
            shares.append(max(dealt.values()))
        fullest[size] = sum(shares) / len(shares)
    return sum(fullest[size] for size in sizes) / sum(sizes)


def choose(params: Params, expert: int) -> Params:
    """Look at another expert.

    Examples
    --------
    >>> choose(Params(sample()), 3).expert
    3
    """
    return replace(params, expert=expert)
