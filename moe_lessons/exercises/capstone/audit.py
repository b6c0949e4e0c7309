"""Exercise 17.audit: eight numbers that a page quotes about a model, some of them by a wrong formula."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.capstone.auditing import QUOTED, Formula, Slip
from moe_lessons.exercises.capstone.auditing_more import MISTAKES
from moe_lessons.exercises.capstone.pages import Numbers, rules
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Answer = tuple[Tensor, Tensor]
TOO_MUCH = 0.02
SLIGHTLY = (1.04, 0.96)
"""By what a quote of the first two models is multiplied: off, and by little beside most mistakes."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Four models with two to five of the eight numbers by a named mistake; all are rounded, as on a page.

    Drawn until rounding moves a right number by more than 0.02, or a difference would do for a share, and
    until a quote is off by more than 200 %, or 2 for 2 % would accuse none.
    """
    while True:
        pages = [_page(rng, i) for i in range(4)]
        if any(moved for _, moved, _ in pages) and any(far for _, _, far in pages):
            return [case for case, _, _ in pages]


def _page(rng: np.random.Generator, i: int) -> tuple[Case, bool, bool]:
    """One model's page, whether a right number is rounded by more than 0.02, and one off by over 200 %."""
    n = _model(rng, i)
    right = rules(n)
    quoted = list(right)
    off = rng.permutation(8)[: int(rng.integers(2, 6))]
    for item in off:
        ways = [m.formula for m in QUOTED if m.item == item]
        quoted[item] = float(ways[int(rng.integers(len(ways)))](n))
        if abs(quoted[item] / right[item] - 1) < 0.08:  # too near to be called wrong
            quoted[item] = 1.3 * right[item]
    if i < len(SLIGHTLY):  # or who forgives 5 % or 20 % would be right by luck
        quoted[off[-1]] = SLIGHTLY[i] * right[off[-1]]
    shown = [float(f"{z:.3g}") for z in quoted]
    moved = any(z == a and abs(b - a) > TOO_MUCH for z, a, b in zip(quoted, right, shown, strict=True))
    far = any(b > 3 * a for a, b in zip(right, shown, strict=True))
    case = Case(
        f"a model with {n.n_experts} experts, {n.top_k} a token",
        {**n._asdict(), "quoted_Q": np.array(shown)},
    )
    return case, moved, far


