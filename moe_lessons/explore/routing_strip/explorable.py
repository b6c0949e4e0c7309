"""Explorable 9, the routing strip: which tokens of a text an expert reads, layer by layer."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.routing_strip.state import Params, State, Strip, choose, sample, simulate
from moe_lessons.svg import Drawing

_MOST = "Yes, most of the time"
_CHANCE = "No, as often as chance would have it"


class RoutingStrip(Explorable[Params]):
    """The routing strip; show it as the last line of a cell.

    Parameters
    ----------
    strip : Strip, optional
        A text and its routing, from `make_strip`; by default a sample of this package's smallest model. With
        a strip of one's own there is nothing to predict, and the controls are open.

    Examples
    --------
    >>> strip = RoutingStrip()
    >>> strip.locked, len(strip.asks)
    (True, 1)
    """

    name = "Routing strip"
    questions = (
        Question(
            "A model before any training: all its weights are random. The same letter returns in a text. "
            "Does the first layer's router send it to the same expert as before?",
            (_MOST, _CHANCE),
            0,
            "What reaches the first router is mostly the token's own embedding, and a random matrix sorts "
            "by it long before it has learnt anything. So a table of tokens by expert is no sign of "
            "learning until the untrained model stands beside it.",
        ),
    )

    def __init__(self, strip: Strip | None = None, **options: object) -> None:
        own = strip is not None
        super().__init__(
            Params(strip) if strip is not None else None,
            **({"locked": False} if own else {}) | options,  # type: ignore[arg-type]
        )

    @staticmethod
    def start() -> Params:
        """Return the first frame: the sample, its first layer, before training."""
        return Params(sample())

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the text, the loads and what the expert reads."""
        from moe_lessons.explore.routing_strip.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the first layer before and after training."""
        from moe_lessons.explore.routing_strip.view import before_after

        return before_after()

    def static(self) -> Drawing:
        """Draw the beginning of the text in the first, a middle and the last layer."""
        from moe_lessons.explore.routing_strip.view import strip_of

        n = self.params.strip.n_layers
        last = len(self.params.strip.steps) - 1
        return strip_of(replace(self.params, step=last), tuple(sorted({0, n // 2, n - 1})))

    def controls(self) -> Sequence[Control[Params]]:
        """List step, layer, expert and where the text begins."""
        strip = self.params.strip
        steps = tuple((name, i) for i, name in enumerate(strip.steps))
        layers = tuple((f"layer {i}", i) for i in range(strip.n_layers))
        experts = tuple((f"expert {e}", e) for e in range(strip.n_experts))
        return (
            *(
                (Choice("Step", steps, lambda p: p.step, lambda p, v: replace(p, step=v)),)
                if len(steps) > 1
                else ()
            ),
            Choice("Layer", layers, lambda p: p.layer, lambda p, v: replace(p, layer=v)),
            Choice("Expert", experts, lambda p: p.expert, choose, "what it reads"),
            Slider(
                "From token",
                0,
                max(len(strip.tokens) - 1, 1),
                1,
                lambda p: p.first,
                lambda p, v: replace(p, first=min(int(v), len(strip.tokens) - 1)),
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: the start, the last layer, and the same after training."""
        last_layer, last_step = self.params.strip.n_layers - 1, len(self.params.strip.steps) - 1
        return (
            Landmark("First layer", "what the embedding says", lambda p: replace(p, step=0, layer=0)),
            Landmark("Last layer", "what the context adds", lambda p: replace(p, layer=last_layer)),
            Landmark("After training", "the same text", lambda p: replace(p, step=last_step)),
        )
