"""What a right value does not show: arguments that were written to, gradients that were lost.

Looked at when all else is right. An argument belongs to whoever passed it, so no answer may change one unless
its exercise says so (``may_change``). A gradient must reach every argument that it reaches in the reference,
wherever the function could stand in a layer; exercises that ask for numbers (a load, a count, a price) or for
a gradient by hand say ``gradient="ignored"``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.findings import Finding, Trial, same
from moe_lessons.exercises.own_replies import own_reply
from moe_lessons.exercises.spec import Case, Exercise, Mistake

Run = Callable[[drivers.Request], drivers.Reply]

UNCHANGED, REACHED = "leaves its arguments as they were", "lets gradients through to its arguments"
CHEAP = "multiplies no more than it has to"
LOST, PARTLY_LOST, CHANGED = "gradient_lost", "gradient_partly_lost", "arguments_changed"
TOO_MANY_ROWS, TOO_MANY_PRODUCTS = "rows_too_many", "products_too_many"
"""Ids of the mistakes that any exercise may find."""
_LITTLE = 0.02
"""A gradient may differ from the reference's by this share of its length: another order of sums, bf16."""


Looked = tuple[tuple[Finding, ...], Mistake | None]


def habits(exercise: Exercise, run: Run, trials: Sequence[Trial]) -> Looked:
    """Findings on arguments and gradients, and the mistake if there is one."""
    if exercise.driver == "kernel" or not any(_tensors(t.case) for t in trials):
        return (), None  # a kernel's driver watches memory itself
    floats = any(output.kind == "float" for output in exercise.outputs)
    asks = exercise.driver == "call" and exercise.gradient == "needed" and floats
    arrived: list[_Arrived] = []
    for t in trials:
        names = list(t.case.args)
        request = _request(exercise, t.case, gradient=asks and not t.case.is_edge)
        got, want = run(request), own_reply(exercise.reference, request)
        if isinstance(got, drivers.Failure) or isinstance(want, drivers.Failure) or len(got) != len(want):
            continue  # it returned a moment ago: nothing to say
        changed = [n for n, c in zip(names, _flags(got[0], names), strict=True) if c]
        changed = [n for n in changed if n not in exercise.may_change]
        if changed:
            detail = f"{_listed(changed)} changed (inputs: {t.case.name})"
            return (Finding(UNCHANGED, False, detail),), _changed(changed)
        if len(want) > 1:
            arrived += _arrived(t.case, got, want)
    findings, mistake = _reached(arrived)
    if mistake or exercise.most_work is None:
        return findings, mistake
    more, mistake = _worked(exercise, run, trials, exercise.most_work)
    return (*findings, *more), mistake


def _worked(exercise: Exercise, run: Run, trials: Sequence[Trial], most: float) -> Looked:
    """Whether an answer keeps to a few times the reference's products, and its multiply-adds."""
    for t in trials:
        request = drivers.Request("work", t.case.args, t.case.casts, exercise.options)
        got, want = run(request), own_reply(exercise.reference, request)
        if isinstance(got, drivers.Failure) or isinstance(want, drivers.Failure):
            continue
        calls, multiply_adds = (int(x) for x in np.asarray(got[0].data).reshape(-1)[:2])
        fewest, least = (int(x) for x in np.asarray(want[0].data).reshape(-1)[:2])
        if multiply_adds > most * least:
            detail = f"{multiply_adds:,} multiply-adds, {least:,} would do (inputs: {t.case.name})"
            return (Finding(CHEAP, False, detail),), _too_many_rows()
        if calls > most * fewest:
            detail = f"{calls:,} matrix products, {fewest:,} would do (inputs: {t.case.name})"
            return (Finding(CHEAP, False, detail),), _too_many_products()
    return (Finding(CHEAP, True),), None


def asks_gradient(exercise: Exercise) -> bool:
    """Whether an answer is held to a gradient that its values do not show: what a learner is told beforehand.

    Examples
    --------
    >>> from moe_lessons.exercises import registry
    >>> [asks_gradient(registry.exercise(id)) for id in ("02.swiglu", "02.moe_loop", "03.memory")]
    [True, False, False]
    """
    first = next(case for case in exercise.draw(np.random.default_rng(0)) if not case.is_edge)
    findings, _ = habits(
        exercise, lambda request: drivers.run(exercise.reference, request), [Trial(first, (), None, {})]
    )
    return REACHED in [finding.name for finding in findings]


@dataclass(frozen=True)
class _Arrived:
    """What gradient came to one argument in one case, and what should have come: how long, how far apart."""

    case: str
    name: str
    length: float
    wanted: float
    apart: float


