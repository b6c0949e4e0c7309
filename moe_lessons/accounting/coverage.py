"""How many experts of a layer a batch touches, hence how many must be read from memory."""

from moe_lessons.accounting.shapes import MoE


def expert_coverage(n_experts: int, top_k: int, batch: int) -> float:
    """Expected number of different experts that `batch` tokens choose, if each chooses K of E at random.

    One token leaves a given expert out with probability 1 - K / E, and B of them with (1 - K / E)^B, so that
    E (1 - (1 - K / E)^B) are touched. Real routers are uneven and similar tokens choose alike: fewer are.

    Parameters
    ----------
    n_experts, top_k : int
        E and K.
    batch : int
        B, tokens in one decode step; 0 touches none.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If K is not between 1 and E, or B is negative.

    Examples
    --------
    >>> expert_coverage(8, 2, 1)
    2.0
    >>> expert_coverage(8, 2, 2)  # 8 * (1 - (3/4)^2)
    3.5
    """
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k={top_k}: choose 1 to n_experts={n_experts}")
    if batch < 0:
        raise ValueError(f"batch={batch}: choose 0 or more")
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def touched_experts(moe: MoE, batch: int) -> float:
    """Expected number of one layer's experts that `batch` tokens touch; those that do nothing do not count.

    Examples
    --------
    >>> from moe_lessons.accounting.shapes import Matrix
    >>> touched_experts(MoE(6, 2, Matrix(4, 8), (Matrix(4, 4),), n_zero=2), 1)  # 2 of 8, 6 of which work
    1.5
    """
    if moe.top_k == 0:  # experts that text never reaches
        return 0.0
    choices = moe.n_experts + moe.n_zero
    return moe.n_experts / choices * expert_coverage(choices, moe.top_k, batch)
