"""Answers to lesson 06 as learners write them: bias step and noisy top-k; the rest in the modules beside."""

import numpy as np
import torch
import torch.nn.functional as F
from planted import more_late, more_routing_zoo, more_tenth
from planted import routing_zoo_choice as choice
from planted import routing_zoo_groups as groups
from planted import routing_zoo_leaks as leaks

# Bias step: right


def bias_step_one_hot(logits_TE, expert_bias_E, top_k, rate):
    s = torch.sigmoid(logits_TE)
    idx = torch.argsort(s + expert_bias_E, dim=-1, descending=True)[:, :top_k]
    w = torch.gather(s, 1, idx)
    counts = F.one_hot(idx, s.shape[1]).sum(dim=(0, 1)).float()
    violation = counts.mean() - counts
    return idx, w / w.sum(1, keepdim=True), expert_bias_E + rate * violation.sign()


def bias_step_recentred(logits_TE, expert_bias_E, top_k, rate):
    """In numpy; the step's mean is taken off, as some codes do."""
    s = 1 / (1 + np.exp(-logits_TE.numpy().astype(np.float64)))
    idx = np.argsort(-(s + expert_bias_E.numpy()), axis=-1)[:, :top_k]
    w = np.take_along_axis(s, idx, axis=-1)
    n_tokens, n_experts = s.shape
    counts = np.zeros(n_experts)
    for row in idx:
        counts[row] += 1
    delta = rate * np.sign(n_tokens * top_k / n_experts - counts)
    return idx, w / w.sum(-1, keepdims=True), expert_bias_E.numpy() + delta - delta.mean()


def bias_step_loop(logits_TE, expert_bias_E, top_k, rate):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=1)[1]
    weights = scores.gather(1, ids)
    weights = weights / weights.sum(1, keepdim=True)
    bias = expert_bias_E.clone()
    share = ids.numel() / len(bias)
    for e in range(len(bias)):
        n = (ids == e).sum().item()
        if n > share:
            bias[e] -= rate
        elif n < share:
            bias[e] += rate
    return ids, weights, bias


# Bias step: wrong


def _route(logits, bias, k):
    s = logits.sigmoid()
    idx = (s + bias).topk(k, dim=-1).indices
    w = s.gather(-1, idx)
    return s, idx, w / w.sum(-1, keepdim=True)


def _loads(idx, like):
    return torch.bincount(idx.reshape(-1), minlength=like.shape[-1]).float()


def bias_step_biased_weight(logits_TE, expert_bias_E, top_k, rate):
    biased = logits_TE.sigmoid() + expert_bias_E
    w, idx = biased.topk(top_k, dim=-1)
    load = _loads(idx, biased)
    return idx, w / w.sum(-1, keepdim=True), expert_bias_E + rate * torch.sign(load.mean() - load)


def bias_step_on_logits(logits_TE, expert_bias_E, top_k, rate):
    idx = (logits_TE + expert_bias_E).topk(top_k, dim=-1).indices
    w = logits_TE.sigmoid().gather(1, idx)
    load = _loads(idx, logits_TE)
    return idx, w / w.sum(-1, keepdim=True), expert_bias_E + rate * torch.sign(load.mean() - load)


def bias_step_on_logits_for_good(logits_TE, expert_bias_E, top_k, rate):
    """The bias goes in at the top, and the rest is the gate of lesson 01."""
    s = torch.sigmoid(logits_TE + expert_bias_E)
    w, idx = s.topk(top_k, dim=-1)
    load = _loads(idx, s)
    return idx, w / w.sum(-1, keepdim=True), expert_bias_E + rate * torch.sign(load.mean() - load)


def bias_step_softmax(logits_TE, expert_bias_E, top_k, rate):
    p = F.softmax(logits_TE, dim=-1)
    idx = (p + expert_bias_E).topk(top_k, dim=-1).indices
    load = _loads(idx, p)
    return idx, logits_TE.gather(1, idx).softmax(-1), expert_bias_E + rate * (load.mean() - load).sign()


def bias_step_values_first(logits_TE, expert_bias_E, top_k, rate):
    idx, w, bias = bias_step_one_hot(logits_TE, expert_bias_E, top_k, rate)
    return w, idx, bias


