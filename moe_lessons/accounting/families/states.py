"""Layers that remember the text in a state of fixed size: Mamba, delta attention, lightning attention.

All are counted in their recurrent form, one token after another, as decode runs them.
"""

from moe_lessons.accounting.shapes import Attention, Matrix

RECURRENT = "layers with a state are counted in their recurrent form, the state in the cache's dtype"


def mamba2(
    d_model: int,
    d_inner: int,
    n_heads: int,
    n_groups: int,
    d_state: int,
    kernel: int,
    *,
    conv_bias: bool,
    bias: bool,
) -> Attention:
    """Mamba-2: a state of d_state numbers for each of d_inner channels, one decay a head.

    A token decays the state, adds B x and reads it with C: 3 d_inner d_state multiply-adds, beside
    projections and a short convolution over x, B and C. References: arXiv:2405.21060, section 7.

    Examples
    --------
    >>> mamba2(4, 8, 2, 1, 3, 4, conv_bias=True, bias=False).parameters  # 4*24 + 8*4 + 14*5 + 3*2 + 8
    212
    """
    mixed = d_inner + 2 * n_groups * d_state
    return Attention(
        matrices=(Matrix(d_model, d_inner + mixed + n_heads, bias), Matrix(d_inner, d_model, bias)),
        vectors=mixed * (kernel + conv_bias) + 3 * n_heads + d_inner,
        reads=(),
        cache=(),
        saved_elements=d_model + 2 * mixed + 3 * d_inner + n_heads,
        state_elements=d_inner * d_state + mixed * (kernel - 1),
        fixed_multiply_adds=3 * d_inner * d_state + mixed * kernel,
    )


def mamba1(
    d_model: int, d_inner: int, d_state: int, rank: int, kernel: int, *, conv_bias: bool, bias: bool
) -> Attention:
    """Mamba as in Jamba: a decay for each channel and state, from a projection of low rank, three norms.

    References: arXiv:2312.00752, section 3; arXiv:2403.19887, section 2.
    """
    return Attention(
        matrices=(
            Matrix(d_model, 2 * d_inner, bias),
            Matrix(d_inner, rank + 2 * d_state),
            Matrix(rank, d_inner, bias=True),
            Matrix(d_inner, d_model, bias),
        ),
        vectors=d_inner * (kernel + conv_bias + d_state + 1) + rank + 2 * d_state,
        reads=(),
        cache=(),
        saved_elements=d_model + 6 * d_inner + rank + 2 * d_state,
        state_elements=d_inner * (d_state + kernel - 1),
        fixed_multiply_adds=d_inner * (3 * d_state + kernel),
    )


def delta_attention(
    d_model: int,
    n_heads: int,
    d_head: int,
    kernel: int,
    *,
    low_rank: bool = True,
    low_rank_gate: bool | None = None,
) -> Attention:
    """Kimi's delta attention: a gated delta rule whose forget gate has one value a channel.

    The forget gate comes from projections of rank d_h (`low_rank`) or one of full rank; so does the output's
    gate, which may differ (`low_rank_gate`). A token reads the state with
    its key, corrects it and reads it with its query: 3 d_h d_h a head.

    References: arXiv:2510.26692, section 3.
    """
    width = n_heads * d_head
    low = (Matrix(d_model, d_head), Matrix(d_head, width))
    full = (Matrix(d_model, width),)
    gates_are_low = low_rank if low_rank_gate is None else low_rank_gate
    return Attention(
        matrices=(
            Matrix(d_model, width, copies=3),
            Matrix(d_model, n_heads),
            *(low if low_rank else full),
            *(low if gates_are_low else full),
            Matrix(width, d_model),
        ),
        vectors=3 * width * kernel + width + n_heads + d_head,
        reads=(),
        cache=(),
        saved_elements=d_model + 10 * width + n_heads + d_head * (low_rank + gates_are_low),
        state_elements=width * d_head + 3 * width * (kernel - 1),
        fixed_multiply_adds=3 * width * d_head + 3 * width * kernel,
    )


def lightning(d_model: int, n_heads: int, d_head: int) -> Attention:
    """Lightning attention: a state of d_h x d_h a head that decays at a fixed rate, norm and gate behind it.

    References: MiniMax-01, arXiv:2501.08313, section 2.2.
    """
    width = n_heads * d_head
    return Attention(
        matrices=(Matrix(d_model, width, copies=4), Matrix(width, d_model)),
        vectors=width,
        reads=(),
        cache=(),
        saved_elements=d_model + 6 * width,
        state_elements=width * d_head,
        fixed_multiply_adds=2 * width * d_head,
    )


def short_convolution(d_model: int, kernel: int, bias: bool) -> Attention:
    """LFM2's gated short convolution: two gates and a convolution over the last few positions."""
    return Attention(
        matrices=(Matrix(d_model, 3 * d_model, bias), Matrix(d_model, d_model, bias)),
        vectors=d_model * (kernel + bias),
        reads=(),
        cache=(),
        saved_elements=6 * d_model,
        state_elements=d_model * (kernel - 1),
        fixed_multiply_adds=d_model * kernel,
    )
