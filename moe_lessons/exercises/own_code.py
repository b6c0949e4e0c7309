"""Whether an answer is the learner's own, and whether it stands alone in its cell."""

import ast
import builtins
import dis
import functools
import linecache
import types
from collections.abc import Callable, Iterator
from typing import Any

from moe_lessons.exercises.answers import PRELUDE


def borrowed(answer: Callable[..., Any], forbidden: tuple[str, ...]) -> str | None:
    """Name the forbidden thing that ``answer`` uses, or None.

    Follows the globals that the function's code names, through helper functions of the learner's own.
    Good enough for feedback; a grader does not mount the modules at all.

    Examples
    --------
    >>> from moe_lessons.exercises.registry import lessons
    >>> borrowed(lessons, ("moe_lessons",))
    'moe_lessons.exercises.registry.lessons'
    >>> borrowed(max, ("moe_lessons",)) is None
    True
    """
    seen: set[int] = set()
    pending: list[Any] = [answer]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        name = _full_name(thing)
        if any(name == module or name.startswith(module + ".") for module in forbidden):
            return name
        if isinstance(thing, types.FunctionType):
            for code in _codes(thing.__code__):
                for imported in _imports(code):
                    if any(imported == m or imported.startswith(m + ".") for m in forbidden):
                        return imported
                pending += [thing.__globals__[n] for n in _global_names(code) if n in thing.__globals__]
            pending += [cell.cell_contents for cell in thing.__closure__ or () if _filled(cell)]
            pending.append(getattr(thing, "__wrapped__", None))
        elif isinstance(thing, types.MethodType):
            pending.append(thing.__func__)
        elif isinstance(thing, functools.partial):
            pending.append(thing.func)
        elif type(thing).__module__.startswith("triton."):
            pending.append(getattr(thing, "fn", None))  # a kernel holds the function that it was made of
    return None


def from_other_cells(answer: Any) -> list[str]:
    """Names in an answer's cell that only other cells define: a grader reads the answer's cell alone.

    Examples
    --------
    >>> from moe_lessons.exercises.registry import lessons
    >>> from_other_cells(lessons), from_other_cells(max)
    ([], [])
    """
    if not isinstance(answer, types.FunctionType):
        return []
    try:
        cell = ast.parse("".join(linecache.getlines(answer.__code__.co_filename)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    known = _bound(cell) | _bound(ast.parse(PRELUDE)) | set(dir(builtins))
    used = {node.id for node in ast.walk(cell) if isinstance(node, ast.Name)}
    return sorted(name for name in used - known if name in answer.__globals__)


def _bound(tree: ast.AST) -> set[str]:
    """Names that a text defines somewhere, as what and where does not matter."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
    return names


def _full_name(thing: Any) -> str:
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    try:
        module = getattr(thing, "__module__", None)
        name = getattr(thing, "__qualname__", type(thing).__name__)
    except Exception:  # some objects answer to attributes with errors of their own
        return ""
    return f"{module}.{name}" if isinstance(module, str) else ""


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _imports(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)


def _global_names(code: types.CodeType) -> Iterator[str]:
    # Not co_names: those hold attributes too, and `span.start` is not the `start` of the set-up cell.
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
