"""Equal answers get equal grades: memory left unwritten, and chance, are the same every time."""

import contextlib

import classroom
import numpy as np
import pytest
import torch
from unwritten_answers import UNWRITTEN

from moe_lessons.exercises import answers, drivers, registry, unwritten
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.unwritten import steady

HOW_NUMPY_MAKES = [
    "import numpy as np\n\ndef f():\n    return np.ndarray(3)",
    "import numpy\n\ndef f():\n    return numpy.ndarray((3,), dtype=np.float32)",
    "from numpy import empty\n\ndef f():\n    return empty(3)",
    "from numpy import empty as e\n\ndef f():\n    return e(3)",
    "from numpy import empty_like\n\ndef f():\n    return empty_like(np.ones(3))",
    "from numpy import ndarray\n\ndef g():\n    return ndarray([3])\n\ndef f():\n    return g()",
    "from functools import partial\n\ndef g(n):\n    return np.ndarray(n)\n\nf = partial(g, 3)",
    "class G:\n    def __call__(self):\n        return np.ndarray(3)\n\nf = G()",
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8]
MAKE = {
    "empty": lambda dtype: torch.empty(3, dtype=dtype),
    "empty_like": lambda dtype: torch.empty_like(torch.zeros(3, dtype=dtype)),
    "new_empty": lambda dtype: torch.zeros(3, dtype=dtype).new_empty(3),
    "empty_strided": lambda dtype: torch.empty_strided((3,), (1,), dtype=dtype),
    "resize_": lambda dtype: torch.zeros(0, dtype=dtype).resize_(3),
    "numpy": lambda dtype: (
        torch.from_numpy(np.empty(3, dtype=str(dtype).removeprefix("torch.")))
        if dtype != torch.bfloat16
        else torch.empty(3, dtype=dtype)
    ),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_fresh_memory_reads_as_what_is_never_right(make, dtype):
    before = torch.full((1000,), 7).to(dtype)  # what fresh memory may hold
    del before
    with steady():
        fresh = make(dtype)
    wrong = fresh.isnan() if dtype.is_floating_point else fresh == torch.iinfo(dtype).max
    assert wrong.all(), fresh


@pytest.mark.parametrize("code", HOW_NUMPY_MAKES)
def test_what_a_cell_imported_or_calls_by_its_type_is_filled_too(code):
    before = np.full(1000, 7.0)  # what fresh memory may hold
    del before
    answer = answers.load(code, "f")
    names = dict(unwritten._function(answer).__globals__)
    with steady(answer):
        fresh = answer()
        assert isinstance(fresh, np.ndarray)
        assert issubclass(np.ndarray, np.ndarray)
    assert type(fresh) is np.ndarray
    assert np.isnan(fresh).all(), fresh
    assert unwritten._function(answer).__globals__ == names
    (value,) = drivers.run(answer, drivers.Request("call", {}, {}, {}))
    assert np.isnan(value.data).all()


def test_memory_that_is_given_is_left_alone():
    code = """
def f():
    given = np.arange(3.0)
    again = np.ndarray((3,), buffer=given, dtype=float)
    return np.ndarray(3, float, given), again, isinstance(given, np.ndarray)
"""
    reply = drivers.run(answers.load(code, "f"), drivers.Request("call", {}, {}, {}))
    assert [value.data.tolist() for value in reply[:2]] == [[0, 1, 2]] * 2
    assert reply[2].data is True


def test_everything_is_as_before_afterwards():
    torch.manual_seed(3)
    np.random.seed(3)
    state, empty = np.random.get_state()[1].copy(), np.empty
    with contextlib.suppress(ZeroDivisionError), steady():
        np.random.rand()
        raise ZeroDivisionError
    assert (np.random.get_state()[1] == state).all()
    assert np.empty is empty
    assert np.ndarray is type(np.zeros(1))
    assert torch.get_deterministic_debug_mode() == 0
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "draw",
    [
        "torch.rand(3)",
        "torch.from_numpy(np.random.rand(3))",
        "torch.from_numpy(np.random.default_rng().random(3))",
        "torch.from_numpy(drawn().random(3))",
    ],
)
def test_chance_is_the_same_every_time(draw):
    cell = f"from numpy.random import default_rng as drawn\n\ndef f():\n    return {draw}"
    answer = answers.load(cell, "f")

    def drawn():
        with torch.random.fork_rng(devices=[]), steady(answer):
            torch.manual_seed(0)
            return answer()

    assert torch.equal(drawn(), drawn())


@pytest.mark.parametrize(("id", "code"), UNWRITTEN, ids=[id for id, _ in UNWRITTEN])
def test_an_answer_that_leaves_memory_unwritten_fails_every_time(id, code):
    """Whatever lay in memory before, the right values of the last call among it."""
    exercise = registry.exercise(id)
    right = answers.load(classroom.ANSWERS[id], exercise.entry)
    answer = answers.load(code, exercise.entry)
    reports = []
    for seed in (1, 2, 3):
        assert judge(exercise, local(right), seed=seed).status == "passed"
        reports.append(judge(exercise, local(answer), seed=seed))
    assert {report.status for report in reports} == {"failed"}
    assert len({report.findings[0] for report in reports}) == 1
