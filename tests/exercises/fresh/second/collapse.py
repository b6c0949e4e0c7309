"""The second set, written from the learner's notebooks alone: lesson 04."""

import itertools

import numpy as np
import torch

# 04.load_shares


def load_per_token(topk_ids_TK, n_experts, mask_T):
    real = topk_ids_TK[mask_T]
    return torch.bincount(real.reshape(-1), minlength=n_experts) / len(real)


def load_mask_ignored(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).float()
    return counts / counts.sum()


def load_all_slots(topk_ids_TK, n_experts, mask_T):
    counts = torch.zeros(n_experts)
    for e in range(n_experts):
        counts[e] = ((topk_ids_TK == e) & mask_T[:, None]).sum()
    return counts / topk_ids_TK.numel()


def load_unique(topk_ids_TK, n_experts, mask_T):
    _, counts = torch.unique(topk_ids_TK[mask_T], return_counts=True)
    return counts / counts.sum()


def load_mask_repeated(topk_ids_TK, n_experts, mask_T):
    weights = mask_T.float().repeat(topk_ids_TK.shape[1])
    c = torch.bincount(topk_ids_TK.flatten(), weights=weights, minlength=n_experts)
    return c / c.sum()


def load_first_choice(topk_ids_TK, n_experts, mask_T):
    onehot = torch.nn.functional.one_hot(topk_ids_TK[mask_T][:, 0], n_experts).float()
    return onehot.mean(0)


# 04.effective_experts


def eff_log_zero(counts_LE):
    s = counts_LE / counts_LE.sum(-1, keepdim=True)
    entropy = -(s * torch.log(s)).sum(-1)
    cv = counts_LE.float().std(-1, unbiased=False) / counts_LE.float().mean(-1)
    return entropy.exp(), counts_LE.shape[-1] / (1 + cv**2)


def eff_one_sum(counts_LE):
    c = counts_LE.double()
    s = c / c.sum()
    h = -torch.xlogy(s, s).sum(1)
    cv2 = c.var(1, correction=0) / c.mean(1) ** 2
    return h.exp(), c.size(1) / (1 + cv2)


