"""The API reference: a page for each room of the package, on which autodoc describes what the room offers.

A room offers what its `__init__` lists; where it lists nothing, what its modules define and do not hide.
"""

import ast
import functools

from moe_lessons.build import paths, rooms

# The course's own machinery: what it is for stands in ARCHITECTURE.md, and nobody imports it.
LEFT_OUT = {"build", "commands", "front", "grade", "lab", "lazy", "own", "__main__"}

# Of these rooms only what someone who writes a lesson uses.
ONLY = {"exercises": ("puzzle", "registry", "spec"), "explore": ("base",)}

_OPENING = """``moe_lessons``, room by room: what each offers to import. Tensors carry their axes in their
names: T tokens, D model width, F expert hidden width, E experts, K experts chosen per token, S = T*K routed
rows, B sequences, L their length, V vocabulary. Every example on these pages is run by the tests.
"""

_DIRECTIVES = {
    ast.FunctionDef: "autofunction:: {}\n",
    ast.ClassDef: "autoclass:: {}\n   :members:\n",
    ast.Assign: "autodata:: {}\n   :no-value:\n",
}


def pages() -> dict[str, str]:
    """The reference's pages in reStructuredText, by name."""
    offered = {room: offers(room) for room in sorted(rooms.arrows()) if room not in LEFT_OUT}
    found = {room: _page(room, modules) for room, modules in offered.items() if modules}
    return {"index": _index(list(found))} | found


def offers(room: str) -> dict[str, list[str]]:
    """The modules that define what a room offers, each with the names it defines, in their order there.

    Examples
    --------
    >>> offers("balancing")["moe_lessons.balancing.losses"][:2]
    ['load_balancing_loss', 'z_loss']
    """
    package = f"moe_lessons.{room}"
    listed = set() if room in ONLY else listed_names(package)
    modules = [f"{package}.{name}" for name in ONLY[room]] if room in ONLY else _own_modules(package)
    if listed:
        modules = sorted({rooms.defining(_origin(package, name)) for name in listed})
    found = {}
    for module in modules:
        names = [name for name in _defined(module) if (name in listed if listed else name[0] != "_")]
        if names:
            found[module] = names
    return found


def listed_names(module: str) -> set[str]:
    """The names in a module's `__all__`, or that it offers lazily; read, not imported."""
    path = rooms.modules()[module]
    lazily = set(rooms.lazy_names(path.parent)) if path.name == "__init__.py" else set()
    for node in _body(module):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = node.value.elts if isinstance(node.value, ast.List) else []
            lazily |= {str(item.value) for item in listed if isinstance(item, ast.Constant)}
    return lazily


def first_line(name: str) -> str:
    """The first sentence of a module's docstring, read without importing it.

    Examples
    --------
    >>> first_line("moe_lessons.lazy")[:40]
    'Names that load their module only when t'
    """
    doc = ast.get_docstring(ast.Module(_body(name), [])) or ""
    return " ".join(doc.partition("\n\n")[0].split())


@functools.cache
def _body(module: str) -> list[ast.stmt]:
    return ast.parse(rooms.modules()[module].read_text(encoding="utf-8")).body


def _own_modules(package: str) -> list[str]:
    """A room that is one file, or all its modules without an underscore."""
    inside = [name for name in rooms.modules() if name.startswith(f"{package}.")]
    return [name for name in inside if not name.rpartition(".")[2].startswith("_")] or [package]


def _origin(package: str, name: str) -> str:
    """Where a package has a name from: the module that it imports it from at its top, or loads it from."""
    for node in _body(package):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return f"{node.module}.{alias.name}"
    return f"{package}.{name}"


def _defined(module: str) -> dict[str, type[ast.stmt]]:
    """What a module defines with a docstring: functions, classes, and names with a text below them."""
    found: dict[str, type[ast.stmt]] = {}
    body = _body(module)
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            found[node.name] = type(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_text(below):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = ast.Assign
    return found


def _is_text(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _index(names: list[str]) -> str:
    about = "\n".join(f"* :doc:`{name}`: {_escaped(first_line(f'moe_lessons.{name}'))}" for name in names)
    entries = "\n".join(f"   {name}" for name in names)
    return f"{_title('API reference', '=')}\n{_OPENING}\n{about}\n\n.. toctree::\n   :hidden:\n\n{entries}\n"


def _page(room: str, modules: dict[str, list[str]]) -> str:
    """A room's page. Objects are described where they are defined, which is also where their source is."""
    parts = [_title(room, "="), _escaped(first_line(f"moe_lessons.{room}")) + "\n"]
    for module, names in modules.items():
        if module != f"moe_lessons.{room}":
            parts += [_title(module.removeprefix("moe_lessons."), "-"), _escaped(first_line(module)) + "\n"]
        parts += [f".. {_DIRECTIVES[_defined(module)[name]].format(f'{module}.{name}')}" for name in names]
    return "\n".join(parts)


def _title(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n"


def _escaped(text: str) -> str:
    return text.replace("*", r"\*")


def source_url(module: str, line: int, last: int) -> str:
    """Where the repository shows some lines of a module."""
    file = rooms.modules()[module].relative_to(paths.ROOT).as_posix()
    return f"https://github.com/{paths.slug()}/blob/main/{file}#L{line}-L{last}"
