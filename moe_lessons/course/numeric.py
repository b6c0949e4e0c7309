"""Judging a number that was typed, in a notebook and on a web page; the standard library is enough."""

from dataclasses import replace

from moe_lessons.course.number_line import number_line, short
from moe_lessons.course.reading import read_number
from moe_lessons.course.show import inline
from moe_lessons.front.card import Face


def judged(face: Face, typed: str, answer: float, rtol: float, feedback: str) -> tuple[str, Face]:
    """What to say to a number, as text and as a face.

    Parameters
    ----------
    face : Face
        The question's.
    typed : str
        As it was typed.
    answer, rtol : float
        The right number, and how far off, relatively, is right too.
    feedback : str
        Why it is that number.

    Raises
    ------
    ValueError
        If it cannot be read; the message says what to write.

    Examples
    --------
    >>> text, face = judged(Face("1", "Quiz", "Half of 1?"), "1/2", 0.5, 0.01, "Halve it.")
    >>> text, face.verdict
    ('✔ Right. Halve it.', 'right')
    """
    value = read_number(typed)
    right = abs(value - answer) <= rtol * abs(answer)
    head = "✔ Right." if right else "✘ Not quite."
    read = f"Your number: {short(value)}. The answer: {short(answer)}."
    near = value == 0 or 1e-99 < abs(value) < 1e99  # beyond that no line holds both
    return f"{head} {feedback}", replace(
        face,
        mark=typed,
        verdict="right" if right else "wrong",
        said=inline(f"{head} {read} {feedback}"),
        picture=number_line(value, answer) if near else "",
    )


def judged_or_asked_again(
    face: Face, typed: str, answer: float, rtol: float, feedback: str
) -> tuple[str, Face]:
    """The same; a number that cannot be read gets a note that says what to write.

    Examples
    --------
    >>> judged_or_asked_again(Face("1", "Quiz", "Half of 1?"), "half", 0.5, 0.01, "Halve it.")[1].verdict
    'note'
    """
    try:
        return judged(face, typed, answer, rtol, feedback)
    except ValueError as error:
        return str(error), replace(face, mark=typed, verdict="note", said=inline(str(error)))
