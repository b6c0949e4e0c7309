"""Explorable 2b, the balancing race: no balancing, a loss, a bias, expert choice, side by side."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.balancing_race.state import (
    ALPHAS,
    EVERY,
    RATES,
    SEEDS,
    STEPS,
    Params,
    State,
    simulate,
)
from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.svg import Drawing

LAST = STEPS - EVERY


class BalancingRace(Explorable[Params]):
    """The balancing race; show it as the last line of a cell.

    Examples
    --------
    >>> race = BalancingRace()
    >>> race.locked, len(race.asks)
    (True, 2)
    """

    name = "Balancing race"
    questions = (
        Question(
            "Four lanes begin with the same model: no balancing, an auxiliary loss with alpha = 1, a "
            "selection bias with step 0.001, expert choice. At the end the second and the third are "
            "equally even. Which lane has the largest error?",
            ("No balancing", "The auxiliary loss", "The selection bias", "Expert choice"),
            1,
            "Its gradient pulls at the router in every step, also where the task would have it elsewhere. "
            "The bias changes who is chosen and adds no gradient.",
        ),
        Question(
            "Now both knobs are turned far up: alpha = 10, bias step 0.3. Who pays?",
            ("The loss alone", "The bias alone", "Both"),
            2,
            "A bias that moves by 0.3 a step, where scores lie between 0 and 1, sends tokens to and fro. The "
            "bias has a knob too, and it can be set wrong.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: alpha 1, bias step 0.001, step 0."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the lanes and the price of balance."""
        from moe_lessons.explore.balancing_race.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw error against balance in the setting of the question."""
        from moe_lessons.explore.balancing_race.view import answer

        return answer((Params(1.0, 0.001, LAST), Params(10.0, 0.3, LAST))[question])

    def static(self) -> Drawing:
        """Draw four settings side by side."""
        from moe_lessons.explore.balancing_race.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List step, alpha, the bias's step and the seed."""
        alphas = tuple((f"{alpha:g}", alpha) for alpha in ALPHAS)
        rates = tuple((f"{rate:g}", rate) for rate in RATES)
        return (
            Slider(
                "Step",
                0,
                LAST,
                EVERY,
                lambda p: p.step,
                lambda p, v: replace(p, step=int(v)),
                "of training",
                play=True,
            ),
            Choice(
                "alpha", alphas, lambda p: p.alpha, lambda p, v: replace(p, alpha=v), "weight of the loss"
            ),
            Choice("Bias step", rates, lambda p: p.rate, lambda p, v: replace(p, rate=v), "per batch"),
            Slider("Seed", 0, SEEDS - 1, 1, lambda p: p.seed, lambda p, v: replace(p, seed=int(v))),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: start, equal balance, both low, both good, both high."""
        return (
            Landmark("Start", "step 0: the same model four times", lambda p: replace(p, step=0)),
            Landmark("Equally even", "who pays?", lambda p: Params(1.0, 0.001, LAST, p.seed)),
            Landmark("Both low", "nobody pays, nobody is even", lambda p: Params(0.01, 0.0001, LAST, p.seed)),
            Landmark("Both good", "is there a price left?", lambda p: Params(0.1, 0.003, LAST, p.seed)),
            Landmark("Both high", "who pays now?", lambda p: Params(10.0, 0.3, LAST, p.seed)),
        )
