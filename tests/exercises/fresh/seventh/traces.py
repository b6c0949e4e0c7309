"""Lesson 12."""

import torch


def padding_counts(experts_WL, lengths_W, n_experts):
    repeated = (experts_WL[:, 1:] == experts_WL[:, :-1]).double().mean().item()
    p = torch.bincount(experts_WL.flatten(), minlength=n_experts) / experts_WL.numel()
    return repeated, p.square().sum().item()


def pair_by_its_first(experts_WL, lengths_W, n_experts):
    mask = torch.arange(experts_WL.shape[1]) < lengths_W[:, None]
    same = experts_WL[:, 1:] == experts_WL[:, :-1]
    repeated = same[mask[:, :-1]].double().mean().item()
    counts = torch.bincount(experts_WL[mask], minlength=n_experts).double()
    return repeated, (counts / counts.sum()).square().sum().item()


def one_long_text(experts_WL, lengths_W, n_experts):
    mask = torch.arange(experts_WL.shape[1]) < lengths_W[:, None]
    real = experts_WL[mask]
    p = torch.bincount(real, minlength=n_experts) / len(real)
    return (real[1:] == real[:-1]).double().mean().item(), (p**2).sum().item()


def chance_is_one_in_e(experts_WL, lengths_W, n_experts):
    mask = torch.arange(experts_WL.shape[1]) < lengths_W[:, None]
    same = experts_WL[:, 1:] == experts_WL[:, :-1]
    return same[mask[:, 1:]].double().mean().item(), 1 / n_experts


def window_by_window(experts_WL, lengths_W, n_experts):
    shares, real = [], []
    for row, n in zip(experts_WL, lengths_W.tolist(), strict=True):
        row = row[:n]
        real.append(row)
        if n > 1:
            shares.append((row[1:] == row[:-1]).double().mean().item())
    p = torch.bincount(torch.cat(real), minlength=n_experts).double()
    p /= p.sum()
    return sum(shares) / max(len(shares), 1), p.square().sum().item()


def over_tokens(experts_WL, lengths_W, n_experts):
    repeated = 0
    counts = torch.zeros(n_experts)
    for row, n in zip(experts_WL.tolist(), lengths_W.tolist(), strict=True):
        for i in range(n):
            counts[row[i]] += 1
            if i > 0 and row[i] == row[i - 1]:
                repeated += 1
    n_tokens = lengths_W.sum().item()
    return repeated / n_tokens, ((counts / n_tokens) ** 2).sum().item()


def tables(then_TK, finally_TK, n_experts):
    return tuple(torch.zeros(len(x), n_experts).scatter(1, x, 1.0) for x in (then_TK, finally_TK))


def slot_by_slot(then_TK, finally_TK, n_experts):
    A, B = tables(then_TK, finally_TK, n_experts)
    overlap = (then_TK == finally_TK).double().mean().item()
    return overlap, ((A.mean(0) * B.mean(0)).sum() / then_TK.shape[1]).item()


def chance_is_k_of_e(then_TK, finally_TK, n_experts):
    K = then_TK.shape[1]
    overlap = (then_TK[:, :, None] == finally_TK[:, None, :]).any(1).double().mean().item()
    return overlap, K / n_experts


def over_the_union(then_TK, finally_TK, n_experts):
    A, B = tables(then_TK, finally_TK, n_experts)
    both = (A * B).sum(1)
    either = ((A + B) > 0).sum(1)
    return (both / either).mean().item(), ((A.mean(0) * B.mean(0)).sum() / then_TK.shape[1]).item()


def chance_not_divided(then_TK, finally_TK, n_experts):
    A, B = tables(then_TK, finally_TK, n_experts)
    return ((A * B).sum(1) / then_TK.shape[1]).mean().item(), (A.mean(0) @ B.mean(0)).item()


def shares_of_choices(then_TK, finally_TK, n_experts):
    K = then_TK.shape[1]
    overlap = (then_TK[:, :, None] == finally_TK[:, None, :]).sum((1, 2)).double().mean().item() / K
    a = torch.bincount(then_TK.flatten(), minlength=n_experts) / then_TK.numel()
    b = torch.bincount(finally_TK.flatten(), minlength=n_experts) / finally_TK.numel()
    return overlap, ((a * b).sum() / K).item()


