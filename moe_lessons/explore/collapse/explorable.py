"""Explorable 2a, the collapse race: the same model in several data geometries, nothing that balances."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.collapse.state import KS, MUS, SEEDS, STARTS, STEPS, Params, State, simulate
from moe_lessons.svg import Drawing

_BEGIN = {"even": "even", "even, tiny": "even, 100 times smaller", "random": "as drawn"}


class Collapse(Explorable[Params]):
    """The collapse race; show it as the last line of a cell.

    Examples
    --------
    >>> race = Collapse()
    >>> race.locked, len(race.asks)
    (True, 2)
    >>> print(race.commit(2)[:26])
    ✔ You predicted: About 3.
    """

    name = "Collapse race"
    questions = (
        Question(
            "All tokens have much in common (mu = 4), each goes to one of 8 experts (K = 1), and nothing "
            "balances them. The router starts even: 6.7 effective experts. How many are left at step 200, in "
            "the median of 16 seeds?",
            ("About 8", "About 6", "About 3", "Exactly 1"),
            2,
            "Every one of the 16 runs ends lower than it began, between 1.9 and 5.2 effective experts.",
        ),
        Question(
            "Now the tokens have nothing in common (mu = 0) and each goes to two experts (K = 2). It starts "
            "with 7.4 effective experts. And at step 200?",
            ("Nearly 8", "About 5", "About 3"),
            0,
            "The load evens out by itself. Collapse is a tendency of some settings, not a law.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: mu = 4, K = 1, an even start, step 0."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the lanes and the effective experts."""
        from moe_lessons.explore.collapse.view import draw

        return draw(state)

    def frame(self) -> str:
        """Draw the present parameters; before the predictions, only the steps so far."""
        from moe_lessons.explore.collapse.view import waiting

        return waiting(self.simulate(self.params)) if self.locked else super().frame()

    def reveal(self, question: int) -> Drawing:
        """Draw the effective experts of all seeds in the setting of the question."""
        from moe_lessons.explore.collapse.view import answer

        return answer((Params(step=200), Params(mu=0.0, k=2, step=200))[question])

    def static(self) -> Drawing:
        """Draw six settings side by side."""
        from moe_lessons.explore.collapse.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List step, geometry, K, initial router and seed."""
        mus = tuple((f"{mu:g}", mu) for mu in MUS)
        starts = tuple((_BEGIN[name], name) for name in STARTS)
        ks = tuple((f"{k}", k) for k in KS)
        last = len(STEPS) - 1
        return (
            Slider(
                "Step",
                0,
                STEPS[last],
                10,
                lambda p: p.step,
                lambda p, v: replace(p, step=int(v)),
                "of training",
                play=True,
            ),
            Choice(
                "mu", mus, lambda p: p.mu, lambda p, v: replace(p, mu=v), "how much all tokens have in common"
            ),
            Choice("K", ks, lambda p: p.k, lambda p, v: replace(p, k=v), "experts per token"),
            Choice(
                "First router", starts, lambda p: p.start, lambda p, v: replace(p, start=v), "before any step"
            ),
            Slider("Seed", 0, SEEDS - 1, 1, lambda p: p.seed, lambda p, v: replace(p, seed=int(v))),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: start and end, no collapse, deep collapse, uneven before training."""
        return (
            Landmark("Start", "step 0: nobody is ahead by much", lambda p: replace(p, step=0)),
            Landmark("Step 200", "who has won?", lambda p: replace(p, step=200)),
            Landmark("mu=0, K=2", "no collapse", lambda p: replace(p, mu=0.0, k=2, start="even", step=200)),
            Landmark(
                "Tiny router", "the deepest collapse", lambda p: Params(4.0, "even, tiny", 1, p.seed, 200)
            ),
            Landmark(
                "As drawn, step 0", "uneven before any training", lambda p: Params(4.0, "random", 1, p.seed)
            ),
        )
