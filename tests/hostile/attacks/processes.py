"""Endings, endless loops, and taking all there is of memory, processes, files."""

from attacks.cell import function, refused

ENDINGS = {
    "sys exit": function("import sys; sys.exit(0)"),
    "an exit of its own kind": function("class Bye(SystemExit):\n    code = 0\nraise Bye()"),
    "KeyboardInterrupt": function("raise KeyboardInterrupt"),
    "GeneratorExit": function("raise GeneratorExit"),
    "os exit 0": function("import os; os._exit(0)"),
    "os exit in the cell": "import os\nos._exit(0)\n",
    "kill the parent": function("import os\nos.kill(os.getppid(), 9)\nreturn args[0]"),
    "kill everyone": function("import os\nos.kill(-1, 9)\nreturn args[0]"),
    "kill the group": function("import os\nos.killpg(0, 9)\nreturn args[0]"),
    "kill itself": function("import os\nos.kill(os.getpid(), 9)"),
    "segfault": function("import ctypes; ctypes.string_at(0)"),
    "abort": function("import os; os.abort()"),
    "endless recursion": function(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nreturn f(0)"
    ),
    "an error without text": function("class E(Exception):\n    __str__ = lambda self: 1 / 0\nraise E"),
    "an error of a gigabyte": function("raise RuntimeError('x' * 500_000_000)"),
    "an error with control characters": function(
        "raise RuntimeError('\\x1b[2J\\x00\\ud800</code><script>x')"
    ),
}

TIME = {
    "slow endless loop": function("while True: pass"),
    "slow endless cell": "while True: pass\n",
    "slow sleep": function("import time; time.sleep(1000)"),
    "slow ignored signals": function("""
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass"""),
    "slow loop in C": function("import re; re.match(r'(a+)+$', 'a' * 60 + 'b')"),
    "slow loop in torch": function("x = torch.ones(2000, 2000)\nfor _ in range(10**9): x = x @ x"),
    "slow stopped": function("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    "slow every call a little": function("import time; time.sleep(1.9); return args[0]"),
}

RESOURCES = {
    "memory bomb": function("x = []\nwhile True: x.append(bytearray(1 << 26))"),
    "tensor bomb": function("return [torch.ones(1 << 28) for _ in range(100)]"),
    "slow fork bomb": function("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    "thread bomb": function("""
        import threading, time
        for _ in range(10_000): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"""),
    "daemon": function("""
        import os, time, ctypes
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b'<marker>', 0, 0, 0)
                time.sleep(1000)
            os._exit(0)
        return args[0]"""),
    "daemon that holds the channel": function("""
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        os._exit(0)"""),
    "disk fill": function("""
        written = 0
        try:
            for n in range(1000):
                with open(f'/tmp/{n}', 'wb') as file: written += file.write(bytes(1 << 23))
        except OSError:
            pass
        if written > 1 << 30: raise RuntimeError('ESCAPE filled a disk')
        return args[0]"""),
    "a million files": function("""
        made = 0
        try:
            for made in range(1_000_000): open(f'/tmp/{made}', 'wb').close()
        except OSError:
            pass
        if made > 100_000: raise RuntimeError('ESCAPE as many files as it likes')
        return args[0]"""),
    "open files": function("import os\nx = []\nwhile True: x.append(os.open('/dev/null', 0))"),
    "fifty megabytes of prints": function("for _ in range(500): print('x' * 100_000)\nreturn args[0]"),
    "prints to the error stream": function("""
        import os, sys
        for _ in range(500): os.write(2, b'x' * 100_000)
        return args[0]"""),
    "anonymous files": refused("import os; os.memfd_create('x')", "memory that nothing counts"),
    "shared memory": refused(
        """
        import ctypes
        if ctypes.CDLL(None).shmget(0, 1 << 20, 0o1666) == -1: raise OSError""",
        "shared memory",
    ),
}
