"""What a judge looks at, in order: it runs, what it returns, shapes, dtypes, properties, values."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.own_replies import own_reply
from moe_lessons.exercises.spec import Case, Exercise, Output, Property

_KINDS = {"float": "f", "int": "iu", "bool": "b", "text": "U"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``passed`` is None where an earlier problem kept the judge from it."""

    name: str
    passed: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Trial:
    """One case with the answer's reply; ``got`` is None where the reply cannot be named output by output."""

    case: Case
    reply: drivers.Reply
    got: dict[str, Any] | None
    want: dict[str, Any]


def request(exercise: Exercise, case: Case) -> drivers.Request:
    """The call that a case stands for."""
    return drivers.Request(exercise.driver, case.args, case.casts, exercise.options)


def trial(exercise: Exercise, case: Case, reply: drivers.Reply) -> Trial:
    """Put a reply beside what the reference returns for the same case."""
    expected = own_reply(exercise.reference, request(exercise, case))
    want = named(exercise, expected, case)
    if want is None:
        raise AssertionError(f"{exercise.id}: the reference fails on case {case.name!r}: {expected}")
    reply = one_row(exercise, reply)
    return Trial(case, reply, named(exercise, reply, case), want)


def one_row(exercise: Exercise, reply: drivers.Reply) -> drivers.Reply:
    """A list or tuple of numbers as the one row that is asked for, where several values would be too many.

    Rows of a matrix may come in a list too where they are whole numbers or plain; a tensor is what a layer
    needs of real ones.
    """
    if isinstance(reply, drivers.Failure) or len(exercise.outputs) != 1:
        return reply
    output = exercise.outputs[0]
    shapes = {np.shape(value.data) for value in reply} or {()}
    if not output.axes or len(shapes) > 1 or any(isinstance(value.data, str) for value in reply):
        return reply
    if len(reply) == 1 and not output.is_plain:
        return reply  # one number is no row of one
    within = len(shapes.pop())
    if within + 1 != len(output.axes) or (within and output.kind == "float" and not output.is_plain):
        return reply
    row = np.array([value.data for value in reply], dtype=None if reply else np.int64)
    return (drivers.Value(row, str(row.dtype)),)


def named(exercise: Exercise, reply: drivers.Reply, case: Case | None = None) -> dict[str, Any] | None:
    """A reply's values by output name, floats widened to float64, in the exercise's canonical form."""
    if isinstance(reply, drivers.Failure) or len(reply) != len(exercise.outputs):
        return None
    values = {o.name: _widen(v.data) for o, v in zip(exercise.outputs, reply, strict=True)}
    if exercise.canonical is not None:
        # Values of the wrong shape or kind have no canonical form; they are reported for what they are.
        with contextlib.suppress(Exception):
            values = exercise.canonical(values)
            if exercise.ties is not None and case is not None:
                values = exercise.ties(case, values)
    return values


def look(exercise: Exercise, trials: Sequence[Trial]) -> tuple[Finding, ...]:
    """Findings in a fixed order; after the first problem the rest was not reached.

    Ordinary inputs come first: what goes wrong on limiting cases alone is looked at when all else is right.
    """
    ordinary = [t for t in trials if not t.case.is_edge]
    findings = _look(exercise, ordinary)
    if len(ordinary) == len(trials) or not all(finding.passed for finding in findings):
        return findings
    findings = _look(exercise, trials)
    if not ordinary:
        return findings
    return tuple(
        replace(f, detail=f"right on ordinary inputs; {f.detail}") if f.passed is False else f
        for f in findings
    )


def right(exercise: Exercise, trial: Trial) -> bool:
    """Whether there is nothing to find on one case."""
    return all(finding.passed for finding in _look(exercise, [trial]))


