"""``predict`` and ``reveal``: commit to an answer before the experiment, then see both side by side.

Committing first is what makes an experiment teach (Kim, Reinecke & Hullman 2017), so a prediction, once
committed, stays.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from moe_lessons.course import ask, store
from moe_lessons.course.looks import BLOCKS
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Prediction
from moe_lessons.front.card import Face, letter


class Locked(Protocol):
    """What a prediction can unlock: an explorable."""

    def unlock(self) -> None:
        """Let the learner use the controls."""


_revealed: dict[str, Callable[[str, Face], None]] = {}
"""Predictions whose truth has been shown in this kernel, and what changes the card that shows it."""


_locked: dict[str, Locked] = {}
"""What waits for a prediction; it may be committed in another cell than the one that showed it."""


@never_raises
def predict(id: str, choice: Any = None, *, unlocks: Locked | None = None) -> None:
    """Ask for a prediction; commit on the card, or in the call: ``predict("01.norm", "b")``.

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
    if unlocks is not None:
        _locked[id] = unlocks
    if choice is not None and ask.parse(choice, len(found.options)) is None:
        text = f"Commit to a letter from a to {letter(len(found.options) - 1)}."
        show(Card(text, inline(text)))
        return
    if choice is None and committed(id) is None and not store.is_apart():
        ask.put_card(_asked(found), _face(found), lambda answer: _commit(found, answer))
        return
    if choice is not None:
        text, face = _commit(found, choice)
        ask.refresh(face)
    else:
        _unlock(id)
        text, face = stands(found, committed(id), id in _revealed)
    ask.put(text, face)


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
    # What is published is compared byte for byte, and nothing there will be committed later.
    if store.is_apart():
        _revealed[id] = ask.put(*published(found))
    else:
        _revealed[id] = ask.put(*answered(found, committed(id)), changing=True)


def _unlock(id: str) -> None:
    if (waiting := _locked.pop(id, None)) is not None:
        waiting.unlock()


def _commit(found: Prediction, choice: Any) -> tuple[str, Face]:
    """Remember a choice, unless one was committed before, and unlock what waits for it."""
    index = ask.parse(choice, len(found.options))
    assert index is not None
    first = committed(found.id) is None
    if first:
        store.update(lambda progress: progress["predictions"].__setitem__(found.id, index))
    _unlock(found.id)
    if not first:
        return stands(found, committed(found.id), found.id in _revealed)
    if found.id in _revealed:
        _revealed[found.id](*answered(found, index))
    return now_committed(found, index)


# What is said, and shown; a web page has these faces ready.


def now_committed(found: Prediction, index: int) -> tuple[str, Face]:
    """What is said to a prediction as it is made."""
    text = f"You predicted {_option(found, index)} Now run the experiment."
    return text, replace(_face(found), mark=index, final=True, said=inline(text))


def _face(found: Prediction) -> Face:
    return Face(
        found.id,
        str(BLOCKS["predict"]),
        inline(found.question),
        tuple(map(inline, found.options)),
        action="Commit",
        yours="your prediction",
        true="the experiment",
        how=f'predict("{found.id}", "a")',
        color=BLOCKS["predict"].color,
    )


def _asked(found: Prediction) -> str:
    how = "" if store.is_apart() else f'predict("{found.id}", "a")'
    return ask.question_text("Predict", found.question, found.options, how)


def _option(found: Prediction, index: int) -> str:
    return f"{letter(index)}) {found.options[index].rstrip('.')}."


def stands(found: Prediction, index: int | None, revealed: bool) -> tuple[str, Face]:
    """A prediction made before: it stays, whether or not the experiment has been run."""
    if index is None:
        settled = "The experiment below settles it."
        return f"{_asked(found)}\n  {settled}", replace(_face(found), final=True, said=settled)
    said = f"You predicted {_option(found, index)} A prediction stays as it was made."
    face = replace(_face(found), mark=index, final=True)
    if revealed:
        text = f"{said} The experiment showed {_option(found, found.truth)}"
        return text, replace(face, truth=found.truth, said=inline(said))
    text = f"{said} Run the experiment, if you have not yet."
    return text, replace(face, said=inline(text))


def _truth(found: Prediction) -> str:
    return f"The experiment shows {_option(found, found.truth)} {found.because}"


def published(found: Prediction) -> tuple[str, Face]:
    """What the experiment shows, for a page to read."""
    truth = _truth(found)
    return f"{_asked(found)}\n{truth}", replace(
        _face(found), final=True, truth=found.truth, said=inline(truth)
    )


def answered(found: Prediction, index: int | None) -> tuple[str, Face]:
    """What the experiment shows, beside what was predicted."""
    truth = _truth(found)
    face = replace(_face(found), final=True)
    if index is None:
        said = "You have not committed to a prediction."
        fold = f"<details><summary>Show the answer without one</summary>{inline(truth)}</details>"
        return f"{said[:-1]}: {found.question}\n{truth}", replace(face, said=f"{said}{fold}")
    as_shown = index == found.truth
    text = f"{'✔' if as_shown else '✘'} You predicted {_option(found, index)}\n{truth}"
    head = f"{'✔ As you predicted.' if as_shown else '✘ Not as you predicted.'} {inline(found.because)}"
    return text, replace(
        face, mark=index, truth=found.truth, verdict="right" if as_shown else "wrong", said=head
    )
