"""The parts of ARCHITECTURE.md that are made: the picture of the rooms, and what each is for."""

import ast
from collections.abc import Mapping

from moe_lessons.build import paths, rooms
from moe_lessons.build.readme import between


def filled(text: str) -> str:
    """The page with its made parts up to date; everything outside their markers is left as it is."""
    arrows = rooms.arrows()
    text = between(text, "picture", f"```mermaid\n{_flowchart(arrows)}\n```")
    return between(text, "rooms", _table(arrows))


def reduced(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each arrow that another way makes up for, so that a picture can be read.

    Examples
    --------
    >>> {room: sorted(below) for room, below in reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}).items()}
    {'a': ['b'], 'b': ['c'], 'c': []}
    """
    reach = {name: rooms.reached(name, arrows) for name in arrows}
    return {
        name: {one for one in below if not any(one in reach[other] for other in below)}
        for name, below in arrows.items()
    }


def _flowchart(arrows: Mapping[str, set[str]]) -> str:
    lines = ["flowchart TD"]
    for name, below in sorted(reduced(arrows).items()):
        lines += [f"  {_node(name)} --> {_node(one)}" for one in sorted(below)] or [f"  {_node(name)}"]
    return "\n".join(lines)


def _node(name: str) -> str:
    return name if name != "__main__" else 'start["python -m moe_lessons"]'


def _table(arrows: Mapping[str, set[str]]) -> str:
    rows = ["| Room | What it is for | Imports |", "|---|---|---|"]
    for name in sorted(arrows, key=lambda room: (len(rooms.reached(room, arrows)), room)):
        file = rooms.modules()[f"moe_lessons.{name}"]
        said = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
        link = (file.parent if file.name == "__init__.py" else file).relative_to(paths.ROOT).as_posix()
        below = ", ".join(f"`{one}`" for one in sorted(arrows[name])) or "nothing"
        rows.append(f"| [`{name}`]({link}) | {said} | {below} |")
    return "\n".join(rows)
