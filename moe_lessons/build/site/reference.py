"""The API reference: a page for each room of the package, on which autodoc describes its public modules."""

import ast
from pathlib import Path

from moe_lessons.build import rooms

# The course's own machinery: what it is for stands in ARCHITECTURE.md, and nobody imports it.
LEFT_OUT = {"build", "commands", "front", "grade", "lab", "own", "__main__"}

# Of these rooms only what someone who writes a lesson calls.
ONLY = {
    "course": {
        "checking",
        "claims",
        "shown",
        "changing",
        "predictions",
        "puzzles",
        "quizzes",
        "scores",
        "starting",
        "parts",
    },
    "exercises": {"spec", "puzzle", "registry"},
    "explore": {"base", "handles"},
}


def pages() -> dict[str, str]:
    """The reference's pages in reStructuredText, by name."""
    found = {room: modules for room in sorted(rooms.arrows()) if (modules := _modules(room))}
    return {"index": _index(list(found))} | {room: _page(room, modules) for room, modules in found.items()}


def _modules(room: str) -> list[str]:
    """The public modules of a room, in the order of their names; a package without code of its own is left out."""
    if room in LEFT_OUT:
        return []
    kept = []
    for name, path in rooms.modules().items():
        parts = name.split(".")[1:]
        if parts[:1] != [room] or any(part.startswith("_") for part in parts):
            continue
        if room in ONLY and (len(parts) != 2 or parts[1] not in ONLY[room]):
            continue
        if path.name != "__init__.py" or _defines(path):
            kept.append(name)
    return kept


def _defines(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


def _index(names: list[str]) -> str:
    entries = "\n".join(f"   {name}" for name in names)
    about = "\n".join(f"* :doc:`{name}`: {_escaped(first_line(f'moe_lessons.{name}'))}" for name in names)
    return (
        f"{_title('API reference', '=')}\n"
        "``moe_lessons``, room by room. Tensors carry their axes in their names: T tokens, D model width, F expert\n"
        "hidden width, E experts, K experts chosen per token, S = T*K routed rows, B sequences, L their length,\n"
        "V vocabulary. Every example on these pages is run by the tests.\n\n"
        f"{about}\n\n.. toctree::\n   :hidden:\n\n{entries}\n"
    )


def _page(room: str, modules: list[str]) -> str:
    about = _escaped(first_line(f"moe_lessons.{room}"))
    parts = [
        f"{_title(name.removeprefix('moe_lessons.'), '-')}\n.. automodule:: {name}\n   :members:\n   :show-inheritance:\n"
        for name in modules
    ]
    opening = _title(room, "=") if modules == [f"moe_lessons.{room}"] else f"{_title(room, '=')}\n{about}\n"
    return opening + "\n" + "\n".join(parts)


def first_line(name: str) -> str:
    """The first sentence of a module's docstring, read without importing it.

    Examples
    --------
    >>> first_line("moe_lessons.lazy")[:40]
    'Names that load their module only when t'
    """
    doc = ast.get_docstring(ast.parse(rooms.modules()[name].read_text(encoding="utf-8"))) or ""
    return " ".join(doc.partition("\n\n")[0].split())


def _title(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n"


def _escaped(text: str) -> str:
    return text.replace("*", r"\*")
