"""Slots sorted by expert: the plan that every picture of sorted rows begins with."""

from dataclasses import dataclass

N_EXPERTS = 4
Routing = tuple[tuple[int, ...], ...]
"""Expert ids of each token, best first."""


@dataclass(frozen=True)
class Plan:
    """Who asks for whom, the slots sorted by expert, and the token to follow.

    Attributes
    ----------
    ids : tuple of tuple of int
        Expert ids, [T][K].
    row_ids, inverse : tuple of int
        The slot at each position, and the position of each slot.
    ends : tuple of int
        The first position that no longer belongs to each expert.
    token : int
        The token to follow.
    """

    ids: Routing
    row_ids: tuple[int, ...]
    inverse: tuple[int, ...]
    ends: tuple[int, ...]
    token: int

    @property
    def top_k(self) -> int:
        """K."""
        return len(self.ids[0])

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of the followed token."""
        return self.slots_of(self.token)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first position of each expert."""
        return (0, *self.ends[:-1])

    def slots_of(self, token: int) -> tuple[int, ...]:
        """The slots of a token, one per choice."""
        return tuple(range(token * self.top_k, (token + 1) * self.top_k))

    def expert(self, slot: int) -> int:
        """The expert that a slot asks for."""
        return self.ids[slot // self.top_k][slot % self.top_k]


def plan(ids: Routing, token: int) -> Plan:
    """Sort the slots by expert, keeping their order within each; pure.

    Parameters
    ----------
    ids : tuple of tuple of int
        Expert ids, [T][K], each below `N_EXPERTS`.
    token : int
        The token to follow.

    Examples
    --------
    >>> plan(((2, 0), (0, 3)), token=1)
    Plan(ids=((2, 0), (0, 3)), row_ids=(1, 2, 0, 3), inverse=(2, 0, 1, 3), ends=(2, 2, 3, 4), token=1)
    """
    flat = [e for row in ids for e in row]
    row_ids = sorted(range(len(flat)), key=flat.__getitem__)  # Python's sort is stable
    inverse = [0] * len(flat)
    for position, slot in enumerate(row_ids):
        inverse[slot] = position
    ends = [sum(e <= expert for e in flat) for expert in range(N_EXPERTS)]
    return Plan(ids, tuple(row_ids), tuple(inverse), tuple(ends), token)
