"""The course's questions for web pages: every face of a card, written beforehand by the notebook's code.

A page gets one file for each lesson. A face is a base and what differs from it; `Face` and `card.js` know
its fields.
"""

import re
from typing import Any

from moe_lessons import explore
from moe_lessons.build import paths
from moe_lessons.course import predictions, quizzes
from moe_lessons.exercises.spec import Lesson, Prediction, Quiz
from moe_lessons.front.card import Face

_MADE = re.compile(r"^(\w+) = (\w+)\(", re.MULTILINE)
_UNLOCKS = re.compile(r'\bpredict\("([\d\w.]+)", unlocks=(\w+)(?:\.switch\("(\w+)"\))?\)')


def questions(lesson: Lesson) -> dict[str, Any]:
    """All predictions and quizzes of a lesson, by their ids."""
    return {
        "predictions": {one.id: _prediction(one) for one in lesson.predictions},
        "quizzes": {one.id: _quiz(one) for one in lesson.quizzes},
    }


def _prediction(found: Prediction) -> dict[str, Any]:
    """For each option: `made` is said as it is committed, `stands` later, `shown` after the experiment.

    What is shown after the experiment is no card in a notebook either, but HTML to read.
    """
    face, options = predictions._face(found), range(len(found.options))
    return {
        "face": _whole(face),
        "made": [_change(face, predictions.now_committed(found, i)[1]) for i in options],
        "stands": [_change(face, predictions.stands(found, i, revealed=False)[1]) for i in options],
        "shown": [predictions.answered(found, i)[1].html() for i in options],
        "unasked": predictions.answered(found, None)[1].html(),
    }


def _quiz(found: Quiz) -> dict[str, Any]:
    face = quizzes._face(found)
    if found.choices:
        chosen = [_change(face, quizzes.chosen(found, i)[1]) for i in range(len(found.choices))]
        return {"face": _whole(face), "chosen": chosen}
    number = {"answer": found.answer, "rtol": found.rtol, "feedback": found.feedback}
    return {"face": _whole(face), "number": number}


def _whole(face: Face) -> dict[str, Any]:
    known = face.state()
    return {key: known[key] for key in known if key not in ("seen", "how")}


def _change(face: Face, to: Face) -> dict[str, Any]:
    before, after = _whole(face), _whole(to)
    return {key: value for key, value in after.items() if value != before[key]}


def unlocked_by() -> dict[str, dict[str, str]]:
    """For each explorable the predictions that unlock it in the lessons, each with the part that it unlocks.

    Examples
    --------
    >>> unlocked_by()["Router"], unlocked_by()["SortedLayer"]["02.no_inverse"]
    ({'01.norm': ''}, 'no_inverse')
    """
    found: dict[str, dict[str, str]] = {}
    for source in sorted(paths.LESSONS.glob("*.py")):
        text = source.read_text(encoding="utf-8")
        made = {name: kind for name, kind in _MADE.findall(text) if kind in explore.__all__}
        for id, name, part in _UNLOCKS.findall(text):
            found.setdefault(made[name], {})[id] = part
    return found
