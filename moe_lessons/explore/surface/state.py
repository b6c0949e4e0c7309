"""State of the load-loss surface: two experts, K = 1, and which pairs (f, P) tokens can produce."""

from dataclasses import dataclass

LOWEST = (0.75, 0.375)
"""Where the loss is lowest among all pairs that tokens can produce; the other one swaps the experts."""


@dataclass(frozen=True)
class Params:
    """Expert 1's share of the tokens and its mean probability; expert 2 has the rest of both."""

    f: float = 0.7
    P: float = 0.65


@dataclass(frozen=True)
class State:
    """The loss at a pair, and tokens that produce it, if there are any.

    Attributes
    ----------
    low, high : float
        The smallest and the largest P that this f allows.
    sure : (float, float) or None
        Mean probability of expert 1 among the tokens that choose it and among the others; None where no
        tokens can produce the pair.
    slope : float
        Derivative of the loss with respect to P.
    """

    params: Params
    loss: float
    low: float
    high: float
    co_sorted: bool
    sure: tuple[float, float] | None
    slope: float

    @property
    def reachable(self) -> bool:
        """Whether tokens can produce this pair."""
        return self.sure is not None


def loss(f: float, P: float) -> float:
    """E * sum of f P for two experts.

    Examples
    --------
    >>> loss(0.5, 0.9), loss(1.0, 1.0), loss(0.75, 0.375)
    (1.0, 2.0, 0.875)
    """
    return 2 * (f * P + (1 - f) * (1 - P))


def bounds(f: float) -> tuple[float, float]:
    """Smallest and largest mean probability of an expert that gets a share f of the tokens.

    At K = 1 a token goes to the expert with the larger probability. So the expert's own tokens give it 1/2 to
    1 each, the others 0 to 1/2: together f/2 + 0 at least, and f + (1 - f)/2 at most. The ends need ties and
    infinite logits; real tokens come as close to them as one likes.

    Examples
    --------
    >>> bounds(0.75)
    (0.375, 0.875)
    """
    return f / 2, (1 + f) / 2


def simulate(params: Params) -> State:
    """Compute the state; pure.

    Examples
    --------
    >>> state = simulate(Params(0.75, 0.375))
    >>> state.loss, state.sure  # three quarters undecided, one quarter sure of expert 2
    (0.875, (0.5, 0.0))
    >>> simulate(Params(0.75, 0.25)).reachable
    False
    """
    f, P = params.f, params.P
    low, high = bounds(f)
    # One of the ways to share P out: both groups equally far along their half.
    along = 2 * P - f
    possible = -1e-9 <= along <= 1 + 1e-9
    along = min(max(along, 0.0), 1.0)
    sure = ((1 + along) / 2, along / 2) if possible else None
    agree = (2 * f - 1) * (2 * P - 1) >= -1e-12
    return State(params, loss(f, P), low, high, agree, sure, 2 * (2 * f - 1))
