"""Exercise 17.design: a design for each of eight budgets; whatever fits and is nearly the best will do."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from moe_lessons.budget import KINDS, Verdict, assess, trained
from moe_lessons.exercises.capstone.costing import (
    NAMES,
    Shape,
    Wrong,
    best,
    budget_of,
    costs,
    design_of,
    one,
)
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs, Property

WITHIN = 1.02
"""Of the loss of the best design of the reference's grid, which the package's search beats by 1 % at most."""
NEAR = 1.01
"""How near a design is to the best one under a mistaken model, by which the mistake is known."""
HARDLY = 1.005
"""By how much a kind of designs has to be behind at least for it to matter that no other is looked at."""
OUTPUTS = ("d_model", "n_experts", "top_k", "d_expert", "bits", "layout")


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """All eight kinds, in a drawn order, five numbers of each moved."""
    kinds = list(KINDS.values())
    cases = []
    for place in rng.permutation(len(kinds)):
        kind, spread = kinds[place], {}
        for name in ("flops", "tokens", "memory", "bandwidth", "seconds"):
            spread[name] = float(f"{getattr(kind, name) * rng.uniform(0.9, 1.15):.3g}")
        args = {name: spread.get(name, getattr(kind, name)) for name in NAMES}
        cases.append(Case(kind.name, {**args, "link": float(args["link"])}))
    return cases


def reference(*given: float) -> Shape:
    """The best of a grid of some thousand designs."""
    found = best(tuple(given))
    if found is None:
        raise ValueError("nothing fits")
    return found[1]


def shape_of(got: Outputs) -> Shape:
    """What was returned, as plain numbers."""
    d, e, k, f, bits = (int(got[name]) for name in OUTPUTS[:5])
    return d, e, k, f, bits, str(got["layout"])


def verdict(case: Case, got: Outputs) -> Verdict:
    """What the package's simulator says of a returned design."""
    key = tuple(float(case.args[name]) for name in NAMES)  # type: ignore[arg-type]
    return _judged(key, shape_of(got))


@lru_cache(maxsize=4096)
def _judged(key: tuple[float, ...], shape: Shape) -> Verdict:
    """Asked for each property and each mistake, so kept."""
    budget = budget_of(dict(zip(NAMES, key, strict=True)))
    design = design_of(shape)
    if min(shape[:5]) > 0:  # the simulator refuses the others, and needs no tokens for that
        design = trained(design, budget)
    return assess(design, budget)


def _legal(case: Case, got: Outputs, want: Outputs) -> str | None:
    refused = verdict(case, got).refused
    return f"refused: {refused[0]}" if refused else None


def _fits(case: Case, got: Outputs, want: Outputs) -> str | None:
    found = verdict(case, got)
    assert found.price is not None
    memory, seconds = (float(case.args[name]) for name in ("memory", "seconds"))  # type: ignore[arg-type]
    if found.price.memory_bytes > memory * (1 + 1e-9):
        return f"needs {found.price.memory_bytes / 1e9:,.1f} GB on a device that has {memory / 1e9:.1f}"
    if found.price.seconds > seconds * (1 + 1e-9):
        return f"a step takes {1e3 * found.price.seconds:,.2f} ms; {1e3 * seconds:.2f} are allowed"
    return None


def _good(case: Case, got: Outputs, want: Outputs) -> str | None:
    loss, possible = verdict(case, got).loss, verdict(case, want).loss
    assert loss is not None
    assert possible is not None
    if loss <= WITHIN * possible:
        return None
    return f"predicted loss {loss:.3f}; {possible:.3f} is possible, and 2 % above that is enough"


