"""Answers that look alike, to the published solution or to each other: advice for people, never a penalty."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import moe_lessons
from moe_lessons.grade import escape, reading
from moe_lessons.grade.records import Grade, Submission

HOW = ("as written", "with other names")


Looks = dict[str, dict[str, tuple[str, ...]]]
"""By exercise and learner: what the answer looks like (see ``likeness``)."""


def handed_in(submissions: Sequence[Submission]) -> Looks:
    """What everyone's answers look like, whichever exercises count."""
    looks: Looks = defaultdict(dict)
    for submission in submissions:
        for id, notebook in submission.answers.items():
            if id in notebook.looks:
                looks[id][submission.learner] = notebook.looks[id]
    return looks


def graded(grades: Sequence[Grade]) -> Looks:
    """The same from grades, where the files themselves are not at hand."""
    looks: Looks = defaultdict(dict)
    for grade in grades:
        for outcome in grade.outcomes:
            if len(outcome.looks) == len(HOW):
                looks[outcome.exercise][grade.submission.learner] = outcome.looks
    return looks


def report(looks: Looks) -> str:
    """A table: exercise, what is alike, how, who. Comments, layout and docstrings do not count."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["exercise", "like", "how", "learners"])
    for exercise, like, how, names in alike(looks):
        writer.writerow([exercise, like, how, escape.csv("; ".join(names))])
    return file.getvalue()


def alike(looks: Looks) -> Iterator[tuple[str, str, str, list[str]]]:
    """Each group of learners whose answers look like the solution, or like one another."""
    for id in sorted(looks):
        known = solution_looks().get(id, ())
        told: set[str] = set()
        for place, how in enumerate(HOW):
            groups: dict[str, list[str]] = defaultdict(list)
            for name, mine in looks[id].items():
                groups[mine[place]].append(name)
            for look, names in groups.items():
                new = sorted(set(names) - told)
                if known and look == known[place]:
                    if new:
                        yield id, "the published solution", how, new
                elif len(names) > 1 and new:
                    yield id, "each other", how, sorted(names)
                else:
                    continue
                told.update(names)


@cache
def solution_looks() -> dict[str, tuple[str, ...]]:
    """What the published solutions look like; empty where only the package is installed."""
    folder = Path(moe_lessons.__file__).parents[1] / "solutions"
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        found |= reading.read(path, path.name).looks
    return found
