"""Points by the distance to the best design; and what binds, which choice to change, which mistake it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from moe_lessons.budget.judging import Verdict, assess
from moe_lessons.budget.means import Budget
from moe_lessons.budget.mistakes import Mistake, mistake
from moe_lessons.budget.ranges import BITS
from moe_lessons.budget.searching import loss_if_it_fits, search, shadow_prices, trained
from moe_lessons.budget.shape import LAYOUTS, Design, as_chosen, usual

FULL = 10.0
FOR_TRYING, FOR_FITTING = 2.0, 3.0
"""Most for a design that is judged and does not fit, and least for one that fits."""
GOOD_ENOUGH, FAR_OFF = 0.002, 0.05
"""Relative distances to the best loss, up to which all points are given and from which none are added."""
UNITS = {"memory": "bytes of memory", "seconds": "time of a step", "flops": "compute", "tokens": "text"}


@dataclass(frozen=True)
class Score:
    """Points out of ten, the verdict behind them, and what to say.

    Attributes
    ----------
    points : float
        To one decimal.
    verdict : Verdict
    lines : tuple of str
        What is wrong or could be better, in order.
    mistake : Mistake or None
        What the design looks like.
    """

    points: float
    verdict: Verdict
    lines: tuple[str, ...]
    mistake: Mistake | None = None

    def __str__(self) -> str:
        return "\n".join([f"{self.points:g} of {FULL:g} points", *self.lines])


def score(design: Design, budget: Budget) -> Score:
    """Judge a design against the best one that `search` finds under the same budget.

    Parameters
    ----------
    design : Design
    budget : Budget

    Returns
    -------
    Score
        0 where the simulator refuses; up to 2 where it does not fit; 3 where it fits, and up to 7 more the
        nearer its loss is to the best.

    Examples
    --------
    >>> from moe_lessons.budget.means import LAB
    >>> print(score(trained(usual(2048, 32, 8, 1024), LAB), LAB))
    3.4 of 10 points
    loss 2.264; 2.161 is possible, 4.5 % less
    what binds here is compute: twice as much of it would lower the best loss by 0.052
    of single changes, another n_experts helps most
    A larger share of the experts works for each token than in the best design. ...
    """
    design = as_chosen(design)
    verdict, best = assess(design, budget), search(budget)
    if verdict.refused:
        return Score(0.0, verdict, tuple(f"refused: {line}" for line in verdict.refused))
    assert verdict.uses is not None
    assert verdict.loss is not None
    looks = mistake(design, verdict, budget, best)
    if not verdict.fits:
        worst = max(verdict.uses.values())
        lines = [
            f"too much {UNITS[name]}: {100 * verdict.uses[name]:,.0f} % of what there is"
            for name in verdict.over
        ]
        points = FOR_TRYING * max(0.0, 2.0 - worst)
        return Score(round(points, 1), verdict, (*lines, *_said(looks)), looks)
    assert best is not None, "what fits is found"
    distance = verdict.loss / best.loss - 1
    if distance <= GOOD_ENOUGH:
        return Score(FULL, verdict, (f"loss {verdict.loss:.3f}: as good as the best that a search finds",))
    share = max(0.0, 1 - (distance - GOOD_ENOUGH) / (FAR_OFF - GOOD_ENOUGH))
    points = FOR_FITTING + (FULL - FOR_FITTING) * share
    prices = shadow_prices(budget)
    name = max(prices, key=prices.__getitem__)
    less, bought = f"{100 * (1 - best.loss / verdict.loss):.1f} %", f"{prices[name]:.3f}"
    lines = [
        f"loss {verdict.loss:.3f}; {best.loss:.3f} is possible, {less} less",
        f"what binds here is {UNITS[name]}: twice as much of it would lower the best loss by {bought}",
    ]
    if choice := what_to_change(design, budget):
        lines.append(f"of single changes, another {choice} helps most")
    return Score(round(points, 1), verdict, (*lines, *_said(looks)), looks)


def _said(looks: Mistake | None) -> tuple[str, ...]:
    return (looks.message,) if looks else ()


def what_to_change(design: Design, budget: Budget) -> str | None:
    """Name the choice of which some other value lowers the loss most, all else kept; None where none does.

    Examples
    --------
    >>> from moe_lessons.budget.means import LAB
    >>> what_to_change(usual(2048, 32, 8, 1024, tokens=1e10), LAB)
    'tokens'
    """
    now, most = loss_if_it_fits(design, budget), loss_if_it_fits(trained(design, budget), budget)
    if most is not None and (now is None or most < now - 0.005):
        return "tokens"
    lowest, choice = (float("inf") if now is None else now - 1e-6), None
    for name, other in _changes(design, budget):
        loss = loss_if_it_fits(other, budget)
        if loss is not None and loss < lowest:
            lowest, choice = loss, name
    return choice


def _changes(design: Design, budget: Budget) -> Iterator[tuple[str, Design]]:
    """Designs with one choice changed, and trained for as long as they can be then."""
    d = design
    others: list[tuple[str, Design]] = [("bits", replace(d, bits=bits)) for bits in BITS]
    others += [("layout", replace(d, layout=layout)) for layout in LAYOUTS]
    others += (
        [("n_shared", replace(d, n_shared=1 - d.n_shared))] if not d.dense and d.n_shared in (0, 1) else []
    )
    for up in (0.5, 0.75, 1.25, 1.5, 2.0):
        others += [
            (name, replace(d, **{name: max(1, round(getattr(d, name) * up))}))
            for name in ("top_k", "d_expert")
        ]
        if not d.dense:
            others.append(("n_experts", replace(d, n_experts=max(8, round(d.n_experts * up)))))
        wide = usual(
            max(128, 128 * round(d.d_model * up / 128)), d.n_experts, d.top_k, max(1, round(d.d_expert * up))
        )
        others.append(
            (
                "d_model",
                replace(
                    d,
                    d_model=wide.d_model,
                    n_layers=wide.n_layers,
                    n_heads=wide.n_heads,
                    d_expert=wide.d_expert,
                ),
            )
        )
    for name, other in others:
        if name == "top_k" and d.dense:
            continue
        if other.top_k <= other.n_experts:
            yield name, trained(other, budget)
