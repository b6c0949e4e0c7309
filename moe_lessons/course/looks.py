"""How the course's blocks and verdicts look: each has a symbol, a word and a colour; type has three sizes.

The colours are mid-tones: white on them has a contrast of 4.5, and they have 3 against white paper and dark.
So one set serves both themes where no style sheet reaches (Colab, VS Code, a notebook that is not trusted).
Symbol and word remain where styles are stripped (GitHub).
"""

import html
from dataclasses import dataclass

TEXT, TITLE, SMALL = "1em", "1.15em", ".85em"
"""The sizes of type in what the course shows as HTML."""

WIDTH = "46em"
"""The width of text; pictures may be wider."""


@dataclass(frozen=True)
class Mark:
    """What something is recognised by.

    Examples
    --------
    >>> print(Mark("✔", "Passed", "#1a7f37"))
    ✔ Passed
    """

    symbol: str
    word: str
    color: str

    def __str__(self) -> str:
        return f"{self.symbol} {self.word}"


BLOCKS = {
    "predict": Mark("◇", "Predict", "#7a52b8"),
    "experiment": Mark("▷", "Experiment", "#2b6cb0"),
    "exercise": Mark("✎", "Exercise", "#a35200"),
    "puzzle": Mark("❖", "Puzzle", "#b0327f"),
    "change": Mark("↻", "Change this", "#0f7478"),
    "claim": Mark("❝", "Claim", "#5a6b7f"),
    "quiz": Mark("☑", "Check yourself", "#6f6c00"),
}
"""The blocks of a lesson; `binder/labextension/blocks.css` has the same colours."""

RESULTS = {
    "passed": Mark("✔", "Passed", "#1a7f37"),
    "failed": Mark("✘", "Not right yet", "#b4472f"),
    "not attempted": Mark("○", "Not attempted yet", "#646b76"),
}
"""What came of an exercise."""

VERDICTS = {
    "correct": Mark("✔", "Correct", "#1a7f37"),
    "imprecise": Mark("≈", "Imprecise", "#8a6100"),
    "outdated": Mark("◷", "Outdated", "#5f6b7a"),
    "wrong": Mark("✘", "Wrong", "#b4472f"),
    "contested": Mark("⇄", "Contested", "#7a52b8"),
    "unconfirmable": Mark("?", "Unconfirmable", "#646b76"),
}
"""What the sources say about a claim."""

SHOWN = {True: Mark("✔", "shown here", "#1a7f37"), False: Mark("✘", "not shown here", "#b4472f")}
"""Whether an experiment supports a verdict."""


def chip(mark: Mark, text: str = "") -> str:
    """A mark as a coloured chip, on HTML's own ground so that it can be read in either theme.

    Examples
    --------
    >>> "✔ Passed</span>" in chip(RESULTS["passed"])
    True
    """
    return (
        f'<span style="background-color:{mark.color};color:#ffffff;border-radius:3px;padding:.1em .5em;'
        f'margin-right:.5em;font-weight:600;white-space:nowrap">{html.escape(text or str(mark))}</span>'
    )


def outlined(mark: Mark) -> str:
    """A mark as a chip of second rank: an outline, and the page's own ink."""
    return (
        f'<span style="border:1px solid {mark.color};border-radius:3px;padding:.05em .45em;'
        f'white-space:nowrap">{mark}</span>'
    )
