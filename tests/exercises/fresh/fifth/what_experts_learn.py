"""The fifth set, lesson 12: the solutions' lines gone through one by one, and what can go wrong in each."""

import torch
import torch.nn.functional as F
from fresh.fourth.information import H, I, beyond, verdict
from fresh.fourth.traces import local, saturate, together


def locality_one_place_more(x, n, E):
    return local(x, n, E, real=torch.arange(x.shape[1]) <= n[:, None])


def locality_one_place_less(x, n, E):
    return local(x, n, E, real=torch.arange(x.shape[1]) < n[:, None] - 1)


def locality_runs(x, n, E):
    """One less the runs over the tokens."""
    runs = sum(1 + int((row[1:k] != row[: k - 1]).sum()) for row, k in zip(x, n.tolist(), strict=True))
    return 1 - runs / n.sum().item(), local(x, n, E)[1]


def locality_two_marginals(x, n, E):
    """Chance of the first tokens' shares times the second ones'."""
    real = torch.arange(x.shape[1]) < n[:, None]
    first, second = (torch.bincount(v[real[:, 1:]], minlength=E).double() for v in (x[:, :-1], x[:, 1:]))
    return local(x, n, E)[0], (first / first.sum() * second / second.sum()).sum().item()


def locality_one_over_used(x, n, E):
    real = torch.arange(x.shape[1]) < n[:, None]
    return local(x, n, E)[0], 1 / len(x[real].unique())


def locality_shuffled(x, n, E):
    row = x[torch.arange(x.shape[1]) < n[:, None]]
    row = row[torch.randperm(len(row))]
    return local(x, n, E)[0], (row[1:] == row[:-1]).double().mean().item()


def locality_mean_over_experts(x, n, E):
    pairs = (torch.arange(x.shape[1]) < n[:, None])[:, 1:]
    stays = []
    for e in range(E):
        here = (x[:, :-1] == e) & pairs
        if here.any():
            stays.append((x[:, 1:][here] == e).double().mean())
    return torch.stack(stays).mean().item(), local(x, n, E)[1]


def locality_first_window(x, n, E):
    return local(x[:1], n[:1], E)


def saturation_mean_of_table(a, b, E):
    same = (a[:, :, None] == b[:, None, :]).double()
    return same.mean().item(), saturate(a, b, E)[1]


def saturation_chance_mean(a, b, E):
    return saturate(a, b, E)[0], saturate(a, b, E)[1] * a.shape[1] / E


def saturation_chance_minimum(a, b, E):
    x, y = (F.one_hot(v, E).sum(1).double().mean(0) for v in (a, b))
    return saturate(a, b, E)[0], (torch.minimum(x, y).sum() / a.shape[1]).item()


def saturation_others_only(a, b, E):
    """T (T - 1) pairs: a token is not paired with itself."""
    overlap, chance = saturate(a, b, E)
    T = len(a)
    return overlap, (T * T * chance - T * overlap) / (T * (T - 1))


def saturation_at_least_one(a, b, E):
    return saturate(a, b, E)[0], 1 - (1 - a.shape[1] / E) ** a.shape[1]


def saturation_percent(a, b, E):
    return tuple(100 * v for v in saturate(a, b, E))


def saturation_added_up(a, b, E):
    overlap, chance = saturate(a, b, E)
    return overlap * len(a), chance


def saturation_correlation(a, b, E):
    x, y = (F.one_hot(v, E).sum(1).double() for v in (a, b))
    return torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1].item(), saturate(a, b, E)[1]


def coactivation_mean_load(*args):
    return together(*args, share=lambda both, n: both / n.mean())


def coactivation_identity_taken_off(ids, E):
    Z = F.one_hot(ids, E).sum(1).double()
    n = Z.sum(0)
    given = (Z.T @ Z - torch.eye(E)) / n[:, None]
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_load_of_first_slot(ids, E):
    first = torch.bincount(ids[:, 0], minlength=E).double()
    return together(
        ids,
        E,
        share=lambda both, n: both / first[:, None],
        expected=lambda K, n, T: (K - 1) * first[None, :] / (first.sum() - first)[:, None],
    )


def coactivation_ones(ids, E):
    given, lift = together(ids, E)
    return given.fill_diagonal_(1), lift.fill_diagonal_(1)


def coactivation_lift_symmetric(ids, E):
    given, lift = together(ids, E)
    return given, (lift + lift.T) / 2


def coactivation_whole_division(*args):
    return together(*args, share=lambda both, n: both // n[:, None])


def coactivation_flat(ids, E):
    """One row for each choice, so that no row holds two."""
    Z = F.one_hot(ids.flatten(), E).double()
    n = Z.sum(0)
    given = (Z.T @ Z / n[:, None]).fill_diagonal_(0)
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_smoothed(*args):
    return together(*args, share=lambda both, n: (both + 1) / (n[:, None] + 1))


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
    "12.locality": [
        ("one place too many", locality_one_place_more, {"mask_off_by_one"}),
        ("one place too few", locality_one_place_less, {"mask_off_by_one"}),
        ("runs", locality_runs, {"divided_by_tokens"}),
        ("two marginals", locality_two_marginals, {"two_loads"}),
        ("one over the used experts", locality_one_over_used, {"one_over_used"}),
        ("shuffled", locality_shuffled, {"measured_on_a_shuffle"}),
        ("mean over experts", locality_mean_over_experts, {"mean_over_experts"}),
        ("first window only", locality_first_window, {"one_window"}),
    ],
    "12.saturation": [
        ("mean of the table of slots", saturation_mean_of_table, {"size_factor"}),
        ("chance a mean over experts", saturation_chance_mean, {"size_factor"}),
        ("minimum for product", saturation_chance_minimum, {"minimum_for_product"}),
        ("other tokens only", saturation_others_only, {"without_itself"}),
        ("at least one", saturation_at_least_one, {"at_least_one"}),
        ("percent", saturation_percent, {"in_percent"}),
        ("added up", saturation_added_up, {"size_factor"}),
        ("correlation", saturation_correlation, {"correlation"}),
    ],
    "12.coactivation": [
        ("over the mean load", coactivation_mean_load, {"mean_load"}),
        ("identity taken off", coactivation_identity_taken_off, {"another_diagonal"}),
        ("loads of the first slot", coactivation_load_of_first_slot, {"loads_of_the_first_slot"}),
        ("ones on the diagonal", coactivation_ones, {"another_diagonal"}),
        ("lift made symmetric", coactivation_lift_symmetric, {"lift_symmetric"}),
        ("whole division", coactivation_whole_division, {"whole_division"}),
        ("one row for each choice", coactivation_flat, {"no_pairs"}),
        ("smoothed", coactivation_smoothed, {"smoothed"}),
    ],
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
        ("Miller's term in nats", what_miller_in_nats, set()),
        ("largest of those above", what_largest_of_those, {"largest_wins"}),
        ("untrained if it tells anything", what_untrained_if_before, {"untrained_by_itself"}),
        ("plural", what_plural, {"other_word"}),
        ("thresholds exchanged", what_bars_exchanged, set()),
        ("position called untrained", what_always_nothing_left, set()),
    ],
}
