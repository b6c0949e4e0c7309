"""A setting that trains no router, and the line that says so."""

import warnings

# Their K weights sum to 1: with K = 1 the weight is 1 whatever the logits say.
RENORMALISING = ("topk_softmax", "softmax_topk_renorm", "sigmoid", "sqrt_softplus")


def router_without_gradient(gate: str, top_k: int, n_experts: int) -> str | None:
    """Say in one line that the task's loss will not train the router, or return None if it will.

    Parameters
    ----------
    gate : str
        A key of `moe_lessons.routing.GATES`.
    top_k, n_experts : int
        K and E. With one expert there is no choice, so nothing to say.

    References
    ----------
    Megatron-LM, issue 894 (top-k, then softmax, with K = 1).

    Examples
    --------
    >>> router_without_gradient("topk_softmax", 1, 8)
    "top_k=1 with gate='topk_softmax': ... take gate='softmax_topk' (Switch) or top_k=2"
    >>> router_without_gradient("softmax_topk", 1, 8) is router_without_gradient("sigmoid", 2, 8) is None
    True
    """
    if gate not in RENORMALISING or top_k != 1 or n_experts == 1:
        return None
    return line_for(gate)


def line_for(gate: str) -> str:
    """The line itself.

    Examples
    --------
    >>> line_for("sigmoid").startswith("top_k=1 with gate='sigmoid': every weight is 1")
    True
    """
    return (
        f"top_k=1 with gate={gate!r}: every weight is 1, so the router gets no gradient from the task; "
        "take gate='softmax_topk' (Switch) or top_k=2"
    )


def warn(line: str | None, stacklevel: int = 3) -> None:
    """Give the line as a warning, if there is one."""
    if line is not None:
        warnings.warn(line, stacklevel=stacklevel + 1)
