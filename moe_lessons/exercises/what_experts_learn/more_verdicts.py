"""Further mistakes in 12.what_is_it: rules that are nearly the card's, on measures that are nearly its."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from moe_lessons.exercises.spec import Case, Misconception, Outputs
from moe_lessons.exercises.what_experts_learn.bits import beyond, bits, miller, miller_beyond, shared

Tensor = torch.Tensor
Measures = dict[str, float]

WORDS = ("domain", "position", "token", "untrained", "nothing")


def _other_word(case: Case, got: Outputs, want: Outputs) -> bool:
    return got["verdict"] == want["verdict"] or got["verdict"] not in WORDS


def _by_token(m: Measures, verdict: Callable[[Measures], str]) -> bool:
    return verdict(m) in ("token", "untrained")


def _plain(m: Measures, verdict: Callable[[Measures], str]) -> str:
    """The card's word, without a look at the untrained router."""
    return "token" if _by_token(m, verdict) else verdict(m)


def verdict_mistakes(
    measures: Callable[..., Measures], verdict: Callable[[Measures], str], news: float
) -> tuple[Misconception, ...]:
    """Of 12.what_is_it: the rule of the card on other measures, or another rule on these."""

    def on(change: Callable[..., Measures]) -> Callable[..., str]:
        return lambda *log: verdict(measures(*log) | change(*log))

    def told(rule: Callable[[Measures], str]) -> Callable[..., str]:
        return lambda *log: rule(measures(*log))

    def in_order(names: Sequence[str]) -> Callable[[Measures], str]:
        def rule(m: Measures) -> str:
            for name in names:
                if name != "token" and m[name] > news:
                    return name
                if name == "token" and m["token"] > news:
                    return verdict(m | {"domain": 0.0, "position": 0.0})
            return "nothing"

        return rule

    def less_untrained(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
        """The untrained router's figures in the place of chance."""
        if beyond(tr, d, t) - beyond(un, d, t) > news:
            return "domain"
        if shared(tr, p) - shared(un, p) > news:
            return "position"
        token = shared(tr, t) - shared(un, t)
        return "token" if token > 0.2 else "untrained" if shared(tr, t) > news else "nothing"

    def everywhere(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
        draws = torch.Generator().manual_seed(0)
        moved = [d[torch.randperm(len(d), generator=draws)] for _ in range(5)]
        return {"domain": beyond(tr, d, t) - sum(beyond(tr, m, t) for m in moved) / 5}

    def less_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
        return {"domain": shared(tr, d) - miller(tr, d) - shared(tr, t) + miller(tr, t)}

    def less_domain_of_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
        return {"domain": shared(tr, d) - shared(t, d)}

    def beyond_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
        return {"position": beyond(tr, p, t) - miller_beyond(tr, p, t)}

    def domain_learned(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
        untrained = beyond(un, d, t) - miller_beyond(un, d, t)
        return {"domain": measures(tr, un, t, d, p)["domain"] - untrained}

    def shares(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
        """Informations as shares of the label's entropy, chance not taken off."""
        found = {
            "domain": beyond(tr, d, t) / bits(d),
            "position": shared(tr, p) / bits(p),
            "token": shared(tr, t) / bits(t),
            "before": shared(un, t) / bits(t),
        }
        return verdict(found | {"learned": found["token"] - found["before"]})

    def nearly_untrained(m: Measures) -> str:
        return "untrained" if abs(m["token"] - m["before"]) < 0.2 else verdict(m)

    def lower(bar: float) -> Callable[..., str]:
        def rule(*log: Any) -> str:
            m = measures(*log)
            for name in ("domain", "position"):
                if m[name] > bar:
                    return name
            if m["token"] > bar:
                return "token" if m["token"] > m["before"] + 0.2 else "untrained"
            return "nothing"

        return rule

    return (
        Misconception(
            "nearly_untrained",
            "Something that was learned was taken for the untrained router's, where it is only a little "
            "over the threshold. Are the measures in bits (a nat is 1.44 of them), and is chance taken off "
            "the untrained router's information as well as off the trained one's?",
            wrong=lambda *log: verdict({k: v * math.log(2) for k, v in measures(*log).items()}),
            also=(on(lambda tr, un, t, d, p: {"before": shared(un, t)}),),
            hint=3,
        ),
        Misconception(
            "position_first",
            "The position was asked for before the domain. The card's order decides where a router goes by "
            "both.",
            wrong=told(in_order(("position", "domain", "token"))),
            also=(told(in_order(("position", "token", "domain"))),),
            hint=3,
        ),
        Misconception(
            "position_beyond_the_token",
            "The position was asked for *beyond the token*. The card takes the token out for the domain "
            "only; with the position it asks for all that the expert tells.",
            wrong=on(beyond_token),
            hint=3,
        ),
        Misconception(
            "domain_less_untrained",
            "What the untrained router tells was taken off for the domain as well. That is a sensible "
            "question; the card asks it of the token only, and further below in the lesson you will see "
            "what that costs.",
            wrong=on(domain_learned),
            also=(less_untrained,),
            hint=3,
        ),
        Misconception(
            "domain_by_subtraction",
            "For the domain, two informations were subtracted. What the expert tells of the domain and what "
            "it tells of the token overlap in part only: look among tokens of one kind.",
            wrong=on(less_token),
            hint=3,
        ),
        Misconception(
            "domain_just_missed",
            "A domain that is not far above the threshold was missed. Is it asked for among tokens of one "
            "kind, and with a chance of its own: domains shuffled among tokens of the *same* kind? Shuffled "
            "over all tokens they lose what the token says of them, and chance comes out too large.",
            wrong=on(everywhere),
            also=(on(less_domain_of_token), lower(0.2)),
            hint=2,
        ),
        Misconception(
            "position_not_asked",
            "The position was never asked for.",
            wrong=told(lambda m: verdict(m | {"position": 0.0})),
            hint=3,
        ),
        Misconception(
            "domain_not_asked",
            "The domain was never asked for.",
            wrong=told(lambda m: verdict(m | {"domain": 0.0})),
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
            wrong=told(
                lambda m: "untrained" if _by_token(m, verdict) and m["before"] > news else _plain(m, verdict)
            ),
            hint=1,
        ),
        Misconception(
            "shares_of_entropies",
            "The measures were divided by entropies. The thresholds of the card are bits.",
            wrong=shares,
            hint=3,
        ),
        Misconception(
            "untrained_for_nothing",
            'Where nothing is above chance, the verdict is `"nothing"`: there has to be some order for it to '
            "be the untrained router's.",
            wrong=told(lambda m: "untrained" if verdict(m) == "nothing" else verdict(m)),
            also=(told(nearly_untrained),),
            hint=3,
        ),
        Misconception(
            "threshold_too_high",
            "Something clear was not taken for news: the threshold is too high, or two corrections were "
            "taken off. The card asks for more than 0.1 bits above chance.",
            wrong=lower(0.5),
            also=(lower(1.0),),
            hint=3,
        ),
        Misconception(
            "other_word",
            "The verdict is one of five words, in small letters and spelled as in the card.",
            detects=_other_word,
            hint=3,
        ),
    )
