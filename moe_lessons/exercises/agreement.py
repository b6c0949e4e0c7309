"""A second, weaker look at a wrong answer without a name: what of it agrees with the right one.

Observations, not diagnoses: "the values are the right ones times 2". Nothing here gives an expected value
away that the findings do not show.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.crashes import axis_sizes
from moe_lessons.exercises.findings import Trial, right, same
from moe_lessons.exercises.spec import Exercise, Output


def agreement(exercise: Exercise, trials: Sequence[Trial]) -> str:
    """What agrees, in a sentence or two; empty if nothing does."""
    ordinary = [t for t in trials if not t.case.is_edge] or list(trials)
    said = [_some_cases(exercise, ordinary), *_outputs(exercise, ordinary)]
    return " ".join(filter(None, said))


def _some_cases(exercise: Exercise, trials: Sequence[Trial]) -> str:
    fine = [t for t in trials if right(exercise, t)]
    wrong = [t for t in trials if not right(exercise, t)]
    if not fine or not wrong:
        return ""
    told = f"Right on {len(fine)} of {len(trials)} inputs"
    for these, others, verdict in ((wrong, fine, "wrong"), (fine, wrong, "right")):
        for name, value in _facts(these[0]).items():
            if len(these) > 1 and _share(name, value, these) == 1 and _share(name, value, others) == 0:
                return f"{told}; {verdict} exactly where {name} = {value}."
    return f"{told}."


def _share(name: str, value: Any, trials: Sequence[Trial]) -> float:
    """The share of cases in which this argument or size has this value."""
    return sum(_facts(t).get(name) == value for t in trials) / len(trials)


def _facts(t: Trial) -> dict[str, Any]:
    """Numbers, flags and texts among the arguments, and the sizes of their axes."""
    args = t.case.args.items()
    plain = {n: a for n, a in args if isinstance(a, bool | int | float | str) and len(str(a)) < 20}
    return plain | axis_sizes(t.case)


def _outputs(exercise: Exercise, trials: Sequence[Trial]) -> Iterator[str]:
    """Which outputs are right, and how those that are not relate to the right ones."""
    ran = [t for t in trials if t.got is not None and not isinstance(t.reply, drivers.Failure)]
    wrong = [t for t in ran if not right(exercise, t)]
    if not wrong:
        return
    compared = [o for o in exercise.outputs if o.compared]
    off = [o for o in compared if not all(_same(o, t) for t in wrong)]
    fine = [o.name for o in compared if o not in off]
    if compared and not off:
        yield "The numbers themselves are right."
    if fine and off:
        verb = "is" if len(fine) == 1 else "are"
        yield f"{_listed(fine)} {verb} right; look at {_listed([o.name for o in off])}."
    for output in off[:2]:
        relation = _relation(output, [t for t in wrong if not _same(output, t)])
        if relation:
            yield f"{output.name} holds {relation}."


def _same(output: Output, t: Trial) -> bool:
    assert t.got is not None
    return same(output, t.got[output.name], t.want[output.name])


def _relation(output: Output, trials: Sequence[Trial]) -> str:
    """The first relation that holds between what came and what should have come, on all these cases."""
    pairs = []
    for t in trials:
        assert t.got is not None
        pairs.append((t.got[output.name], t.want[output.name]))
    if any(isinstance(a, str) or isinstance(b, str) for a, b in pairs):
        return ""
    arrays = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    arrays = [(a, b) for a, b in arrays if b.size]
    if not arrays or any(a.dtype.kind not in "fiub" for a, _ in arrays):
        return ""
    for holds, words in _SHAPES:
        if all(holds(output, a, b) for a, b in arrays):
            return words
    if any(a.shape != b.shape for a, b in arrays):
        return ""
    return _factor(output, trials, arrays) or _one_of(output, arrays)


def _factor(output: Output, trials: Sequence[Trial], arrays: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """A constant factor, by its name where it is a size or an argument in every case."""
    if output.kind == "bool":
        return ""
    factors = []
    for a, b in arrays:
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not np.isfinite(a).all() or not np.isfinite(b).all() or np.count_nonzero(b) < 1:
            return ""
        at = np.unravel_index(np.abs(b).argmax(), b.shape)
        factor = float(a[at] / b[at])
        if (
            not np.allclose(a, factor * b, rtol=max(output.rtol, 1e-6), atol=output.atol)
            or abs(factor) < 1e-6
        ):
            return ""
        factors.append(factor)
    if sum(b.size for _, b in arrays) < 3:
        return ""  # any two numbers have a ratio
    if np.allclose(factors, factors[0], rtol=1e-3):
        if abs(factors[0] + 1) < 1e-3:
            return "the right values with the other sign"
        if f"{factors[0]:.4g}" == "1":
            return "nearly the right values: something small is missing, or counted once too often"
        return f"the right values times {factors[0]:.4g}"
    return _named_factor(output, trials, factors)


def _named_factor(output: Output, trials: Sequence[Trial], factors: Sequence[float]) -> str:
    known = [_numbers(t) for t in trials]
    for name in known[0]:
        sizes = [k.get(name, np.nan) for k in known]
        if np.allclose(factors, sizes, rtol=1e-3):
            return f"the right values times {name}"
        if np.allclose(np.multiply(factors, sizes), 1, rtol=1e-3):
            return f"the right values divided by {name}"
    if any(np.size(t.want[output.name]) < 2 for t in trials):
        return ""
    return "the right values times one factor, another for each input"


def _numbers(t: Trial) -> dict[str, float]:
    facts = _facts(t)
    return {n: float(v) for n, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _one_of(output: Output, arrays: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    for holds, words in _VALUES:
        with np.errstate(all="ignore"):
            if all(holds(output, a, b) for a, b in arrays):
                return words
    return ""


def _by(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Output, np.ndarray, np.ndarray], bool]:
    """Whether the right values, changed so, are what came."""

    def holds(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
        if a.size < 2 or a.dtype.kind == "b":
            return False
        changed = change(b.astype(np.float64))
        return bool(changed.shape == a.shape and np.isfinite(changed).all() and _close(output, a, changed))

    return holds


def _close(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=output.rtol, atol=output.atol))


def _rows_moved(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    """The right rows in another order."""
    if a.shape != b.shape or a.ndim == 0 or len(a) < 3:
        return False
    left = list(range(len(b)))
    for row in a:
        found = next((i for i in left if _close(output, row, b[i])), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _sorted_within(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    return a.ndim > 1 and a.shape == b.shape and _close(output, np.sort(a, axis=-1), np.sort(b, axis=-1))


def _fewer_axes(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape != b.shape and a.size == b.size and _close(output, a.reshape(-1), b.reshape(-1))


def _short(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    """Zeros are missing at the end, as `bincount` leaves them out."""
    n = len(a) if a.ndim == b.ndim == 1 else 0
    return 0 < n < len(b) and not b[n:].any() and _close(output, a, b[:n])


def _turned(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    return a.ndim > 1 and a.T.shape == b.shape and _close(output, a.T, b)


def _gaps(output: Output, a: np.ndarray, b: np.ndarray) -> bool:
    there = np.isfinite(a.astype(np.float64))
    return bool(a.shape == b.shape and not there.all() and there.any() and _close(output, a[there], b[there]))


_SHAPES: tuple[tuple[Callable[[Output, np.ndarray, np.ndarray], bool], str], ...] = (
    (_turned, "the right values, transposed"),  # where other outputs are wrong too: see `everywhere`
    (_fewer_axes, "the right values in another shape"),
    (_short, "the right values, but without the zeros at the end (`minlength` keeps them)"),
)
_VALUES: tuple[tuple[Callable[[Output, np.ndarray, np.ndarray], bool], str], ...] = (
    (_by(lambda b: b[::-1]), "the right values from the last to the first"),
    (_rows_moved, "the right rows in another order"),
    (_sorted_within, "the right values of each row, in another order"),
    (_gaps, "the right values, but for what is no finite number"),
    (_by(lambda b: b + 1), "the right values plus 1"),
    (_by(lambda b: b - 1), "the right values minus 1"),
    (_by(lambda b: 1 - b), "1 minus the right values"),
    (_by(lambda b: 1 / b), "one over the right values"),
    (_by(np.square), "the squares of the right values"),
    (_by(np.sqrt), "the square roots of the right values"),
    (_by(np.log), "the logarithms of the right values"),
    (_by(np.exp), "the exponentials of the right values"),
    (_by(lambda b: b / b.sum(axis=-1, keepdims=True)), "the right values, each row divided by its sum"),
)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
