"""The second set, written from the learner's notebooks alone: `04.revive`, and lesson 05's first half."""

import torch
import torch.nn.functional as F

# 04.revive


def revive_one_donor(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    router, experts, momentum = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    dead = counts_E == 0
    donor = counts_E.argmax()
    router[dead] = router[donor] + noise_ED[dead]
    experts[dead] = experts[donor]
    momentum[dead] = 0.0
    return router, experts, momentum


def revive_donors_run_out(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    router, experts, momentum = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    dead = torch.where(counts_E == 0)[0]
    donors = torch.argsort(counts_E, descending=True)[: len(dead)]
    router[dead] = router_ED[donors] + noise_ED[dead]
    experts[dead] = experts_EP[donors]
    momentum[dead] = 0
    return router, experts, momentum


def revive_noise_by_order(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    router, experts, momentum = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    living = [int(e) for e in torch.argsort(counts_E, descending=True) if counts_E[e]]
    i = 0
    for e in range(len(counts_E)):
        if counts_E[e] == 0:
            d = living[i % len(living)]
            router[e] = router_ED[d] + noise_ED[i]
            experts[e] = experts_EP[d]
            momentum[e] = torch.zeros_like(momentum[e])
            i += 1
    return router, experts, momentum


def revive_momentum_too(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    router, experts, momentum = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    order = torch.argsort(counts_E, descending=True)
    order = order[counts_E[order] > 0]
    for i, e in enumerate(torch.nonzero(counts_E == 0).squeeze(1)):
        d = order[i % len(order)]
        router[e] = router[d] + noise_ED[e]
        experts[e] = experts[d]
        momentum[e] = momentum[d]
    return router, experts, momentum


def revive_noise_on_weights(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    router, experts = router_ED.clone(), experts_EP.clone()
    momentum = momentum_EP * (counts_E > 0).unsqueeze(1)
    order = torch.argsort(counts_E, descending=True)
    order = order[counts_E[order] > 0].tolist()
    dead = torch.nonzero(counts_E == 0).flatten().tolist()
    while len(order) < len(dead):
        order = order + order
    for e, d in zip(dead, order, strict=False):
        router[e] = router_ED[d]
        experts[e] = experts_EP[d]
    return router + noise_ED, experts, momentum


# 05.f_and_p


def fp_per_token(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / T
    P = torch.softmax(logits_TE, -1).mean(0)
    return f, P


def fp_chosen_only(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    f = F.one_hot(topk_ids_TK, E).float().mean(dim=(0, 1))
    w = logits_TE.gather(1, topk_ids_TK).softmax(dim=1)
    P = torch.zeros(T, E).scatter(1, topk_ids_TK, w).mean(dim=0)
    return f, P


def fp_over_tokens(logits_TE, topk_ids_TK):
    E = logits_TE.shape[1]
    f = torch.bincount(topk_ids_TK.view(-1), minlength=E).float()
    P = F.softmax(logits_TE, dim=0).mean(dim=0)
    return f / f.sum(), P


def fp_argmax(logits_TE, topk_ids_TK):
    E = logits_TE.size(1)
    f = F.one_hot(logits_TE.argmax(-1), E).float().mean(0)
    return f, logits_TE.softmax(-1).mean(0)


def fp_mean_over_experts(logits_TE, topk_ids_TK):
    p = torch.softmax(logits_TE, dim=-1)
    counts = torch.stack([(topk_ids_TK == e).sum() for e in range(logits_TE.shape[1])])
    return counts / counts.sum(), p.mean(dim=1)


def fp_softmax_of_mean(logits_TE, topk_ids_TK):
    counts = torch.zeros(logits_TE.shape[1])
    for e in topk_ids_TK.flatten():
        counts[e] += 1
    return counts / topk_ids_TK.numel(), torch.softmax(logits_TE.mean(0), dim=0)


# 05.balancing_loss


def bal_pooled(logits_NTE, mask_T, top_k):
    E = logits_NTE.shape[-1]
    z = logits_NTE[:, mask_T].flatten(0, 1)
    f = torch.bincount(z.topk(top_k).indices.flatten(), minlength=E) / (len(z) * top_k)
    return E * (f * z.softmax(-1).mean(0)).sum()


def bal_mask_in_f_only(logits_NTE, mask_T, top_k):
    N, _T, E = logits_NTE.shape
    loss = 0
    for z in logits_NTE:
        ids = z.topk(top_k, dim=-1).indices[mask_T]
        f = torch.bincount(ids.flatten(), minlength=E).float() / ids.numel()
        P = z.softmax(dim=-1).mean(0)
        loss = loss + E * (f * P).sum()
    return loss / N


def bal_logits_zeroed(logits_NTE, mask_T, top_k):
    _N, _T, E = logits_NTE.shape
    z = logits_NTE * mask_T[None, :, None]
    p = z.softmax(-1)
    hot = F.one_hot(z.topk(top_k, -1).indices, E).sum(-2).float()
    f = hot.sum(1) / (mask_T.sum() * top_k)
    P = p.sum(1) / mask_T.sum()
    return E * (f * P).sum(-1).mean()


def bal_no_e(logits_NTE, mask_T, top_k):
    losses = []
    for layer in logits_NTE:
        z = layer[mask_T]
        p = torch.softmax(z, dim=-1)
        f = torch.zeros_like(p).scatter(1, p.topk(top_k).indices, 1.0).mean(0) / top_k
        losses.append((f * p.mean(0)).sum())
    return torch.stack(losses).mean()


def bal_k_times(logits_NTE, mask_T, top_k):
    E = logits_NTE.shape[-1]
    z = logits_NTE[:, mask_T, :]
    hot = torch.zeros_like(z).scatter(-1, z.topk(top_k, dim=-1).indices, 1)
    f = hot.mean(dim=1)
    P = z.softmax(dim=-1).mean(dim=1)
    return (E * (f * P).sum(dim=-1)).mean()


def bal_summed(logits_NTE, mask_T, top_k):
    total = torch.tensor(0.0)
    for n in range(logits_NTE.shape[0]):
        z = logits_NTE[n][mask_T]
        E = z.shape[1]
        f = torch.bincount(z.topk(top_k)[1].reshape(-1), minlength=E) / (top_k * z.shape[0])
        total += E * torch.dot(f, z.softmax(1).mean(0))
    return total


FRESH = {
    "04.revive": [
        ("one donor for all", revive_one_donor, {"read_while_written"}),
        ("the dead as donors", revive_donors_run_out, {"dead_as_donors"}),
        ("noise counted from 0", revive_noise_by_order, {"noise_in_turn"}),
        ("momentum copied", revive_momentum_too, {"momentum_copied"}),
        ("noise for everybody", revive_noise_on_weights, {"noise_for_all"}),
    ],
    "05.f_and_p": [
        ("f per token", fp_per_token, {"f_per_token"}),
        ("softmax of the chosen", fp_chosen_only, {"renormalized_P"}),
        ("softmax over tokens", fp_over_tokens, {"softmax_over_tokens"}),
        ("argmax for the ids", fp_argmax, {"first_choice"}),
        ("mean over experts", fp_mean_over_experts, {"other_axis"}),
        ("softmax of the mean", fp_softmax_of_mean, {"softmax_of_mean"}),
    ],
    "05.balancing_loss": [
        ("layers pooled", bal_pooled, {"pooled"}),
        ("mask in f alone", bal_mask_in_f_only, {"padding_in_P"}),
        ("padding's logits set to 0", bal_logits_zeroed, {"logits_zeroed"}),
        ("no E", bal_no_e, {"no_E"}),
        ("f sums to K", bal_k_times, {"no_K"}),
        ("layers added", bal_summed, {"summed_layers"}),
    ],
}
