"""How far grading is: a bar in a terminal, a line now and then elsewhere."""

import sys
from typing import Any

import click


class Progress:
    """Called with the answers judged and their total; ``with`` closes the bar."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._last = -1

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("grading", total=None)
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show progress if there is any."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif done != self._last and (done == total or done - self._last >= max(1, total // 4)):
            click.echo(f"graded {done} of {total} answers", err=True)
            self._last = done

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
