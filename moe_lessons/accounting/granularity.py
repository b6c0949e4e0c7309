"""What it costs to cut experts into slices, and what experts of a narrower width save: one layer, counted."""

import math
from typing import NamedTuple


class CutCosts(NamedTuple):
    """Parameters of a layer (all, and of one token), the router's share of the latter, choices in bits."""

    total: int
    active: int
    router_share: float
    choices_bits: float


def cut_costs(d_model: int, d_expert: int, n_experts: int, top_k: int, granularity: int) -> CutCosts:
    """Count a layer of SwiGLU experts after each was cut into so many slices, K slices a token for one.

    Experts neither grow nor shrink; the router has a row for each slice. `choices_bits` is the base-2
    logarithm of the number of ways to choose a token's slices.

    Parameters
    ----------
    d_model, d_expert, n_experts, top_k : int
        D, F, E and K before the cut.
    granularity : int
        G, a divisor of F.

    Raises
    ------
    ValueError
        If G does not divide F, or K exceeds E.

    References
    ----------
    DeepSeekMoE, arXiv 2401.06066, section 3.1.

    Examples
    --------
    >>> cut_costs(2048, 8192, 8, 1, 8).choices_bits  # log2 of C(64, 8), 4.4 billion
    32.04...
    >>> whole, cut = (cut_costs(2048, 8192, 8, 1, g) for g in (1, 8))
    >>> cut.total - whole.total  # 56 more rows of the router
    114688
    """
    if granularity < 1 or d_expert % granularity:
        raise ValueError(f"granularity is {granularity}: choose a divisor of d_expert={d_expert}")
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k is {top_k} with {n_experts} experts: choose 1 to {n_experts}")
    router, expert = n_experts * granularity * d_model, 3 * d_model * d_expert
    active = router + top_k * expert
    bits = math.log2(math.comb(n_experts * granularity, top_k * granularity))
    return CutCosts(router + n_experts * expert, active, router / active, bits)


class LatentCosts(NamedTuple):
    """Of one layer's routed part: parameters (all, and of one token), and multiply-adds of one token."""

    total: int
    active: int
    multiply_adds: int


def latent_costs(
    d_model: int,
    d_expert: int,
    n_experts: int,
    top_k: int,
    d_latent: int | None = None,
    *,
    gated: bool = True,
) -> LatentCosts:
    """Count router, experts, and the two projections around experts that work in a narrower width.

    Parameters
    ----------
    d_model, d_expert, n_experts, top_k : int
        D, F, E and K.
    d_latent : int, optional
        The experts' width; that of the model if not given.
    gated : bool
        Three matrices an expert (SwiGLU), or two (Nemotron-3's squared ReLU).

    Raises
    ------
    ValueError
        If the latent is wider than the model, or K exceeds E.

    References
    ----------
    LatentMoE, arXiv 2601.18089.

    Examples
    --------
    >>> full, latent = (latent_costs(4096, 2688, 512, 22, width, gated=False) for width in (None, 1024))
    >>> full.total // 10**6, latent.total // 10**6  # a quarter, and two projections
    (11276, 2829)
    """
    if d_latent is not None and not 1 <= d_latent <= d_model:
        raise ValueError(f"d_latent is {d_latent}: choose 1 to d_model={d_model}")
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k is {top_k} with {n_experts} experts: choose 1 to {n_experts}")
    expert = (3 if gated else 2) * (d_latent or d_model) * d_expert
    around = n_experts * d_model + (2 * d_model * d_latent if d_latent else 0)
    # Without biases a multiply-add for each parameter that the token meets.
    return LatentCosts(around + n_experts * expert, around + top_k * expert, around + top_k * expert)
