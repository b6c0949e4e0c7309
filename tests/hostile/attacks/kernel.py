"""Calls to the kernel that no answer needs: each must be refused."""

from attacks.cell import refused


def _call(name: str, *words: str) -> str:
    passed = ", ".join(words)
    return refused(
        f"""
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        if library.{name}({passed}) < 0: raise OSError(ctypes.get_errno())""",
        name,
    )


def _number(what: str, x86: int, arm: int, *words: str) -> str:
    passed = ", ".join(["number", *words])
    return refused(
        f"""
        import ctypes, platform
        library = ctypes.CDLL(None, use_errno=True)
        number = {x86} if platform.machine() == 'x86_64' else {arm}
        if library.syscall({passed}) < 0: raise OSError(ctypes.get_errno())""",
        what,
    )


KERNEL = {
    "be dumped": _call("prctl", "4", "1", "0", "0", "0"),
    "become root by number": _call("setuid", "0"),
    "a real-time schedule": refused(
        "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))", "runs before everyone"
    ),
    "a higher priority": refused("import os; os.nice(-10)", "a higher priority"),
    "a device": refused("import os; os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))", "made a device"),
    "the clock": refused("import time; time.clock_settime(0, 0)", "set the clock"),
    "the name of the machine": refused("import socket; socket.sethostname('mine')", "renamed the machine"),
    "a program of its own": refused(
        """
        import os
        open('/tmp/x', 'w').write('#!/bin/true')
        os.chmod('/tmp/x', 0o755)
        os.execv('/tmp/x', ['x'])""",
        "ran a program",
    ),
    "pages of a file of its own run": refused(
        """
        import mmap
        with open('/tmp/code', 'w+b') as file:
            file.write(bytes(4096))
            file.flush()
            mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)""",
        "ran code from a file",
    ),
    "io_uring": _number("a ring of its own", 425, 425, "4", "bytes(256)"),
    "bpf": _number("a program in the kernel", 321, 280, "0", "bytes(128)", "128"),
    "userfaultfd": _number("page faults", 323, 282, "1"),
    "perf": _number("counters", 298, 241, "bytes(128)", "0", "-1", "-1", "0"),
    "keys": _number("keys", 250, 219, "0", "-3", "1"),
    "a message queue": _call("mq_open", "b'/<marker>'", "66", "0o600", "None"),
    "a semaphore": _call("semget", "0", "1", "0o1666"),
    "clone with namespaces": _number("a namespace", 56, 220, "0x10000011", "0", "0", "0", "0"),
    "memory of the keeper": refused("open('/proc/1/mem', 'rb').read(1)", "read the keeper"),
    "limits of the keeper": refused(
        "import resource; resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))", "limited its keeper"
    ),
    "end the keeper": refused(
        """
        import os, signal, time
        os.kill(1, signal.SIGKILL)
        os.kill(1, signal.SIGTERM)
        time.sleep(0.2)
        raise OSError('the keeper lives')""",
        "ended its keeper",
    ),
    "a file handle by its number": _number("files by number", 304, 265, "3", "bytes(32)", "0"),
    "the root of another": refused("import os; os.chroot('/tmp/..')", "another root"),
    "a terminal": refused(
        "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')", "typed into the terminal"
    ),
}
