"""Explorable 3, capacity and drops: a queue per expert, and chance as the router."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.capacity.state import FACTORS, Params, State, simulate
from moe_lessons.svg import Drawing


class Capacity(Explorable[Params]):
    """The queues at the experts; show it as the last line of a cell.

    Examples
    --------
    >>> queues = Capacity()
    >>> queues.locked, len(queues.asks)
    (True, 2)
    >>> print(queues.commit(2)[:34])
    ✔ You predicted: About 13 %. What
    """

    name = "Capacity and drops"
    questions = (
        Question(
            "64 tokens, 8 experts, one choice each, and every expert has exactly its fair share of places: "
            "8. The router is perfectly random. What share of the tokens is dropped, on average?",
            ("None", "About 2 %", "About 13 %", "About 40 %"),
            2,
            "Equal on average is not equal in every draw: loads of 5 and 11 are common, and what one expert "
            "turns away does not fill the gap at another.",
        ),
        Question(
            "Now 8 times as many tokens, 512, and 8 times as many experts, 64. Again exactly one place per "
            "token. What happens to the share that is dropped?",
            (
                "It falls: more tokens, less chance",
                "It stays about the same",
                "It rises: more experts can overflow",
            ),
            1,
            "Each expert still expects 8 tokens. Tokens per expert decide, not the size of the batch.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: 64 tokens, 8 experts, factor 1, a fair router."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw queues, shares and the batch in order."""
        from moe_lessons.explore.capacity.view import draw

        return draw(state)

    def frame(self) -> str:
        """Draw the present parameters; before the predictions are committed, no tokens."""
        if self.locked:
            from moe_lessons.explore.capacity.view import waiting

            return waiting(self.simulate(self.params))
        return super().frame()

    def reveal(self, question: int) -> Drawing:
        """Draw what each question asks about."""
        from moe_lessons.explore.capacity.view import STRIP, frames

        if question == 0:
            draws = tuple(Params(seed=seed) for seed in (9, 4, 6))
            return frames(draws, "Three draws at factor 1, 64 tokens, 8 experts: every one drops rows", "")
        return frames(STRIP[:3], "As many tokens per expert, as many drops", "")

    def static(self) -> Drawing:
        """Draw six key frames."""
        from moe_lessons.explore.capacity.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List factor, tokens, experts, skew, K and the draw."""
        sizes = tuple((str(e), e) for e in (4, 8, 16, 32, 64))
        return (
            Slider(
                "Capacity factor",
                FACTORS[0],
                FACTORS[-1],
                0.05,
                lambda p: p.factor,
                lambda p, v: replace(p, factor=round(v, 2)),
                "1 is the fair share",
            ),
            Slider("Tokens", 16, 512, 16, lambda p: p.n_tokens, lambda p, v: replace(p, n_tokens=int(v))),
            Choice("Experts", sizes, lambda p: p.n_experts, lambda p, v: replace(p, n_experts=v)),
            Slider(
                "Skew",
                0,
                1.5,
                0.05,
                lambda p: p.skew,
                lambda p, v: replace(p, skew=round(v, 2)),
                "0: all experts alike",
            ),
            Slider("K", 1, 2, 1, lambda p: p.k, lambda p, v: replace(p, k=int(v)), "experts per token"),
            Slider("Draw", 0, 30, 1, lambda p: p.seed, lambda p, v: replace(p, seed=int(v)), "other tokens"),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: more tokens, more experts too, a larger factor, a skewed router."""
        return (
            Landmark("Start", "T=64, E=8, factor 1", lambda p: Params(seed=p.seed)),
            Landmark("T=512", "more tokens per expert", lambda p: Params(n_tokens=512, seed=p.seed)),
            Landmark(
                "T=512, E=64", "as at the start", lambda p: Params(n_tokens=512, n_experts=64, seed=p.seed)
            ),
            Landmark("Factor 1.25", "a common choice", lambda p: replace(p, factor=1.25)),
            Landmark("Skewed", "some experts are popular", lambda p: replace(p, skew=1.0)),
            Landmark("Skewed, factor 2", "twice the places", lambda p: replace(p, skew=1.0, factor=2.0)),
        )
