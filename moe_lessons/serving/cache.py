"""A cache of experts: few fit into fast memory, so which one makes room for the next?"""

import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

POLICIES = ("lru", "lfu", "fifo", "belady", "fixed")
NEVER = math.inf


class ExpertCache:
    """What is in fast memory, and the rule that says what leaves it.

    Parameters
    ----------
    capacity : int
        Room for so many experts; or bytes, where `size` gives them.
    policy : str
        Of `POLICIES`: what was used longest ago goes ("lru"), what was used least often ("lfu"), what came
        first ("fifo"), what is next needed latest ("belady", which must know the future), or nothing:
        `contents` stay and all else is used once and not kept ("fixed").
    contents : iterable
        What is there at the beginning.
    size : callable
        What an expert takes of the capacity; 1 by default.
    future : iterable of sequences, optional
        Everything that will be asked for, in order; "belady" needs it.

    Attributes
    ----------
    hits, misses : int
    loaded : int
        What all misses took together, in units of the capacity.

    Raises
    ------
    ValueError
        If the policy is unknown, or the contents do not fit.

    References
    ----------
    Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5 (1966),
    doi:10.1147/sj.52.0078; for experts: Eliseev and Mazur, arXiv:2312.17238, section 3.1 (LRU).

    Examples
    --------
    >>> cache = ExpertCache(2)
    >>> [cache.need(keys) for keys in (["a", "b"], ["a"], ["c"], ["b"])]
    [0, 1, 0, 0]
    >>> sorted(cache.contents)  # c evicted b, which had not been used for longest, and b evicted a
    ['b', 'c']
    """

    def __init__(
        self,
        capacity: int,
        policy: str = "lru",
        *,
        contents: Iterable[Hashable] = (),
        size: Callable[[Hashable], int] | None = None,
        future: Iterable[Sequence[Hashable]] | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: choose one of {', '.join(POLICIES)}")
        if policy == "belady" and future is None:
            raise ValueError("policy='belady' needs the future: give what will be asked for, in order")
        self.capacity, self.policy = capacity, policy
        self.size = size or (lambda key: 1)
        self.contents = dict.fromkeys(contents, 0)  # key -> when it came
        self.taken = sum(map(self.size, self.contents))
        if self.taken > capacity:
            raise ValueError(f"contents take {self.taken}: the capacity is {capacity}")
        self.hits = self.misses = self.loaded = 0
        self._clock = 0
        self._last: dict[Hashable, int] = {}
        self._count: Counter[Hashable] = Counter()
        self._uses: dict[Hashable, deque[int]] = {}
        self._row = 0
        for row, keys in enumerate(future or ()):
            for key in keys:
                self._uses.setdefault(key, deque()).append(row)

    def need(
        self,
        keys: Sequence[Hashable],
        load: Callable[[Hashable], object] | None = None,
        drop: Callable[[Hashable], object] | None = None,
    ) -> int:
        """Ask for experts that are needed together, in this order; none of them evicts another.

        Parameters
        ----------
        keys : sequence
        load, drop : callable, optional
            Called for what is loaded, and for what is evicted, before the load that it makes room for.

        Returns
        -------
        int
            How many were there.

        Raises
        ------
        ValueError
            If they do not fit together.
        """
        together = set(keys)
        if self.policy != "fixed" and (taken := sum(map(self.size, together))) > self.capacity:
            raise ValueError(f"capacity={self.capacity}: what is needed together takes {taken}")
        hits = 0
        for key in keys:
            self._clock += 1
            if key in self.contents:
                hits += 1
            else:
                self.loaded += self.size(key)
                if self.policy != "fixed":
                    self._make_room(self.size(key), together, drop)
                    self.contents[key] = self._clock
                    self.taken += self.size(key)
                if load is not None:
                    load(key)
            self._last[key] = self._clock
            self._count[key] += 1
        self.hits += hits
        self.misses += len(keys) - hits
        self._row += 1
        return hits

    def _make_room(
        self, wanted: int, together: set[Hashable], drop: Callable[[Hashable], object] | None
    ) -> None:
        while self.taken + wanted > self.capacity:
            out = min((key for key in self.contents if key not in together), key=self._worth)
            del self.contents[out]
            self.taken -= self.size(out)
            if drop is not None:
                drop(out)

    def _worth(self, key: Hashable) -> tuple[float, ...]:
        """What is worth least goes first."""
        if self.policy == "fifo":
            return (self.contents[key],)
        last = self._last.get(key, -1)
        if self.policy == "lfu":
            return self._count[key], last
        if self.policy == "belady":
            uses = self._uses.get(key, deque())
            while uses and uses[0] <= self._row:
                uses.popleft()
            return -uses[0] if uses else -NEVER, last
        return (last,)


class CacheRun(NamedTuple):
    """What a cache did with a trace.

    Attributes
    ----------
    hits_N : Tensor of shape (N,), int64
        Of each token, 0 to K.
    contents : frozenset of int
        At the end.
    hit_rate : float
        Hits over all choices.
    """

    hits_N: Tensor
    contents: frozenset[int]
    hit_rate: float


def simulate_cache(
    ids_NK: Tensor, capacity: int, policy: str = "lru", contents: Iterable[int] = ()
) -> CacheRun:
    """Play a trace of choices through a cache of one layer's experts.

    A token needs its K experts together; they are asked for in the order of k, and none of them evicts
    another. Every miss is loaded, except with "fixed", which keeps its contents.

    Parameters
    ----------
    ids_NK : Tensor of shape (N, K), int64
    capacity : int
        Experts that fit.
    policy : str
        Of `POLICIES`; see `ExpertCache`.
    contents : iterable of int
        What is there at the beginning; `moe_lessons.serving.popular` names the most popular.

    Returns
    -------
    CacheRun

    Raises
    ------
    ValueError
        If fewer than K fit, or more are in it than fit.

    Examples
    --------
    >>> run = simulate_cache(torch.tensor([[0, 1], [2, 1], [0, 2]]), capacity=2)
    >>> run.hits_N, sorted(run.contents)  # token 1 finds expert 1, token 2 expert 2
    (tensor([0, 1, 1]), [0, 2])
    """
    K = ids_NK.shape[1] if ids_NK.dim() == 2 else 0
    if K == 0 or ids_NK.is_floating_point():
        raise ValueError(f"ids_NK has shape {tuple(ids_NK.shape)}: give whole numbers (N, K), K at least 1")
    if capacity < K:
        raise ValueError(
            f"capacity={capacity} with top_k={K}: a token needs its experts together; choose {K} or more"
        )
    rows = ids_NK.tolist()
    cache = ExpertCache(capacity, policy, contents=contents, future=rows if policy == "belady" else None)
    hits_N = torch.tensor([cache.need(row) for row in rows], dtype=torch.int64)
    kept = frozenset(int(key) for key in cache.contents)  # type: ignore[call-overload]
    return CacheRun(hits_N, kept, cache.hits / max(1, ids_NK.numel()))
