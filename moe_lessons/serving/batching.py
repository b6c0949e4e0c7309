"""Many users at once: a simulated queue, and three ways to put requests into a limited number of slots."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch

MODES = ("static", "continuous", "chunked")
CHUNK = 256  # tokens of a step, at most, where prompts are cut
SHORTEST_PROMPT, SHORTEST_REPLY = 8, 4


class Request(NamedTuple):
    """Someone wants `reply` tokens after `prompt` tokens, from `arrival_s` on."""

    arrival_s: float
    prompt: int
    reply: int


class Timed(Protocol):
    """What says how long a step takes: `moe_lessons.serving.Server`, or another."""

    def step_s(self, tokens: int, cached: float = 0) -> float:
        """Seconds of a step over `tokens` tokens, with `cached` in the cache."""


def requests(n: int, per_second: float, seed: int = 0) -> list[Request]:
    """Draw requests: Poisson arrivals, prompts and replies of log-normal length.

    Prompts have a median of e^5.5 = 245 tokens, replies one of e^4.6 = 99; the standard deviations of the
    logarithms are 0.7 and 0.8. Made up, and longer and shorter ones occur as they do among people.

    Examples
    --------
    >>> len(requests(5, per_second=2)), requests(5, 2) == requests(5, 2)
    (5, True)
    """
    if n < 0 or not per_second > 0:
        raise ValueError(f"n={n}, per_second={per_second}: choose 0 or more, and more than 0")
    generator = torch.Generator().manual_seed(seed)
    drawn, now = [], 0.0
    for _ in range(n):
        now += float(-torch.rand(1, generator=generator).log()) / per_second
        prompt, reply = (
            float(torch.randn(1, generator=generator).mul(spread).add(middle).exp())
            for middle, spread in ((5.5, 0.7), (4.6, 0.8))
        )
        drawn.append(Request(now, max(SHORTEST_PROMPT, int(prompt)), max(SHORTEST_REPLY, int(reply))))
    return drawn


@dataclass
class _Active:
    request: Request
    number: int
    read: int = 0  # tokens of the prompt
    written: int = 0
    times_s: list[float] = field(default_factory=list)  # when each token came

    @property
    def reading(self) -> bool:
        return self.read < self.request.prompt

    @property
    def done(self) -> bool:
        return self.written >= self.request.reply


class Served(NamedTuple):
    """How a simulated server did.

    Attributes
    ----------
    tokens_per_s : float
        Written tokens over the time from the start to the last.
    first_s : list of float
        From each request's arrival to its first token.
    gaps_s : list of float
        Between one token of a request and the next.
    finished_s : list of float
        When each request's last token came, in the order of the requests.
    most_at_once : int
        Requests in slots.
    """

    tokens_per_s: float
    first_s: list[float]
    gaps_s: list[float]
    finished_s: list[float]
    most_at_once: int

    @staticmethod
    def quantile(values: Sequence[float], share: float) -> float:
        """Return the value below which this share of them lies.

        Examples
        --------
        >>> Served.quantile([3.0, 1.0, 2.0, 4.0], 0.5)
        3.0
        """
        return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def simulate(wanted: Sequence[Request], server: Timed, slots: int, mode: str, chunk: int = CHUNK) -> Served:
    """Serve requests, first come first served, and say how long everybody waited.

    "static" fills the slots and waits until all are done. "continuous" gives a slot to the next request as
    soon as it is free. In both a step reads a whole prompt (static: all of them), and nobody writes
    meanwhile. "chunked" is continuous, and each step takes up to `chunk` tokens: one of each writer, and
    pieces of prompts in what is left.

    Parameters
    ----------
    wanted : sequence of Request
        In order of arrival.
    server : Server
    slots : int
    mode : str
        Of `MODES`.
    chunk : int
        More than `slots`, so that prompts get on.

    Returns
    -------
    Served

    Raises
    ------
    ValueError
        If there is no request, no slot, or an unknown mode, or a chunk has no room beside the writers.

    References
    ----------
    Yu et al., "Orca", OSDI 2022 (continuous); Agrawal et al., "Sarathi-Serve", arXiv:2403.02310 (chunked).

    Examples
    --------
    >>> class Second:
    ...     def step_s(self, tokens, cached=0):
    ...         return 1.0
    >>> three = [Request(0, 4, 2), Request(0, 4, 5), Request(0, 4, 1)]
    >>> simulate(three, Second(), 2, "static").finished_s
    [2.0, 5.0, 6.0]
    >>> simulate(three, Second(), 2, "continuous").finished_s  # the second prompt is read after the first
    [3.0, 7.0, 4.0]
    """
    if not wanted or slots < 1 or mode not in MODES:
        raise ValueError(
            f"{len(wanted)} requests, slots={slots}, mode={mode!r}: give one at least of each, and one of "
            f"{', '.join(MODES)}"
        )
    if mode == "chunked" and chunk <= slots:
        raise ValueError(f"chunk={chunk}: choose more than slots={slots}, or prompts never get on")
    waiting = [_Active(request, number) for number, request in enumerate(wanted)]
    active: list[_Active] = []
    finished: list[_Active] = []
    now, most = 0.0, 0
    while waiting or active:
        if not active:
            now = max(now, waiting[0].request.arrival_s)
        if mode != "static" or not active:
            while waiting and len(active) < slots and waiting[0].request.arrival_s <= now:
                active.append(waiting.pop(0))
        most = max(most, len(active))
        writers, readers = _turn(active, mode, chunk)
        tokens = len(writers) + sum(n for _, n in readers)
        cached = sum(a.request.prompt + a.written for a in writers) + sum(a.read + n for a, n in readers)
        now += server.step_s(tokens, cached)
        for reader, n in readers:
            reader.read += n
        for writer in [*writers, *(a for a, _ in readers if not a.reading)]:
            writer.written += 1
            writer.times_s.append(now)
        if mode != "static" or all(a.done for a in active):
            finished += [a for a in active if a.done]
            active = [a for a in active if not a.done]
    finished.sort(key=lambda a: a.number)
    times = [a.times_s for a in finished]
    return Served(
        tokens_per_s=sum(map(len, times)) / now,
        first_s=[a.times_s[0] - a.request.arrival_s for a in finished],
        gaps_s=[later - sooner for own in times for sooner, later in pairwise(own)],
        finished_s=[own[-1] for own in times],
        most_at_once=most,
    )


def _turn(active: list[_Active], mode: str, chunk: int) -> tuple[list[_Active], list[tuple[_Active, int]]]:
    """Who writes a token in this step, and who reads how much of a prompt."""
    writers = [a for a in active if not a.reading and not a.done]
    readers = [a for a in active if a.reading]
    if mode != "chunked" and readers:  # prompts alone
        whole = readers if mode == "static" else readers[:1]
        return [], [(a, a.request.prompt - a.read) for a in whole]
    room, pieces = chunk - len(writers), []
    for reader in readers:
        piece = min(reader.request.prompt - reader.read, room)
        if piece > 0:
            pieces.append((reader, piece))
            room -= piece
    return writers, pieces
