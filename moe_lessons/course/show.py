"""Showing things: a card that is HTML in a notebook and text everywhere else."""

import functools
import html
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

from moe_lessons.course.looks import WIDTH

_STYLE = (
    "border:1px solid {0};border-left-width:6px;border-radius:4px;padding:.6em 1em;"
    "margin:.3em 0;max-width:{1};line-height:1.45"
)

P = ParamSpec("P")


class Card:
    """A text and its HTML twin; a front end shows whichever it can.

    Parameters
    ----------
    text, body : str
    color : str
        Of the frame: that of the block or of the verdict.

    Examples
    --------
    >>> Card("two words", "<p>two words</p>")
    two words
    """

    def __init__(self, text: str, body: str, color: str = "currentColor") -> None:
        self.text = text
        self.body = body
        self.color = color

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div style="{_STYLE.format(self.color, WIDTH)}">{self.body}</div>'


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code (rather than plain Python or a terminal)."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def show(item: Any) -> None:
    """Display an object in a notebook; print its text elsewhere."""
    if in_notebook():
        from IPython.display import display

        display(item)
    else:
        say(item)


def say(line: Any, end: str = "\n") -> None:
    """Print, with "?" for characters that the terminal cannot show (a tick on an old Windows console)."""
    try:
        print(line, end=end)
    except UnicodeEncodeError:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        print(str(line).encode(encoding, "replace").decode(encoding), end=end)


def count(number: int, noun: str) -> str:
    """A number with its noun.

    Examples
    --------
    >>> count(1, "point"), count(2, "point")
    ('1 point', '2 points')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def never_raises(function: Callable[P, None]) -> Callable[P, None]:
    """Say in one line what went wrong: a lesson goes on whatever happens in a cell of ours.

    Examples
    --------
    >>> never_raises(lambda x: print(1 / x))(0)  # doctest: +ELLIPSIS
    <lambda> could not finish (ZeroDivisionError: division by zero). Nothing is lost; ...
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            name, names = function.__name__, ", ".join(signature.parameters)
            say(f"{name}: {error}. It is called as {name}({names}); help({name}) says more.")
            return
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            say(f"{function.__name__} was stopped by you. Nothing is lost; run the cell again.")
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".split("\n")[0]
            again = "run the cell again, and if it says the same, restart the kernel"
            say(f"{function.__name__} could not finish ({problem}). Nothing is lost; {again}.")

    return call


def inline(markdown: str) -> str:
    """The little Markdown that specs use (`code`, *emphasis*, links) as HTML.

    Examples
    --------
    >>> inline("`x * y * z` is *not* 2 * x * y")
    '<code>x * y * z</code> is <em>not</em> 2 * x * y'
    """
    # Between back-quotes (odd places) an asterisk is a product.
    pieces = re.split(r"`([^`]+)`", html.escape(markdown, quote=False))
    return "".join(f"<code>{p}</code>" if i % 2 else _prose(p) for i, p in enumerate(pieces))


def link(address: str, text: str) -> str:
    """A link that leaves the notebook, as HTML: underlined, so that not colour alone tells it from the text.

    Examples
    --------
    >>> link("https://d2l.ai", "D2L")
    '<a href="https://d2l.ai" target="_blank" rel="noopener" style="text-decoration:underline">D2L</a>'
    """
    return f'<a href="{address}" target="_blank" rel="noopener" style="text-decoration:underline">{text}</a>'


def _prose(escaped: str) -> str:
    linked = re.sub(r"\[([^\]]+)\]\((https?://[^\s()]+)\)", link(r"\2", r"\1"), escaped)
    return re.sub(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])", r"<em>\1</em>", linked)
