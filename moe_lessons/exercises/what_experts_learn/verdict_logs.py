"""Routing logs for 12.what_is_it: each tells some rule that is nearly the card's from the card's own."""

from functools import lru_cache

import numpy as np
import torch

from moe_lessons.exercises.what_experts_learn.bits import beyond, miller, miller_beyond, shared

Tensor = torch.Tensor
Array = np.ndarray
Measures = dict[str, float]

NEWS, LEARNED = 0.1, 0.2
E, DOMAINS = 8, 3

SMALL, WIDE = (768, 12, 8), (1152, 24, 8)
"""Tokens, kinds of token and positions."""
SIZES = {
    "nothing": (384, 12, 8),
    "forgotten": (1008, 12, 8),
    "untrained, nearly": WIDE,
    "token, not by much": WIDE,
}
"""`"nothing"` has so few tokens that chance alone is above `NEWS` for each of the labels."""

BOUNDS = {
    "nothing": {
        "domain": (0.02, 0.075),
        "domain by shuffles": (-9.0, 0.04),
        "position": (0.03, 0.06),
        "token": (-0.03, 0.04),
    },
    "forgotten": {"domain": (0.012, 0.03), "token": (-0.02, 0.02), "before": (0.3, 9.0)},
    "untrained": {"token": (0.178, 0.19), "before": (0.122, 0.145), "learned": (0.035, 0.065)},
    "untrained, nearly": {"learned": (0.14, 0.16)},
    "untrained, more of it before": {"learned": (-0.9, -0.25)},
    "token, not by much": {"learned": (0.24, 0.262), "before": (0.13, 9.0)},
    "token that betrays the domain": {"domain of all": (0.2, 9.0), "learned": (0.3, 9.0)},
    "token that betrays the position": {"position": (0.2, 9.0), "learned": (0.3, 9.0)},
    "domain and position": {
        "position": (0.15, 9.0),
        "token": (0.15, 9.0),
        "domain": (0.15, 9.0),
        "domain less token": (0.13, 9.0),
    },
    "domain, as untrained": {
        "domain": (0.2, 9.0),
        "domain since": (-9.0, 0.05),
        "domain less token": (-9.0, 0.05),
    },
    "position, as untrained": {"position": (0.126, 0.134), "position since": (-9.0, 0.06)},
    "domain, not by much": {
        "domain": (0.155, 0.172),
        "domain since": (0.125, 9.0),
        "learned": (-0.18, 0.1),
    },
}
"""Within which bounds a log's measures must be, in bits above chance."""
GAPS = {"domain": 0.02, "domain by shuffles": 0.035, "position": 0.025, "token": 0.03, "before": 0.02}
"""How far each measure is from `NEWS` in every log: several times what five shuffles scatter."""
GAP = 0.035
"""And how far what was learned is from `LEARNED`."""


def log(kind: str, rng: np.random.Generator) -> dict[str, Array]:
    """Draw a routing log until its verdict is sure, and its measures are what the kind is there for."""
    while True:
        drawn = _drawn(kind, rng)
        tensors = [torch.from_numpy(label) for label in drawn.values()]
        found = measures(*tensors)
        if not _within(kind, found) or abs(found["learned"] - LEARNED) < GAP:
            continue
        found = found | _more(*tensors)
        if _within(kind, found) and all(abs(found[name] - NEWS) >= gap for name, gap in GAPS.items()):
            return drawn


def measures(*labels: Tensor) -> Measures:
    """Bits above chance, by Miller's term: what the card's rule looks at.

    The labels are those of the exercise, in its order; a log's measures are computed once for all rules.
    """
    return dict(_measured(tuple(label.numpy().tobytes() for label in labels)))


@lru_cache(maxsize=128)
def _measured(log: tuple[bytes, ...]) -> tuple[tuple[str, float], ...]:
    trained, untrained, tokens, domains, positions = (
        torch.from_numpy(np.frombuffer(label, np.int64).copy()) for label in log
    )
    token, before = above(trained, tokens), above(untrained, tokens)
    return (
        ("domain", above_beyond(trained, domains, tokens)),
        ("position", above(trained, positions)),
        ("token", token),
        ("before", before),
        ("learned", token - before),
    )


def above(experts: Tensor, label: Tensor) -> float:
    """Mutual information above chance, by Miller's term."""
    return shared(experts, label) - miller(experts, label)


def above_beyond(experts: Tensor, label: Tensor, given: Tensor) -> float:
    """The same for someone who knows a third label."""
    return beyond(experts, label, given) - miller_beyond(experts, label, given)


