"""Explorable 8, the decode roofline: what a step reads, for how many users, and what takes the time."""

import math
from collections.abc import Sequence
from dataclasses import replace

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Question, Slider
from moe_lessons.explore.roofline.state import (
    DTYPES,
    HARDWARE,
    MODELS,
    MOST_BATCH,
    MOST_CONTEXT,
    MOST_GAMMA,
    Params,
    State,
    cache_outweighs_at,
    computes_from,
    covered_at,
    simulate,
)
from moe_lessons.svg import Drawing


class Roofline(Explorable[Params]):
    """The decode roofline; show it as the last line of a cell.

    Examples
    --------
    >>> roofline = Roofline()
    >>> roofline.locked, len(roofline.asks)
    (True, 2)
    """

    name = "Decode roofline"
    questions = (
        Question(
            "A layer has 256 experts, and each token takes 8. From how many users on does a decode step read "
            "90 % of the experts, if all choose independently?",
            ("29 users: 29 · 8 is 90 % of 256", "73 users", "256 users, one for each expert"),
            1,
            "Users share experts: after B of them a share of (1 - 8/256)^B is left. The last tenth is slow.",
        ),
        Question(
            "DeepSeek-V3, 64 users. Now 128 ask. What becomes of the bytes read for *one* token?",
            (
                "They stay: each brings experts of its own.",
                "They fall to a little more than half.",
                "They fall to exactly half.",
            ),
            1,
            "Most experts are read already, and a few are added. In a dense model it would be exactly half.",
        ),
    )

    @staticmethod
    def start() -> Params:
        """Return the first frame: Mixtral in bf16 on an H100, one user."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw roof, bytes and experts."""
        from moe_lessons.explore.roofline.view import draw

        return draw(state)

    def reveal(self, question: int) -> Drawing:
        """Draw the experts, or the bytes of one token, against the batch."""
        from moe_lessons.explore.roofline.view import coverage_of, per_token

        return (coverage_of, per_token)[question]("DeepSeek-V3")

    def static(self) -> Drawing:
        """Draw what a few batches read."""
        from moe_lessons.explore.roofline.view import strip

        return strip()

    def controls(self) -> Sequence[Control[Params]]:
        """List model, weights, hardware, batch, context and draft."""
        return (
            Choice(
                "Model",
                tuple((name, name) for name in MODELS),
                lambda p: p.model,
                lambda p, v: replace(p, model=v),
                "its published sizes",
            ),
            Choice(
                "Weights",
                tuple((d, d) for d in DTYPES),
                lambda p: p.dtype,
                lambda p, v: replace(p, dtype=v),
                "mxfp4: experts in four bits, the rest bf16",
            ),
            Choice(
                "Hardware",
                tuple((h, h) for h in HARDWARE),
                lambda p: p.hardware,
                lambda p, v: replace(p, hardware=v),
                "what it reaches; memory is taken to be large enough",
            ),
            Slider(
                "Batch",
                0,
                math.log2(MOST_BATCH),
                0.05,
                lambda p: math.log2(p.batch),
                lambda p, v: replace(p, batch=round(2**v)),
                "users who decode together",
                lambda p: f"{p.batch:,}",
            ),
            Slider(
                "Context",
                0,
                math.log2(MOST_CONTEXT),
                0.25,
                lambda p: math.log2(max(p.context, 1)),
                lambda p, v: replace(p, context=round(2**v)),
                "tokens in each user's cache",
                lambda p: f"{p.context:,}",
            ),
            Slider(
                "Draft",
                0,
                MOST_GAMMA,
                1,
                lambda p: p.gamma,
                lambda p, v: replace(p, gamma=int(v)),
                "tokens guessed for each user, 70 % of them right",
            ),
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: one user, most experts read, compute-bound, long texts, a draft."""
        return (
            Landmark("One user", "who reads for himself", lambda p: replace(p, batch=1, gamma=0)),
            Landmark(
                "90 % of experts",
                "from this batch on",
                lambda p: replace(p, batch=covered_at(p), gamma=0),
            ),
            Landmark(
                "Compute-bound",
                "with empty caches",
                lambda p: replace(p, batch=computes_from(p) or MOST_BATCH, context=1, gamma=0),
            ),
            Landmark(
                "Long texts",
                "caches outweigh weights",
                lambda p: Params(batch=64, context=cache_outweighs_at(Params(batch=64))),
            ),
            Landmark(
                "A draft, alone",
                "DeepSeek-V3, one user",
                lambda p: Params("DeepSeek-V3", 1, p.context, gamma=3),
            ),
            Landmark(
                "A draft, in company",
                "256 users",
                lambda p: Params("DeepSeek-V3", 256, p.context, gamma=3),
            ),
        )
