"""Floating-point operations per token: two for each multiply-add.

Counted: every weight matrix that the token passes (projections, router, K experts, shared experts, head), and
attention's products with the positions that the token sees. Left out, as customary: the embedding look-up,
norms, biases, softmax, activation functions, rotary positions and the weighted sum of expert outputs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from moe_lessons.accounting.shapes import Attention, Dense, Layer, Model, MoE, Read, weights

OPERATIONS = 2  # a multiplication and an addition


@dataclass(frozen=True)
class Flops:
    """FLOPs of one token, by part.

    Parameters
    ----------
    matrices : int
        Weight matrices of the layers.
    context : float
        Attention's products with other positions.
    head : int
        The product with the V rows of the head.
    """

    matrices: int
    context: float
    head: int

    @property
    def total(self) -> int:
        """All parts, rounded to a whole number."""
        return round(self.matrices + self.context + self.head)


def prefill_flops(model: Model, context: int) -> Flops:
    """FLOPs per token while a prompt of `context` tokens is read, averaged over its tokens.

    A causal token sees itself and what came before, (n + 1) / 2 positions on average. The head counts for
    every token; a server that wants only the next token applies it to the last one alone.

    Parameters
    ----------
    model : Model
    context : int
        Tokens in the prompt, n >= 1.

    Returns
    -------
    Flops

    References
    ----------
    Kaplan et al., "Scaling Laws for Neural Language Models", arXiv:2001.08361, section 2.1 and table 1.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> flops = prefill_flops(describe("Mixtral-8x7B"), 4096)
    >>> flops.matrices, flops.head  # 2 * 32 * (41943040 + 2 * 176160768 + 32768), 2 * 4096 * 32000
    (25235030016, 262144000)
    >>> int(flops.context)  # 2 * 32 layers * 2 * 4096 multiply-adds a position * 4097 / 2 positions
    1074003968
    """
    _check_context(context)
    passed = sum(times * layer_multiply_adds(layer) for layer, times in model.layers)
    fixed = sum(times * a.fixed_multiply_adds for a, times in _attentions(model.layers))
    seen = sum(
        times * read.multiply_adds * mean_positions(read, context)
        for attention, times in _attentions(model.layers)
        for read in attention.reads
    )
    return Flops(OPERATIONS * (passed + weights(model.other)), OPERATIONS * (seen + fixed), _head(model))


def decode_flops(model: Model, context: int) -> Flops:
    """FLOPs of one new token that sees `context` positions, itself included.

    Of an encoder-decoder only the decoder works; latent attention reads the cached latents without expanding
    them.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> decode_flops(describe("Mixtral-8x7B"), 1).total  # the lines above, with one position
    25497698304
    """
    _check_context(context)
    layers = [(layer, times) for layer, times in model.layers if not layer.encoder]
    passed = sum(times * layer_multiply_adds(layer, decode=True) for layer, times in layers)
    fixed = sum(times * a.fixed_multiply_adds for a, times in _attentions(layers))
    seen = sum(
        times * read.multiply_adds * last_positions(read, context)
        for attention, times in _attentions(layers)
        for read in (attention.reads if attention.decode_reads is None else attention.decode_reads)
    )
    return Flops(OPERATIONS * (passed + weights(model.other)), OPERATIONS * (seen + fixed), _head(model))


def training_flops(model: Model, context: int, recompute: bool = False) -> Flops:
    """FLOPs per token of one training step: forward, and backward at twice its cost.

    The backward pass forms two products for each of the forward pass, one for the input's gradient and one
    for the weight's. With recomputation the layers, not the head, run forward once more.

    References
    ----------
    Kaplan et al., arXiv:2001.08361, section 2.1 (6 N per token); Korthikanti et al., "Reducing Activation
    Recomputation in Large Transformer Models", arXiv:2205.05198, appendix A.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> mixtral = describe("Mixtral-8x7B")
    >>> training_flops(mixtral, 4096).matrices == 3 * prefill_flops(mixtral, 4096).matrices
    True
    """
    forward = prefill_flops(model, context)
    passes = 4 if recompute else 3
    return Flops(passes * forward.matrices, passes * forward.context, 3 * forward.head)


def layer_multiply_adds(layer: Layer, decode: bool = False) -> int:
    """Multiply-adds of one token with the weight matrices of one layer, K experts among them.

    Examples
    --------
    >>> from moe_lessons.accounting.shapes import Matrix, gated
    >>> moe = MoE(n_experts=8, top_k=2, router=Matrix(4, 8), expert=gated(4, 16))
    >>> layer_multiply_adds(Layer(4, None, moe, norms=4))  # 4 * 8 + 2 * 3 * 4 * 16
    416
    """
    found = weights(layer.other)
    if layer.attention is not None:
        own = layer.attention.decode_matrices if decode else None
        found += weights(layer.attention.matrices if own is None else own)
    if isinstance(layer.ffn, Dense):
        found += weights(layer.ffn.matrices)
    if isinstance(layer.ffn, MoE):
        moe = layer.ffn
        found += moe.router.weights + weights(moe.router_inner) + weights(moe.shared)
        found += moe.top_k * weights(moe.expert)
    return found


def mean_positions(read: Read, context: int) -> float:
    """Positions that a token sees, averaged over a text of `context` tokens.

    Examples
    --------
    >>> mean_positions(Read(1), 4)  # (1 + 2 + 3 + 4) / 4
    2.5
    >>> mean_positions(Read(1, limit=2), 4)  # (1 + 2 + 2 + 2) / 4
    1.75
    >>> mean_positions(Read(1, limit=2, chunked=True), 4)  # (1 + 2 + 1 + 2) / 4
    1.5
    """
    if not read.causal:
        return context
    if read.stride > 1:
        return _mean_blocks(read, context)
    limit = context if read.limit is None else min(read.limit, context)
    if read.chunked:
        chunks, rest = divmod(context, limit)
        return (chunks * limit * (limit + 1) + rest * (rest + 1)) / 2 / context
    return (limit * (limit + 1) / 2 + (context - limit) * limit) / context


def _mean_blocks(read: Read, context: int) -> float:
    """Mean of min(i // stride, limit) over i = 1 ... context."""
    blocks, rest = divmod(context, read.stride)
    if read.limit is not None and blocks >= read.limit:
        full = read.limit * read.stride  # from this token on, the limit holds
        growing = read.stride * read.limit * (read.limit - 1) // 2
        return (growing + (context - full + 1) * read.limit) / context
    return (read.stride * blocks * (blocks - 1) // 2 + blocks * (rest + 1)) / context


def last_positions(read: Read, context: int) -> int:
    """Positions that the last of `context` tokens sees, itself included.

    Examples
    --------
    >>> last_positions(Read(1, limit=4), 6), last_positions(Read(1, limit=4, chunked=True), 6)
    (4, 2)
    """
    if read.stride > 1:
        context //= read.stride
    if read.limit is None:
        return context
    return (context - 1) % read.limit + 1 if read.chunked else min(context, read.limit)


def _attentions(layers: Iterable[tuple[Layer, int]]) -> list[tuple[Attention, int]]:
    return [(layer.attention, times) for layer, times in layers if layer.attention is not None]


def _head(model: Model) -> int:
    return OPERATIONS * model.n_outputs * model.d_model


def _check_context(context: int) -> None:
    if type(context) is not int or not 1 <= context <= 10**12:
        raise ValueError(f"context={context!r}: choose a whole number of tokens, 1 or more")
