"""A question with lettered options: text everywhere, buttons where widgets show."""

import html
import re
import string
from collections.abc import Callable
from typing import Any

from moe_lessons.course.show import Card, in_notebook, inline, show

_open: dict[str, Any] = {}
"""The widget of each question now on a page; running its cell again closes the one before."""


def letter(index: int) -> str:
    """``0`` is ``"a"``."""
    return string.ascii_lowercase[index]


def parse(answer: Any, n_options: int) -> int | None:
    """An answer as an index: a letter or a number from 0; None if it is neither.

    Examples
    --------
    >>> parse("b", 3), parse("B) ", 3), parse(2, 3), parse("z", 3)
    (1, 1, 2, None)
    """
    if isinstance(answer, str):
        found = re.fullmatch(r"([a-z])\b.*", answer.strip().lower())
        answer = string.ascii_lowercase.index(found[1]) if found else None
    in_range = isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < n_options
    return answer if in_range else None


def question_card(title: str, question: str, options: tuple[str, ...], how: str) -> Card:
    """The question with its options, and how to answer where there are no buttons."""
    lines = [f"  {letter(i)}) {option}" for i, option in enumerate(options)]
    # Written out: JupyterLab drops the type of a list, and the buttons carry letters.
    items = "".join(f"<div>{letter(i)}) {inline(option)}</div>" for i, option in enumerate(options))
    body = f"<strong>{title}.</strong> {inline(question)}"
    if options:
        body += f'<div style="margin:.3em 0 .3em 1em">{items}</div>'
    body += (
        f'<div style="opacity:.7;font-size:.85em">Answer below, or with <code>{html.escape(how)}</code></div>'
    )
    return Card("\n".join([f"{title}. {question}", *lines, f"  Answer with {how}"]), body)


def buttons(id: str, n_options: int, label: str, on_answer: Callable[[int], str]) -> None:
    """Show one button per letter and one to submit; ``on_answer`` returns what to show after."""
    if not in_notebook():
        return
    import ipywidgets as widgets

    # Not ToggleButtons: of those, a screen reader cannot say which one is chosen.
    choice = widgets.RadioButtons(
        options=[(letter(i), i) for i in range(n_options)],
        value=None,
        orientation="horizontal",
        layout=widgets.Layout(width="auto"),
    )
    submit = widgets.Button(description=label, disabled=True)
    row = widgets.HBox([choice, submit], layout=widgets.Layout(align_items="baseline"))
    said = widgets.HTML()

    def chosen(change: Any) -> None:
        submit.disabled = choice.value is None

    def submitted() -> None:
        if choice.value is not None:
            said.value = on_answer(choice.value)

    choice.observe(chosen, "value")
    submit.on_click(_after_changes(submitted))
    _replace(id, widgets.VBox([row, said]))


def number(id: str, label: str, on_answer: Callable[[str], str]) -> None:
    """Show a field for a number and a button; ``on_answer`` gets the text and returns what to show."""
    if not in_notebook():
        return
    import ipywidgets as widgets

    field = widgets.Text(
        description="Your number", placeholder="such as 0.25", style={"description_width": "initial"}
    )
    submit = widgets.Button(description=label)
    said = widgets.HTML()

    def submitted() -> None:
        said.value = on_answer(field.value)

    submit.on_click(_after_changes(submitted))
    _replace(id, widgets.VBox([widgets.HBox([field, submit]), said]))


def _after_changes(act: Callable[[], None]) -> Callable[[Any], None]:
    """Put a click off until everything has arrived that was changed on the page before it.

    While the kernel is busy the page holds changes back, but no clicks: a second choice would come after the
    click that was to submit it. So the kernel has the page answer, which sends what it held back first.
    """
    import ipywidgets as widgets

    asked, answered = widgets.IntText(), widgets.IntText()  # never shown
    widgets.jsdlink((asked, "value"), (answered, "value"))  # what links them runs in the page
    answered.observe(lambda change: act(), "value")

    def clicked(_: Any) -> None:
        asked.value += 1

    return clicked


def _replace(id: str, box: Any) -> None:
    previous = _open.pop(id, None)
    if previous is not None:
        previous.close()
    _open[id] = box
    show(box)
