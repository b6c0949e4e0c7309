"""Learner code in a worker: what it does harms its own process only, and it cannot see what it should not."""

import contextlib
import os
import time

import numpy as np
import pytest

from moe_lessons.exercises.drivers import Failure, Request
from moe_lessons.grade import kit, sandbox
from moe_lessons.grade.workers import WarmParent

REQUEST = Request("call", {"x": np.arange(3.0)}, {}, {})
FORBIDDEN = ("moe_lessons",)
SANDBOXED = sandbox.problem() is None
needs_sandbox = pytest.mark.skipif(not SANDBOXED, reason=str(sandbox.problem()))


@pytest.fixture(scope="module")
def warm():
    with WarmParent(sandboxed=SANDBOXED) as parent:
        yield parent


def ask(warm, code, seconds=20.0):
    """What an answer ``f`` returns for [0, 1, 2], or what came of its cell."""
    worker = warm.start()
    try:
        found = worker.load(code, "f", FORBIDDEN, seconds)
        if found != ("function", ""):
            return found
        reply = worker.call(REQUEST, seconds)
        return reply if isinstance(reply, Failure) else reply[0].data
    finally:
        worker.close()


def test_an_answer_is_called(warm):
    assert ask(warm, "def f(x):\n    return 2 * x").tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("def f(x):\n    raise NotImplementedError('your code here')", "not attempted", "your code here"),
        ("def f(x):\n    return 1 / 0", "exception", "ZeroDivisionError"),
        ("import sys\ndef f(x):\n    sys.exit(0)", "exception", "SystemExit"),
        ("import os\ndef f(x):\n    os._exit(3)", "interrupted", "ended the process (exit code 3)"),
        ("import os\ndef f(x):\n    os.kill(os.getpid(), 9)", "interrupted", "ended the process (signal 9)"),
        ("import ctypes\ndef f(x):\n    ctypes.string_at(0)", "interrupted", "ended the process (signal 11)"),
        ("import os\nos._exit(0)", "interrupted", "ended the process (exit code 0)"),
        ("import os\ndef f(x):\n    os.write(3, b'x' * 99)\n    return x", "interrupted", "interfered"),
        ("def f(x):\n    return object()", "bad return", "returned an object"),
        ("def f(x):\n    return x.to(torch.complex64)", "bad return", "complex64"),
    ],
)
def test_every_end_is_told(warm, code, kind, message):
    reply = ask(warm, code)
    assert isinstance(reply, Failure)
    assert reply.kind == kind
    assert message in reply.message


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    while True: pass",
        "while True: pass",
        "import time\ndef f(x):\n    time.sleep(60)",
        "import signal\nsignal.signal(15, signal.SIG_IGN)\ndef f(x):\n    while True: pass",
    ],
)
def test_time_is_limited(warm, code):
    began = time.monotonic()
    reply = ask(warm, code, seconds=0.5)
    assert reply == Failure("interrupted", "stopped after 0.5 s: it had not returned")
    assert time.monotonic() - began < 5


def test_a_syntax_error_names_its_line(warm):
    reply = ask(warm, "def f(x):\n    return (x")
    assert reply.message.startswith("SyntaxError")
    assert reply.line == "line 2: return (x"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("g = 1", ("missing", "")),
        ("f = 3", ("not callable", "int")),
        (
            "import moe_lessons.exercises.drivers as d\ndef f(x):\n    return d",
            ("borrowed", "moe_lessons.exercises.drivers"),
        ),
    ],
)
def test_what_is_no_answer_is_told(warm, code, found):
    assert ask(warm, code) == found


@pytest.mark.parametrize(
    "module",
    ["routing", "layer", "exercises.registry", "exercises.router", "exercises.judge", "grade.session"],
)
def test_references_and_specs_are_not_there(warm, module):
    reply = ask(warm, f"import importlib\ndef f(x):\n    importlib.import_module('moe_lessons.{module}')")
    assert "No module named" in reply.message


OPEN_FILES = """
import os
def f(x):
    found = []
    for number in range(256):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return str(found)
"""


def test_a_worker_sees_nothing_of_the_grader(warm, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "secret")
    with WarmParent(sandboxed=SANDBOXED) as fresh:
        code = "import os\ndef f(x):\n    return repr((os.listdir('.'), sorted(os.environ)))"
        seen = str(ask(fresh, code))
    assert seen.startswith("([], ")
    assert "SOME_TOKEN" not in seen
    assert "MOE_LESSONS_HOME" not in seen
    # Its standard streams and its own channel.
    assert ask(warm, OPEN_FILES) == "[0, 1, 2, 3]"


def test_one_answer_does_not_change_the_next(warm):
    ask(warm, "torch.set_default_dtype(torch.float64)\ntorch.ones = None\ndef f(x):\n    return x")
    assert ask(warm, "def f(x):\n    return torch.ones(2)").dtype == np.float32


