"""Lesson 05: the next most plausible ones, two to five an exercise."""

import torch
from fresh.tenth.parts import differences, grouped, loss_of, marks_of


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


FRESH = {
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
}
