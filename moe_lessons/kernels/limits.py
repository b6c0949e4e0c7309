"""How fast the hardware would let a MoE layer be: arithmetic and traffic over measured ceilings.

Imports neither torch nor Triton.
"""

from typing import NamedTuple


class Ceiling(NamedTuple):
    """What one GPU reaches: arithmetic in 16-bit floats, and a large copy (bytes read plus bytes written)."""

    flops_per_s: float
    bytes_per_s: float


# Measured on one card of each kind: a large bf16 matrix product, a large device-to-device copy.
CEILINGS = {"H100": Ceiling(798e12, 3.0e12), "H200": Ceiling(788e12, 4.3e12)}
FORWARD = ("up", "down", "combine")
BACKWARD = (
    "pre_gradient",
    "hidden_gradient",
    "hidden_combine",
    "gate_up_gradient",
    "down_gradient",
)


class Cost(NamedTuple):
    """One kernel's least work: floating-point operations, and bytes to and from memory."""

    flops: int
    bytes: int


class Limit(NamedTuple):
    """The least time, in milliseconds, kernel by kernel and added up."""

    kernels_ms: dict[str, float]
    forward_ms: float
    backward_ms: float
    total_ms: float


def costs(
    n_tokens: int, d_model: int, d_expert: int, n_experts: int, top_k: int, itemsize: int = 2
) -> dict[str, Cost]:
    """Count what each kernel must do, whatever its tiles: every input read once, every output written once.

    Parameters
    ----------
    n_tokens, d_model, d_expert, n_experts, top_k : int
        T, D, F, E and K.
    itemsize : int
        Bytes of one element.

    Returns
    -------
    dict of str to Cost
        By kernel, in the order of a forward and a backward pass, for tokens that reach as many experts as
        they can. What the router and the plan do is left out: of a large layer it is below one percent.

    Examples
    --------
    >>> costs(n_tokens=1, d_model=2, d_expert=3, n_experts=1, top_k=1)["down"]  # 2*2*3; 3 + 6 + 2 numbers
    Cost(flops=12, bytes=22)
    """
    rows = n_tokens * top_k
    tokens, routed = n_tokens * d_model, rows * d_model  # elements of (T, D) and of (S, D)
    act, weights = rows * d_expert, n_experts * d_model * d_expert  # elements of (S, F) and of (E, D, F)
    read = min(n_experts, rows) * d_model * d_expert  # an expert without rows is not read
    product = 2 * rows * d_model * d_expert
    elements = {
        "up": (2 * product, tokens + 2 * read + 3 * act),  # writes pre-activations and activations
        "down": (product, act + read + routed),
        "combine": (2 * routed, routed + tokens),
        "pre_gradient": (product, tokens + read + 2 * act + 3 * act),
        "hidden_gradient": (2 * product, 2 * act + 2 * read + routed),
        "hidden_combine": (routed, routed + tokens),
        "gate_up_gradient": (2 * product, tokens + 2 * act + 2 * weights),
        "down_gradient": (product, tokens + act + weights),
    }
    return {kernel: Cost(flops, count * itemsize) for kernel, (flops, count) in elements.items()}


def roofline(
    n_tokens: int,
    d_model: int,
    d_expert: int,
    n_experts: int,
    top_k: int,
    device: str | Ceiling = "H100",
) -> Limit:
    """Return the least time of the layer in bf16: for each kernel the slower of arithmetic and memory, added.

    Parameters
    ----------
    n_tokens, d_model, d_expert, n_experts, top_k : int
        T, D, F, E and K.
    device : str or Ceiling
        "H100", "H200", or ceilings of your own.

    Returns
    -------
    Limit

    Raises
    ------
    ValueError
        If no ceiling is known for the device.

    References
    ----------
    Williams, Waterman, Patterson, Roofline, Communications of the ACM 52(4), 2009.

    Examples
    --------
    >>> limit = roofline(8192, 1024, 2048, 64, 8, "H100")
    >>> round(limit.kernels_ms["up"], 3), round(limit.kernels_ms["pre_gradient"], 3)
    (0.689, 0.542)
    >>> round(limit.forward_ms, 2), round(limit.backward_ms, 2), round(limit.total_ms, 2)
    (1.08, 2.32, 3.4)
    """
    if isinstance(device, str):
        if device not in CEILINGS:
            known = ", ".join(CEILINGS)
            raise ValueError(f"device={device!r}: choose {known}, or give Ceiling(flops_per_s, bytes_per_s)")
        device = CEILINGS[device]
    kernels_ms = {
        kernel: 1000 * max(cost.flops / device.flops_per_s, cost.bytes / device.bytes_per_s)
        for kernel, cost in costs(n_tokens, d_model, d_expert, n_experts, top_k).items()
    }
    forward_ms = sum(kernels_ms[kernel] for kernel in FORWARD)
    backward_ms = sum(kernels_ms[kernel] for kernel in BACKWARD)
    return Limit(kernels_ms, forward_ms, backward_ms, forward_ms + backward_ms)
