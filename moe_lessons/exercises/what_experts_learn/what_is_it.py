"""Exercise 12.what_is_it: a verdict on a routing log; it needs chance, the untrained router and the token."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output
from moe_lessons.exercises.what_experts_learn.bits import beyond, miller, miller_beyond, shared
from moe_lessons.exercises.what_experts_learn.more_verdicts import verdict_mistakes

Tensor = torch.Tensor
Array = np.ndarray

NEWS, LEARNED = 0.1, 0.2
N, E, KINDS, DOMAINS, LENGTH = 1536, 8, 24, 3, 16
"""Few enough tokens that chance alone exceeds `NEWS`, enough that five shuffles settle each case."""


CLEAR = ("nothing", "untrained", "token", "domain", "position", "token that betrays the domain")
"""Each verdict, and the token where it could be taken for the domain."""
BOUNDS = {
    "untrained": ("learned", 0.05, 0.149),
    "token, not by much": ("learned", 0.25, 0.27),
    "domain and position": ("position", 0.15, 3.0),
    "domain, as untrained": ("domain", 0.15, 3.0),
    "token that betrays the position": ("token", 0.5, 4.0),
    "domain, not by much": ("domain", 0.15, 0.17),
}
"""Logs on which a rule that is nearly the card's says another word; the bounds for one measure of each."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Logs that are clear and logs that are close; each drawn anew while its verdict is unsure."""
    close = [kind for kind in BOUNDS if kind not in CLEAR]
    logs = [_log(kind, rng) for kind in (*CLEAR, *close)]
    order = rng.permutation(len(logs))
    return [Case(f"log {n + 1}", logs[i]) for n, i in enumerate(order)]


def _log(kind: str, rng: np.random.Generator) -> dict[str, Array]:
    name, least, most = BOUNDS.get(kind, ("token", -1.0, 9.0))
    while True:
        drawn = _drawn(kind, rng)
        measures = _measures(*(torch.from_numpy(label) for label in drawn.values()))
        if least <= measures[name] <= most and _sure(measures):
            return drawn


