"""Which forbidden module an answer uses, read from the text of its cell before anything of it runs."""

import ast
from collections.abc import Iterator

from moe_lessons.exercises import cells


def forbidden_import(code: str, entry: str, forbidden: tuple[str, ...]) -> str | None:
    """The first forbidden module that an answer's function needs, or None.

    A cell that was merged with its check, or with the lesson's next one, imports what its function does not
    use; that costs nothing.

    Examples
    --------
    >>> taken = "from moe_lessons.routing import topk_routing"
    >>> forbidden_import(f"{taken}\\ndef f(x):\\n    return topk_routing(x)", "f", ("moe_lessons",))
    'moe_lessons.routing.topk_routing'
    >>> forbidden_import(f"{taken}\\ndef f(x):\\n    return x", "f", ("moe_lessons",)) is None
    True
    """
    tree = cells.tree(code)
    if tree is None:
        return None  # whoever runs it says what is wrong with it
    statements = [(statement, set(cells.bound(statement))) for statement in tree.body]
    pending, seen = [entry, "*"], set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for statement, bound in statements:
            if name not in bound:
                continue
            for imported, as_name in _imported(statement):
                taken = any(imported == module or imported.startswith(module + ".") for module in forbidden)
                if taken and (as_name in seen or _inside(statement)):
                    return imported
            pending += cells.free(statement) - seen
    return None


def _inside(statement: ast.stmt) -> bool:
    """Whether a statement's imports stand in something that it defines, rather than at the cell's top."""
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _imported(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """What is imported in a statement, and the name that it gets."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (alias.asname or alias.name).split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", alias.asname or alias.name
