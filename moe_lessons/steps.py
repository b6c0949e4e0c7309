"""Where something slow has got to: loops say it here, and whoever shows progress reads it.

Nothing is printed: elsewhere than in a notebook a loop costs what it always did. A lesson shows these places
while a cell runs (``moe_lessons.course.waiting``).
"""

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")

_open: list["Place"] = []


@dataclass(eq=False)
class Place:
    """One loop's place, open while its `with` block runs.

    Loops of other threads than the main one say nothing: they would stand in each other's places.

    Examples
    --------
    >>> with Place("step", 200) as place:
    ...     place.number = 40
    ...     print(where())
    step 40 of 200
    """

    what: str
    total: int
    number: int = field(default=0, init=False)

    def __enter__(self) -> "Place":
        if threading.current_thread() is threading.main_thread():
            _open.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self in _open:
            _open.remove(self)

    def __str__(self) -> str:
        return f"{self.what} {self.number:,} of {self.total:,}"


def each(items: Collection[Item], what: str) -> Iterator[Item]:
    """Go through items, and let it be seen which one is next.

    Parameters
    ----------
    items : collection
        Something with a length: a range, a list, a dictionary.
    what : str
        What one of them is, in the singular: ``"seed"``.

    Examples
    --------
    >>> for seed in each(range(2), "seed"):
    ...     for step in each(range(10, 12), "step"):
    ...         print(where())
    seed 1 of 2, step 1 of 2
    seed 1 of 2, step 2 of 2
    seed 2 of 2, step 1 of 2
    seed 2 of 2, step 2 of 2
    """
    with Place(what, len(items)) as place:
        for item in items:
            place.number += 1
            yield item


def where() -> str:
    """Every open place, the outermost first; empty where nothing is under way."""
    return ", ".join(map(str, _open.copy()))


def share_done() -> float | None:
    """How much of the outermost loop is behind, from 0 to 1, the inner ones counted in.

    None where no loop is open.

    Examples
    --------
    >>> for _ in each(range(4), "seed"):
    ...     for _ in each(range(2), "step"):
    ...         print(share_done(), end=";")
    0.0;0.125;0.25;0.375;0.5;0.625;0.75;0.875;
    """
    places = _open.copy()
    if not places:
        return None
    share = 0.0
    for place in reversed(places):
        share = min(1.0, (max(place.number - 1, 0) + share) / max(place.total, 1))
    return share


def forget() -> None:
    """Close every place: a loop that one cell left half-way is no place of the next one."""
    _open.clear()
