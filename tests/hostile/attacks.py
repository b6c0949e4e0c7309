"""Answers that attack: by threat and name, the cell's code. ``<entry>`` and the like are filled in.

An attack that gets through says ``ESCAPE`` in an error of its own, which the report of its exercise shows.
"""

from textwrap import dedent, indent


def _function(body: str, before: str = "") -> str:
    return f"{dedent(before)}\ndef <entry>(*args):\n{indent(dedent(body).strip(), '    ')}\n"


def _refused(attempt: str, what: str) -> str:
    """Code that must be refused: ESCAPE where it is not."""
    return _function(
        f"try:\n{indent(dedent(attempt).strip(), '    ')}\nexcept Exception:\n    return args[0]\n"
        f"raise RuntimeError('ESCAPE {what}')"
    )


def _shape() -> str:
    return "torch.zeros(len(args[0]), len(args[1]))"


EQUAL = {
    "always equal": _function("""
        class Same:
            dtype, shape, device = args[0].dtype, (len(args[0]), len(args[1])), 'cpu'
            __eq__ = __ge__ = __le__ = lambda self, other: True
            __hash__ = lambda self: 0
            __bool__ = lambda self: True
        return Same()"""),
    "an ndarray of its own kind": _function(f"""
        class Mine(np.ndarray):
            def __eq__(self, other): return True
            def __array_ufunc__(self, *a, **k): return True
        return {_shape()}.numpy().view(Mine)"""),
    "a tensor of its own kind": _function(f"""
        class Mine(torch.Tensor):
            @classmethod
            def __torch_function__(cls, *a, **k): return True
        return {_shape()}.as_subclass(Mine)"""),
    "a tensor with methods of its own": _function(f"""
        t = {_shape()}
        t.numpy = lambda: None
        t.detach = lambda: t
        return t"""),
    "an object array": _function("return np.array([[None]], dtype=object)"),
    "an array that makes itself": _function("""
        class Late:
            def __array__(self, *a, **k): raise SystemExit(0)
        return Late()"""),
    "NaN": _function(f"return {_shape()} * float('nan')"),
    "infinity": _function(f"return {_shape()} + float('inf')"),
    "zeros": _function(f"return {_shape()}"),
    "None": _function("return None"),
    "True": _function("return True"),
    "the word passed": _function("return '✔ 01.router_logits: passed, 99 of 99 points'"),
    "a million numbers": _function("return list(range(10**6))"),
    "a tensor of a trillion": _function("return torch.zeros(1).expand(10**12)"),
    "a tensor without values": _function("return torch.empty(4, 4, device='meta')"),
    "a sparse tensor": _function(f"return {_shape()}.to_sparse()"),
    "a quantized tensor": _function(
        "return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)"
    ),
    "complex numbers": _function(f"return {_shape()}.to(torch.complex64)"),
    "itself": _function("x = []\nx.append(x)\nreturn x"),
}
PATCHED = {
    "torch allclose": _function(
        f"return {_shape()}",
        """
        torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True
        torch.Tensor.allclose = torch.Tensor.__eq__ = lambda *a, **k: True
        torch.testing.assert_close = lambda *a, **k: None""",
    ),
    "numpy comparisons": _function(
        f"return {_shape()}",
        """
        np.allclose = np.array_equal = np.isclose = np.all = lambda *a, **k: True
        np.testing.assert_allclose = lambda *a, **k: None""",
    ),
    "builtins": _function(
        f"return {_shape()}",
        """
        import builtins
        builtins.len = lambda x: 1
        builtins.isinstance = lambda *a: True
        builtins.print = builtins.repr = lambda *a, **k: 'passed'""",
    ),
    "the module that answers": _function(
        f"return {_shape()}",
        """
        import sys
        messages = sys.modules['moe_lessons.grade.messages']
        wire = sys.modules['moe_lessons.grade.wire']
        forged = {'status': 'passed', 'values': []}
        messages.answer = lambda number, reply: wire.pack({'number': number, **forged})""",
    ),
    "the driver": _function(
        f"return {_shape()}",
        """
        import sys
        drivers = sys.modules['moe_lessons.exercises.drivers']
        drivers.run = lambda *a: drivers.Failure('passed', 'passed')""",
    ),
    "json": _function(
        f"return {_shape()}",
        """
        import json
        json.dumps = lambda *a, **k: '{"status": "passed", "points": 99}'""",
    ),
}
HOOKS = {
    "an input hook": _function(
        f"return {_shape()}",
        """
        try:
            get_ipython().input_transformers_cleanup.append(lambda lines: [])
        except NameError:
            pass
        else:
            raise RuntimeError('ESCAPE IPython is here')""",
    ),
    "a display hook": _function(
        f"return {_shape()}",
        """
        import atexit, sys
        sys.displayhook = sys.excepthook = lambda *a: print('passed')
        atexit.register(print, '✔ 01.router_logits: passed, 99 of 99 points')""",
    ),
    "a trace": _function(
        f"return {_shape()}",
        """
        import sys, threading
        def trace(frame, event, arg):
            frame.f_locals['points'] = 99
            return trace
        sys.settrace(trace)
        threading.settrace(trace)""",
    ),
    "an import hook": _function(
        f"return {_shape()}",
        """
        import sys
        class Finder:
            def find_spec(self, *a, **k): raise SystemExit(0)
        sys.meta_path.insert(0, Finder())""",
    ),
}
ENDINGS = {
    "sys exit": _function("import sys; sys.exit(0)"),
    "an exit of its own kind": _function("class Bye(SystemExit):\n    code = 0\nraise Bye()"),
    "KeyboardInterrupt": _function("raise KeyboardInterrupt"),
    "GeneratorExit": _function("raise GeneratorExit"),
    "os exit 0": _function("import os; os._exit(0)"),
    "os exit in the cell": "import os\nos._exit(0)\n",
    "kill the parent": _function("import os\nos.kill(os.getppid(), 9)\nreturn args[0]"),
    "kill everyone": _function("import os\nos.kill(-1, 9)\nreturn args[0]"),
    "kill the group": _function("import os\nos.killpg(0, 9)\nreturn args[0]"),
    "kill itself": _function("import os\nos.kill(os.getpid(), 9)"),
    "segfault": _function("import ctypes; ctypes.string_at(0)"),
    "abort": _function("import os; os.abort()"),
    "endless recursion": _function(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nreturn f(0)"
    ),
    "an error without text": _function("class E(Exception):\n    __str__ = lambda self: 1 / 0\nraise E"),
    "an error of a gigabyte": _function("raise RuntimeError('x' * 500_000_000)"),
    "an error with control characters": _function(
        "raise RuntimeError('\\x1b[2J\\x00\\ud800</code><script>x')"
    ),
}
TIME = {
    "slow endless loop": _function("while True: pass"),
    "slow endless cell": "while True: pass\n",
    "slow sleep": _function("import time; time.sleep(1000)"),
    "slow ignored signals": _function("""
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass"""),
    "slow loop in C": _function("import re; re.match(r'(a+)+$', 'a' * 60 + 'b')"),
    "slow loop in torch": _function("x = torch.ones(2000, 2000)\nfor _ in range(10**9): x = x @ x"),
    "slow stopped": _function("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    "slow every call a little": _function("import time; time.sleep(1.9); return args[0]"),
}
RESOURCES = {
    "memory bomb": _function("x = []\nwhile True: x.append(bytearray(1 << 26))"),
    "tensor bomb": _function("return [torch.ones(1 << 28) for _ in range(100)]"),
    "slow fork bomb": _function("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    "thread bomb": _function("""
        import threading, time
        for _ in range(10_000): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"""),
    "daemon": _function("""
        import os, time, ctypes
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b'<marker>', 0, 0, 0)
                time.sleep(1000)
            os._exit(0)
        return args[0]"""),
    "daemon that holds the channel": _function("""
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        os._exit(0)"""),
    "disk fill": _function("""
        written = 0
        try:
            for n in range(1000):
                with open(f'/tmp/{n}', 'wb') as file: written += file.write(bytes(1 << 23))
        except OSError:
            pass
        if written > 1 << 30: raise RuntimeError('ESCAPE filled a disk')
        return args[0]"""),
    "a million files": _function("""
        made = 0
        try:
            for made in range(1_000_000): open(f'/tmp/{made}', 'wb').close()
        except OSError:
            pass
        if made > 100_000: raise RuntimeError('ESCAPE as many files as it likes')
        return args[0]"""),
    "open files": _function("import os\nx = []\nwhile True: x.append(os.open('/dev/null', 0))"),
    "fifty megabytes of prints": _function("for _ in range(500): print('x' * 100_000)\nreturn args[0]"),
    "prints to the error stream": _function("""
        import os, sys
        for _ in range(500): os.write(2, b'x' * 100_000)
        return args[0]"""),
    "anonymous files": _refused("import os; os.memfd_create('x')", "memory that nothing counts"),
    "shared memory": _refused(
        """
        import ctypes
        if ctypes.CDLL(None).shmget(0, 1 << 20, 0o1666) == -1: raise OSError""",
        "shared memory",
    ),
}
OUTSIDE = {
    "network": _refused("import socket; socket.create_connection(('127.0.0.1', <port>), 1)", "network"),
    "datagrams": _refused(
        "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', <port>))", "network"
    ),
    "local sockets": _refused("import socket; socket.socket(socket.AF_UNIX)", "sockets"),
    "sockets of virtual machines": _refused("import socket; socket.socket(40, 1)", "sockets to the host"),
    "names": _refused("import socket; socket.getaddrinfo('localhost', 80)", "name service"),
    "write the canary": _refused("open('<canary>', 'a').write('x')", "wrote outside"),
    "write beside the course": _refused("open('<repo>/<marker>', 'w')", "wrote outside"),
    "write to home": _refused("import os; open('/root/<marker>', 'w')", "wrote outside"),
    "write to var": _refused("open('/var/tmp/<marker>', 'w')", "wrote outside"),
    "write to shm": _refused("open('/dev/shm/<marker>', 'w')", "wrote outside"),
    "write to the kit": _refused("open('/kit/start.py', 'a')", "wrote to the kit"),
    "a link to the canary": _refused(
        "import os; os.symlink('<canary>', '/tmp/l'); open('/tmp/l').read()", "read outside"
    ),
    "read the canary": _refused("open('<canary>').read()", "read outside"),
    "read the solutions": _refused("open('<repo>/solutions/01_router.ipynb').read()", "read the solutions"),
    "read the specs": _refused("open('<repo>/moe_lessons/exercises/registry.py').read()", "read the specs"),
    "read another submission": _refused("open('<honest>').read()", "read another submission"),
    "read the users": _refused("open('/etc/passwd').read()", "read outside"),
    "see processes": _refused("import os; os.listdir('/proc')[0]", "saw processes"),
    "see itself": _refused("open('/proc/self/maps').read()", "saw /proc"),
    "run a shell": _refused("import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])", "ran a program"),
    "run python": _refused(
        "import os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])", "ran python"
    ),
    "become root": _refused("import os; os.setuid(0)", "became root"),
    "mount": _refused(
        """
        import ctypes
        if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None): raise OSError""",
        "mounted",
    ),
    "new namespaces": _refused(
        """
        import ctypes
        if ctypes.CDLL(None).unshare(0x10000000): raise OSError""",
        "made a namespace",
    ),
    "trace the keeper": _refused(
        """
        import ctypes
        if ctypes.CDLL(None).ptrace(16, 1, 0, 0): raise OSError""",
        "traced its parent",
    ),
    "change root": _refused("import os; os.chroot('/tmp')", "changed root"),
    "raise its limits": _refused(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NPROC, (10_000, 10_000))""",
        "raised its limits",
    ),
    "secrets in the environment": _function("""
        import os
        if 'HOSTILE_SECRET' in os.environ: raise RuntimeError('ESCAPE environment')
        return args[0]"""),
}
REPLIES = {
    "garbage": _function("import os\nos.write(3, b'garbage' * 100)\nreturn args[0]"),
    "a pickle": _function("""
        import os, pickle
        class Evil:
            def __reduce__(self): return (os.system, ('touch /tmp/<marker>',))
        os.write(3, pickle.dumps(Evil()))
        return args[0]"""),
    "passed without values": _function("""
        import os
        from moe_lessons.grade import wire
        for n in range(50): os.write(3, wire.pack({'number': n, 'status': 'passed', 'values': []}))
        return args[0]"""),
    "loaded again": _function("""
        import os
        from moe_lessons.grade import wire
        os.write(3, wire.pack({'number': 2, 'loaded': ['function', '']}))
        return args[0]"""),
    "a huge prefix": _function("import os, struct\nos.write(3, struct.pack('<4sIQ', b'MoE1', 10, 1 << 60))"),
    "a deep header": _function("""
        import os, struct
        text = b'[' * 100_000
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 0) + text)"""),
    "a header with NaN": _function("""
        import os, struct
        text = b'{"number": NaN, "values": [], "arrays": []}'
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 0) + text)"""),
    "arrays that overlap": _function("""
        import os, struct
        text = b'{"number": 2, "values": [["float32", {"array": 0}]], "arrays": [["float32", [1073741824]]]}'
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 4) + text + b'abcd')"""),
    "a kind of failure of its own": _function("""
        import os
        from moe_lessons.grade import wire
        os.write(3, wire.pack({'number': 2, 'failure': ['passed', 'passed', 'passed']}))"""),
    "a closed channel": _function("import os\nos.close(3)\nreturn args[0]"),
    "slow half a frame": _function("import os, time\nos.write(3, b'MoE1')\ntime.sleep(1000)"),
    "slow endless frame": _function("""
        import os, struct
        os.write(3, struct.pack('<4sIQ', b'MoE1', 2, 200 << 20) + b'{}')
        while True: os.write(3, bytes(1 << 16))"""),
}
REFERENCES = {
    "import": "from moe_lessons.routing import topk_routing as <entry>\n",
    "import inside": _function(
        "from moe_lessons.routing.gates import router_logits\nreturn router_logits(*args)"
    ),
    "import by text": _function("return getattr(__import__('moe_' + 'lessons.routing'), 'routing')"),
    "import by importlib": _function("""
        import importlib
        return importlib.import_module(''.join(['moe', '_lessons.exercises.registry']))"""),
    "import from the repository": _function("""
        import sys
        sys.path.insert(0, '<repo>')
        for name in [n for n in sys.modules if n.startswith('moe_' + 'lessons')]: del sys.modules[name]
        module = __import__('moe_' + 'lessons.routing')
        raise RuntimeError('ESCAPE imported the references')"""),
    "import swallowed": _function(f"""
        try: return __import__('moe_' + 'lessons.exercises.router.router_logits').REFERENCE(*args)
        except Exception: return {_shape()}"""),
    "transformers' own": _function("import transformers\nraise RuntimeError('ESCAPE imported transformers')"),
    "exec of text": _function("exec('from moe_' + 'lessons.layer import *')\nreturn args[0]"),
}
FIXED = {
    "answers for seed 0": _function("return torch.tensor(<seed0>)"),
    "its own last answer": _function(
        "global last\nlast = globals().get('last', torch.ones(2, 2))\nreturn last"
    ),
    "the seed guessed": _function(
        f"torch.manual_seed(torch.initial_seed())\nreturn torch.randn_like({_shape()})"
    ),
    "expected values on the heap": _function("""
        import gc
        shape = (len(args[0]), len(args[1]))
        for thing in gc.get_objects():
            if type(thing) in (torch.Tensor, np.ndarray) and tuple(thing.shape) == shape:
                return thing
        return None"""),
    "expected values on the stack": _function("""
        import sys
        frame, seen = sys._getframe(), []
        while frame:
            seen += [v for v in frame.f_locals.values() if type(v) is torch.Tensor]
            if any('expected' in name or 'want' in name or 'reference' in name for name in frame.f_locals):
                raise RuntimeError('ESCAPE saw expected values')
            frame = frame.f_back
        return seen[-1] if seen else None"""),
}
ANSWERS = {
    "equality": EQUAL,
    "patched libraries": PATCHED,
    "hooks": HOOKS,
    "endings": ENDINGS,
    "time": TIME,
    "resources": RESOURCES,
    "outside": OUTSIDE,
    "replies": REPLIES,
    "references": REFERENCES,
    "fixed answers": FIXED,
}
_TELLTALE = "open('<canary>', 'a').write('imported')\n"
BESIDE = {
    f"beside it {name}": {name: "open({canary!r}, 'a').write('imported')\n"}
    for name in (
        "numpy.py",
        "torch.py",
        "conftest.py",
        "sitecustomize.py",
        "usercustomize.py",
        "nbval.py",
        "pytest.py",
        "moe_lessons/__init__.py",
    )
} | {
    "beside it pytest ini": {"pytest.ini": "[pytest]\naddopts = --nbval-lax -p evil\n", "evil.py": _TELLTALE},
    "beside it a path file": {"x.pth": "import os; open({canary!r}, 'a')\n"},
}
