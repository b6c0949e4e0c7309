"""``puzzle``: one line to write, judged where it is defined; nothing is counted."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from moe_lessons.course.looks import RESULTS, chip
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.puzzle import arguments
from moe_lessons.exercises.puzzle_verdict import Verdict, judge
from moe_lessons.svg import Drawing, Grid, grids

_MOST_ROWS, _MOST_COLUMNS = 8, 12
Answer = TypeVar("Answer", bound=Callable[..., Any])


def puzzle(id: str) -> Callable[[Answer], Answer]:
    """Judge the function below at once: a line that says whether it is right, and a picture.

    It is tried on the input that the picture shows and on another. Nothing is counted or kept, and what goes
    wrong in the function is said in the line.

    Parameters
    ----------
    id : str
        The puzzle, such as ``"02.p_inverse"``.

    Returns
    -------
    callable
        A decorator, which leaves the function as it is.

    Examples
    --------
    >>> @puzzle("02.p_inverse")
    ... def sent_back(order_N):
    ...     return ...
    ○ 02.p_inverse: not tried yet; the picture shows what goes in and what is wanted
    02.p_inverse: given and wanted. order_N [5]: 2 0 4 1 3 | wanted [5]: 1 3 0 4 2.
    """

    def decorate(function: Answer) -> Answer:
        _say_and_show(id, function)
        return function

    return decorate


def _judged(id: str, function: Any) -> None:
    try:
        found = registry.puzzle(id)
    except KeyError as error:
        say(error.args[0])
        return
    verdict = judge(found, function)
    show(said(verdict))
    show(picture(verdict))


_judged.__name__ = "puzzle"  # what `never_raises` calls it
_say_and_show = never_raises(_judged)


_RESULT = {"right": "passed", "wrong": "failed", "untried": "not attempted"}


def said(verdict: Verdict) -> Card:
    """The verdict in one line, as a card that looks like that of an exercise."""
    mark = RESULTS[_RESULT[verdict.status]]
    named = chip(mark, f"{mark.symbol} {verdict.puzzle.id}")
    return Card(verdict.line, f"{named}{inline(verdict.message)}", mark.color)


def picture(verdict: Verdict) -> Drawing:
    """What goes in, what came out and what is wanted, side by side; cells that differ carry a cross."""
    given = arguments(verdict.given)
    numbers = [f"{name} = {value}" for name, value in given.items() if not isinstance(value, Tensor)]
    panels = [_grid(name, value) for name, value in given.items() if isinstance(value, Tensor)]
    panels += [Grid(", ".join(numbers))] if numbers else []
    wanted = _grid("wanted", verdict.want, look="wanted")
    id, got, caption = verdict.puzzle.id, verdict.got, ""
    if verdict.status == "untried":
        title = f"{id}: given and wanted"
        panels.append(wanted)
    elif verdict.status == "right":
        title = f"{id}: given, and yours as wanted"
        panels.append(_grid("yours", got, look="yours"))
    else:
        differs = verdict.differs
        title = f"{id}: given, yours and wanted"
        panels += [_grid("yours", got, differs, look="yours"), wanted]
        if differs is not None and bool(differs.any()):
            caption = "A cross marks what differs."
    return grids(panels, title=title, together=1 + (verdict.status == "wrong"), caption=caption)


def _grid(name: str, value: Tensor | None, differs: Tensor | None = None, look: str = "given") -> Grid:
    if value is None:
        return Grid(f"{name}: nothing", look=look)
    if value.ndim > 2:
        return Grid(f"{name} {list(value.shape)}", look=look)
    rows = value.reshape(1, -1) if value.ndim < 2 else value
    if not value.numel() or rows.shape[0] > _MOST_ROWS or rows.shape[1] > _MOST_COLUMNS:
        return Grid(f"{name} {list(value.shape)}", look=look)
    marks = [] if differs is None else differs.reshape(rows.shape).nonzero().tolist()
    label = f"{name} {list(value.shape)}" if value.ndim else name
    cells = [[_shown(one) for one in row] for row in rows.tolist()]
    return Grid(label, cells, frozenset((i, j) for i, j in marks), look)


def _shown(value: float | bool) -> str:
    """A number in few characters.

    >>> _shown(0.25), _shown(3.0), _shown(True), _shown(float("nan")), _shown(9223372036854775807)
    ('0.25', '3', 'T', '?', '9e+18')
    """
    if isinstance(value, bool):
        return "T" if value else "F"
    if value != value:
        return "?"
    short = f"{value:.0e}" if abs(value) >= 1e5 else f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
    return short.replace("-", "\N{MINUS SIGN}")
