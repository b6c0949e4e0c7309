"""Processes that end with the one that started them, however that ended (Linux)."""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent is gone.

    Parameters
    ----------
    parent : int, optional
        The parent's number, where it is known: if it was gone before this call, this process ends now.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
