"""Mistakes that any exercise can have: outputs swapped or transposed, another dtype, numbers written in.

They are named only where they explain every wrong case to the last value.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from moe_lessons.exercises.drivers import Failure
from moe_lessons.exercises.findings import Trial, right, same
from moe_lessons.exercises.off_by_size import off_by_size
from moe_lessons.exercises.spec import Exercise, Mistake, Output, Outputs

SWAPPED, TRANSPOSED, WRITTEN_IN = "outputs_swapped", "transposed", "number_written_in"
OTHER_DTYPE, SAME_FOR_ALL = "other_dtype", "same_for_all"


def anywhere(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The first of these mistakes that explains all that is wrong."""
    return _anywhere(exercise, trials) or same_for_all(exercise, trials)


def _anywhere(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    ordinary = [t for t in trials if not t.case.is_edge]
    wrong = [t for t in ordinary if not right(exercise, t)]
    ran = [t for t in wrong if t.got is not None]
    compared = all(output.compared for output in exercise.outputs)
    if compared and ran and len(ran) == len(wrong):
        found = _swapped(exercise, ran) or _transposed(exercise, ran) or _other_dtype(exercise, ran)
        if found:
            return found
        found = one_value(exercise, trials)
        # On few of the inputs a size may fit by chance, or stand behind a branch that the others do not take.
        return found or (off_by_size(exercise, ran) if 2 * len(wrong) >= len(ordinary) else None)
    return one_value(exercise, trials)


def _swapped(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The right values in another order; told only where no two of them could be taken for each other."""
    outputs = exercise.outputs
    if not 1 < len(outputs) < 6:
        return None
    if exercise.driver not in ("call", "subject"):
        return None
    for order in permutations(range(len(outputs))):
        if order == tuple(range(len(outputs))):
            continue
        if all(_is(o, t, outputs[place]) for t in trials for o, place in zip(outputs, order, strict=True)):
            came = ", ".join(f"`{outputs[place].name}`" for place in order)
            asked = ", ".join(f"`{o.name}`" for o in outputs)
            return Mistake(
                SWAPPED, f"The values are right and in another order: {came}. Return {asked}.", hint=0
            )
    return None


def _is(place: Output, t: Trial, value: Output) -> bool:
    assert t.got is not None
    return same(value, t.got[place.name], t.want[value.name])


def _transposed(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """One output is the right one, transposed; the others are right."""
    for output in exercise.outputs:
        pairs = [(t.got[output.name], t.want[output.name]) for t in trials if t.got is not None]
        others = [o for o in exercise.outputs if o is not output]
        if not all(_is(o, t, o) for t in trials for o in others):
            continue
        if all(np.ndim(a) == 2 and same(output, np.asarray(a).T, b) for a, b in pairs):
            message = (
                f"`{output.name}` has the right values, transposed: its axes are "
                f"[{', '.join(output.axes)}], in this order. In a product, the left one's axis is first."
            )
            return Mistake(TRANSPOSED, message, hint=0)
    return None


def _other_dtype(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """All values are right, and one output has the same other dtype wherever it is wrong."""
    for place, output in enumerate(exercise.outputs):
        replies = [t.reply for t in trials if not isinstance(t.reply, Failure)]
        found = {reply[place].dtype for reply in replies if len(reply) == len(exercise.outputs)}
        if output.dtype is None or len(found) != 1 or output.dtype in found:
            continue
        if all(_is(o, t, o) for t in trials for o in exercise.outputs):
            message = (
                f"The numbers are right, in {found.pop()}: `{output.name}` is asked for in {output.dtype}. "
                "Code that comes after counts on it, and two dtypes in one product are an error."
            )
            return Mistake(OTHER_DTYPE, message, hint=0)
    return None


def one_value(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """An answer that is right exactly where one whole-number argument has one value, and that not 0 or 1."""
    ordinary = [t for t in trials if not t.case.is_edge]
    fine = [t for t in ordinary if right(exercise, t)]
    wrong = [t for t in ordinary if t not in fine]
    if len(fine) < 2 or len(wrong) < 2:
        return None  # one case has many numbers that no other has
    found = []
    for name, value in fine[0].case.args.items():
        others = {t.case.args[name] for t in wrong} if type(value) is int else set()
        if len(others) > 1 and value not in others | {0, 1} and {t.case.args[name] for t in fine} == {value}:
            found.append((name, value))
    if len(found) != 1:
        return None  # where several arguments tell right from wrong, none of them is known to be the cause
    name, value = found[0]
    message = (
        f"Right exactly where `{name}` is {value}, wrong on all other inputs. Perhaps a {value} is written "
        f"into the code where `{name}` is meant: a number that holds for one model does not for the next."
    )
    return Mistake(WRITTEN_IN, message, hint=0)


def same_for_all(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The same values for all inputs, three at least, where these ask for different ones."""
    ordinary = [t for t in trials if not t.case.is_edge]
    replies = [t.got for t in ordinary if t.got is not None]
    if len(replies) < 3 or len(replies) < len(ordinary):
        return None
    if not _equal(replies) or _equal([t.want for t in ordinary]):
        return None
    if any(_is_text(replies[0][name]) > _is_text(ordinary[0].want[name]) for name in replies[0]):
        return None  # that it is text where numbers are asked for has been said
    message = (
        "The same is returned for all inputs, and what is asked for depends on them. Which of the arguments "
        "has no part in what you return?"
    )
    return Mistake(SAME_FOR_ALL, message, hint=0)


def _is_text(value: object) -> bool:
    return np.asarray(value).dtype.kind not in "biufc"


def _equal(values: Sequence[Outputs]) -> bool:
    """Whether all are the same, output by output."""
    first, *others = values
    return all(
        np.array_equal(np.asarray(one[name]), np.asarray(first[name])) for one in others for name in first
    )
