"""The calculator's state: a published model, changed by dragging, and what it costs.

Everything is counted by ``moe_lessons.accounting``; nothing is measured and no model is built.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from moe_lessons.accounting import (
    Flops,
    Matrix,
    Model,
    MoE,
    Parameters,
    count,
    decode_flops,
    decode_read_bytes,
    describe,
    kv_cache_bytes,
    weight_bytes,
)
from moe_lessons.accounting.memory import DTYPE_BYTES
from moe_lessons.accounting.shapes import Cache, gated

MODELS = (
    "Mixtral-8x7B",
    "Mixtral-8x22B",
    "OLMoE-1B-7B",
    "Qwen3-30B-A3B",
    "gpt-oss-20b",
    "gpt-oss-120b",
    "Llama-4-Scout",
    "DeepSeek-V3",
    "Kimi-K2",
)
DTYPES = ("fp32", "bf16", "fp8", "mxfp4")
LATENT = 512 + 64
"""Numbers that MLA keeps per layer and token in DeepSeek-V2 and V3 (arXiv 2405.04434, section 2.1.2)."""
MOST_CONTEXT = 2**40


@dataclass(frozen=True)
class Params:
    """What can be picked and dragged; sizes as in the published Mixtral."""

    model: str = "Mixtral-8x7B"
    n_experts: int = 8
    top_k: int = 2
    d_expert: int = 14336
    n_shared: int = 0
    dtype: str = "bf16"
    context: int = 4096
    latent_cache: bool = False


@dataclass(frozen=True)
class State:
    """Everything that one frame shows; ``published`` says whether the sizes are the model's own."""

    params: Params
    published: bool
    parameters: Parameters
    weight_bytes: int
    active_bytes: int
    cache_bytes: int
    flops: Flops
    outweighs_at: int | None
    """Context from which on one text's cache weighs more than the weights that one token touches."""


def choose(params: Params, model: str) -> Params:
    """Move to a published model's own sizes; dtype, context and cache stay.

    Examples
    --------
    >>> p = choose(Params(), "DeepSeek-V3")
    >>> p.n_experts, p.top_k, p.d_expert, p.n_shared
    (256, 8, 2048, 1)
    """
    moe = _moe(model)
    width = moe.expert[-1].n_in
    n_shared = moe.shared[-1].n_in // width if moe.shared else 0
    return replace(
        params,
        model=model,
        n_experts=moe.n_experts,
        top_k=moe.top_k,
        d_expert=width,
        n_shared=n_shared,
    )


def with_experts(params: Params, n_experts: float) -> Params:
    """Give it another E; K stays below.

    Examples
    --------
    >>> with_experts(Params(), 1).top_k
    1
    """
    return replace(params, n_experts=int(n_experts), top_k=min(params.top_k, int(n_experts)))


def with_top_k(params: Params, top_k: float) -> Params:
    """Give it another K, at most E.

    Examples
    --------
    >>> with_top_k(Params(), 20).top_k
    8
    """
    return replace(params, top_k=min(int(top_k), params.n_experts))


@lru_cache(maxsize=32)
def _published(model: str) -> Model:
    return describe(model)


def _moe(model: str) -> MoE:
    return _published(model).moes[0][0]


@lru_cache(maxsize=256)
def build(params: Params) -> Model:
    """Describe the model with the dragged sizes; attention, embedding and dense layers stay as published.

    Examples
    --------
    >>> from moe_lessons.accounting import count
    >>> count(build(Params())).total
    46702792704
    """
    model = _published(params.model)
    if not is_published(params):
        layers = []
        for layer, times in model.layers:
            ffn = layer.ffn
            layers.append(
                (replace(layer, ffn=_resized(ffn, params)) if isinstance(ffn, MoE) else layer, times)
            )
        model = replace(model, layers=tuple(layers))
    if params.latent_cache:
        layers = []
        for layer, times in model.layers:
            attention = layer.attention and replace(layer.attention, cache=(Cache(LATENT),))
            layers.append((replace(layer, attention=attention), times))
        model = replace(model, layers=tuple(layers))
    return model


def _resized(moe: MoE, params: Params) -> MoE:
    *first, last = moe.expert
    expert = (*(replace(m, n_out=params.d_expert) for m in first), replace(last, n_in=params.d_expert))
    d_model = moe.router.n_in
    shared: tuple[Matrix, ...] = gated(d_model, params.n_shared * params.d_expert) if params.n_shared else ()
    router = replace(moe.router, n_out=params.n_experts)
    return replace(
        moe, n_experts=params.n_experts, top_k=params.top_k, router=router, expert=expert, shared=shared
    )


def is_published(params: Params) -> bool:
    """Whether E, K, F and shared experts are the published ones.

    Examples
    --------
    >>> is_published(Params()), is_published(Params(n_experts=16))
    (True, False)
    """
    return choose(params, params.model) == params


def simulate(params: Params) -> State:
    """Count one frame.

    Examples
    --------
    >>> simulate(Params()).outweighs_at, simulate(Params(latent_cache=True)).outweighs_at
    (196533, 698781)
    """
    model = build(params)
    parameters = count(model)
    active = _active_bytes(model, params.dtype)
    return State(
        params,
        is_published(params),
        parameters,
        weight_bytes(model, params.dtype),
        active,
        kv_cache_bytes(model, params.context),
        decode_flops(model, params.context),
        _outweighs_at(model, active),
    )


def _active_bytes(model: Model, dtype: str) -> int:
    """Bytes of the weights that one token touches, the input embedding in full."""
    table = 0 if model.tied else model.vocab_size * model.d_model
    width = DTYPE_BYTES["bf16" if dtype == "mxfp4" else dtype]
    return round(decode_read_bytes(model, batch=1, context=0, dtype=dtype)) + table * width


def _outweighs_at(model: Model, active_bytes: int) -> int | None:
    """Bisect: the cache never shrinks as the context grows."""
    low, high = 0, MOST_CONTEXT
    if kv_cache_bytes(model, high) <= active_bytes:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if kv_cache_bytes(model, middle) > active_bytes:
            high = middle
        else:
            low = middle
    return high


def parts(state: State) -> tuple[tuple[str, int], ...]:
    """Parameters by what they are for, in the order of the waterfall; the last part no token needs at once.

    Examples
    --------
    >>> sum(n for _, n in parts(simulate(Params())))
    46702792704
    """
    held, used = state.parameters.components, state.parameters.active_components
    k, others = state.params.top_k, state.params.n_experts - state.params.top_k
    return (
        ("embedding and head", held["embedding"] + held["head"]),
        ("attention", held["attention"]),
        ("routers and norms", held["router"] + held["norms"]),
        ("dense and shared FFN", held["dense_ffn"] + held["shared_experts"]),
        (f"experts: the {k} chosen", used["routed_experts"]),
        (f"experts: {others} others", held["routed_experts"] - used["routed_experts"]),
    )