def _look(exercise: Exercise, trials: Sequence[Trial]) -> tuple[Finding, ...]:
    names = ", ".join(output.name for output in exercise.outputs)
    checks: list[tuple[str, Callable[[Exercise, Trial], str | None]]] = [
        ("runs without an error", _ran),
        (f"returns {names}", _returned),
        *((prop.name, _holds(prop)) for prop in exercise.properties if prop.early),
        ("shapes", _shapes),
        ("dtypes", _dtypes),
        ("finite numbers", _finite),
        *((prop.name, _holds(prop)) for prop in exercise.properties if not prop.early),
        ("the right values", _values),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        if findings and not findings[-1].passed:
            findings.append(Finding(name, None))
            continue
        problems = ((t, check(exercise, t)) for t in trials)
        found = next(((t, problem) for t, problem in problems if problem), None)
        detail = f"{found[1]} (inputs: {found[0].case.name})" if found else ""
        findings.append(Finding(name, found is None, detail))
    return tuple(findings)


def same(output: Output, got: Any, want: Any) -> bool:
    """Whether two values agree: exactly, or within the output's tolerance where they are floats.

    What is not compared agrees with everything of its kind and shape.
    """
    if not output.compared:
        return isinstance(got, str) == isinstance(want, str) and np.shape(got) == np.shape(want)
    if isinstance(got, str) or isinstance(want, str):
        return type(got) is type(want) and got == want
    if np.shape(got) != np.shape(want):
        return False
    if output.kind == "float":
        with np.errstate(all="ignore"):
            return _close(got, want, output.rtol, output.atol)
    return bool(np.array_equal(got, want))


def _close(got: Any, want: Any, rtol: float, atol: float) -> bool:
    """As ``np.allclose`` where NaN equals NaN, in a fraction of its time: mistakes are compared all day."""
    want = np.asarray(want, dtype=np.result_type(want, 1.0))
    near = (np.abs(got - want) <= atol + rtol * np.abs(want)) & np.isfinite(want) | (got == want)
    return bool(near.all() or (near | (np.isnan(got) & np.isnan(want))).all())


def difference(output: Output, got: Any, want: Any) -> str:
    """Say where two values first differ, and in how many places.

    Examples
    --------
    >>> difference(Output("weights", "TK"), np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]))
    'weights[t=0, k=1] is 2, expected 3; 1 of 2 values differ'
    >>> difference(Output("total", kind="int"), np.array(46702792703), np.array(46702792704))
    'total is 46,702,792,703, expected 46,702,792,704'
    """
    if isinstance(got, str) or np.shape(got) == ():
        return f"{output.name} is {_show_apart(got, want)}"
    if output.kind == "float":
        differs = ~np.isclose(got, want, rtol=output.rtol, atol=output.atol)
    else:
        differs = np.asarray(got != want)
    first = tuple(int(i) for i in np.argwhere(differs)[0])
    axes = zip(output.axes, first, strict=True)
    where = ", ".join(f"{axis.lower()}={i}" if axis.isalpha() else str(i) for axis, i in axes)
    return (
        f"{output.name}[{where}] is {_show_apart(got[first], want[first])}; "
        f"{int(differs.sum())} of {differs.size} values differ"
    )


def _ran(exercise: Exercise, trial: Trial) -> str | None:
    failure = trial.reply
    if not isinstance(failure, drivers.Failure) or failure.kind == "bad return":
        return None
    if failure.kind == "not attempted":
        return "here it still comes to `raise NotImplementedError`"
    if failure.line:
        return f"{failure.message}; {failure.line}"
    if failure.message.startswith("TypeError") and "argument" in failure.message:
        return f"{failure.message}; it is called with {', '.join(trial.case.args)}, in this order"
    return failure.message


def _returned(exercise: Exercise, trial: Trial) -> str | None:
    if isinstance(trial.reply, drivers.Failure):
        return trial.reply.message
    if len(trial.reply) != len(exercise.outputs):
        names = ", ".join(output.name for output in exercise.outputs)
        count = "one value" if len(trial.reply) == 1 else f"{len(trial.reply)} values"
        problem = f"returned {count}, expected {len(exercise.outputs)}: {names}"
        if len(exercise.outputs) == 1 and exercise.outputs[0].axes:
            problem += " as one tensor (torch.stack and torch.tensor make one of a list)"
        return problem
    return None


def _pairs(exercise: Exercise, trial: Trial) -> list[tuple[Output, drivers.Value]]:
    assert not isinstance(trial.reply, drivers.Failure)
    return list(zip(exercise.outputs, trial.reply, strict=True))


def _shapes(exercise: Exercise, trial: Trial) -> str | None:
    for output, value in _pairs(exercise, trial):
        got, want = np.shape(value.data), np.shape(trial.want[output.name])
        if got != want:
            axes = f" with axes [{', '.join(output.axes)}]" if output.axes else ": a single number"
            return f"{output.name} has shape {got}, expected {want}{axes}"
    return None


def _dtypes(exercise: Exercise, trial: Trial) -> str | None:
    for output, value in _pairs(exercise, trial):
        if not _suits(output, np.asarray(value.data)):
            problem = f"{output.name} has dtype {value.dtype}, expected {output.kind} values"
            if np.size(value.data) == 0 and output.kind != "float":
                problem += " even where there are none (torch.tensor([]) makes floats)"
            return problem
        if output.dtype is not None and value.dtype != output.dtype:
            return f"{output.name} has dtype {value.dtype}, expected {output.dtype}"
    return None


def _suits(output: Output, data: np.ndarray) -> bool:
    """Whether numbers are of the kind asked for; where plain ones are, 3.0 is as good as 3."""
    if data.dtype.kind in _KINDS[output.kind]:
        return True
    if output.kind == "float":
        # A count may be returned as a whole number where a real number is asked for.
        return data.dtype.kind in "iu" and (output.is_plain or data.size == 0)
    whole = data.dtype.kind == "f" and bool((np.isfinite(data) & (data == np.floor(data))).all())
    return output.kind == "int" and output.is_plain and whole


def _finite(exercise: Exercise, trial: Trial) -> str | None:
    for output, value in _pairs(exercise, trial):
        if output.kind == "float" and not np.isfinite(np.asarray(value.data, dtype=np.float64)).all():
            return f"{output.name} contains NaN or infinity"
    return None


def _holds(prop: Property) -> Callable[[Exercise, Trial], str | None]:
    def check(exercise: Exercise, trial: Trial) -> str | None:
        assert trial.got is not None
        try:
            return prop.test(trial.case, trial.got, trial.want)
        except Exception:
            # It was not written for such values, say an expert's id of 2**63; what comes after it tells them.
            if not all(o.compared for o in exercise.outputs):
                return "values like these cannot be judged"
            if all(same(o, trial.got[o.name], trial.want[o.name]) for o in exercise.outputs):
                raise
            return None

    return check


def _values(exercise: Exercise, trial: Trial) -> str | None:
    assert trial.got is not None
    for output in exercise.outputs:
        got, want = trial.got[output.name], trial.want[output.name]
        if not same(output, got, want):
            return difference(output, got, want)
    return None


def _widen(data: Any) -> Any:
    if isinstance(data, str):
        return data
    array = np.asarray(data)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _show_apart(got: Any, want: Any) -> str:
    """Both values, with as many digits as it takes to tell them apart."""
    shown = [(_show(got, digits), _show(want, digits)) for digits in (6, 9, 17)]
    first, second = next((pair for pair in shown if pair[0] != pair[1]), shown[-1])
    return f"{first}, expected {second}"


def _show(value: Any, digits: int) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:79] + "…")
    if np.asarray(value).dtype.kind == "b":
        return str(bool(value))
    number = np.asarray(value).item()
    if isinstance(number, int) or (number.is_integer() and abs(number) < 1e15):
        return f"{number:,.0f}" if isinstance(number, float) else f"{number:,}"
    return f"{number:.{digits}g}"
