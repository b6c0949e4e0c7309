"""Exercise 17.serve: what a design takes to serve, bytes and seconds, with lessons 03 and 15."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moe_lessons.exercises.capstone.serving import Served, draw, served
from moe_lessons.exercises.capstone.serving_sizes import SLIPS
from moe_lessons.exercises.capstone.serving_slips import Slip
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def reference(*given: Any) -> Served:
    """All weights and the cache are held; the step takes as long as the slower of reading and arithmetic."""
    return served(*given)


def _but(way: Mapping[str, Any]) -> Callable[..., Served]:
    changes = dict(way)
    swapped = changes.pop("swapped", False)

    def wrong(*given: Any) -> Served:
        *others, bandwidth, peak = given
        speeds = (peak, bandwidth) if swapped else (bandwidth, peak)
        return served(*(*others, *speeds), **changes)

    return wrong


def _misconception(slip: Slip) -> Misconception:
    first, *others = map(_but, slip.ways)
    return Misconception(slip.id, slip.message, hint=slip.hint, wrong=first, also=tuple(others))


def _apart(seen: Sequence[tuple[Case, Outputs, Outputs]]) -> str:
    """The mistake in the memory, where the step has one of its own; only such as change one of the two."""
    ordinary = [one for one in seen if not one[0].is_edge]
    given = [list(case.args.values()) for case, _, _ in ordinary]
    outputs = ("memory_bytes", "step_seconds")
    came = [[float(got[name]) for _, got, _ in ordinary] for name in outputs]
    right = [[float(want[name]) for _, _, want in ordinary] for name in outputs]
    found = ["", ""]
    for one in SLIPS:
        numbers = [list(column) for column in zip(*(_but(one.ways[0])(*args) for args in given), strict=True)]
        for place, other in ((0, 1), (1, 0)):
            alone = _alike(numbers[other], right[other]) and not _alike(numbers[place], right[place])
            if alone and _alike(numbers[place], came[place]):
                found[place] = found[place] or one.id
    return found[0] if all(found) else ""


def _alike(numbers: Sequence[float], others: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(numbers, others, strict=True))


def _holds_the_cache(case: Case, got: Outputs, want: Outputs) -> str | None:
    args: dict[str, Any] = dict(case.args)
    cache = args["cache_per_token"] * args["batch"] * args["context"]
    if float(got["memory_bytes"]) < cache * (1 - 1e-9):
        return f"the cache alone takes {cache:.4g} bytes"
    return None


SERVE = Exercise(
    id="17.serve",
    title="What it takes to serve",
    task=(
        "Every token passes `shared` parameters (attention, routers, the head), and `top_k` of `n_experts` "
        "experts; `expert` is one of them *in all layers together*. The table of `embedding` parameters is "
        "held besides, and a token reads one row of it, which counts for nothing. Weights have `bits` bits. "
        "Each of `batch` users has `context` tokens in a cache, `cache_per_token` bytes each. Return the "
        "bytes that must be held, and the seconds of a decode step of all users: the slower of reading (the "
        "weights that the batch touches *in expectation*, and all caches, at `bandwidth`) and arithmetic "
        "(two operations for each parameter that a token passes, at `peak`)."
    ),
    entry="serve",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("memory_bytes", rtol=1e-5), Output("step_seconds", rtol=1e-5, atol=0)),
    draw=draw,
    reference=reference,
    properties=(Property("the cache is held, too", _holds_the_cache),),
    misconceptions=tuple(map(_misconception, SLIPS)),
    together=_apart,
    hints=(
        "Four piles: shared weights, experts, table, caches. Which of them are held, and which are read in a "
        "step, in part or in full?",
        "Bytes are parameters times `bits / 8`; the cache comes in bytes. Expected experts are those of "
        "lesson 03, `n_experts * (1 - (1 - top_k / n_experts) ** batch)`.",
        "`max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)`.",
    ),
    notice=(
        "Memory asks for all experts, reading for those of the batch and arithmetic for those of a token: "
        "three numbers of experts in one design, and mixing them up is the most common mistake on the web."
    ),
)
