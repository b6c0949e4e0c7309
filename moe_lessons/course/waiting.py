"""While a cell runs for long: a line that says where it is, and one line where you stop it.

The line appears after two seconds, is renewed twice a second and is gone when the cell ends, so that a saved
notebook holds nothing of it. It is sent as a display without content, which is then updated: what compares
outputs sees no display at all.
"""

import contextlib
import contextvars
import html
import sys
import threading
import time
from typing import Any
from uuid import uuid4

from moe_lessons import steps

PATIENCE_S, EVERY_S = 2.0, 0.5


def install() -> None:
    """Watch the cells of this notebook from the next one on; outside a kernel it does nothing."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None or getattr(shell, "_moe_waiting", None) is not None:
        return
    shell._moe_waiting = waiting = Waiting(shell)
    shell.events.register("pre_run_cell", waiting.begin)
    shell.events.register("post_run_cell", waiting.end)
    shell.set_custom_exc((KeyboardInterrupt,), waiting.stopped)


class Waiting:
    """What is shown while one cell after the other runs.

    Parameters
    ----------
    shell : InteractiveShell
        The kernel's.
    """

    def __init__(self, shell: Any) -> None:
        self._publish = shell.display_pub.publish
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = ""  # the places in the line as it was last renewed

    def begin(self, info: Any) -> None:
        """Start to wait for the end of a cell."""
        steps.forget()
        self._began, self._over, self._shown = time.monotonic(), threading.Event(), ""
        # The copy carries which cell this is: what the thread sends belongs to it.
        task = contextvars.copy_context().run
        thread = threading.Thread(target=task, args=(self._wait, self._over), daemon=True)
        with contextlib.suppress(RuntimeError):  # no more threads, or none at all, as in a browser's Python
            thread.start()
            self._thread = thread

    def end(self, result: Any) -> None:
        """The cell has ended: take the line away."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def stopped(
        self, shell: Any, kind: type[BaseException], error: BaseException, *trace: Any, **more: Any
    ) -> list[str]:
        """Say in one line that the cell was stopped; it is an error still, so that "run all" ends here."""
        self.end(None)
        # Where it was is what was last shown: by now the error has closed the loops that it went through.
        at = f" at {self._shown}" if self._shown else ""
        told = str(error).rstrip(".") or f"stopped by you{at} after {self._seconds():.0f} s"
        line = f"{told[:1].upper()}{told[1:]}. Nothing else is lost: run the cell again to begin it anew."
        shell._showtraceback(kind, kind(line), [line])
        return [line]

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _wait(self, over: threading.Event) -> None:
        if over.wait(PATIENCE_S):
            return
        of_this = {"display_id": uuid4().hex}
        self._publish({}, transient=of_this)
        while not over.is_set():
            self._shown = steps.where()
            self._publish(bundle(self._seconds()), transient=of_this, update=True)
            over.wait(EVERY_S)
        self._publish({}, transient=of_this, update=True)


def bundle(seconds: float) -> dict[str, str]:
    """What is shown so many seconds after the start, as text and as HTML with a bar.

    Examples
    --------
    >>> for seed in steps.each(range(4), "seed"):
    ...     print(bundle(3.2 * seed)["text/plain"])
    seed 1 of 4, 0 s so far
    seed 2 of 4, 3 s so far
    seed 3 of 4, 6 s so far
    seed 4 of 4, 10 s so far
    >>> bundle(75)["text/plain"]
    'still running, 75 s so far'
    """
    text = f"{steps.where() or 'still running'}, {seconds:.0f} s so far"
    share = steps.share_done()
    value = "" if share is None else f' value="{share:.3f}"'
    bar = (
        f'<progress max="1"{value} aria-label="{html.escape(text)}" style="vertical-align:middle"></progress>'
    )
    return {"text/plain": text, "text/html": f'<div class="moe-waiting">{bar} {html.escape(text)}</div>'}
