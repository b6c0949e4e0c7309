"""Execute a notebook: `python -m gpu_stages.lessons_notebook NOTEBOOK LINES [FIRST]`; Jupyter is not needed.

Writes a line of JSON to the file LINES for each code cell as it ends: number, source, what it printed, and
the error if one ended it. The first line says in which way it is executed, and how many cells there are.
"""

import ast
import asyncio
import contextlib
import importlib.util
import io
import json
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Say = Callable[[dict[str, Any]], None]
JUPYTER = ("nbclient", "nbformat", "ipykernel")
FETCH = "fetch"  # the tag of the cell that installs the course where it is missing: here it is not


def main(file: str, lines: str, first: str | None = None) -> int:
    """Execute; return 1 if a cell raised."""
    cells = code_cells(json.loads(Path(file).read_text(encoding="utf-8")))[: int(first) if first else None]
    with open(lines, "a", encoding="utf-8") as out:

        def say(line: dict[str, Any]) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        jupyter = all(importlib.util.find_spec(name) for name in JUPYTER)
        say({"way": "nbclient" if jupyter else "plain Python", "cells": len(cells)})
        return int(not (in_jupyter if jupyter else plainly)(cells, say))


def code_cells(notebook: dict[str, Any]) -> list[str]:
    """Return the sources of the code cells, without the one that fetches the course.

    Examples
    --------
    >>> tagged = {"cell_type": "code", "metadata": {"tags": ["fetch"]}, "source": ["fetch()"]}
    >>> plain = {"cell_type": "code", "metadata": {}, "source": ["x = 1\\n", "x"]}
    >>> code_cells({"cells": [{"cell_type": "markdown", "source": "# One"}, tagged, plain]})
    ['x = 1\\nx']
    """
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells if FETCH not in cell["metadata"].get("tags", [])]


def in_jupyter(cells: list[str], say: Say) -> bool:
    """Execute in a kernel, through nbclient, up to the first error."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    built = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    client = NotebookClient(built, timeout=None, kernel_name="python3")

    async def execute() -> bool:
        async with client.async_setup_kernel():
            for number, cell in enumerate(built.cells):
                try:
                    await client.async_execute_cell(cell, number)
                except CellExecutionError as error:
                    said = f"{error.ename}: {error.evalue}".splitlines()[0]
                    say({"cell": number, "source": cell.source, "printed": printed(cell), "error": said})
                    return False
                say({"cell": number, "source": cell.source, "printed": printed(cell)})
        return True

    return asyncio.run(execute())


def printed(cell: Any) -> str:
    """Return the text of a cell's outputs."""
    texts = (out.get("text", out.get("data", {}).get("text/plain", "")) for out in cell.outputs)
    return "".join(f"{text.rstrip()}\n" for text in texts)


def plainly(cells: list[str], say: Say) -> bool:
    """Execute in this process, one module for all cells; sources lie in files, as Triton reads them."""
    stand_in_for_ipython()
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    with tempfile.TemporaryDirectory() as folder:
        for number, source in enumerate(cells):
            file, out = Path(folder) / f"cell_{number}.py", io.StringIO()
            file.write_text(source, encoding="utf-8")
            try:
                with contextlib.redirect_stdout(out):
                    execute_cell(source, str(file), vars(module))
            except Exception as error:
                said = f"{type(error).__name__}: {error}".splitlines()[0]
                say({"cell": number, "source": source, "printed": out.getvalue(), "error": said})
                return False
            say({"cell": number, "source": source, "printed": out.getvalue()})
    return True


def execute_cell(source: str, file: str, names: dict[str, Any]) -> None:
    """Execute a cell; print the value of its last expression, as a notebook would show it.

    Examples
    --------
    >>> execute_cell("x = 2\\nx + 1", "cell.py", {})
    3
    """
    tree = ast.parse(source, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), file, "eval"), names)
        if value is not None:
            print(repr(value))


def stand_in_for_ipython() -> None:
    """Where IPython is missing, `display` prints; cells import it by name."""
    if importlib.util.find_spec("IPython") is not None:
        return
    module, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython = lambda: None  # type: ignore[attr-defined]
    display.display = lambda *items, **_: print(*map(repr, items))  # type: ignore[attr-defined]
    module.display = display  # type: ignore[attr-defined]
    sys.modules |= {"IPython": module, "IPython.display": display}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
