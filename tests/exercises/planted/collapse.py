"""Answers to lesson 04 as learners write them: wrong ones by misconception, and right ones."""

import math

import numpy as np
import torch
from planted import collapse_diagnose as runs
from planted import collapse_revive as revive
from planted import more_collapse, more_tenth


def shares_loop(topk_ids_TK, n_experts, mask_T):
    load = [0] * n_experts
    for row, real in zip(topk_ids_TK.tolist(), mask_T.tolist(), strict=True):
        if real:
            for e in row:
                load[e] += 1
    return torch.tensor([x / sum(load) for x in load])


def shares_one_hot(topk_ids_TK, n_experts, mask_T):
    one_hot = (topk_ids_TK[..., None] == torch.arange(n_experts)).float()
    return (one_hot * mask_T[:, None, None]).sum((0, 1)) / (mask_T.sum() * topk_ids_TK.shape[1])


def shares_numpy(topk_ids_TK, n_experts, mask_T):
    ids = topk_ids_TK.numpy()[mask_T.numpy()].ravel()
    return np.histogram(ids, bins=np.arange(n_experts + 1))[0] / len(ids)


def shares_with_padding(topk_ids_TK, n_experts, mask_T):
    load = torch.zeros(n_experts).index_add(0, topk_ids_TK.flatten(), torch.ones(topk_ids_TK.numel()))
    return load / load.sum()


def shares_masked_ids(topk_ids_TK, n_experts, mask_T):
    ids = topk_ids_TK * mask_T.long().unsqueeze(1)
    counts = torch.bincount(ids.flatten(), minlength=n_experts)
    return counts / counts.sum()


def shares_of_padding(topk_ids_TK, n_experts, mask_T):
    real = topk_ids_TK.masked_fill(mask_T[:, None], n_experts)
    counts = torch.bincount(real.flatten(), minlength=n_experts + 1)[:n_experts]
    return counts / counts.sum()


def shares_per_token(topk_ids_TK, n_experts, mask_T):
    hits = torch.nn.functional.one_hot(topk_ids_TK[mask_T], n_experts).sum(1).float()
    return hits.mean(0)


def shares_top1(topk_ids_TK, n_experts, mask_T):
    first = topk_ids_TK[mask_T, 0]
    return torch.nn.functional.one_hot(first, n_experts).float().mean(0)


def shares_short(topk_ids_TK, n_experts, mask_T):
    counts = topk_ids_TK[mask_T].flatten().bincount()
    return counts / counts.sum()


def shares_too_small(topk_ids_TK, n_experts, mask_T):
    hits = torch.nn.functional.one_hot(topk_ids_TK, n_experts).sum(1) * mask_T[:, None]
    return hits.sum(0) / (topk_ids_TK.shape[0] * topk_ids_TK.shape[1])


def shares_relative(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts).float()
    return counts / counts.mean()


