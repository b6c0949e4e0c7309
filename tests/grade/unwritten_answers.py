"""Answers that allocate their result and forget to write a part of it: right where memory happened to be."""

import classroom

_LAST_ROW = """
_right = {entry}


def {entry}(*args):
    whole = _right(*args)
    first = whole[0] if isinstance(whole, tuple) else whole
    out = {empty}
    out.reshape(-1)[:-1] = first.reshape(-1)[:-1]
    return (out, *whole[1:]) if isinstance(whole, tuple) else out
"""
EMPTY = (
    "torch.empty_like(first)",
    "first.new_empty(first.shape)",
    "torch.empty(first.shape, dtype=first.dtype)",
)


def _allocates(id):
    """Exercises whose first output is a tensor; those with kernels bring their own memory."""
    exercise = classroom.registry.exercise(id)
    return (
        exercise.driver in ("call", "gradient")
        and exercise.outputs[0].axes
        and exercise.outputs[0].kind
        in (
            "float",
            "int",
        )
    )


UNWRITTEN = [
    (
        id,
        classroom.ANSWERS[id]
        + _LAST_ROW.format(entry=classroom.registry.exercise(id).entry, empty=EMPTY[place % len(EMPTY)]),
    )
    for place, id in enumerate(filter(_allocates, classroom.IDS))
]
"""By exercise: its solution, with the last element of the result left unwritten."""
