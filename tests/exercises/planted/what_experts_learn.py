"""Answers to lesson 12's exercises as learners write them: wrong ones by misconception, and right ones."""

import math
from collections import Counter

import numpy as np
import torch
from planted import learned_more, more_last
from planted.learned_neighbours import LOCALITY_RIGHT, LOCALITY_WRONG, SATURATION_RIGHT, SATURATION_WRONG
from planted.learned_pairs import COACTIVATION_RIGHT, COACTIVATION_WRONG


def h(*labels):
    """Entropy in bits, by counting tuples."""
    counts = Counter(zip(*(label.tolist() for label in labels), strict=True))
    n = len(labels[0])
    return -sum(c / n * math.log2(c / n) for c in counts.values())


def info(a, b):
    return h(a) + h(b) - h(a, b)


def bt_by_groups(experts_N, tokens_N, domains_N):
    total = 0.0
    for token in tokens_N.unique():
        here = tokens_N == token
        total += here.float().mean().item() * info(experts_N[here], domains_N[here])
    return total


def bt_chain(experts_N, tokens_N, domains_N):
    pair_N = experts_N * (int(tokens_N.max()) + 1) + tokens_N
    return info(pair_N, domains_N) - info(tokens_N, domains_N)


def bt_table(experts_N, tokens_N, domains_N):
    sizes = [int(x.max()) + 1 for x in (experts_N, tokens_N, domains_N)]
    p = torch.zeros(sizes, dtype=torch.double)
    p.index_put_((experts_N, tokens_N, domains_N), torch.ones(len(experts_N)).double(), accumulate=True)
    p /= p.sum()
    et, td, t = p.sum(2, keepdim=True), p.sum(0, keepdim=True), p.sum((0, 2), keepdim=True)
    terms = p * (p * t / (et * td)).log2()
    return terms.nan_to_num().sum()


def bt_plain(e, t, d):
    return info(e, d)


def bt_subtracted(e, t, d):
    return info(e, d) - info(t, d)


def bt_unweighted(e, t, d):
    found = [info(e[t == v], d[t == v]) for v in t.unique()]
    return np.mean(found)


def bt_summed(e, t, d):
    return sum(info(e[t == v], d[t == v]) for v in t.unique())


def bt_nats(e, t, d):
    return bt_chain(e, t, d) * math.log(2)


def bt_together(e, t, d):
    return h(e, t) + h(d) - h(e, t, d)


def bt_roles(e, t, d):
    return bt_by_groups(e, d, t)


def bt_given_expert(e, t, d):
    return bt_by_groups(t, e, d)


def bt_missing(e, t, d):
    return h(d, e, t) - h(e, t)


def bt_normalised(e, t, d):
    return bt_chain(e, t, d) / h(d)


def bt_common(e, t, d):
    return info(e, d) - bt_by_groups(e, t, d)


def bt_corrected(e, t, d):
    chance = 0.0
    for v in t.unique():
        m = t == v
        free = (len(e[m].unique()) - 1) * (len(d[m].unique()) - 1)
        chance += free / (2 * len(t) * math.log(2))
    return bt_by_groups(e, t, d) - chance


def bt_token_left(e, t, d):
    return h(e, t) + h(d, t) - h(e, t, d)


def bt_sums(e, t, d):
    return info(e + t, d) - info(t, d)


def bt_range(e, t, d):
    total = 0.0
    for v in range(len(t.unique())):
        here = t == v
        if here.sum() > 0:
            total += here.sum().item() / len(t) * info(e[here], d[here])
    return total


def shuffled(label, generator):
    return label[torch.randperm(len(label), generator=generator)]


def shuffled_within(label, group, generator):
    out = label.clone()
    for value in group.unique():
        places = (group == value).nonzero().flatten()
        out[places] = label[places[torch.randperm(len(places), generator=generator)]]
    return out


def above_shuffles(measure, label, mix, times=5):
    return measure(label) - sum(measure(mix(label)) for _ in range(times)) / times