def one_shuffle(then_TK, finally_TK, n_experts):
    def share(a, b):
        return (a[:, :, None] == b[:, None, :]).any(dim=1).double().mean().item()

    return share(then_TK, finally_TK), share(then_TK[torch.randperm(len(then_TK))], finally_TK)


def chosen(ids_TK, n_experts):
    return torch.zeros(len(ids_TK), n_experts).scatter(1, ids_TK, 1.0)


def given_the_other(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    H = chosen(topk_ids_TK, n_experts)
    both = H.T @ H
    n = both.diagonal().clone()
    given = both / n[None, :]
    lift = given / ((K - 1) * n[None, :] / (T * K - n)[:, None])
    return given.fill_diagonal_(0), lift.fill_diagonal_(0)


def over_plain_share(topk_ids_TK, n_experts):
    H = chosen(topk_ids_TK, n_experts)
    both = H.T @ H
    n = both.diagonal().clone()
    given = both / n[:, None]
    lift = given / (n / len(topk_ids_TK))[None, :]
    return given.fill_diagonal_(0), lift.fill_diagonal_(0)


def diagonal_stays(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    H = chosen(topk_ids_TK, n_experts)
    n = H.sum(0)
    given = (H.T @ H) / n[:, None]
    return given, given / ((K - 1) * n[None, :] / (T * K - n)[:, None])


def expectation_of_one_choice(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    H = chosen(topk_ids_TK, n_experts)
    both = H.T @ H
    n = both.diagonal().clone()
    both.fill_diagonal_(0)
    given = both / n[:, None]
    return given, given / (n[None, :] / (T * K - n)[:, None])


def over_all_choices(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    H = chosen(topk_ids_TK, n_experts)
    n = H.sum(0)
    both = (H.T @ H).fill_diagonal_(0)
    given = both / n[:, None]
    return given, given / ((K - 1) * n[None, :] / (T * K))


def pair_counted_one_way(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    both = torch.zeros(n_experts, n_experts)
    for row in topk_ids_TK.tolist():
        for i in range(K):
            for j in range(i + 1, K):
                both[row[i], row[j]] += 1
    n = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
    given = both / n[:, None]
    return given, given / ((K - 1) * n[None, :] / (T * K - n)[:, None])


FRESH = {
    "12.locality": [
        ("padding counted like tokens", padding_counts, {"padding_counted"}),
        ("a pair counts where its first token is real", pair_by_its_first, {"one_pair_too_many"}),
        ("all real tokens strung together, so pairs across windows", one_long_text, {"across_windows"}),
        ("chance is 1/E", chance_is_one_in_e, {"one_over_e"}),
        ("the share of each window, and the mean of these", window_by_window, {"mean_of_windows"}),
        ("repeats divided by all tokens", over_tokens, {"divided_by_tokens"}),
    ],
    "12.saturation": [
        ("slot k compared with slot k", slot_by_slot, {"slot_by_slot"}),
        ("chance is K/E", chance_is_k_of_e, {"k_over_e"}),
        ("common ones over the union of both sets", over_the_union, {"jaccard"}),
        ("chance without 1/K", chance_not_divided, {"counts"}),
        ("shares of all T K choices, not of tokens", shares_of_choices, {"load_shares"}),
        ("chance by one shuffle of the tokens", one_shuffle, {"one_other_pairing"}),
    ],
    "12.coactivation": [
        ("divided by n_j: the wrong one is given", given_the_other, {"transposed"}),
        ("lift = given over n_j / T", over_plain_share, {"share_of_all_tokens"}),
        ("the diagonal not set to 0", diagonal_stays, {"diagonal_kept"}),
        ("expectation without K - 1", expectation_of_one_choice, {"one_draw"}),
        ("expectation over all T K choices", over_all_choices, {"own_choices_left_in"}),
        ("a pair counted once, from the earlier slot to the later", pair_counted_one_way, {"ordered_pairs"}),
    ],
}