def _reached(arrived: Sequence[_Arrived]) -> Looked:
    # What is nothing beside an argument's other gradients is rounding: K = 1, where a weight is always 1.
    longest = {a.name: max(b.wanted for b in arrived if b.name == a.name) for a in arrived}
    asked = [a for a in arrived if a.wanted > 1e-4 * longest[a.name]]
    for said, make, chosen in (
        ("no gradient reaches", _lost, [a for a in asked if a.length == 0]),
        ("another gradient reaches", _partly_lost, [a for a in asked if not a.apart <= _LITTLE * a.wanted]),
    ):
        if chosen:
            names = [a.name for a in chosen if a.case == chosen[0].case]
            detail = f"{said} {_listed(names)} (inputs: {chosen[0].case})"
            return (Finding(UNCHANGED, True), Finding(REACHED, False, detail)), make(names)
    return (Finding(UNCHANGED, True), *([Finding(REACHED, True)] if asked else [])), None


def no_gradient(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """For exercises whose outputs are gradients: the value is right, and some gradient is zero throughout."""
    if exercise.driver != "gradient":
        return None
    first, *rest = exercise.outputs
    if any(t.got is None for t in trials):
        return None
    names = list(trials[0].case.args)
    got = {o.name: [t.got[o.name] for t in trials if t.got] for o in exercise.outputs}
    if not all(same(first, g, t.want[first.name]) for g, t in zip(got[first.name], trials, strict=True)):
        return None
    lost = [
        names[place]
        for place, o in zip(exercise.options["wrt"], rest, strict=True)
        if not any(np.any(g) for g in got[o.name]) and any(np.any(t.want[o.name]) for t in trials)
    ]
    return _lost(lost) if lost else None


def _request(exercise: Exercise, case: Case, *, gradient: bool) -> drivers.Request:
    options = {**exercise.options, "gradient": gradient}
    return drivers.Request("probe", case.args, case.casts, options)


def _arrived(case: Case, got: Sequence[drivers.Value], want: Sequence[drivers.Value]) -> Iterator[_Arrived]:
    """Compare gradients, argument by argument; those that the reference's does not reach are left out."""
    names = list(case.args)
    came, should = (dict(zip(names, _flags(reply[1], names), strict=True)) for reply in (got, want))
    floats = [name for name in names if _is_float(case, name)]
    for name, mine, theirs in zip(floats, got[2:], want[2:], strict=True):
        g, w = (np.asarray(value.data, dtype=np.float64) for value in (mine, theirs))
        if should[name] and np.any(w) and np.isfinite(w).all() and g.shape == w.shape:
            length = float(np.linalg.norm(g)) if came[name] else 0.0
            yield _Arrived(case.name, name, length, float(np.linalg.norm(w)), float(np.linalg.norm(g - w)))


def _flags(value: drivers.Value, names: list[str]) -> list[bool]:
    flags = np.asarray(value.data).reshape(-1)
    return [bool(flag) for flag in flags] if len(flags) == len(names) else [False] * len(names)


def _tensors(case: Case) -> list[str]:
    return [name for name, arg in case.args.items() if isinstance(arg, np.ndarray)]


def _is_float(case: Case, name: str) -> bool:
    arg: Any = case.args[name]
    return isinstance(arg, np.ndarray) and ("float" in case.casts.get(name, "") or arg.dtype.kind == "f")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(f"`{n}`" for n in names[:-1]), f"`{names[-1]}`"]))


def _changed(names: Sequence[str]) -> Mistake:
    return Mistake(
        CHANGED,
        f"The values are right, but the call has changed {_listed(names)}. In-place operations (`x *= ...`, "
        "`x[i] = ...`, methods that end in `_`) write into the caller's tensor, and whoever uses it next "
        "computes with other numbers. Make a new tensor, or write into a `.clone()`.",
        hint=0,
    )


def _too_many_rows() -> Mistake:
    return Mistake(
        TOO_MANY_ROWS,
        "The values are right, and too much was multiplied for them: experts ran on rows of tokens that "
        "had not chosen them, and a zero weight took the result away again. Not to do that work is what "
        "the layer is for. Give each expert its own rows alone.",
        hint=2,
    )


def _too_many_products() -> Mistake:
    return Mistake(
        TOO_MANY_PRODUCTS,
        "The values are right, but there are many small matrix products where a few large ones would do: the "
        "expert was called once for every row. Rows of one expert stand together after the sort, so that it "
        "can take them all in one product.",
        hint=2,
    )


def _lost(names: Sequence[str]) -> Mistake:
    return Mistake(
        LOST,
        f"The values are right, but no gradient reaches {_listed(names)}: something here left autograd "
        "(`.detach()`, `torch.no_grad()`, `.numpy()`, `.item()`, `.tolist()`, or a new `torch.tensor(...)` "
        "of old numbers). In a layer, nothing before this point would ever learn. Stay with tensor "
        "operations on the way from the arguments to what you return.",
        hint=0,
    )


def _partly_lost(names: Sequence[str]) -> Mistake:
    return Mistake(
        PARTLY_LOST,
        f"The values are right, but the gradient of {_listed(names)} is not: a part of the way left "
        "autograd (`.detach()`, `torch.no_grad()`, `.item()`, a new `torch.tensor(...)`), or an operation "
        "was used whose gradient is another. What is detached counts as a constant, and training then "
        "follows a wrong slope.",
        hint=0,
    )
