"""Explorable 1, the router playground: what a router vector's direction and length do to who gets whom."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.router.state import E, Params, State, T, heat, lengthen, simulate, turn
from moe_lessons.svg import Drawing

_GROWS = "It grows: more tokens reach the expert"
_SAME = "It stays the same"
_SHRINKS = "It shrinks: fewer tokens reach the expert"


class Router(Explorable[Params]):
    """The router playground; show it as the last line of a cell.

    Examples
    --------
    >>> playground = Router()
    >>> playground.locked, len(playground.asks)
    (True, 2)
    >>> print(playground.commit(0)[:33])
    ✔ You predicted: It grows: more t
    """

    name = "Router playground"
    questions = (
        Question(
            "Each token goes to one expert (K=1). Expert 0's router vector is made twice as long, in the "
            "same direction. What happens to its region?",
            (_GROWS, _SAME, _SHRINKS),
            0,
            "Its positive logits double, so it wins tokens from its neighbours.",
        ),
        Question(
            "Now each token goes to four of the six experts (K=4). The same vector is made twice as long. "
            "What happens to its region?",
            (_GROWS, _SAME, _SHRINKS),
            2,
            "Negative logits double too. At K=4 the expert also had tokens with a negative logit, and "
            "loses many of those; where its logit is positive it was among the best four already.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: six vectors of norm 1, K=1."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw map, loads and one token's softmax."""
        from moe_lessons.explore.router.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the map before and after the vector is doubled."""
        from moe_lessons.explore.router.view import before_after

        return before_after(k=(1, 4)[question])

    def static(self) -> Drawing:
        """Draw the three findings, each before and after."""
        from moe_lessons.explore.router.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List expert, angle, norm, K, temperature and token."""
        names = tuple((str(e), e) for e in range(E))
        return (
            Choice("Expert", names, lambda p: p.expert, lambda p, v: replace(p, expert=v)),
            Slider("K", 1, E, 1, lambda p: p.k, lambda p, v: replace(p, k=int(v)), "experts per token"),
            Slider("Its norm", 0, 4, 0.05, lambda p: p.norms[p.expert], lengthen, "1 at the start"),
            Slider("Its angle (°)", 0, 359, 1, lambda p: p.angles[p.expert], turn, "of the chosen expert"),
            Slider("Temperature", 0.1, 4, 0.05, lambda p: p.temperature, heat, "1 is the plain softmax"),
            Slider("Token", 0, T - 1, 1, lambda p: p.token, lambda p, v: replace(p, token=int(v))),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: start, norm x 2 at K=1 and K=4, a lost expert, two temperatures."""
        return (
            Landmark("Start", "six vectors of norm 1, K=1", lambda p: Params()),
            Landmark("K=1, norm × 2", "does the region grow?", lambda p: lengthen(replace(p, k=1), 2.0)),
            Landmark("K=4, norm × 2", "and now?", lambda p: lengthen(replace(p, k=4), 2.0)),
            Landmark("Norm 0.1", "a vector that hardly speaks", lambda p: lengthen(p, 0.1)),
            Landmark("Cold: 0.2", "a sharp softmax", lambda p: heat(p, 0.2)),
            Landmark("Hot: 4", "a flat softmax", lambda p: heat(p, 4.0)),
        )
