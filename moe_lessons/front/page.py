"""What both widgets of this room need: whether they can be made, and the files beside this one."""

from importlib.resources import files
from importlib.util import find_spec

from moe_lessons.svg import theme


def available() -> bool:
    """Whether anything here can come alive: whether anywidget is installed.

    Examples
    --------
    >>> available() in (True, False)
    True
    """
    return find_spec("anywidget") is not None


def source(name: str) -> str:
    """Read one of this room's files.

    Examples
    --------
    >>> "export default" in source("stage.js") and "export default" in source("card.js")
    True
    """
    return (files("moe_lessons.front") / name).read_text(encoding="utf-8")


def css(name: str) -> str:
    """Read a style sheet of this room, after the drawings' colours, which it goes by.

    Examples
    --------
    >>> "--moe-accent:" in css("stage.css")
    True
    """
    return theme.PAGE + "\n" + source(name)
