"""The grading notebook: our cells only, each with the output of a right answer stored in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import moe_lessons.grade.light  # noqa: F401 (before nbformat)

# isort: split
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from moe_lessons.grade import catalogue
from moe_lessons.grade.records import Limits, Notebook


@dataclass(frozen=True)
class Answer:
    """One answer to grade: the learner's place in the class, the exercise, and the notebook that it is from.

    A class has thousands, so it holds no text: what it gives out is the notebook's.
    """

    learner: int
    exercise: str
    source: Notebook

    @property
    def notebook(self) -> str:
        """The file that it is from."""
        return self.source.file

    @property
    def code(self) -> str:
        """Its cell."""
        return self.source.answers[self.exercise]

    @property
    def beside(self) -> str:
        """What it needs of the file's other cells."""
        return self.source.beside.get(self.exercise, "")


def write(folder: Path, answers: list[Answer], seed: int, limits: Limits, *, sandboxed: bool) -> Path:
    """Write the grading notebook and what its cells read; return the notebook's path.

    Answers lie in files of their own, so that neither who writes them nor who judges them holds all at once.
    """
    job = {
        "seed": seed,
        "sandboxed": sandboxed,
        "limits": {"call": limits.call, "notebook": limits.notebook},
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    for index, answer in enumerate(answers):
        task = {
            "learner": answer.learner,
            "exercise": answer.exercise,
            "code": answer.code,
            "beside": answer.beside,
        }
        (folder / f"answer-{index}.json").write_text(json.dumps(task), encoding="utf-8")
    path = folder / "grading.ipynb"
    nbformat.write(assemble(folder, answers), path)
    return path


def assemble(folder: Path, answers: list[Answer]) -> NotebookNode:
    """One cell for each answer; learner code is in none of them, only its number in the job."""
    begin = f"from moe_lessons.grade import session\n\nsession.begin({str(folder)!r})"
    cells = [_cell("begin", begin)]
    cells += [_check(index, answer) for index, answer in enumerate(answers)]
    cells.append(_cell("end", "session.end()"))
    return new_notebook(cells=cells)


def _check(index: int, answer: Answer) -> NotebookNode:
    exercise = catalogue.exercise(answer.exercise)
    cell = _cell(f"answer-{index}", f"session.grade({index})  # {exercise.id}")
    cell.outputs = [new_output("stream", name="stdout", text=exercise.right + "\n")]
    cell.metadata = NotebookNode(
        tags=["nbval-check-output"],
        moe_lessons={"learner": answer.learner, "exercise": exercise.id, "points": exercise.points},
    )
    return cell


def _cell(id: str, source: str) -> NotebookNode:
    # nbval compares nothing in a cell that was never executed, so the count must be there.
    return new_code_cell(source, id=id, execution_count=1)
