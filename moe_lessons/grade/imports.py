"""Which forbidden module an answer cell imports, read from its text before anything of it runs."""

import ast
import warnings
from collections.abc import Iterator


def forbidden_import(code: str, forbidden: tuple[str, ...]) -> str | None:
    """The first forbidden module that a cell's import statements name, or None.

    Examples
    --------
    >>> forbidden_import("from moe_lessons.routing import topk_routing", ("moe_lessons",))
    'moe_lessons.routing.topk_routing'
    >>> forbidden_import("import torch", ("moe_lessons",)) is None
    True
    """
    for name in _imported(code):
        if any(name == module or name.startswith(module + ".") for module in forbidden):
            return name
    return None


def _imported(code: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the worker says what is wrong with it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
