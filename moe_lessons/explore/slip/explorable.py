"""Explorable *Slip*: which tokens does a small error send to other experts?"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider, Switch
from moe_lessons.explore.slip.state import Params, State, recorded, simulate
from moe_lessons.svg import Drawing


class Slip(Explorable[Params]):
    """A batch of tokens in eight layers; show it as the last line of a cell.

    Examples
    --------
    >>> slip = Slip()
    >>> slip.locked, slip.params.order
    (True, 'place')
    >>> slip.commit(0)[:24]
    '✘ You predicted: Any: ro'
    >>> slip.locked, slip.params.order
    (False, 'margin')
    """

    name = "Slip"
    questions = (
        Question(
            "In bf16 some tokens get other experts than in fp32: they slip. Which?",
            (
                "Any: rounding hits all alike",
                "Those with rare letters, which the router has seldom seen",
                "Those late in the text, where errors have added up",
                "Those with nearly equal scores for their second expert and the next one",
            ),
            3,
            "An error can swap two scores only where the gap between them is about as small as the error.",
        ),
    )

    def __init__(self, params: Params | None = None, *, locked: bool = True, **options: object) -> None:
        shown = params if params is not None else self.start()
        super().__init__(
            shown if locked or params is not None else replace(shown, order="margin"),
            locked=locked,
            **options,  # type: ignore[arg-type]
        )

    @staticmethod
    def start() -> Params:
        """Return the first frame: an error of 0.005, tokens by their place in the text."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw tokens, shares and log ratios."""
        from moe_lessons.explore.slip.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw who slipped in bf16, by margin."""
        from moe_lessons.explore.slip.view import answer

        return answer()

    def static(self) -> Drawing:
        """Draw the log ratios of four sizes."""
        from moe_lessons.explore.slip.view import still

        return still()

    def unlock(self) -> None:
        """Sort the tokens by their margins, and let the learner use the controls."""
        self.params = replace(self.params, order="margin")
        super().unlock()

    def controls(self) -> Sequence[Control[Params]]:
        """List the size of the error, what tokens are sorted by, and the marks of bf16."""
        sizes = recorded().sizes
        return (
            Slider(
                "Error",
                0,
                len(sizes) - 1,
                1,
                lambda p: p.size,
                lambda p, v: replace(p, size=int(v)),
                "normal noise of this width on every logit",
                say=lambda p: f"{sizes[p.size]:g}",
            ),
            Choice(
                "Sorted by",
                (("margin", "margin"), ("place in the text", "place"), ("letter", "letter")),
                lambda p: p.order,
                lambda p, v: replace(p, order=v),
                "from left to right",
            ),
            Switch(
                "bf16",
                lambda p: p.bf16,
                lambda p, v: replace(p, bf16=bool(v)),
                "rings: who slips there; strokes: its errors",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: a tiny error, ten and a thousand times as much, and bf16."""

        def at(size: float, *, bf16: bool = False) -> Callable[[Params], Params]:
            params = Params(recorded().sizes.index(size), "margin", bf16)
            return lambda p: params

        return (
            Landmark("Tiny", "0.0001", at(0.0001)),
            Landmark("Ten times it", "0.001", at(0.001)),
            Landmark("Large", "0.1", at(0.1)),
            Landmark("bf16", "rings and strokes", at(0.005, bf16=True)),
        )
