"""Showing things: a card that is HTML in a notebook and text everywhere else."""

import html
import re
from typing import Any

_STYLE = (
    "border:1px solid currentColor;border-left-width:6px;border-radius:4px;padding:.6em 1em;"
    "margin:.3em 0;max-width:720px;line-height:1.45"
)


class Card:
    """A text and its HTML twin; a front end shows whichever it can.

    Examples
    --------
    >>> Card("two words", "<p>two words</p>")
    two words
    """

    def __init__(self, text: str, body: str) -> None:
        self.text = text
        self.body = body

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div style="{_STYLE}">{self.body}</div>'


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
        print(item)


def inline(markdown: str) -> str:
    """The little Markdown that specs use (`code`, *emphasis*) as HTML.

    Examples
    --------
    >>> inline("`x < y` is *not* enough")
    '<code>x &lt; y</code> is <em>not</em> enough'
    """
    escaped = html.escape(markdown, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"<em>\1</em>", escaped)
