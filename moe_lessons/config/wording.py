"""How a wrong setting is refused: value and remedy, the nearest name, the difference."""

import difflib
from collections.abc import Sequence
from typing import Any


def require(condition: bool, name: str, value: object, remedy: str) -> None:
    """Raise a ValueError that names argument, value and remedy, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name}={value}: {remedy}")


def nearest(word: str, choices: Sequence[str]) -> str:
    """Return the choice that looks most like a word, or all choices if none does.

    Examples
    --------
    >>> nearest("cpu_tiny", ["cpu-tiny", "lesson"])
    "did you mean 'cpu-tiny'?"
    """
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(choices)}"


def difference(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """List the entries in which two nested dictionaries differ, as ``name: theirs -> ours``.

    Examples
    --------
    >>> difference({"a": 1, "model": {"top_k": 2}}, {"a": 1, "model": {"top_k": 1}})
    ['model.top_k: 1 -> 2']
    """
    lines: list[str] = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            lines += difference(mine, other, f"{prefix}{name}.")
        elif mine != other:
            lines.append(f"{prefix}{name}: {other} -> {mine}")
    return lines
