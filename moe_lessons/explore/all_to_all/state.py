"""All to all: 256 experts on ranks, a load by Zipf's law, a plan, and one step of tokens that meets it.

Plain Python: it runs where PyTorch does not.
"""

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain

from moe_lessons.explore.twister import Twister
from moe_lessons.parallel.greedy import Places, plan, rank_load

EXPERTS, TOP_K, NODES, ROW_BYTES = 256, 8, 8, 7168
"""DeepSeek-V3's: experts, of which a token takes eight; a row of 7,168 numbers of one byte."""
RANKS = (8, 16, 32)
COPIES = (0, 1, 2, 3)
TOKENS = (32, 128, 512, 2048)
STEEPEST = 0.9
"""Up to here the hottest expert is in less than every token's choice, so that a draw can have its share."""
DRIFT = 0.6
"""Standard deviation of what a day adds to the logarithm of an expert's popularity."""
ORDERS = 64
"""Random orders of the experts; tokens take turns with them."""

Ids = tuple[tuple[int, ...], ...]
Shares = tuple[float, ...]


@dataclass(frozen=True)
class Params:
    """What can be picked.

    Attributes
    ----------
    zipf : float
        The r-th most popular expert gets rows like 1 / r ** zipf.
    n_ranks : int
        G, one of ``RANKS``; they stand in 8 nodes.
    numbered : bool
        Whether experts are numbered by popularity; otherwise in a random order.
    packed : bool
        Whether a plan places the experts; otherwise neighbours share a rank.
    copies : int
        Slots for copies on each rank, one of ``COPIES``; a plan fills them.
    tokens : int
        Tokens of the step, one of ``TOKENS``.
    stale : bool
        Whether popularity has moved on since the plan was made.
    once : bool
        Whether a token is sent once to a node, however many of its experts are there.
    """

    zipf: float = 0.8
    n_ranks: int = 32
    numbered: bool = False
    packed: bool = False
    copies: int = 0
    tokens: int = 2048
    stale: bool = False
    once: bool = False


@dataclass(frozen=True)
class State:
    """Everything that one frame shows; loads are in multiples of an even rank's.

    Attributes
    ----------
    expected_G, drawn_G : tuple of float
        Load of each rank: on average, and in this step.
    hottest : float
        The most popular expert's rows.
    copies : int
        Slots beyond one for each expert.
    bytes_NN : tuple of tuple of int
        From node to node, in this step; the diagonal needs no network between nodes.
    nodes_per_token : float
        Nodes that a token's experts are on.
    """

    params: Params
    expected_G: tuple[float, ...]
    drawn_G: tuple[float, ...]
    hottest: float
    copies: int
    bytes_NN: tuple[tuple[int, ...], ...]
    nodes_per_token: float

    @property
    def expected(self) -> float:
        """Max over mean, on average over many steps."""
        return max(self.expected_G)

    @property
    def drawn(self) -> float:
        """Max over mean, in this step."""
        return max(self.drawn_G)

    @property
    def crossing(self) -> int:
        """Bytes between nodes, for one of the two exchanges."""
        rows = enumerate(self.bytes_NN)
        return sum(count for i, row in rows for j, count in enumerate(row) if i != j)


@dataclass(frozen=True)
class Chance:
    """What is random: numbers by popularity, a day's drift, orders of the experts, a start for each token."""

    number_E: tuple[int, ...]
    drift_E: tuple[float, ...]
    order_OE: Ids
    start_T: tuple[float, ...]


@lru_cache(maxsize=4)
def chance(seed: int) -> Chance:
    """Draw everything that is random."""
    stream = Twister(seed)
    number_E, drift_E = stream.permutation(EXPERTS), stream.normal(EXPERTS)
    order_OE = tuple(tuple(stream.permutation(EXPERTS)) for _ in range(ORDERS))
    return Chance(tuple(number_E), tuple(drift_E), order_OE, tuple(stream.uniform(max(TOKENS))))


@lru_cache(maxsize=64)
def popularity(zipf: float, numbered: bool, moved: bool = False) -> Shares:
    """Each expert's share of all rows; no expert is in more than every token's choice.

    Examples
    --------
    >>> shares_E = popularity(0.8, numbered=True)
    >>> round(sum(shares_E), 6), round(shares_E[0] * 32, 2)
    (1.0, 2.98)
    """
    drawn = chance(7)
    shares_E = [rank**-zipf for rank in range(1, EXPERTS + 1)]
    if moved:
        shares_E = [s * math.exp(DRIFT * d) for s, d in zip(shares_E, drawn.drift_E, strict=True)]
    shares_E = _normed(shares_E)
    for _ in range(16):  # what is cut off goes to all, and may lift another above the limit
        if max(shares_E) <= 1 / TOP_K:
            break
        shares_E = _normed([min(share, 1 / TOP_K) for share in shares_E])
    return tuple(shares_E if numbered else (shares_E[rank] for rank in drawn.number_E))


