"""Exercise 06.leaks_future: a test that tells routers that see the future from those that do not."""

from collections.abc import Callable, Container

import numpy as np
from torch import Tensor

from moe_lessons.exercises.routing_zoo.leak_draws import CHOICE_MOVES, draw, replaced
from moe_lessons.exercises.routing_zoo.leak_kinds import (
    CHUNKED,
    CROWD,
    EQUAL_COUNTS,
    FEW_PLACES,
    HARD,
    ORDERED,
    TAIL_IN_ORDER,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

Route = Callable[[Tensor], Tensor]


def reference(route: Route, logits_TE: Tensor) -> bool:
    """Replace the tokens from some position on, many times over, and look at the ones before it."""
    before_TE = route(logits_TE)
    for position in range(1, len(logits_TE)):
        for seed in range(6):
            after_TE = route(replaced(logits_TE, position, seed))
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
                after_TE = route(replaced(logits_TE, position, seed))
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
        changed_TE[:1] = replaced(logits_TE[:1], 0, seed)
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


def _right(case: Case, got: Outputs, want: Outputs) -> bool:
    return _verdict(got) == bool(want["leaks"])


def _overlooks(*missed: str, may_miss: Container[str] = HARD) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether an answer misses the leaks of these routers, is right on `SOFT` and on all that do not leak.

    Others of ``may_miss`` it may miss too, as chance will have it.
    """

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        if _kind(case) in missed:
            return not _verdict(got)
        return _right(case, got, want) or _kind(case) in may_miss

    return detects


LEAKS_FUTURE = Exercise(
    id="06.leaks_future",
    title="A test for causality",
    task=(
        "You are given a router as a function: `route(logits_TE)` returns its weights `[T, E]`, 0 where an "
        "expert was not chosen. It gives the same answer to the same input. Return True if what it decides "
        "for a token can depend on *later* tokens, else False. You cannot read its code; you can call it, as "
        "often as you like, with any logits. Your test is tried on fourteen routers, some leaky, some clean. "
        "Differences below 1e-5 are rounding: a clean router may show them."
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
            "all_leaky",
            "The test calls every router leaky, even plain top-2, where each token decides by itself. Print "
            "what differs there. Is it a token that you *changed*? Of course that one is routed anew: "
            "compare only those before the change. Or a token that an earlier try had changed? Without "
            "`.clone()` all tries write into the same logits.",
            # Where places run out, a token at the end may be dropped before and after, and nothing shows.
            detects=lambda case, got, want: _verdict(got) or _kind(case) in FEW_PLACES,
            hint=1,
        ),
        Misconception(
            "none_leaky",
            "The test finds no leak anywhere, not even where a token is routed by the next one. Do the two "
            "calls really get different logits? Without `.clone()` a change lands in the original as well, "
            "and what is compared with itself never differs. Or is something compared that cannot change, "
            "such as the sum of weights that always sum to 1?",
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
            "order_compared",
            "The test puts the tokens in another order and asks that each keep its weights. A clean router "
            "may depend on the order: whoever comes first takes the place. And one that does not may still "
            "look at all tokens at once. Keep the beginning as it is, and change what comes after it.",
            detects=lambda case, got, want: _verdict(got) == (_kind(case) in ORDERED),
            hint=1,
        ),
        Misconception(
            "tail_reordered",
            "The later tokens were only put in another order. A router that adds them up, or takes the best "
            "of them, sees the same crowd as before. Replace them by other tokens.",
            detects=lambda case, got, want: _verdict(got) == (_kind(case) in TAIL_IN_ORDER),
            hint=2,
        ),
        Misconception(
            "choice_not_moved",
            "Leaks were missed where only the *choice* changes. A choice does not move with a small change, "
            "and a gradient sees nothing at all: it flips when one token overtakes another. Put quite "
            "different tokens at the end, large ones too, and try many.",
            # A single random try misses one or the other of these by chance, and hardly ever all.
            detects=_overlooks(*CHOICE_MOVES),
            hint=2,
        ),
        Misconception(
            "one_token_changed",
            "A leak was missed that shows only when *several* later tokens change together: with one of them "
            "changed, the batch is nearly what it was. Replace everything from a position on.",
            detects=_overlooks(CROWD, may_miss=set(HARD) - {"expert_choice"}),
            hint=2,
        ),
        Misconception(
            "one_position",
            "A leak was missed that reaches only a few tokens back. With the change always at one place, say "
            "in the middle, it falls between two groups of tokens that know nothing of each other. Let the "
            "change begin at every position.",
            detects=_overlooks(CHUNKED, may_miss=set(HARD) - {CROWD}),
            hint=2,
        ),
        Misconception(
            "one_token_watched",
            "The test watches a single token, such as the first. A leak may reach only a neighbour: watch "
            "all tokens before the change.",
            detects=_overlooks("shifted_by_one"),
            hint=1,
        ),
        Misconception(
            "inverted",
            "Every verdict is the wrong way round: the function is asked whether the router *leaks*.",
            detects=lambda case, got, want: not _right(case, got, want),
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
    notice=(
        "Such a test can prove a leak and never its absence: it tries several sizes and several draws "
        "because a leak may need the right change to show."
    ),
)
