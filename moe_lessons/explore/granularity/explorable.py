"""Explorable 9, How fine?: experts cut into slices, for tokens that need one skill or several at once."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Switch
from moe_lessons.explore.granularity.state import AT_ONCE, GRAINS, RATES, Params, State, simulate
from moe_lessons.svg import Drawing


class Granularity(Explorable[Params]):
    """How fine?; show it as the last line of a cell.

    Examples
    --------
    >>> fine = Granularity()
    >>> fine.locked, len(fine.asks)
    (True, 2)
    """

    name = "How fine?"
    questions = (
        Question(
            "Tokens that need one skill each. Every granularity is trained at its own best learning rate. "
            "Which has the lowest error?",
            ("G = 1", "G = 2", "G = 4", "G = 8"),
            0,
            "One expert can hold the skill. Cut into slices, several have to be found together for the same.",
        ),
        Question(
            "The same tokens, and a learning rate of 0.003 for all. Which has the lowest error now?",
            ("G = 1", "G = 2", "G = 4", "G = 8"),
            3,
            "At this rate none of them is done, and the finest is the quickest. The headline is the rate's.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: one skill, G = 8, a rate of 0.003."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw errors and cut."""
        from moe_lessons.explore.granularity.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the errors in the setting of the question."""
        from moe_lessons.explore.granularity.view import answer

        return answer((Params(best=True), Params())[question])

    def static(self) -> Drawing:
        """Draw four settings side by side."""
        from moe_lessons.explore.granularity.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List skills, slices, the rate, and whether each cut has its own."""
        return (
            Choice(
                "Skills at once",
                tuple((str(n), n) for n in AT_ONCE),
                lambda p: p.at_once,
                lambda p, v: replace(p, at_once=v),
                "that a token needs, of 8 units in all",
            ),
            Choice(
                "Slices",
                tuple((str(g), g) for g in GRAINS),
                lambda p: p.granularity,
                lambda p, v: replace(p, granularity=v),
                "G: what each expert is cut into",
            ),
            Choice(
                "Learning rate",
                tuple((f"{rate:g}", rate) for rate in RATES),
                lambda p: p.rate,
                lambda p, v: replace(p, rate=v, best=False),
                "for all four cuts",
            ),
            Switch(
                "Each at its best",
                lambda p: p.best,
                lambda p, v: replace(p, best=bool(v)),
                "the best of the three rates for each cut",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: the two headlines, and both tasks at their best."""
        return (
            Landmark("“Fine wins”", "one skill, rate 0.003", lambda p: Params(1, 8, 0.003)),
            Landmark("“Coarse wins”", "the same, rate 0.03", lambda p: Params(1, 1, 0.03)),
            Landmark("One skill", "each at its best", lambda p: Params(1, p.granularity, p.rate, True)),
            Landmark("Four at once", "each at its best", lambda p: Params(4, p.granularity, p.rate, True)),
            Landmark("Eight at once", "each at its best", lambda p: Params(8, p.granularity, p.rate, True)),
        )
