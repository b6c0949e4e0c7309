"""Write a graded class down: every file whole or not at all."""

import os
import tempfile
from pathlib import Path

from moe_lessons.grade import exports, feedback, results, tables
from moe_lessons.grade.records import ClassGrades
from moe_lessons.grade.settings import Settings

PAGES = "feedback"


def write(graded: ClassGrades, out: Path, settings: Settings, alike: str) -> list[Path]:
    """Write results, tables and a feedback page a learner into ``out``; return what was written.

    ``settings`` says which exports are wanted; ``alike`` is the table of answers that look alike.
    """
    names = feedback.file_names([grade.submission.learner for grade in graded.grades])
    pages = {learner: f"{PAGES}/{name}" for learner, name in names.items()}
    files = {
        "results.json": results.as_text(graded, pages),
        "timing.json": results.timing(graded),
        "grades.csv": tables.as_csv(graded, excel=settings.excel),
        "junit.xml": tables.as_junit(graded),
        "summary.md": tables.as_markdown(graded),
        "similar.csv": alike,
    }
    mark = "\ufeff" if settings.excel else ""
    for name, make in (("canvas", exports.canvas), ("moodle", exports.moodle)):
        if name in settings.exports:
            files[f"{name}.csv"] = mark + make(graded, settings.roster, settings.columns)
    for grade in graded.grades:
        page = pages[grade.submission.learner]
        files[page] = feedback.page(grade, graded.seed, graded.isolation.note)
        if "gradescope" in settings.exports:
            files[f"gradescope/{Path(page).stem}.json"] = exports.gradescope(grade)
    return [_put(out / name, text) for name, text in files.items()]


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    # File names and messages may hold characters that UTF-8 cannot.
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:  # a full disk, say
        os.unlink(name)
        raise
    return path
