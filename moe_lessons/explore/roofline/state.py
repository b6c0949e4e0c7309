"""The decode roofline's state: what a step reads, what it computes, and which of the two takes the time.

Everything is counted by ``moe_lessons.accounting``; nothing is measured.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from moe_lessons.accounting import Model, MoE, count, decode_read_bytes, describe, kv_cache_bytes

MODELS = ("Mixtral-8x7B", "Qwen3-30B-A3B", "gpt-oss-120b", "DeepSeek-V3")
DTYPES = ("bf16", "fp8", "mxfp4")
HARDWARE = {"H100": (798e12, 3.0e12), "H200": (788e12, 4.3e12), "laptop": (2e12, 1e11)}
"""FLOP/s and bytes/s that are reached: of the two GPUs those of ``moe_lessons.kernels.limits``, of the
laptop's processor round numbers."""
ACCEPTANCE = 0.7
"""Share of drafted tokens that are kept, each by itself."""
PROMPT = 2048
"""Tokens of the prompt whose reading (prefill) is drawn beside the step."""
MOST_BATCH, MOST_CONTEXT, MOST_GAMMA = 2**13, 2**17, 6


@dataclass(frozen=True)
class Params:
    """What can be picked and dragged.

    Attributes
    ----------
    model : str
        One of ``MODELS``.
    batch : int
        Users, each of whom gets a token in a step.
    context : int
        Tokens that each has in the cache.
    dtype : str
        Of the weights; the arithmetic stays bf16.
    hardware : str
        One of ``HARDWARE``.
    gamma : int
        Drafted tokens that a step checks for each user; 0 is plain decoding.
    """

    model: str = "Mixtral-8x7B"
    batch: int = 1
    context: int = 1024
    dtype: str = "bf16"
    hardware: str = "H100"
    gamma: int = 0


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    checked : int
        Tokens that pass the model in a step: ``batch * (gamma + 1)``.
    n_experts, top_k : int
        Of a layer with experts.
    touched : float
        Experts of such a layer that the step reads, on average.
    shared_bytes, expert_bytes, cache_bytes : float
        What the step reads: all that every token passes, the touched experts, the caches.
    flops : float
        Two for each active parameter and token.
    reading_s, computing_s : float
    ridge : float
        FLOP/byte from which computing takes longer than reading.
    prompt_intensity : float
        FLOP/byte of one prompt of ``PROMPT`` tokens.
    speedup : float
        Tokens in the same time, against no draft.
    dense_speedup : float
        The same for a dense model as large as the active part, with the same caches.
    dense_step_s : float
        A plain step of that dense model.
    """

    params: Params
    checked: int
    n_experts: int
    top_k: int
    touched: float
    shared_bytes: float
    expert_bytes: float
    cache_bytes: float
    flops: float
    reading_s: float
    computing_s: float
    ridge: float
    prompt_intensity: float
    speedup: float
    dense_speedup: float
    dense_step_s: float

    @property
    def read_bytes(self) -> float:
        """All that the step reads."""
        return self.shared_bytes + self.expert_bytes + self.cache_bytes

    @property
    def intensity(self) -> float:
        """FLOP for each byte read."""
        return self.flops / self.read_bytes

    @property
    def step_s(self) -> float:
        """Whichever takes longer: reading and computing go on side by side."""
        return max(self.reading_s, self.computing_s)

    @property
    def tokens(self) -> float:
        """Tokens that come out of a step, of all users."""
        return self.params.batch * drafted(self.params.gamma)

    @property
    def bytes_per_token(self) -> float:
        """Bytes read for each token that comes out."""
        return self.read_bytes / self.tokens

    @property
    def computes(self) -> bool:
        """Whether computing takes longer."""
        return self.computing_s > self.reading_s

    @property
    def speed(self) -> float:
        """FLOP/s."""
        return self.flops / self.step_s


def drafted(gamma: int) -> float:
    """Tokens that come out of a check of gamma drafted ones.

    Examples
    --------
    >>> drafted(0), round(drafted(3), 3)
    (1.0, 2.533)
    """
    return sum(ACCEPTANCE**i for i in range(gamma + 1))


@lru_cache(maxsize=8)
def _model(name: str) -> Model:
    return describe(name)


@lru_cache(maxsize=8)
def _active(name: str) -> int:
    return count(_model(name)).active


def moe_of(name: str) -> MoE:
    """The layer with experts of a published model; those here have one kind.

    Examples
    --------
    >>> moe_of("DeepSeek-V3").n_experts, moe_of("DeepSeek-V3").top_k
    (256, 8)
    """
    return _model(name).moes[0][0]


@lru_cache(maxsize=4096)
def weights_read(model: str, dtype: str, tokens: int) -> float:
    """Bytes of the weights that this many tokens touch.

    Examples
    --------
    >>> round(weights_read("Mixtral-8x7B", "bf16", 1) / 1e9, 1)
    25.5
    """
    return decode_read_bytes(_model(model), tokens, 0, dtype)


def touched(model: str, tokens: float) -> float:
    """Experts of a layer that this many tokens touch on average, as `accounting.expert_coverage` has it.

    For a curve tokens need not be whole.

    Examples
    --------
    >>> round(touched("DeepSeek-V3", 73) / 256, 3)
    0.901
    """
    moe = moe_of(model)
    return moe.n_experts * (1 - (1 - moe.top_k / moe.n_experts) ** tokens)


def expert_bytes(model: str, dtype: str) -> float:
    """Bytes of one expert in every layer that has experts.

    Two tokens touch more experts than one, and nothing else that one of them does not: their difference
    tells what an expert weighs, in any dtype.

    Examples
    --------
    >>> round(expert_bytes("Mixtral-8x7B", "bf16") / 1e9, 2)  # 32 layers of 352 MB
    11.27
    """
    more = weights_read(model, dtype, 2) - weights_read(model, dtype, 1)
    return more / (touched(model, 2) - touched(model, 1))


def simulate(params: Params) -> State:
    """Count one frame.

    Examples
    --------
    >>> one, many = simulate(Params()), simulate(Params(batch=1024))
    >>> round(one.intensity, 1), one.bytes_per_token > 50 * many.bytes_per_token
    (1.0, True)
    """
    p = params
    flops_s, bytes_s = HARDWARE[p.hardware]
    checked = p.batch * (p.gamma + 1)
    moe, active = moe_of(p.model), _active(p.model)
    hit = touched(p.model, checked)
    weights = weights_read(p.model, p.dtype, checked)
    experts = hit * expert_bytes(p.model, p.dtype)
    cache = float(kv_cache_bytes(_model(p.model), p.context, p.batch))
    flops = 2.0 * active * checked

    def step_s(weights: float, tokens: int) -> float:
        return max((weights + cache) / bytes_s, 2.0 * active * tokens / flops_s)

    dense = weights_read(p.model, p.dtype, 1)  # a dense model that holds what one token touches
    plain, dense_plain = step_s(weights_read(p.model, p.dtype, p.batch), p.batch), step_s(dense, p.batch)
    prompt = 2.0 * active * PROMPT / weights_read(p.model, p.dtype, PROMPT)
    return State(
        p,
        checked,
        moe.n_experts,
        moe.top_k,
        hit,
        weights - experts,
        experts,
        cache,
        flops,
        (weights + cache) / bytes_s,
        flops / flops_s,
        flops_s / bytes_s,
        prompt,
        drafted(p.gamma) * plain / step_s(weights, checked),
        drafted(p.gamma) * dense_plain / step_s(dense, checked),
        dense_plain,
    )


def covered_at(params: Params, share: float = 0.9) -> int:
    """The batch at which a step without a draft reads this share of a layer's experts.

    Examples
    --------
    >>> covered_at(Params(model="DeepSeek-V3"))
    73
    """
    moe = moe_of(params.model)
    return math.ceil(math.log(1 - share) / math.log(1 - moe.top_k / moe.n_experts) - 1e-9)


def cache_outweighs_at(params: Params) -> int:
    """The smallest context, of those that can be picked, at which the caches weigh more than what is read.

    Examples
    --------
    >>> cache_outweighs_at(Params(batch=64))
    16384
    """
    context = 1
    while context < MOST_CONTEXT:
        state = simulate(replace(params, context=context))
        if state.cache_bytes > state.read_bytes - state.cache_bytes:
            return context
        context *= 2
    return MOST_CONTEXT


def computes_from(params: Params) -> int | None:
    """The smallest power of two for a batch that computes longer than it reads, with empty caches.

    Examples
    --------
    >>> computes_from(Params()), computes_from(Params(model="DeepSeek-V3"))
    (1024, 8192)
    """
    batch = 1
    while batch <= MOST_BATCH:
        if simulate(replace(params, batch=batch, context=0)).computes:
            return batch
        batch *= 2
    return None
