"""``where``: look at your own kernel, element by element and byte by byte."""

from typing import Any

import numpy as np
import torch

from moe_lessons.course.checking import _caller_globals
from moe_lessons.course.show import never_raises, say, show
from moe_lessons.exercises import kernel_driver, needs, registry
from moe_lessons.exercises.judge import draw
from moe_lessons.exercises.spec import Case, Exercise
from moe_lessons.svg.difference import difference_map


@never_raises
def where(id: str, answer: Any = None) -> None:
    """Show which elements of your kernel's output differ from the reference, and what its programs moved.

    Parameters
    ----------
    id : str
        An exercise with a kernel, such as ``"09.gather_rows"``.
    answer : callable, optional
        Your function; by default the one of the name that the exercise asks for.
    """
    exercise = registry.exercise(id)
    if needs.missing(exercise):
        say(f"– {id}: {needs.missing(exercise)}")
        return
    answer = answer or _caller_globals().get(exercise.entry)
    if answer is None:
        say(f"There is no function {exercise.entry} yet: run the cell that defines it, then this one.")
        return
    shown = None
    for case in draw(exercise, 0):
        try:
            seen = kernel_driver.watch(answer, _arguments(case), exercise.options["outputs"])
        except NotImplementedError:
            say(f"○ {id}: not attempted yet; afterwards, this cell shows what your kernel does")
            return
        except Exception as error:
            say(f"✘ On {case.name} it stops: {type(error).__name__}: {error}")
            return
        want = _expected(exercise, case)
        wrong = seen.memory != kernel_driver.CLEAN or not _right(seen.outputs[0], want).all()
        if shown is None or wrong:  # the first case, or the first that is wrong
            shown = case, seen, want
        if wrong:
            break
    if shown is not None:
        case, seen, want = shown
        _picture(exercise, case, seen.outputs[0], want)
        _traffic(seen)


def _right(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    return torch.isclose(got.float(), want.float(), 1e-2, 1e-2)


def _arguments(case: Case) -> dict[str, Any]:
    arrays = {k: torch.from_numpy(v.copy()) for k, v in case.args.items() if isinstance(v, np.ndarray)}
    return {**case.args, **arrays}


def _expected(exercise: Exercise, case: Case) -> torch.Tensor:
    arguments = _arguments(case)
    exercise.reference(*arguments.values())
    return arguments[exercise.options["outputs"][0]]


def _picture(exercise: Exercise, case: Case, got: torch.Tensor, want: torch.Tensor) -> None:
    name, axes = exercise.outputs[0].name, exercise.outputs[0].axes
    which = ""
    if got.ndim == 3:  # one expert's matrix: the first that differs
        wrong = [
            e for e in range(len(got)) if not torch.allclose(got[e].float(), want[e].float(), 1e-2, 1e-2)
        ]
        e = wrong[0] if wrong else 0
        got, want, which, axes = got[e], want[e], f"[{e}]", axes[1:]
    right = _right(got, want)
    drawing = difference_map(
        got[:, :48].tolist(),
        want[:, :48].tolist(),
        title=f"{name}{which}: {int(right.sum())} of {right.numel()} elements are right",
        row_label=axes[0].lower(),
        column_label=axes[1].lower(),
        caption=f"Inputs: {case.name}. Cross: another number. Question mark: NaN, never written or poisoned.",
    )
    show(drawing)


def _traffic(seen: kernel_driver.Watched) -> None:
    clean = seen.memory == kernel_driver.CLEAN
    say(
        "Every element was written once, nothing outside was touched."
        if clean
        else f"The kernel {seen.memory}."
    )
    if not seen.program_bytes:
        say("Compiled kernels do not say what they move; the interpreter does.")
        return
    moved = seen.program_bytes.values()
    say(f"{len(moved)} programs moved {sum(moved):,} bytes, {min(moved):,} to {max(moved):,} each.")
    for verb, counts in (("read", seen.reads), ("written", seen.writes)):
        for name, times in counts.items():
            if times.sum():
                mean = float(times.sum()) / times.numel()
                per = "once each" if mean == 1 else f"{mean:.3g} times each"
                say(f"  {name:<12} {times.numel():>6,} elements, {verb} {per}")
