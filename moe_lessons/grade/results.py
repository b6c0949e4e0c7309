"""``results.json``: everything a run found, in a form that other programs may rely on.

``results.schema.json`` beside this module describes it. ``version`` changes when a reader would have to.
The same class under the same seed gives the same file: how long things took stands in ``timing.json``.
"""

import datetime
import importlib.metadata
import json
import platform
from dataclasses import asdict
from typing import Any

from moe_lessons.grade.records import (
    ClassGrades,
    Grade,
    Isolation,
    Late,
    Limits,
    Notebook,
    Outcome,
    RefusedError,
    Submission,
    Verdict,
)

SCHEMA, VERSION = "moe-lessons/results", 2


def as_results(graded: ClassGrades, pages: dict[str, str]) -> dict[str, Any]:
    """The content of ``results.json``; ``pages`` maps learners to their feedback pages."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "course": graded.course,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "seed": graded.seed,
        "limits_s": {"call": graded.limits.call, "notebook": graded.limits.notebook},
        "isolation": {
            "kind": graded.isolation.kind,
            "sandboxed": graded.isolation.sandboxed,
            "note": graded.isolation.note,
        },
        "lessons": list(graded.lessons),
        "class_size": graded.class_size,
        "faults": len(graded.faults),
        "not_counted": graded.not_counted,
        "learners": [_learner(grade, pages.get(grade.submission.learner)) for grade in graded.grades],
    }


def as_text(graded: ClassGrades, pages: dict[str, str]) -> str:
    """``results.json`` as text, in ASCII: names of files and messages may hold anything."""
    return json.dumps(as_results(graded, pages), indent=1, allow_nan=False) + "\n"


def timing(graded: ClassGrades) -> str:
    """When a run ended and how many seconds it took, and each answer of it."""
    took = {
        grade.submission.learner: {o.exercise: o.verdict.seconds for o in grade.outcomes}
        for grade in graded.grades
    }
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    said = {"finished": finished, "seconds": graded.seconds, "answers_s": took}
    return json.dumps(said, indent=1) + "\n"


def _learner(grade: Grade, page: str | None) -> dict[str, Any]:
    return {
        "learner": grade.submission.learner,
        "points": grade.points,
        "max_points": grade.of,
        "deducted": grade.deducted,
        "late": [asdict(one) for one in grade.late],
        "comments": grade.comments,
        "notebooks": [
            {"file": notebook.file, "lesson": notebook.lesson, "problem": notebook.problem}
            for notebook in grade.submission.notebooks
        ],
        "warnings": grade.submission.warnings,
        "feedback": page,
        "exercises": [_exercise(outcome) for outcome in grade.outcomes],
    }


def _exercise(outcome: Outcome) -> dict[str, Any]:
    verdict = outcome.verdict
    mistake = verdict.misconception
    return {
        "exercise": outcome.exercise,
        "title": outcome.title,
        "points": outcome.points,
        "max_points": outcome.of,
        "status": verdict.status,
        "findings": [{"name": name, "passed": ok, "detail": more} for name, ok, more in verdict.findings],
        "misconception": mistake and {"id": mistake[0], "message": mistake[1], "hint": mistake[2]},
        "observation": verdict.observation,
        "looks": list(outcome.looks),
    }


def read(text: str, name: str) -> ClassGrades:
    """A graded class from the text of a ``results.json``; RefusedError, with ``name``, if it is none."""
    try:
        said = json.loads(text)
        if (said["schema"], said["version"]) != (SCHEMA, VERSION):
            raise ValueError
        return ClassGrades(
            tuple(_as_grade(place, learner) for place, learner in enumerate(said["learners"])),
            said["seed"],
            Limits(**said["limits_s"]),
            Isolation(said["isolation"]["kind"], said["isolation"]["note"]),
            tuple(said["lessons"]),
            0.0,
            said.get("class_size", len(said["learners"])),
            said["course"],
        )
    except (ValueError, KeyError, TypeError):
        raise RefusedError(f"{name} is no results.json of this version ({SCHEMA} {VERSION})") from None


def _as_grade(place: int, said: dict[str, Any]) -> Grade:
    notebooks = tuple(Notebook(n["file"], n["lesson"], problem=n["problem"]) for n in said["notebooks"])
    submission = Submission(said["learner"], notebooks, False, tuple(said["warnings"]))
    outcomes = tuple(_as_outcome(place, one) for one in said["exercises"])
    late = tuple(Late(**one) for one in said["late"])
    return Grade(submission, outcomes, late, dict(said["comments"]))


def _as_outcome(place: int, said: dict[str, Any]) -> Outcome:
    mistake = said["misconception"]
    verdict = Verdict(
        place,
        said["exercise"],
        said["status"],
        findings=tuple((one["name"], one["passed"], one["detail"]) for one in said["findings"]),
        misconception=mistake and (mistake["id"], mistake["message"], mistake["hint"]),
        observation=said.get("observation", ""),
    )
    looks = tuple(said.get("looks", ()))
    return Outcome(said["exercise"], said["title"], said["points"], said["max_points"], verdict, looks)
