"""The kernel driver in Triton's interpreter; `test_kernel_exercises.py` runs this file in its own process."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from moe_lessons.course.kernel_view import where
from moe_lessons.exercises import answers, kernel_driver
from moe_lessons.exercises.drivers import Failure, Request, run
from moe_lessons.exercises.kernel_driver import CLEAN, watch
from moe_lessons.exercises.own_code import borrowed

X = np.arange(6, dtype=np.float32)
NANS = np.full(6, np.nan, np.float32)


@triton.jit
def copy(x, out, n, B: tl.constexpr, LOAD: tl.constexpr, STORE: tl.constexpr):
    place = tl.program_id(0) * B + tl.arange(0, B)
    value = tl.load(x + place, mask=place < LOAD)
    tl.store(out + place, value, mask=place < STORE)


def copied(load=6, store=6, grid=2):
    return lambda x, out: copy[(grid,)](x, out, 6, B=4, LOAD=load, STORE=store)


def call(answer, **args):
    names = list(args or {"x": X, "out": NANS})
    request = Request("kernel", args or {"x": X, "out": NANS}, {}, {"outputs": ["out"], "names": names})
    return run(answer, request)


def seen(answer, dtype=torch.float32):
    x = torch.arange(6).to(dtype)
    return watch(answer, {"x": x, "out": torch.zeros_like(x)}, ["out"])


def test_a_right_kernel_leaves_memory_clean():
    out, memory, compiled = call(copied())
    assert compiled.data == "compiles"
    assert out.data.tolist() == X.tolist()
    assert memory.data == CLEAN


@pytest.mark.parametrize(
    ("answer", "memory"),
    [
        (copied(load=7), "reads 1 element outside x"),
        (copied(store=8), "writes 2 elements outside out"),
        (copied(grid=1), "leaves 2 elements of out unwritten"),
        (lambda x, out: copied()(x, x), "changes x"),
        (lambda x, out: [copied()(x, out) for _ in range(2)], "writes 6 elements of out more than once"),
        (lambda x, out: out.copy_(x), "is never launched; is not alone: something else changes out"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_kernel_does_to_memory_is_told(answer, memory):
    assert call(answer)[1].data == memory


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_beyond_a_tensor_and_where_masked_there_is_nan(dtype):
    outside = seen(copied(load=8, store=8), dtype).outputs[0]
    assert not outside.isnan().any()
    assert seen(copied(load=4), dtype).outputs[0].isnan().tolist() == [False] * 4 + [True] * 2


def test_whole_numbers_are_poisoned_too():
    assert seen(copied(load=4), torch.int64).outputs[0].tolist() == [0, 1, 2, 3, 101, 101]


@triton.jit
def one_element(x, out, HAS: tl.constexpr, OTHER: tl.constexpr):
    tl.store(out, tl.load(x, mask=HAS > 0, other=OTHER))


@pytest.mark.parametrize("other", [0.0, 5.0])
def test_a_masked_single_element_with_other_is_left_alone(other):
    """Triton 3.7 loses an `other=0` there on the way to the builder."""
    assert seen(lambda x, out: one_element[(1,)](x, out, HAS=0, OTHER=other)).outputs[0][0] == other


def test_a_masked_single_element_without_other_is_poisoned():
    assert seen(lambda x, out: one_element[(1,)](x, out, HAS=0, OTHER=None)).outputs[0][0].isnan()


def test_what_only_an_interpreter_takes_is_told():
    def answer(x, out):
        grows[(1,)](x, out, B=4)

    assert "Loop-carried variable" in call(answer)[2].data


@triton.jit
def grows(x, out, B: tl.constexpr):
    total = 0.0
    for i in range(2):
        total += i * tl.load(x + tl.arange(0, B))
    tl.store(out + tl.arange(0, B), total)


def test_a_launch_is_done_again_where_its_answer_never_was():
    options = {"outputs": ["out"], "names": ["x", "out"]}
    noted = run(copied(), Request("kernel", {"x": X, "out": NANS}, {}, {**options, "record": True}))
    again = Request("kernel", {"x": X, "out": NANS}, {}, {**options, "launched": noted[0].data})
    out, memory, _ = run(None, again)
    assert out.data.tolist() == X.tolist()
    assert memory.data == CLEAN


def test_a_tensor_of_ones_own_goes_along():
    def answer(x, out):
        copied()(x.clone(), out)

    options = {"outputs": ["out"], "names": ["x", "out"]}
    text, own = run(answer, Request("kernel", {"x": X, "out": NANS}, {}, {**options, "record": True}))
    args = {"x": X, "out": NANS, "own": own.data}
    out, memory, _ = run(None, Request("kernel", args, {}, {**options, "launched": text.data}))
    assert out.data.tolist() == X.tolist()
    assert memory.data == CLEAN


def test_far_addresses_are_stopped():
    found = call(lambda x, out: copy[(6000,)](x, out, 6, B=4, LOAD=24000, STORE=6))
    assert isinstance(found, Failure)
    assert found.message.startswith("IndexError: program")


def test_a_reference_needs_no_kernel():
    def reference(x, out):
        out.copy_(x)

    reference.__module__ = "moe_lessons.exercises.somewhere"
    assert call(reference)[1].data == CLEAN


CELL = """
import triton
import triton.language as tl