def bias_step_whole_mean(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    counts = torch.bincount(idx.flatten(), minlength=len(expert_bias_E))
    return idx, w, expert_bias_E + rate * torch.sign(idx.numel() // len(counts) - counts)


def bias_step_early(logits_TE, expert_bias_E, top_k, rate):
    _, idx, _ = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    bias = expert_bias_E + rate * torch.sign(load.mean() - load)
    _, idx, w = _route(logits_TE, bias, top_k)
    return idx, w, bias


def bias_step_flipped(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    return idx, w, expert_bias_E + rate * torch.sign(load - load.mean())


def bias_step_proportional(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    share = _loads(idx, logits_TE) / idx.numel()
    return idx, w, expert_bias_E + rate * (1 / len(share) - share)


def bias_step_mean_of_tokens(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    target = logits_TE.shape[0] / logits_TE.shape[1]
    return idx, w, expert_bias_E + rate * torch.sign(target - load)


def bias_step_ema(logits_TE, expert_bias_E, top_k, rate):
    """What some explainers say: an exponential moving average of how far each expert is from its share."""
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    share = _loads(idx, logits_TE) / idx.numel()
    return idx, w, (1 - rate) * expert_bias_E + rate * (1 / len(share) - share) * len(share)


def bias_step_not_used(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, 0.0, top_k)
    load = _loads(idx, logits_TE)
    return idx, w, expert_bias_E + rate * torch.sign(load.mean() - load)


def bias_step_fresh(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    return idx, w, rate * torch.sign(load.mean() - load)


def bias_step_overloaded_only(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    bias = expert_bias_E.clone()
    bias[load > load.mean()] -= rate
    return idx, w, bias


def bias_step_two_way(logits_TE, expert_bias_E, top_k, rate):
    _, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = _loads(idx, logits_TE)
    bias = [b + rate if n < load.mean() else b - rate for b, n in zip(expert_bias_E, load, strict=True)]
    return idx, w, torch.stack(bias)


def bias_step_soft_load(logits_TE, expert_bias_E, top_k, rate):
    s, idx, w = _route(logits_TE, expert_bias_E, top_k)
    load = s.mean(0)
    return idx, w, expert_bias_E + rate * torch.sign(load.mean() - load)


# Noisy top-k: right


def noisy_masked(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE
    if training:
        h = h + noise_TE * torch.log1p(torch.exp(noise_logits_TE))
    idx = h.argsort(dim=-1, descending=True)[:, :top_k]
    kept = torch.full_like(h, float("-inf")).scatter(1, idx, h.gather(1, idx))
    return idx, kept.softmax(-1).gather(1, idx)


def noisy_by_hand(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE + noise_TE * noise_logits_TE.exp().add(1).log() * float(training)
    best = torch.stack([row.sort(descending=True).indices[:top_k] for row in h])
    e = torch.exp(torch.take_along_dim(h, best, dim=1))
    return best, e / e.sum(dim=1)[:, None]


# Noisy top-k: wrong


def noisy_in_numpy(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE.double().numpy().copy()
    h += float(training) * noise_TE.numpy() * np.logaddexp(0, noise_logits_TE.numpy())
    idx = np.argsort(h, axis=1)[:, -top_k:]
    z = np.exp(np.take_along_axis(h, idx, axis=1))
    return idx, z / z.sum(axis=1, keepdims=True)


def _top(h, k):
    v, i = h.topk(k, dim=-1)
    return i, F.softmax(v, dim=-1)


def noisy_always(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    return _top(logits_TE + F.softplus(noise_logits_TE) * noise_TE, top_k)


def noisy_flag(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    if training:
        return _top(logits_TE, top_k)
    return _top(logits_TE + F.softplus(noise_logits_TE) * noise_TE, top_k)


def noisy_bare(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    return _top(logits_TE + noise_logits_TE * noise_TE * training, top_k)


def noisy_exp(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    std = torch.exp(noise_logits_TE)
    return _top(logits_TE + std * noise_TE if training else logits_TE, top_k)


def noisy_same_size(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    return _top(logits_TE + noise_TE if training else logits_TE, top_k)


def noisy_late(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    v, i = logits_TE.topk(top_k, dim=-1)
    if training:
        v = v + (noise_TE * F.softplus(noise_logits_TE)).gather(1, i)
    return i, v.softmax(-1)


def noisy_choice_only(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    i = h.topk(top_k, dim=-1).indices
    return i, logits_TE.gather(1, i).softmax(-1)


def noisy_softmax_first(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    v, i = F.softmax(h, dim=-1).topk(top_k, dim=-1)
    return i, v


def noisy_zeroed(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    i = h.topk(top_k, dim=-1).indices
    mask = torch.zeros_like(h).scatter(1, i, 1.0)
    return i, (h * mask).softmax(-1).gather(1, i)


def noisy_values_first(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    return _top(logits_TE + noise_TE * F.softplus(noise_logits_TE) * training, top_k)[::-1]


RIGHT = {
    "06.bias_step": [bias_step_one_hot, bias_step_recentred, bias_step_loop],
    "06.noisy_topk": [noisy_masked, noisy_by_hand],
    **choice.RIGHT,
    **groups.RIGHT,
    **leaks.RIGHT,
}
WRONG = {
    "06.bias_step": {
        "swapped_return": bias_step_values_first,
        "bias_in_weight": bias_step_biased_weight,
        "bias_on_logits": bias_step_on_logits,
        "bias_before_all": bias_step_on_logits_for_good,
        "softmax_scores": bias_step_softmax,
        "update_first": bias_step_early,
        "sign_flipped": bias_step_flipped,
        "proportional": bias_step_proportional,
        "mean_without_k": bias_step_mean_of_tokens,
        "not_accumulated": bias_step_fresh,
        "moving_average": bias_step_ema,
        "bias_unused": bias_step_not_used,
        "one_sided": bias_step_overloaded_only,
        "moved_at_rest": bias_step_two_way,
        "rounded_mean": bias_step_whole_mean,
        "scores_for_load": bias_step_soft_load,
    },
    "06.noisy_topk": {
        "swapped_return": noisy_values_first,
        "noise_in_evaluation": noisy_always,
        "flag_swapped": noisy_flag,
        "no_softplus": noisy_bare,
        "exp_for_softplus": noisy_exp,
        "unscaled_noise": noisy_same_size,
        "noise_after_topk": noisy_late,
        "clean_weights": noisy_choice_only,
        "softmax_over_all": noisy_softmax_first,
        "masked_with_zero": noisy_zeroed,
        "gradient_lost": noisy_in_numpy,
    },
    **choice.WRONG,
    **groups.WRONG,
    **leaks.WRONG,
}


for exercise, answers in more_routing_zoo.WRONG.items():
    WRONG[exercise] = {**WRONG[exercise], **answers}
more_late.add_to(WRONG)
more_tenth.add_to(WRONG)