def eff_entropy(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(1, keepdim=True)
    h = torch.special.entr(s).sum(1)
    cv = c.std(1, correction=0) / c.mean(1)
    return h, c.shape[1] / (1 + cv.square())


def eff_sample_std(counts_LE):
    x = counts_LE.float()
    s = x / x.sum(dim=1, keepdim=True)
    h = -(s * (s + 1e-9).log()).sum(dim=1)
    cv = x.std(dim=1) / x.mean(dim=1)
    return torch.exp(h), x.shape[1] / (1 + cv**2)


def eff_not_squared(counts_LE):
    x = counts_LE.to(torch.float64)
    s = x / x.sum(1, keepdim=True)
    h = torch.where(s > 0, -s * torch.log(s.clamp_min(1e-30)), 0.0).sum(1)
    cv = x.std(1, correction=0) / x.mean(1)
    return torch.exp(h), x.shape[1] / (1 + cv)


def eff_log2(counts_LE):
    x = counts_LE.numpy().astype(float)
    s = x / x.sum(axis=1, keepdims=True)
    h = -np.sum(s * np.log2(np.where(s > 0, s, 1)), axis=1)
    cv = np.std(x, axis=1) / np.mean(x, axis=1)
    return torch.tensor(np.exp(h)), torch.tensor(x.shape[1] / (1 + cv**2))


# 04.imbalance


def imb_sample_std(counts_LE):
    c = counts_LE.float()
    m = c.mean(1)
    return c.std(1) / m, c.max(1).values / m - 1, (c == 0).sum(1)


def imb_ratio(counts_LE):
    c = counts_LE.float()
    mean = c.mean(-1)
    return c.std(-1, correction=0) / mean, c.amax(-1) / mean, (counts_LE == 0).sum(-1)


def imb_both_sides(counts_LE):
    c = counts_LE.double()
    mean = c.mean(1, keepdim=True)
    vio = ((c - mean).abs() / mean).max(1).values
    return c.std(1, unbiased=False) / mean.squeeze(1), vio, (c == 0).sum(1)


def imb_any_dead(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=1)
    cv = ((c - mean[:, None]) ** 2).mean(1).sqrt() / mean
    return cv, (c.max(dim=1)[0] - mean) / mean, (c == 0).any(dim=1)


def imb_variance(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=1)
    var = c.var(dim=1, unbiased=False)
    return var / mean, c.max(dim=1).values / mean - 1, (c < 1).sum(dim=1)


def imb_difference(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=1)
    sd = c.std(dim=1, correction=0)
    return sd / mean, c.max(dim=1).values - mean, (c == 0).sum(dim=1)


# 04.diagnose


def _n(s):
    s = s[s > 0]
    return float(torch.exp(-(s * s.log()).sum()))


def diag_ends_only(shares_NE):
    N, E = shares_NE.shape
    q = shares_NE.reshape(4, N // 4, E)
    n = [_n(x.mean(0)) for x in q]
    if n[3] < E / 2:
        return "collapsed"
    if np.mean([_n(r) for r in q[3]]) < E / 2:
        return "oscillating"
    if n[0] - n[3] >= 1:
        return "collapsing"
    if (q[3].sum(0) == 0).any():
        return "dead expert"
    return "healthy"


def diag_last_row_dead(shares_NE):
    _N, E = shares_NE.shape
    quarters = shares_NE.chunk(4)
    n = [_n(x.mean(0)) for x in quarters]
    if n[-1] < E / 2:
        return "collapsed"
    if sum(_n(r) for r in quarters[-1]) / len(quarters[-1]) < E / 2:
        return "oscillating"
    if n[0] > n[1] > n[2] > n[3] and n[0] - n[3] >= 1:
        return "collapsing"
    if (shares_NE[-1] == 0).any():
        return "dead expert"
    return "healthy"


def diag_any_row(shares_NE):
    _N, E = shares_NE.shape
    quarters = shares_NE.chunk(4)
    n = [_n(x.mean(0)) for x in quarters]
    if n[-1] < E / 2:
        return "collapsed"
    if any(_n(r) < E / 2 for r in quarters[-1]):
        return "oscillating"
    if n[0] > n[1] > n[2] > n[3] and n[0] - n[3] >= 1:
        return "collapsing"
    if (quarters[-1] == 0).all(0).any():
        return "dead expert"
    return "healthy"


def diag_nan(shares_NE):
    _N, E = shares_NE.shape

    def n(s):
        return torch.exp(-(s * torch.log(s)).sum(-1))

    q = shares_NE.view(4, -1, E)
    eff = n(q.mean(1))
    if eff[3] < E / 2:
        return "collapsed"
    if n(q[3]).mean() < E / 2:
        return "oscillating"
    if (eff[1:] < eff[:-1]).all() and eff[0] - eff[3] >= 1:
        return "collapsing"
    if (q[3] == 0).all(0).any():
        return "dead expert"
    return "healthy"


def diag_whole_run_collapsed(shares_NE):
    _N, E = shares_NE.shape
    quarters = shares_NE.chunk(4)
    n = [_n(x.mean(0)) for x in quarters]
    if _n(shares_NE.mean(0)) < E / 2:
        return "collapsed"
    if np.mean([_n(r) for r in quarters[-1]]) < E / 2:
        return "oscillating"
    if n[0] > n[1] > n[2] > n[3] and n[0] - n[3] >= 1:
        return "collapsing"
    if (quarters[-1].amax(0) == 0).any():
        return "dead expert"
    return "healthy"


def diag_mean_drop(shares_NE):
    _N, E = shares_NE.shape
    quarters = shares_NE.chunk(4)
    n = [_n(x.mean(0)) for x in quarters]
    if n[-1] < E / 2:
        return "collapsed"
    if np.mean([_n(r) for r in quarters[-1]]) < E / 2:
        return "oscillating"
    if all(a - b >= 1 for a, b in itertools.pairwise(n)):
        return "collapsing"
    if (quarters[-1].sum(0) == 0).any():
        return "dead expert"
    return "healthy"


FRESH = {
    "04.load_shares": [
        ("per token", load_per_token, {"per_token"}),
        ("mask ignored", load_mask_ignored, {"padding_counted"}),
        ("padding in the whole", load_all_slots, {"divided_by_all"}),
        ("unique", load_unique, {"no_minlength"}),
        ("mask repeated in the wrong order", load_mask_repeated, {"mask_repeated"}),
        ("first choice only", load_first_choice, {"first_choice"}),
    ],
    "04.effective_experts": [
        ("log of 0", eff_log_zero, {"nan"}),
        ("one sum for all layers", eff_one_sum, {"one_sum"}),
        ("the entropy itself", eff_entropy, {"no_exp"}),
        ("E - 1", eff_sample_std, {"sample_std"}),
        ("CV not squared", eff_not_squared, {"cv_not_squared"}),
        ("log2 with exp", eff_log2, {"bits_and_e"}),
    ],
    "04.imbalance": [
        ("E - 1", imb_sample_std, {"sample_std"}),
        ("no minus 1", imb_ratio, {"max_over_mean"}),
        ("both sides", imb_both_sides, {"furthest_from_mean"}),
        ("whether any is dead", imb_any_dead, {"any_dead"}),
        ("variance", imb_variance, {"variance_over_mean"}),
        ("difference, not a fraction", imb_difference, {"excess_in_rows"}),
    ],
    "04.diagnose": [
        ("first and last quarter only", diag_ends_only, {"only_the_ends"}),
        ("dead in the last row", diag_last_row_dead, {"rested_is_dead"}),
        ("any row", diag_any_row, {"one_uneven_row"}),
        ("log of 0", diag_nan, {"nan"}),
        ("collapsed over the whole run", diag_whole_run_collapsed, {"whole_collapsed"}),
        ("1 in every quarter", diag_mean_drop, {"one_in_each"}),
    ],
}