@triton.jit
def kernel(x, out, n, B: tl.constexpr):
    place = tl.program_id(0) * B + tl.arange(0, B)
    {line}


def answer(x, out):
    kernel[(2,)](x, out, 6, B=4)
"""


def loaded(line):
    return answers.load(CELL.format(line=line), "answer")


def test_a_cell_becomes_a_kernel():
    """Triton reads the source of a function: a cell that is loaded from text must have one."""
    line = "for i in range(1): tl.store(out + place, tl.load(x + place, mask=place < n), mask=place < n)"
    assert call(loaded(line))[1].data == CLEAN


def test_a_stub_in_a_kernel_is_not_attempted():
    assert call(loaded('raise NotImplementedError("your code here")')).kind == "not attempted"


def test_an_error_in_a_kernel_names_the_learners_line():
    found = call(loaded("tl.store(out + nothing, 1.0)"))
    assert found.message.startswith("NameError: name 'nothing'")
    assert found.line.endswith("tl.store(out + nothing, 1.0)")


def test_a_kernel_of_the_package_is_borrowed():
    from moe_lessons.kernels.combine import combine_kernel

    def answer(x, out):
        combine_kernel[(1,)](x, out)

    answer.__globals__["combine_kernel"] = combine_kernel
    combined = borrowed(lambda x, out: answer(x, out), ("moe_lessons",))
    assert combined == "moe_lessons.kernels.combine.combine_kernel"


def gather(mask):
    return answers.load(GATHER.format(mask=mask), "gather_rows")


GATHER = """
import triton
import triton.language as tl


@triton.jit
def kernel(x, slots, out, n, K):
    row, column = tl.program_id(0), tl.arange(0, 64)
    token = tl.load(slots + row) // K
    value = tl.load(x + token * n + column, mask=column < n, other=0.0)
    tl.store(out + row * n + column, value, mask={mask})


def gather_rows(x, slots, out, k):
    kernel[(out.shape[0],)](x, slots, out, out.shape[1], k)
"""


def test_where_shows_what_a_right_kernel_moved(capsys):
    where("09.gather_rows", gather("column < n"))
    printed = capsys.readouterr().out
    assert "200 of 200 elements are right" in printed
    assert "Every element was written once" in printed
    assert "10 programs moved 1,680 bytes, 168 to 168 each." in printed  # 20 numbers twice, and a slot


def test_where_shows_the_first_case_that_is_wrong(capsys):
    where("09.gather_rows", gather("column < 16"))
    printed = capsys.readouterr().out
    assert "160 of 200 elements are right, 0 differ, 40 are NaN" in printed
    assert "The kernel leaves 40 elements of out_SD unwritten." in printed


def test_where_waits_for_an_answer(capsys):
    def gather_rows(*args):
        raise NotImplementedError("your code here")

    where("09.gather_rows", gather_rows)
    assert capsys.readouterr().out.startswith("○ 09.gather_rows: not attempted yet")


def test_nothing_is_missing_here():
    assert kernel_driver.missing() == ""
