"""A cache of one layer's experts, replayed on a trace, with a place for each mistake that one can make."""

from collections import deque
from collections.abc import Callable, Sequence

import torch

Tensor = torch.Tensor
Replayed = tuple[Tensor, Tensor]
Victim = Callable[["Cache", Sequence[int]], int]


class Cache:
    """Which experts are inside, when each was loaded and last used, and how often it was asked for.

    Examples
    --------
    >>> cache = Cache()
    >>> cache.load(3)
    >>> 3 in cache.loaded, cache.used[3]
    (True, 1)
    """

    def __init__(self) -> None:
        self.clock = 0
        self.loaded: dict[int, int] = {}
        self.used: dict[int, int] = {}
        self.asked: dict[int, int] = {}
        self.inside: set[int] = set()  # as `loaded`, in the order in which a set has them

    def load(self, expert: int) -> None:
        """Put an expert inside, as the one used last."""
        self.clock += 1
        self.loaded[expert] = self.used[expert] = self.clock
        self.inside.add(expert)

    def touch(self, expert: int) -> None:
        """Make an expert the one used last."""
        self.clock += 1
        self.used[expert] = self.clock


def longest_ago(cache: Cache, candidates: Sequence[int]) -> int:
    """The one used longest ago."""
    return min(candidates, key=cache.used.__getitem__)


def first_in(cache: Cache, candidates: Sequence[int]) -> int:
    """The one loaded longest ago, used since or not."""
    return min(candidates, key=cache.loaded.__getitem__)


def last_used(cache: Cache, candidates: Sequence[int]) -> int:
    """The one used last."""
    return max(candidates, key=cache.used.__getitem__)


def least_often(cache: Cache, candidates: Sequence[int]) -> int:
    """The one asked for least often so far, in or out; the older use among equals."""
    return min(candidates, key=lambda e: (cache.asked.get(e, 0), cache.used[e]))


def rarest(cache: Cache, candidates: Sequence[int]) -> int:
    """The one asked for least often; the first by load among equals."""
    return min(candidates, key=lambda e: cache.asked.get(e, 0))


def rarest_by_number(cache: Cache, candidates: Sequence[int]) -> int:
    """The one asked for least often; the lowest number among equals."""
    return rarest(cache, sorted(candidates))


def rarest_of_a_set(cache: Cache, candidates: Sequence[int]) -> int:
    """The one asked for least often; whichever a set has first among equals."""
    return rarest(cache, [e for e in cache.inside if e in candidates])


RAREST = (rarest, rarest_by_number, rarest_of_a_set)


def replay(
    ids_NK: Tensor,
    capacity: int,
    n_experts: int,
    victim: Victim = longest_ago,
    *,
    protect: bool = True,
    touch: bool = True,
    hits_first: bool = False,
    one_time: bool = False,
    misses_count: bool = True,
    loads_are_uses: bool = True,
    forget: bool = False,
    warm: Sequence[int] = (),
) -> Replayed:
    """Serve a trace; returns hits [N] and what is inside at the end [E].

    Parameters
    ----------
    ids_NK : tensor of shape (N, K)
        Experts of each token, in the order in which they are used.
    capacity, n_experts : int
        Places, and experts that there are.
    victim : callable
        Picks who leaves, among the candidates.
    protect, touch, hits_first, one_time, misses_count, loads_are_uses, forget, warm
        What mistakes change: experts that the token needs may leave; a hit refreshes nothing; hits are
        served before misses; all of a token's experts have one time; frequencies count hits alone; a load
        is no use; an evicted expert's frequency is forgotten; what is inside at the start.

    Examples
    --------
    >>> hits_N, inside_E = replay(torch.tensor([[0, 1], [1, 2], [0, 2]]), 2, 4)
    >>> hits_N.tolist(), inside_E.tolist()
    ([0, 1, 1], [True, False, True, False])
    """
    cache = Cache()
    for expert in warm:
        cache.load(expert)
    hits = []
    for row in ids_NK.tolist():
        hit = [e for e in row if e in cache.loaded]
        order = [*hit, *(e for e in row if e not in hit)] if hits_first else row
        found = 0
        start = cache.clock
        for expert in order:
            if misses_count or expert in cache.loaded:
                cache.asked[expert] = cache.asked.get(expert, 0) + 1
            if expert in cache.loaded:
                found += 1
                if touch:
                    cache.touch(expert)
            else:
                if len(cache.loaded) >= capacity:
                    free = [e for e in cache.loaded if not protect or e not in row]
                    out = victim(cache, free or list(cache.loaded))
                    del cache.loaded[out]
                    cache.inside.remove(out)
                    if forget:
                        cache.asked[out] = 0
                before = cache.used.get(expert, 0)
                cache.load(expert)
                if not loads_are_uses:
                    cache.used[expert] = before
            if one_time:
                cache.clock = start
                cache.used[expert] = start + 1
        if one_time:
            cache.clock = start + 1
        hits.append(found)
    return torch.tensor(hits), mask(cache.loaded, n_experts)


def mask(experts: Sequence[int] | dict[int, int], n_experts: int) -> Tensor:
    """True for each of these experts.

    Examples
    --------
    >>> mask([2], 3).tolist()
    [False, False, True]
    """
    inside_E = torch.zeros(n_experts, dtype=torch.bool)
    inside_E[list(experts)] = True
    return inside_E


def most_popular(ids_NK: Tensor, capacity: int, n_experts: int) -> Replayed:
    """A set that never changes: the experts that the whole trace asks for most often.

    Examples
    --------
    >>> most_popular(torch.tensor([[0, 2], [2, 1], [1, 2]]), 2, 3)[0].tolist()
    [1, 2, 2]
    """
    best = torch.bincount(ids_NK.flatten(), minlength=n_experts).topk(capacity).indices
    return torch.isin(ids_NK, best).sum(dim=1), mask(best.tolist(), n_experts)


def in_common(ids_NK: Tensor) -> Tensor:
    """Experts that a token has in common with the one before it; none for the first.

    Examples
    --------
    >>> in_common(torch.tensor([[0, 2], [2, 1]])).tolist()
    [0, 1]
    """
    alike_N = (ids_NK[1:, :, None] == ids_NK[:-1, None, :]).sum(dim=(1, 2))
    return torch.cat([torch.zeros_like(alike_N[:1]), alike_N])


def last_uses(ids_NK: Tensor, capacity: int, n_experts: int, at_once: bool = False) -> Replayed:
    """The last so many *uses*, an expert twice if it was used twice; a token looks once, or use by use.

    Examples
    --------
    >>> last_uses(torch.tensor([[0], [0], [1], [0]]), 2, 2)[0].tolist()
    [0, 1, 0, 1]
    """
    uses: deque[int] = deque(maxlen=capacity)
    hits = []
    for row in ids_NK.tolist():
        found = sum(expert in uses for expert in row) if at_once else 0
        for expert in row:
            found += not at_once and expert in uses
            uses.append(expert)
        hits.append(found)
    return torch.tensor(hits), mask(list(uses), n_experts)
