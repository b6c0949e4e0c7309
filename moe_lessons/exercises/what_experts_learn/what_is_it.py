"""Exercise 12.what_is_it: a verdict on a routing log; it needs chance, the untrained router and the token."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output
from moe_lessons.exercises.what_experts_learn.bits import shared
from moe_lessons.exercises.what_experts_learn.chance_verdicts import chance_mistakes
from moe_lessons.exercises.what_experts_learn.more_verdicts import verdict_mistakes
from moe_lessons.exercises.what_experts_learn.verdict_logs import (
    BOUNDS,
    LEARNED,
    NEWS,
    Measures,
    above,
    log,
    measures,
)

Tensor = torch.Tensor


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Logs that are clear and logs that are close, in any order."""
    logs = [log(kind, rng) for kind in BOUNDS]
    order = rng.permutation(len(logs))
    return [Case(f"log {n + 1}", logs[i]) for n, i in enumerate(order)]


def verdict(m: Measures, *, news: float = NEWS, learned: float = LEARNED) -> str:
    """Return the card's word for what was measured."""
    if m["domain"] > news:
        return "domain"
    if m["position"] > news:
        return "position"
    if m["token"] > news:
        return "token" if m["token"] > m["before"] + learned else "untrained"
    return "nothing"


def reference(trained: Tensor, untrained: Tensor, tokens: Tensor, domains: Tensor, positions: Tensor) -> str:
    """The rule of the card, with Miller's correction."""
    return verdict(measures(trained, untrained, tokens, domains, positions))


Answer = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], str]


def _with(change: Callable[..., Measures]) -> Answer:
    """The rule of the card on other measures."""
    return lambda *log: verdict(measures(*log) | change(*log))


def _untrained_last(*log: Tensor) -> str:
    """The untrained router is looked at only where nothing else is left."""
    m = measures(*log)
    word = verdict(m | {"before": -1.0})
    return "untrained" if word == "nothing" and m["before"] > NEWS else word


def _largest(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
    found = {"token": shared(tr, t), "domain": shared(tr, d), "position": shared(tr, p)}
    return max(found, key=lambda name: found[name])


def _largest_news(*log: Tensor) -> str:
    m = measures(*log)
    name = max(("token", "domain", "position"), key=lambda name: m[name])
    if m[name] <= NEWS:
        return "nothing"
    return "untrained" if name == "token" and m["token"] <= m["before"] + LEARNED else name


def _largest_of_those(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
    word = reference(tr, un, t, d, p)
    return word if word in ("nothing", "untrained") else _largest(tr, un, t, d, p)


def _token_first(*log: Tensor) -> str:
    m = measures(*log)
    if m["token"] > NEWS:
        return "token" if m["token"] > m["before"] + LEARNED else "untrained"
    return verdict(m)


def _untrained_first(*log: Tensor) -> str:
    m = measures(*log)
    if NEWS < m["token"] <= m["before"] + LEARNED:
        return "untrained"
    return verdict(m)


WHAT_IS_IT = Exercise(
    id="12.what_is_it",
    title="What is it that was learned?",
    task=(
        "A routing log of N tokens: the expert of a trained router and of the same model untrained, the kind "
        "of token, domain and position. Name what the trained router goes by. **Above chance** means: after "
        "taking off what chance gives a sample of this size (shuffles, or Miller's term). In this order: "
        '`"domain"` if the expert tells more than 0.1 bits about the domain *beyond the token*; '
        '`"position"` if more than 0.1 about the position; if it tells more than 0.1 about the token, '
        '`"token"` where that is more than 0.2 above what the untrained router tells about it, and '
        '`"untrained"` where it is not; else `"nothing"`. All above chance.'
    ),
    entry="what_is_it",
    points=5,
    minutes=25,
    difficulty=4,
    outputs=(Output("verdict", kind="text"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "no_baseline",
            "What the untrained router tells was not looked at. It sorts tokens before any training; only "
            "what is clearly more than that was learned.",
            wrong=_with(lambda *log: {"before": -1.0}),
            also=(_untrained_last,),
            hint=1,
        ),
        Misconception(
            "domain_through_token",
            "A token that occurs in one domain only gives the domain away, and so does every expert that "
            "reads it. That is news of the token. The domain counts beyond the token.",
            wrong=_with(lambda tr, un, t, d, p: {"domain": above(tr, d)}),
            also=(_with(lambda tr, un, t, d, p: {"domain": shared(tr, d)}),),
            hint=1,
        ),
        Misconception(
            "largest_wins",
            "The label with the most bits was named. Information is bounded by the label's own entropy, so a "
            "label of many kinds wins although another one was learned. Ask in the order of the card.",
            wrong=_largest,
            also=(_largest_news, _largest_of_those),
            hint=3,
        ),
        Misconception(
            "token_first",
            "The token was asked for first, or asked last and its answer put in place of an earlier one. "
            "Domain and position come first in the card: a router that goes by them still keeps some of the "
            "order that it had by tokens.",
            wrong=_token_first,
            also=(_untrained_first,),
            hint=3,
        ),
        Misconception(
            "untrained_is_nothing",
            "Where the expert tells no more of the token than it did untrained, the verdict is "
            '`"untrained"`, not `"nothing"`: there is order, but it was not learned.',
            wrong=lambda *log: "nothing" if reference(*log) == "untrained" else reference(*log),
        ),
        Misconception(
            "always_token",
            "Every log gets the same verdict, or nearly. Look at what each measure says of each log.",
            wrong=lambda *log: "token",
            also=(
                lambda *log: "untrained",
                lambda *log: "nothing",
                lambda *log: "domain",
                lambda *log: "position",
            ),
        ),
        *chance_mistakes(verdict),
        *verdict_mistakes(verdict),
    ),
    hints=(
        "Three suspects before you believe a number: chance, the untrained router, the token. Which of the "
        "measures needs which of them?",
        "For chance, shuffle a label with `torch.randperm` and measure again; the mean of five shuffles will "
        "do. For the domain beyond the token, shuffle the domains only among tokens of the same kind; or use "
        "$(E - 1)(C - 1) / (2 N \\ln 2)$, there within each kind, weighted by its share.",
        "Three measures with a correction each, then four `if`s in the order of the card. Mutual information "
        "is $H(a) + H(b) - H(a, b)$, beyond the token it is $H(e, t) + H(d, t) - H(e, t, d) - H(t)$.",
    ),
    notice=(
        "The verdict changes with the order of the questions, and so does what a paper reports: its rule "
        "deserves to be written down before the log is looked at."
    ),
)
