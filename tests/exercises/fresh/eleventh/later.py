"""Lessons 04 to 06: the next most plausible ones, two to four an exercise."""

import math

import torch
import torch.nn.functional as F
from fresh.tenth.parts import differences, grouped, limited, loss_of, marks_of, n_of, revived
from fresh.tenth.zoo import chosen_by_biased

# 04.load_shares


def counts_themselves(topk_ids_TK, n_experts, mask_T):
    return torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts).float()


def mask_inverted(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[~mask_T].flatten(), minlength=n_experts).float()
    return counts / counts.sum()


def whole_division(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return counts // counts.sum()


# 04.effective_experts


def two_to_the_nats(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return 2 ** torch.special.entr(s).sum(dim=-1), c.shape[1] / (1 + cv**2)


def used_experts(counts_LE):
    c = counts_LE.float()
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return (c > 0).sum(dim=-1).float(), c.shape[1] / (1 + cv**2)


def layers_for_experts(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1).exp(), len(c) / (1 + cv**2)


# 04.imbalance


def along_the_layers(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=0)
    return c.std(dim=0, correction=0) / mean, c.amax(dim=0) / mean - 1, (c == 0).sum(dim=0)


def variance(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.var(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean - 1, (c == 0).sum(dim=-1)


def share_of_dead(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return (
        c.std(dim=-1, correction=0) / mean,
        c.amax(dim=-1) / mean - 1,
        (c == 0).float().mean(dim=-1),
    )


def living(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean - 1, (c > 0).sum(dim=-1)


# 04.diagnose


def told(shares_NE, a, b, c, d, rows, half, dead):
    if d < half:
        return "collapsed"
    if rows < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    return "dead expert" if dead else "healthy"


def rows_of_the_whole_run(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (q[3] == 0).all(dim=0).any()
    return told(shares_NE, a, b, c, d, n_of(shares_NE).mean(), shares_NE.shape[1] / 2, dead)


def the_last_row_only(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (shares_NE[-1] == 0).any()
    return told(shares_NE, a, b, c, d, n_of(q[3]).mean(), shares_NE.shape[1] / 2, dead)


def any_row_oscillates(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (q[3] == 0).all(dim=0).any()
    return told(shares_NE, a, b, c, d, n_of(q[3]).min(), shares_NE.shape[1] / 2, dead)


def size_of_the_fall_ignored(shares_NE):
    q = shares_NE.chunk(4)
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    if d < half:
        return "collapsed"
    if n_of(q[3]).mean() < half:
        return "oscillating"
    if a > b > c > d:
        return "collapsing"
    return "dead expert" if (q[3] == 0).all(dim=0).any() else "healthy"


# 04.revive


def noise_forgotten(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    return revived(router_ED, experts_EP, momentum_EP, counts_E, 0 * noise_ED, lambda i: busy[i % len(busy)])


def momentum_kept(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, _ = revived(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)]
    )
    return router, experts, momentum_EP.clone()


def donors_lose_momentum_too(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, momentum = revived(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)]
    )
    for i in range(int((counts_E == 0).sum())):
        momentum[busy[i % len(busy)]] = 0
    return router, experts, momentum


def noise_on_all_rows(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, momentum = revived(
        router_ED, experts_EP, momentum_EP, counts_E, 0 * noise_ED, lambda i: busy[i % len(busy)]
    )
    return router + noise_ED, experts, momentum


# 05


def p_of_log_softmax(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    return f, logits_TE.log_softmax(dim=-1).mean(dim=0)


def softmax_of_the_mean(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    return f, logits_TE.mean(dim=0).softmax(dim=-1)


def pair_swapped(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    return logits_TE.softmax(dim=-1).mean(dim=0), f


def squared_p(logits_NTE, mask_T, top_k):
    p = logits_NTE[:, mask_T].softmax(dim=-1).mean(dim=1)
    return logits_NTE.shape[-1] * (p * p).sum(dim=-1).mean()


def p_detached(logits_NTE, mask_T, top_k):
    real = logits_NTE[:, mask_T]
    f = marks_of(real, top_k).mean(dim=1) / top_k
    p = real.softmax(dim=-1).mean(dim=1).detach()
    return real.shape[-1] * (f * p).sum(dim=-1).mean()


def mean_over_experts(logits_NTE, mask_T, top_k):
    real = logits_NTE[:, mask_T]
    f = marks_of(real, top_k).mean(dim=1) / top_k
    p = real.softmax(dim=-1).mean(dim=1)
    return real.shape[-1] * (f * p).mean()


def logits_zeroed(logits_NTE, mask_T, top_k):
    logits = logits_NTE * mask_T[:, None]
    n = mask_T.sum()
    f = (marks_of(logits, top_k) * mask_T[:, None]).sum(dim=1) / n / top_k
    p = logits.softmax(dim=-1).mean(dim=1)
    return logits.shape[-1] * (f * p).sum(dim=-1).mean()


def sign_turned(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = (
        n_experts
        * torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
        / topk_ids_TK.numel()
        / n_tokens
    )
    p = logits_TE.softmax(dim=-1)
    return p * ((p * s).sum(dim=-1, keepdim=True) - s)


def gradient_of_p(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = (
        n_experts
        * torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
        / topk_ids_TK.numel()
        / n_tokens
    )
    return s.expand(n_tokens, n_experts).clone()


def keepdim_left_out(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = (
        n_experts
        * torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
        / topk_ids_TK.numel()
        / n_tokens
    )
    p = logits_TE.softmax(dim=-1)
    return p * (s - (p * s).sum(dim=-1))


def sum_compared_with_zero(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.sum(), bool((pairs.sum(dim=-1) >= 0).all())


def neighbours_only(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.sum(), bool((f_E.diff() * P_E.diff() >= 0).all())


def outer_product(f_E, P_E):
    pairs = f_E[:, None] * P_E[None, :] / 2
    return pairs, pairs.sum(), bool((pairs >= 0).all())


def random_logits(n_tokens, n_experts):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n_tokens, n_experts, generator=generator)


def too_many_in_the_crowd(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    most = 95 * n_tokens // 100
    logits[:most, 0] = 0.02
    rest = torch.arange(most, n_tokens)
    logits[rest, 1 + rest % (n_experts - 1)] = 20.0
    return logits


def z_of_the_largest(logits_TE):
    return logits_TE.amax(dim=-1).square().mean()


def z_of_log_softmax(logits_TE):
    return logits_TE.log_softmax(dim=-1).square().mean()


def z_over_everything(logits_TE):
    return logits_TE.flatten().logsumexp(dim=-1).square()


def always_global(logits_MBLE, top_k, scope):
    return loss_of(grouped(logits_MBLE, "global_batch"), top_k).mean()


def sequences_across_the_batch(logits_MBLE, top_k, scope):
    if scope == "sequence":
        return loss_of(logits_MBLE.transpose(1, 2).flatten(0, 1), top_k).mean()
    return loss_of(grouped(logits_MBLE, scope), top_k).mean()


def top_1_in_f(logits_MBLE, top_k, scope):
    return loss_of(grouped(logits_MBLE, scope), 1).mean()


# 06


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
    "04.load_shares": [
        ("counts", counts_themselves, {"counts"}),
        ("the padding's shares", mask_inverted, {"mask_inverted"}),
        ("whole division", whole_division, {"whole_division"}),
    ],
    "04.effective_experts": [
        ("2 to the nats", two_to_the_nats, {"bits_and_e"}),
        ("the number of experts in use", used_experts, {"in_use"}),
        ("L for E", layers_for_experts, {"size_factor"}),
    ],
    "04.imbalance": [
        ("along the layers", along_the_layers, {"over_layers"}),
        ("variance over mean", variance, {"variance_over_mean"}),
        ("share of dead experts", share_of_dead, {"size_factor"}),
        ("the living counted", living, {"living_counted"}),
    ],
    "04.diagnose": [
        ("oscillating: rows of the whole run", rows_of_the_whole_run, {"whole_oscillates"}),
        ("dead: the last row", the_last_row_only, {"rested_is_dead"}),
        ("oscillating: any row", any_row_oscillates, {"one_uneven_row"}),
        ("collapsing: any fall", size_of_the_fall_ignored, {"any_fall"}),
    ],
    "04.revive": [
        ("no noise", noise_forgotten, {"no_noise"}),
        ("momentum kept", momentum_kept, {"momentum_kept"}),
        ("donors lose their momentum too", donors_lose_momentum_too, {"donors_momentum_cleared"}),
        ("noise on all rows", noise_on_all_rows, {"noise_for_all"}),
    ],
    "05.f_and_p": [
        ("log-softmax", p_of_log_softmax, {"log_probabilities"}),
        ("softmax of the mean logits", softmax_of_the_mean, {"softmax_of_mean"}),
        ("P, f", pair_swapped, {"swapped_return"}),
    ],
    "05.balancing_loss": [
        ("P squared", squared_p, {"soft_f"}),
        ("P detached", p_detached, {"detached"}),
        ("mean over the experts", mean_over_experts, {"no_E"}),
        ("logits times mask", logits_zeroed, {"logits_overwritten"}),
    ],
    "05.loss_gradient": [
        ("the other sign", sign_turned, {"sign"}),
        ("the gradient with respect to p", gradient_of_p, {"no_softmax"}),
        ("no keepdim", keepdim_left_out, {"keepdim_missing"}),
    ],
    "05.chebyshev": [
        ("co-sorted by the sums of rows", sum_compared_with_zero, {"excess_means_sorted"}),
        ("co-sorted by neighbours", neighbours_only, {"neighbours_only"}),
        ("outer product", outer_product, {"outer_product"}),
    ],
    "05.counterexample": [
        ("random", random_logits, {"sure_majority"}),
        ("95 % in the crowd", too_many_in_the_crowd, {"too_few_sure"}),
    ],
    "05.z_loss": [
        ("the largest logit squared", z_of_the_largest, {"max_only"}),
        ("log-softmax squared", z_of_log_softmax, {"log_softmax"}),
        ("one logsumexp for all", z_over_everything, {"over_everything"}),
    ],
    "05.scope": [
        ("always global", always_global, {"averaged_first"}),
        ("a sequence is a place in all texts", sequences_across_the_batch, {"positions"}),
        ("f from first choices", top_1_in_f, {"first_choice"}),
    ],
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
