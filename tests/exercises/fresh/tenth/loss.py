"""Lesson 05: the load-balancing loss, its gradient, a proof, its gap, the z-loss, scopes."""

import torch
from fresh.tenth.parts import differences, grouped, loss_of, marks_of

# 05.f_and_p


def f_sums_to_k(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    f = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts) / n_tokens
    return f, logits_TE.softmax(dim=-1).mean(dim=0)


def f_too_short(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten()) / topk_ids_TK.numel()
    return f, logits_TE.softmax(dim=-1).mean(dim=0)


def p_of_the_chosen(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    weights = logits_TE.gather(1, topk_ids_TK).softmax(dim=-1)
    return f, torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, weights).mean(dim=0)


def softmax_over_tokens(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    return f, logits_TE.softmax(dim=0).mean(dim=0)


def p_summed(logits_TE, topk_ids_TK):
    f = torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()
    return f, logits_TE.softmax(dim=-1).sum(dim=0)


def f_of_favourites(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    f = torch.bincount(logits_TE.argmax(dim=-1), minlength=n_experts) / n_tokens
    return f, logits_TE.softmax(dim=-1).mean(dim=0)


# 05.balancing_loss


def layers_pooled(logits_NTE, mask_T, top_k):
    logits = logits_NTE[:, mask_T].flatten(0, 1)
    f = marks_of(logits, top_k).mean(dim=0) / top_k
    return logits.shape[-1] * (f * logits.softmax(dim=-1).mean(dim=0)).sum()


def mask_unused(logits_NTE, mask_T, top_k):
    f = marks_of(logits_NTE, top_k).mean(dim=1) / top_k
    p = logits_NTE.softmax(dim=-1).mean(dim=1)
    return logits_NTE.shape[-1] * (f * p).sum(dim=-1).mean()


def k_forgotten(logits_NTE, mask_T, top_k):
    real = logits_NTE[:, mask_T]
    f = marks_of(real, top_k).mean(dim=1)
    p = real.softmax(dim=-1).mean(dim=1)
    return real.shape[-1] * (f * p).sum(dim=-1).mean()


def mask_in_f_only(logits_NTE, mask_T, top_k):
    f = marks_of(logits_NTE[:, mask_T], top_k).mean(dim=1) / top_k
    p = logits_NTE.softmax(dim=-1).mean(dim=1)
    return logits_NTE.shape[-1] * (f * p).sum(dim=-1).mean()


def means_over_all_places(logits_NTE, mask_T, top_k):
    m = mask_T[:, None].float()
    f = (marks_of(logits_NTE, top_k) * m).mean(dim=1) / top_k
    p = (logits_NTE.softmax(dim=-1) * m).mean(dim=1)
    return logits_NTE.shape[-1] * (f * p).sum(dim=-1).mean()


def layers_summed(logits_NTE, mask_T, top_k):
    real = logits_NTE[:, mask_T]
    f = marks_of(real, top_k).mean(dim=1) / top_k
    p = real.softmax(dim=-1).mean(dim=1)
    return real.shape[-1] * (f * p).sum()


# 05.loss_gradient


def f_of(logits_TE, topk_ids_TK):
    return torch.bincount(topk_ids_TK.flatten(), minlength=logits_TE.shape[1]) / topk_ids_TK.numel()


def p_times_s(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = n_experts * f_of(logits_TE, topk_ids_TK) / n_tokens
    return logits_TE.softmax(dim=-1) * s


def tokens_forgotten(logits_TE, topk_ids_TK):
    s = logits_TE.shape[1] * f_of(logits_TE, topk_ids_TK)
    p = logits_TE.softmax(dim=-1)
    return p * (s - (p * s).sum(dim=-1, keepdim=True))


def experts_forgotten(logits_TE, topk_ids_TK):
    s = f_of(logits_TE, topk_ids_TK) / logits_TE.shape[0]
    p = logits_TE.softmax(dim=-1)
    return p * (s - (p * s).sum(dim=-1, keepdim=True))


def plain_mean_subtracted(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = n_experts * f_of(logits_TE, topk_ids_TK) / n_tokens
    return logits_TE.softmax(dim=-1) * (s - s.mean())


def mean_p_for_each_token(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = n_experts * f_of(logits_TE, topk_ids_TK) / n_tokens
    p = logits_TE.softmax(dim=-1)
    return p * (s - (p.mean(dim=0) * s).sum())


def diagonal_only(logits_TE, topk_ids_TK):
    n_tokens, n_experts = logits_TE.shape
    s = n_experts * f_of(logits_TE, topk_ids_TK) / n_tokens
    p = logits_TE.softmax(dim=-1)
    return s * p * (1 - p)


# 05.chebyshev


def half_forgotten(f_E, P_E):
    pairs = differences(f_E) * differences(P_E)
    return pairs, pairs.sum(), bool((pairs >= 0).all())


def sorted_by_the_sum(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.sum(), bool(pairs.sum() >= 0)


def same_argsort(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.sum(), bool((f_E.argsort() == P_E.argsort()).all())


def strictly_positive(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.sum(), bool((pairs > 0).all())


def mixed_differences(f_E, P_E):
    pairs = (f_E[:, None] - P_E[None, :]) * (P_E[:, None] - f_E[None, :]) / 2
    return pairs, pairs.sum(), bool((pairs >= 0).all())


def each_pair_once(f_E, P_E):
    pairs = differences(f_E) * differences(P_E) / 2
    return pairs, pairs.triu().sum(), bool((pairs >= 0).all())


# 05.counterexample


def all_sure_of_expert_0(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    logits[:, 0] = 5.0
    return logits


def round_robin(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    logits[torch.arange(n_tokens), torch.arange(n_tokens) % n_experts] = 20.0
    return logits


def too_thin_a_hair(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    most = (3 * n_tokens) // 4 if n_experts == 2 else (11 * n_tokens) // 20
    logits[:most, 0] = 0.001
    rest = torch.arange(most, n_tokens)
    logits[rest, 1 + rest % (n_experts - 1)] = 20.0
    return logits


def sure_majority(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    most = 3 * n_tokens // 4
    logits[:most, 0] = 20.0
    rest = torch.arange(most, n_tokens)
    logits[rest, 1 + rest % (n_experts - 1)] = 0.02
    return logits


def all_the_sure_to_expert_1(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    most = 6 * n_tokens // 10
    logits[:most, 0] = 0.02
    logits[most:, 1] = 20.0
    return logits


def exactly_half(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    most = n_tokens // 2
    logits[:most, 0] = 0.02
    rest = torch.arange(most, n_tokens)
    logits[rest, 1 + rest % (n_experts - 1)] = 20.0
    return logits


# 05.z_loss


def not_squared(logits_TE):
    return logits_TE.logsumexp(dim=-1).mean()


def mean_before_square(logits_TE):
    return logits_TE.logsumexp(dim=-1).mean() ** 2


def by_hand_and_overflowing(logits_TE):
    return logits_TE.exp().sum(dim=-1).log().square().mean()


def over_the_tokens(logits_TE):
    return logits_TE.logsumexp(dim=0).square().mean()


def squared_logits(logits_TE):
    return logits_TE.square().sum(dim=-1).mean()


def tokens_summed(logits_TE):
    return logits_TE.logsumexp(dim=-1).square().sum()


# 05.scope


def scopes_swapped(logits_MBLE, top_k, scope):
    other = {"sequence": "micro_batch", "micro_batch": "sequence"}
    return loss_of(grouped(logits_MBLE, other.get(scope, scope)), top_k).mean()


def no_group_axis(logits_MBLE, top_k, scope):
    groups = logits_MBLE.flatten(0, 2) if scope == "global_batch" else grouped(logits_MBLE, scope)
    return loss_of(groups, top_k).mean()


def scope_f_sums_to_k(logits_MBLE, top_k, scope):
    return top_k * loss_of(grouped(logits_MBLE, scope), top_k).mean()


def groups_summed(logits_MBLE, top_k, scope):
    return loss_of(grouped(logits_MBLE, scope), top_k).sum()


def f_of_all_tokens(logits_MBLE, top_k, scope):
    groups = grouped(logits_MBLE, scope)
    f = marks_of(groups, top_k).mean(dim=(0, 1)) / top_k
    p = groups.softmax(dim=-1).mean(dim=1)
    return logits_MBLE.shape[-1] * (f * p).sum(dim=-1).mean()


def experts_left_out(logits_MBLE, top_k, scope):
    return loss_of(grouped(logits_MBLE, scope), top_k).mean() / logits_MBLE.shape[-1]


FRESH = {
    "05.f_and_p": [
        ("f divided by T", f_sums_to_k, {"f_per_token"}),
        ("bincount without minlength", f_too_short, {"short_count"}),
        ("P from the chosen weights", p_of_the_chosen, {"renormalized_P"}),
        ("softmax over the tokens", softmax_over_tokens, {"softmax_over_tokens"}),
        ("P summed", p_summed, {"summed_P"}),
        ("f from the favourites, not from the ids", f_of_favourites, {"first_choice"}),
    ],
    "05.balancing_loss": [
        ("layers pooled", layers_pooled, {"pooled"}),
        ("mask not used", mask_unused, {"padding_everywhere"}),
        ("f sums to K", k_forgotten, {"no_K"}),
        ("mask in f only", mask_in_f_only, {"padding_in_P"}),
        ("means over all places, padding too", means_over_all_places, {"divided_by_all"}),
        ("sum over layers", layers_summed, {"summed_layers"}),
    ],
    "05.loss_gradient": [
        ("p times s", p_times_s, {"no_bracket"}),
        ("no division by T", tokens_forgotten, {"no_mean"}),
        ("no E", experts_forgotten, {"no_E"}),
        ("the plain mean of s subtracted", plain_mean_subtracted, {"even_bracket"}),
        ("the mean of s under P, for all tokens", mean_p_for_each_token, {"common_bracket"}),
        ("the diagonal of the Jacobian only", diagonal_only, {"diagonal"}),
    ],
    "05.chebyshev": [
        ("not halved", half_forgotten, {"no_half"}),
        ("co-sorted by the sum", sorted_by_the_sum, {"excess_means_sorted"}),
        ("co-sorted by equal argsorts: ties", same_argsort, {"same_argsort"}),
        ("strictly above 0: the diagonal", strictly_positive, {"strict_with_diagonal"}),
        ("f minus P", mixed_differences, {"crossed"}),
        ("each pair once in the sum", each_pair_once, {"upper_triangle"}),
    ],
    "05.counterexample": [
        ("all sure of expert 0", all_sure_of_expert_0, {"sure_crowd"}),
        ("evenly, and sure", round_robin, {"balanced"}),
        ("leads by 0.001", too_thin_a_hair, {"ties"}),
        ("the majority sure, the others not", sure_majority, {"sure_majority"}),
        ("all the sure ones to expert 1", all_the_sure_to_expert_1, {"two_experts_only"}),
        ("half of the rows, with two experts too", exactly_half, {"not_with_two"}),
    ],
    "05.z_loss": [
        ("not squared", not_squared, {"not_squared"}),
        ("the square of the mean", mean_before_square, {"square_of_mean"}),
        ("exp, sum, log: overflows", by_hand_and_overflowing, {"bare_exp"}),
        ("over the tokens", over_the_tokens, {"over_tokens"}),
        ("squared logits", squared_logits, {"squared_logits"}),
        ("sum over tokens", tokens_summed, {"summed"}),
    ],
    "05.scope": [
        ("sequence and micro-batch swapped", scopes_swapped, {"sequence_and_micro"}),
        ("global without an axis of groups", no_group_axis, {"global_tokens"}),
        ("f sums to K", scope_f_sums_to_k, {"no_K"}),
        ("sum of the groups", groups_summed, {"summed"}),
        ("f of all tokens at every scope", f_of_all_tokens, {"averaged_first"}),
        ("no E", experts_left_out, {"no_E"}),
    ],
}
