"""What answers of the tenth and the eleventh set have in common."""

import math

import torch
import torch.nn.functional as F


def n_of(shares):
    return torch.special.entr(shares).sum(dim=-1).exp()


def revived(router_ED, experts_EP, momentum_EP, counts_E, noise_ED, donor_of, noise_of=None, momentum=False):
    router, experts, moments = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    dead = (counts_E == 0).nonzero().flatten().tolist()
    for i, e in enumerate(dead):
        donor = donor_of(i)
        experts[e] = experts_EP[donor]
        router[e] = router_ED[donor] + (noise_ED[e] if noise_of is None else noise_ED[noise_of(i, donor)])
        moments[e] = momentum_EP[donor] if momentum else 0
    return router, experts, moments


def marks_of(logits, top_k):
    return F.one_hot(logits.topk(top_k, dim=-1).indices, logits.shape[-1]).sum(dim=-2).float()


def differences(x):
    return x[:, None] - x[None, :]


def loss_of(logits_GTE, top_k):
    f = marks_of(logits_GTE, top_k).mean(dim=1) / top_k
    p = logits_GTE.softmax(dim=-1).mean(dim=1)
    return logits_GTE.shape[-1] * (f * p).sum(dim=-1)


def grouped(logits_MBLE, scope):
    if scope == "sequence":
        return logits_MBLE.flatten(0, 1)
    if scope == "micro_batch":
        return logits_MBLE.flatten(1, 2)
    return logits_MBLE.flatten(0, 2)[None]


def limited(scores, biased, worth_TG, n_groups, groups_per_token, top_k, fill=-math.inf):
    best = worth_TG.topk(groups_per_token, dim=-1).indices
    kept = torch.zeros_like(worth_TG).scatter(1, best, 1.0).bool()
    mask = kept.repeat_interleave(scores.shape[1] // n_groups, dim=1)
    ids = biased.masked_fill(~mask, fill).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids)
    return ids, weights / weights.sum(dim=-1, keepdim=True)


def stages(n_tokens, slots, busy, d, f, size):
    parts = [slots * d * 2, slots * d + busy * 2 * f * d + slots * 2 * f, slots * 3 * f]
    parts += [slots * f + busy * f * d + slots * d, slots * d + n_tokens * d]
    return [size * part for part in parts]


def joint(experts_N, labels_N):
    n_experts, n_labels = int(experts_N.max()) + 1, int(labels_N.max()) + 1
    pairs = torch.bincount(experts_N * n_labels + labels_N, minlength=n_experts * n_labels)
    return pairs.view(n_experts, n_labels).double() / len(experts_N)


def information(p, log=torch.log2):
    apart = p.sum(dim=1, keepdim=True) * p.sum(dim=0, keepdim=True)
    seen = p > 0
    return float((p[seen] * log(p[seen] / apart[seen])).sum())
