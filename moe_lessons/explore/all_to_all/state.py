"""All to all: 256 experts on ranks, a load by Zipf's law, a plan, and one step of tokens that meets it."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from moe_lessons.parallel.placement import Placement, plan, rank_load

EXPERTS, TOP_K, NODES, ROW_BYTES = 256, 8, 8, 7168
"""DeepSeek-V3's: experts, of which a token takes eight; a row of 7,168 numbers of one byte."""
RANKS = (8, 16, 32)
COPIES = (0, 1, 2, 3)
TOKENS = (32, 128, 512, 2048)
STEEPEST = 0.9
"""Up to here the hottest expert is in less than every token's choice, so that a draw can have its share."""
DRIFT = 0.6
"""Standard deviation of what a day adds to the logarithm of an expert's popularity."""


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


@lru_cache(maxsize=4)
def _random(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Order of popularity, drift of each expert, an order of the experts for each token, and a start."""
    generator = torch.Generator().manual_seed(seed)
    number_E = torch.randperm(EXPERTS, generator=generator)
    drift_E = torch.randn(EXPERTS, generator=generator, dtype=torch.float64)
    order_TE = torch.rand(max(TOKENS), EXPERTS, generator=generator).argsort(dim=1)
    start_T = torch.rand(max(TOKENS), 1, generator=generator, dtype=torch.float64)
    return number_E, drift_E, order_TE, start_T


def popularity(zipf: float, numbered: bool, moved: bool = False) -> Tensor:
    """Each expert's share of all rows; no expert is in more than every token's choice.

    Examples
    --------
    >>> shares_E = popularity(0.8, numbered=True)
    >>> round(float(shares_E.sum()), 6), round(float(shares_E[0] * 32), 2)
    (1.0, 2.98)
    """
    number_E, drift_E, _, _ = _random(7)
    shares_E = torch.arange(1, EXPERTS + 1, dtype=torch.float64) ** -zipf
    if moved:
        shares_E = shares_E * (DRIFT * drift_E).exp()
    shares_E = shares_E / shares_E.sum()
    for _ in range(16):  # what is cut off goes to all, and may lift another above the limit
        shares_E = shares_E.clamp(max=1 / TOP_K)
        shares_E = shares_E / shares_E.sum()
    return shares_E if numbered else shares_E[number_E]


@lru_cache(maxsize=64)
def placed(zipf: float, n_ranks: int, numbered: bool, packed: bool, copies: int) -> Placement:
    """The plan for the popularity of the day on which it was made."""
    if not packed and not copies:
        expert_S = torch.arange(EXPERTS)
        return Placement(expert_S, expert_S // (EXPERTS // n_ranks), torch.ones(EXPERTS, dtype=torch.int64))
    return plan(popularity(zipf, numbered), n_ranks, EXPERTS + copies * n_ranks)


def drawn_experts(shares_E: Tensor, tokens: int) -> Tensor:
    """Draw eight different experts for each token, expert e in a share of exactly 8 * shares_E[e] of them.

    Systematic sampling: the shares are laid out on a line of length 8, in an order of each token's own, and
    eight points one apart pick the experts on which they fall.
    """
    _, _, order_TE, start_T = _random(7)
    ends_TE = (TOP_K * shares_E)[order_TE[:tokens]].cumsum(dim=1)
    points_TK = start_T[:tokens] + torch.arange(TOP_K)
    places_TK = torch.searchsorted(ends_TE, points_TK).clamp(max=EXPERTS - 1)
    return order_TE[:tokens].gather(1, places_TK)


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
    expected_G = rank_load(found, today_E) * p.n_ranks
    ids_TK = drawn_experts(today_E, p.tokens)
    # Copies take turns: a token's number says which one it goes to.
    first_E = torch.cumsum(found.copies_E, 0) - found.copies_E
    slot_S = found.expert_of_slot.argsort(stable=True)
    turn_TK = torch.arange(p.tokens)[:, None] % found.copies_E[ids_TK]
    rank_TK = found.rank_of_slot[slot_S[first_E[ids_TK] + turn_TK]]
    drawn_G = torch.bincount(rank_TK.flatten(), minlength=p.n_ranks) * (p.n_ranks / rank_TK.numel())
    node_TK = rank_TK // (p.n_ranks // NODES)
    rows_TN = torch.zeros(p.tokens, NODES, dtype=torch.int64)
    rows_TN.scatter_add_(1, node_TK, torch.ones_like(node_TK))
    sent_TN = rows_TN.clamp(max=1) if p.once else rows_TN
    home_T = torch.arange(p.tokens) * NODES // p.tokens
    bytes_NN = torch.zeros(NODES, NODES, dtype=torch.int64).index_add_(0, home_T, sent_TN) * ROW_BYTES
    return State(
        p,
        tuple(expected_G.tolist()),
        tuple(drawn_G.tolist()),
        float(today_E.max()) * p.n_ranks,
        p.copies * p.n_ranks,
        tuple(map(tuple, bytes_NN.tolist())),
        float((rows_TN > 0).sum(dim=1).double().mean()),
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
    return float(rank_load(found, popularity(p.zipf, p.numbered, p.stale)).max()) * p.n_ranks
