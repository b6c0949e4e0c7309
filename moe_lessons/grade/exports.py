"""A graded class in the forms that learning platforms import.

Canvas takes its gradebook's CSV ("How do I import grades in the Gradebook?"): Student, ID, SIS User ID, SIS
Login ID, Section, then a column an assignment, and a second row of points possible. Moodle takes a CSV
("Grade import"): columns by which a user is known, a column a grade item, one of feedback. Gradescope takes a
``results.json`` for each submission ("Autograder specifications").
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from moe_lessons.grade import catalogue, escape
from moe_lessons.grade.records import CANNOT_RUN, PASSED, ClassGrades, Grade, Outcome

Roster = Mapping[str, Mapping[str, str]]


def canvas(graded: ClassGrades, roster: Roster, columns: str) -> str:
    """The gradebook of Canvas."""
    parts = _parts(graded, columns)
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(title for title, _ in parts)]
    possible = ["    Points Possible", "", "", "", "", *(_possible(graded, part) for _, part in parts)]
    rows = []
    for grade in graded.grades:
        who = roster.get(grade.submission.learner, {})
        name = who.get("name") or grade.submission.learner
        login = who.get("login") or grade.submission.learner
        known = [name, who.get("id", ""), who.get("sis_id", ""), login, who.get("section", "")]
        rows.append([*map(escape.csv, known), *(_points(grade, part) for _, part in parts)])
    return _table([head, possible, *rows])


def moodle(graded: ClassGrades, roster: Roster, columns: str) -> str:
    """A table for Moodle's import of grades."""
    parts = _parts(graded, columns)
    head = ["Username", "ID number", "Email address", *(title for title, _ in parts), "Feedback comments"]
    rows = []
    for grade in graded.grades:
        who = roster.get(grade.submission.learner, {})
        known = [who.get("login") or grade.submission.learner, who.get("id", ""), who.get("email", "")]
        said = "; ".join(f"{id}: {text}" if id else text for id, text in grade.comments.items())
        earned = [_points(grade, part) for _, part in parts]
        rows.append([*map(escape.csv, known), *earned, escape.csv(said)])
    return _table([head, *rows])


def gradescope(grade: Grade) -> str:
    """One learner's ``results.json`` for Gradescope."""
    tests: list[dict[str, Any]] = [
        {
            "name": f"{outcome.exercise}: {outcome.title}",
            "number": outcome.exercise,
            "score": outcome.points,
            "max_score": outcome.of,
            "status": "passed" if outcome.verdict.status == PASSED else "failed",
            "output": _told(outcome),
            "output_format": "text",
            "visibility": "visible",
        }
        for outcome in grade.outcomes
        if outcome.verdict.status != CANNOT_RUN
    ]
    notes = [escape.visible(grade.comments.get("", ""))]
    if grade.deducted:
        notes.append(f"{grade.deducted:g} points deducted for late work.")
    said = {
        "score": grade.points,
        "output": "\n".join(filter(None, notes)),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return json.dumps(said, indent=1) + "\n"


def _told(outcome: Outcome) -> str:
    verdict = outcome.verdict
    mistake = verdict.misconception[1] if verdict.misconception else verdict.observation
    parts = (verdict.status, verdict.problem or "", mistake)
    return "\n".join(escape.visible(part) for part in parts if part)


def _parts(graded: ClassGrades, columns: str) -> list[tuple[str, Callable[[Outcome], bool]]]:
    """Titles of columns, and which outcomes each is made of."""
    if columns == "lesson":
        return [
            (f"{number} {catalogue.lesson(number).title}", _of_lesson(number)) for number in graded.lessons
        ]
    ids = {o.exercise: o.title for grade in graded.grades for o in grade.outcomes}
    return [(f"{id} {title}", _is(id)) for id, title in sorted(ids.items())]


def _of_lesson(number: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.exercise.startswith(f"{number}.")


def _is(id: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.exercise == id


def _points(grade: Grade, part: Callable[[Outcome], bool]) -> str:
    return f"{sum(grade.after_late(outcome) for outcome in grade.outcomes if part(outcome)):.10g}"


def _possible(graded: ClassGrades, part: Callable[[Outcome], bool]) -> str:
    of = (sum(o.of for o in grade.outcomes if part(o)) for grade in graded.grades)
    return f"{max(of, default=0)}"


def _table(rows: list[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(rows)
    return file.getvalue()