def _drawn(kind: str, rng: np.random.Generator) -> dict[str, Array]:
    positions_N = np.arange(N) % LENGTH
    domains_N = np.repeat(np.arange(DOMAINS), N // DOMAINS)
    tokens_N = _tokens(kind, rng, positions_N)
    anything_N = rng.integers(0, E, N)
    at_first_V = rng.permutation(np.arange(KINDS) % E)

    def follows(label_N: Array, share: float, otherwise_N: Array) -> Array:
        return np.where(rng.random(N) < share, label_N, otherwise_N)

    untrained_N = follows(at_first_V[tokens_N], 0.45, anything_N)
    fresh_N, by_token_V = rng.integers(0, E, N), rng.permutation(np.arange(KINDS) % E)
    by_domain_N = rng.permutation(E)[:DOMAINS][domains_N]
    by_position_N = rng.permutation(np.arange(LENGTH) % E)[positions_N]
    if kind == "nothing":
        untrained_N, trained_N = anything_N, fresh_N
    elif kind == "untrained":
        trained_N = follows(rng.permutation(E)[at_first_V][tokens_N], 0.45, fresh_N)
    elif kind == "token, not by much":
        trained_N = follows(by_token_V[tokens_N], 0.54, fresh_N)
    elif kind == "domain":
        trained_N = follows(by_domain_N, 0.45, untrained_N)
    elif kind == "domain, as untrained":
        untrained_N = follows(rng.permutation(E)[:DOMAINS][domains_N], 0.45, untrained_N)
        trained_N = follows(by_domain_N, 0.45, follows(by_token_V[tokens_N], 0.8, fresh_N))
    elif kind == "domain, not by much":
        trained_N = follows(by_domain_N, 0.31, untrained_N)
    elif kind == "position":
        trained_N = follows(by_position_N, 0.55, untrained_N)
    elif kind == "domain and position":
        trained_N = follows(
            by_domain_N, 0.4, follows(by_position_N, 0.6, follows(by_token_V[tokens_N], 0.9, fresh_N))
        )
    else:
        trained_N = follows(by_token_V[tokens_N], 0.8, fresh_N)
    mixed = rng.permutation(N)
    labels = (trained_N, untrained_N, tokens_N, domains_N, positions_N)
    names = ("trained_N", "untrained_N", "tokens_N", "domains_N", "positions_N")
    return {name: label[mixed] for name, label in zip(names, labels, strict=True)}


def _tokens(kind: str, rng: np.random.Generator, positions_N: Array) -> Array:
    """As a rule every domain has the same tokens; some have their own, or share them with one other."""
    if kind == "token that betrays the position":
        return np.where(rng.random(N) < 0.7, positions_N, rng.integers(0, KINDS, N))
    often_DV = np.tile(rng.dirichlet(np.full(KINDS, 2.0)), (DOMAINS, 1))
    own = KINDS // DOMAINS
    if kind == "token that betrays the domain":
        often_DV = np.zeros((DOMAINS, KINDS))
        for domain in range(DOMAINS):
            often_DV[domain, domain * own : (domain + 1) * own] = rng.dirichlet(np.full(own, 2.0))
    if kind == "domain, not by much":  # each third of the tokens is missing in one domain
        for domain in range(DOMAINS):
            often_DV[domain, domain * own : (domain + 1) * own] = 0
        often_DV /= often_DV.sum(axis=1, keepdims=True)
    return np.concatenate([rng.choice(KINDS, N // DOMAINS, p=row) for row in often_DV])


def _measures(trained: Tensor, untrained: Tensor, tokens: Tensor, domains: Tensor, positions: Tensor) -> dict:
    """Bits above chance, by Miller's term."""

    def news(experts: Tensor, label: Tensor) -> float:
        return shared(experts, label) - miller(experts, label)

    return {
        "domain": beyond(trained, domains, tokens) - miller_beyond(trained, domains, tokens),
        "position": news(trained, positions),
        "token": news(trained, tokens),
        "before": news(untrained, tokens),
        "learned": news(trained, tokens) - news(untrained, tokens),
    }


def _sure(m: dict[str, float]) -> bool:
    """Whether every measure is far from its threshold, further than two corrections for chance differ."""
    gaps = [abs(m[name] - NEWS) for name in ("domain", "position", "token")]
    return min(*gaps, abs(m["learned"] - LEARNED)) > 0.0499


def _verdict(measures: dict[str, float]) -> str:
    if measures["domain"] > NEWS:
        return "domain"
    if measures["position"] > NEWS:
        return "position"
    if measures["token"] > NEWS:
        return "token" if measures["token"] > measures["before"] + LEARNED else "untrained"
    return "nothing"


def reference(trained: Tensor, untrained: Tensor, tokens: Tensor, domains: Tensor, positions: Tensor) -> str:
    """The rule of the card, with Miller's correction."""
    return _verdict(_measures(trained, untrained, tokens, domains, positions))


Answer = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], str]


def _with(change: Callable[..., dict[str, float]]) -> Answer:
    """The rule of the card on other measures."""
    return lambda *log: _verdict(_measures(*log) | change(*log))


def _uncorrected(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> dict[str, float]:
    return {
        "domain": beyond(tr, d, t),
        "position": shared(tr, p),
        "token": shared(tr, t),
        "before": shared(un, t),
    }


def _largest(tr: Tensor, un: Tensor, t: Tensor, d: Tensor, p: Tensor) -> str:
    found = {"token": shared(tr, t), "domain": shared(tr, d), "position": shared(tr, p)}
    return max(found, key=lambda name: found[name])


def _largest_news(*log: Tensor) -> str:
    m = _measures(*log)
    name = max(("token", "domain", "position"), key=lambda name: m[name])
    if m[name] <= NEWS:
        return "nothing"
    return "untrained" if name == "token" and m["token"] <= m["before"] + LEARNED else name


def _token_first(*log: Tensor) -> str:
    m = _measures(*log)
    if m["token"] > NEWS:
        return "token" if m["token"] > m["before"] + LEARNED else "untrained"
    return _verdict(m)


def _untrained_first(*log: Tensor) -> str:
    m = _measures(*log)
    if NEWS < m["token"] <= m["before"] + LEARNED:
        return "untrained"
    return _verdict(m)


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
            "What the untrained router tells was not looked at, or any difference from it was taken for "
            "learned. It sorts tokens before any training; only what is clearly more than that, by 0.2 bits, "
            "was learned.",
            wrong=_with(lambda *log: {"before": -1.0}),
            hint=1,
        ),
        Misconception(
            "domain_through_token",
            "A token that occurs in one domain only gives the domain away, and so does every expert that "
            "reads it. That is news of the token. The domain counts beyond the token.",
            wrong=_with(lambda tr, un, t, d, p: {"domain": shared(tr, d) - miller(tr, d)}),
            also=(_with(lambda tr, un, t, d, p: {"domain": shared(tr, d)}),),
            hint=1,
        ),
        Misconception(
            "chance_taken_for_news",
            "Chance was taken for news. In a sample of this size information is above 0 even where there is "
            "none, and the more so the more kinds there are. Take off what shuffled labels "
            "give, and ask for more than 0.1 bits on top of that.",
            wrong=_with(_uncorrected),
            also=(
                _with(lambda tr, un, t, d, p: {"domain": beyond(tr, d, t)}),
                _with(lambda tr, un, t, d, p: {"domain": beyond(tr, d, t) - miller(tr, d)}),
            ),
            hint=2,
        ),
        Misconception(
            "largest_wins",
            "The label with the most bits was named. Information is bounded by the label's own entropy, so a "
            "label of many kinds wins although another one was learned. Ask in the order of the card.",
            wrong=_largest,
            also=(_largest_news,),
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
            also=(lambda *log: "untrained", lambda *log: "nothing", lambda *log: "domain"),
        ),
        *verdict_mistakes(_measures, _verdict, NEWS),
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
