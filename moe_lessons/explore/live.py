"""A picture that is redrawn in place while something runs, such as training."""

import time
from collections.abc import Callable
from typing import Any

from moe_lessons.course.show import in_notebook
from moe_lessons.svg import Drawing


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

    def update(self, frame: Drawing | Callable[[], Drawing]) -> None:
        """Show a frame, or a function that draws one, unless the last was shown a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            self._show(frame)

    def finish(self, frame: Drawing | Callable[[], Drawing]) -> None:
        """Show the last frame, whatever the clock says: it is the one that a saved notebook keeps."""
        self._show(frame)

    def _show(self, frame: Drawing | Callable[[], Drawing]) -> None:
        if not in_notebook():
            return
        from IPython.display import display

        drawing = frame() if callable(frame) else frame
        if self._handle is None:
            self._handle = display(drawing, display_id=True)
        else:
            self._handle.update(drawing)
