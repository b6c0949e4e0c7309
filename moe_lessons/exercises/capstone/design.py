"""Exercise 17.design: a design for each of eight budgets; whatever fits and is nearly the best will do."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.budget import KINDS
from moe_lessons.exercises.capstone.costing import NAMES, Shape, best
from moe_lessons.exercises.capstone.design_filled import MEMORY_FILLED, together
from moe_lessons.exercises.capstone.design_judged import OUTPUTS, fits, good, legal
from moe_lessons.exercises.capstone.design_mistakes import MISTAKES
from moe_lessons.exercises.capstone.design_width import ALL_K_TOGETHER
from moe_lessons.exercises.spec import Case, Crash, Exercise, Output, Property


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
        Property("inside the range of the laws", legal),
        Property("fits memory and time", fits),
        Property("within 2 % of the best", good),
    ),
    misconceptions=(ALL_K_TOGETHER, *MISTAKES, MEMORY_FILLED),
    together=together,
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
            "Nothing was found for this budget: not one design of your lists fits, or the best one was not "
            "kept. Some budgets need a narrow model or four bits, others all devices together: go through "
            "more widths, all bits and all layouts.",
            pattern=r"^ValueError: min\(\) (arg is an empty sequence|iterable argument is empty)"
            r"|^TypeError: 'NoneType' object is not",
            hint=2,
        ),
        Crash(
            "no_design",
            "None came back for this budget: the function ends without a `return`, or not one design of your "
            "lists fits. Some budgets need a narrow model or four bits, others all devices together.",
            pattern=r"^returned None",
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
