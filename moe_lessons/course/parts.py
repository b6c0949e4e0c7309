"""``yours``: your own function once it has passed, the package's until then."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from moe_lessons.course import store
from moe_lessons.course.printed import Printed
from moe_lessons.course.show import say
from moe_lessons.exercises import answers, kernel_driver, needs, registry
from moe_lessons.exercises.asked import as_asked
from moe_lessons.exercises.spec import Exercise


@dataclass(eq=False)
class Part:
    """A function that an exercise asks for, to build with: the learner's own, or the package's.

    Called with the arguments of the exercise, by position. Where the learner's raises, the package's gives
    the result of that call; that is said the first time.

    Attributes
    ----------
    exercise : Exercise
    own : callable or None
        The learner's function, bare: for a timing, say. None if this is the package's.
    stopped : str
        The first error that the learner's raised, named; empty as long as there was none.
    """

    exercise: Exercise
    own: Callable[..., Any] | None
    stopped: str = field(default="", init=False)

    @property
    def __name__(self) -> str:
        return self.exercise.entry

    @property
    def is_yours(self) -> bool:
        """Whether this is the learner's, and has not stopped with an error since."""
        return self.own is not None and not self.stopped

    @property
    def label(self) -> str:
        """Whose it is and its name, for a chart: ``"your topk_gates"``, ``"the package's topk_gates"``."""
        if self.stopped:
            return f"the package's {self.exercise.entry} (yours stopped)"
        whose = "your" if self.is_yours else "the package's"
        return f"{whose} {self.exercise.entry}"

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        if self.own is not None:
            try:
                return as_asked(self.exercise, self.own(*args), args)
            except (Exception, SystemExit) as error:
                if not self.stopped:  # once is enough: it may stand in a loop
                    name = f"{self.exercise.entry}: yours ({self.exercise.id})"
                    say(f"{name} stopped with {_named(error)}; the package's goes on")
                    self.stopped = _named(error)
        return self.exercise.reference(*args)

    def __repr__(self) -> str:
        return self.label


def yours(id: str) -> Part:
    """Your function if it has passed its check, otherwise the package's; one line says which.

    Yours is the cell that *last passed*, not what stands in the notebook now: what has passed can be built
    on, half a change cannot. So it is the same before and after a restart of the kernel, and in the next
    lesson. A change counts from its next pass on. An answer that writes into its arguments does not pass, so
    what you hand over stays as it is.

    Give it another name than the exercise's function has: `check` looks that one up.

    Parameters
    ----------
    id : str
        The exercise, such as ``"01.topk_gates"``.

    Returns
    -------
    Part
        Called like the function that the exercise asks for; lists become tensors where it asks for axes.

    Raises
    ------
    UnknownId
        If there is no such exercise (a KeyError).

    Examples
    --------
    >>> gates = yours("01.topk_gates")
    topk_gates: the package's, until 01.topk_gates passes
    >>> gates(torch.tensor([[1.0, 3.0, 2.0]]), 2, False)[0]
    tensor([[1, 2]])
    """
    exercise = registry.exercise(id)
    own, why = _own(exercise)
    say(f"{exercise.entry}: " + (f"yours, as it last passed ({id})" if own else f"the package's{why}"))
    return Part(exercise, own)


def _own(exercise: Exercise) -> tuple[Callable[..., Any] | None, str]:
    """The learner's function, or None and why."""
    id = exercise.id
    record = store.load()["exercises"].get(id, {})
    if not record.get("passed"):
        return None, f", until {id} passes"
    if lacks := needs.missing(exercise):
        return None, f": yours {lacks}"
    if "source" not in record:
        return None, f": {id} passed, but its code was not kept; run its check once more"
    try:
        return _restored(record["source"], id), ""
    except (Exception, SystemExit) as error:
        return None, f": yours cannot be restored ({_named(error)}); run the check of {id} once more"


@lru_cache(maxsize=64)
def _restored(source: str, id: str) -> Callable[..., Any]:
    """Run the cell that passed in a namespace of its own; what else it does stays without effect or sound."""
    exercise, printed = registry.exercise(id), Printed()
    if exercise.driver == "kernel":
        kernel_driver.prepare()  # Triton asks once, when it is first imported: interpreter or GPU?
    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        found = answers.load(source, exercise.entry, name=f"<your {id}>")
    if not callable(found):
        raise LookupError(f"it defines no function {exercise.entry}")
    return found


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0].rstrip(": ")[:200]
