"""Exercise 06.leaks_future: a test that tells routers that see the future from those that do not."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs
from moe_lessons.exercises.subjects import SUBJECTS

Route = Callable[[Tensor], Tensor]
SIZES = (12, 4)
CLEAN = {
    "plain": "top-2",
    "fixed_bias": "top-2 with a bias from earlier batches",
    "running_bias": "top-2 with a bias from earlier tokens",
    "first_come": "places for three, first come, first served",
    "batch_maximum": "softmax with the maximum of the whole batch subtracted",
}
SOFT = {
    "sinkhorn": "Sinkhorn",
    "scaled_by_mean": "top-2, weights divided by the expert's mean",
    "batch_temperature": "softmax at a temperature set by the batch",
    "shifted_by_one": "softmax of the next token's logits",
}
HARD = {
    "batch_bias": "top-2 with a bias from this batch",
    "most_certain_first": "places for three, the surest token first",
    "expert_choice": "expert choice, three tokens each",
}
"""Leaks that show in who is chosen, so only where a change moves a token past another."""

FEW_PLACES = {"first_come", "most_certain_first", "expert_choice"}
"""Routers that leave some tokens without an expert."""

RARE = "most_certain_first"
"""The hard one whose logits are drawn so that most single tries miss it."""

EQUAL_COUNTS = {"batch_maximum", "batch_temperature", "sinkhorn", "shifted_by_one", "expert_choice"}
"""Routers whose experts always have the same number of tokens: all of them, or three."""


def _replaced(logits_TE: Tensor, position: int, seed: int) -> Tensor:
    """Other logits from this position on, as large as the ones that were there or several times larger."""
    generator = torch.Generator().manual_seed(seed)
    changed_TE = logits_TE.clone()
    fresh_TE = torch.randn(logits_TE[position:].shape, generator=generator)
    changed_TE[position:] = fresh_TE * (1 + seed % 3)
    return changed_TE


def reference(route: Route, logits_TE: Tensor) -> bool:
    """Replace the tokens from some position on, many times over, and look at the ones before it."""
    before_TE = route(logits_TE)
    for position in range(1, len(logits_TE)):
        for seed in range(6):
            after_TE = route(_replaced(logits_TE, position, seed))
            if (after_TE - before_TE)[:position].abs().max() > 1e-4:
                return True
    return False


def _variant(
    view: Callable[[Tensor, int], Tensor] = lambda weights_TE, t: weights_TE[:t],
    tolerance: float = 1e-4,
) -> Callable[[Route, Tensor], bool]:
    """The right test, with another look at the weights."""

    def test(route: Route, logits_TE: Tensor) -> bool:
        before_TE = route(logits_TE)
        for position in range(1, len(logits_TE)):
            for seed in range(6):
                after_TE = route(_replaced(logits_TE, position, seed))
                gap = (view(after_TE, position).float() - view(before_TE, position).float()).abs().max()
                if gap > tolerance:
                    return True
        return False

    return test


def _first_changed(route: Route, logits_TE: Tensor) -> bool:
    """Replace the first token and look at the later ones."""
    before_TE = route(logits_TE)
    for seed in range(20):
        changed_TE = logits_TE.clone()
        changed_TE[:1] = _replaced(logits_TE[:1], 0, seed)
        if (route(changed_TE) - before_TE)[1:].abs().max() > 1e-4:
            return True
    return False


def _kind(case: Case) -> str:
    return str(case.args["route"])


def _verdict(got: Outputs) -> bool:
    """What the test said; a number or a text is no verdict, and a mistake of another kind."""
    if np.asarray(got["leaks"]).dtype != np.bool_:
        raise TypeError("no verdict")
    return bool(got["leaks"])


def _missed(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right on all others; among the hard leaks at least one is missed, or there would be no mistake."""
    return _verdict(got) == bool(want["leaks"]) or _kind(case) in HARD


