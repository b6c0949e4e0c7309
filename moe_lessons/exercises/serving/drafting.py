"""What a draft brings and what its check reads, by counting."""

from dataclasses import dataclass


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
