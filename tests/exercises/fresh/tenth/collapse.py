"""Lesson 04: shares, effective experts, alarms, a diagnosis, a revival."""

import torch
from fresh.tenth.parts import n_of, revived

# 04.load_shares


def padding_counted(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).float()
    return counts / counts.sum()


def minlength_forgotten(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten()).float()
    return counts / counts.sum()


def divided_by_tokens(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return counts / mask_T.sum()


def divided_by_all_slots(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return counts / topk_ids_TK.numel()


def padding_goes_to_expert_0(topk_ids_TK, n_experts, mask_T):
    ids = topk_ids_TK * mask_T[:, None]
    counts = torch.bincount(ids.flatten(), minlength=n_experts).float()
    return counts / counts.sum()


def favourites_only(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T][:, 0], minlength=n_experts).float()
    return counts / counts.sum()


# 04.effective_experts


def log_of_zero(counts_LE):
    s = counts_LE / counts_LE.sum(dim=-1, keepdim=True)
    cv = counts_LE.float().std(dim=-1, correction=0) / counts_LE.float().mean(dim=-1)
    return torch.exp(-(s * s.log()).sum(dim=-1)), counts_LE.shape[1] / (1 + cv**2)


def entropy_of_counts(counts_LE):
    c = counts_LE.float()
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(c).sum(dim=-1).exp(), c.shape[1] / (1 + cv**2)


def sample_deviation(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1).exp(), c.shape[1] / (1 + cv**2)


def entropy_itself(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1), c.shape[1] / (1 + cv**2)


def cv_not_squared(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1).exp(), c.shape[1] / (1 + cv)


def shares_of_all_layers(counts_LE):
    c = counts_LE.float()
    s = c / c.sum()
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1).exp(), c.shape[1] / (1 + cv**2)


# 04.imbalance


def sample_deviation_again(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1) / mean, (c.amax(dim=-1) - mean) / mean, (c == 0).sum(dim=-1)


def fullest_over_mean(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean, (c == 0).sum(dim=-1)


def std_of_integers(counts_LE):
    mean = counts_LE.mean(dim=-1)
    cv = counts_LE.std(dim=-1, correction=0) / mean
    return cv, counts_LE.amax(dim=-1) / mean - 1, (counts_LE == 0).sum(dim=-1)


def largest_distance(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / mean[:, 0]
    return cv, ((c - mean).abs() / mean).amax(dim=-1), (c == 0).sum(dim=-1)


def dead_in_the_model(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean - 1, (c == 0).sum()


def excess_not_divided(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1, correction=0) / mean, c.amax(dim=-1) - mean, (c == 0).sum(dim=-1)


# 04.diagnose


def rows_for_the_mean(shares_NE):
    quarters = shares_NE.chunk(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(q.mean(dim=0)) for q in quarters)
    if n_of(last).mean() < half:
        return "collapsed"
    if n_of(last.mean(dim=0)) < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    return "healthy"


def dead_first(shares_NE):
    quarters = shares_NE.chunk(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(q.mean(dim=0)) for q in quarters)
    if d < half:
        return "collapsed"
    if n_of(last).mean() < half:
        return "oscillating"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    return "healthy"


def first_against_last(shares_NE):
    quarters = shares_NE.chunk(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2
    a, d = n_of(quarters[0].mean(dim=0)), n_of(last.mean(dim=0))
    if d < half:
        return "collapsed"
    if n_of(last).mean() < half:
        return "oscillating"
    if a - d >= 1:
        return "collapsing"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    return "healthy"


def zero_in_any_row(shares_NE):
    quarters = shares_NE.chunk(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(q.mean(dim=0)) for q in quarters)
    if d < half:
        return "collapsed"
    if n_of(last).mean() < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    if (last == 0).any():
        return "dead expert"
    return "healthy"


def split_into_fours(shares_NE):
    quarters = shares_NE.split(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(q.mean(dim=0)) for q in quarters)
    if d < half:
        return "collapsed"
    if n_of(last).mean() < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    return "healthy"


def entropy_for_n(shares_NE):
    quarters = shares_NE.chunk(4)
    last = quarters[-1]
    half = shares_NE.shape[1] / 2

    def n(shares):
        return torch.special.entr(shares).sum(dim=-1)

    a, b, c, d = (n(q.mean(dim=0)) for q in quarters)
    if d < half:
        return "collapsed"
    if n(last).mean() < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    return "healthy"


# 04.revive


def always_the_busiest(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busiest = int(counts_E.argmax())
    return revived(router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busiest)


def donors_noise(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    return revived(
        router_ED,
        experts_EP,
        momentum_EP,
        counts_E,
        noise_ED,
        lambda i: busy[i % len(busy)],
        noise_of=lambda i, donor: donor,
    )


def least_busy_first(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    order = counts_E.argsort().tolist()
    busy = [e for e in order if counts_E[e] > 0]
    return revived(router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)])


def donors_momentum(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    return revived(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)], momentum=True
    )


def the_dead_give_too(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True).tolist()
    return revived(router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i])


FRESH = {
    "04.load_shares": [
        ("padding counted", padding_counted, {"padding_counted"}),
        ("bincount without minlength", minlength_forgotten, {"no_minlength"}),
        ("divided by the real tokens", divided_by_tokens, {"per_token"}),
        ("divided by all slots, padding too", divided_by_all_slots, {"divided_by_all"}),
        ("ids times mask: padding counts for expert 0", padding_goes_to_expert_0, {"padding_to_zero"}),
        ("first choices only", favourites_only, {"first_choice"}),
    ],
    "04.effective_experts": [
        ("s ln s written out: NaN at 0", log_of_zero, {"nan"}),
        ("entropy of the counts", entropy_of_counts, {"entropy_of_counts"}),
        ("std that divides by E - 1", sample_deviation, {"sample_std"}),
        ("entropy, no exp", entropy_itself, {"no_exp"}),
        ("CV not squared", cv_not_squared, {"cv_not_squared"}),
        ("shares of the rows of all layers", shares_of_all_layers, {"one_sum"}),
    ],
    "04.imbalance": [
        ("std that divides by E - 1", sample_deviation_again, {"sample_std"}),
        ("fullest over mean", fullest_over_mean, {"max_over_mean"}),
        ("mean and std of whole numbers", std_of_integers, {"whole_numbers"}),
        ("the largest distance from the mean, either way", largest_distance, {"furthest_from_mean"}),
        ("the dead of all layers in one number", dead_in_the_model, {"dead_of_all_layers"}),
        ("excess not divided by the mean", excess_not_divided, {"excess_in_rows"}),
    ],
    "04.diagnose": [
        ("n of the rows for collapsed, of the mean for oscillating", rows_for_the_mean, {"mean_of_rows"}),
        ("dead expert asked before collapsing", dead_first, {"dead_before_collapsing"}),
        ("collapsing: first quarter against last only", first_against_last, {"only_the_ends"}),
        ("dead: a zero in any row", zero_in_any_row, {"rested_is_dead"}),
        ("split(4) for chunk(4)", split_into_fours, {"pieces_of_four"}),
        ("the entropy for n", entropy_for_n, {"no_exp"}),
    ],
    "04.revive": [
        ("the busiest gives to all", always_the_busiest, {"one_donor"}),
        ("the donor's row of noise", donors_noise, {"donors_noise"}),
        ("least busy first", least_busy_first, {"least_busy"}),
        ("the donor's momentum", donors_momentum, {"momentum_copied"}),
        ("no wrapping round: the dead give too", the_dead_give_too, {"dead_as_donors"}),
    ],
}
