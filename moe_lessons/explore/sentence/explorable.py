"""Explorable 0, your sentence through an MoE layer: tokens, scores, chosen experts, the sum, the load."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider, Text
from moe_lessons.explore.sentence.state import SHOWN, Params, State, simulate
from moe_lessons.svg import Drawing

LAYERS, EXPERTS = 3, 8


class Sentence(Explorable[Params]):
    """A sentence in a layer of a small trained model; show it as the last line of a cell.

    Examples
    --------
    >>> hero = Sentence()
    >>> hero.locked, len(hero.asks)
    (True, 1)
    """

    name = "Your sentence through an MoE layer"
    questions = (
        Question(
            "The picture shows layer 0, the first of three. There ‘function’ and ‘value’ have no expert in "
            "common. Which two words share both of their experts in the last layer?",
            ("‘function’ and ‘value’", "‘The’ and ‘the’", "‘a’ and ‘and’"),
            0,
            "In layer 2 ‘The’ and ‘the’ have one expert in common, ‘a’ and ‘and’ none. Nobody told the "
            "router which words are alike, and each layer has a router of its own. One sentence does "
            "not show what an expert is for: type others.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: a sentence in layer 0, two experts for each token."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw tokens, scores and choices, one token's sum, and the load."""
        from moe_lessons.explore.sentence.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the sentence in all layers."""
        from moe_lessons.explore.sentence.view import layers

        return layers()

    def static(self) -> Drawing:
        """Draw four key frames."""
        from moe_lessons.explore.sentence.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List sentence, layer, K and token."""
        layers = tuple((f"layer {i}", i) for i in range(LAYERS))
        return (
            Text(
                "Sentence",
                lambda p: p.sentence,
                lambda p, v: replace(p, sentence=v),
                "type a sentence",
            ),
            Choice("Layer", layers, lambda p: p.layer, lambda p, v: replace(p, layer=v)),
            Slider("K", 1, EXPERTS, 1, lambda p: p.k, lambda p, v: replace(p, k=int(v)), "experts per token"),
            Slider(
                "Token",
                0,
                SHOWN - 1,
                1,
                lambda p: p.token,
                lambda p, v: replace(p, token=int(v)),
                "whose sum is drawn",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: the start, one expert, all experts, a word that returns, a rare word."""
        twice = "A name is a name, and a name is not a value."
        return (
            Landmark("Start", "a sentence in layer 0, K=2", lambda p: Params()),
            Landmark("K=1", "one expert for each token", lambda p: replace(p, k=1)),
            Landmark("K=8", "all experts for each token", lambda p: replace(p, k=EXPERTS)),
            Landmark("A word that returns", twice, lambda p: replace(p, sentence=twice, token=1)),
            Landmark(
                "Rare words",
                "words that the model seldom saw",
                lambda p: replace(p, sentence="Giraffes love origami.", token=0),
            ),
        )
