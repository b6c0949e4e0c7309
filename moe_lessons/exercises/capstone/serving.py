"""What it takes to serve a drawn design, with a place for each mistake that one can make."""

from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case

Served = tuple[float, float]
"""Bytes that are held, and seconds of a step."""
Experts = Callable[[int, int, int], float]
"""How many of them: by E, K and the batch."""
Piles = tuple[float, float, float]
"""How often something is held, read in a step, and multiplied by a token."""

# A mistake in what is read is right where arithmetic takes longer. The two cases of these have different Ks,
# or it would be said that the answer is right exactly where `top_k` is 2.
SHAPES = (  # D, E, K, F, batch, context, bits
    (2048, 64, 4, 1024, 1, 4096, 16),
    (3072, 128, 8, 768, 48, 2048, 8),
    (2560, 32, 2, 2560, 700, 512, 4),
    (4096, 16, 3, 4096, 1200, 256, 8),
    (4096, 1, 1, 16384, 7, 8192, 8),
)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three designs that wait for memory, two for arithmetic; the dense one is the limiting case."""
    cases = []
    for d, e, k, f, batch, context, bits in SHAPES:
        layers = d // 128 + int(rng.integers(0, 4))
        computes = batch > 100
        args = {
            "shared": float(layers * (2 * d * d + 512 * d) + 65_536 * d),
            "expert": float(layers * 3 * d * f),
            "embedding": float(65_536 * d),
            "n_experts": e,
            "top_k": k,
            "cache_per_token": float(2 * layers * max(1, d // 512) * 128 * 2),
            "batch": batch + int(rng.integers(0, 3)) * (batch > 1),
            "context": context,
            "bits": bits,
            "bandwidth": float(
                f"{10 ** (rng.uniform(12.2, 12.6) if computes else rng.uniform(11, 12.6)):.4g}"
            ),
            "peak": float(f"{10 ** (rng.uniform(12.6, 13) if computes else rng.uniform(14, 14.6)):.4g}"),
        }
        name = f"D={d}, E={e}, K={k}, {args['batch']} users" + (", dense" if e == 1 else "")
        cases.append(Case(name, args, edge=e == 1))
    return cases


def coverage(n_experts: int, top_k: int, batch: int) -> float:
    """Expected experts that a batch touches."""
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def served(
    shared: float,
    expert: float,
    embedding: float,
    n_experts: int,
    top_k: int,
    cache_per_token: float,
    batch: int,
    context: int,
    bits: int,
    bandwidth: float,
    peak: float,
    *,
    touched: Experts = coverage,
    held: Experts = lambda e, k, b: e,
    computing: Experts = lambda e, k, b: k,
    cached: Callable[[float, int, int], float] = lambda each, users, tokens: each * users * tokens,
    cached_in_step: Callable[[float, int, int], float] | None = None,
    cache_factor: Callable[[int], float] = lambda bits: 1,
    shared_in: Piles = (1, 1, 1),
    table_in: Piles = (1, 0, 0),
    weight_bytes: Callable[[int], float] = lambda bits: bits / 8,
    rest_bytes: Callable[[int], float] | None = None,
    read_bytes: Callable[[int], float] | None = None,
    operations: Callable[[int], float] = lambda bits: 2,
    readers: Callable[[int], int] = lambda users: 1,
    tokens: Callable[[int, int], float] = lambda users, context: users,
    joined: Callable[[float, float], float] = max,
    waits: Callable[[int], float] = lambda users: 1,
    units: tuple[float, float] = (1, 1),
) -> Served:
    """Bytes held and seconds of a step; what mistakes change comes by name."""
    e, k = n_experts, top_k
    piles = [
        (shared_in[i] * shared, table_in[i] * embedding, n(e, k, batch) * expert)
        for i, n in enumerate((held, touched, computing))
    ]
    rest, width = (rest_bytes or weight_bytes)(bits), weight_bytes(bits)
    each = cache_per_token * cache_factor(bits)
    cache = cached(each, batch, context)
    memory = (piles[0][0] + piles[0][1]) * rest + piles[0][2] * width + cache
    if read_bytes:
        rest = width = read_bytes(bits)
    weights = (piles[1][0] + piles[1][1]) * rest + piles[1][2] * width
    read = weights * readers(batch) + (cached_in_step or cached)(each, batch, context)
    work = operations(bits) * sum(piles[2]) * tokens(batch, context)
    return units[0] * memory, units[1] * waits(batch) * joined(read / bandwidth, work / peak)
