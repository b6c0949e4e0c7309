"""The best design that a search finds: a grid of shapes, precisions and layouts, then steps around the best.

Deterministic, standard library, some tenths of a second. It is a mark to measure against and no proof: a
learner may find a better one, and then the mark moves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from moe_lessons.budget.judging import RESOURCES, Verdict, assess
from moe_lessons.budget.means import Budget
from moe_lessons.budget.price import price
from moe_lessons.budget.quality import predicted_loss
from moe_lessons.budget.ranges import RANGES, no_numbers, refusals
from moe_lessons.budget.shape import LAYOUTS, Design, usual

WIDTHS = (1024, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192)
EXPERTS, GRAINS, HIDDEN = (8, 16, 32, 64, 128, 256, 512), (2, 4, 8, 16), (4, 6, 8, 12)
"""E, G, and twice the active hidden width over d_model."""
DENSE = [(d, 1, 1, d * half // 2) for d in range(1024, 8193, 256) for half in range(4, 15)]
SPARSE = [
    (d, e, g * half // 4, 2 * d // g)
    for d in WIDTHS
    for e in EXPERTS
    for g in GRAINS
    for half in HIDDEN
    if g * half // 2 <= e <= 32 * g * half
]
SHAPES = DENSE + SPARSE
STARTS = 3
SERVED_BITS = (8, 4)
"""Sixteen are better than eight by less than .0001 nats, and take twice the bytes."""


class Found(NamedTuple):
    """A design and what the simulator says of it."""

    design: Design
    verdict: Verdict

    @property
    def loss(self) -> float:
        """Nats a token."""
        assert self.verdict.loss is not None
        return self.verdict.loss


def trained(design: Design, budget: Budget) -> Design:
    """The design, trained on as many tokens as compute, text and the laws' range allow: more never hurts.

    One whose choices are no numbers comes back as it is: there is nothing to count, and `refusals` says why.

    Examples
    --------
    >>> from moe_lessons.accounting.written import written
    >>> from moe_lessons.budget.means import LAB
    >>> written(trained(usual(2048, 256, 4, 512), LAB).tokens)
    '325.7 billion'
    """
    if no_numbers(design):
        return design
    most = (
        budget.flops / (6.0 * design.active),
        RANGES["repetitions of the text"].high * budget.tokens,
        RANGES["tokens / active parameter"].high * design.active,
    )
    return replace(design, tokens=min(most))


def designs(budget: Budget, shapes: Iterable[tuple[int, int, int, int]] = SHAPES) -> Iterator[Design]:
    """Every shape in few bits and with every layout, trained as long as the budget allows.

    Examples
    --------
    >>> from moe_lessons.budget.means import EIGHT, LAB
    >>> len(list(designs(LAB, [(2048, 64, 4, 512)]))), len(list(designs(EIGHT, [(4096, 64, 4, 512)])))
    (2, 6)
    """
    for shape in shapes:
        once = trained(usual(*shape), budget)
        for bits in SERVED_BITS:
            for layout in LAYOUTS if budget.devices > 1 else LAYOUTS[:1]:
                yield replace(once, bits=bits, layout=layout)


def loss_if_it_fits(design: Design, budget: Budget) -> float | None:
    """The loss, or None: `assess` without the words, cheapest question first."""
    cost = price(design, budget)
    if cost.memory_bytes > budget.memory or cost.seconds > budget.seconds or refusals(design, budget):
        return None
    return predicted_loss(design, budget.tokens)


@lru_cache(maxsize=512)
def search(budget: Budget, *, dense: bool = False) -> Found | None:
    """Find the best design under a budget; None where not one fits.

    Parameters
    ----------
    budget : Budget
    dense : bool
        Among dense models only.

    Examples
    --------
    >>> from moe_lessons.budget.means import LAB, LITTLE_TEXT
    >>> search(LAB).design.n_experts > 1, search(LITTLE_TEXT).design.dense
    (True, True)
    """
    starts: dict[int, tuple[float, Design]] = {}  # the best of each number of experts
    for design in designs(budget, DENSE if dense else SHAPES):
        loss = loss_if_it_fits(design, budget)
        if loss is not None and (design.n_experts not in starts or loss < starts[design.n_experts][0]):
            starts[design.n_experts] = loss, design
    if not starts:
        return None
    promising = sorted(starts.values(), key=lambda found: found[0])[:STARTS]
    best = min((_climb(*start, budget) for start in promising), key=lambda found: found[0])[1]
    return Found(best, assess(best, budget))


def _climb(loss: float, design: Design, budget: Budget) -> tuple[float, Design]:
    """Step to the best neighbour for as long as there is a better one."""
    while True:
        near = (trained(other, budget) for other in neighbours(design))
        losses = ((loss_if_it_fits(other, budget), other) for other in near)
        better = [(found, other) for found, other in losses if found is not None and found < loss - 1e-9]
        if not better:
            return loss, design
        loss, design = min(better, key=lambda found: found[0])


def neighbours(design: Design) -> Iterator[Design]:
    """Designs that differ in one choice, and in how wide they are beside."""
    d, e, k, f = design.d_model, design.n_experts, design.top_k, design.d_expert
    widths = [w for w in (d - 512, d - 256, d - 128, d, d + 128, d + 256, d + 512) if w >= 512]
    hidden = (f - 256, f - 64, f, f + 64, f + 256)
    chosen = (
        [(e, k)] if design.dense else [(e, k), (e, k - 1), (e, k + 1), (2 * e, k), (e // 2, k), (e, 2 * k)]
    )
    for w in widths:
        for n_experts, top_k in chosen:
            if not 1 <= top_k <= n_experts:
                continue
            for wide in hidden:
                shape = usual(w, n_experts, top_k, max(64, wide), bits=design.bits, layout=design.layout)
                yield replace(shape, n_shared=design.n_shared)
    if not design.dense:
        yield replace(design, n_shared=1 - design.n_shared, top_k=max(1, k - 1 + 2 * design.n_shared))


def shadow_prices(budget: Budget, factor: float = 2.0) -> dict[str, float]:
    """By how much the best loss falls with ``factor`` times as much of one resource, designed anew each time.

    What binds is what has a price here. The fullest bar of a design need not: a neighbour on the grid may use
    more of it, and a design that is kept cannot use more memory at all.

    Examples
    --------
    >>> from moe_lessons.budget.means import LAB
    >>> prices = shadow_prices(LAB)
    >>> max(prices, key=prices.get)
    'flops'
    """
    now = search(budget)
    if now is None:
        raise ValueError(f"no design fits the budget {budget.name!r}: choose a larger one")
    prices = {}
    for name in RESOURCES:
        then = search(replace(budget, **{name: factor * getattr(budget, name)}))
        assert then is not None  # what fitted fits
        prices[name] = max(0.0, now.loss - then.loss)
    return prices
