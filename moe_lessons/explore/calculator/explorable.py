"""Explorable 4, the calculator: what experts, K, dtype and context do to parameters, FLOPs and bytes."""

from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.calculator.state import (
    DTYPES,
    MODELS,
    Params,
    State,
    choose,
    simulate,
    with_experts,
    with_top_k,
)
from moe_lessons.svg import Drawing


def _powers(low: int, high: int) -> tuple[tuple[str, int], ...]:
    """Powers of two to pick from."""
    return tuple((f"{2**i:,}", 2**i) for i in range(low, high + 1))


class Calculator(Explorable[Params]):
    """The calculator; show it as the last line of a cell.

    Examples
    --------
    >>> calculator = Calculator()
    >>> calculator.locked, len(calculator.asks)
    (True, 2)
    >>> print(calculator.commit(2)[:32])
    ✔ You predicted: About 200,000 t
    """

    name = "Calculator"
    questions = (
        Question(
            "Mixtral touches 12.9 billion parameters for a token, 25.8 GB in bf16. From what context on does "
            "the KV cache of one text weigh more?",
            ("About 2,000 tokens", "About 20,000 tokens", "About 200,000 tokens", "About 2 million tokens"),
            2,
            "128 KiB per token; 25.8 GB hold that 196,532 times.",
        ),
        Question(
            "Now keep what multi-head latent attention (MLA) would keep in each layer: 576 numbers per token "
            "in place of 2,048. And now?",
            ("At the same context", "At about 700,000 tokens", "At about 7 million tokens"),
            1,
            "The cache shrinks by 2048 / 576, about 3.6 times, and the context at which it overtakes grows "
            "by as much.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: Mixtral-8x7B in bf16, 4,096 tokens."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw waterfall, bytes and FLOPs."""
        from moe_lessons.explore.calculator.view import draw

        return draw(state)

    def frame(self) -> str:
        """Draw the present parameters; before the prediction, without the context that it asks for."""
        from moe_lessons.explore.calculator.view import waiting

        return waiting(self.simulate(self.params)) if self.locked else super().frame()

    def reveal(self, question: int) -> Drawing:
        """Draw the cache against the active weights."""
        from moe_lessons.explore.calculator.view import crossing

        return crossing(latent=question == 1)

    def static(self) -> Drawing:
        """Draw what each control buys."""
        from moe_lessons.explore.calculator.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List model, E, K, F, shared experts, dtype, context and kind of cache."""
        names = tuple((name, name) for name in MODELS)
        return (
            Choice("Model", names, lambda p: p.model, choose, "its published sizes"),
            Choice(
                "Weights", tuple((d, d) for d in DTYPES), lambda p: p.dtype, lambda p, v: replace(p, dtype=v)
            ),
            Choice(
                "E",
                _powers(0, 9),
                lambda p: p.n_experts,
                with_experts,
                "experts in a layer",
                lambda p: f"{p.n_experts}",
            ),
            Slider("K", 1, 32, 1, lambda p: p.top_k, with_top_k, "experts per token, at most E"),
            Choice(
                "F",
                _powers(6, 15),
                lambda p: p.d_expert,
                lambda p, v: replace(p, d_expert=v),
                "hidden width of an expert",
                lambda p: f"{p.d_expert:,}",
            ),
            Slider(
                "Shared",
                0,
                8,
                1,
                lambda p: p.n_shared,
                lambda p, v: replace(p, n_shared=int(v)),
                "experts that every token passes",
            ),
            Choice(
                "Context",
                _powers(8, 21),
                lambda p: p.context,
                lambda p, v: replace(p, context=v),
                "tokens of one text",
                lambda p: f"{p.context:,}",
            ),
            Choice(
                "Cache",
                (("as published", False), ("as with MLA", True)),
                lambda p: p.latent_cache,
                lambda p, v: replace(p, latent_cache=bool(v)),
                "what attention keeps of each token",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: start, twice E, twice K, where the cache overtakes, MLA, a large model."""
        return (
            Landmark("Mixtral", "as published, 4,096 tokens", lambda p: Params()),
            Landmark("E × 2", "what moves?", lambda p: with_experts(p, min(2 * p.n_experts, 512))),
            Landmark("K × 2", "and now?", lambda p: with_top_k(p, min(2 * p.top_k, 32))),
            Landmark("Cache overtakes", "from here on, in Mixtral", lambda p: Params(context=196_533)),
            Landmark("… with MLA", "the same context", lambda p: replace(p, latent_cache=True)),
            Landmark("DeepSeek-V3", "256 experts, 8 used", lambda p: choose(Params(), "DeepSeek-V3")),
        )
