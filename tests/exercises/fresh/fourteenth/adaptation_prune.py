"""The fourteenth set, 13.prune: what a class would most likely hand in."""

import torch


# Keeps the experts in the order of their saliency, as topk returns them, and not in that of their old ids;
# rows and new numbers agree with each other, but the order is another one.
def as_topk_has_them(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices
    new_E = torch.full((saliency_E.shape[0],), -1, dtype=torch.long)
    new_E[keep] = torch.arange(n_keep)
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# Sets the ids of experts that are gone to -1, but leaves the old numbers of the kept ones: they do not
# become rows of the smaller tensors.
def old_numbers(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices.sort().values
    new_ids_TK = torch.where(torch.isin(topk_ids_TK, keep), topk_ids_TK, -1)
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_ids_TK


# Cuts the bias to the first n_keep numbers instead of indexing it with the kept ids: the length is right,
# but the experts get the biases of others.
def bias_cut(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = torch.argsort(saliency_E, descending=True)[:n_keep].sort().values
    new_E = -torch.ones(len(saliency_E), dtype=torch.long)
    for new, old in enumerate(keep.tolist()):
        new_E[old] = new
    return router_ED[keep], bias_E[:n_keep], experts_EP[keep], new_E[topk_ids_TK]


# Keeps those *above* the n_keep-th highest score (strictly), and so one expert too few: the n_keep-th
# itself goes as well.
def strictly_above(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    threshold = saliency_E.sort(descending=True).values[n_keep - 1]
    keep = torch.where(saliency_E > threshold)[0]
    new_E = torch.full((len(saliency_E),), -1)
    new_E[keep] = torch.arange(len(keep))
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# Gets the new numbers from a running count of kept experts, and forgets the -1: an id whose expert is gone
# gets the number of the kept expert before it (and is -1 only where there is none before it).
def running_count(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    mask = torch.zeros(len(saliency_E), dtype=torch.bool)
    mask[saliency_E.topk(n_keep).indices] = True
    new_E = mask.long().cumsum(0) - 1
    return router_ED[mask], bias_E[mask], experts_EP[mask], new_E[topk_ids_TK]


# Gives the kept ids their new numbers first, and then sets to -1 whatever is not among the kept *old* ids:
# by then the ids are new ones, and tokens of kept experts are marked as gone (and others of gone ones are
# not).
def marked_afterwards(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    keep = saliency_E.topk(n_keep).indices.sort().values
    new_ids_TK = topk_ids_TK.clone()
    for new, old in enumerate(keep):
        new_ids_TK[topk_ids_TK == old] = new
    new_ids_TK[~torch.isin(new_ids_TK, keep)] = -1
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_ids_TK


FRESH = {
    "13.prune": [
        ("in the order of the scores", as_topk_has_them, {"in_order_of_saliency"}),
        ("old numbers kept", old_numbers, {"ids_not_renumbered"}),
        ("the first numbers of the bias", bias_cut, {"bias_first_entries"}),
        ("above the n-th score, strictly", strictly_above, {"last_removed_count"}),
        ("a running count, and no -1", running_count, {"given_to_a_neighbour"}),
        ("old ids looked for among new ones", marked_afterwards, {"marked_late"}),
    ],
}