def shares_softmaxed(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return torch.softmax(counts.float(), -1)


# effective_experts


def second(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    return 1 / (p * p).sum(1)


def first(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    return torch.exp(-torch.xlogy(p, p).sum(1))


def effective_in_python(counts_LE):
    one, two = [], []
    for row in counts_LE.tolist():
        total, mean = sum(row), sum(row) / len(row)
        one.append(math.exp(-sum(x / total * math.log(x / total) for x in row if x)))
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        two.append(len(row) / (1 + variance / mean**2))
    return torch.tensor(one), torch.tensor(two)


def effective_masked(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    logs = torch.where(p > 0, p, torch.ones_like(p)).log()
    return torch.exp(-(p * logs).sum(1)), 1 / p.pow(2).sum(1)


def effective_base_2(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    bits = -torch.nansum(p * p.log2(), dim=1)
    return 2**bits, second(counts_LE)


def effective_nan(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    return torch.exp(-torch.sum(p * torch.log(p), 1)), second(counts_LE)


def effective_entropy(counts_LE):
    return first(counts_LE).log(), second(counts_LE)


def effective_bits_exp(counts_LE):
    p = counts_LE / counts_LE.sum(1, keepdim=True)
    return torch.exp(-torch.nansum(p * torch.log2(p), 1)), second(counts_LE)


def effective_one_sum(counts_LE):
    p = counts_LE / counts_LE.sum()
    return torch.exp(-torch.xlogy(p, p).sum(1)), second(counts_LE)


def effective_torch_std(counts_LE):
    c = counts_LE.float()
    cv = c.std(1) / c.mean(1)
    return first(counts_LE), c.shape[1] / (1 + cv**2)


def effective_unsquared(counts_LE):
    c = counts_LE.float()
    return first(counts_LE), c.shape[1] / (1 + c.std(1, unbiased=False) / c.mean(1))


def effective_fraction(counts_LE):
    n = counts_LE.size(1)
    return first(counts_LE) / n, second(counts_LE) / n


def effective_swapped(counts_LE):
    return second(counts_LE), first(counts_LE)


# imbalance


def imbalance_numpy(counts_LE):
    c = counts_LE.numpy()
    return c.std(1) / c.mean(1), c.max(1) / c.mean(1) - 1, (c == 0).sum(1)


def imbalance_shares(counts_LE):
    p = counts_LE.double() / counts_LE.sum(1, keepdim=True)
    n = p.shape[1]
    cv = (n * p.square().sum(1) - 1).clamp_min(0).sqrt()
    return cv.float(), (n * p.max(1).values - 1).float(), n - counts_LE.count_nonzero(1)


def imbalance_from_squares(counts_LE):
    p = counts_LE / counts_LE.sum(dim=1, keepdim=True)
    n = p.shape[1]
    return torch.sqrt(n * (p**2).sum(1) - 1), n * p.amax(1) - 1, (p == 0).sum(1)


def imbalance_parts(counts_LE, cv=None, violation=None, dead=None):
    right = imbalance_shares(counts_LE)
    given = (cv, violation, dead)
    return tuple(r if g is None else g for r, g in zip(right, given, strict=True))


def imbalance_torch_std(c):
    return imbalance_parts(c, cv=c.float().std(1) / c.float().mean(1))


def imbalance_squared(c):
    return imbalance_parts(c, cv=c.float().var(1, unbiased=False) / c.float().mean(1) ** 2)


def imbalance_dispersion(c):
    return imbalance_parts(c, cv=c.float().var(1, unbiased=False) / c.float().mean(1))


def imbalance_ratio(c):
    return imbalance_parts(c, violation=c.max(1).values / c.float().mean(1))


def imbalance_share(c):
    return imbalance_parts(c, violation=(c / c.sum(1, keepdim=True)).max(1).values)


def imbalance_in_use(c):
    mean = torch.stack([row[row > 0].float().mean() for row in c])
    return imbalance_parts(c, violation=(c.max(1).values - mean) / mean)


def imbalance_below_mean(c):
    return imbalance_parts(c, dead=(c.float() < c.float().mean(1, keepdim=True)).sum(1))


def imbalance_quiet(c):
    even = c.sum(1, keepdim=True) / c.shape[1]
    return imbalance_parts(c, dead=(c / even < 0.05).sum(1))


WRONG = {
    "04.load_shares": {
        "padding_counted": shares_with_padding,
        "padding_to_zero": shares_masked_ids,
        "mask_inverted": shares_of_padding,
        "per_token": shares_per_token,
        "first_choice": shares_top1,
        "no_minlength": shares_short,
        "divided_by_all": shares_too_small,
        "times_even": shares_relative,
        "softmax": shares_softmaxed,
    },
    "04.effective_experts": {
        "nan": effective_nan,
        "no_exp": effective_entropy,
        "bits_and_e": effective_bits_exp,
        "one_sum": effective_one_sum,
        "sample_std": effective_torch_std,
        "cv_not_squared": effective_unsquared,
        "fraction": effective_fraction,
        "swapped": effective_swapped,
    },
    "04.imbalance": {
        "sample_std": imbalance_torch_std,
        "cv_squared": imbalance_squared,
        "variance_over_mean": imbalance_dispersion,
        "max_over_mean": imbalance_ratio,
        "max_share": imbalance_share,
        "mean_in_use": imbalance_in_use,
        "dead_below_mean": imbalance_below_mean,
        "quiet_is_dead": imbalance_quiet,
    },
    "04.diagnose": runs.WRONG,
    "04.revive": revive.WRONG,
}

RIGHT = {
    "04.load_shares": [shares_loop, shares_one_hot, shares_numpy],
    "04.effective_experts": [effective_in_python, effective_masked, effective_base_2],
    "04.imbalance": [imbalance_numpy, imbalance_shares, imbalance_from_squares],
    "04.diagnose": runs.RIGHT,
    "04.revive": revive.RIGHT,
}

for exercise, answers in more_collapse.WRONG.items():
    WRONG[exercise] = {**WRONG[exercise], **answers}
more_tenth.add_to(WRONG)
