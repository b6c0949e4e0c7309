"""Which cell of a running notebook ``check`` judges, and what keeps the latest one from being judged."""

import contextlib
import functools
import linecache
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moe_lessons.exercises import answers, cells
from moe_lessons.exercises.beside import needed

_STOPPED = "stopped with an error before it defined"


@dataclass(frozen=True)
class Judged:
    """The function to judge, or why its cell is `refused`; a `note` where it is not what the learner sees.

    `source` is the code that defines it, with what it needs of other cells; empty where that is not known.
    """

    answer: Any
    refused: str = ""
    note: str = ""
    source: str = ""


def given(entry: str, answer: Any) -> Judged:
    """A function that was handed over; its code is known where it has the name that the exercise asks for."""
    code = _code(answer)
    if code is None or code.co_name != entry:
        return Judged(answer)
    text = "".join(linecache.getlines(code.co_filename))
    known = cells.attempt(text, entry) == "attempted"
    return Judged(answer, source=_standing_alone(text, ()) if known else "")


def find(entry: str, answer: Any) -> Judged:
    """Look at the latest attempt that was run; ``answer`` is what its name stands for now."""
    ran = _ran()
    states = {n: cells.attempt(text, entry) for n, text in ran.items() if entry in text}
    latest = max((n for n, state in states.items() if state == "attempted"), default=None)
    if latest is None:
        return given(entry, answer)
    others = [text for n, text in ran.items() if n not in states]
    cell = cells.read(ran[latest])
    if cell.refused:
        return Judged(answer, refused=cell.refused)
    made_in = _made_in(answer, ran)
    is_stub = states.get(made_in or 0) == "stub"
    if cell.forgotten or is_stub or answer is None:
        # The notebook does not have it, or not any more; a grader, who reads cells, does.
        note = f"Judged: cell [{latest}]; cell [{made_in}] is the untouched stub." if is_stub else ""
        with contextlib.suppress(Exception):
            beside = needed(ran[latest], others)
            loaded = answers.load(ran[latest], entry, name=f"<cell {latest}>", beside=beside)
            return Judged(loaded, note=note, source=_standing_alone(ran[latest], others))
    if answer is None:
        return Judged(None, note=f"Your latest version, cell [{latest}], {_STOPPED} `{entry}`.")
    if made_in is None or made_in == latest or ran[made_in] == ran[latest]:
        return Judged(answer, source=_standing_alone(ran[latest], others))
    note = f"Your latest version, cell [{latest}], {_STOPPED} `{entry}`; a grader reads the latest."
    if made_in > latest:  # an untouched stub, run after an attempt that cannot be read
        note = f"Cell [{latest}] {_STOPPED} `{entry}`; a grader reads it, if it still stands in the notebook."
    return Judged(
        answer, source=_standing_alone(ran[made_in], others), note=f"Judged: cell [{made_in}]. {note}"
    )


def _standing_alone(text: str, others: Sequence[str]) -> str:
    """A cell as Python, after the definitions that it needs of other cells."""
    beside = ""
    with contextlib.suppress(Exception):
        beside = needed(text, others)
    return "\n\n".join(filter(None, (beside, cells.read(text).code)))


def _ran() -> dict[int, str]:
    """The cells of this session that were run, by their number, as they were typed."""
    shell = _shell()
    history = getattr(getattr(shell, "history_manager", None), "input_hist_raw", None)
    return {n: text for n, text in enumerate(history or ()) if isinstance(text, str) and text}


def _made_in(answer: Any, ran: dict[int, str]) -> int | None:
    """The number of the cell in which a function was defined."""
    code = _code(answer)
    if code is None or _shell() is None:
        return None
    # Not by the file's name: it depends on line ends at the end of a cell, which the history does not keep.
    made = "".join(linecache.getlines(code.co_filename)).rstrip()
    for n in sorted(ran, reverse=True):
        # A cell with a wrong indent cannot even be read; it has defined nothing.
        with contextlib.suppress(SyntaxError):
            if made and _shell().transform_cell(ran[n]).rstrip() == made:
                return n
    return None


def _code(answer: Any) -> types.CodeType | None:
    for _ in range(20):
        if isinstance(answer, types.FunctionType) and not hasattr(answer, "__wrapped__"):
            return answer.__code__
        inner = answer.func if isinstance(answer, functools.partial) else None
        inner = inner or getattr(answer, "__wrapped__", None) or getattr(answer, "fn", None)
        if inner is None:
            return None
        answer = inner
    return None


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
