"""What is counted, what is refused, and what is said."""

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.errors import InterpreterError

from moe_lessons.kernels.traffic import count_traffic


@triton.jit
def add_kernel(x, y, out, n, shift, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK) + shift
    inside = i < n if MASKED else i == i
    tl.store(
        out + i, tl.load(x + i, mask=inside, other=0.0) + tl.load(y + i, mask=inside, other=0.0), mask=inside
    )


@triton.jit
def pile_kernel(x, out, BLOCK: tl.constexpr, ATOMIC: tl.constexpr):
    i = tl.arange(0, BLOCK)
    if ATOMIC:
        tl.atomic_add(out + i // 2, tl.load(x + i))
    else:
        tl.store(out + i // 2, tl.load(x + i))


def test_bytes_by_tensor_and_by_program():
    x, y, out = torch.arange(10.0), torch.ones(10), torch.empty(10)
    with count_traffic() as moved:
        add_kernel[(3,)](x, y, out, 10, 0, BLOCK=4, MASKED=True)
    assert torch.equal(out, x + 1)
    assert list(moved.tensors) == ["x", "y", "out"]
    assert (moved.read_bytes, moved.written_bytes) == (80, 40)
    assert moved.program_bytes == {(0, 0, 0): 48, (1, 0, 0): 48, (2, 0, 0): 24}
    assert (moved.reads("x") == 1).all()
    assert (moved.writes("out") == 1).all()
    assert moved.report().splitlines() == [
        "tensor     bytes      read   written",
        "x             40        40         0",
        "y             40        40         0",
        "out           40         0        40",
    ]


def test_one_tensor_twice_and_another_of_the_same_name():
    x, out = torch.ones(4), torch.empty(4)
    with count_traffic() as moved:
        add_kernel[(1,)](x, x, out, 4, 0, BLOCK=4, MASKED=True)
        add_kernel[(1,)](torch.ones(4), x, out, 4, 0, BLOCK=4, MASKED=True)
    assert list(moved.tensors) == ["x", "out", "add_kernel.x"]
    assert (moved.reads("x") == 3).all()


def test_a_view_is_counted_in_its_own_shape():
    storage = torch.zeros(6, 4)
    view = storage[1:3, ::2]
    with count_traffic() as moved:
        add_kernel[(1,)](view, view, torch.empty(4), 3, 0, BLOCK=4, MASKED=True)  # elements 0, 1, 2 in memory
    assert moved.reads("x").tolist() == [[2, 2], [0, 0]]


@pytest.mark.parametrize("atomic", [True, False])
def test_an_element_written_twice_is_seen(atomic):
    with count_traffic() as moved:
        pile_kernel[(1,)](torch.ones(8), torch.zeros(5), BLOCK=8, ATOMIC=atomic)
    assert moved.writes("out").tolist() == [2, 2, 2, 2, 0]


@pytest.mark.parametrize(
    ("shift", "complaint"),
    [
        (0, "program (2, 0, 0) reads x up to 2 elements past its end"),
        (1000, "program (0, 0, 0) reads x up to 994 elements past its end"),
        (-3, "program (0, 0, 0) reads x up to 3 elements before its start"),
    ],
)
def test_a_stray_address_stops_the_kernel(shift, complaint):
    buffers = [torch.zeros(10) for _ in range(3)]
    with count_traffic(), pytest.raises(InterpreterError) as stopped:
        add_kernel[(3,)](*buffers, 10, shift, BLOCK=4, MASKED=False)
    assert complaint in str(stopped.value)
    assert "is a mask missing, or an index wrong?" in str(stopped.value)


@triton.jit
def lost_kernel(x, y, out, FAR: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)[None, :] + tl.arange(0, 1)[:, None]
    tl.store(out + i, tl.load(x + i) + tl.load(tl.trans(FAR + y + i)))


@pytest.mark.parametrize("far", [2**20, -(2**20)])
def test_a_stray_address_is_told_of_the_tensor_that_it_was_computed_from(far):
    """However the pointer was turned on the way, and whichever tensor lies nearest to where it points."""
    buffers = [torch.zeros(6)[1:5] for _ in range(3)]
    with count_traffic(), pytest.raises(InterpreterError) as stopped:
        lost_kernel[(1,)](*buffers, FAR=far, BLOCK=4)
    where = f"{far} elements past its end" if far > 0 else f"{-far} elements before its start"
    assert f"reads y up to {where}" in str(stopped.value)


def test_counting_ends_with_the_block():
    x, out = torch.ones(4), torch.empty(4)
    with count_traffic() as moved:
        pass
    add_kernel[(1,)](x, x, out, 4, 0, BLOCK=4, MASKED=True)
    assert moved.tensors == {}


def test_an_exchange_is_counted_as_read_and_written():
    x = torch.zeros(4, dtype=torch.int32)
    with count_traffic() as moved:
        exchange[(4,)](x)
    assert moved.reads("x").tolist() == [1, 1, 1, 1]
    assert moved.writes("x").tolist() == [1, 1, 1, 1]
    assert x.tolist() == [7, 7, 7, 7]


@triton.jit
def exchange(x):
    tl.atomic_cas(x + tl.program_id(0), 0, 7)


def test_another_interpreter_is_left_alone(monkeypatch):
    """What we stand in for may be renamed: then nothing is counted, and the report says why."""
    monkeypatch.delattr("triton.runtime.interpreter._implicit_cvt")
    with count_traffic() as moved:
        pass
    assert not moved.counted
    assert "has no `_implicit_cvt`" in moved.report()
