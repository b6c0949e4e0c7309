"""Lesson 06: a bias step, noise, expert choice, a test for leaks, Sinkhorn, groups."""

import math

import torch
import torch.nn.functional as F
from fresh.tenth.parts import limited

# 06.bias_step


def chosen_by_biased(logits_TE, expert_bias_E, top_k):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids)
    load = torch.bincount(ids.flatten(), minlength=logits_TE.shape[1]).float()
    return ids, weights / weights.sum(dim=-1, keepdim=True), load


def biased_weights(logits_TE, expert_bias_E, top_k, rate):
    values, ids = (logits_TE.sigmoid() + expert_bias_E).topk(top_k, dim=-1)
    load = torch.bincount(ids.flatten(), minlength=logits_TE.shape[1]).float()
    bias = expert_bias_E + rate * torch.sign(load.mean() - load)
    return ids, values / values.sum(dim=-1, keepdim=True), bias


def wrong_way(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    return ids, weights, expert_bias_E + rate * torch.sign(load - load.mean())


def in_proportion(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    return ids, weights, expert_bias_E + rate * (load.mean() - load)


def mean_without_k(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    n_tokens, n_experts = logits_TE.shape
    return ids, weights, expert_bias_E + rate * torch.sign(n_tokens / n_experts - load)


def moves_at_the_mean(logits_TE, expert_bias_E, top_k, rate):
    ids, weights, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    return ids, weights, torch.where(load < load.mean(), expert_bias_E + rate, expert_bias_E - rate)


def weights_not_rescaled(logits_TE, expert_bias_E, top_k, rate):
    ids, _, load = chosen_by_biased(logits_TE, expert_bias_E, top_k)
    bias = expert_bias_E + rate * torch.sign(load.mean() - load)
    return ids, logits_TE.sigmoid().gather(-1, ids), bias


# 06.noisy_topk


def noise_in_evaluation(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * F.softplus(noise_logits_TE)
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def softplus_forgotten(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * noise_logits_TE if training else logits_TE
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def clean_weights(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    ids = noisy.topk(top_k, dim=-1).indices
    return ids, logits_TE.gather(-1, ids).softmax(dim=-1)


def softmax_before_topk(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * F.softplus(noise_logits_TE) if training else logits_TE
    weights, ids = noisy.softmax(dim=-1).topk(top_k, dim=-1)
    return ids, weights


def softplus_of_the_product(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + F.softplus(noise_TE * noise_logits_TE) if training else logits_TE
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


def its_own_noise(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + torch.randn_like(logits_TE) * F.softplus(noise_logits_TE) if training else logits_TE
    values, ids = noisy.topk(top_k, dim=-1)
    return ids, values.softmax(dim=-1)


# 06.expert_choice


def tokens_choose(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    ids = probs.topk(experts_per_token, dim=-1).indices
    return torch.zeros_like(probs).scatter(1, ids, 1.0) * probs


def softmax_over_tokens(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=0)
    n = len(probs) * experts_per_token // probs.shape[1]
    ids = probs.topk(n, dim=0).indices
    return torch.zeros_like(probs).scatter(0, ids, 1.0) * probs


def rescaled_for_each_token(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    kept = torch.zeros_like(probs).scatter(0, probs.topk(n, dim=0).indices, 1.0) * probs
    return kept / kept.sum(dim=-1, keepdim=True).clamp(min=1e-9)


def c_tokens_each(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    ids = probs.topk(experts_per_token, dim=0).indices
    return torch.zeros_like(probs).scatter(0, ids, 1.0) * probs


def ones_returned(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    return torch.zeros_like(probs).scatter(0, probs.topk(n, dim=0).indices, 1.0)


def ranked_by_logits(logits_TE, experts_per_token):
    probs = logits_TE.softmax(dim=-1)
    n = len(probs) * experts_per_token // probs.shape[1]
    ids = logits_TE.topk(n, dim=0).indices
    return torch.zeros_like(probs).scatter(0, ids, 1.0) * probs


# 06.leaks_future


def middle_only(route, logits_TE):
    base = route(logits_TE)
    t = len(logits_TE) // 2
    changed = logits_TE.clone()
    changed[t:] = torch.randn_like(changed[t:])
    return bool((route(changed)[:t] - base[:t]).abs().max() > 1e-4)


def last_token_only(route, logits_TE):
    base = route(logits_TE)
    for scale in (0.1, 1.0, 10.0, 100.0):
        for _ in range(20):
            changed = logits_TE.clone()
            changed[-1] = scale * torch.randn(logits_TE.shape[1])
            if (route(changed)[:-1] - base[:-1]).abs().max() > 1e-4:
                return True
    return False


def everything_compared(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            changed = logits_TE.clone()
            changed[t:] = scale * torch.randn_like(changed[t:])
            if (route(changed) - base).abs().max() > 1e-4:
                return True
    return False


def equal_bits(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[t:] = scale * torch.randn_like(changed[t:])
                if not torch.equal(route(changed)[:t], base[:t]):
                    return True
    return False


def changed_token_compared(route, logits_TE):
    base = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1.0, 10.0):
            for _ in range(10):
                changed = logits_TE.clone()
                changed[t:] = scale * torch.randn_like(changed[t:])
                if (route(changed)[: t + 1] - base[: t + 1]).abs().max() > 1e-4:
                    return True
    return False


# 06.sinkhorn


def rows_then_columns(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE
    for _ in range(rounds):
        log = log - log.logsumexp(dim=1, keepdim=True)
        log = log - log.logsumexp(dim=0) + math.log(n_tokens / n_experts)
    return log.exp()


def without_logarithms(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    plan = logits_TE.exp()
    for _ in range(rounds):
        plan = plan / plan.sum(dim=0) * n_tokens / n_experts
        plan = plan / plan.sum(dim=1, keepdim=True)
    return plan


def from_a_softmax(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    plan = logits_TE.softmax(dim=-1)
    for _ in range(rounds):
        plan = plan / plan.sum(dim=0) * n_tokens / n_experts
        plan = plan / plan.sum(dim=1, keepdim=True)
    return plan


def logarithms_returned(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE
    for _ in range(rounds):
        log = log - log.logsumexp(dim=0) + math.log(n_tokens / n_experts)
        log = log - log.logsumexp(dim=1, keepdim=True)
    return log


def keepdim_missing(logits_TE, rounds):
    n_tokens, n_experts = logits_TE.shape
    log = logits_TE
    for _ in range(rounds):
        log = log - log.logsumexp(dim=0) + math.log(n_tokens / n_experts)
        log = log - log.logsumexp(dim=1)
    return log.exp()


# 06.group_limited


def best_expert_counts(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).amax(dim=-1)
    return limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k)


def weights_see_the_bias(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    return limited(biased, biased, worth, n_groups, groups_per_token, top_k)


def groups_without_bias(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = scores_TE.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    return limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k)


def masked_with_zero(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    return limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k, fill=0.0)


def repeated_not_interleaved(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    kept = torch.zeros_like(worth).scatter(1, worth.topk(groups_per_token, dim=-1).indices, 1.0).bool()
    mask = kept.repeat(1, scores_TE.shape[1] // n_groups)
    ids = biased.masked_fill(~mask, -math.inf).topk(top_k, dim=-1).indices
    weights = scores_TE.gather(-1, ids)
    return ids, weights / weights.sum(dim=-1, keepdim=True)


def whole_group_counts(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    biased = scores_TE + expert_bias_E
    worth = biased.unflatten(1, (n_groups, -1)).sum(dim=-1)
    return limited(scores_TE, biased, worth, n_groups, groups_per_token, top_k)


FRESH = {
    "06.bias_step": [
        ("biased scores weigh", biased_weights, {"bias_in_weight"}),
        ("the bias moves the wrong way", wrong_way, {"sign_flipped"}),
        ("a step in proportion to the gap", in_proportion, {"proportional"}),
        ("mean T / E, without K", mean_without_k, {"mean_without_k"}),
        ("at the mean it moves down", moves_at_the_mean, {"moved_at_rest"}),
        ("weights not rescaled", weights_not_rescaled, {"not_rescaled"}),
    ],
    "06.noisy_topk": [
        ("noise in evaluation too", noise_in_evaluation, {"noise_in_evaluation"}),
        ("noise logits without softplus", softplus_forgotten, {"no_softplus"}),
        ("weights from the clean logits", clean_weights, {"clean_weights"}),
        ("softmax over all experts, kept as it is", softmax_before_topk, {"softmax_over_all"}),
        ("softplus of noise times noise logits", softplus_of_the_product, {"softplus_of_product"}),
        ("noise of its own", its_own_noise, {"own_noise"}),
    ],
    "06.expert_choice": [
        ("the tokens choose", tokens_choose, {"tokens_choose"}),
        ("softmax over the tokens", softmax_over_tokens, {"softmax_over_tokens"}),
        ("rescaled for each token", rescaled_for_each_token, {"rescaled_per_token"}),
        ("c tokens for each expert", c_tokens_each, {"c_tokens_each"}),
        ("ones where probabilities belong", ones_returned, {"only_a_mask"}),
        ("ranked by logits, not by probabilities", ranked_by_logits, {"ranked_by_logit"}),
    ],
    "06.leaks_future": [
        ("one replacement from the middle on", middle_only, {"one_position"}),
        ("changes the last token only", last_token_only, {"one_token_changed"}),
        ("compares the changed tokens too", everything_compared, {"all_leaky"}),
        ("equal bits", equal_bits, {"no_tolerance"}),
        ("compares the first changed token", changed_token_compared, {"all_leaky"}),
    ],
    "06.sinkhorn": [
        ("rows before columns", rows_then_columns, {"rows_first"}),
        ("exp at the start: overflows", without_logarithms, {"overflow"}),
        ("softmax at the start: underflows", from_a_softmax, {"softmax_first"}),
        ("logarithms returned", logarithms_returned, {"still_logarithms"}),
        ("rows without keepdim", keepdim_missing, {"keepdim_missing"}),
    ],
    "06.group_limited": [
        ("a group is worth its best expert", best_expert_counts, {"best_of_group"}),
        ("weights with bias", weights_see_the_bias, {"bias_in_weight"}),
        ("groups ranked without bias", groups_without_bias, {"unbiased_groups"}),
        ("masked with 0", masked_with_zero, {"masked_with_zero"}),
        ("repeat for repeat_interleave", repeated_not_interleaved, {"tiled_mask"}),
        ("a group is worth the sum of all", whole_group_counts, {"mean_of_group"}),
    ],
}
