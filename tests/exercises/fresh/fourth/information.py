"""The fourth set, lesson 12: information beyond the token, and a verdict on a log."""

import functools
import math

import numpy as np
import torch


def H(*labels):
    return _entropy(*(label.numpy().tobytes() for label in labels))


@functools.lru_cache(maxsize=8192)
def _entropy(*labels):
    """Once for all answers that ask for it: they share a log and most of its entropies."""
    together = np.zeros(1, np.int64)
    for label in (np.frombuffer(raw, np.int64) for raw in labels):
        together = together * (label.max() + 1) + label
    counts = np.unique(together, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def I(a, b):  # noqa: E743
    return H(a) + H(b) - H(a, b)


def beyond(e, t, d):
    return H(e, t) + H(d, t) - H(e, t, d) - H(t)


def beyond_interaction(e, t, d):
    return I(e, d) - beyond(e, t, d)


def beyond_token_entropy_forgotten(e, t, d):
    return H(e, t) + H(d, t) - H(e, t, d)


def beyond_labels_added(e, t, d):
    """Labels combined by adding them up."""
    return H(e + t) + H(d + t) - H(e + t + d) - H(t)


def beyond_factor_too_small(e, t, d):
    """Combined with the largest label for a factor, where one more is needed."""
    et, dt = e + e.max() * t, d + d.max() * t
    return H(et) + H(dt) - H(et, d) - H(t)


def beyond_log10(e, t, d):
    return beyond(e, t, d) * math.log10(2)


def beyond_last_kind(e, t, d):
    """`total =` in the loop, where `+=` is needed."""
    for kind in t.unique():
        here = t == kind
        total = I(e[here], d[here]) * here.double().mean().item()
    return total


def beyond_nan(e, t, d):
    """The table of counts holds zeros, and 0 log 0 is nan."""
    total = 0.0
    for kind in t.unique():
        here = t == kind
        p = torch.zeros(int(e.max()) + 1, int(d.max()) + 1, dtype=torch.double)
        p.index_put_((e[here], d[here]), torch.tensor(1.0, dtype=torch.double), accumulate=True)
        p /= p.sum()
        total += here.double().mean() * (p * (p / (p.sum(1, keepdim=True) * p.sum(0))).log2()).sum()
    return float(total)


def beyond_corrected(e, t, d):
    chance = (len(e.unique()) - 1) * (len(d.unique()) - 1) / (2 * len(e) * math.log(2))
    return beyond(e, t, d) - chance


def beyond_shares_of_all(e, t, d):
    """Within a kind, counts divided by N and not by the kind's tokens."""

    def entropy(*labels):
        p = torch.stack(labels).unique(dim=1, return_counts=True)[1].double() / len(e)
        return -(p * p.log2()).sum().item()

    total = 0.0
    for kind in t.unique():
        here = t == kind
        total += here.double().mean().item() * (
            entropy(e[here]) + entropy(d[here]) - entropy(e[here], d[here])
        )
    return total


def beyond_two_conditions(e, t, d):
    """H(d | t) - H(d | e)."""
    return (H(d, t) - H(t)) - (H(d, e) - H(e))


def beyond_negative(e, t, d):
    return -beyond(e, t, d)


def beyond_whole_entropy(e, t, d):
    """Each kind weighted by its entropy's share, and not by how often it occurs."""
    kinds = t.unique()
    parts = [(I(e[t == k], d[t == k]), H(e[t == k])) for k in kinds]
    return sum(i * h for i, h in parts) / sum(h for _, h in parts)


def verdict(
    trained,
    untrained,
    t,
    d,
    pos,
    *,
    unit=1.0,
    domain=None,
    position=None,
    names=None,
    before=None,
    start=(),
    bar=0.1,
    order=("domain", "position"),
    rest="nothing",
):
    def chance(a, b):
        return (len(a.unique()) - 1) * (len(b.unique()) - 1) / (2 * len(a) * math.log(2))

    def inside(a, b):
        total = 0.0
        for kind in t.unique():
            here = t == kind
            total += here.double().mean().item() * (I(a[here], b[here]) - chance(a[here], b[here]))
        return total

    def plain(a, b):
        return I(a, b) - chance(a, b)

    tells = {
        "domain": inside(trained, d) if domain is None else domain(inside, plain),
        "position": plain(trained, pos) if position is None else position(inside, plain),
    }
    for name in order:
        if tells[name] * unit > bar:
            return name
    token = plain(trained, t)
    old = plain(untrained, t) if before is None else before(plain)
    if token * unit > bar:
        return "token" if (token - old) * unit > 0.2 else "untrained"
    return rest


def verdict_nats(*args):
    return verdict(*args, unit=math.log(2))


def verdict_domain_since_untrained(*args):
    untrained, d = args[1], args[3]
    return verdict(*args, domain=lambda inside, plain: inside(args[0], d) - inside(untrained, d))


def verdict_position_beyond_token(*args):
    return verdict(*args, position=lambda inside, plain: inside(args[0], args[4]))


def verdict_untrained_first(*args):
    trained, untrained, t, *_ = args
    if abs(I(trained, t) - I(untrained, t)) < 0.2:
        return "untrained"
    return verdict(*args)


def verdict_position_first(*args):
    return verdict(*args, order=("position", "domain"))


def verdict_other_words(*args):
    return verdict(*args).capitalize()


def verdict_chance_for_nothing(*args):
    return verdict(*args, rest="chance")


def verdict_none(*args):
    return verdict(*args, rest=None)


def verdict_one_term_for_all(*args):
    """Miller's term once for all tokens, where each kind needs its own."""
    trained, _, t, d, _ = args
    term = (len(trained.unique()) - 1) * (len(d.unique()) - 1) / (2 * len(d) * math.log(2))
    return verdict(*args, domain=lambda inside, plain: beyond(trained, t, d) - term)


def verdict_untrained_is_the_chance(*args):
    """The untrained router's figures taken off, and no other correction."""
    trained, untrained, t, d, pos = args
    if beyond(trained, t, d) - beyond(untrained, t, d) > 0.1:
        return "domain"
    if I(trained, pos) - I(untrained, pos) > 0.1:
        return "position"
    if I(trained, t) - I(untrained, t) > 0.2:
        return "token"
    return "untrained" if I(trained, t) > 0.1 else "nothing"


def verdict_last_wins(*args):
    """Later questions overwrite the answer of earlier ones."""
    first = verdict(*args)
    return verdict(*args, order=()) if verdict(*args, order=()) != "nothing" else first


def verdict_low_bar(*args):
    return verdict(*args, bar=0.01)


def verdict_before_not_corrected(*args):
    return verdict(*args, before=lambda plain: I(args[1], args[2]))


def verdict_domain_less_token(*args):
    """What the expert tells of the domain, less what it tells of the token."""
    trained, _, t, d, _ = args
    return verdict(*args, domain=lambda inside, plain: plain(trained, d) - plain(trained, t))


def verdict_shuffled_everywhere(*args):
    """Domains shuffled over all tokens, for the information beyond the token."""
    trained, _, t, d, _ = args
    draws = torch.Generator().manual_seed(1)

    def domain(inside, plain):
        moved = [d[torch.randperm(len(d), generator=draws)] for _ in range(5)]
        return beyond(trained, t, d) - sum(beyond(trained, t, m) for m in moved) / 5

    return verdict(*args, domain=domain)


FRESH = {
    "12.beyond_the_token": [
        ("what the token explains", beyond_interaction, {"shared_by_all"}),
        ("H(t) forgotten", beyond_token_entropy_forgotten, {"token_left_in"}),
        ("labels added up", beyond_labels_added, {"numbers_collide"}),
        ("factor one too small", beyond_factor_too_small, {"numbers_collide"}),
        ("log10", beyond_log10, {"nats"}),
        ("the last kind only", beyond_last_kind, {"one_kind_only"}),
        ("0 log 0", beyond_nan, {"zero_times_log_zero"}),
        ("corrected for chance", beyond_corrected, {"chance_of_the_whole"}),
        ("shares of all tokens", beyond_shares_of_all, {"shares_of_all_tokens"}),
        ("two conditions", beyond_two_conditions, {"token_subtracted"}),
        ("negative", beyond_negative, {"other_sign"}),
        ("weighted by entropy", beyond_whole_entropy, {"other_weights"}),
    ],
    "12.what_is_it": [
        ("nats", verdict_nats, {"nats"}),
        (
            "domain compared with the untrained router",
            verdict_domain_since_untrained,
            {"domain_less_untrained"},
        ),
        ("position beyond the token", verdict_position_beyond_token, {"position_beyond_the_token"}),
        ("untrained asked first", verdict_untrained_first, {"untrained_for_nothing"}),
        ("position asked first", verdict_position_first, {"position_first"}),
        ("a capital letter", verdict_other_words, {"other_word"}),
        ("another word", verdict_chance_for_nothing, {"other_word"}),
        ("no last return", verdict_none, set()),
        ("one term for all kinds", verdict_one_term_for_all, {"chance_taken_for_news"}),
        ("untrained router for the chance", verdict_untrained_is_the_chance, {"domain_less_untrained"}),
        ("the last question wins", verdict_last_wins, {"token_first"}),
        ("a low bar", verdict_low_bar, {"chance_taken_for_news"}),
        ("the untrained router not corrected", verdict_before_not_corrected, {"one_router_corrected"}),
        ("domain less token", verdict_domain_less_token, {"domain_by_subtraction"}),
        ("shuffled over all tokens", verdict_shuffled_everywhere, {"domain_just_missed"}),
    ],
}
