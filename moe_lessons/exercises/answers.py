"""From the text of an answer cell to the function in it.

An answer cell should stand alone: it may use ``PRELUDE`` and what it imports itself. Where it needs more, a
grader adds the definitions of other cells that it names (``beside``), and nothing else of the notebook.
"""

import ast
import linecache
import types
from collections.abc import Callable, Iterator
from typing import Any

from moe_lessons.exercises import cells

PRELUDE = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
"""


class RefusedError(Exception):
    """The cell is one that is not run as Python; the message says why, and what to do."""


def load(
    code: str, entry: str, *, name: str = "<answer>", beside: str = "", into: types.ModuleType | None = None
) -> Callable[..., Any] | None:
    """Run an answer cell in a namespace of its own and return the function that it defines.

    What else stands in the cell, a try-out, a picture, a call of ``check``, costs nothing where it fails: the
    rest of the cell is run all the same.

    Parameters
    ----------
    code : str
        The cell's source, as it stands in the notebook.
    entry : str
        The name that the exercise asks for.
    name : str
        What error messages call the cell.
    beside : str
        Definitions of other cells that this one needs.
    into : module, optional
        The module that the cell is run in; by default a new one.

    Returns
    -------
    callable or None
        None if the cell defines no such name.

    Raises
    ------
    RefusedError
        If the cell is not run as Python.
    Exception
        What the cell raised, if it did not come to define the name.

    Examples
    --------
    >>> load("%%time\\ndef double(x):\\n    return 2 * x\\n\\nassert 1 == 2", "double")(4)
    8
    """
    cell = cells.read(code)
    if cell.refused:
        raise RefusedError(cell.refused)
    module = into or types.ModuleType("__main__")
    # As in a notebook: whoever writes a main guard means it to run.
    module.__name__ = "__main__"
    exec(PRELUDE, module.__dict__)
    for text, file in ((beside, "<other cells>"), (cell.code, name)):
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    if beside:
        list(_run(beside, "<other cells>", module))
    failed = list(_run(cell.code, name, module))
    found: Callable[..., Any] | None = module.__dict__.get(entry)
    if found is None and failed:
        raise next((error for statement, error in failed if entry in cells.bound(statement)), failed[0][1])
    return found


def _run(code: str, name: str, module: types.ModuleType) -> Iterator[tuple[ast.stmt, BaseException]]:
    """Run one statement after the other; those that failed, with what they raised."""
    flags = 0
    tree: ast.Module = compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)  # type: ignore[assignment]
    for statement in tree.body:
        flags |= _features(statement)
        try:
            exec(
                compile(ast.Module([statement], []), name, "exec", flags, dont_inherit=True), module.__dict__
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a notebook's kernel survives it
            yield statement, error


def _features(statement: ast.stmt) -> int:
    import __future__

    if not isinstance(statement, ast.ImportFrom) or statement.module != "__future__":
        return 0
    known = (getattr(__future__, alias.name, None) for alias in statement.names)
    return sum(feature.compiler_flag for feature in known if feature is not None)