def _more(trained: Tensor, untrained: Tensor, tokens: Tensor, domains: Tensor, positions: Tensor) -> Measures:
    """What only the drawing looks at: among it the domain by the other correction that the card names."""
    domain = above_beyond(trained, domains, tokens)
    shuffled = [beyond(trained, moved, tokens) for moved in _within_tokens(domains, tokens)]
    return {
        "domain by shuffles": beyond(trained, domains, tokens) - sum(shuffled) / len(shuffled),
        "domain of all": above(trained, domains),
        "domain less token": above(trained, domains) - above(trained, tokens),
        "domain since": domain - above_beyond(untrained, domains, tokens),
        "position since": above(trained, positions) - above(untrained, positions),
    }


def _within_tokens(domains: Tensor, tokens: Tensor, times: int = 10) -> list[Tensor]:
    """Domains shuffled among tokens of the same kind; the same shuffles for the same sizes."""
    draws = np.random.default_rng(0)
    sorted_N, t_N = np.argsort(tokens.numpy(), kind="stable"), tokens.numpy()
    moved = []
    for _ in range(times):
        order_N = draws.permutation(len(t_N))
        moved_N = np.empty_like(t_N)
        moved_N[sorted_N] = domains.numpy()[order_N[np.argsort(t_N[order_N], kind="stable")]]
        moved.append(torch.from_numpy(moved_N))
    return moved


def _within(kind: str, found: Measures) -> bool:
    """Whether those measures that are known yet are within the kind's bounds."""
    return all(least <= found.get(name, least) <= most for name, (least, most) in BOUNDS[kind].items())


def _drawn(kind: str, rng: np.random.Generator) -> dict[str, Array]:
    n, kinds, length = SIZES.get(kind, SMALL)
    positions_N, domains_N = np.arange(n) % length, np.repeat(np.arange(DOMAINS), n // DOMAINS)
    tokens_N = _tokens(kind, rng, positions_N, kinds)

    def by(label_N: Array, names: int) -> Array:
        """An expert for each name, drawn anew."""
        return rng.permutation(np.arange(names) % E)[label_N]

    def follows(share: float, label_N: Array, otherwise_N: Array) -> Array:
        return np.where(rng.permutation(n) < share * n, label_N, otherwise_N)

    def by_token(share: float) -> Array:
        return follows(share, by(tokens_N, kinds), rng.integers(0, E, n))

    def by_domain(share: float, otherwise_N: Array) -> Array:
        return follows(share, by(domains_N, E), otherwise_N)

    def by_position(share: float, otherwise_N: Array) -> Array:
        return follows(share, by(positions_N, length), otherwise_N)

    untrained_N = by_token(UNTRAINED.get(kind, 0.45))
    if kind == "nothing":
        trained_N = by_position(0.09, rng.integers(0, E, n))
    elif kind == "domain and position":
        trained_N = by_domain(0.46, by_position(0.48, by_token(0.9)))
    elif kind == "domain, as untrained":
        untrained_N, trained_N = by_domain(0.4, by_token(0.7)), by_domain(0.4, by_token(0.7))
    elif kind == "position, as untrained":
        untrained_N, trained_N = by_position(0.177, by_token(0.4)), by_position(0.177, by_token(0.4))
    elif kind == "domain, not by much":
        trained_N = by_domain(0.277, untrained_N)
    else:
        trained_N = by_token(TRAINED.get(kind, 0.8))
    mixed = rng.permutation(n)
    labels = (trained_N, untrained_N, tokens_N, domains_N, positions_N)
    names = ("trained_N", "untrained_N", "tokens_N", "domains_N", "positions_N")
    return {name: label[mixed] for name, label in zip(names, labels, strict=True)}


UNTRAINED = {
    "nothing": 0.0,
    "untrained": 0.185,
    "untrained, nearly": 0.3,
    "untrained, more of it before": 0.55,
    "token, not by much": 0.22,
}
TRAINED = {
    "forgotten": 0.05,
    "untrained": 0.22,
    "untrained, nearly": 0.3685,
    "untrained, more of it before": 0.35,
    "token, not by much": 0.36,
}
"""The share of tokens that go where their kind belongs, before training and after it."""


def _tokens(kind: str, rng: np.random.Generator, positions_N: Array, kinds: int) -> Array:
    """As a rule every domain has the same tokens; some have their own, or share them with one other."""
    n = len(positions_N)
    if kind == "token that betrays the position":
        return np.where(rng.random(n) < 0.7, positions_N, rng.integers(0, kinds, n))
    often_DV = np.tile(rng.permutation(np.linspace(0.5, 1.5, kinds)), (DOMAINS, 1))
    owner_V = rng.permutation(np.arange(kinds) % DOMAINS)
    own_DV = owner_V == np.arange(DOMAINS)[:, None]
    if kind == "token that betrays the domain":
        often_DV = often_DV * own_DV
    if kind == "domain, not by much":  # each third of the tokens is missing in one domain
        often_DV = often_DV * ~own_DV
    often_DV = often_DV / often_DV.sum(axis=1, keepdims=True)
    return np.concatenate([rng.choice(kinds, n // DOMAINS, p=row) for row in often_DV])
