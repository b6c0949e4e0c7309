"""Scaling laws of sparsity: what more experts for the same work per token are worth, by three groups.

Clark et al. and Tian et al. (Ling) fitted formulas; the report on Kimi K2 gives three numbers. They disagree
on whether the gain grows with the budget. Decimal logarithms where a paper gives powers of ten.
"""

import math

from moe_lessons.accounting.laws import Law

LING = Law(
    "arXiv 2507.17702, section 4.1 and table 2",
    {"a": 1.23, "d": -7.61e-2, "gamma": 1.67e-2, "beta": -1.17e-1, "start": 1.63e-2, "max": 5.28e16},
    {"activation": (1 / 128, 1), "granularity": (2, 16), "flops": (1e18, 3e20)},
)
# Of the paper, its abstract was read, and table 3 as a public note quotes it; its eq. 1 also in KRAJEWSKI's.
CLARK = {
    "S-BASE": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "RL-R": (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "HASH": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}
CLARK_LAW = Law(
    "arXiv 2202.01169, eq. 1 and table 3; 130 billion tokens",
    {},
    {"dense": (15e6, 1.3e9), "experts": (1, 512)},
)
KIMI = Law("arXiv 2507.20534, section 2.3, at a loss of 1.5", {"power": 0.293}, {"sparsity": (8, 48)})


def efficiency_leverage(
    activation: float, granularity: float, flops: float, *, beyond: bool = False
) -> float:
    """How much more compute a dense model needs: A_hat^(a + d log C + gamma (log G)^2 + beta log G).

    The paper does not say which logarithms it means. With base 2 for G and base 10 for C both of its own
    statements come out (more than 7 at 3.1 %, G = 12 and 1e22; best at G of about 12), with no other of the
    nine pairs of bases e, 2 and 10.

    Parameters
    ----------
    activation : float
        A, active experts over all experts, the shared ones counted in both; 1 is dense.
    granularity : float
        G = 2 d_model / d_expert, half of Krajewski's.
    flops : float
        C, of the training.
    beyond : bool
        Whether the experiments' range may be left.

    Raises
    ------
    ValueError
        As `krajewski_loss`, or if `activation` is above 1.

    References
    ----------
    Tian et al., "Towards Greater Leverage", arXiv 2507.17702, eq. 10 and 13, table 2.

    Examples
    --------
    >>> round(efficiency_leverage(0.031, 12, 1e22, beyond=True), 2)
    7.24
    >>> efficiency_leverage(0.031, 12, 1e22)
    Traceback (most recent call last):
    ValueError: flops is 1e22: the law was fitted from 1e18 to 3e20 ...
    """
    LING.check(beyond, activation=activation, granularity=granularity, flops=flops)
    if activation > 1:
        raise ValueError(f"activation is {activation}: choose at most 1, which is dense")
    k, log_g = LING.constants, math.log2(granularity)
    exponent = k["a"] + k["d"] * math.log10(flops) + k["gamma"] * log_g**2 + k["beta"] * log_g
    return _saturated(activation, k["start"], k["max"], 0.0) ** exponent


def clark_loss(dense: float, experts: float, routing: str = "S-BASE", *, beyond: bool = False) -> float:
    """Loss in nats: log L = a log N + b log E_hat + c log N log E_hat + d, with decimal logarithms.

    Parameters
    ----------
    dense : float
        N, parameters of the dense model of which every second feed-forward network becomes E experts.
    experts : float
        E, with one expert a token.
    routing : str
        "S-BASE", "RL-R" or "HASH".
    beyond : bool
        Whether the experiments' range may be left.

    Raises
    ------
    ValueError
        As `krajewski_loss`, or if the routing is unknown.

    References
    ----------
    Clark et al., "Unified Scaling Laws for Routed Language Models", arXiv 2202.01169, eq. 1 and table 3.

    Examples
    --------
    >>> round(clark_loss(130e6, 1), 2), round(clark_loss(130e6, 128), 2)
    (2.69, 2.34)
    """
    if routing not in CLARK:
        raise ValueError(f"routing is {routing!r}: choose one of {', '.join(CLARK)}")
    CLARK_LAW.check(beyond, dense=dense, experts=experts)
    a, b, c, d, start, most = CLARK[routing]
    log_n, log_e = math.log10(dense), math.log10(_saturated(experts, start, most, 1.0))
    return float(10 ** (a * log_n + b * log_e + c * log_n * log_e + d))


def clark_cutoff(routing: str = "S-BASE") -> float:
    """The size of a dense model from which on more experts no longer help: b + c log N = 0.

    With constants of three digits, the paper's own 937 billion for S-BASE comes out within 7 %.

    Examples
    --------
    >>> f"{clark_cutoff():.2g}"
    '1e+12'
    """
    _, b, c, *_ = CLARK[routing]
    return float(10 ** (-b / c))


def sparsity_gain(sparsity: float, reference: float, *, beyond: bool = False) -> float:
    """How much more compute `reference` needs for the loss of `sparsity`: (sparsity / reference)^0.293.

    Kimi K2's report gives three numbers: sparsity 48 needs 1.69, 1.39 and 1.15 times fewer FLOPs than 8, 16
    and 32. The power goes through the first and meets the others within 3 %.

    Parameters
    ----------
    sparsity, reference : float
        Experts over active experts.

    Examples
    --------
    >>> [round(sparsity_gain(48, reference), 2) for reference in (8, 16, 32)]
    [1.69, 1.38, 1.13]
    """
    KIMI.check(beyond, sparsity=sparsity)
    KIMI.check(beyond, sparsity=reference)
    return (sparsity / reference) ** KIMI.constants["power"]


def _saturated(value: float, start: float, most: float, least: float) -> float:
    """Clark's transformation: close to `value` in the middle, never below `start` nor above `most`."""
    return 1 / (1 / (value - least + 1 / (1 / start - 1 / most)) + 1 / most)
