"""Explorable 6, the dispatch permutation: from tokens to sorted rows and back, one stage at a time."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.permutation.state import ROUTINGS, STAGES, Params, State, simulate
from moe_lessons.svg import Drawing


class Permutation(Explorable[Params]):
    """The permutation; show it as the last line of a cell.

    Examples
    --------
    >>> permutation = Permutation()
    >>> permutation.locked, len(permutation.asks)
    (True, 2)
    >>> print(permutation.commit(1)[:32])
    ✔ You predicted: Position 3. Wha
    """

    name = "Dispatch permutation"
    questions = (
        Question(
            "Eight tokens with two choices each make 16 slots; the markers say which expert each asks for. "
            "The slots are now sorted by expert, keeping their order within each. Where does token 5's "
            "second copy, slot 11, land?",
            ("Position 0", "Position 3", "Position 11", "Position 15"),
            1,
            "It asks for expert 0, so it stands among the first six. Three slots with smaller numbers ask "
            "for expert 0 too: 1, 2 and 6.",
        ),
        Question(
            "The results lie in sorted order. Token 5 wants that of slot 11 back. You have the list that the "
            "sort returned, the slot at each position. What finds the place?",
            ("Entry 11 of the list", "The place where the list says 11", "Entry 5 of the list"),
            1,
            "Entry 11 is the slot at position 11. Looking up the place of 11 is what the inverse "
            "permutation does for all slots at once.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: the slots, not yet sorted, token 5 followed."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the columns as far as the stage has come."""
        from moe_lessons.explore.permutation.view import draw

        return draw(state)

    def static(self) -> Drawing:
        """Draw all stages at once."""
        from moe_lessons.explore.permutation.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List the stage, the token to follow and the routing."""
        last = len(STAGES) - 1
        named = tuple((name, name) for name in ROUTINGS)
        return (
            Slider(
                "Stage",
                0,
                last,
                1,
                lambda p: p.stage,
                lambda p, v: replace(p, stage=int(v)),
                ", ".join(f"{i} {name}" for i, name in enumerate(STAGES)),
                lambda p: f"{p.stage}: {STAGES[p.stage]}",
            ),
            Slider("Token", 0, 7, 1, lambda p: p.token, lambda p, v: replace(p, token=int(v)), "to follow"),
            Choice(
                "Routing",
                named,
                lambda p: p.routing,
                lambda p, v: replace(p, routing=v),
                "who asks for whom",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: the stages worth a stop."""
        return (
            Landmark("Slots", "t · K + k", lambda p: replace(p, stage=1)),
            Landmark("Sorted", "who stands where?", lambda p: replace(p, stage=2)),
            Landmark("An idle expert", "whose end is its start", lambda p: Params(3, p.token, "mixed")),
            Landmark(
                "A busy expert",
                "every token asks for the same expert",
                lambda p: Params(4, p.token, "skewed"),
            ),
            Landmark("There and back", "the whole way", lambda p: replace(p, stage=len(STAGES) - 1)),
        )