def _one_token(case: Case, got: Outputs, want: Outputs) -> bool:
    """As above, and a leak from the very next token is missed too: its neighbour was never looked at."""
    if _kind(case) == "shifted_by_one":
        return not _verdict(got)
    return _missed(case, got, want)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Every router once, in an order of its own."""
    names = {**CLEAN, **SOFT, **HARD}
    kinds = [list(names)[i] for i in rng.permutation(len(names))]
    return [Case(f"router: {names[kind]}", _args(rng, kind)) for kind in kinds]


def _args(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """Logits on which a hard leak shows for four in five replacements of the last token alone.

    One of them shows for about one in five, so that a single try is not enough. One at each position is.
    """
    while True:
        logits_TE = (1.5 * rng.standard_normal(SIZES)).astype(np.float32)
        if kind not in HARD or _suits(kind, torch.from_numpy(logits_TE)):
            return {"route": kind, "logits_TE": logits_TE}


def _suits(kind: str, logits_TE: Tensor) -> bool:
    before_TE = SUBJECTS[kind](logits_TE)

    def shows(position: int, seed: int) -> bool:
        after_TE = SUBJECTS[kind](_replaced(logits_TE, position, seed))
        return not after_TE[:position].equal(before_TE[:position])

    last = len(logits_TE) - 1
    seen = sum(shows(last, seed) for seed in range(20))
    if kind != RARE:
        return seen >= 16
    return 3 <= seen <= 5 and all(any(shows(t, 20 * t + s) for t in range(1, last + 1)) for s in range(10))


LEAKS_FUTURE = Exercise(
    id="06.leaks_future",
    title="A test for causality",
    task=(
        "You are given a router as a function: `route(logits_TE)` returns its weights `[T, E]`, 0 where an "
        "expert was not chosen. It gives the same answer to the same input. Return True if what it decides "
        "for a token can depend on *later* tokens, else False. You cannot read its code; you can call it, as "
        "often as you like, with any logits. Your test is tried on twelve routers, some leaky, some clean."
    ),
    entry="leaks_future",
    points=6,
    minutes=20,
    difficulty=4,
    outputs=(Output("leaks", kind="bool"),),
    draw=draw,
    reference=reference,
    driver="subject",
    options={"place": 0},
    misconceptions=(
        Misconception(
            "changed_token_compared",
            "The test calls every router leaky, the plainest too. It compares the token that was changed "
            "along with the others, and of course that one is routed anew. Compare only tokens *before* "
            "the change.",
            # Where places run out, a token at the end may be dropped before and after, and nothing shows.
            detects=lambda case, got, want: _verdict(got) or _kind(case) in FEW_PLACES,
            hint=1,
        ),
        Misconception(
            "compared_with_itself",
            "The test finds no leak anywhere, not even where a token is routed by the next one. Do the two "
            "calls really get different logits? Without `.clone()` a change lands in the original as well, "
            "and what is compared with itself never differs.",
            detects=lambda case, got, want: not _verdict(got),
            hint=2,
        ),
        Misconception(
            "past_changed",
            "The test changes an early token and looks at later ones. That is the past acting on the future, "
            "which a causal model may do: whoever comes first takes the place. Turn it round.",
            wrong=_first_changed,
            hint=1,
        ),
        Misconception(
            "loads_compared",
            "The test compares how many tokens each expert has. That changes when the last token goes "
            "elsewhere, in a clean router too; and where experts choose it never changes. Compare token by "
            "token.",
            detects=lambda case, got, want: _verdict(got) == (_kind(case) not in EQUAL_COUNTS),
            hint=1,
        ),
        Misconception(
            "no_tolerance",
            "The test asks for equality to the last bit. A router may divide by something common to the "
            "whole batch, which cancels, and differ by rounding. Allow for 1e-5 or so.",
            wrong=_variant(tolerance=0.0),
            hint=3,
        ),
        Misconception(
            "choices_only",
            "The test looks at which experts are chosen and not at their weights. A weight can carry news "
            "from the future just as well.",
            wrong=_variant(view=lambda weights_TE, t: weights_TE[:t] > 0),
            hint=2,
        ),
        Misconception(
            "favourite_only",
            "The test looks at each token's favourite expert alone. The others' weights, or all of them by "
            "one factor, can move while the favourite stays. Compare every weight.",
            wrong=_variant(view=lambda weights_TE, t: weights_TE[:t].argmax(dim=-1)),
            hint=2,
        ),
        Misconception(
            "leak_missed",
            "Some leaks were missed where only the *choice* changes. A choice does not move with a small "
            "change, and a gradient sees nothing at all: it flips when one token overtakes another. Put "
            "quite different tokens at the end, large ones too, and try many.",
            detects=_missed,
            hint=2,
        ),
        Misconception(
            "one_token_watched",
            "The test watches a single token, such as the first. A leak may reach only a neighbour: watch "
            "all tokens before the change.",
            detects=_one_token,
            hint=1,
        ),
        Misconception(
            "inverted",
            "Every verdict is the wrong way round: the function is asked whether the router *leaks*.",
            detects=lambda case, got, want: _verdict(got) != bool(want["leaks"]),
            hint=3,
        ),
    ),
    hints=(
        "What may a token's routing depend on? Then what must not change, whatever you do to the rest?",
        "Replace everything from position t on by other logits and compare the weights of tokens 0 to t-1. "
        "One try can miss a leak: use many positions and many replacements of several sizes.",
        "`(route(changed_TE)[:t] - route(logits_TE)[:t]).abs().max() > 1e-4` in a loop; True at the first "
        "hit.",
    ),
)
