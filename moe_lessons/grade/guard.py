"""One run at a time in a folder of results, and an end that leaves nothing behind."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from moe_lessons.grade.records import RefusedError


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs from writing to a folder; RefusedError where one does already.

    The lock goes with the process. It is left out where the system has none (Windows, some network folders).
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(
                f"another run is writing to {folder}: wait for it, or choose another"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(place)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Stop as for Ctrl-C, with all that was started, when a batch system or a closed terminal says so."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
