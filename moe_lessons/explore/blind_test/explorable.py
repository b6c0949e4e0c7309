"""Explorable *Blind test*: which of four strips is the trained router?"""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.blind_test.state import LETTERS, STRIPS, Params, State, recorded, simulate
from moe_lessons.svg import Drawing


class BlindTest(Explorable[Params]):
    """Four strips without names; show it as the last line of a cell.

    Examples
    --------
    >>> test = BlindTest()
    >>> test.locked, test.params.named
    (True, False)
    >>> test.commit(1)[:22]
    '✘ You predicted: B. Wh'
    >>> test.locked, test.params.named
    (False, True)
    """

    name = "Blind test"
    questions = (
        Question(
            "Four strips colour the same text by experts. One shows the choices of a trained router. Which?",
            tuple(LETTERS),
            STRIPS.index("trained"),
            "B, the most orderly one, is the same router before any training. D is a table drawn at random, "
            "one expert for each byte. A has the trained router's own choices, exchanged among equal bytes: "
            "all that is left in it is the byte. A picture of a text in colours does not tell them apart.",
        ),
    )

    def __init__(self, params: Params | None = None, *, locked: bool = True, **options: object) -> None:
        shown = params if params is not None else self.start()
        super().__init__(
            shown if locked else replace(shown, named=True),
            locked=locked,
            **options,  # type: ignore[arg-type]
        )

    @staticmethod
    def start() -> Params:
        """Return the first frame: the second layer of the first model after its last step, without names."""
        return Params(step=len(recorded().steps) - 1)

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the text and the strips."""
        from moe_lessons.explore.blind_test.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the neighbours of all models and layers."""
        from moe_lessons.explore.blind_test.view import all_models

        return all_models()

    def static(self) -> Drawing:
        """Draw the strips with their names."""
        from moe_lessons.explore.blind_test.view import strip

        return strip(self.params)

    def unlock(self) -> None:
        """Give the strips their names, and let the learner use the controls."""
        self.params = replace(self.params, named=True)
        super().unlock()

    def controls(self) -> Sequence[Control[Params]]:
        """List step, layer, model and text."""
        found = recorded()
        return (
            Slider(
                "Step",
                0,
                len(found.steps) - 1,
                1,
                lambda p: p.step,
                lambda p, v: replace(p, step=int(v)),
                "of training",
                say=lambda p: f"step {found.steps[p.step]}",
                play=True,
            ),
            Choice(
                "Layer",
                tuple((f"layer {i}", i) for i in range(found.n_layers)),
                lambda p: p.layer,
                lambda p, v: replace(p, layer=v),
            ),
            Choice(
                "Model",
                tuple((f"seed {i}", i) for i in range(len(found.trained))),
                lambda p: p.model,
                lambda p, v: replace(p, model=v),
                "the same recipe from another seed",
            ),
            Choice(
                "Text",
                tuple((kind, i) for i, kind in enumerate(found.kinds)),
                lambda p: p.kind,
                lambda p, v: replace(p, kind=v),
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: before training, its end, and the code in the first layer."""
        last = len(recorded().steps) - 1
        return (
            Landmark("Before training", "step 0", lambda p: replace(p, step=0)),
            Landmark("End of training", "the last step", lambda p: replace(p, step=last)),
            Landmark("Code, layer 0", "source code, first layer", lambda p: replace(p, kind=1, layer=0)),
        )
