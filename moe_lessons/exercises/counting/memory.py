"""Exercise 03.memory: gigabytes of weights and of the key-value cache."""

from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

NAMES = (
    "total",
    "active",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "d_head",
    "context",
    "batch",
    "weight_bits",
    "cache_bits",
)
GB, GIB = 10**9, 2**30
Sizes = tuple[float, float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Mixtral in three settings and a drawn model."""
    mixtral = (46702792704, 12879925248, 32, 32, 8, 128)
    rows = [
        ("Mixtral-8x7B, bf16, 1 text of 32768 tokens", (*mixtral, 32768, 1, 16, 16)),
        ("Mixtral-8x7B, 8-bit weights, 64 texts of 4096", (*mixtral, 4096, 64, 8, 16)),
        ("Mixtral-8x7B, 4-bit weights, 8-bit cache", (*mixtral, 8192, 16, 4, 8)),
    ]
    active = int(rng.integers(10**9, 3 * 10**9))
    drawn = (
        7 * active,
        active,
        int(rng.integers(20, 60)),
        28,
        4,
        96,
        int(rng.integers(2000, 9000)),
        5,
        8,
        16,
    )
    rows.append(("a drawn model", drawn))
    return [Case(name, dict(zip(NAMES, row, strict=True))) for name, row in rows]


def reference(
    total: int,
    active: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    d_head: int,
    context: int,
    batch: int,
    weight_bits: int,
    cache_bits: int,
) -> Sizes:
    """Every parameter is held; each layer keeps a key and a value per kv head for every cached token."""
    cached = n_layers * 2 * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8 / GB, cached * cache_bits / 8 / GB


def _with(
    weights: Callable[..., float] | float = 1, cache: Callable[..., float] | float = 1
) -> Callable[..., Sizes]:
    """The right sizes, each times what a mistake makes of it."""

    def wrong(*sizes: int) -> Sizes:
        named = dict(zip(NAMES, sizes, strict=True))
        right = reference(*sizes)
        factors = [f(named) if callable(f) else f for f in (weights, cache)]
        return right[0] * factors[0], right[1] * factors[1]

    return wrong


MEMORY = Exercise(
    id="03.memory",
    title="What has to fit",
    task=(
        "Return `(weights_gb, cache_gb)` in GB (10⁹ bytes): all the weights that must be held, at "
        "`weight_bits` each, and the KV cache of `batch` texts of `context` tokens, at `cache_bits` per "
        "number. Attention has `n_heads` query heads and `n_kv_heads` key and value heads of width `d_head` "
        "in each layer."
    ),
    entry="memory",
    points=3,
    minutes=8,
    difficulty=2,
    outputs=(Output("weights_gb", rtol=1e-6, atol=1e-9), Output("cache_gb", rtol=1e-6, atol=1e-9)),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "bits",
            "These are gigabits. A byte has eight bits.",
            wrong=_with(8, 8),
        ),
        Misconception(
            "whole_bytes",
            "Weights of 4 bits take no room here: `4 // 8` is 0. Half a byte is a fraction; divide with `/`.",
            wrong=_with(
                lambda n: n["weight_bits"] // 8 * 8 / n["weight_bits"],
                lambda n: n["cache_bits"] // 8 * 8 / n["cache_bits"],
            ),
            hint=3,
        ),
        Misconception(
            "in_bytes",
            "These are bytes. A GB is 10⁹ of them.",
            wrong=_with(GB, GB),
            hint=3,
        ),
        Misconception(
            "megabytes",
            "These are MB, of 10⁶ bytes. A GB has 10⁹.",
            wrong=_with(1000, 1000),
            hint=3,
        ),
        Misconception(
            "swapped",
            "Both sizes are right, in the wrong order: weights first, then the cache.",
            wrong=lambda *sizes: reference(*sizes)[::-1],
        ),
        Misconception(
            "together",
            "The weights are right. The second number holds weights and cache together; asked for is the "
            "cache alone.",
            wrong=lambda *sizes: (reference(*sizes)[0], sum(reference(*sizes))),
        ),
        Misconception(
            "weights_per_text",
            "The weights are counted once for every text. A batch shares them: that is the point of "
            "batching.",
            wrong=_with(weights=lambda n: n["batch"]),
        ),
        Misconception(
            "sixteen_bit_cache",
            "The cache is counted with two bytes for each number in every case. `cache_bits` says how many "
            "bits it is.",
            wrong=_with(cache=lambda n: 16 / n["cache_bits"]),
            hint=3,
        ),
        Misconception(
            "all_heads_of_the_model",
            "Keys and values are counted for query heads and key-value heads together. Only key-value heads "
            "keep anything.",
            wrong=_with(cache=lambda n: (n["n_heads"] + n["n_kv_heads"]) / n["n_kv_heads"]),
            hint=2,
        ),
        Misconception(
            "queries_for_values",
            "The cache is counted for `n_heads` and `n_kv_heads` once each: queries and keys, or one of the "
            "two for all heads. A query is used once and not kept. Keys and values are, and there are "
            "`n_kv_heads` of each.",
            wrong=_with(cache=lambda n: (n["n_heads"] + n["n_kv_heads"]) / (2 * n["n_kv_heads"])),
            hint=2,
        ),
        Misconception(
            "gibibytes",
            "These are GiB, of 2³⁰ bytes. GB are 10⁹ bytes, and the two differ by 7 %.",
            wrong=_with(GB / GIB, GB / GIB),
        ),
        Misconception(
            "active_only",
            "Only the active weights are held. The next token may choose any expert, so all of them have to "
            "be there.",
            wrong=_with(weights=lambda n: n["active"] / n["total"]),
        ),
        Misconception(
            "keys_only",
            "The cache holds one number where it needs two: attention keeps keys and values.",
            wrong=_with(cache=0.5),
            hint=2,
        ),
        Misconception(
            "query_heads",
            "The cache is counted with the query heads. Only keys and values are kept, and of those there "
            "are `n_kv_heads`: that is what grouped-query attention is for.",
            wrong=_with(cache=lambda n: n["n_heads"] / n["n_kv_heads"]),
            hint=2,
        ),
        Misconception(
            "one_head",
            "The cache is counted for one head. Every key and value head keeps its own.",
            wrong=_with(cache=lambda n: 1 / n["n_kv_heads"]),
            hint=2,
        ),
        Misconception(
            "one_layer",
            "The cache is counted for one layer. Every layer keeps its own keys and values.",
            wrong=_with(cache=lambda n: 1 / n["n_layers"]),
            hint=2,
        ),
        Misconception(
            "one_text",
            "The cache is counted for one text. Weights are shared by a batch; a cache belongs to its text.",
            wrong=_with(cache=lambda n: 1 / n["batch"]),
        ),
        Misconception(
            "cache_in_weight_bits",
            "The cache is given the bits of the weights. They are chosen separately: 4-bit weights with a "
            "16-bit cache are common.",
            wrong=_with(cache=lambda n: n["weight_bits"] / n["cache_bits"]),
            hint=3,
        ),
        Misconception(
            "squared",
            "The cache is counted with the square of the context. Attention's work grows like that; what it "
            "keeps is one entry per token.",
            wrong=_with(cache=lambda n: n["context"]),
            hint=2,
        ),
    ),
    hints=(
        "What must be there before you know which experts the next token will choose?",
        "Per token and layer the cache keeps a key and a value for each key-value head.",
        "bytes = numbers * bits / 8, each with its own bits; then divide by 10⁹.",
    ),
    notice=(
        "Here it is `active` that is never used, since any token may ask for any expert; and nothing in "
        "the cache depends on the experts at all."
    ),
)
