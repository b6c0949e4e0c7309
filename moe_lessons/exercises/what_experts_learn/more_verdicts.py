"""Mistakes in 12.what_is_it that are rules: nearly the card's, on its measures or on their differences."""

from collections.abc import Callable, Sequence

import torch

from moe_lessons.exercises.spec import Case, Misconception, Outputs
from moe_lessons.exercises.what_experts_learn.bits import beyond, shared
from moe_lessons.exercises.what_experts_learn.verdict_logs import (
    LEARNED,
    NEWS,
    Measures,
    above,
    above_beyond,
    measures,
)

Tensor = torch.Tensor
Rule = Callable[[Measures], str]

WORDS = ("domain", "position", "token", "untrained", "nothing")


def _other_word(case: Case, got: Outputs, want: Outputs) -> bool:
    return got["verdict"] == want["verdict"] or got["verdict"] not in WORDS


def _less_untrained(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
    """The untrained router's figures in the place of chance."""
    if beyond(tr, d, t) - beyond(un, d, t) > NEWS:
        return "domain"
    if shared(tr, p) - shared(un, p) > NEWS:
        return "position"
    token = shared(tr, t) - shared(un, t)
    return "token" if token > LEARNED else "untrained" if shared(tr, t) > NEWS else "nothing"


def _domain_since(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    return {"domain": above_beyond(tr, d, t) - above_beyond(un, d, t)}


def _position_since(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    return {"position": above(tr, p) - above(un, p)}


def _less_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    return {"domain": above(tr, d) - above(tr, t)}


def _beyond_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    return {"position": above_beyond(tr, p, t)}


def verdict_mistakes(verdict: Callable[..., str]) -> tuple[Misconception, ...]:
    """Of 12.what_is_it: other orders, other comparisons, other thresholds."""

    def on(change: Callable[..., Measures]) -> Callable[..., str]:
        return lambda *log: verdict(measures(*log) | change(*log))

    def told(rule: Rule) -> Callable[..., str]:
        return lambda *log: rule(measures(*log))

    def in_order(names: Sequence[str]) -> Rule:
        def rule(m: Measures) -> str:
            for name in names:
                if name != "token" and m[name] > NEWS:
                    return name
                if name == "token" and m["token"] > NEWS:
                    return verdict(m | {"domain": 0.0, "position": 0.0})
            return "nothing"

        return rule

    def instead(by_token: Rule) -> Callable[..., str]:
        """Where the card goes on to the untrained router, another rule."""
        return told(lambda m: by_token(m) if verdict(m) in ("token", "untrained") else verdict(m))

    def untrained_if_before(m: Measures) -> str:
        """The untrained router's own figure, where the trained one's is asked for."""
        if verdict(m) in ("domain", "position"):
            return verdict(m)
        if m["token"] > m["before"] + LEARNED:
            return "token"
        return "untrained" if m["before"] > NEWS else "nothing"

    return (
        Misconception(
            "any_difference",
            "What is a little more than the untrained router tells was taken for learned. The card wants to "
            "see clearly more, and says how many bits that is: neither any difference nor a share of it.",
            wrong=instead(lambda m: "token" if m["token"] > m["before"] else "untrained"),
            also=(instead(lambda m: "token" if m["token"] > 1.2 * m["before"] else "untrained"),),
            hint=1,
        ),
        Misconception(
            "difference_either_way",
            "A router that tells *less* of the token than it did untrained was taken for one that learned "
            "it. The difference has a direction.",
            wrong=instead(lambda m: "token" if abs(m["token"] - m["before"]) > LEARNED else "untrained"),
            hint=1,
        ),
        Misconception(
            "thresholds_mixed_up",
            "The card has two thresholds: one for news, one for what was learned on top of the untrained "
            "router. They have changed places, or one of them stands for both.",
            wrong=told(lambda m: verdict(m, news=LEARNED, learned=NEWS)),
            also=(
                told(lambda m: verdict(m, news=LEARNED)),
                told(lambda m: verdict(m, learned=NEWS)),
            ),
            hint=3,
        ),
        Misconception(
            "position_first",
            "The position was asked for before the domain. The card's order decides where a router goes by "
            "both.",
            wrong=told(in_order(("position", "domain", "token"))),
            hint=3,
        ),
        Misconception(
            "position_beyond_the_token",
            "The position was asked for *beyond the token*. The card takes the token out for the domain "
            "only; with the position it asks for all that the expert tells.",
            wrong=on(_beyond_token),
            hint=3,
        ),
        Misconception(
            "domain_less_untrained",
            "What the untrained router tells was taken off for the domain or the position as well. That is a "
            "sensible question; the card asks it of the token only, and further below in the lesson you will "
            "see what that costs.",
            wrong=on(_domain_since),
            also=(
                on(_position_since),
                on(lambda *log: _domain_since(*log) | _position_since(*log)),
                _less_untrained,
            ),
            hint=3,
        ),
        Misconception(
            "domain_by_subtraction",
            "For the domain, two informations were subtracted. What the expert tells of the domain and what "
            "it tells of the token overlap in part only: look among tokens of one kind.",
            wrong=on(_less_token),
            hint=3,
        ),
        Misconception(
            "position_not_asked",
            "The position was never asked for.",
            wrong=told(lambda m: verdict(m | {"position": 0.0})),
            hint=3,
        ),
        Misconception(
            "domain_not_asked",
            "The domain was never asked for, or only where nothing else was left.",
            wrong=told(lambda m: verdict(m | {"domain": 0.0})),
            also=(told(in_order(("position", "token", "domain"))),),
            hint=3,
        ),
        Misconception(
            "routers_exchanged",
            "The trained and the untrained router have changed places.",
            wrong=lambda tr, un, t, d, p: verdict(measures(un, tr, t, d, p)),
            hint=1,
        ),
        Misconception(
            "untrained_by_itself",
            "The untrained router was not compared with the trained one: that it tells something of the "
            "token does not mean that nothing was learned on top. The card asks for the difference.",
            wrong=instead(lambda m: "untrained" if m["before"] > NEWS else "token"),
            hint=1,
        ),
        Misconception(
            "untrained_for_nothing",
            'Where nothing is above chance, the verdict is `"nothing"`: there has to be some order in the '
            "trained router's choices for it to be the untrained router's.",
            wrong=told(lambda m: "untrained" if verdict(m) == "nothing" else verdict(m)),
            also=(
                told(lambda m: "untrained" if abs(m["token"] - m["before"]) < LEARNED else verdict(m)),
                told(untrained_if_before),
            ),
            hint=3,
        ),
        Misconception(
            "other_word",
            "The verdict is one of five words, in small letters and spelled as in the card.",
            detects=_other_word,
            hint=3,
        ),
    )
