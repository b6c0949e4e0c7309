"""More answers to lesson 05, found by trying what learners are likely to write."""

import torch
import torch.nn.functional as F


def f_of(logits_TE, ids_TK):
    return torch.bincount(ids_TK.flatten(), minlength=logits_TE.shape[1]) / ids_TK.numel()


def f_in_rows(logits_TE, ids_TK):
    return torch.bincount(ids_TK.flatten(), minlength=logits_TE.shape[1]), logits_TE.softmax(-1).mean(0)


def p_times_f(logits_TE, ids_TK):
    n, e = logits_TE.shape
    return e / n * logits_TE.softmax(-1) * f_of(logits_TE, ids_TK)


def bracket_of_all(logits_TE, ids_TK):
    n, e = logits_TE.shape
    f, p = f_of(logits_TE, ids_TK), logits_TE.softmax(-1)
    return e / n * p * (f - (p.mean(0) * f).sum())


def bracket_even(logits_TE, ids_TK):
    n, e = logits_TE.shape
    f = f_of(logits_TE, ids_TK)
    return e / n * logits_TE.softmax(-1) * (f - f.mean())


def big_p_in_front(logits_TE, ids_TK):
    n, e = logits_TE.shape
    f, p = f_of(logits_TE, ids_TK), logits_TE.softmax(-1)
    return e / n * p.mean(0) * (f - (p * f).sum(-1, keepdim=True))


def by_autograd(logits_TE, ids_TK):
    z = logits_TE.clone().requires_grad_()
    with torch.enable_grad():
        loss = z.shape[1] * (f_of(z, ids_TK) * z.softmax(-1).mean(0)).sum()
    return torch.autograd.grad(loss, z)[0]


def by_backward(logits_TE, ids_TK):
    logits_TE.requires_grad_(True)
    (logits_TE.shape[1] * (f_of(logits_TE, ids_TK) * logits_TE.softmax(-1).mean(0)).sum()).backward()
    return logits_TE.grad


def pairs_of(f_E, P_E):
    return (f_E[:, None] - f_E) * (P_E[:, None] - P_E) / 2


def all_above_zero(f_E, P_E):
    m = pairs_of(f_E, P_E)
    return m, m.sum(), bool((m > 0).all())


def some_not_negative(f_E, P_E):
    m = pairs_of(f_E, P_E)
    return m, m.sum(), bool((m >= 0).any())


def f_minus_P(f_E, P_E):
    m = (f_E[:, None] - P_E[None]) * (P_E[:, None] - f_E[None]) / 2
    return m, m.sum(), bool((m >= 0).all())


def halved_twice(f_E, P_E):
    m = pairs_of(f_E, P_E)
    return m, m.sum() / 2, bool((m >= 0).all())


def scoped(names=(), whole=True):
    """Right, but for names taken for each other, or a global batch without an axis for its one group."""
    swap = dict(names)

    def loss(logits_MBLE, top_k, scope):
        scope = swap.get(scope, scope)
        if scope == "sequence":
            x = logits_MBLE.flatten(0, 1)
        elif scope == "micro_batch":
            x = logits_MBLE.flatten(1, 2)
        else:
            x = logits_MBLE.flatten(0, 2)
            x = x.unsqueeze(0) if whole else x.unsqueeze(1)
        f = F.one_hot(x.topk(top_k).indices, x.shape[-1]).float().mean((1, 2))
        return (x.shape[-1] * (f * x.softmax(-1).mean(1)).sum(-1)).mean()

    return loss


def P_of_tokens(logits_TE, topk_ids_TK):
    f = F.one_hot(topk_ids_TK, logits_TE.shape[1]).float().mean((0, 1))
    return f, logits_TE.softmax(1).mean(1)


def f_over_E(logits_TE, topk_ids_TK):
    hot = F.one_hot(topk_ids_TK, logits_TE.shape[1])
    return hot.sum((0, 1)) / logits_TE.shape[1], logits_TE.softmax(1).mean(0)


def padding_votes(logits_NTE, mask_T, top_k):
    z = torch.where(mask_T[None, :, None], logits_NTE, torch.zeros(()))
    hot = F.one_hot(z.topk(top_k).indices, z.shape[-1]).sum((1, 2)) / top_k
    P = z.softmax(-1).sum(1)
    return z.shape[-1] * (hot * P).sum(-1).mean() / mask_T.sum() ** 2


def two_halves(n_tokens, n_experts):
    first = (torch.arange(n_tokens) < n_tokens // 2).long()
    return F.one_hot(first, n_experts) * torch.where(first == 1, 15.0, 0.05)[:, None]


def one_in_twenty(n_tokens, n_experts):
    z = torch.zeros(n_tokens, n_experts)
    z[:, 0] = 0.02
    z[: max(1, n_tokens // 20), -1] = 30.0
    return z


def bracket_down(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p, push = torch.softmax(logits_TE, 1), torch.bincount(topk_ids_TK.flatten(), minlength=E)
    push = push * E / (T * topk_ids_TK.numel())
    return p * (push[None] - (push[None] * p).sum(0, keepdim=True))


def no_e_over_t(logits_TE, topk_ids_TK):
    E = logits_TE.shape[1]
    p, f = torch.softmax(logits_TE, 1), torch.bincount(topk_ids_TK.flatten(), minlength=E)
    f = f / topk_ids_TK.numel()
    return p * f - p * torch.mv(p, f)[:, None]


def apart_here_and_there(f_E, P_E):
    gap = f_E - P_E
    entries = 0.5 * torch.outer(gap, gap)
    return entries, entries.sum(), not bool((entries < 0).any())


def L_groups(logits_MBLE, top_k, scope):
    if scope != "sequence":
        return scoped()(logits_MBLE, top_k, scope)
    z = logits_MBLE.reshape(logits_MBLE.shape[2], -1, logits_MBLE.shape[3])
    return scoped()(z[None], top_k, "sequence")


WRONG = {
    "05.f_and_p": {"counts": f_in_rows, "other_axis": P_of_tokens, "size_factor": f_over_E},
    "05.balancing_loss": {"logits_zeroed": padding_votes},
    "05.counterexample": {"half_and_half": two_halves, "too_few_sure": one_in_twenty},
    "05.loss_gradient": {
        "summed_over_tokens": bracket_down,
        "size_factor": no_e_over_t,
        "no_bracket": p_times_f,
        "common_bracket": bracket_of_all,
        "even_bracket": bracket_even,
        "mean_outside": big_p_in_front,
        "autograd": by_autograd,
        "autograd:by backward": by_backward,
    },
    "05.chebyshev": {
        "strict_with_diagonal": all_above_zero,
        "gaps": apart_here_and_there,
        "any_pair": some_not_negative,
        "crossed": f_minus_P,
        "upper_triangle:halved twice": halved_twice,
    },
    "05.scope": {
        "sequence_and_micro": scoped({"sequence": "micro_batch", "micro_batch": "sequence"}),
        "micro_and_global": scoped({"global_batch": "micro_batch", "micro_batch": "global_batch"}),
        "global_tokens": scoped(whole=False),
        "global_is_sequence": scoped({"global_batch": "sequence"}),
        "reshaped_by_length": L_groups,
    },
}