def _model(rng: np.random.Generator, i: int) -> Numbers:
    """A model and its tokens: one capacity is nearer to the number below, and one is whole as it is."""
    e, k = ((16, 2), (32, 4), (64, 4), (32, 2))[i]
    x, v = float(rng.integers(2 * 10**7, 9 * 10**7)), float(rng.integers(5 * 10**7, 2 * 10**8))
    shared = 2 * v + float(rng.integers(3 * 10**8, 9 * 10**8))
    return Numbers(
        shared,
        x,
        v,
        e,
        k,
        (4, 8, 4, 8)[i],
        int(rng.integers(3, e // k)) if e // k < 9 else int(rng.integers(3, 9)),
        int(rng.integers(500, 4000)) if i < 2 else 64 * int(rng.integers(24, 60)) + (4, 0)[i - 2],
        float(rng.choice([1.25, 1.5])),
        64 * int(rng.integers(8, 40)),
        int(rng.choice([4, 8])),
    )


def _judged(right: Sequence[float], quoted_Q: Tensor, limit: float = TOO_MUCH) -> Answer:
    right_Q = torch.tensor(list(right), dtype=torch.float64)
    return right_Q, (quoted_Q / right_Q - 1).abs() > limit


def reference(*given: Any) -> Answer:
    """Eight formulas, and which quotes are off by more than 2 %."""
    *numbers, quoted_Q = given
    return _judged(rules(Numbers(*numbers)), quoted_Q)


def _one_wrong(item: int, formula: Formula) -> Callable[..., Answer]:
    def wrong(*given: Any) -> Answer:
        *numbers, quoted_Q = given
        n = Numbers(*numbers)
        values = list(rules(n))
        values[item] = float(formula(n))
        return _judged(values, quoted_Q)

    return wrong


def _misconception(slip: Slip) -> Misconception:
    """A wrong formula, known by its own number alone where that tells enough."""
    formulas = (slip.formula, *slip.also)

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        numbers = Numbers(*list(case.args.values())[:-1])  # type: ignore[arg-type]
        came, right = float(got["right_Q"][slip.item]), float(want["right_Q"][slip.item])
        wrong = [float(formula(numbers)) for formula in formulas]
        if any(test(case, got, want) for test in (_copied, _table_twice, _other_order)):
            return False  # a mistake with all eight, which has its own name
        return not _same(came, right) and any(_same(came, z) for z in wrong)

    if slip.beside:
        return Misconception(slip.id, slip.message, detects=detects, hint=slip.hint)
    first, *others = (_one_wrong(slip.item, formula) for formula in formulas)
    return Misconception(slip.id, slip.message, wrong=first, also=tuple(others), hint=slip.hint)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-4 * abs(b) + 1e-9


def _other_unit(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether one of the numbers that have a unit is off by a power of ten, by three at least."""
    pairs = [(float(got["right_Q"][i]), float(want["right_Q"][i])) for i in (0, 1, 2, 3, 7)]
    return any(_same(came * 10.0**n, right) for came, right in pairs for n in (-9, -6, -3, 3, 6, 9))


def _copied(case: Case, got: Outputs, want: Outputs) -> bool:
    return np.array_equal(got["right_Q"], case.args["quoted_Q"])  # type: ignore[arg-type]


def _table_twice(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether the table comes on top of `shared` in (1), (2) or (4)."""
    args: dict[str, Any] = dict(case.args)
    table = args["embedding"] / 1e9
    more = {0: table, 1: table, 3: table * args["bits"] / 8}
    return any(_same(float(got["right_Q"][i]), float(want["right_Q"][i]) + by) for i, by in more.items())


def _other_order(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether all eight are there, and not where they are asked for."""
    came, right = np.asarray(got["right_Q"]), np.asarray(want["right_Q"])
    permuted = np.isclose(np.sort(came), np.sort(right), rtol=1e-4)
    return bool(permuted.all() and not np.isclose(came, right, rtol=1e-4).all())


def _rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether all eight are the right ones, some of them to a few digits."""
    came, right = np.asarray(got["right_Q"]), np.asarray(want["right_Q"])
    ways = [right.round(n) for n in range(4)] + [[float(f"{z:.{n}g}") for z in right] for n in (2, 3, 4)]
    near = np.isclose(came, right, rtol=1e-4)
    return not near.all() and any((near | np.isclose(came, way, rtol=1e-6)).all() for way in ways)


def _flags(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Answer]:
    """The right numbers, with other flags."""

    def wrong(*given: Any) -> Answer:
        right_Q, wrong_Q = reference(*given)
        return right_Q, change(right_Q, wrong_Q, given[-1])

    return wrong


def _lenient(limit: float) -> Callable[..., Answer]:
    return _flags(lambda right, wrong, quoted: (quoted / right - 1).abs() > limit)


def _quoted(*given: Any) -> Answer:
    return given[-1].clone(), torch.zeros(8, dtype=torch.bool)


def _positive(case: Case, got: Outputs, want: Outputs) -> str | None:
    low = float(np.min(got["right_Q"]))
    return None if low > 0 else f"one of the right numbers is {low:g}, and each of them is above 0"


AUDIT = Exercise(
    id="17.audit",
    title="Check the page",
    task=(
        "A page quotes eight numbers about a model. `shared` parameters, the table of `embedding` among "
        "them, belong to every token; `expert` is one expert *of all layers together*, with `top_k` of "
        "`n_experts` a token. Work out, in this order: (1) all parameters, in billions; (2) the active ones, "
        "table and all, in billions; (3) GFLOP of a token's forward, where reading a row of the table costs "
        "none; (4) GB of all weights at `bits` bits; (5) experts of a layer that a `batch` of tokens touches "
        "in expectation; (6) the load-balancing loss E Σ f P at an even load, where f counts *all* K choices "
        "of a token, so that it sums to K; (7) the capacity of an expert for `n_tokens` tokens, rounded up; "
        "(8) MB that leave the ranks in a layer's two exchanges for these tokens, with 16 bits a number and "
        "experts evenly on `ranks` ranks, each row sent by itself. Return `right_Q` and, for each, whether "
        "the quote is off by more than 2 %."
    ),
    entry="audit",
    points=5,
    minutes=20,
    difficulty=3,
    outputs=(Output("right_Q", "Q", rtol=1e-4, plain=True), Output("wrong_Q", "Q", kind="bool")),
    draw=draw,
    reference=reference,
    properties=(Property("all numbers are above 0", _positive),),
    misconceptions=(
        *map(_misconception, MISTAKES),
        Misconception(
            "table_twice",
            "The embedding table is counted twice: it is among the `shared` parameters already. Only (3) "
            "asks for it by itself, to take it off.",
            detects=_table_twice,
            hint=1,
        ),
        Misconception(
            "other_unit",
            "One of the numbers has the right digits and another unit. (1) and (2) are billions, (3) is in "
            "GFLOP, (4) in GB and (8) in MB: 10**9 and 10**6.",
            detects=_other_unit,
            hint=3,
        ),
        Misconception(
            "other_order",
            "The eight numbers are right, and some of them stand in another's place. Give them from (1) to "
            "(8).",
            detects=_other_order,
            hint=2,
        ),
        Misconception(
            "rounded",
            "Numbers are rounded. Only (7) is to be; a page rounds, and whoever checks it does not.",
            detects=_rounded,
            hint=3,
        ),
        Misconception(
            "all_accused",
            "Every number is called wrong. Some of them are right, and accusing them is a mistake as well.",
            wrong=_flags(lambda right, wrong, quoted: torch.ones_like(wrong)),
            hint=3,
        ),
        Misconception(
            "none_accused",
            "No number is called wrong. Compare each with yours: two of them at least are off.",
            wrong=_flags(lambda right, wrong, quoted: torch.zeros_like(wrong)),
            hint=3,
        ),
        Misconception(
            "quoted_believed",
            "The quoted numbers are returned as the right ones. Work them out from the model.",
            wrong=_quoted,
            hint=1,
        ),
        Misconception(
            "too_strict",
            "A quote is called wrong because it is rounded. Up to 2 % is fine.",
            wrong=_flags(lambda right, wrong, quoted: quoted != right),
            hint=3,
        ),
        Misconception(
            "absolute_difference",
            "The differences themselves were compared with 0.02. 2 % are a share of the right number: divide "
            "by it.",
            wrong=_flags(lambda right, wrong, quoted: (quoted - right).abs() > TOO_MUCH),
            hint=3,
        ),
        Misconception(
            "too_lenient",
            "A quote is called right although it is off by more than 2 %.",
            wrong=_lenient(0.2),
            also=tuple(map(_lenient, (0.05, 0.1, 0.5, 1.0, 2.0))),
            hint=3,
        ),
        Misconception(
            "one_side",
            "Only quotes that are too large, or only those that are too small, are called wrong. Either is.",
            wrong=_flags(lambda right, wrong, quoted: quoted > right * (1 + TOO_MUCH)),
            also=(_flags(lambda right, wrong, quoted: quoted < right * (1 - TOO_MUCH)),),
            hint=3,
        ),
        Misconception(
            "flags_inverted",
            "The flags say which quotes are right. Asked is which are wrong.",
            wrong=_flags(lambda right, wrong, quoted: ~wrong),
            hint=3,
        ),
    ),
    hints=(
        "Which of `shared`, `expert` and `embedding` are in each of the first four? How many experts?",
        "Lesson 03 has (1) to (5), lesson 05 has (6), lesson 07 has (7), lesson 14 has (8). In (8) a share "
        "of (R - 1) / R of the rows changes rank, out and back.",
        "(6) is `top_k`: E times the sum of K/E · 1/E. (8) is `2 * n_tokens * top_k * d_model * 2 * (R - 1) "
        "/ R` bytes; GB and MB are 10**9 and 10**6. The flags: `(quoted_Q / right_Q - 1).abs() > 0.02`.",
    ),
    notice=(
        "Eight formulas of one line each check most of what is written about a model, and the same few wrong "
        "ones turn up again and again."
    ),
)
