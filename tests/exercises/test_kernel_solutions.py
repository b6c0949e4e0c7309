"""The kernels of the solutions compile for GPUs that are not here; their stubs read "not attempted" there."""

import importlib.util
import os

import numpy as np
import pytest
import torch

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs Triton's compiler", allow_module_level=True)

import triton  # noqa: F401  (here and now, as a compiler: a test of lesson 09 would choose the interpreter)

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells, without_solution
from moe_lessons.exercises import answers, registry
from moe_lessons.exercises.judge import draw
from moe_lessons.exercises.kernel_driver import _cause
from moe_lessons.exercises.published import with_solution
from moe_lessons.kernels.compiled import (
    compile_launch,
    intermediate_code,
    narrow_products,
    read_machine_code,
    record_launches,
    widths,
)

KERNELS = [exercise for exercise in registry.lesson("09").exercises if exercise.driver == "kernel"]


def launch(exercise, make):
    lesson = paths.LESSONS / f"{registry.lesson(exercise.lesson).id}.py"
    cell = next(c.source for c in read_cells(lesson) if c.metadata.get("answer") == exercise.id)
    answer = answers.load(make(cell), exercise.entry, name=f"<{exercise.id} {make.__name__}>")
    args = [
        torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for value in draw(exercise, 0)[0].args.values()
    ]
    (found,) = record_launches(lambda: answer(*args))
    return found


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("exercise", KERNELS, ids=lambda exercise: exercise.id)
def test_solution_compiles(exercise, capability):
    machine = read_machine_code(compile_launch(launch(exercise, with_solution), capability))
    has_product = exercise.id in ("09.grouped_product", "09.down_gradient")
    assert (machine.mma + machine.wgmma > 0) == has_product
    assert machine.spill_bytes == machine.atomics == 0


@pytest.mark.parametrize("exercise", KERNELS, ids=lambda exercise: exercise.id)
def test_solution_holds_for_tensors_beyond_32_bits(exercise):
    """What the card promises of the published answer."""
    code = intermediate_code(launch(exercise, with_solution))
    assert widths(code)
    assert narrow_products(code) == []


@pytest.mark.parametrize("exercise", KERNELS, ids=lambda exercise: exercise.id)
def test_stub_is_not_attempted_when_compiled(exercise):
    with pytest.raises(Exception, match="your code here") as caught:
        compile_launch(launch(exercise, without_solution), 90)
    assert isinstance(_cause(caught.value), NotImplementedError)
