"""Names for answers that stop with an error: from the message, and the line it came from, to what to do.

An exercise's own ``crashes`` come first, then the general table: that says what the error means in the words
of this course, names the sizes involved, and points to no hint, since hints belong to exercises.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.crash_table import GENERAL
from moe_lessons.exercises.findings import Trial, right
from moe_lessons.exercises.spec import Case, Crash, Exercise, Mistake


def name_crash(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The mistake behind the first error of an answer, if it has a name.

    An answer that is right on ordinary inputs and stops on a limiting case is told so.
    """
    ordinary = [t for t in trials if not t.case.is_edge]
    # A limiting case says nothing yet about an answer that is wrong on ordinary ones.
    told = trials if all(right(exercise, t) for t in ordinary) else ordinary
    first = next((t for t in told if _crashed(t)), None)
    if first is None:
        return None
    assert isinstance(first.reply, drivers.Failure)
    table = (*exercise.crashes, *GENERAL) if first.reply.kind == "exception" else exercise.crashes
    found = match(table, first.reply, edge=first.case.is_edge)
    if found is None:
        return None
    crash, groups = found
    message = fill(crash.message, {**sizes(first), **groups})
    if first.case.is_edge:
        message = f"Ordinary inputs work; it stops at a limiting case only ({first.case.name}). {message}"
    return Mistake(crash.id, message, hint=crash.hint)


def _crashed(t: Trial) -> bool:
    return isinstance(t.reply, drivers.Failure) and t.reply.kind in ("exception", "bad return")


def match(
    crashes: Sequence[Crash], failure: drivers.Failure, *, edge: bool
) -> tuple[Crash, dict[str, str]] | None:
    """The first crash whose pattern fits, with what its named groups found.

    Examples
    --------
    >>> said = "IndexError: index 6 is out of bounds for dimension 0 with size 5"
    >>> failure = drivers.Failure("exception", said)
    >>> crash, groups = match(GENERAL, failure, edge=False)
    >>> crash.id, groups["size"]
    ('index_beyond_rows', '5')
    """
    for crash in crashes:
        if crash.edge is not None and crash.edge != edge:
            continue
        said = re.search(crash.pattern, failure.message)
        where = re.search(crash.line, failure.line)
        if said and where:
            return crash, {**where.groupdict(), **said.groupdict()}
    return None


def fill(message: str, groups: dict[str, Any]) -> str:
    """Put what was found where ``{name}`` stands; other braces stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda m: str(groups.get(m[1], m[0])), message)


def sizes(t: Trial) -> dict[str, str]:
    """The sizes of a case in words, as ``{sizes}``: what an error's bare numbers stand for."""
    listed = ", ".join(f"{axis}={size}" for axis, size in sorted(axis_sizes(t.case).items()))
    return {"sizes": f" (Here {listed}.)" if listed else ""}


def axis_sizes(case: Case) -> dict[str, int]:
    """Sizes by their letters, read from the arguments' names: ``logits_TE`` is T by E, ``top_k`` is K."""
    found: dict[str, int] = {}
    for name, arg in case.args.items():
        axes = name.rsplit("_", 1)[-1]
        if isinstance(arg, np.ndarray) and len(axes) == arg.ndim and axes.isupper() and axes.isalpha():
            found |= dict(zip(axes, arg.shape, strict=True))
        elif name in LETTERS and type(arg) is int:
            found[LETTERS[name]] = arg
    return found


LETTERS = {"top_k": "K", "n_experts": "E", "n_tokens": "T", "capacity": "C"}
"""Arguments that are the size of an axis, with its letter."""
