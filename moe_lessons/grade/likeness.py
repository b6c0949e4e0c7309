"""What answers look like once names, comments and layout are taken away: equal looks are worth a look.

Advice for people. Short answers look alike by themselves, and a look never changes a grade.
"""

import ast
import hashlib

from moe_lessons.exercises import cells

SHORTEST = 30
"""Nodes of a syntax tree: what is shorter can hardly look different."""
LONGEST = 10_000
"""Characters: no answer needs a quarter of that, and whoever hides one in more is not found by its look."""


def looks(source: str, entry: str) -> tuple[str, str] | None:
    r"""Two digests of an answer: as it was written, and with all names replaced; None if it is short.

    Examples
    --------
    >>> one = "def f(x):\n    'Doc.'\n    total = 0\n    for y in x:\n        total += y * y + y * 3 - 7\n"
    >>> other = one.replace("total", "s").replace("'Doc.'", "# why\n    pass")
    >>> looks(one, "f")[0] == looks(other, "f")[0], looks(one, "f")[1] == looks(other, "f")[1]
    (False, True)
    """
    tree = cells.parsed(cells.read(source).code) if len(source) <= LONGEST else None
    if tree is None:
        return None
    try:
        body = [node for node in tree.body if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)]
        tree = _Bare().visit(ast.Module(body, []))
        if sum(1 for _ in ast.walk(tree)) < SHORTEST:
            return None
        written = ast.dump(tree)
        return _digest(written), _digest(ast.dump(_Renamed(tree, entry).visit(tree)))
    except RecursionError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


class _Bare(ast.NodeTransformer):
    """Without docstrings, annotations and statements that do nothing."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not _idle(one)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node


class _Renamed(ast.NodeTransformer):
    """With the names that the answer itself makes, replaced by their order of appearance."""

    def __init__(self, tree: ast.AST, entry: str) -> None:
        self._made = cells.names(tree)[1] - {entry}
        self._names: dict[str, str] = {}

    def _new(self, name: str) -> str:
        return self._names.setdefault(name, f"n{len(self._names)}") if name in self._made else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._new(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._new(node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._new(node.name)
        self.generic_visit(node)
        return node


def _idle(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
