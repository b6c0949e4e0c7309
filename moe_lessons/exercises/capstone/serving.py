"""What it takes to serve a drawn design, with a place for each mistake that one can make."""

from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case

Numbers = tuple[float, float]
Touched = Callable[[int, int, int], float]

SHAPES = (  # D, E, K, F, batch, context, bits
    (2048, 64, 4, 1024, 1, 4096, 16),
    (3072, 128, 8, 768, 48, 2048, 8),
    (2560, 32, 2, 2560, 700, 512, 4),
    (4096, 16, 2, 4096, 1200, 256, 8),
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
    touched: Touched = coverage,
    held: Callable[[int, int], int] = lambda e, k: e,
    cached: Callable[[float, int, int], float] = lambda each, users, tokens: each * users * tokens,
    read_cache: bool = True,
    read_table: bool = False,
    weight_bytes: Callable[[int], float] = lambda bits: bits / 8,
    operations: float = 2,
    computing: Callable[[int, int], int] = lambda e, k: k,
    tokens: Callable[[int], int] = lambda users: users,
    joined: Callable[[float, float], float] = max,
    no_table: bool = False,
) -> Numbers:
    """Bytes held and seconds of a step; what mistakes change comes by name."""
    cache, width = cached(cache_per_token, batch, context), weight_bytes(bits)
    table = 0.0 if no_table else embedding
    memory = (shared + table + held(n_experts, top_k) * expert) * width + cache
    weights = shared + touched(n_experts, top_k, batch) * expert + (embedding if read_table else 0.0)
    read = weights * width + (cache if read_cache else 0.0)
    work = operations * (shared + computing(n_experts, top_k) * expert) * tokens(batch)
    return memory, joined(read / bandwidth, work / peak)