def test_prints_go_nowhere(warm):
    assert ask(warm, "def f(x):\n    for _ in range(2000): print('x' * 10_000)\n    return x").shape == (3,)


FORKS = """
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return x
"""


@needs_sandbox
def test_nothing_is_left_running(warm):
    """A daemon that leaves its session and its parent ends with its answer, if there is a sandbox."""
    ask(warm, "def f(x):\n    return x")  # whoever is there by then stays: the parent takes a moment to start
    before = descendants(warm)
    ask(warm, FORKS)
    for _ in range(100):
        if descendants(warm) <= before:
            break
        time.sleep(0.05)
    assert descendants(warm) <= before


def descendants(warm):
    """Process numbers of everything below the warm parent."""
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8") as file:
            state, parent = file.read().rsplit(")", 1)[1].split()[:2]
            if state not in "ZX":
                parents[int(name)] = int(parent)
    found, size = {warm._process.pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


@needs_sandbox
def test_the_warm_parent_is_out_of_reach(warm):
    """The answer's own parent is its keeper: it sees no other process, and can end neither."""
    seen = ask(
        warm,
        """
import os, signal
def f(x):
    said = [os.getpid(), os.getppid(), len(os.listdir("/proc"))]
    for pid in (1, -1):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            said.append(error.errno)
    return str(said)
""",
    )
    assert seen.startswith("[2, 1, 0")
    assert ask(warm, "def f(x):\n    return x").shape == (3,)


def test_a_warm_parent_that_died_costs_only_the_answer_it_died_with():
    with WarmParent(sandboxed=SANDBOXED) as warm:
        worker = warm.start()
        warm._process.kill()
        warm._process.wait()
        time.sleep(1)  # its workers are killed with it, by the kernel, a moment later
        assert worker.load("def f(x):\n    return x", "f", FORBIDDEN, 10).kind == "interrupted"
        assert ask(warm, "def f(x):\n    return x").shape == (3,)


def test_without_a_sandbox_a_warm_parent_that_is_killed_comes_back():
    with WarmParent(sandboxed=False) as warm:
        pid = ask(warm, "import os\ndef f(x):\n    return os.getppid()")
        ask(warm, "import os, time\ndef f(x):\n    os.kill(os.getppid(), 9)\n    time.sleep(60)", seconds=3)
        assert ask(warm, "def f(x):\n    return x").shape == (3,)
        assert not alive(pid)


def test_where_forks_must_exec_workers_start_cold(monkeypatch):
    """As on macOS: the same answers, each in a process that imports torch itself."""
    make = kit.make

    def cold(folder):
        start = make(folder)
        script = folder / "moe_lessons" / "grade" / "warm.py"
        text = script.read_text(encoding="utf-8")
        assert 'sys.platform != "darwin"' in text
        script.write_text(text.replace('sys.platform != "darwin"', "False"), encoding="utf-8")
        return start

    monkeypatch.setattr(kit, "make", cold)
    with WarmParent(sandboxed=False) as parent:
        assert ask(parent, "def f(x):\n    return x", seconds=60).tolist() == [0.0, 1.0, 2.0]
        assert "exit code 3" in ask(parent, "import os\ndef f(x):\n    os._exit(3)", seconds=60).message


def test_a_stopped_worker_stays_stopped(warm):
    worker = warm.start()
    first = worker.load("import os\nos._exit(1)", "f", FORBIDDEN, 5)
    assert worker.call(REQUEST, 5) == first
    worker.close()


def alive(pid):
    """Whether a process runs (one that has ended and waits to be collected does not)."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return os.path.isdir("/proc/self")  # no /proc here: the signal got through


def test_what_takes_long_to_import_is_imported_once_for_all(warm):
    """By the text of an answer, in the warm parent; the answer after it finds it there."""
    asked = "import sys\n\n\ndef f():\n    import scipy.stats\n    return 'torch._dynamo' in sys.modules"
    code = "import sys\n\n\ndef f():\n    return {'scipy.stats', 'scipy.optimize'} <= set(sys.modules)"
    for text, begun in ((asked, False), (code, True)):
        worker = warm.start(text)
        assert worker.load(text, "f", (), 20) == ("function", "")
        (value,) = worker.call(Request("call", {}, {}, {}), 20)
        assert value.data is begun
        worker.close()


def test_a_worker_looks_for_garbage_among_its_own_only(warm):
    code = "import gc\n\ndef f(x):\n    return gc.get_freeze_count(), len(gc.get_objects())"
    with contextlib.closing(warm.start(code)) as worker:
        worker.load(code, "f", (), 20.0)
        shared, own = (value.data for value in worker.call(Request("call", {"x": 1}, {}, {}), 20.0))
    assert shared > 100_000 > own
