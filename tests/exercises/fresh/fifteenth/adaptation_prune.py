"""The fifteenth set, 13.prune: what a class would most likely hand in."""

import torch


# The learner keeps the right experts but in the order of their saliency, as topk gives them, not in the
# order of their old ids.
def by_score(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices
    new_E = torch.full((len(saliency_E),), -1)
    new_E[keep] = torch.arange(n_keep)
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# The learner sorts the scores in ascending order and keeps the first n_keep: the experts with the lowest
# saliency stay, and the best go.
def lowest(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.argsort()[:n_keep].sort().values
    new_E = torch.full((len(saliency_E),), -1)
    new_E[keep] = torch.arange(n_keep)
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# The learner marks the experts that are gone with -1 but leaves the old ids to those that are kept: they
# are not renumbered to their rows in the smaller tensors.
def old_ids(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices.sort().values
    stays = torch.isin(topk_ids_TK, keep)
    new_ids_TK = torch.where(stays, topk_ids_TK, torch.full_like(topk_ids_TK, -1))
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_ids_TK


# The learner makes the table of new numbers out of zeros: a token whose expert is gone is sent to expert 0
# instead of -1.
def gone_is_0(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices.sort().values
    new_E = torch.zeros(len(saliency_E), dtype=torch.long)
    for new, old in enumerate(keep.tolist()):
        new_E[old] = new
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# The learner cuts the bias to length only: the first n_keep numbers, not those of the experts that are
# kept.
def first_biases(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices.sort().values
    new_E = torch.full((len(saliency_E),), -1)
    new_E[keep] = torch.arange(n_keep)
    return router_ED[keep], bias_E[:n_keep], experts_EP[keep], new_E[topk_ids_TK]


# The learner takes the n_keep-th highest score as a threshold and keeps what is strictly above it: one
# expert too few is kept.
def strictly_above(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    threshold = saliency_E.sort(descending=True).values[n_keep - 1]
    kept_E = saliency_E > threshold
    new_E = torch.where(kept_E, kept_E.long().cumsum(0) - 1, torch.tensor(-1))
    return router_ED[kept_E], bias_E[kept_E], experts_EP[kept_E], new_E[topk_ids_TK]


FRESH = {
    "13.prune": [
        ("in the order of scores", by_score, {"in_order_of_saliency"}),
        ("the lowest kept", lowest, {"least_kept"}),
        ("old ids kept", old_ids, {"ids_not_renumbered"}),
        ("0 for those gone", gone_is_0, {"removed_become_0"}),
        ("the first biases", first_biases, {"bias_first_entries"}),
        ("strictly above the limit", strictly_above, {"last_removed_count"}),
    ],
}
