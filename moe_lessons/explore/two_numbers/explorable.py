"""Explorable, Two rounded numbers: which models total and active parameters leave possible."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.two_numbers.state import EXPERTS, RUMOUR, UNITS, Params, State, simulate
from moe_lessons.svg import Drawing

GROK = Params(314, 86, 1, 8, 2, "Grok-1")
EIGHT = Params(1800, 280, 10, 8, 2, RUMOUR)


class TwoNumbers(Explorable[Params]):
    """Two rounded numbers; show it as the last line of a cell.

    Examples
    --------
    >>> numbers = TwoNumbers()
    >>> numbers.locked, len(numbers.asks)
    (True, 2)
    """

    name = "Two rounded numbers"
    questions = (
        Question(
            "Grok-1 has 8 experts, 2 of them for each token. It was often described as “314B, 86B active”. "
            "What do these two numbers leave possible?",
            ("Exactly the model that was published", "A model, but another one", "No model at all"),
            1,
            "The rest would be 9 to 11 billion. The published code has 6.4.",
        ),
        Question(
            "Two rumours about GPT-4: “1.8T parameters, 280B active” and “8 experts, 2 of them for each "
            "token”. Can both be right?",
            ("Yes", "Yes, if the numbers are coarsely rounded", "No"),
            2,
            "Two of eight experts alone would be more than 400 billion: the rest would be negative.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: Mixtral, as published."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the two numbers, and what follows from them."""
        from moe_lessons.explore.two_numbers.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw what the numbers of the question say."""
        from moe_lessons.explore.two_numbers.view import answer

        return answer((GROK, EIGHT)[question])

    def static(self) -> Drawing:
        """Draw four pairs side by side."""
        from moe_lessons.explore.two_numbers.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List the two numbers, what they were rounded to, E and K."""
        return (
            Slider(
                "Total (B)",
                1,
                3000,
                0.1,
                lambda p: p.total,
                lambda p, v: replace(p, total=round(float(v), 1)),
                "billions of parameters",
                say=lambda p: f"{p.total:g} B",
            ),
            Slider(
                "Active (B)",
                1,
                1000,
                0.1,
                lambda p: p.active,
                lambda p, v: replace(p, active=round(float(v), 1)),
                "that one token uses",
                say=lambda p: f"{p.active:g} B",
            ),
            Choice(
                "Rounded to",
                tuple((f"{unit:g} B", unit) for unit in UNITS),
                lambda p: p.unit,
                lambda p, v: replace(p, unit=v),
                "either may be off by half of it",
            ),
            Choice(
                "E",
                tuple((str(n), n) for n in EXPERTS),
                lambda p: p.n_experts,
                lambda p, v: replace(p, n_experts=v),
                "experts in a layer",
            ),
            Slider(
                "K",
                1,
                16,
                1,
                lambda p: p.top_k,
                lambda p, v: replace(p, top_k=int(v)),
                "experts a token",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: three models, and the rumours."""
        v3 = Params(671, 37, 1, 256, 8, "DeepSeek-V3")
        return (
            Landmark("Mixtral", "46.7 and 12.9", lambda p: Params()),
            Landmark("DeepSeek-V3", "671 and 37", lambda p: v3),
            Landmark("Grok-1, 86B", "as often told", lambda p: GROK),
            Landmark("Grok-1, 25 %", "“25 % of the weights”", lambda p: replace(GROK, active=78.5)),
            Landmark("GPT-4, 16 experts", "one rumour", lambda p: replace(EIGHT, n_experts=16)),
            Landmark("GPT-4, 8 experts", "with the other", lambda p: EIGHT),
        )
