"""The second set, written from the learner's notebooks alone: lesson 05's second half."""

import torch
import torch.nn.functional as F

# 05.loss_gradient


def _f(topk_ids_TK, E):
    return torch.bincount(topk_ids_TK.flatten(), minlength=E).float() / topk_ids_TK.numel()


def lg_no_jacobian(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    f = _f(topk_ids_TK, E)
    return (E / T * f).expand(T, E).clone()


def lg_no_factor(logits_TE, topk_ids_TK):
    p = logits_TE.softmax(-1)
    f = _f(topk_ids_TK, logits_TE.shape[1])
    return p * (f - (p @ f)[:, None])


def lg_mean_f(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = torch.softmax(logits_TE, dim=1)
    f = _f(topk_ids_TK, E)
    return E / T * p * (f - f.mean())


def lg_mean_p(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = torch.softmax(logits_TE, dim=1)
    f = _f(topk_ids_TK, E)
    inner = (f * p.mean(0)).sum()
    return E * p * (f - inner) / T


def lg_diagonal(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = F.softmax(logits_TE, dim=-1)
    f = _f(topk_ids_TK, E)
    return E * f * p * (1 - p) / T


def lg_inner_over_tokens(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = F.softmax(logits_TE, dim=-1)
    f = _f(topk_ids_TK, E)
    return E / T * p * (f - (p * f).sum(0))


# 05.chebyshev


def cheb_same_order(f_E, P_E):
    pairs = (f_E[:, None] - f_E[None, :]) * (P_E[:, None] - P_E[None, :]) / 2
    return pairs, pairs.sum(), bool((f_E.argsort() == P_E.argsort()).all())


def cheb_no_half(f_E, P_E):
    df = f_E.unsqueeze(0) - f_E.unsqueeze(1)
    dP = P_E.unsqueeze(0) - P_E.unsqueeze(1)
    m = df * dP
    return m, m.sum(), bool((m >= 0).all())


def cheb_by_the_sum(f_E, P_E):
    m = 0.5 * torch.subtract(*torch.meshgrid(f_E, f_E, indexing="ij"))
    m = m * torch.subtract(*torch.meshgrid(P_E, P_E, indexing="ij"))
    total = m.sum()
    return m, total, bool(total >= 0)


def cheb_products(f_E, P_E):
    E = len(f_E)
    m = torch.zeros(E, E)
    for i in range(E):
        for j in range(E):
            m[i, j] = (f_E[i] - P_E[i]) * (f_E[j] - P_E[j]) / 2
    return m, m.sum(), bool((m >= 0).all())


def cheb_minus_one(f_E, P_E):
    d = torch.outer(f_E, torch.ones_like(f_E)) - torch.outer(torch.ones_like(f_E), f_E)
    g = torch.outer(P_E, torch.ones_like(P_E)) - torch.outer(torch.ones_like(P_E), P_E)
    m = d * g / 2
    return m, len(f_E) * (f_E * P_E).sum() - 1, bool(m.min() >= 0)


def cheb_neighbours(f_E, P_E):
    m = (f_E[:, None] - f_E) * (P_E[:, None] - P_E) / 2
    sorted_ = True
    for i in range(len(f_E) - 1):
        if (f_E[i + 1] - f_E[i]) * (P_E[i + 1] - P_E[i]) < 0:
            sorted_ = False
    return m, m.sum(), sorted_


# 05.counterexample


def ce_random(n_tokens, n_experts):
    return torch.randn(n_tokens, n_experts, generator=torch.Generator().manual_seed(0))


def ce_collapsed(n_tokens, n_experts):
    logits = torch.zeros(n_tokens, n_experts)
    logits[:, 0] = 5.0
    return logits


def ce_half(n_tokens, n_experts):
    z = torch.zeros(n_tokens, n_experts)
    half = n_tokens // 2
    z[:half, 0] = 0.02
    z[half:, 1] = 10.0
    return z


def ce_tiny_lead(n_tokens, n_experts):
    z = torch.zeros(n_tokens, n_experts)
    cut = int(0.7 * n_tokens)
    z[:cut, 0] = 0.001
    z[cut:, 1] = 20.0
    return z


def ce_three_tokens(n_tokens, n_experts):
    z = torch.full((n_tokens, n_experts), -10.0)
    z[:, 0] = 0.05
    z[:, 1] = 0.0
    z[0, 1] = 9.0
    return z


def ce_uniform(n_tokens, n_experts):
    ids = torch.arange(n_tokens) % n_experts
    return 0.05 * F.one_hot(ids, n_experts).float()


# 05.z_loss


def zl_not_squared(logits_TE):
    return torch.logsumexp(logits_TE, dim=-1).mean()


def zl_square_of_mean(logits_TE):
    lse = logits_TE.logsumexp(1)
    return lse.mean() ** 2


def zl_naive(logits_TE):
    return (torch.log(torch.exp(logits_TE).sum(dim=-1)) ** 2).mean()


def zl_log_softmax(logits_TE):
    return F.log_softmax(logits_TE, dim=-1).square().mean()


def zl_stable_half(logits_TE):
    m = logits_TE.max(dim=-1, keepdim=True).values
    lse = torch.log(torch.exp(logits_TE - m).sum(dim=-1))
    return (lse**2).mean()


def zl_over_tokens(logits_TE):
    return (torch.logsumexp(logits_TE, 0) ** 2).mean()


# 05.scope


def _loss(z, top_k):
    E = z.shape[-1]
    f = torch.bincount(z.topk(top_k, -1).indices.flatten(), minlength=E) / (len(z) * top_k)
    return E * (f * z.softmax(-1).mean(0)).sum()


def sc_swapped(logits_MBLE, top_k, scope):
    M, B, L, E = logits_MBLE.shape
    if scope == "micro_batch":
        groups = logits_MBLE.reshape(M * B, L, E)
    elif scope == "sequence":
        groups = logits_MBLE.reshape(M, B * L, E)
    else:
        groups = logits_MBLE.reshape(1, M * B * L, E)
    return torch.stack([_loss(g, top_k) for g in groups]).mean()


def sc_positions(logits_MBLE, top_k, scope):
    M, B, L, E = logits_MBLE.shape
    if scope == "sequence":
        groups = logits_MBLE.reshape(L, M * B, E)
    elif scope == "micro_batch":
        groups = logits_MBLE.reshape(M, B * L, E)
    else:
        groups = logits_MBLE.reshape(1, -1, E)
    return sum(_loss(g, top_k) for g in groups) / len(groups)


def sc_global_f(logits_MBLE, top_k, scope):
    _M, _B, _L, E = logits_MBLE.shape
    ids = logits_MBLE.topk(top_k, dim=-1).indices
    f = torch.bincount(ids.flatten(), minlength=E).float() / ids.numel()
    p = logits_MBLE.softmax(-1)
    if scope == "sequence":
        P = p.mean(dim=2)
    elif scope == "micro_batch":
        P = p.mean(dim=(1, 2))
    else:
        P = p.mean(dim=(0, 1, 2))
    return (E * (f * P).sum(-1)).mean()


def sc_summed(logits_MBLE, top_k, scope):
    M, B, _L, E = logits_MBLE.shape
    n = {"sequence": M * B, "micro_batch": M, "global_batch": 1}[scope]
    loss = 0
    for g in logits_MBLE.reshape(n, -1, E):
        loss = loss + _loss(g, top_k)
    return loss


def sc_f_to_k(logits_MBLE, top_k, scope):
    M, B, _L, E = logits_MBLE.shape
    n = {"sequence": M * B, "micro_batch": M, "global_batch": 1}[scope]
    z = logits_MBLE.reshape(n, -1, E)
    hot = F.one_hot(z.topk(top_k, dim=-1).indices, E).sum(-2).float()
    return E * (hot.mean(1) * z.softmax(-1).mean(1)).sum(-1).mean()


def sc_micro_for_global(logits_MBLE, top_k, scope):
    _M, _B, _L, E = logits_MBLE.shape
    per_sequence = [[_loss(z, top_k) for z in m] for m in logits_MBLE]
    per_micro = [torch.stack(s).mean() for s in per_sequence]
    if scope == "sequence":
        return torch.stack([x for s in per_sequence for x in s]).mean()
    if scope == "micro_batch":
        return torch.stack([_loss(m.reshape(-1, E), top_k) for m in logits_MBLE]).mean()
    return torch.stack(per_micro).mean()


FRESH = {
    "05.loss_gradient": [
        ("no Jacobian", lg_no_jacobian, {"no_softmax"}),
        ("no E / T", lg_no_factor, {"size_factor"}),
        ("the mean of f", lg_mean_f, {"even_bracket"}),
        ("P for p", lg_mean_p, {"common_bracket"}),
        ("p (1 - p)", lg_diagonal, {"diagonal"}),
        ("summed over tokens", lg_inner_over_tokens, {"summed_over_tokens"}),
    ],
    "05.chebyshev": [
        ("argsort compared", cheb_same_order, {"same_argsort"}),
        ("no half", cheb_no_half, {"no_half"}),
        ("co-sorted by the sum", cheb_by_the_sum, {"excess_means_sorted"}),
        ("f - P", cheb_products, {"gaps"}),
        ("minus 1", cheb_minus_one, {"minus_one"}),
        ("neighbours alone", cheb_neighbours, {"neighbours_only"}),
    ],
    "05.counterexample": [
        ("random", ce_random, {"sure_majority"}),
        ("collapsed", ce_collapsed, {"sure_crowd"}),
        ("half and half", ce_half, {"half_and_half"}),
        ("a lead of 0.001", ce_tiny_lead, {"ties"}),
        ("a crowd of all but one", ce_three_tokens, {"too_few_sure"}),
        ("everybody hardly", ce_uniform, {"balanced"}),
    ],
    "05.z_loss": [
        ("not squared", zl_not_squared, {"not_squared"}),
        ("square of the mean", zl_square_of_mean, {"square_of_mean"}),
        ("overflow", zl_naive, {"bare_exp"}),
        ("log softmax", zl_log_softmax, {"log_softmax"}),
        ("maximum not added again", zl_stable_half, {"max_not_added"}),
        ("over tokens", zl_over_tokens, {"over_tokens"}),
    ],
    "05.scope": [
        ("swapped", sc_swapped, {"sequence_and_micro"}),
        ("groups of positions", sc_positions, {"reshaped_by_length"}),
        ("f of the whole batch", sc_global_f, {"averaged_first"}),
        ("added", sc_summed, {"summed"}),
        ("f sums to K", sc_f_to_k, {"no_K"}),
        ("mean of sequences for global", sc_micro_for_global, {"global_is_sequence"}),
    ],
}
