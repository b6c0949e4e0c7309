"""What every explorable shares: pure state and drawing, predictions that unlock it, text where widgets fail.

An explorable is three pure functions (``simulate``, ``draw``, ``static``) and a list of controls, each of
which turns parameters into other parameters. What shows it on a page is a `View`; ``widget.py`` has one and
registers it with `show_with`. Only that module knows of widgets.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from moe_lessons.course import store
from moe_lessons.front import asleep
from moe_lessons.svg import Drawing

P = TypeVar("P")


@dataclass(frozen=True)
class Slider(Generic[P]):
    """A number to drag: how to read it from the parameters and how to write it into them."""

    label: str
    low: float
    high: float
    step: float
    read: Callable[[P], float]
    write: Callable[[P, float], P]
    hint: str = ""
    say: Callable[[P], str] | None = None
    """How the value reads, with its unit; by default its digits."""
    play: bool = False
    """Whether it is a time that can run by itself."""


@dataclass(frozen=True)
class Choice(Generic[P]):
    """One of a few values to pick."""

    label: str
    options: tuple[tuple[str, Any], ...]
    read: Callable[[P], Any]
    write: Callable[[P, Any], P]
    hint: str = ""
    say: Callable[[P], str] | None = None
    """How a value reads that is none of the options."""


@dataclass(frozen=True)
class Switch(Generic[P]):
    """Something to turn on and off."""

    label: str
    read: Callable[[P], bool]
    write: Callable[[P, bool], P]
    hint: str = ""


@dataclass(frozen=True)
class Text(Generic[P]):
    """A line of text to type."""

    label: str
    read: Callable[[P], str]
    write: Callable[[P, str], P]
    hint: str = ""


@dataclass(frozen=True)
class Landmark(Generic[P]):
    """A button that jumps to an interesting place."""

    label: str
    hint: str
    go: Callable[[P], P]


@dataclass(frozen=True)
class Question:
    """A prediction to commit to before the controls unlock.

    Parameters
    ----------
    text : str
        The question.
    options : tuple of str
        What the learner may choose.
    truth : int
        Index of the option that the experiment bears out.
    because : str
        Why, in a sentence or two.
    """

    text: str
    options: tuple[str, ...]
    truth: int
    because: str

    def verdict(self, choice: int) -> str:
        """Prediction and truth together, as text.

        Examples
        --------
        >>> Question("2 + 2?", ("3", "4"), 1, "Count.").verdict(0)
        '✘ You predicted: 3. What happens: 4. Count.'
        """
        if choice not in range(len(self.options)):
            raise ValueError(f"choose 0 to {len(self.options) - 1}, not {choice!r}")
        sign = "✔" if choice == self.truth else "✘"
        said, true = (self.options[i].rstrip(".") for i in (choice, self.truth))
        return f"{sign} You predicted: {said}. What happens: {true}. {self.because}"


Control = Slider[P] | Choice[P] | Switch[P] | Text[P]


class View(Protocol):
    """What shows an explorable on a page and follows its parameters."""

    def refresh(self) -> None:
        """Redraw, and bring the controls in line with the parameters and the lock."""

    def close(self) -> None:
        """Leave the page."""

    def mime(self) -> dict[str, Any]:
        """Return the part of a display bundle that a front end turns into this view."""


ViewMaker = Callable[["Explorable[Any]"], View | None]
_makers: list[ViewMaker] = []


def show_with(make: ViewMaker) -> None:
    """Let `make` provide the view of an explorable; where it returns None, the static strip stands alone."""
    _makers[:] = [make]


class Explorable(ABC, Generic[P]):
    """An interactive picture, locked until its predictions are committed.

    Parameters
    ----------
    params : optional
        Where to start.
    locked : bool
        Whether the controls wait for a prediction.
    ask : bool
        Whether it asks its own questions; False leaves that to the caller, who calls ``unlock()``.
    on_commit : callable, optional
        Called with the question's index and the choice's index after each commitment.
    """

    name: ClassVar[str]
    questions: ClassVar[tuple[Question, ...]] = ()

    def __init__(
        self,
        params: P | None = None,
        *,
        locked: bool = True,
        ask: bool = True,
        on_commit: Callable[[int, int], None] | None = None,
    ) -> None:
        self.params: P = self.start() if params is None else params
        self.locked = locked
        self.asks = self.questions if ask and locked else ()
        self.choices: list[int] = []
        self._on_commit = on_commit
        self._view: View | None = None

    @staticmethod
    @abstractmethod
    def start() -> Any:
        """Return the parameters of the first frame."""

    @staticmethod
    @abstractmethod
    def simulate(params: Any) -> Any:
        """Compute the state; pure."""

    @staticmethod
    @abstractmethod
    def draw(state: Any) -> str:
        """Draw the state as SVG; pure."""

    @abstractmethod
    def controls(self) -> Sequence[Control[P]]:
        """List what can be dragged and picked."""

    def landmarks(self) -> Sequence[Landmark[P]]:
        """List the places worth a jump."""
        return ()

    def reveal(self, question: int) -> Drawing | None:
        """Show what happens, for the question just committed to."""
        return None

    @abstractmethod
    def static(self) -> Drawing:
        """Draw the key frames as one picture, for pages without a kernel."""

    def frame(self) -> str:
        """Draw the present parameters."""
        return self.draw(self.simulate(self.params))

    def set(self, params: P) -> None:
        """Move to other parameters and redraw whatever is on the page."""
        self.params = params
        if self._view is not None:
            self._view.refresh()

    def commit(self, choice: int) -> str:
        """Commit to an answer of the next open question; the last one unlocks the controls.

        Returns the verdict: prediction and truth together.
        """
        index = len(self.choices)
        if index >= len(self.asks):
            raise ValueError("every prediction is already committed")
        verdict = self.asks[index].verdict(choice)
        self.choices.append(choice)
        if self._on_commit is not None:
            self._on_commit(index, choice)
        if len(self.choices) == len(self.asks):
            self.unlock()
        return verdict

    def unlock(self) -> None:
        """Let the learner use the controls."""
        self.locked = False
        if self._view is not None:
            self._view.refresh()

    def waits(self, control: Control[P] | Landmark[P]) -> bool:
        """Whether a control waits for a prediction: all of them do, until the last one is committed."""
        return self.locked

    def close(self) -> None:
        """Take the widgets off the page."""
        if self._view is not None:
            self._view.close()
            self._view = None

    @property
    def _hides(self) -> bool:
        """Whether the key frames would answer a prediction that is still open; a published page has none."""
        return self.locked and not store.is_apart()

    def __repr__(self) -> str:
        what = f"{self.name} (interactive in Jupyter: run this cell; needs anywidget)."
        return f"{what} Commit to the prediction first." if self._hides else f"{what} {self.static().alt}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The widget where there is one, beside a picture for pages without a kernel.

        That is the static strip; while a prediction is open the first frame, which does not answer it.
        """
        picture = self.frame() if self._hides else self.static().svg
        bundle: dict[str, Any] = {"text/plain": repr(self), "image/svg+xml": picture}
        self.close()
        for make in _makers:
            self._view = make(self)
        if self._view is not None:
            bundle |= self._view.mime()
        return bundle

    def _ipython_display_(self) -> None:
        """Show the bundle; where it is alive, after an output that stands in for it when it no longer is."""
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        if self._view is not None:
            display({"text/html": asleep.still(bundle["image/svg+xml"]), "text/plain": ""}, raw=True)
        display(bundle, raw=True)
