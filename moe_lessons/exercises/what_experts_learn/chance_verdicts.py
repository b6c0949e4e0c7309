"""Mistakes in 12.what_is_it about chance and units: the rule of the card on measures that are not its own."""

import math
from collections.abc import Callable
from typing import Any

import torch

from moe_lessons.exercises.spec import Misconception
from moe_lessons.exercises.what_experts_learn.bits import beyond, bits, miller, miller_beyond, shared
from moe_lessons.exercises.what_experts_learn.verdict_logs import Measures, measures

Tensor = torch.Tensor
LN2 = math.log(2)


def domain_raw(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Nothing taken off for chance."""
    return {"domain": beyond(tr, d, t)}


def position_raw(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Nothing taken off for chance."""
    return {"position": shared(tr, p)}


def token_raw(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Nothing taken off for chance, from either router's."""
    return {"token": shared(tr, t), "before": shared(un, t)}


def all_raw(*log: Tensor) -> Measures:
    """Nothing taken off for chance anywhere."""
    return domain_raw(*log) | position_raw(*log) | token_raw(*log)


def one_term(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Miller's term of the whole log, where each kind has its own."""
    return {"domain": beyond(tr, d, t) - miller(tr, d)}


def nats_off_domain(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Miller's term in nats, taken off bits."""
    return {"domain": beyond(tr, d, t) - LN2 * miller_beyond(tr, d, t)}


def nats_off(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """The same for all of them."""
    return nats_off_domain(tr, un, t, d, p) | {
        "position": shared(tr, p) - LN2 * miller(tr, p),
        "token": shared(tr, t) - LN2 * miller(tr, t),
        "before": shared(un, t) - LN2 * miller(un, t),
    }


def shuffled_everywhere(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Chance of the domain from shuffles over all tokens."""
    draws = torch.Generator().manual_seed(0)
    moved = [d[torch.randperm(len(d), generator=draws)] for _ in range(5)]
    return {"domain": beyond(tr, d, t) - sum(beyond(tr, m, t) for m in moved) / 5}


def every_domain(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """Miller's term with all experts and domains in each kind, whether they occur there or not."""
    return {"domain": beyond(tr, d, t) - len(t.unique()) * miller(tr, d)}


def less_domain_of_token(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> Measures:
    """What the token tells of the domain, taken off."""
    return {"domain": shared(tr, d) - shared(t, d)}


def twice_off(*log: Tensor) -> Measures:
    """Chance taken off two times."""
    m, raw = measures(*log), all_raw(*log)
    return {name: 2 * m[name] - raw[name] for name in raw}


def chance_mistakes(verdict: Callable[..., str]) -> tuple[Misconception, ...]:
    """Of 12.what_is_it: chance left in or taken off wrongly, other units."""

    def on(change: Callable[..., Measures]) -> Callable[..., str]:
        return lambda *log: verdict(measures(*log) | change(*log))

    def news(bar: float) -> Callable[..., str]:
        return lambda *log: verdict(measures(*log), news=bar)

    def shares(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
        return verdict(
            {
                "domain": beyond(tr, d, t) / bits(d),
                "position": shared(tr, p) / bits(p),
                "token": shared(tr, t) / bits(t),
                "before": shared(un, t) / bits(t),
            }
        )

    def in_nats(*log: Any) -> str:
        return verdict({name: value * LN2 for name, value in measures(*log).items()})

    return (
        Misconception(
            "chance_taken_for_news",
            "Chance was taken for news. In a sample of this size information is above 0 even where there is "
            "none, and the more so the more kinds there are. Take off what shuffled labels "
            "give, and ask for more than 0.1 bits on top of that.",
            wrong=on(all_raw),
            also=(*(on(raw) for raw in (domain_raw, position_raw, token_raw, one_term)), news(0.01)),
            hint=2,
        ),
        Misconception(
            "chance_too_small",
            "Something was taken off for chance, and it was too little. Is Miller's term in the unit of what "
            "it is taken off from?",
            wrong=on(nats_off),
            also=(on(nats_off_domain),),
            hint=2,
        ),
        Misconception(
            "domain_just_missed",
            "A domain that is not far above the threshold was missed. Is it asked for among tokens of one "
            "kind, and with a chance of its own? Where a kind of token occurs in some of the domains only, "
            "chance has fewer to choose from, and gives less than over the whole log.",
            wrong=on(shuffled_everywhere),
            also=(on(less_domain_of_token), on(every_domain)),
            hint=2,
        ),
        Misconception(
            "one_router_corrected",
            "Chance was taken off what one of the two routers tells about the token, and not off the "
            "other's. Their difference then holds the chance of one.",
            wrong=on(lambda tr, un, t, d, p: {"before": shared(un, t)}),
            also=(on(lambda tr, un, t, d, p: {"token": shared(tr, t)}),),
            hint=2,
        ),
        Misconception(
            "nats",
            "Measures that are not far above a threshold of the card stayed below it: they are too small by "
            "a constant factor. The thresholds are bits. Which logarithm did you take?",
            wrong=in_nats,
            hint=3,
        ),
        Misconception(
            "shares_of_entropies",
            "The measures were divided by entropies. The thresholds of the card are bits.",
            wrong=shares,
            hint=3,
        ),
        Misconception(
            "threshold_too_high",
            "Something clear was not taken for news: the threshold is too high, or two corrections were "
            "taken off. The card asks for more than 0.1 bits above chance.",
            wrong=news(0.5),
            also=(news(1.0), on(twice_off)),
            hint=3,
        ),
    )
