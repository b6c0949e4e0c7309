"""More answers to lesson 04, found by trying what learners are likely to write."""

import torch
import torch.nn.functional as F
from planted import collapse_diagnose as runs


def shares_as_counts(ids, n_experts, mask_T):
    return torch.bincount(ids[mask_T].flatten(), minlength=n_experts)


def shares_by_fancy_index(ids, n_experts, mask_T):
    c = torch.zeros(n_experts)
    c[ids[mask_T].flatten()] += 1
    return c / c.sum()


def alarms(counts_LE, cv=None, violation=None, dead=None):
    """The right three, but for those that are given."""
    load = counts_LE.float()
    m = load.mean(-1)
    right = load.std(-1, correction=0) / m, load.amax(-1) / m - 1, (counts_LE == 0).sum(-1)
    return tuple(r if given is None else given for r, given in zip(right, (cv, violation, dead), strict=True))


def alarms_one_mean(counts_LE):
    m = counts_LE.float().mean()
    return alarms(
        counts_LE, cv=counts_LE.float().std(-1, correction=0) / m, violation=counts_LE.amax(-1) / m - 1
    )


def alarms_in_rows(counts_LE):
    return alarms(counts_LE, violation=counts_LE.amax(-1) - counts_LE.float().mean(-1))


def alarms_either_side(counts_LE):
    m = counts_LE.float().mean(-1)
    return alarms(counts_LE, violation=(counts_LE - m[:, None]).abs().amax(-1) / m)


def alarms_against_emptiest(counts_LE):
    return alarms(counts_LE, violation=counts_LE.float().amax(-1) / counts_LE.float().amin(-1) - 1)


def alarms_against_median(counts_LE):
    return alarms(counts_LE, violation=counts_LE.amax(-1) / counts_LE.float().median(-1).values - 1)


def alarms_of_shares(counts_LE):
    s = counts_LE / counts_LE.sum(-1, keepdim=True)
    return alarms(counts_LE, cv=s.std(-1, correction=0), violation=s.amax(-1) - 1 / counts_LE.shape[1])


def alarms_yes_or_no(counts_LE):
    return alarms(counts_LE, dead=(counts_LE == 0).any(-1).int())


def alarms_living(counts_LE):
    return alarms(counts_LE, dead=(counts_LE > 0).sum(-1))


def alarms_by_default(counts_LE):
    load = counts_LE.float()
    return load.std(-1) / load.mean(-1), load.amax(-1) / load.mean(-1), (load == 0).sum(-1)


def alarms_down_the_columns(counts_LE):
    load = counts_LE.float()
    m = load.mean(0)
    return load.std(0, correction=0) / m, load.amax(0) / m - 1, (load == 0).sum(0)


def alarms_of_whole_numbers(counts_LE):
    return counts_LE.std(-1) / counts_LE.mean(-1), counts_LE.amax(-1) / counts_LE.mean(-1) - 1, 0


def falls_row_by_row(shares_NE):
    q, _ = runs.parts(shares_NE)
    ns = [sum(runs.n(row) for row in x) / len(x) for x in q]
    fell = ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1
    return runs.tail(shares_NE, runs.never, falls=lambda _: fell)


def all_row_by_row(shares_NE):
    q, half = runs.parts(shares_NE)
    ns = [sum(runs.n(row) for row in x) / len(x) for x in q]
    if ns[3] < half:
        return "collapsed"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if runs.never(q[3]) else "healthy"


def dead_third(shares_NE):
    q, half = runs.parts(shares_NE)
    ns = [runs.n(x.mean(0)) for x in q]
    if ns[3] < half:
        return "collapsed"
    if sum(runs.n(row) for row in q[3]) / len(q[3]) < half:
        return "oscillating"
    if runs.never(q[3]):
        return "dead expert"
    return "collapsing" if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1 else "healthy"


def rows_first(shares_NE):
    q, half = runs.parts(shares_NE)
    if sum(runs.n(row) for row in q[3]) / len(q[3]) < half:
        return "oscillating"
    return runs.tail(shares_NE, runs.never)


def half_of_those_used(shares_NE):
    q, _ = runs.parts(shares_NE)
    half = int((shares_NE.sum(0) > 0).sum()) / 2
    ns = [runs.n(x.mean(0)) for x in q]
    if ns[3] < half:
        return "collapsed"
    if sum(runs.n(row) for row in q[3]) / len(q[3]) < half:
        return "oscillating"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if runs.never(q[3]) else "healthy"


