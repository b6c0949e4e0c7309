"""Explorable 5, the load-loss surface: two experts, K = 1, and every pair of load and mean probability."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.surface.state import LOWEST, Params, State, simulate
from moe_lessons.svg import Drawing


class Surface(Explorable[Params]):
    """The load-loss surface; show it as the last line of a cell.

    Examples
    --------
    >>> surface = Surface()
    >>> surface.locked, len(surface.asks)
    (True, 2)
    >>> print(surface.commit(2)[:40])
    ✔ You predicted: No, lower values can be
    """

    name = "Load-loss surface"
    questions = (
        Question(
            "Two experts, K = 1. When both get half of the tokens and half of the probability, "
            "E · sum(f · P) is 1. Is that the lowest value?",
            (
                "Yes, and only balance reaches it",
                "Yes, but other pairs reach it too",
                "No, lower values can be reached",
            ),
            2,
            "With 75 % of the tokens and 37.5 % of the probability on one expert it is 0.875.",
        ),
        Question(
            "Three of four tokens go to expert 1. How small can its mean probability be?",
            ("0 %", "25 %", "37.5 %", "50 %"),
            2,
            "A token goes where its probability is larger, so each of those three gives expert 1 at least a "
            "half: 75 % of 50 %.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: a co-sorted pair."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the plane, the tokens behind the point and the loss."""
        from moe_lessons.explore.surface.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the lowest pair; it answers both questions."""
        from moe_lessons.explore.surface.view import lowest

        return lowest()

    def static(self) -> Drawing:
        """Draw four places of the surface."""
        from moe_lessons.explore.surface.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List the load and the mean probability of expert 1, in percent."""
        return (
            Slider(
                "f₁ (%)",
                0,
                100,
                0.5,
                lambda p: 100 * p.f,
                lambda p, v: replace(p, f=v / 100),
                "share of the tokens that go to expert 1",
                say=lambda p: f"{100 * p.f:.4g} %",
            ),
            Slider(
                "P₁ (%)",
                0,
                100,
                0.5,
                lambda p: 100 * p.P,
                lambda p, v: replace(p, P=v / 100),
                "mean probability of expert 1",
                say=lambda p: f"{100 * p.P:.4g} %",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: balance, two collapses, an even load, the lowest pair, an impossible one."""
        return (
            Landmark("Balanced", "half of both", lambda p: Params(0.5, 0.5)),
            Landmark("All to 1, sure", "the loss at its highest", lambda p: Params(1.0, 1.0)),
            Landmark("All to 1, by a hair", "a collapse with a loss of 1", lambda p: Params(1.0, 0.5)),
            Landmark("Even load", "does P matter?", lambda p: Params(0.5, 0.75)),
            Landmark("Lowest", "75 to 25", lambda p: Params(*LOWEST)),
            Landmark("Impossible", "which tokens would it take?", lambda p: Params(0.75, 0.2)),
        )
