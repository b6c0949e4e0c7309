"""Who imports whom in the package: the rooms of its house, read from the sources without running them."""

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

from moe_lessons.build import paths


@functools.cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name, with its file; a package stands for its ``__init__``."""
    found = {}
    for path in sorted(paths.PACKAGE.rglob("*.py")):
        parts = path.relative_to(paths.PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(name: str) -> str:
    """The part of the package that a module lies in: a wing, or a single file at the root.

    Examples
    --------
    >>> room("moe_lessons.explore.router.view"), room("moe_lessons.layer"), room("moe_lessons")
    ('explore', 'layer', '')
    """
    return name.split(".")[1] if "." in name else ""


def imports(name: str) -> set[str]:
    """The modules of the package that a module imports, at its top or when a function runs.

    Examples
    --------
    >>> sorted(imports("moe_lessons.__main__"))
    ['moe_lessons.commands.cli']
    """
    return imported_by(modules()[name])


def imported_by(file: Path) -> set[str]:
    """The same of any file. A name that a package offers lazily leads to the module that defines it."""
    asked = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            asked += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            asked += [f"{node.module}.{alias.name}" for alias in node.names]
    return {defining(one) for one in asked if one.split(".")[0] == "moe_lessons"}


def defining(name: str) -> str:
    """The module that `name` is, or that defines it.

    Examples
    --------
    >>> defining("moe_lessons.MoELayer"), defining("moe_lessons.routing.gates.topk_softmax")
    ('moe_lessons.layer', 'moe_lessons.routing.gates')
    """
    if name in modules():
        return name
    package, _, last = name.rpartition(".")
    if package in modules() and modules()[package].name == "__init__.py":
        lazily = lazy_names(modules()[package].parent).get(last)
        if lazily is not None:
            return defining(f"{package}.{lazily}")
    return defining(package)


@functools.cache
def lazy_names(package: Path) -> dict[str, str]:
    """What a package offers lazily, and the module that defines it: its `_EXPORTS`, read, not imported."""
    init = package / "__init__.py"
    for node in ast.parse(init.read_text(encoding="utf-8")).body if init.is_file() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_EXPORTS":
            return ast.literal_eval(node.value)
    return {}


def arrows() -> dict[str, set[str]]:
    """For each room the rooms that it imports from."""
    found: dict[str, set[str]] = {}
    for name in modules():
        here = found.setdefault(room(name), set())
        here |= {room(imported) for imported in imports(name)} - {room(name), ""}
    del found[""]
    return found


def circles(arrows: Mapping[str, set[str]] | None = None) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others; one that imports itself too."""
    if arrows is None:
        arrows = {name: imports(name) for name in modules()}
    reach = {name: reached(name, arrows) for name in arrows}
    groups = {tuple(sorted({n for n in reach[name] if name in reach.get(n, ())})) for name in arrows}
    return sorted(list(group) for group in groups if group)


def reached(name: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """All that one gets to from `name` along the arrows, in one step or more."""
    found: set[str] = set()
    pending = list(arrows.get(name, ()))
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += arrows.get(one, ())
    return found
