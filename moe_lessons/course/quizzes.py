"""``quiz``: a question whose every option explains itself."""

import re
from typing import Any

from moe_lessons.course import ask, store
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Quiz


@never_raises
def quiz(id: str, answer: Any = None) -> None:
    """Ask a question; answer with the buttons, or in the call: ``quiz("01.order", "b")``.

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
        text = respond(found, answer)
        show(Card(text, inline(text)))
        return
    options = tuple(choice.text for choice in found.choices)
    example = f'quiz("{id}", "a")' if options else f'quiz("{id}", 1.5)'
    show(ask.question_card("Check yourself", found.question, options, example))
    if options:
        ask.buttons(id, len(options), "Answer", lambda index: inline(respond(found, index)))
    else:
        ask.number(id, "Answer", lambda text: inline(respond(found, text)))


def respond(found: Quiz, answer: Any) -> str:
    """Judge an answer, remember it, and say why it is right or wrong."""
    if found.choices:
        index = ask.parse(answer, len(found.choices))
        if index is None:
            return f"Answer with a letter from a to {ask.letter(len(found.choices) - 1)}."
        choice = found.choices[index]
        right, feedback = choice.right, choice.feedback
    else:
        assert found.answer is not None
        value = number(answer)
        if value is None:
            return f"{answer!r} is not a number; write for example 0.25, 1/4, 25 % or 1e9."
        right = abs(value - found.answer) <= found.rtol * abs(found.answer)
        feedback = found.feedback
    store.update(lambda progress: progress["quizzes"].__setitem__(found.id, right))
    return f"{'✔ Right.' if right else '✘ Not quite.'} {feedback}"


def number(answer: Any) -> float | None:
    """An answer as a number: text with a comma, a fraction or a percentage, or anything with a value.

    Examples
    --------
    >>> number("1,000,000"), number("0,25"), number(" 1e9 "), number("a half")
    (1000000.0, 0.25, 1000000000.0, None)
    >>> number("3/4"), number("75 %"), number("1 / 0")
    (0.75, 0.75, None)
    """
    if isinstance(answer, str):
        answer = answer.strip().replace("\u2212", "-")
        if answer.endswith("%"):
            share = number(answer[:-1])
            return None if share is None else share / 100
        if answer.count("/") == 1:
            above, below = (number(part) for part in answer.split("/"))
            return above / below if above is not None and below else None
        grouped = re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?", answer)
        answer = answer.replace(",", "" if grouped else ".")
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
