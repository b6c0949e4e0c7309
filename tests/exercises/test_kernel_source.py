"""What a kernel's text may hold, where it is run or compiled without the answer it came from."""

import importlib.util

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs Triton", allow_module_level=True)

from moe_lessons.exercises.kernel_launch import read
from moe_lessons.exercises.kernel_source import KernelTextError, build

TL = {"tl": ["module", "triton.language"], "triton": ["module", "triton"]}


def kernel(line, names=TL):
    return [{"name": "k", "text": f"def k(x, n):\n    {line}\n", "line": 1, "names": names}]


@pytest.mark.parametrize(
    "line",
    [
        "tl.store(x + tl.arange(0, 4), tl.load(x).to(tl.float32), mask=n > 0)",
        "y = tl.zeros((4, 4), tl.float32).T",
        "for i in range(n): tl.store(x + i, tl.math.exp(1.0))",
        "tl.store(x, triton.cdiv(n, 4))",
        "tl.static_assert(n > 0)",
    ],
)
def test_a_kernel_is_made(line):
    assert build(kernel(line)) is not None


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "x.handle.data.fill(0)",
        "tl.core.sys",
        "tl.math.core",
        "triton.runtime.interpreter",
        "().__class__.__base__.__subclasses__()",
        "f = lambda: 0",
        "raise ValueError",
        "global y",
        "x.fn.__globals__",
        "tl.store(x, __builtins__)",
        "y = tl._utils",
        "try: pass\n    except ValueError: pass",
        "def inner(): pass",
        "class C: pass",
    ],
)
def test_what_is_no_kernel_is_refused(line):
    with pytest.raises(KernelTextError):
        build(kernel(line))


@pytest.mark.parametrize(
    "line", ["open('x')", "eval('1')", "getattr(x, 'y')", "np.zeros(3)", "builder.load(x)"]
)
def test_names_that_no_kernel_has_are_unknown(line):
    with pytest.raises((NameError, KernelTextError)):
        build(kernel(line))


@pytest.mark.parametrize(
    "names",
    [{"os": ["module", "os"]}, {"y": ["language", "core"]}, {"y": ["dtype", "no dtype"]}, {"y": ["new", 1]}],
)
def test_names_from_elsewhere_are_refused(names):
    with pytest.raises(KernelTextError):
        build(kernel("pass", names))


def test_a_text_is_one_function():
    text = "def k(x):\n    pass\nprint('beside it')\n"
    with pytest.raises(KernelTextError, match="one function"):
        build([{"name": "k", "text": text, "line": 1, "names": {}}])


@pytest.mark.parametrize("text", ["[]", "{}", '{"kernels": []}'])
def test_what_is_no_launch_is_refused(text):
    with pytest.raises(KernelTextError):
        read(text)
