"""A puzzle: one line to write before a steep exercise, on a tool that it needs. Nothing is graded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Slip:
    """A likely mistake: what someone who makes it returns, or stops with, and one sentence on it."""

    name: str
    message: str
    wrong: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """One puzzle; plain data and pure functions, as an exercise is."""

    id: str
    """Lesson number and name, such as ``"02.p_inverse"``."""
    question: str
    """At most three sentences of Markdown."""
    entry: str
    """Name of the function that the learner completes; no other cell of the lesson uses it."""
    inputs: tuple[Mapping[str, Any], Mapping[str, Any]]
    """By the names of the arguments: what is shown, and what is tried besides. Lists become tensors."""
    solution: Callable[..., Any]
    slips: tuple[Slip, ...]
    before: str
    """The exercise that it prepares."""
    minutes: float = 1.5
    plain: bool = False
    """Whether whole numbers may come as floats: where nothing is indexed with them."""

    def __post_init__(self) -> None:
        names = [list(given) for given in self.inputs]
        if names[0] != names[1]:
            raise ValueError(f"puzzle {self.id!r}: both inputs name the same arguments, in the same order")


def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fresh arguments of a puzzle's function: tensors for lists, numbers as they are.

    Examples
    --------
    >>> arguments({"counts_E": [2, 0], "size": 4})
    {'counts_E': tensor([2, 0]), 'size': 4}
    """
    return {name: torch.tensor(value) if isinstance(value, list) else value for name, value in given.items()}
