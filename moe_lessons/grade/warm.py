"""The warm parent: imports torch once, then forks a worker for each answer in a few milliseconds.

It never runs learner code itself and holds no expected values. The grader asks over a control channel:
``start`` (with the worker's end of a new channel), ``load NAME`` (import one of ``LATE``, so that workers
need not), ``used PID`` (processor time of a worker and all that it started), and ``end PID`` or ``reap PID``,
which end them; ``reap`` is for one that is about to end by itself. When the grader goes away, all ends.

In a sandbox this process is inside bubblewrap, and each worker in a jail of its own (see ``jail``);
without one a worker is only a process in a session of its own.
"""

import contextlib
import gc
import importlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time

from moe_lessons.grade import jail, lifeline

CHANNEL = 3
"""The worker's end of its channel, always."""
_GRACE_SECONDS = 1.0
LATE = {
    "scipy": ("scipy.optimize", "scipy.stats"),
    "grad": ("torch.fx.experimental.symbolic_shapes",),
}
"""What takes half a second or more to import; ``late`` tells from an answer's text which it will need.

Imported once, here, before the first answer that wants it is there: its worker has it then, and later ones.
"""


def main(control_fd: int, user: int | None) -> None:
    """Serve ``start``, ``end`` and ``reap`` until the control channel closes.

    ``user`` is the number of the user that sandboxed workers become; None without a sandbox.
    """
    lifeline.die_with_parent()
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
            folder = tempfile.mkdtemp(prefix="answer-") if user is None else ""
            pid = _start(descriptors[0], folder, user)
            os.close(descriptors[0])
            folders[pid] = folder
            control.sendall(b"%d" % pid)
        elif words[0] == b"load":
            _load(words[1].decode())
            control.sendall(b"done")
        elif words[0] == b"used":
            control.sendall(b"%f" % processor_seconds(int(words[1])))
        else:
            pid = int(words[1])
            grace = _GRACE_SECONDS if words[0] == b"reap" else 0.0
            control.sendall(b"%d" % _end(pid, folders.pop(pid), grace))
    for pid, folder in folders.items():
        _end(pid, folder, 0.0)


def _forks_warm() -> bool:
    # On macOS system libraries may fail in a forked child that does not exec.
    return sys.platform != "darwin"


def _import() -> None:
    import torch

    from moe_lessons.grade import worker  # noqa: F401

    with contextlib.suppress(ImportError):  # it exists for Linux only
        import triton.language  # noqa: F401

        from moe_lessons.exercises import kernel_compile

        kernel_compile.load_second_copy()  # workers may start no process that compiles
        # Triton imports it at the first launch: a tenth of a second in each kernel's worker and its witness.
        importlib.import_module("triton.experimental.gluon")

    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    # PyTorch asks what the processor can do when it first needs to know; a worker could not see the answer.
    for dtype in (torch.float16, torch.bfloat16):
        halves = torch.ones(64, 64, dtype=dtype)
        halves @ halves
    _freeze()


def _freeze() -> None:
    """Have workers look for garbage among what is their own.

    They share this process's memory until they write to it, and to look for garbage is to write beside every
    object; PyTorch and Triton have some 200,000.
    """
    gc.collect()
    gc.freeze()


def _load(name: str) -> None:
    for module in LATE[name] if _forks_warm() else ():
        with contextlib.suppress(Exception):  # then the answer that asks for it hears why
            importlib.import_module(module)
    _freeze()


def _start(channel_fd: int, folder: str, user: int | None) -> int:
    pid = os.fork() if user is None else jail.fork_keeper()
    if pid:
        return pid
    try:
        if user is None:
            _become_worker(channel_fd, folder)
        else:
            _become_jailed_worker(channel_fd, user)
    except BaseException as error:
        os.write(2, f"no worker: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(0)


def _become_worker(channel_fd: int, folder: str) -> None:
    lifeline.die_with_parent()
    os.setsid()
    os.chdir(folder)
    for name in ("HOME", "TMPDIR"):
        os.environ[name] = folder
    _keep_only(channel_fd)
    if _forks_warm():
        jail.limit()
        _serve()
    else:
        os.execv(sys.executable, [sys.executable, "-P", "-s", sys.argv[0], "serve"])


def _become_jailed_worker(channel_fd: int, user: int) -> None:
    os.setsid()
    _keep_only(channel_fd)
    jail.limit()
    jail.keep(user)
    jail.give_up(user)
    _serve()


def _keep_only(channel_fd: int) -> None:
    """Of all open files leave the standard ones and the channel, which becomes number ``CHANNEL``."""
    if channel_fd != CHANNEL:
        os.dup2(channel_fd, CHANNEL)
    os.set_inheritable(CHANNEL, True)
    os.closerange(CHANNEL + 1, 4096)


def _serve() -> None:
    from moe_lessons.grade import worker

    signal.signal(signal.SIGINT, signal.default_int_handler)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # what an answer prints must not fill the grader's log
    os.close(nowhere)
    tempfile.tempdir = None
    worker.serve(socket.socket(fileno=CHANNEL))


def processor_seconds(pid: int) -> float:
    """What a worker and all that it started have used of the processor; infinite where no one counts."""
    total = 0.0
    try:
        ticks = os.sysconf("SC_CLK_TCK")
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file,
            ):
                said = file.read().rpartition(")")[2].split()
                # The session is the worker's own, unless it made another; inside a sandbox it is alone.
                if int(said[3]) == pid or (os.getpid() < 10 and int(name) not in (1, os.getpid())):
                    total += sum(map(int, said[11:15])) / ticks
    except (OSError, ValueError, IndexError):
        return float("inf")
    return total


def _end(pid: int, folder: str, grace: float) -> int:
    # The child is not waited for until it is killed or over, so its number cannot be another process's.
    if folder:
        for kill in (os.killpg, os.kill):  # the group may not exist yet, or no more
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)
    deadline = time.monotonic() + grace
    ended, status = os.waitpid(pid, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.002)
        ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)  # the keeper, and so its whole namespace
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code > 128 else code  # a keeper says 128 + n for signal n


def probe(user: int) -> None:
    """Go through a jail as a worker would, and say "held", or what was not refused.

    An answer finds torch imported, and imports other things late: both are tried.
    """
    _import()
    pid = jail.fork_keeper()
    if pid == 0:
        try:
            jail.limit()
            jail.keep(user)
            jail.give_up(user)
            for folder in filter(os.path.isdir, sys.path):
                os.listdir(folder)  # readable for this user
            for name in ("scipy.special", "torch.utils.benchmark"):
                importlib.import_module(name)
            os.open(os.devnull, os.O_WRONLY)
            print(", ".join(jail.refusals()) or "held", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def run(words: list[str]) -> None:
    """Entry of the kit's ``start.py``: ``warm FD [USER]``, ``serve``, or ``probe USER``."""
    if words[0] == "warm":
        main(int(words[1]), int(words[2]) if len(words) > 2 else None)
    elif words[0] == "serve":
        _import()  # before memory is limited: torch with CUDA maps several gigabytes
        jail.limit()
        _serve()
    else:
        probe(int(words[1]))
