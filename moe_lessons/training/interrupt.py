"""Ctrl-C, SIGTERM and SIGHUP between two steps of training, not in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether the run was asked to end, and by which signal."""

    signum: int | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Turn signals to stop into a flag, so that a step ends whole; a second Ctrl-C stops at once.

    They are Ctrl-C, SIGTERM and SIGHUP, which a terminal sends when it closes, unless `nohup` turned that
    off. torchrun, stopped by either, sends the same to every process that it started.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(signum: int, frame: FrameType | None) -> None:
        interrupt.signum = signum
        signal.signal(signal.SIGINT, signal.default_int_handler)

    wanted = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        wanted.append(hangup)
    before = {signum: signal.signal(signum, note) for signum in wanted}
    try:
        yield interrupt
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
