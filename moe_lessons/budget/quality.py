"""What a design is worth: a loss that published laws predict, put together of four parts.

loss = 1.69 + 406.4 / (N leverage)^0.34 + 410.7 / fresh(tokens)^0.28 + what few bits cost

The first three are the law of dense models, with the size that a MoE acts like in the place of N; text that
is repeated counts for less. A loss in nats a token, of that law's text and tokeniser: good for comparing
designs, not for telling what yours will have.
"""

import math

from moe_lessons.accounting.sparsity import efficiency_leverage
from moe_lessons.accounting.written import written
from moe_lessons.budget.ranges import FITTED_SIZE, FITTED_TOKENS, LARGEST_LEVERAGE_FLOPS
from moe_lessons.budget.shape import Design

FLOOR, SIZE, SIZE_POWER, TEXT, TEXT_POWER = 1.69, 406.4, 0.34, 410.7, 0.28
"""Hoffmann et al., arXiv 2203.15556, eq. 10, as printed there."""
REPEATS = 15.4
"""R* of Muennighoff et al., arXiv 2305.16264, eq. 5."""
STORED_BITS = {16: 16.0, 8: 8.5, 4: 4.5}
"""With a scale of 16 bits for each 32 weights, as lesson 15 stores them."""
BITS_COST = {16: 0.0, 8: math.log(5.9070 / 5.9066), 4: math.log(6.1565 / 5.9066)}
"""Perplexity of LLaMA 7B with F16, Q8_0, Q4_0: github.com/ggml-org/llama.cpp, examples/quantize/README.md."""


def leverage(design: Design) -> float:
    """How many times its active size the design acts like, at equal tokens (Ling's law); 1 if dense.

    Ling defines it by compute; at the same tokens compute goes with the size (section 3 there).

    Examples
    --------
    >>> from moe_lessons.budget.shape import usual
    >>> round(leverage(usual(2048, 256, 8, 512, tokens=1e12)), 2)
    6.55
    """
    if design.dense:
        return 1.0
    flops = min(6.0 * design.active * design.tokens, LARGEST_LEVERAGE_FLOPS)
    return efficiency_leverage(design.activation, design.granularity, flops, beyond=True)


def size(design: Design) -> float:
    """Parameters a token passes, without routers: they choose, and are no part of what the law calls size."""
    return float(design.active - design.n_layers * design.router)


def fresh(tokens: float, text: float) -> float:
    """As how many new tokens those count that were seen, if there is less text than that.

    Examples
    --------
    >>> fresh(1e9, 2e9), f"{fresh(4e9, 1e9):.3g}"  # four times the same text is nearly as good as new
    (1000000000.0, '3.73e+09')
    """
    if tokens <= text:
        return tokens
    return text + REPEATS * text * (1 - math.exp(-(tokens / text - 1) / REPEATS))


def predicted_loss(design: Design, text: float) -> float:
    """Nats a token, after training on its tokens out of so much text.

    Parameters
    ----------
    design : Design
        Inside the ranges: ask `refusals` first.
    text : float
        Tokens that there are.

    Examples
    --------
    >>> from moe_lessons.budget.shape import usual
    >>> round(predicted_loss(usual(2048, 256, 8, 512, tokens=1e12), 1e12), 3)
    2.08
    """
    by_size = SIZE / (size(design) * leverage(design)) ** SIZE_POWER
    return FLOOR + by_size + TEXT / fresh(design.tokens, text) ** TEXT_POWER + BITS_COST[design.bits]


def stretched(design: Design, text: float) -> tuple[str, ...]:
    """Name the laws that are asked beyond the models they were fitted on: what to believe less.

    Examples
    --------
    >>> from moe_lessons.budget.shape import usual
    >>> stretched(usual(2048, 256, 8, 512, tokens=1e12), 1e12)
    ('text: 1 trillion tokens; the law was fitted up to 500 billion',)
    """
    said = []
    acts, flops = size(design) * leverage(design), 6.0 * design.active * design.tokens
    smallest, largest = (written(limit) for limit in FITTED_SIZE)
    most, held = written(FITTED_TOKENS[1]), written(LARGEST_LEVERAGE_FLOPS)
    if not FITTED_SIZE[0] <= acts <= FITTED_SIZE[1]:
        acts_like = f"size: acts like {written(acts, 3)} parameters"
        said.append(f"{acts_like}; the law was fitted from {smallest} to {largest}")
    if fresh(design.tokens, text) > FITTED_TOKENS[1]:
        said.append(f"text: {written(design.tokens, 3)} tokens; the law was fitted up to {most}")
    if not design.dense and flops > LARGEST_LEVERAGE_FLOPS:
        said.append(f"leverage: {written(flops, 2)} FLOPs; held at {held}, where a model confirmed it")
    return tuple(said)
