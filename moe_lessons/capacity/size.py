"""How many rows one expert may hold."""

import math
from fractions import Fraction

from moe_lessons.routing.base import check_top_k


def expert_capacity(n_tokens: int, n_experts: int, top_k: int, capacity_factor: float) -> int:
    """C = ceil(K * T / E * factor): an expert's fair share of the routed rows, times the factor, rounded up.

    Codes differ. DeepSpeed and Megatron round up, as here. Mesh TensorFlow rounds down and leaves K out.
    Tutel rounds T / E up, rounds its product with the factor down, then multiplies by K.

    Parameters
    ----------
    n_tokens, n_experts, top_k : int
        T, E and K. With G groups that route on their own, T is the tokens of one group.
    capacity_factor : float
        1 is the fair share. Taken as the decimal number it is written as: in floats 800 / 8 * 1.1 exceeds
        110, and rounding up would make 111 of it.

    Raises
    ------
    ValueError
        If a size is out of range or the factor is not a finite number above 0.

    References
    ----------
    K = 1: Switch Transformer, arXiv 2101.03961, eq. 3. K = 2 and factor 1: GShard, arXiv 2006.16668,
    algorithm 1, C = 2N / (G * E). Any K: github.com/microsoft/tutel, tutel/impls/fast_dispatch.py.

    Examples
    --------
    >>> expert_capacity(n_tokens=64, n_experts=8, top_k=2, capacity_factor=1.25)  # 16 * 1.25
    20
    >>> expert_capacity(10, 4, 1, 1.0)  # 2.5
    3
    """
    if n_tokens < 0 or n_experts < 1:
        raise ValueError(f"{n_tokens} tokens and {n_experts} experts: give at least 0 and 1")
    check_top_k(top_k, n_experts)
    if not (math.isfinite(capacity_factor) and capacity_factor > 0):
        raise ValueError(f"capacity_factor is {capacity_factor}: give a finite number above 0, such as 1.25")
    return math.ceil(Fraction(str(capacity_factor)) * top_k * n_tokens / n_experts)
