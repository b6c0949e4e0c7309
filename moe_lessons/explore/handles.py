"""What a picture marks for the page: handles to drag, things to click, and who is who from frame to frame."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Along:
    """A straight line on which a handle moves: at pixel ``pixels[0]`` a control stands at ``values[0]``.

    Pixels are those of the group in which the handle is drawn.
    """

    control: str
    pixels: tuple[float, float]
    values: tuple[float, float]


@dataclass(frozen=True)
class Around:
    """A direction and a distance from the origin of the group in which the handle is drawn.

    The angle counts in degrees, counter-clockwise from the right; one unit of the length is ``unit`` pixels.
    """

    angle: str
    length: str
    unit: float


def handle(
    name: str,
    at: dict[str, float],
    *,
    x: Along | None = None,
    y: Along | None = None,
    around: Around | None = None,
    first: dict[str, Any] | None = None,
) -> dict[str, str | float]:
    """Return the attribute that makes an element a handle.

    Parameters
    ----------
    name : str
        What is dragged, for a screen reader; no two handles of a picture share it.
    at : dict
        The values at which it stands now, by control.
    x, y : Along, optional
        The controls that follow the pointer across and upwards.
    around : Around, optional
        In their place: the controls that follow its direction and distance.
    first : dict, optional
        Values that taking hold of it sets first, such as which expert is meant.

    Examples
    --------
    >>> handle("the line", {"factor": 1}, x=Along("factor", (0, 100), (0.5, 2.5)))["data_handle"][:51]
    '{"name": "the line", "at": {"factor": 1}, "x": {"co'
    """
    marks: dict[str, Any] = {"name": name, "at": at}
    for axis, line in (("x", x), ("y", y)):
        if line is not None:
            marks[axis] = {"control": line.control, "pixels": line.pixels, "values": line.values}
    if around is not None:
        marks["around"] = {"angle": around.angle, "length": around.length, "unit": around.unit}
    if first:
        marks["first"] = first
    return {"data_handle": json.dumps(marks)}


def pick(**values: Any) -> dict[str, str | float]:
    """Return the attribute that lets a click on an element set controls.

    Examples
    --------
    >>> pick(Token=3)
    {'data_pick': '{"Token": 3}'}
    """
    return {"data_pick": json.dumps(values)}


def keyed(key: str, origin: str = "") -> dict[str, str | float]:
    """Return the attributes by which an element is the same one in the next frame, or comes from another.

    Examples
    --------
    >>> keyed("sorted 11", "slots 11")
    {'data_key': 'sorted 11', 'data_from': 'slots 11'}
    """
    marks: dict[str, str | float] = {"data_key": key}
    return marks | {"data_from": origin} if origin else marks
