"""``quiz``: a question whose every option explains itself."""

import contextlib
from dataclasses import replace
from typing import Any, Literal

from moe_lessons.course import ask, store
from moe_lessons.course.looks import BLOCKS
from moe_lessons.course.number_line import short
from moe_lessons.course.numeric import judged
from moe_lessons.course.reading import read_number
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Quiz
from moe_lessons.front.card import Face, letter


@never_raises
def quiz(id: str, answer: Any = None) -> None:
    """Ask a question; answer on the card, or in the call: ``quiz("01.order", "b")``.

    Parameters
    ----------
    id : str
        The question's id.
    answer : str, int or float, optional
        A letter, or a number for a numeric question.
    """
    try:
        found = registry.quiz(id)
    except KeyError as error:
        say(error.args[0])
        return
    if answer is not None:
        text, face = _respond(found, answer)
        if face.verdict == "note":
            show(Card(text, inline(text)))
        else:
            ask.refresh(face)
            ask.put(text, face)
    elif store.is_apart():
        ask.put(*_published(found))
    else:
        ask.put_card(_asked(found), _last(found), lambda given: _respond(found, given))


def _respond(found: Quiz, answer: Any) -> tuple[str, Face]:
    """Judge an answer, remember it, and say why it is right or wrong."""
    given = ask.parse(answer, len(found.choices)) if found.choices else _typed(answer)
    if given is None:
        text = f"Answer with a letter from a to {letter(len(found.choices) - 1)}."
        return text, replace(_face(found), verdict="note", said=inline(text))
    try:
        text, face = _judged(found, given)
    except ValueError as error:
        text = str(error)
        return text, replace(_face(found), mark=given, verdict="note", said=inline(text))

    def change(progress: store.Progress) -> None:
        progress["quizzes"][found.id] = face.verdict == "right"
        progress["answers"][found.id] = given

    store.update(change)
    return text, face


def _judged(found: Quiz, given: int | str) -> tuple[str, Face]:
    """What to say to an option's index, or to a number as it was typed; ValueError if that cannot be read."""
    if isinstance(given, int):
        return chosen(found, given)
    assert found.answer is not None
    return judged(_face(found), given, found.answer, found.rtol, found.feedback)


def chosen(found: Quiz, index: int) -> tuple[str, Face]:
    """What to say to an option."""
    choice = found.choices[index]
    text = f"{'✔ Right.' if choice.right else '✘ Not quite.'} {choice.feedback}"
    verdict: Literal["right", "wrong"] = "right" if choice.right else "wrong"
    truth = index if choice.right else None
    return text, replace(_face(found), mark=index, truth=truth, verdict=verdict, said=inline(text))


def _typed(answer: Any) -> str:
    """A number of a call as it would be typed."""
    if isinstance(answer, str):
        return answer
    try:
        return repr(read_number(answer))
    except ValueError:
        return repr(answer)


def _face(found: Quiz) -> Face:
    return Face(
        found.id,
        str(BLOCKS["quiz"]),
        inline(found.question),
        tuple(inline(choice.text) for choice in found.choices),
        how=_how(found),
        color=BLOCKS["quiz"].color,
    )


def _how(found: Quiz) -> str:
    return f'quiz("{found.id}", "a")' if found.choices else f'quiz("{found.id}", 1.5)'


def _asked(found: Quiz, how: bool = True) -> str:
    options = tuple(choice.text for choice in found.choices)
    return ask.question_text("Check yourself", found.question, options, _how(found) if how else "")


def _last(found: Quiz) -> Face:
    """The question with the answer given last, by this learner, and what was said to it."""
    given = store.load()["answers"].get(found.id)
    options = len(found.choices)
    fits = given in range(options) if options else isinstance(given, str)
    # What no longer fits the question is from an older version of it.
    with contextlib.suppress(ValueError):
        return _judged(found, given)[1] if fits else _face(found)
    return _face(found)


def _published(found: Quiz) -> tuple[str, Face]:
    """The question with its answer, for a page to read."""
    face = replace(_face(found), final=True)
    if found.choices:
        truth = next(i for i, choice in enumerate(found.choices) if choice.right)
        choice = found.choices[truth]
        said = f"{letter(truth)}) {choice.text.rstrip('.')}. {choice.feedback}"
        return f"{_asked(found, how=False)}\n{said}", replace(face, truth=truth, said=inline(choice.feedback))
    assert found.answer is not None
    said = f"✔ {short(found.answer)}. {found.feedback}"
    return f"{_asked(found, how=False)}\n{said}", replace(face, said=inline(said))