def _normed(shares_E: list[float]) -> list[float]:
    total = math.fsum(shares_E)
    return [share / total for share in shares_E]


@lru_cache(maxsize=64)
def placed(zipf: float, n_ranks: int, numbered: bool, packed: bool, copies: int) -> Places:
    """The plan for the popularity of the day on which it was made."""
    if not packed and not copies:
        each = EXPERTS // n_ranks
        return Places(list(range(EXPERTS)), [e // each for e in range(EXPERTS)], [1] * EXPERTS)
    return plan(popularity(zipf, numbered), n_ranks, EXPERTS + copies * n_ranks)


@lru_cache(maxsize=16)
def drawn_experts(shares_E: Shares, tokens: int) -> Ids:
    """Draw eight different experts for each token, expert e in a share of exactly 8 * shares_E[e] of them.

    Systematic sampling: the shares are laid out on a line of length 8, in a random order, and eight points
    one apart, from a start of each token's own, pick the experts on which they fall.
    """
    drawn, lines = chance(7), []
    for order_E in drawn.order_OE[:tokens]:
        ends = list(accumulate(TOP_K * shares_E[e] for e in order_E))
        ends[-1] = math.inf  # the last point may lie at 8 and a rounding
        lines.append((order_E, ends))
    ids_TK = []
    for token, start in enumerate(drawn.start_T[:tokens]):
        order_E, ends = lines[token % ORDERS]
        ids_TK.append(tuple([order_E[bisect_left(ends, start + k)] for k in range(TOP_K)]))
    return tuple(ids_TK)


def ranks_met(found: Places, ids_TK: Ids) -> Ids:
    """Say to which rank each row goes; an expert's copies take turns, by the token's number.

    Examples
    --------
    >>> ranks_met(Places([0, 1, 0], [0, 0, 1], [2, 1]), ((0, 1), (0, 1)))
    ((0, 0), (1, 0))
    """
    ranks_E: list[list[int]] = [[] for _ in found.copies_E]
    for expert, rank in zip(found.expert_of_slot, found.rank_of_slot, strict=True):
        ranks_E[expert].append(rank)
    if max(found.copies_E) == 1:
        only_E = [ranks[0] for ranks in ranks_E]
        return tuple(tuple([only_E[e] for e in row]) for row in ids_TK)
    return tuple(
        tuple([ranks_E[e][token % len(ranks_E[e])] for e in row]) for token, row in enumerate(ids_TK)
    )


def simulate(params: Params) -> State:
    """Place, draw, and count one frame.

    Examples
    --------
    >>> state = simulate(Params(packed=True))
    >>> round(state.expected, 2), round(state.hottest, 2)
    (3.23, 2.98)
    >>> round(simulate(Params(copies=1)).expected, 2)
    1.0
    """
    p = params
    found = placed(p.zipf, p.n_ranks, p.numbered, p.packed, p.copies)
    today_E = popularity(p.zipf, p.numbered, p.stale)
    expected_G = [load * p.n_ranks for load in rank_load(found, today_E)]
    rank_TK = ranks_met(found, drawn_experts(today_E, p.tokens))
    rows_G = Counter(chain.from_iterable(rank_TK))
    drawn_G = [rows_G[rank] * p.n_ranks / (p.tokens * TOP_K) for rank in range(p.n_ranks)]
    on_node = p.n_ranks // NODES
    node_G = [rank // on_node for rank in range(p.n_ranks)]
    sent = [Counter[int]() for _ in range(NODES)]
    met = 0
    at_home = p.tokens // NODES
    for home in range(NODES):
        rows = rank_TK[home * at_home : (home + 1) * at_home]
        nodes = [{node_G[rank] for rank in row} for row in rows]
        met += sum(map(len, nodes))
        if p.once:
            sent[home].update(chain.from_iterable(nodes))
        else:
            for rank, count in Counter(chain.from_iterable(rows)).items():
                sent[home][node_G[rank]] += count
    return State(
        p,
        tuple(expected_G),
        tuple(drawn_G),
        max(today_E) * p.n_ranks,
        p.copies * p.n_ranks,
        tuple(tuple(row[node] * ROW_BYTES for node in range(NODES)) for row in sent),
        met / p.tokens,
    )


def uneven(params: Params) -> float:
    """Max over mean of the ranks on average, without a draw.

    Examples
    --------
    >>> round(uneven(Params(numbered=True)), 2)
    9.65
    """
    p = params
    found = placed(p.zipf, p.n_ranks, p.numbered, p.packed, p.copies)
    return max(rank_load(found, popularity(p.zipf, p.numbered, p.stale))) * p.n_ranks
