"""Bytes of weights and of the key-value cache.

1 GB is 10^9 bytes here and in every table; 1 GiB would be 2^30.
"""

from moe_lessons.accounting.coverage import touched_experts
from moe_lessons.accounting.parameters import count
from moe_lessons.accounting.shapes import Matrix, Model, MoE

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
DTYPES = ("fp32", "bf16", "fp8", "mxfp4")
MXFP4_BLOCK = 32  # weights that share one scale of eight bits


def weight_bytes(model: Model, dtype: str = "bf16") -> int:
    """Bytes of all weights of a model.

    `fp32`, `bf16`, `fp16` and `fp8` take 4, 2, 2 and 1 bytes for every parameter; scales that an fp8
    checkpoint may add are left out. `mxfp4` is what gpt-oss publishes: the matrices of the routed experts
    in 4 bits and one 8-bit scale for each 32, 4.25 bits a weight; all else, the experts' biases too, stays
    in bf16.

    Parameters
    ----------
    model : Model
    dtype : str
        fp32, bf16, fp16, fp8 or mxfp4.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the dtype is unknown.

    References
    ----------
    OCP Microscaling Formats (MX) Specification v1.0, section 5.2; arXiv:2508.10925, section 2.1, gives
    checkpoints of 12.8 GiB and 60.8 GiB.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> weight_bytes(describe("Mixtral-8x7B"))  # 2 * 46702792704
    93405585408
    >>> round(weight_bytes(describe("gpt-oss-20b"), "mxfp4") / 2**30, 1)
    12.8
    """
    total = count(model).total
    if dtype != "mxfp4":
        return total * _dtype_bytes(dtype)
    packed = sum(times * moe.n_experts * mxfp4_bytes(moe.expert) for moe, times in model.moes)
    in_four_bits = sum(
        times * moe.n_experts * sum(m.weights for m in moe.expert) for moe, times in model.moes
    )
    return packed + (total - in_four_bits) * DTYPE_BYTES["bf16"]


def mxfp4_bytes(matrices: tuple[Matrix, ...]) -> int:
    """Bytes of matrices in MXFP4: half a byte a weight, and a byte for each 32 inputs of an output.

    Examples
    --------
    >>> mxfp4_bytes((Matrix(64, 10),))  # 320 + 20, or 640 * 4.25 / 8
    340
    """
    return sum(m.copies * m.n_out * (-(-m.n_in // 2) + -(-m.n_in // MXFP4_BLOCK)) for m in matrices)


def kv_cache_bytes(model: Model, context: int, batch: int = 1, dtype: str = "bf16") -> int:
    """Bytes that `batch` sequences of `context` tokens keep, so that the next token need not read them again.

    Grouped-query attention keeps 2 h_kv d_h numbers a layer and token, latent attention r_kv + d_rope; a
    layer with a sliding window keeps at most a window. Linear attention keeps a state that does not grow.

    Parameters
    ----------
    model : Model
    context, batch : int
    dtype : str
        Of the cache: fp32, bf16, fp16 or fp8.

    Returns
    -------
    int

    References
    ----------
    DeepSeek-AI, "DeepSeek-V2", arXiv:2405.04434, table 1.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> kv_cache_bytes(describe("Mixtral-8x7B"), context=1)  # 32 layers * 2 * 8 * 128 * 2 bytes
    131072
    >>> kv_cache_bytes(describe("DeepSeek-V3"), context=1)  # 61 layers * (512 + 64) * 2 bytes
    70272
    """
    if context < 0 or batch < 0:
        raise ValueError(f"context={context}, batch={batch}: choose 0 or more of each")
    elements = 0
    for layer, times in model.layers:
        if layer.attention is None:
            continue
        for cache in layer.attention.cache:
            held = context // cache.stride
            held = held if cache.limit is None else min(held, cache.limit)
            elements += times * cache.elements * held
        elements += times * layer.attention.state_elements
    return batch * elements * _dtype_bytes(dtype)


def kv_cache_bytes_per_token(model: Model, dtype: str = "bf16") -> int:
    """Bytes that one more token adds to the cache while no window is full.

    Where several positions are summed up in one, each has its share.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> kv_cache_bytes_per_token(describe("gpt-oss-20b"))  # 24 layers * 2 * 8 * 64 * 2 bytes
    49152
    """
    elements = sum(
        times * cache.elements / cache.stride
        for layer, times in model.layers
        if layer.attention is not None
        for cache in layer.attention.cache
    )
    return round(elements * _dtype_bytes(dtype))


def decode_read_bytes(
    model: Model, batch: int = 1, context: int = 1, dtype: str = "bf16", cache_dtype: str = "bf16"
) -> float:
    """Bytes that one decode step reads from memory: the weights that `batch` tokens touch, and their caches.

    Of E experts a layer, E (1 - (1 - K / E)^B) are touched on average. Of an untied input embedding, B rows
    are read, which is left out. The head and the caches are read in full, though sparse attention needs less.

    References
    ----------
    `expert_coverage` for the expectation; Williams et al., "Roofline", doi:10.1145/1498765.1498785, for what
    the bytes say about speed.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> mixtral = describe("Mixtral-8x7B")
    >>> round(decode_read_bytes(mixtral, batch=1, context=0) / 1e9, 1)  # 2 * 12.75 billion
    25.5
    >>> round(decode_read_bytes(mixtral, batch=64, context=0) / 1e9, 1)
    93.1
    """
    unread = sum(
        times * _expert_bytes(moe, dtype) * (moe.n_experts - touched_experts(moe, batch))
        for moe, times in model.moes
    )
    table = 0 if model.tied else model.vocab_size * model.d_model
    table_bytes = table * (DTYPE_BYTES["bf16"] if dtype == "mxfp4" else _dtype_bytes(dtype))
    return (
        weight_bytes(model, dtype) - table_bytes - unread + kv_cache_bytes(model, context, batch, cache_dtype)
    )


def _expert_bytes(moe: MoE, dtype: str) -> int:
    if dtype != "mxfp4":
        return moe.expert_parameters * _dtype_bytes(dtype)
    biases = moe.expert_parameters - sum(m.weights for m in moe.expert)
    return mxfp4_bytes(moe.expert) + biases * DTYPE_BYTES["bf16"]


def _dtype_bytes(dtype: str) -> int:
    if dtype not in DTYPE_BYTES:
        raise ValueError(f"dtype={dtype!r}: choose one of {', '.join(DTYPE_BYTES)}, or mxfp4 for weights")
    return DTYPE_BYTES[dtype]
