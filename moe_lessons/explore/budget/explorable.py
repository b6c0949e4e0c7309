"""Explorable 11, Budget bench: try designs against a budget, and see what binds."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.budget import KINDS
from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.budget.state import EXPERTS, GRAINS, WIDTHS, Params, State, at_best, simulate
from moe_lessons.svg import Drawing

WORDS = {"one": "one device", "experts": "experts spread", "all": "all cut"}


def moved(p: Params, budget: str) -> Params:
    """The same design under another budget, laid out as that has devices.

    Examples
    --------
    >>> moved(Params(), "eight-GPU server").layout, moved(Params(layout="all"), "phone").layout
    ('experts', 'one')
    """
    layout = "one" if KINDS[budget].devices == 1 else p.layout if p.layout != "one" else "experts"
    return replace(p, budget=budget, layout=layout)


class BudgetBench(Explorable[Params]):
    """Budget bench; show it as the last line of a cell.

    Examples
    --------
    >>> bench = BudgetBench()
    >>> bench.locked, len(bench.asks)
    (True, 2)
    """

    name = "Budget bench"
    questions = (
        Question(
            "In one of these budgets the best model that our search finds is dense. In which?",
            (
                "A phone: 4 GB, one user",
                "Little text: 20 billion tokens, 20 GB",
                "A small lab: 1e21 FLOPs for training",
                "Long documents: 24 users with 65,536 tokens each",
            ),
            1,
            "Experts save compute and time, and both are left over there; text and memory are not.",
        ),
        Question(
            "Long documents, on one card of 80 GB. The best design uses all of the compute for training, "
            "nearly all of the memory, and half of the time. Twice as much of what would help it most?",
            ("Compute", "Time", "Memory", "Text"),
            2,
            "A full bar is no price. More compute changes hardly anything; in more memory more experts fit.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: a design that is too large for a phone."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw map, bars, loss and prices."""
        from moe_lessons.explore.budget.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the best design of the budget that the question is about."""
        from moe_lessons.explore.budget.view import answer

        return answer(("little text", "long documents")[question])

    def static(self) -> Drawing:
        """Draw three budgets' maps."""
        from moe_lessons.explore.budget.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List budget, width, experts, their size, how many work, bits and layout."""
        return (
            Choice(
                "Budget",
                tuple((name, name) for name in KINDS),
                lambda p: p.budget,
                moved,
                "what there is",
            ),
            Slider(
                "Width",
                WIDTHS[0],
                WIDTHS[-1],
                512,
                lambda p: p.d_model,
                lambda p, v: replace(p, d_model=512 * round(v / 512)),
                "d_model; a layer for each 128 of it",
                say=lambda p: f"{p.d_model:,}",
            ),
            Slider(
                "Experts",
                0,
                len(EXPERTS) - 1,
                1,
                lambda p: EXPERTS.index(p.n_experts),
                lambda p, v: replace(p, n_experts=EXPERTS[round(v)]),
                "in each layer; one is dense",
                say=lambda p: "dense" if p.n_experts == 1 else str(p.n_experts),
            ),
            Choice(
                "Grain",
                tuple((str(g), g) for g in GRAINS),
                lambda p: p.grain,
                lambda p, v: replace(p, grain=v),
                "2 widths over an expert's width: 16 is fine",
            ),
            Slider(
                "At work",
                2,
                7,
                0.5,
                lambda p: p.hidden,
                lambda p, v: replace(p, hidden=round(2 * v) / 2),
                "a token's experts together, in widths",
                say=lambda p: f"{p.hidden:g} widths",
            ),
            Choice(
                "Bits",
                tuple((str(bits), bits) for bits in (16, 8, 4)),
                lambda p: p.bits,
                lambda p, v: replace(p, bits=v),
                "of a weight when it is served",
            ),
            Choice(
                "Layout",
                tuple((word, name) for name, word in WORDS.items()),
                lambda p: p.layout,
                lambda p, v: replace(p, layout=v),
                "of several devices",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: the best that the controls reach, a dense one, and four budgets."""
        return (
            Landmark("The best here", "as far as the controls reach", at_best),
            Landmark("Dense", "the same, without experts", lambda p: replace(p, n_experts=1)),
            Landmark("A phone", "memory and time", lambda p: at_best(moved(p, "phone"))),
            Landmark("Little text", "and much compute", lambda p: at_best(moved(p, "little text"))),
            Landmark("Long documents", "caches", lambda p: at_best(moved(p, "long documents"))),
            Landmark("Eight GPUs", "layouts", lambda p: at_best(moved(p, "eight-GPU server"))),
        )
