"""The long tables of lesson 11: granularity against what the data asks for, and latents against its rank."""

from collections.abc import Callable
from functools import partial
from typing import Any

from moe_lessons.steps import each
from moe_lessons.toy.fine import Fine, FineRun
from moe_lessons.toy.skills import Clusters, Skills

AT_ONCE = (1, 2, 4, 8)
"""Skills that a token needs."""
GRAINS = (1, 2, 4, 8)
"""Granularities: slices that each expert is cut into."""
RATES = (3e-3, 1e-2, 3e-2)
"""Learning rates at the start."""
RANKS = (8, 32)
LATENTS = (32, 16, 8, 4)
WIDTH, CLUSTERS = 32, 32
"""Of the tokens with few dimensions."""
LATENT_RATE = 1e-2


def latent_settings(d_latent: int, **changes: Any) -> Fine:
    """A model whose experts work in so many of 32 numbers, all with equal expert parameters and FLOPs.

    Half the width, twice the experts, and twice as many of them for each token.

    Examples
    --------
    >>> [latent_settings(d_latent).sizes for d_latent in (32, 8)]
    [(8, 1, 16), (32, 4, 16)]
    """
    more = WIDTH // d_latent
    return Fine(
        n_experts=8 * more,
        top_k=more,
        d_latent=d_latent if d_latent < WIDTH else None,
        down_std=(16 * more) ** -0.5,
        learning_rate=LATENT_RATE,
        **{"steps": 300, "n_seeds": 8, **changes},
    )


def grid(*, n_seeds: int, steps: int, say: Callable[[str], Any] = lambda line: None) -> list[dict[str, Any]]:
    """Train every granularity on every number of skills at every rate; errors in ten-thousandths, by seed.

    Examples
    --------
    >>> len(grid(n_seeds=1, steps=2))
    48
    """
    rows = []
    for at_once in each(AT_ONCE, "skills at once"):
        for granularity in GRAINS:
            for rate in RATES:
                settings = Fine(granularity=granularity, learning_rate=rate, n_seeds=n_seeds, steps=steps)
                error_S = FineRun(partial(Skills.draw, at_once=at_once), settings).train().error_S
                say(f"{at_once} at once, G={granularity}, rate {rate:g}: {error_S.mean():.3f}")
                errors = (10_000 * error_S).round().int().tolist()
                rows.append({"at_once": at_once, "granularity": granularity, "rate": rate, "errors": errors})
    return rows


def latents(
    *, n_seeds: int, steps: int, say: Callable[[str], Any] = lambda line: None
) -> list[dict[str, Any]]:
    """Train every latent width on data of every rank; errors in ten-thousandths, by seed.

    Examples
    --------
    >>> [row["d_latent"] for row in latents(n_seeds=1, steps=2)]
    [32, 16, 8, 4, 32, 16, 8, 4]
    """
    rows = []
    for rank in RANKS:
        draw = partial(Clusters.of_rank, rank=rank, width=WIDTH, n_clusters=CLUSTERS)
        for d_latent in LATENTS:
            error_S = FineRun(draw, latent_settings(d_latent, n_seeds=n_seeds, steps=steps)).train().error_S
            say(f"rank {rank}, latent {d_latent}: {error_S.mean():.3f}")
            errors = (10_000 * error_S).round().int().tolist()
            rows.append({"rank": rank, "d_latent": d_latent, "errors": errors})
    return rows
