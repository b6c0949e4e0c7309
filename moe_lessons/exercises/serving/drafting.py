"""What a draft brings and what its check reads, by counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moe_lessons.exercises.spec import Case

NAMES = ("n_experts", "top_k", "batch", "gamma", "acceptance", "shared_bytes", "expert_bytes")


@dataclass(frozen=True)
class Setting:
    """The arguments of one call, and what follows from them.

    Examples
    --------
    >>> Setting(8, 2, 1, 0, 0.5, 1.0, 1.0).experts(2)
    3.5
    """

    n_experts: int
    top_k: int
    batch: int
    gamma: int
    acceptance: float
    shared_bytes: float
    expert_bytes: float

    def experts(self, n_tokens: float) -> float:
        """Experts that this many independent tokens touch."""
        return self.n_experts * (1 - (1 - self.top_k / self.n_experts) ** n_tokens)

    def read(self, n_tokens: float) -> float:
        """Bytes of a step with this many tokens."""
        return self.shared_bytes + self.expert_bytes * self.experts(n_tokens)

    def one_by_one(self, n_tokens: float) -> float:
        """Bytes of a step if a token could choose the same expert twice."""
        missed = (1 - 1 / self.n_experts) ** (self.top_k * n_tokens)
        return self.shared_bytes + self.expert_bytes * self.n_experts * (1 - missed)

    @property
    def checked(self) -> int:
        """Tokens that a check passes: the last one of each user's text, and the draft."""
        return self.batch * (self.gamma + 1)

    @property
    def tokens(self) -> float:
        """Tokens that a check brings one user."""
        return sum(self.acceptance**i for i in range(self.gamma + 1))

    @property
    def paid(self) -> float:
        """Bytes of a check over those of a step without a draft."""
        return self.read(self.checked) / self.read(self.batch)

    def by_chance(self, whole: float) -> float:
        """Tokens by how many are kept; that all are has the chance acceptance^gamma times ``whole``."""
        a, g = self.acceptance, self.gamma
        return sum((n + 1) * a**n * (1 - a) for n in range(g)) + (g + 1) * a**g * whole


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Few large experts and many small ones, small batches and larger ones; no draft, a perfect draft."""
    cases = []
    for n_experts, top_k, batches, gamma in (
        (8, 2, (2, 4), 3),
        (64, 6, (3, 9), 2),
        (128, 8, (2, 4), 4),
        (16, 3, (4, 7), 5),
    ):
        acceptance = round(float(rng.uniform(0.5, 0.9)), 3)
        shared, expert = float(rng.integers(11, 40)), float(rng.integers(2, 7))
        cases.append(_case(n_experts, top_k, int(rng.integers(*batches)), gamma, acceptance, shared, expert))
    batch = int(rng.integers(3, 6))
    return [
        *cases,
        _case(32, 4, batch, 0, 0.7, 10.0, 1.0, edge=True),
        _case(8, 2, batch, 3, 1.0, 4.0, 2.0, edge=True),
        _case(4, 4, batch, 3, 0.6, 5.0, 3.0, edge=True),
    ]


def _case(*values: Any, edge: bool = False) -> Case:
    args = dict(zip(NAMES, values, strict=True))
    said = ("E", "K", "batch", "gamma", "acceptance")
    name = ", ".join(f"{short}={value}" for short, value in zip(said, values, strict=False))
    return Case(name, args, edge=edge)
