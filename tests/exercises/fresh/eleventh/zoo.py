"""Lesson 06: the next most plausible ones, two to five an exercise."""

import math

import torch
import torch.nn.functional as F
from fresh.tenth.parts import limited
from fresh.tenth.zoo import chosen_by_biased


def mean_rounded_down(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    mean = logits_TE.shape[0] * top_k // logits_TE.shape[1]
    return ids, weights, expert_bias_E + rate * torch.sign(mean - load)


def bias_from_zero(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    return ids, weights, rate * torch.sign(load.mean() - load)


def softmax_for_sigmoid(logits_TE, expert_bias_E, top_k, rate):
    scores = logits_TE.softmax(dim=-1)
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids)
    load = torch.bincount(ids.flatten(), minlength=logits_TE.shape[1]).float()
    bias = expert_bias_E + rate * torch.sign(load.mean() - load)
    return ids, weights / weights.sum(dim=-1, keepdim=True), bias


def new_bias_chooses(logits_TE, expert_bias_E, top_k, rate):
    _, _, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    bias = expert_bias_E + rate * torch.sign(load.mean() - load)
    ids, weights, _ = chosen_by_biased(logits_TE, bias, top_k)
    return ids, weights, bias


def softplus_and_a_bit(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * (F.softplus(noise_logits_TE) + 1e-2) if training else logits_TE
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def noise_on_the_weights_only(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    ids = logits_TE.topk(top_k, dim=-1).indices
    return ids, noisy.gather(-1, ids).softmax(dim=-1)


def training_the_wrong_way_round(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE if training else logits_TE + noise_TE * F.softplus(noise_logits_TE)
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def noise_without_a_size(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE + F.softplus(noise_logits_TE) if training else logits_TE
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def t_over_e_tokens(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) // probs.shape[1]
    return torch.zeros_like(probs).scatter(0, probs.topk(n, dim=0).indices, 1.0) * probs


def scattered_along_the_experts(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    return torch.zeros_like(probs).scatter(1, probs.topk(n, dim=0).indices, 1.0) * probs


def values_returned(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    return probs.topk(n, dim=0).values


def rescaled_for_each_expert(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    kept = torch.zeros_like(probs).scatter(0, probs.topk(n, dim=0).indices, 1.0) * probs
    return kept / kept.sum(dim=0, keepdim=True)


def first_half_changed(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[:t] = scale * torch.randn_like(changed[:t])
                if (route(changed)[t:] - base[t:]).abs().max() > 1e-4:
                    return True
    return False


def all_must_differ(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[t:] = scale * torch.randn_like(changed[t:])
                if (route(changed)[:t] - base[:t]).abs().min() > 1e-4:
                    return True
    return False


def answer_turned(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[t:] = scale * torch.randn_like(changed[t:])
                if (route(changed)[:t] - base[:t]).abs().max() > 1e-4:
                    return False
    return True


def chosen_only_compared(route, logits_TE):
    base = route(logits_TE) > 0
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0, 100.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[t:] = scale * torch.randn_like(changed[t:])
                if ((route(changed) > 0)[:t] != base[:t]).any():
                    return True
    return False


def a_round_too_few(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE
    for _ in range(rounds - 1):
        log = log - log.logsumexp(dim=0) + math.log(n_tokens / n_experts)
        log = log - log.logsumexp(dim=1, keepdim=True)
    return log.exp()


def one_round(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE - logits_TE.logsumexp(dim=0) + math.log(n_tokens / n_experts)
    return (log - log.logsumexp(dim=1, keepdim=True)).exp()


def both_at_once(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE
    for _ in range(rounds):
        columns, rows = log.logsumexp(dim=0), log.logsumexp(dim=1, keepdim=True)
        log = log - columns + math.log(n_tokens / n_experts) - rows
    return log.exp()


def softmaxes_in_turn(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = plan.softmax(dim=0)
        plan = plan.softmax(dim=1)
    return plan


def weights_without_rescaling(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    ids, _ = limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k)
    return ids, scores_TE.gather(-1, ids)


def no_groups(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    ids = (scores_TE + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores_TE.gather(-1, ids)
    return ids, weights / weights.sum(dim=-1, keepdim=True)


def groups_every_other(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (-1, n_groups)).topk(2, dim=1).values.sum(dim=1)
    return limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k)


def experts_without_bias(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    return limited(scores_TE, scores_TE, worth, n_groups, groups_per_token, top_k)


FRESH = {
    "06.bias_step": [
        ("mean rounded down", mean_rounded_down, {"rounded_mean"}),
        ("the old bias forgotten", bias_from_zero, {"not_accumulated"}),
        ("softmax scores", softmax_for_sigmoid, {"softmax_scores"}),
        ("the new bias chooses already", new_bias_chooses, {"update_first"}),
    ],
    "06.noisy_topk": [
        ("softplus + 0.01", softplus_and_a_bit, {"softplus_plus_a_bit"}),
        ("chosen without noise", noise_on_the_weights_only, {"noise_after_topk"}),
        ("training the wrong way round", training_the_wrong_way_round, {"flag_swapped"}),
        ("noise plus size", noise_without_a_size, {"all_added"}),
    ],
    "06.expert_choice": [
        ("T / E tokens each", t_over_e_tokens, {"capacity_without_c"}),
        ("scattered along the experts", scattered_along_the_experts, {"index_out_of_range"}),
        ("values returned", values_returned, {"values_only"}),
        ("rescaled for each expert", rescaled_for_each_expert, {"softmax_among_chosen"}),
    ],
    "06.leaks_future": [
        ("changes the past", first_half_changed, {"past_changed"}),
        ("min for max", all_must_differ, {"none_leaky"}),
        ("True and False swapped", answer_turned, {"inverted"}),
        ("compares who is chosen only", chosen_only_compared, {"choices_only"}),
    ],
    "06.sinkhorn": [
        ("a round too few", a_round_too_few, {"one_round_more"}),
        ("one round", one_round, {"one_round"}),
        ("both sums taken first", both_at_once, {"both_sums_first"}),
        ("softmax of softmax", softmaxes_in_turn, {"softmax_again"}),
    ],
    "06.group_limited": [
        ("weights not rescaled", weights_without_rescaling, {"not_rescaled"}),
        ("no groups", no_groups, {"unlimited"}),
        ("every G-th expert in a group", groups_every_other, {"strided_groups"}),
        ("experts chosen without bias", experts_without_bias, {"unbiased_choice"}),
    ],
}