def reviving(row=None, weights=None, donors=None):
    """The recipe with one of its lines written otherwise."""

    def revive(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
        dead = (counts_E == 0).nonzero().flatten().tolist()
        busy = [e for e in counts_E.argsort(descending=True).tolist() if counts_E[e] > 0]
        plan = (
            donors(dead, busy, counts_E) if donors else [(d, busy[i % len(busy)]) for i, d in enumerate(dead)]
        )
        new = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
        for d, b in plan:
            new[0][d] = row(router_ED, noise_ED, d, b) if row else router_ED[b] + noise_ED[d]
            new[1][d] = weights(experts_EP, d, b) if weights else experts_EP[b]
            new[2][d] = 0
        return new

    return revive


def shares_of_a_dictionary(topk_ids_TK, n_experts, mask_T):
    found = {}
    for e in sorted(topk_ids_TK[mask_T].flatten().tolist()):
        found[e] = found.get(e, 0) + 1
    return torch.tensor([n / sum(found.values()) for n in found.values()])


def shares_by_tiled_mask(topk_ids_TK, n_experts, mask_T):
    kept = topk_ids_TK.flatten()[mask_T.tile(topk_ids_TK.shape[1])]
    return torch.stack([(kept == e).float().mean() for e in range(n_experts)])


def shares_of_the_fullest(topk_ids_TK, n_experts, mask_T):
    counts = F.one_hot(topk_ids_TK[mask_T], n_experts).sum((0, 1))
    return counts / counts.max()


def four_answers(collapsed=None, oscillates=None, falls=None):
    """The four questions in order, one of them asked otherwise."""

    def diagnose(shares_NE):
        q, half = runs.parts(shares_NE)
        ns = [runs.n(x.mean(0)) for x in q]
        rows = [runs.n(row) for row in q[3]]
        if collapsed(shares_NE, half) if collapsed else ns[3] < half:
            return "collapsed"
        if oscillates(rows, half) if oscillates else sum(rows) / len(rows) < half:
            return "oscillating"
        if falls(ns) if falls else ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
            return "collapsing"
        return "dead expert" if runs.never(q[3]) else "healthy"

    return diagnose


collapsed_all_along = four_answers(collapsed=lambda s, half: runs.n(s.mean(0)) < half)
worst_row = four_answers(oscillates=lambda rows, half: min(rows) < half)
steep = four_answers(falls=lambda ns: all(ns[i] - ns[i + 1] >= 1 for i in range(3)))


def noise_from_a_queue(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    queue = iter(noise_ED)
    return reviving(row=lambda r, z, d, b: r[b] + next(queue))(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED
    )


def shaken(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    quiet = reviving(row=lambda r, z, d, b: r[b])
    router, experts, momentum = quiet(router_ED, experts_EP, momentum_EP, counts_E, noise_ED)
    return router + noise_ED, experts, momentum


def from_itself(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    weights, dead = experts_EP.clone(), counts_E == 0
    weights[dead] = weights[counts_E.argmax()]
    return router_ED, weights, momentum_EP


WRONG = {
    "04.load_shares": {
        "counts": shares_as_counts,
        "counted_once": shares_by_fancy_index,
        "no_minlength:of a dictionary": shares_of_a_dictionary,
        "mask_repeated": shares_by_tiled_mask,
        "other_normaliser": shares_of_the_fullest,
    },
    "04.imbalance": {
        "one_mean": alarms_one_mean,
        "excess_in_rows": alarms_in_rows,
        "furthest_from_mean": alarms_either_side,
        "over_the_emptiest": alarms_against_emptiest,
        "over_the_median": alarms_against_median,
        "of_shares": alarms_of_shares,
        "any_dead": alarms_yes_or_no,
        "living_counted": alarms_living,
        "two_defaults": alarms_by_default,
        "over_layers": alarms_down_the_columns,
        "whole_numbers": alarms_of_whole_numbers,
    },
    "04.diagnose": {
        "fall_of_rows": falls_row_by_row,
        "rows_everywhere": all_row_by_row,
        "dead_before_collapsing": dead_third,
        "oscillating_first": rows_first,
        "experts_used": half_of_those_used,
        "whole_collapsed": collapsed_all_along,
        "one_uneven_row": worst_row,
        "one_in_each": steep,
    },
    "04.revive": {
        "noise_in_turn": noise_from_a_queue,
        "noise_for_all": shaken,
        "read_while_written": from_itself,
        "noise_alone": reviving(row=lambda r, z, d, b: z[d]),
        "noise_on_the_dead_row": reviving(row=lambda r, z, d, b: r[d] + z[d]),
        "donors_noise": reviving(row=lambda r, z, d, b: r[b] + z[b]),
        "weights_kept": reviving(weights=lambda e, d, b: e[d]),
        "dead_as_donors": reviving(
            donors=lambda dead, busy, c: zip(dead, c.argsort(descending=True).tolist(), strict=False)
        ),
        "some_left_dead": reviving(donors=lambda dead, busy, c: zip(dead, busy, strict=False)),
    },
}
