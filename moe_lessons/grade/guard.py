"""One run at a time in a folder of results, and an end that leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
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


PLACES = "moe-lessons-grading-"
_ALIVE = "alive"
_ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder for all that a run needs for a while; what runs that were killed left behind goes first."""
    sweep()
    made, lock = _made()
    try:
        yield made
    finally:
        os.close(lock)
        _remove(made)


def _made() -> tuple[Path, int]:
    """A new place and its lock; another one where someone who swept came before the lock was taken."""
    for last in (False, False, True):
        made = Path(tempfile.mkdtemp(prefix=PLACES))
        lock = os.open(made / _ALIVE, os.O_CREAT | os.O_RDWR)
        if (_locked(lock) and (made / _ALIVE).exists()) or last:
            break
        os.close(lock)
        shutil.rmtree(made, ignore_errors=True)
    return made, lock


def sweep() -> None:
    """Remove the places of runs that are no more."""
    with contextlib.suppress(OSError):
        for found in Path(tempfile.gettempdir()).glob(f"{PLACES}*"):
            with contextlib.suppress(OSError):
                about = found.lstat()
                mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
                if mine and found.is_dir() and not found.is_symlink():
                    _remove_abandoned(found)


def _remove_abandoned(place: Path) -> None:
    try:
        lock = os.open(place / _ALIVE, os.O_RDWR)
    except FileNotFoundError:  # just made, or made by an earlier version
        if time.time() - place.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(place, ignore_errors=True)
        return
    try:
        if _locked(lock):  # and stays so until it is gone, so that no one takes it for their own
            shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)


def _locked(handle: int) -> bool:
    """Take the lock of a place; False where another process has it. Without locks no place is abandoned."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(place: Path) -> None:
    """Remove a folder that processes on their way out may still write to."""
    deadline = time.monotonic() + 10.0
    while place.exists():
        shutil.rmtree(place, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


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
