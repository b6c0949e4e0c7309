"""Where Triton is missing, the cells that need it say so in one line, and the notebook goes on."""

import ast
import dis
import importlib
import types
from collections.abc import Iterator

LINE = "Skipped: this cell needs Triton, which exists for Linux only."


def install() -> None:
    """Have this notebook skip such cells from now on."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None and not any(isinstance(t, SkipCells) for t in shell.ast_transformers):
        shell.ast_transformers.append(SkipCells())


class SkipCells:
    """Replaces a cell that needs what cannot be imported, or a name that such a cell would have made.

    IPython calls `visit` with each cell's syntax tree, and runs the tree that comes back.

    Examples
    --------
    >>> skip = SkipCells(("nowhere",))
    >>> for cell in ("import nowhere; x = nowhere.y", "print(x)", "x = 1", "print(x)"):
    ...     exec(compile(skip.visit(ast.parse(cell)), "<cell>", "exec"))
    Skipped: this cell needs Triton, which exists for Linux only.
    Skipped: this cell needs Triton, which exists for Linux only.
    1
    """

    def __init__(self, packages: tuple[str, ...] = ("triton", "moe_lessons")) -> None:
        self.packages = packages
        self.lost: set[str] = set()

    def visit(self, cell: ast.Module) -> ast.Module:
        """Return the cell, or one that says that it was skipped."""
        code = compile(ast.unparse(cell), "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        made = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}
        if self._needs(code, made):
            self.lost |= made
            return ast.parse(f"print({LINE!r})")
        self.lost -= made
        return cell

    def _needs(self, code: types.CodeType, made: set[str]) -> bool:
        stored: set[str] = set()
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname == "STORE_NAME":
                stored.add(name)
            elif instruction.opname == "LOAD_NAME" and name in self.lost - stored:
                return True
        globals_used = {name for inner in _inner(code) for name in _loaded_globals(inner)}
        return bool(globals_used & self.lost - made) or any(map(self._cannot_import, _imported(code)))

    def _cannot_import(self, name: str) -> bool:
        if name.split(".")[0] not in self.packages:
            return False
        try:
            importlib.import_module(name)
        except ImportError:
            return True
        return False


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inner(constant)


def _loaded_globals(code: types.CodeType) -> Iterator[str]:
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))


def _imported(code: types.CodeType) -> Iterator[str]:
    for part in (code, *_inner(code)):
        yield from (i.argval for i in dis.get_instructions(part) if i.opname == "IMPORT_NAME")
