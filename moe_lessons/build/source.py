"""Read a lesson: jupytext percent cells, the solution blocks in them, and what the lesson depends on."""

import hashlib
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from moe_lessons.build import paths, rooms
from moe_lessons.exercises import registry
from moe_lessons.exercises.published import SOLUTION


def read_cells(lesson: Path) -> list[NotebookNode]:
    """The cells of a lesson, without what jupytext adds to their metadata."""
    cells = jupytext.read(lesson, fmt="py:percent").cells
    for cell in cells:
        for key in ("lines_to_next_cell", "lines_to_end_of_cell_marker"):
            cell.metadata.pop(key, None)
    return cells


STUB = 'raise NotImplementedError("your code here")'
STUB_OF_A_PUZZLE = "return ..."


def without_solution(code: str, stub: str = STUB) -> str:
    """Replace each solution block by a stub.

    Examples
    --------
    >>> print(without_solution("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION\\n"))
    def f():
        raise NotImplementedError("your code here")
    """
    return SOLUTION.sub(lambda found: f"{found['indent']}{stub}\n", code + "\n").rstrip("\n")


def solution_lines(code: str) -> list[str]:
    """Every line of code inside solution blocks, stripped; none of them may reach a learner's notebook."""
    lines = [line.strip() for match in SOLUTION.finditer(code + "\n") for line in match["body"].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def source_hash(lesson: Path) -> str:
    """A hash of the lesson and of every file that its outputs depend on."""
    digest = hashlib.sha256()
    for path in dependencies(lesson):
        digest.update(path.relative_to(paths.ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def dependencies(lesson: Path) -> list[Path]:
    """The lesson, the package modules that it leads to, and the result files that it names."""
    code = lesson.read_text(encoding="utf-8")
    exercises = paths.PACKAGE / "exercises"
    module = registry.module(lesson.stem)
    course = [*(paths.PACKAGE / "course").glob("*.py"), *exercises.glob("*.py")]
    # The course engine and the lesson's own exercises are loaded by name, which imports do not show.
    found = {lesson, *(p for p in course if p.stem in _ENGINE or p.parent.name == "course")}
    found |= {*(exercises / module).glob("*.py"), exercises / f"{module}.py"} & set(exercises.rglob("*.py"))
    pending = [lesson, *found]
    while pending:
        for imported in _imports(pending.pop()):
            if imported not in found:
                found.add(imported)
                pending.append(imported)
    found |= {data for module in found for data in module.parent.glob("*.json")}  # what a module reads
    found |= {p for p in (paths.PACKAGE / "results").glob("*.json") if p.stem in code}
    return sorted(found)


_ENGINE = {"spec", "drivers", "judge", "findings", "own_code"}


def _imports(path: Path) -> list[Path]:
    """The files that Python runs for what a file imports: the modules, and the packages that they lie in."""
    files = rooms.modules()
    names = {name for found in rooms.imported_by(path) for name in _with_packages(found)}
    # The registry lists all lessons; adding one does not make the others stale.
    return [files[name] for name in names - {"moe_lessons.exercises.registry"}]


def _with_packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
