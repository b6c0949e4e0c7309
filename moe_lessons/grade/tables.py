"""A class as ``grades.csv`` for a spreadsheet, ``junit.xml`` for CI, and Markdown for a job summary."""

import csv
import io
from xml.etree import ElementTree

from moe_lessons.grade import escape
from moe_lessons.grade.records import (
    CANNOT_RUN,
    FAULT,
    NOT_ATTEMPTED,
    PASSED,
    ClassGrades,
    Grade,
    Outcome,
)


def as_csv(graded: ClassGrades, *, excel: bool = False) -> str:
    """One row a learner: points, maximum, then the points of each exercise (empty: does not count).

    Where anyone was late, two more columns say by how many days, and how many points that took off. ``excel``
    puts a byte-order mark in front, by which Excel knows UTF-8.
    """
    exercises = _exercises(graded)
    any_late = any(grade.late for grade in graded.grades)
    file = io.StringIO()
    file.write("\ufeff" if excel else "")
    # Text in quotes: some spreadsheets part a row at semicolons, and names and warnings hold those.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    late = ["late_days", "deducted"] if any_late else []
    writer.writerow(["learner", "points", "max_points", *exercises, *late, "warnings"])
    for grade in graded.grades:
        earned = {o.exercise: o.points for o in grade.outcomes if o.verdict.status != CANNOT_RUN}
        row = [escape.csv(grade.submission.learner), grade.points, grade.of]
        row += [earned.get(id, "") for id in exercises]
        row += [sum(one.days for one in grade.late), grade.deducted] if any_late else []
        writer.writerow([*row, escape.csv("; ".join(grade.submission.warnings))])
    return file.getvalue()


def as_junit(graded: ClassGrades) -> str:
    """One test suite a learner and one test case an exercise; points and status are properties."""
    root = ElementTree.Element("testsuites", name="moe-lessons grade")
    for grade in graded.grades:
        cases = [_case(grade, outcome) for outcome in grade.outcomes]
        attributes = {
            "name": escape.xml(grade.submission.learner),
            "tests": str(len(cases)),
            "time": f"{sum(outcome.verdict.seconds for outcome in grade.outcomes):.3f}",
        }
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            attributes[name] = str(sum(case.find(tag) is not None for case in cases))
        suite = ElementTree.SubElement(root, "testsuite", attributes)
        suite.extend(cases)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_markdown(graded: ClassGrades) -> str:
    """A summary table with a mark for each exercise."""
    exercises = _exercises(graded)
    full = sum(grade.of > 0 and grade.points == grade.of for grade in graded.grades)
    lines = [
        "# Grades",
        "",
        f"{len(graded.grades)} learners, lessons {', '.join(graded.lessons)}; {full} with full points; "
        f"seed {graded.seed}.",
        "",
        "| Learner | Points | " + " | ".join([*exercises, "Notes"]) + " |",
        "|---|---:|" + ":---:|" * len(exercises) + "---|",
    ]
    for grade in graded.grades:
        marks = {outcome.exercise: _MARKS.get(outcome.verdict.status, "–") for outcome in grade.outcomes}
        cells = [grade.submission.learner, f"{grade.points:g} of {grade.of}"]
        cells += [marks.get(id, "") for id in exercises]
        cells.append(short("; ".join(grade.submission.warnings)))
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    legend = "✔ passed · ✘ not right · ○ not attempted · – missing · ! grader fault"
    for paragraph in filter(None, (legend, graded.not_counted_note, graded.isolation.note)):
        lines += ["", paragraph]
    return "\n".join(lines) + "\n"


_MOST_NOTE = 600
_MARKS = {PASSED: "✔", "failed": "✘", NOT_ATTEMPTED: "○", CANNOT_RUN: "", FAULT: "!"}


def _exercises(graded: ClassGrades) -> list[str]:
    of_lessons = {o.exercise: o.exercise.split(".")[0] for grade in graded.grades for o in grade.outcomes}
    return sorted(of_lessons, key=of_lessons.__getitem__)  # stable: within a lesson, teaching order


def _case(grade: Grade, outcome: Outcome) -> ElementTree.Element:
    verdict = outcome.verdict
    case = ElementTree.Element(
        "testcase",
        classname=escape.xml(grade.submission.learner),
        name=outcome.exercise,
        time=f"{verdict.seconds:.3f}",
    )
    properties = ElementTree.SubElement(case, "properties")
    for name, value in (
        ("points", str(outcome.points)),
        ("max_points", str(outcome.of)),
        ("status", verdict.status),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=value)
    if verdict.status == FAULT:
        ElementTree.SubElement(case, "error", message="the grader failed on this answer")
    elif verdict.status == "failed":
        first = next(
            (f"{name}: {detail}" for name, passed, detail in verdict.findings if passed is False), ""
        )
        failure = ElementTree.SubElement(case, "failure", message=escape.xml(first))
        failure.text = escape.xml(verdict.misconception[1]) if verdict.misconception else None
    elif verdict.status != PASSED:
        ElementTree.SubElement(case, "skipped", message=verdict.status)
    return case


def short(text: str) -> str:
    """A note that leaves room for others': a job summary holds one megabyte."""
    return text if len(text) <= _MOST_NOTE else f"{text[:_MOST_NOTE]}… (all of it in results.json)"


def _cell(text: str) -> str:
    return text if text in _MARKS.values() else escape.markdown(text)