def right(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether nothing is to be said about a design."""
    return not any(test(case, got, want) for test in (_legal, _fits, _good))


def _mistaken(wrong: Wrong) -> Any:
    """Whether a design is what a search without this finds; where that is right, it tells nothing."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        key = tuple(float(case.args[name]) for name in NAMES)  # type: ignore[arg-type]
        found = best(key, wrong)
        if found is None:  # not one dense model serves so many
            return wrong.keeps(shape_of(got))
        if right(case, got, want):
            return right(case, dict(zip(OUTPUTS, found[1], strict=True)), want)
        refused = verdict(case, got).refused
        starved = bool(refused) and not wrong.text and _starved(refused)
        if (refused and not starved) or not wrong.keeps(shape_of(got)):
            return False
        if (wrong.one_alone or wrong.full_bits) and not _fits(case, got, want):
            return _costs_much(found[0], case, got, want)
        cost = costs(one(shape_of(got)), dict(zip(NAMES, key, strict=True)), wrong)
        loss, memory, seconds = (float(column[0]) for column in cost)
        fits = memory <= case.args["memory"] and seconds <= case.args["seconds"]  # type: ignore[operator]
        return bool(fits and loss <= NEAR * found[0])

    return detects


def _costs_much(best_of_kind: float, case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether a design is poor because of its kind: none of it would do, or few, and it is near them."""
    loss, possible = verdict(case, got).loss, verdict(case, want).loss
    assert loss is not None
    assert possible is not None
    none_would_do = best_of_kind > WITHIN * possible
    return none_would_do or (best_of_kind > HARDLY * possible and loss <= WITHIN * best_of_kind)


def _starved(refused: Sequence[str]) -> bool:
    """Whether nothing is held against a design but that so large a one would see too few tokens."""
    return all("tokens / active" in line for line in refused)


def _not_allowed(case: Case, got: Outputs, want: Outputs) -> bool:
    refused = verdict(case, got).refused
    return bool(refused) and not _starved(refused)


DESIGN = Exercise(
    id="17.design",
    title="A design for each budget",
    task=(
        "Given a budget, return a design: `d_model`, `n_experts`, `top_k`, `d_expert`, `bits` of a weight "
        '(16, 8 or 4) and `layout` on the devices: `"one"` of them alone, `"experts"` spread out and the '
        'rest on each, or `"all"` matrices cut. What it costs is in the cell: `cost` says loss, bytes on a '
        "device and seconds of a step, `allowed` whether the laws were measured there. `flops` and `tokens` "
        "are for training; `memory`, `bandwidth` and `peak` those of each device, `link` what it sends; a "
        "step for `batch` users with `context` tokens each may take `seconds`. A design with `n_experts = "
        "top_k = 1` is dense. **Any** design passes that fits and comes within 2 % of the lowest loss that "
        "our search finds."
    ),
    entry="design",
    points=6,
    minutes=30,
    difficulty=4,
    outputs=(
        *(Output(name, kind="int", compared=False, plain=True) for name in OUTPUTS[:5]),
        Output("layout", kind="text", compared=False),
    ),
    draw=draw,
    reference=reference,
    properties=(
        Property("inside the range of the laws", _legal),
        Property("fits memory and time", _fits),
        Property("within 2 % of the best", _good),
    ),
    misconceptions=(
        Misconception(
            "active_in_memory",
            "The design would fit if only the experts of one token had to be held. All of them must be: "
            "memory is paid for `n_experts`, arithmetic for `top_k`.",
            detects=_mistaken(Wrong(active_in_memory=True)),
            hint=1,
        ),
        Misconception(
            "cache_forgotten",
            "The weights fit, and no room is left for the caches. Each user has one, as long as the context: "
            "take it off before you choose.",
            detects=_mistaken(Wrong(cache_in_memory=False)),
            hint=1,
        ),
        Misconception(
            "time_ignored",
            "The design fits memory and is too slow. A step may take `seconds`: keep only designs that are "
            "fast enough, then take the best.",
            detects=_mistaken(Wrong(time=False)),
            hint=2,
        ),
        Misconception(
            "batch_of_one",
            "A step was timed for a single user. A batch touches more experts than a token does, and reads "
            "every user's cache.",
            detects=_mistaken(Wrong(one_user=True)),
            hint=1,
        ),
        Misconception(
            "exchange_forgotten",
            "The design would be fast enough if nothing had to travel. On several devices every layer ends "
            "in two exchanges, which grow with batch and `top_k`.",
            detects=_mistaken(Wrong(exchange=False)),
            hint=2,
        ),
        Misconception(
            "total_pays",
            "Training was charged for all parameters. A token is multiplied by the active ones only; that is "
            "what experts are for.",
            detects=_mistaken(Wrong(all_compute=True)),
            hint=1,
        ),
        Misconception(
            "text_forgotten",
            "The largest model was taken that fits. Compute spent on size is not spent on text: with few "
            "tokens for each parameter the loss is higher, however large it is.",
            detects=_mistaken(Wrong(text=False)),
            hint=3,
        ),
        Misconception(
            "experts_buy_nothing",
            "The loss was taken from the active parameters alone. At equal active size a model with more "
            "experts acts like a larger one, by the leverage.",
            detects=_mistaken(Wrong(leverage=False)),
            hint=3,
        ),
        Misconception(
            "always_dense",
            "These are the best *dense* models. In most of the budgets one with experts is better by more "
            "than 2 %: look where memory is left and compute is not.",
            detects=_mistaken(Wrong(dense_alone=True)),
            hint=3,
        ),
        Misconception(
            "memory_pooled",
            "The memory of all devices was added up. `memory` is that of each, and what `cost` says is held "
            "on one: compare these two.",
            detects=_mistaken(Wrong(memory_pooled=True)),
            hint=1,
        ),
        Misconception(
            "one_alone",
            "Only one of the devices is used. Where there are several, sharing out the experts or cutting "
            "the matrices makes room and saves time: go through all layouts.",
            detects=_mistaken(Wrong(one_alone=True)),
            hint=2,
        ),
        Misconception(
            "full_bits",
            "All weights have 16 bits. With 8 they take half the room and are read in half the time, and "
            "lose next to nothing: go through the bits as well.",
            detects=_mistaken(Wrong(full_bits=True)),
            hint=2,
        ),
        Misconception(
            "not_allowed",
            "A design was returned that `allowed` refuses. `cost` has a formula for it all the same, and "
            "nobody has measured there: ask `allowed` first, and go on where it says no.",
            detects=_not_allowed,
            hint=1,
        ),
    ),
    crashes=(
        Crash(
            "cost_of_no_layout",
            "`cost` was asked for a layout that one device by itself cannot have: its `link` is 0. Ask "
            "`allowed` first, and go on where it says no.",
            pattern=r"^ZeroDivisionError",
            line=r"/ link",
            hint=1,
        ),
        Crash(
            "nothing_found",
            "For this budget not one design of your lists fits. Some budgets need a narrow model or four "
            "bits, others all devices together: go through more widths, all bits and all layouts.",
            pattern=r"^ValueError: min\(\) arg is an empty sequence|^TypeError: 'NoneType' object is not",
            hint=2,
        ),
    ),
    hints=(
        "Go through a list of designs, ask `allowed` and `cost` for each, drop what does not fit, and keep "
        "the lowest loss. Which lists does your loop need?",
        "Widths, experts, the size of an expert as a part of the width, `top_k` so that a token's experts "
        "together are two to six times as wide as the model, bits, layouts: six loops, some thousand "
        "designs.",
        "`F = 2 * d // G` for G in 2, 4, 8, 16, and `K = G * r` for r in 1, 1.5, 2, 3. Do not forget the "
        "dense ones, with F two to seven times d. `min` over `(loss, design)` does the rest.",
    ),
    notice=(
        "Eight budgets, eight designs, and none of them is right or wrong by itself: what binds decides, and "
        "in one of them dense and sparse are hardly apart."
    ),
)
