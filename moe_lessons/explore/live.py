"""What moves while something runs, such as training: a picture redrawn in place, a line that counts."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from moe_lessons.course.show import in_notebook
from moe_lessons.svg import Drawing

Item = TypeVar("Item")


class CountingLine:
    """One frame of `one_by_one`: "seed 2 of 6" and a bar of what is done. Without numbers it is empty.

    Examples
    --------
    >>> CountingLine("seed", 3, 6)
    seed 3 of 6  ▰▰▰▰▰▰▱▱▱▱▱▱▱▱▱▱▱▱▱▱
    """

    def __init__(self, what: str = "", n: int = 0, of: int = 0) -> None:
        done = 20 * (n - 1) // of if of else 0
        self.text = f"{what} {n:,} of {of:,}  {'▰' * done}{'▱' * (20 - done)}" if of else ""

    def __repr__(self) -> str:
        return self.text


Frame = Drawing | CountingLine


class LiveView:
    """Show a drawing and replace it as it changes; in plain Python it does nothing.

    Parameters
    ----------
    every_s : float
        Frames that come sooner than this after the last one are skipped, so drawing cannot slow the run.

    Examples
    --------
    >>> live = LiveView()
    >>> live.update(lambda: 1 / 0)  # outside a notebook nothing is drawn, so nothing is computed either
    """

    def __init__(self, every_s: float = 0.25) -> None:
        self._every_s = every_s
        self._handle: Any = None
        self._last = float("-inf")

    def update(self, frame: Frame | Callable[[], Frame]) -> None:
        """Show a frame, or a function that draws one, unless the last was shown a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            self._show(frame)

    def finish(self, frame: Frame | Callable[[], Frame]) -> None:
        """Show the last frame, whatever the clock says: it is the one that a saved notebook keeps."""
        self._show(frame)

    def _show(self, frame: Frame | Callable[[], Frame]) -> None:
        if not in_notebook():
            return
        from IPython.display import display

        drawing = frame() if callable(frame) else frame
        if self._handle is None:
            self._handle = display(drawing, display_id=True)
        else:
            self._handle.update(drawing)


def one_by_one(items: Sequence[Item], what: str, *, every_s: float = 0.25) -> Iterator[Item]:
    """Go through the items, and show in a line which of them it is at; the line goes when the last is done.

    A saved notebook keeps nothing of it but an empty output, so it is for cells whose output is not compared.

    Parameters
    ----------
    items : sequence
    what : str
        What an item is, such as "batch" or "no loss: seed".
    every_s : float
        The line is changed this often at most. The first item is shown at once.

    Yields
    ------
    Each item

    Examples
    --------
    >>> list(one_by_one("abc", "letter"))  # outside a notebook nothing is shown
    ['a', 'b', 'c']
    """
    line = LiveView(every_s)
    shown = False
    try:
        for n, item in enumerate(items):
            line.update(CountingLine(what, n + 1, len(items)))
            shown = True
            yield item
    finally:
        if shown:
            line.finish(CountingLine())
