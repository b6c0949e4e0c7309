"""State of the dispatch permutation: eight tokens, their slots, the sorted rows, and the way back."""

from dataclasses import dataclass

STAGES = ("tokens", "flatten", "sort", "offsets", "products", "inverse", "combine")
"""What the scrubber walks through, in order."""

N_EXPERTS = 4
ROUTINGS: dict[str, tuple[tuple[int, ...], ...]] = {
    "mixed": ((2, 0), (0, 3), (3, 2), (0, 2), (2, 3), (3, 0), (0, 2), (2, 0)),
    "even": ((0, 1), (2, 3), (1, 0), (3, 2), (0, 3), (1, 2), (3, 1), (2, 0)),
    "skewed": ((2, 0), (2, 1), (0, 2), (2, 3), (2, 0), (1, 2), (2, 3), (2, 1)),
}
"""Expert ids of each token, best first. In "mixed", nobody asks for expert 1."""


@dataclass(frozen=True)
class Params:
    """How far the rows have come, the token to follow, and who asked for whom."""

    stage: int = 1
    token: int = 5
    routing: str = "mixed"


@dataclass(frozen=True)
class State:
    """The plan and what of it is on the page.

    Attributes
    ----------
    ids : tuple of tuple of int
        Expert ids, [T][K].
    row_ids, inverse : tuple of int
        The slot at each position, and the position of each slot.
    ends : tuple of int
        The first position that no longer belongs to each expert.
    """

    params: Params
    ids: tuple[tuple[int, ...], ...]
    row_ids: tuple[int, ...]
    inverse: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def top_k(self) -> int:
        """K."""
        return len(self.ids[0])

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of the followed token."""
        first = self.params.token * self.top_k
        return tuple(range(first, first + self.top_k))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first position of each expert."""
        return (0, *self.ends[:-1])

    def expert(self, slot: int) -> int:
        """The expert that a slot asks for."""
        return self.ids[slot // self.top_k][slot % self.top_k]


def simulate(params: Params) -> State:
    """Compute the plan; pure.

    Examples
    --------
    >>> state = simulate(Params(token=5))
    >>> state.slots, [state.inverse[s] for s in state.slots]  # token 5 asks for experts 3 and 0
    ((10, 11), [15, 3])
    >>> state.ends  # nobody asks for expert 1
    (6, 6, 12, 16)
    """
    ids = ROUTINGS[params.routing]
    flat = [e for row in ids for e in row]
    row_ids = sorted(range(len(flat)), key=flat.__getitem__)  # Python's sort is stable
    inverse = [0] * len(flat)
    for position, slot in enumerate(row_ids):
        inverse[slot] = position
    ends = [sum(e <= expert for e in flat) for expert in range(N_EXPERTS)]
    return State(params, ids, tuple(row_ids), tuple(inverse), tuple(ends))