def fast(*labels):
    together = np.ravel_multi_index([label.numpy() for label in labels], [64] * len(labels))
    counts = np.unique(together, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def mi(a, b):
    return fast(a) + fast(b) - fast(a, b)


def cmi(e, d, t):
    return fast(e, t) + fast(d, t) - fast(e, d, t) - fast(t)


def measures_by_shuffling(trained, untrained, tokens, domains, positions):
    g = torch.Generator().manual_seed(0)
    return (
        above_shuffles(lambda d: cmi(trained, d, tokens), domains, lambda d: shuffled_within(d, tokens, g)),
        above_shuffles(lambda p: mi(trained, p), positions, lambda p: shuffled(p, g)),
        above_shuffles(lambda t: mi(trained, t), tokens, lambda t: shuffled(t, g)),
        above_shuffles(lambda t: mi(untrained, t), tokens, lambda t: shuffled(t, g)),
    )


def judged(domain, position, token, before):
    if domain > 0.1:
        return "domain"
    if position > 0.1:
        return "position"
    if token <= 0.1:
        return "nothing"
    return "token" if token - before > 0.2 else "untrained"


def what_by_shuffling(*log):
    return judged(*measures_by_shuffling(*log))


def bias(a, b):
    return (len(a.unique()) - 1) * (len(b.unique()) - 1) / 2 / len(a) / math.log(2)


def measures_by_formula(tr, un, t, d, p):
    within = sum((t == v).float().mean().item() * bias(tr[t == v], d[t == v]) for v in t.unique())
    return cmi(tr, d, t) - within, mi(tr, p) - bias(tr, p), mi(tr, t) - bias(tr, t), mi(un, t) - bias(un, t)


def what_by_formula(*log):
    return judged(*measures_by_formula(*log))


def what_no_baseline(*log):
    domain, position, token, _ = measures_by_formula(*log)
    return judged(domain, position, token, -1)


def what_no_token(tr, un, t, d, p):
    _, position, token, before = measures_by_formula(tr, un, t, d, p)
    return judged(mi(tr, d) - bias(tr, d), position, token, before)


def what_no_chance(tr, un, t, d, p):
    return judged(cmi(tr, d, t), mi(tr, p), mi(tr, t), mi(un, t))


def what_largest(tr, un, t, d, p):
    found = [(mi(tr, t), "token"), (mi(tr, d), "domain"), (mi(tr, p), "position")]
    return sorted(found)[-1][1]


def what_token_first(*log):
    domain, position, token, before = measures_by_formula(*log)
    if token > 0.1:
        return "token" if token > before + 0.2 else "untrained"
    return judged(domain, position, token, before)


def what_no_untrained(*log):
    verdict = what_by_formula(*log)
    return "nothing" if verdict == "untrained" else verdict


def what_always(*log):
    return "token"


WRONG = {
    "12.locality": LOCALITY_WRONG,
    "12.saturation": SATURATION_WRONG,
    "12.coactivation": COACTIVATION_WRONG,
    "12.beyond_the_token": {
        "not_conditional": bt_plain,
        "token_subtracted": bt_subtracted,
        "unweighted": bt_unweighted,
        "summed": bt_summed,
        "nats": bt_nats,
        "together": bt_together,
        "roles_swapped": bt_roles,
        "given_the_expert": bt_given_expert,
        "missing_bits": bt_missing,
        "normalised": bt_normalised,
        "shared_by_all": bt_common,
        "chance_taken_off": bt_corrected,
        "token_left_in": bt_token_left,
        "ids_not_kinds": bt_range,
        "pairs_collide": bt_sums,
    },
    "12.what_is_it": {
        "no_baseline": what_no_baseline,
        "domain_through_token": what_no_token,
        "chance_taken_for_news": what_no_chance,
        "largest_wins": what_largest,
        "token_first": what_token_first,
        "untrained_is_nothing": what_no_untrained,
        "always_token": what_always,
    },
}

RIGHT = {
    "12.locality": LOCALITY_RIGHT,
    "12.saturation": SATURATION_RIGHT,
    "12.coactivation": COACTIVATION_RIGHT,
    "12.beyond_the_token": [bt_by_groups, bt_chain, bt_table],
    "12.what_is_it": [what_by_shuffling, what_by_formula],
}
for _id, _answers in learned_more.WRONG.items():
    WRONG[_id] = WRONG[_id] | _answers
more_last.add_to(WRONG)
