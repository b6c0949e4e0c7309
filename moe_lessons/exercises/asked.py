"""What a right answer returned, in the kind of value that its exercise asks for.

A check takes a list for a row and 3.0 for a whole number. What goes on to use the function may not.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moe_lessons.exercises.spec import Exercise, Output


def as_asked(exercise: Exercise, returned: Any, args: Sequence[Any]) -> Any:
    """Make tensors where there are axes, and plain whole numbers, truths and texts where there are none.

    Parameters
    ----------
    exercise : Exercise
    returned : anything
        What a function returned that has passed the exercise's check.
    args : sequence
        What it was called with: fp64 comes back only where fp64 went in.

    Raises
    ------
    ValueError
        If it returned another number of values than the exercise asks for.

    Examples
    --------
    >>> from moe_lessons.exercises import registry
    >>> as_asked(registry.exercise("07.capacity"), 3.0, ())
    3
    """
    if exercise.driver in ("kernel", "state_dict"):  # nothing, as it wrote into its arguments; a dictionary
        return returned
    # With this driver the other outputs are gradients.
    outputs = exercise.outputs[:1] if exercise.driver == "gradient" else exercise.outputs
    wide = any(isinstance(arg, Tensor) and arg.dtype == torch.float64 for arg in args)
    if len(outputs) == 1:
        return _kind(outputs[0], returned, wide)
    values = list(returned) if isinstance(returned, tuple | list) else [returned]
    if len(values) != len(outputs):
        raise ValueError(f"it returned {len(values)} values, {len(outputs)} are asked for")
    return tuple(_kind(output, value, wide) for output, value in zip(outputs, values, strict=True))


def _kind(output: Output, value: Any, wide: bool) -> Any:
    if not output.compared:  # its form is the learner's
        return value
    if output.kind == "text":
        return str(value)
    if not output.axes:
        return _number(output, value)
    tensor = value if isinstance(value, Tensor) else torch.as_tensor(value)
    if output.kind == "int":
        return tensor.long()
    return tensor.float() if tensor.dtype == torch.float64 and not wide else tensor


def _number(output: Output, value: Any) -> Any:
    if output.kind == "float":
        return value if isinstance(value, Tensor) else float(value)  # a loss keeps its gradient
    return bool(value) if output.kind == "bool" else int(value)
