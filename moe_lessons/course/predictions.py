"""``predict`` and ``reveal``: commit to an answer before the experiment, then see both side by side.

Committing first is what makes an experiment teach (Kim, Reinecke & Hullman 2017), so a prediction, once
committed, stays.
"""

from typing import Any, Protocol

from moe_lessons.course import ask, store
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Prediction


class Locked(Protocol):
    """What a prediction can unlock: an explorable."""

    def unlock(self) -> None:
        """Let the learner use the controls."""


@never_raises
def predict(id: str, choice: Any = None, *, unlocks: Locked | None = None) -> None:
    """Ask for a prediction; commit with the buttons, or in the call: ``predict("01.norm", "b")``.

    Parameters
    ----------
    id : str
        The prediction's id.
    choice : str or int, optional
        A letter.
    unlocks : object with ``unlock()``, optional
        Its controls stay locked until something is committed.
    """
    try:
        found = registry.prediction(id)
    except KeyError as error:
        say(error.args[0])
        return
    if committed(id) is None and choice is None:
        how = f'predict("{id}", "a")'
        show(ask.question_card("Predict", found.question, found.options, how))
        ask.buttons(id, len(found.options), "Commit", lambda i: inline(commit(found, i, unlocks)))
        return
    if choice is not None:
        text = commit(found, choice, unlocks)
    else:
        text = _said(found)
        if unlocks is not None:
            unlocks.unlock()
    show(Card(text, inline(text)))


_revealed: set[str] = set()
"""Predictions whose truth has been shown in this kernel."""


def commit(found: Prediction, choice: Any, unlocks: Locked | None = None) -> str:
    """Remember a choice, unless one was committed before, and unlock what waits for it."""
    index = ask.parse(choice, len(found.options))
    if index is None:
        return f"Commit to a letter from a to {ask.letter(len(found.options) - 1)}."
    first = committed(found.id) is None
    if first:
        store.update(lambda progress: progress["predictions"].__setitem__(found.id, index))
    if unlocks is not None:
        unlocks.unlock()
    return f"You predicted {_option(found, index)} Now run the experiment." if first else _said(found)


def committed(id: str) -> int | None:
    """Index of the committed option, or None."""
    index = store.load()["predictions"].get(id)
    # An option may be gone since then.
    return index if index in range(len(registry.prediction(id).options)) else None


@never_raises
def reveal(id: str) -> None:
    """Show what was predicted beside what the experiment shows, and why."""
    try:
        found = registry.prediction(id)
    except KeyError as error:
        say(error.args[0])
        return
    _revealed.add(id)
    truth = f"The experiment shows {_option(found, found.truth)} {found.because}"
    index = committed(id)
    if index is None:
        said = f"You have not committed to a prediction: {found.question}"
        fold = f"<details><summary>Show the answer without one</summary>{inline(truth)}</details>"
        show(Card(f"{said}\n{truth}", f"{inline(said)}{fold}"))
        return
    said = f"{'✔' if index == found.truth else '✘'} You predicted {_option(found, index)}"
    show(Card(f"{said}\n{truth}", f"{inline(said)}<br>{inline(truth)}"))


def _option(found: Prediction, index: int) -> str:
    return f"{ask.letter(index)}) {found.options[index].rstrip('.')}."


def _said(found: Prediction) -> str:
    """What to say about a prediction made before: it stays, whether or not the experiment has been run."""
    index = committed(found.id)
    assert index is not None
    said = f"You predicted {_option(found, index)} A prediction stays as it was made."
    if found.id in _revealed:
        return f"{said} The experiment showed {_option(found, found.truth)}"
    return f"{said} Run the experiment, if you have not yet."
