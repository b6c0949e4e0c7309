"""What an answer cell needs of its notebook's other cells: definitions that it names, and nothing else."""

import ast
import builtins
import copy
from collections.abc import Sequence
from functools import lru_cache

from moe_lessons.exercises import cells

_GIVEN = {*dir(builtins), "math", "np", "torch", "F", "__name__", "get_ipython"}
_DEFINITIONS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
)


def needed(source: str, others: Sequence[str], parts: Sequence[str] = ()) -> str:
    r"""Definitions from other cells that a cell names without making them, in the notebook's order.

    Parameters
    ----------
    source : str
        The answer cell.
    others : sequence of str
        The notebook's other code cells.
    parts : sequence of str
        Cells that belong to the answer whether it names them or not.

    Examples
    --------
    >>> needed("def f(x):\n    return g(x)", ["def g(x):\n    return x", "print(1)"])
    'def g(x):\n    return x'
    """
    tree = cells.tree(source)
    whole = [part for text in parts if (part := cells.tree(text)) is not None]
    if tree is None:
        return "\n".join(map(ast.unparse, whole))
    kept = [statement for part in whole for statement in part.body]
    pending: list[ast.AST] = [tree, *whole]
    named = [cells.names(part) for part in pending]
    own = set().union(*(made for _, made in named))
    wanted = set().union(*(used for used, _ in named)) - own - _GIVEN
    if not wanted:
        return "\n".join(map(ast.unparse, kept))
    # Later cells replace what earlier ones defined.
    found = [pair for text in others for pair in _defined(text)]
    defined = {name: place for place, (_, names) in enumerate(found) for name in names}
    chosen: set[int] = set()
    while wanted:
        place = defined.get(wanted.pop())
        if place is not None and place not in chosen:
            chosen.add(place)
            wanted |= cells.free(found[place][0]) - own - _GIVEN
    return "\n".join(map(ast.unparse, [*(found[place][0] for place in sorted(chosen)), *kept]))


@lru_cache(maxsize=512)
def _defined(text: str) -> list[tuple[ast.stmt, list[str]]]:
    tree = cells.tree(text)
    definitions = [one for one in tree.body if isinstance(one, _DEFINITIONS)] if tree is not None else []
    return [(_undecorated(one), list(cells.bound(one))) for one in definitions]


def _undecorated(one: ast.stmt) -> ast.stmt:
    """A puzzle's function without the decorator that judges it; an answer that calls it needs the rest."""
    if not isinstance(one, ast.FunctionDef) or not any(map(_judges, one.decorator_list)):
        return one
    plain = copy.copy(one)  # the tree is kept, and others read it
    plain.decorator_list = [mark for mark in one.decorator_list if not _judges(mark)]
    return plain


def _judges(mark: ast.expr) -> bool:
    return isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "puzzle"
