"""The fifth set, lesson 12: the solutions' lines gone through one by one, and what can go wrong in each."""

import torch
from fresh.fourth.information import H, I, beyond, verdict


def _by_kind(e, t, d, join):
    kinds = t.unique()
    return join([(I(e[t == k], d[t == k]), int((t == k).sum())) for k in kinds])


def beyond_number_of_tokens(*args):
    return _by_kind(*args, lambda rows: sum(i * n for i, n in rows))


def beyond_rare_left_out(*args):
    def join(rows):
        often = [(i, n) for i, n in rows if n >= 10]
        return sum(i * n for i, n in often) / sum(n for _, n in often)

    return _by_kind(*args, join)


def beyond_smoothed(e, t, d):
    """One more of each combination."""
    table = torch.ones([int(v.max()) + 1 for v in (e, t, d)], dtype=torch.double)
    table.index_put_((e, t, d), torch.ones(len(e), dtype=torch.double), accumulate=True)
    p = table / table.sum()

    def h(q):
        return -(q * q.log2()).sum().item()

    return h(p.sum(2)) + h(p.sum(0)) - h(p) - h(p.sum((0, 2)))


def _entropy_of(unique):
    def formula(e, t, d):
        def h(*labels):
            counts = unique(torch.stack(labels)).double()
            p = counts / counts.sum()
            return -(p * p.log2()).sum().item()

        return h(e, t) + h(d, t) - h(e, t, d) - h(t)

    return formula


beyond_flat_unique = _entropy_of(lambda rows: rows.unique(return_counts=True)[1])
beyond_unique_along_0 = _entropy_of(lambda rows: rows.unique(dim=0, return_counts=True)[1])


def beyond_over_token_entropy(e, t, d):
    return beyond(e, t, d) / H(t)


def beyond_two_pairs(e, t, d):
    """What the pairs (e, t) and (d, t) share."""
    n = 100
    return I(e * n + t, d * n + t)


def beyond_global_shares(e, t, d):
    """Within a kind, against the shares of expert and domain in all tokens."""
    total = 0.0
    pe, pd = (torch.bincount(v).double() / len(v) for v in (e, d))
    for k in t.unique():
        here = t == k
        pairs, counts = torch.stack([e[here], d[here]]).unique(dim=1, return_counts=True)
        p = counts.double() / counts.sum()
        total += here.double().mean().item() * (p * (p / (pe[pairs[0]] * pd[pairs[1]])).log2()).sum().item()
    return total


def beyond_one_for_each_kind(e, t, d):
    return torch.tensor([I(e[t == k], d[t == k]) for k in t.unique()])


def what_routers_exchanged(trained, untrained, *rest):
    return verdict(untrained, trained, *rest)


def what_share_of_entropy(tr, un, t, d, pos):
    if beyond(tr, t, d) / H(d) > 0.1:
        return "domain"
    if I(tr, pos) / H(pos) > 0.1:
        return "position"
    if I(tr, t) / H(t) > 0.1:
        return "token" if I(tr, t) / H(t) > I(un, t) / H(t) + 0.2 else "untrained"
    return "nothing"


def what_any_more_than_untrained(tr, un, t, d, pos):
    """The 0.2 left out."""
    found = verdict(tr, un, t, d, pos)
    if found in ("token", "untrained"):
        return "token" if I(tr, t) > I(un, t) else "untrained"
    return found


def what_no_position(*args):
    return verdict(*args, order=("domain",))


def what_no_domain(*args):
    return verdict(*args, order=("position",))


def what_miller_in_nats(tr, un, t, d, pos):
    def chance(a, b):
        return (len(a.unique()) - 1) * (len(b.unique()) - 1) / (2 * len(a))

    inside = 0.0
    for k in t.unique():
        here = t == k
        inside += here.double().mean().item() * (I(tr[here], d[here]) - chance(tr[here], d[here]))
    if inside > 0.1:
        return "domain"
    if I(tr, pos) - chance(tr, pos) > 0.1:
        return "position"
    token, old = I(tr, t) - chance(tr, t), I(un, t) - chance(un, t)
    if token > 0.1:
        return "token" if token > old + 0.2 else "untrained"
    return "nothing"


def what_largest_of_those(*args):
    """Among what is above 0.1, the largest."""
    tr, _, t, d, pos = args
    found = {"domain": I(tr, d), "position": I(tr, pos), "token": I(tr, t)}
    first = verdict(*args)
    return first if first in ("nothing", "untrained") else max(found, key=found.get)


def what_untrained_if_before(tr, un, t, d, pos):
    """`untrained` where the untrained router tells of the token at all."""
    found = verdict(tr, un, t, d, pos)
    if found in ("token", "untrained"):
        return "untrained" if I(un, t) > 0.1 else "token"
    return found


def what_plural(*args):
    found = verdict(*args)
    return found + "s" if found in ("token", "domain", "position") else found


def what_bars_exchanged(*args):
    found = verdict(*args, bar=0.2)
    tr, un, t, *_ = args
    if found in ("token", "untrained"):
        return "token" if I(tr, t) - I(un, t) > 0.1 else "untrained"
    return found


def what_always_nothing_left(*args):
    found = verdict(*args)
    return "untrained" if found == "position" else found


FRESH = {
    "12.beyond_the_token": [
        ("number of tokens for weight", beyond_number_of_tokens, {"size_factor"}),
        ("rare kinds left out", beyond_rare_left_out, {"rare_kinds_left_out"}),
        ("smoothed", beyond_smoothed, {"smoothed"}),
        ("unique of all numbers", beyond_flat_unique, {"labels_not_together"}),
        ("unique along the labels", beyond_unique_along_0, {"labels_not_together"}),
        ("over the token's entropy", beyond_over_token_entropy, {"over_another_entropy"}),
        ("two pairs", beyond_two_pairs, {"token_left_in"}),
        ("shares of all tokens", beyond_global_shares, {"shares_of_the_whole_text"}),
        ("one number for each kind", beyond_one_for_each_kind, {"one_for_each_kind"}),
    ],
    "12.what_is_it": [
        ("routers exchanged", what_routers_exchanged, {"routers_exchanged"}),
        ("shares of entropies", what_share_of_entropy, {"shares_of_entropies"}),
        ("more than untrained, by anything", what_any_more_than_untrained, {"any_difference"}),
        ("position never asked", what_no_position, {"position_not_asked"}),
        ("domain never asked", what_no_domain, {"domain_not_asked"}),
        ("Miller's term in nats", what_miller_in_nats, {"chance_too_small"}),
        ("largest of those above", what_largest_of_those, {"largest_wins"}),
        ("untrained if it tells anything", what_untrained_if_before, {"untrained_by_itself"}),
        ("plural", what_plural, {"other_word"}),
        ("thresholds exchanged", what_bars_exchanged, {"thresholds_mixed_up"}),
        ("position called untrained", what_always_nothing_left, set()),
    ],
}
