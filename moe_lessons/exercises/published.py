"""The published answer to an exercise: what the solutions notebook gives, read from the lesson's source."""

import ast
import inspect
import re
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Exercise

SOLUTION = re.compile(
    r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n(?P<body>.*?)^[ \t]*### END SOLUTION\n?",
    re.MULTILINE | re.DOTALL,
)
_ANSWER = re.compile(
    r'^# %% answer="(?P<id>[\w.]+)"[^\n]*\n(?P<code>.*?)(?=^# %%|\Z)', re.MULTILINE | re.DOTALL
)
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "lessons", _PACKAGE.parent / "lessons")
"""In a wheel the lessons lie inside the package, in the repository beside it."""


def with_solution(code: str) -> str:
    """Keep the solution in an answer cell, drop its markers."""
    return SOLUTION.sub(r"\g<body>", code + "\n").rstrip("\n")


@lru_cache(maxsize=128)
def published(id: str) -> str:
    """The answer that the course publishes, without its docstrings; the reference where no lesson is found.

    Examples
    --------
    >>> print(published("01.router_logits"))
    def router_logits(hidden_TD, router_ED):
        return hidden_TD.float() @ router_ED.float().T
    """
    name = f"{registry.lesson(id).id}.py"
    lesson = next((place / name for place in _PLACES if (place / name).is_file()), None)
    text = lesson.read_text(encoding="utf-8") if lesson else ""
    code = next((found["code"] for found in _ANSWER.finditer(text) if found["id"] == id), None)
    return _without_docstrings(with_solution(code)) if code else reference(registry.exercise(id))


def reference(exercise: Exercise) -> str:
    """The source of the function that answers are compared with."""
    return textwrap.dedent(inspect.getsource(exercise.reference)).strip()


def _without_docstrings(code: str) -> str:
    said = sorted(
        (node.body[0] for node in ast.walk(ast.parse(code)) if _has_docstring(node)),
        key=lambda doc: doc.lineno,
    )
    lines = code.split("\n")
    for doc in reversed(said):
        end = doc.end_lineno or doc.lineno
        blank = end < len(lines) and not lines[end].strip()
        del lines[doc.lineno - 1 : end + blank]
    return "\n".join(lines).strip()


def _has_docstring(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None
