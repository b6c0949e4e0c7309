"""State of Budget bench: a design's verdict, its neighbours in width and experts, and the best on record."""

import json
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from moe_lessons.budget import KINDS, Budget, Design, Verdict, assess, leverage, trained, usual
from moe_lessons.budget.quality import STORED_BITS, size
from moe_lessons.budget.searching import loss_if_it_fits

EXPERTS = (1, 8, 16, 32, 64, 128, 256, 512)
WIDTHS = tuple(range(1024, 8193, 512))
GRAINS = (2, 4, 8, 16)
GOOD = 0.02
"""Relative distance to the best loss up to which a cell of the map counts as good."""


@dataclass(frozen=True)
class Params:
    """A budget and the choices of a design.

    Parameters
    ----------
    budget : str
        One of ``moe_lessons.budget.KINDS``.
    d_model : int
    n_experts : int
        1 is dense.
    grain : int
        2 d_model / d_expert, where there are experts to choose.
    hidden : float
        Width of a token's experts together, in d_model; of a dense model its hidden width.
    bits : int
    layout : str
        "one" where there is a single device.
    """

    budget: str = "phone"
    d_model: int = 2048
    n_experts: int = 32
    grain: int = 4
    hidden: float = 4.0
    bits: int = 8
    layout: str = "one"


@dataclass(frozen=True)
class Cell:
    """A place of the map: a width, a number of experts, and what comes of it.

    Attributes
    ----------
    kind : str
        "good", "fits", "memory" or "seconds" for what does not suffice, "refused".
    """

    d_model: int
    n_experts: int
    kind: str
    loss: float | None = None


@dataclass(frozen=True)
class Best:
    """What the search found under a budget, from the file of results."""

    design: Design
    loss: float
    dense_loss: float | None
    twice: dict[str, float]


@dataclass(frozen=True)
class State:
    """What the parameters make.

    Attributes
    ----------
    memory : dict
        Bytes on a device of "experts", "rest" and "cache"; empty where the design was refused.
    acts_like : float
        Parameters of the dense model of the same worth.
    cells : tuple of Cell
        All widths and numbers of experts, with the other choices kept.
    """

    params: Params
    design: Design
    verdict: Verdict
    best: Best
    memory: dict[str, float]
    acts_like: float
    cells: tuple[Cell, ...]


def design_of(p: Params, d_model: int | None = None, n_experts: int | None = None) -> Design:
    """The design of the parameters, with another width or number of experts if given.

    Examples
    --------
    >>> design = design_of(Params())
    >>> design.top_k, design.d_expert  # 8 x 1024 is four times 2048
    (8, 1024)
    >>> design_of(Params(n_experts=1)).d_expert
    8192
    """
    d, e = d_model or p.d_model, n_experts or p.n_experts
    layout = p.layout if KINDS[p.budget].devices > 1 else "one"
    if e == 1:
        return usual(d, 1, 1, round(p.hidden * d), bits=p.bits, layout=layout)
    top_k = max(1, round(p.hidden * p.grain / 2))
    return usual(d, e, min(top_k, e), 2 * d // p.grain, bits=p.bits, layout=layout)


@cache
def record() -> dict[str, Best]:
    """What `benchmarks/budget.py` found, by budget.

    Examples
    --------
    >>> round(record()["little text"].loss, 2), record()["little text"].design.n_experts
    (2.2, 1)
    """
    text = (files("moe_lessons") / "results" / "budget.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["rows"]
    return {
        row["budget"]: Best(Design(**row["design"]), row["loss"], row["dense_loss"], row["twice"])
        for row in rows
    }


def simulate(params: Params) -> State:
    """Compute the state; pure.

    Examples
    --------
    >>> state = simulate(Params())
    >>> state.verdict.over
    ('memory', 'seconds')
    >>> round(state.best.loss, 3), len(state.cells)
    (2.083, 120)
    """
    budget, best = KINDS[params.budget], record()[params.budget]
    design = trained(design_of(params), budget)
    verdict = assess(design, budget)
    memory, acts = {}, 0.0
    if verdict.price is not None:
        width = STORED_BITS[design.bits] / 8
        n = budget.devices if design.layout != "one" else 1
        experts = design.n_layers * design.n_experts * design.expert / n * width
        experts = 0.0 if design.dense else experts
        rest = verdict.price.weight_bytes - experts
        memory = {"experts": experts, "rest": rest, "cache": verdict.price.cache_bytes}
        acts = size(design) * leverage(design)
    # The map is the same wherever one stands on it.
    cells = _cells(replace(params, d_model=WIDTHS[0], n_experts=EXPERTS[0]))
    return State(params, design, verdict, best, memory, acts, cells)


@lru_cache(maxsize=64)
def _cells(params: Params) -> tuple[Cell, ...]:
    budget, best = KINDS[params.budget], record()[params.budget]
    return tuple(_cell(params, budget, best, d, e) for e in EXPERTS for d in WIDTHS)


def _cell(p: Params, budget: Budget, best: Best, d_model: int, n_experts: int) -> Cell:
    design = trained(design_of(p, d_model, n_experts), budget)
    loss = loss_if_it_fits(design, budget)
    if loss is not None:
        return Cell(d_model, n_experts, "good" if loss <= (1 + GOOD) * best.loss else "fits", loss)
    verdict = assess(design, budget)
    return Cell(d_model, n_experts, "refused" if verdict.refused else verdict.over[0])


def at_best(params: Params) -> Params:
    """The parameters nearest to the best design on record, as far as the controls reach.

    Examples
    --------
    >>> at_best(Params("little text")).n_experts
    1
    """
    d = record()[params.budget].design
    grain = min(GRAINS, key=lambda g: abs(g - d.granularity))
    hidden = round(2 * (d.top_k + d.n_shared) * d.d_expert / d.d_model) / 2
    width = min(WIDTHS, key=lambda w: abs(w - d.d_model))
    near = Params(params.budget, width, d.n_experts, grain, min(max(hidden, 2.0), 7.0), d.bits, d.layout)
    found = [
        Params(near.budget, w, near.n_experts, g, h / 2, near.bits, near.layout)
        for w in WIDTHS
        for g in GRAINS
        for h in range(4, 15)
    ]
    budget = KINDS[params.budget]
    judged = ((loss_if_it_fits(trained(design_of(p), budget), budget), i) for i, p in enumerate(found))
    losses = [(loss, i) for loss, i in judged if loss is not None]
    return found[min(losses)[1]] if losses else near
