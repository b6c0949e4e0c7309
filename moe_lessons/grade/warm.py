"""The warm parent: imports torch once, then forks a worker for each answer in a few milliseconds.

It never runs learner code itself and holds no expected values. The grader asks over a control channel:
``start`` (with the worker's end of a new channel) and ``end PID``, which kills the worker and all that it
started in its session. When the grader goes away, everything ends.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile

MEMORY = 4 << 30
"""Bytes of address space that a worker may take beyond what it starts with (Linux)."""
FILE_SIZE = 64 << 20
OPEN_FILES = 256
PROCESSOR_SECONDS = 600


def main(control_fd: int) -> None:
    """Serve ``start`` and ``end`` until the control channel closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which then closes the channel
    control = socket.socket(fileno=control_fd)
    if _forks_warm():
        _import()
    folders: dict[int, str] = {}
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            break
        words = message.split()
        if words[0] == b"start":
            folder = tempfile.mkdtemp(prefix="answer-")
            pid = os.fork()
            if pid == 0:
                _become_worker(descriptors[0], folder)
            os.close(descriptors[0])
            folders[pid] = folder
            control.sendall(b"%d" % pid)
        else:
            pid = int(words[1])
            control.sendall(b"%d" % _end(pid, folders.pop(pid)))
    for pid, folder in folders.items():
        _end(pid, folder)


def _forks_warm() -> bool:
    # On macOS system libraries may fail in a forked child that does not exec.
    return sys.platform != "darwin"


def _import() -> None:
    import torch

    from moe_lessons.grade import worker  # noqa: F401

    with contextlib.suppress(ImportError):  # it exists for Linux only
        import triton.language  # noqa: F401

    torch.set_num_threads(1)  # a forked child has none of its parent's threads


def _become_worker(channel_fd: int, folder: str) -> None:
    """Cut what ties the child to its parent, then serve; never returns."""
    try:
        os.setsid()
        os.chdir(folder)
        for name in ("HOME", "TMPDIR"):
            os.environ[name] = folder
        os.closerange(3, channel_fd)
        os.closerange(channel_fd + 1, 4096)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _forks_warm():
            serve(channel_fd)
        else:
            os.set_inheritable(channel_fd, True)
            os.execv(sys.executable, [sys.executable, "-I", sys.argv[0], "serve", str(channel_fd)])
    finally:
        os._exit(0)


def serve(channel_fd: int) -> None:
    """Limit this process, then answer frames."""
    from moe_lessons.grade import worker

    _limit()
    tempfile.tempdir = None
    worker.serve(socket.socket(fileno=channel_fd))


def _limit() -> None:
    import resource

    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": FILE_SIZE,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_CPU": PROCESSOR_SECONDS,
    }
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            limits["RLIMIT_AS"] = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
    for name, value in limits.items():
        # A system may lack a limit, or already hold a lower one.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _end(pid: int, folder: str) -> int:
    for kill in (os.killpg, os.kill):  # the group may not exist yet, or no more
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    # The child was not waited for until now, so its number cannot have been given to another process.
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def run(words: list[str]) -> None:
    """Entry of the kit's ``start.py``: ``warm FD`` or ``serve FD``."""
    {"warm": main, "serve": serve}[words[0]](int(words[1]))
