"""What a worker gives up before it holds learner code: its view, its limits, its rights (Linux).

The warm parent, inside bubblewrap, keeps the right to make namespaces. For each worker it forks the first
process of a new process namespace, here called the keeper, which takes its own view of files and starts the
worker proper. When the keeper ends, the kernel ends everything that the worker ever started.
"""

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial

from moe_lessons.grade import seccomp

MEMORY = 2 << 30
"""Bytes of address space that a process may take beyond what it starts with."""
SCRATCH = 64 << 20
"""Bytes in the folder for temporary files."""
FILES_IN_SCRATCH = 4096
FILE_SIZE = 16 << 20
OPEN_FILES = 128
PROCESSES = 24
PROCESSOR_SECONDS = 600

_NEW_MOUNTS, _NEW_IPC, _NEW_PIDS = 0x00020000, 0x08000000, 0x20000000
_NO_SUID, _NO_DEV, _NO_EXEC, _READ_ONLY = 2, 4, 8, 1
_PRIVATE = (1 << 18) | 16384
_SET_DUMPABLE, _DROP_BOUNDING, _NO_NEW_PRIVS = 4, 24, 38
_CAPABILITIES_V3 = 0x20080522


def fork_keeper() -> int:
    """Fork into a new process namespace: 0 in the child, which is its first process; else the child's id."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _NEW_PIDS)
        pid = os.fork()
        if pid:
            _call("setns", own, _NEW_PIDS)  # or the next worker would land in this one's namespace
        return pid
    finally:
        os.close(own)


def keep(user: int) -> int:
    """In the keeper: give its worker a view of its own, then fork the worker.

    Returns in the worker alone, as ``0``; the keeper waits for it and exits as it did (128 + n for signal n).
    """
    _set_aside(user)
    worker = os.fork()
    if worker == 0:
        return 0
    os.closerange(3, 4096)  # so that the grader's channel closes when the worker ends
    while True:
        pid, status = os.wait()  # orphans come to the first process of a namespace
        if pid == worker:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def limit(memory: int = MEMORY) -> None:
    """Limit what this process, and whatever it starts, may use."""
    import resource

    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": FILE_SIZE,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_CPU": PROCESSOR_SECONDS,
        "RLIMIT_MEMLOCK": 0,
    }
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            limits["RLIMIT_AS"] = int(file.read().split()[0]) * resource.getpagesize() + memory
        # Where memory runs out for all, the kernel ends a worker first, never the grader.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    for name, value in limits.items():
        # A system may lack a limit, or already hold a lower one.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def give_up(user: int) -> None:
    """In the worker: no more rights than an unknown user has, and no way to more of them."""
    import resource

    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    for capability in range(64):
        with contextlib.suppress(OSError):
            _call("prctl", _DROP_BOUNDING, capability, 0, 0, 0)
    if os.getuid() != user:  # started by root
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.chdir(_scratch())  # only now: it belongs to this user alone
    header = struct.pack("<Ii", _CAPABILITIES_V3, 0)
    _call("capset", header, bytes(24))
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)
    seccomp.apply()


def _set_aside(user: int) -> None:
    _call("unshare", _NEW_MOUNTS | _NEW_IPC)
    _call("mount", None, b"/", None, _PRIVATE, None)
    sizes = f"size={SCRATCH},nr_inodes={FILES_IN_SCRATCH},mode=700,uid={user},gid={_group(user)}"
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    _call("mount", b"tmpfs", _scratch().encode(), b"tmpfs", flags, sizes.encode())
    # Nothing about other processes, nor about this machine.
    _call("mount", b"tmpfs", b"/proc", b"tmpfs", flags | _READ_ONLY, b"size=4k,mode=555")


def _scratch() -> str:
    return os.environ["TMPDIR"]


def _group(user: int) -> int:
    return os.getgid() if user == os.getuid() else user


def _call(name: str, *words: int | bytes | None) -> None:
    """Call a function of the C library; OSError where it says no."""
    library = ctypes.CDLL(None, use_errno=True)
    passed = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in words]
    if getattr(library, name)(*passed) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def refusals() -> Iterator[str]:
    """What this process could do and must not be able to; nothing where the jail holds."""
    attempts: dict[str, Callable[[], object]] = {
        "open a socket": socket.socket,
        "see processes": lambda: os.listdir("/proc")[0],
        "mount": lambda: _call("mount", b"tmpfs", _scratch().encode(), b"tmpfs", 0, None),
        "make namespaces": lambda: _call("unshare", 0x10000000),
        "become root": lambda: os.setuid(0),
    }
    for folder in {"/", "/tmp", "/dev", *filter(os.path.isdir, sys.path)} - {_scratch()}:
        attempts[f"write to {folder}"] = partial(os.open, f"{folder}/written", os.O_WRONLY | os.O_CREAT)
    for what, attempt in attempts.items():
        try:
            attempt()
        except (OSError, IndexError):
            continue
        yield what
