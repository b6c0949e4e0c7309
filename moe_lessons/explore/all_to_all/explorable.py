"""Explorable 7, All to all: experts on ranks, what travels, and copies of those that are hot."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.all_to_all.state import COPIES, RANKS, STEEPEST, TOKENS, Params, State, simulate
from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider, Switch
from moe_lessons.svg import Drawing


class AllToAll(Explorable[Params]):
    """All to all; show it as the last line of a cell.

    Examples
    --------
    >>> traffic = AllToAll()
    >>> traffic.locked, len(traffic.asks)
    (True, 2)
    """

    name = "All to all"
    questions = (
        Question(
            "256 experts on 32 ranks, popularity by Zipf's law with an exponent of 0.8. After the best "
            "packing, 8 experts on each rank, the fullest rank has about ... times the mean.",
            ("1.1", "1.8", "3.2"),
            2,
            "The hottest expert alone is 2.98 times an even rank's load. It cannot be packed, only copied.",
        ),
        Question(
            "One slot more on each rank, for 32 copies: on average max/mean is 1.00. And in one decoding "
            "step of 32 tokens?",
            ("1.00", "About 1.1", "1.3 or more"),
            2,
            "256 rows on 32 ranks are eight each, and chance deals them. The plan is even on average only.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: numbered at random, no plan."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw ranks and nodes."""
        from moe_lessons.explore.all_to_all.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the ranks in the setting of the question."""
        from moe_lessons.explore.all_to_all.view import answer

        return answer((Params(packed=True), Params(copies=1, tokens=32))[question])

    def static(self) -> Drawing:
        """Draw five settings side by side."""
        from moe_lessons.explore.all_to_all.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List skew, ranks, numbering, plan, copies, tokens, the day, and how often a token is sent."""
        return (
            Slider(
                "Skew",
                0,
                STEEPEST,
                0.1,
                lambda p: p.zipf,
                lambda p, v: replace(p, zipf=round(v, 1)),
                "the r-th most popular expert gets rows like 1 / r to this power",
            ),
            Choice(
                "Ranks",
                tuple((str(n), n) for n in RANKS),
                lambda p: p.n_ranks,
                lambda p, v: replace(p, n_ranks=v),
                "in 8 nodes",
            ),
            Switch(
                "Numbered by popularity",
                lambda p: p.numbered,
                lambda p, v: replace(p, numbered=bool(v)),
                "otherwise in a random order",
            ),
            Switch(
                "Packed",
                lambda p: p.packed or p.copies > 0,
                lambda p, v: replace(p, packed=bool(v), copies=p.copies if v else 0),
                "the heaviest first, on the least loaded rank with room",
            ),
            Choice(
                "Slots for copies",
                tuple((str(n), n) for n in COPIES),
                lambda p: p.copies,
                lambda p, v: replace(p, copies=v, packed=p.packed or v > 0),
                "on each rank",
            ),
            Choice(
                "Tokens in the step",
                tuple((f"{n:,}", n) for n in TOKENS),
                lambda p: p.tokens,
                lambda p, v: replace(p, tokens=v),
                "8 experts each",
            ),
            Switch(
                "Another day",
                lambda p: p.stale,
                lambda p, v: replace(p, stale=bool(v)),
                "popularity has moved on since the plan",
            ),
            Switch(
                "Once to a node",
                lambda p: p.once,
                lambda p, v: replace(p, once=bool(v)),
                "however many of a token's experts are there",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: no plan, packing alone, one copy a rank, a decoding step, yesterday's plan."""
        return (
            Landmark("No plan", "numbered at random", lambda p: Params(once=p.once)),
            Landmark("Packing alone", "and what it cannot do", lambda p: Params(packed=True, once=p.once)),
            Landmark(
                "One copy a rank", "32 slots more", lambda p: Params(packed=True, copies=1, once=p.once)
            ),
            Landmark(
                "A decoding step",
                "of 32 tokens",
                lambda p: Params(packed=True, copies=1, tokens=32, once=p.once),
            ),
            Landmark(
                "Yesterday's plan",
                "meets today's load",
                lambda p: Params(packed=True, copies=1, stale=True, once=p.once),
            ),
        )
