"""Answers to lesson 13 as learners write them: prune."""

import numpy as np
import torch

# Right


def prune_dict(router, bias, experts, scores, n_keep, ids):
    ranked = sorted(range(len(scores)), key=lambda e: float(scores[e]), reverse=True)
    keep = sorted(ranked[:n_keep])
    number = {old: new for new, old in enumerate(keep)}
    new_ids = [[number.get(e, -1) for e in row] for row in ids.tolist()]
    return router[keep], bias[keep], experts[keep], torch.tensor(new_ids)


def prune_mask(router, bias, experts, scores, n_keep, ids):
    keep = scores >= scores.sort(descending=True).values[n_keep - 1]
    table = torch.where(keep, keep.cumsum(0) - 1, torch.tensor(-1))
    return router[keep], bias[keep], experts[keep], table[ids]


def prune_numpy(router, bias, experts, scores, n_keep, ids):
    keep = np.sort(np.argpartition(-scores.numpy(), n_keep - 1)[:n_keep])
    place = np.searchsorted(keep, ids.numpy()).clip(max=n_keep - 1)
    new = np.where(keep[place] == ids.numpy(), place, -1)
    index = torch.from_numpy(keep)
    return (*(x.index_select(0, index) for x in (router, bias, experts)), torch.from_numpy(new))


# Wrong


def _prune(keep=None, router=None, bias=None, experts=None, ids=None):
    def answer(router_ED, bias_E, experts_EP, scores, n_keep, topk_ids):
        kept = keep(scores, n_keep) if keep else sorted(scores.topk(n_keep).indices.tolist())
        kept = [int(e) for e in kept]
        new = torch.tensor([[kept.index(e) if e in kept else -1 for e in row] for row in topk_ids.tolist()])
        return (
            router(router_ED, kept, scores) if router else router_ED[kept],
            bias(bias_E, kept) if bias else bias_E[kept],
            experts(experts_EP, kept) if experts else experts_EP[kept],
            ids(topk_ids, kept, scores, new) if ids else new,
        )

    return answer


def _ranks(topk_ids, kept, scores, new):
    order = scores.argsort(descending=True).tolist()
    return torch.tensor([[order.index(e) if e in kept else -1 for e in row] for row in topk_ids.tolist()])


def _neighbour(topk_ids, kept, scores, new):
    def lower(e):
        return max(sum(k <= e for k in kept) - 1, 0)

    return torch.tensor([[lower(e) for e in row] for row in topk_ids.tolist()])


def _count_of_kept(topk_ids, kept, scores, new):
    mask = torch.zeros(len(scores), dtype=torch.long)
    mask[kept] = 1
    return (mask.cumsum(0) - 1)[topk_ids]


def _late(topk_ids, kept, scores, new):
    ids = topk_ids.clone()
    for place, old in enumerate(kept):
        ids[topk_ids == old] = place
    return torch.tensor([[e if e in kept else -1 for e in row] for row in ids.tolist()])


def _over_the_limit(scores, n_keep):
    limit = sorted(scores.tolist())[-n_keep]
    return [e for e, score in enumerate(scores.tolist()) if score > limit]


def prune_zeroed(router, bias, experts, scores, n_keep, ids):
    router, bias, experts = router.clone(), bias.clone(), experts.clone()
    gone = scores.argsort()[: len(scores) - n_keep]
    for x in (router, bias, experts):
        x[gone] = 0
    return router, bias, experts, ids


RIGHT = {"13.prune": [prune_dict, prune_mask, prune_numpy]}
WRONG = {
    "13.prune": {
        "in_order_of_saliency": _prune(keep=lambda s, n: s.argsort(descending=True)[:n]),
        "least_kept": _prune(keep=lambda s, n: s.argsort()[:n].sort().values),
        "first_kept": _prune(keep=lambda s, n: range(n)),
        "last_removed_count": _prune(keep=lambda s, n: sorted(s.argsort()[n:].tolist() or [int(s.argmax())])),
        "last_removed_count:one too few": _prune(keep=_over_the_limit),
        "router_first_rows": _prune(router=lambda r, kept, s: r[: len(kept)]),
        "router_by_saliency": _prune(router=lambda r, kept, s: r[s.argsort(descending=True)[: len(kept)]]),
        "router_whole": _prune(router=lambda r, kept, s: r.clone()),
        "bias_first_entries": _prune(bias=lambda b, kept: b[: len(kept)]),
        "bias_first_entries:all of them": _prune(bias=lambda b, kept: b),
        "experts_first_rows": _prune(experts=lambda x, kept: x[: len(kept)]),
        "ids_not_renumbered": _prune(ids=lambda i, kept, s, new: torch.where(new < 0, -1, i)),
        "ids_by_rank": _prune(ids=_ranks),
        "removed_become_0": _prune(ids=lambda i, kept, s, new: torch.where(new < 0, 0, new)),
        "ids_modulo": _prune(ids=lambda i, kept, s, new: i.remainder(len(kept))),
        "given_to_a_neighbour": _prune(ids=_neighbour),
        "given_to_a_neighbour:by a running count": _prune(ids=_count_of_kept),
        "marked_late": _prune(ids=_late),
        "numbered_from_1": _prune(ids=lambda i, kept, s, new: new + (new >= 0)),
        "zeroed_not_removed": prune_zeroed,
    },
}
