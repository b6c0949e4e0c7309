"""What the kernel exercises share: their outputs, how mistakes are recognised, memory in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from moe_lessons.exercises.kernel_compile import COMPILES, was_skipped
from moe_lessons.exercises.kernel_driver import CLEAN, FENCE_ID
from moe_lessons.exercises.spec import Case, Misconception, Output, Outputs, Property

BLOCK = 16
"""Rows and columns of a tile: the least that `tl.dot` takes, and quick in the interpreter."""
SIZES = (
    " The tensors here are small, and so are their offsets: 32 bits hold them. The published answer also "
    "holds beyond 2**31 elements."
)
"""What a card says of sizes: `tests/exercises/test_kernel_solutions.py` reads the compiled text for it."""
MEMORY, COMPILED = Output("memory", kind="text"), Output("compiled", kind="text")
Emulate = Callable[[Case], np.ndarray]


def _memory_is_clean(case: Case, got: Outputs, want: Outputs) -> str | None:
    return None if got["memory"] == CLEAN else f"the kernel {got['memory']}"


# Early: an element that was left unwritten says more than "contains NaN".
MEMORY_IS_CLEAN = Property("stays inside its tensors, writes each element once", _memory_is_clean, early=True)


def _compiles(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["compiled"] == COMPILES:
        return None
    return f"the interpreter takes it and no GPU could: {got['compiled']}"


# Early too: values that only an interpreter can compute say nothing about a kernel.
COMPILES_FOR_GPUS = Property("compiles for GPUs (sm_80 and sm_90)", _compiles, early=True)


def _as_told(values: dict[str, Any]) -> dict[str, Any]:
    """Where no compiler could be asked, none has refused; the lesson's first cell says so."""
    skipped = was_skipped(values["compiled"])
    return values | {"compiled": COMPILES} if skipped else values


def kernel(out: str, axes: str, *names: str) -> dict[str, Any]:
    """What the kernel exercises have in common: a tensor to fill, its fences, and memory left clean.

    Half precision, and TF32 on a GPU, round at about 1e-3.

    Parameters
    ----------
    out, axes : str
        The tensor that the kernel fills.
    *names : str
        The answer's arguments in their order, `out` among them.
    """
    return {
        "outputs": (Output(out, axes, rtol=5e-3, atol=5e-3), MEMORY, COMPILED),
        "driver": "kernel",
        "options": {"outputs": [out], "names": list(names)},
        "properties": (MEMORY_IS_CLEAN, COMPILES_FOR_GPUS),
        "canonical": _as_told,
    }


def computes(name: str, emulate: Emulate) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise an answer by the values that the mistake leaves, wherever else it strays."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.allclose(got[name], emulate(case), rtol=1e-2, atol=1e-2, equal_nan=True))

    return detects


def either(*looks: Callable[[Case, Outputs, Outputs], bool]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise an answer by any of several looks."""
    return lambda case, got, want: any(detects(case, got, want) for detects in looks)


def strays(
    name: str,
    says: tuple[str, ...],
    silent: tuple[str, ...] = (),
    shows: Callable[[Case], bool] = lambda _: True,
) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise an answer with the right values by what it does to memory, in the cases where it shows."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        if not np.allclose(got[name], want[name], rtol=1e-2, atol=1e-2):
            return False
        memory = got["memory"]
        if not shows(case):
            return bool(memory == CLEAN)
        return all(word in memory for word in says) and not any(word in memory for word in silent)

    return detects


def reads_beyond(
    name: str, tensor: str, silent: tuple[str, ...], shows: Callable[[Case], bool]
) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise one load without its mask: nothing but reads beyond one tensor, wherever that can be."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        if not shows(case):
            return bool(got["memory"] == CLEAN and np.allclose(got[name], want[name], rtol=1e-2, atol=1e-2))
        memory = got["memory"]
        return f"outside {tensor}" in memory and not any(word in memory for word in ("writes", *silent))

    return detects


def rounds(name: str, shows: str) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise a half-precision accumulator: right but in the case that is made to need more."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        near = np.allclose(got[name], want[name], rtol=2e-2, atol=2e-2)
        if case.name.startswith(shows):
            return not near and bool(np.isfinite(got[name]).all())
        return bool(near and got["memory"] == CLEAN)

    return detects


def load(array: Any, index: np.ndarray, mask: Any = True, other: float = 0.0) -> np.ndarray:
    """What `tl.load` gives for flat indices in fenced memory: the fence outside, `other` where masked."""
    flat = np.asarray(array).reshape(-1)
    fence = np.nan if flat.dtype.kind == "f" else FENCE_ID
    inside = (index >= 0) & (index < flat.size)
    found = np.where(inside, flat[np.where(inside, index, 0)].astype(np.float64), fence)
    return np.where(mask, found, other)


def array(case: Case, name: str) -> np.ndarray:
    """An argument of a case that is an array."""
    return np.asarray(case.args[name])


def tail(size: int) -> int:
    """The next multiple of BLOCK: what a kernel touches that forgets its mask.

    Examples
    --------
    >>> tail(16), tail(17)
    (16, 32)
    """
    return -(-size // BLOCK) * BLOCK


def turn_tiles(matrix: np.ndarray) -> np.ndarray:
    """Each BLOCK by BLOCK tile transposed in its place, with zeros up to whole tiles."""
    height, width = matrix.shape
    padded = np.zeros((tail(height), tail(width)))
    padded[:height, :width] = matrix
    tiles = padded.reshape(tail(height) // BLOCK, BLOCK, tail(width) // BLOCK, BLOCK)
    return tiles.transpose(0, 3, 2, 1).reshape(padded.shape)


def refused(words: tuple[str, ...]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Recognise a kernel that only the interpreter takes, by what the compiler says to it."""
    return lambda case, got, want: any(word in got["compiled"] for word in words)


def _only_interpreted(id: str, words: tuple[str, ...], message: str) -> Misconception:
    return Misconception(id, message, detects=refused(words), hint=3)


GROWING_NUMBER = _only_interpreted(
    "accumulator_is_a_number",
    ("Loop-carried variable",),
    "Something that is carried through the loop changes its type on the way: it begins as a plain number, "
    "or in one dtype, and becomes a block, or another dtype. The interpreter does not mind; a GPU's "
    "compiler gives each name one type. Begin with `tl.zeros` of the right shape and dtype.",
)
PYTHON_ONLY = _only_interpreted(
    "only_python",
    ("unsupported AST node", "comprehension", "only tuple", "list", "Unsupported"),
    "This runs because the interpreter is Python. A GPU's compiler knows no `break`, no lists and no "
    "comprehensions: a kernel is arithmetic on blocks, `if`, and loops that go to their end. Use a mask, or "
    "choose the loop's end.",
)


def mistake(
    id: str, detects: Callable[[Case, Outputs, Outputs], bool], hint: int, message: str
) -> Misconception:
    """A misconception that is recognised by what it leaves."""
    return Misconception(id, message, detects=detects, hint=hint)
