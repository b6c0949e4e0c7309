"""What lies in notebooks/ and solutions/: up to date, executed, clean, small."""

import json
import re

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.render import notebook, text
from moe_lessons.exercises import registry

LESSONS = sorted(paths.LESSONS.glob("[0-9]*.py"))


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param


@pytest.fixture
def stored(lesson):
    return paths.SOLUTIONS / f"{lesson.stem}.ipynb"


def outputs(path):
    built = nbformat.read(path, as_version=4)
    return [(cell, output) for cell in built.cells for output in cell.get("outputs", [])]


def plain(output):
    """What an output says where there is no page: printed, or shown as a card."""
    return output.text if output.output_type == "stream" else output.data.get("text/plain", "")


def test_the_learners_notebook_is_what_the_lesson_makes(lesson):
    path = paths.NOTEBOOKS / f"{lesson.stem}.ipynb"
    assert path.read_text(encoding="utf-8") == text(notebook(lesson, solutions=False)), "run `make lessons`"


def test_solutions_are_small_and_carry_no_widget(stored):
    raw = stored.read_text(encoding="utf-8")
    assert len(raw.encode()) <= 1_000_000
    assert "widget-view+json" not in raw
    found = json.loads(raw)
    assert set(found["metadata"]) == {"kernelspec", "language_info", "moe_lessons"}


def test_no_stored_error_and_no_stderr(stored):
    for cell, output in outputs(stored):
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", cell.source


def test_every_code_cell_was_executed(stored):
    """nbval skips a cell whose execution_count is null, and so would pass it."""
    built = nbformat.read(stored, as_version=4)
    counts = [cell.execution_count for cell in built.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_cells_carry_no_timing(stored):
    for cell in nbformat.read(stored, as_version=4).cells:
        assert "execution" not in cell.metadata
        for output in cell.get("outputs", []):
            assert "transient" not in output


def test_the_stored_solutions_pass_every_check_and_every_claim(lesson, stored):
    printed = "\n".join(plain(output) for _, output in outputs(stored))
    found = registry.lesson(lesson.stem)
    for exercise in found.exercises:
        assert f"✔ {exercise.id}: passed" in printed
    for puzzle in found.puzzles:
        assert f"✔ {puzzle.id}: right" in printed
    for claim in found.claims:
        told = f'{claim.id}: "{claim.said}" {claim.verdict.capitalize()}. '
        assert told in " ".join(printed.split())
    assert "does NOT" not in printed
    assert "(NOT " not in printed, "a limit of `measured` that was meant to hold does not"
    assert f"Lesson {found.number}: {found.points} of {found.points} points" in printed


def test_no_output_tells_where_it_was_made(stored):
    """No home folder, no temporary folder, no name of a user."""
    raw = stored.read_text(encoding="utf-8")
    for trace in ("/home/", "/root/", "/tmp/", "/Users/", "C:\\\\", str(paths.ROOT)):
        assert trace not in raw, trace


def test_numbers_are_shown_and_not_booleans(stored):
    """A learner sees what was measured, its limit and the conclusion: `measured` prints such a line."""
    for cell, output in outputs(stored):
        text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for line in text.splitlines():
            if line.startswith("> "):
                continue  # the line of numbers that `rerun` was given
            bare = re.search(r"\b(True|False)[^\w)]*$|: (True|False)\b", line)  # code may end in "True)"
            assert not bare, f"{cell.source}\n--> {line}"
