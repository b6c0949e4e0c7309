"""Answers to 11.hierarchical as learners write them."""

import torch


def _used(ids, w, a, b):
    total = torch.zeros(a * b, dtype=w.dtype)
    for i, x in zip(ids.flatten().tolist(), w.flatten(), strict=True):
        total[i] = total[i] + x
    return total.view(a, b)


# Right


def by_token(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    T, A, B = expert_logits_TAB.shape
    all_ids, all_w, importance = [], [], torch.zeros(A, B)
    for t in range(T):
        groups = group_logits_TA[t].argsort(descending=True)[:top_groups]
        p = torch.softmax(group_logits_TA[t][groups], 0)
        ids, w = [], []
        for a, weight in zip(groups.tolist(), p, strict=True):
            best = expert_logits_TAB[t, a].argsort(descending=True)[:top_experts]
            q = torch.softmax(expert_logits_TAB[t, a][best], 0)
            for b, x in zip(best.tolist(), q, strict=True):
                ids.append(a * B + b)
                w.append(weight * x)
                importance[a, b] = importance[a, b] + weight * x
        all_ids.append(ids)
        all_w.append(torch.stack(w))
    return torch.tensor(all_ids), torch.stack(all_w), importance


def by_mask(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    """Everything else to minus infinity; then one top-k of the product finds what is left."""
    g, e = group_logits_TA, expert_logits_TAB
    keep = torch.zeros_like(g, dtype=torch.bool).scatter(1, g.topk(top_groups).indices, True)
    p = g.masked_fill(~keep, -torch.inf).softmax(-1)
    keep = torch.zeros_like(e, dtype=torch.bool).scatter(2, e.topk(top_experts).indices, True)
    q = e.masked_fill(~keep, -torch.inf).softmax(-1)
    product = (p[:, :, None] * q).flatten(1)
    w, ids = product.topk(top_groups * top_experts)
    return ids, w, product.sum(0).view(e.shape[1:])


def by_index(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    B = expert_logits_TAB.shape[2]
    g, a = group_logits_TA.topk(top_groups, 1)
    rows = torch.arange(len(g))[:, None]
    e, b = expert_logits_TAB[rows, a].topk(top_experts, 2)
    w = torch.einsum("tg,tgk->tgk", g.softmax(1), e.softmax(2)).reshape(len(g), -1)
    ids = (B * a[..., None] + b).reshape(len(g), -1)
    importance = torch.zeros(expert_logits_TAB.shape[1] * B).index_put((ids,), w, accumulate=True)
    return ids, w, importance.reshape(-1, B)


# Wrong


def joint(g, e, k1, k2):
    product = (g.softmax(-1)[:, :, None] * e.softmax(-1)).flatten(1)
    w, ids = product.topk(k1 * k2)
    w = w / w.sum(-1, keepdim=True)
    return ids, w, _used(ids, w, *e.shape[1:])


def _parts(g, e, k1, k2):
    gv, gi = g.topk(k1, dim=-1)
    sel = e[torch.arange(len(g))[:, None], gi]
    ev, ei = sel.topk(k2, dim=-1)
    ids = (gi[:, :, None] * e.shape[2] + ei).flatten(1)
    return gv, gi, sel, ev, ei, ids


def _weights(make):
    def answer(g, e, k1, k2):
        gv, gi, sel, ev, ei, ids = _parts(g, e, k1, k2)
        w = make(g, gv, gi, sel, ev, ei).expand_as(ev).flatten(1)
        return ids, w, _used(ids, w, *e.shape[1:])

    return answer


def _ids(change):
    def answer(g, e, k1, k2):
        ids, w, importance = by_index(g, e, k1, k2)
        return change(ids, *e.shape[1:]), w, importance

    return answer


def _importance(make):
    def answer(g, e, k1, k2):
        ids, w, importance = by_index(g, e, k1, k2)
        return ids, w, make(g, e, ids, importance)

    return answer


def pooled(g, e, k1, k2):
    """All experts of the chosen groups in one list."""
    keep = torch.full_like(g, -torch.inf).scatter(1, g.topk(k1).indices, 0.0)
    sums = (g + keep)[..., None] + e
    w, ids = sums.flatten(1).topk(k1 * k2)
    w = torch.softmax(w, dim=1)
    return ids, w, _used(ids, w, *e.shape[1:])


def rank_for_group(g, e, k1, k2):
    _, _, _, ev, ei, _ = _parts(g, e, k1, k2)
    ids = (torch.arange(k1)[:, None] * e.shape[2] + ei).flatten(1)
    w = (g.topk(k1).values.softmax(-1)[:, :, None] * ev.softmax(-1)).flatten(1)
    return ids, w, _used(ids, w, *e.shape[1:])


RIGHT = {"11.hierarchical": [by_token, by_mask, by_index]}
WRONG = {
    "11.hierarchical": {
        "joint_topk": joint,
        "mean_of_weights": _weights(
            lambda g, gv, gi, s, ev, ei: (gv.softmax(-1)[..., None] + ev.softmax(-1)) / 2
        ),
        "first_over_all": _weights(
            lambda g, gv, gi, s, ev, ei: g.softmax(-1).gather(1, gi)[..., None] * ev.softmax(-1)
        ),
        "second_over_all": _weights(
            lambda g, gv, gi, s, ev, ei: gv.softmax(-1)[..., None] * s.softmax(-1).gather(2, ei)
        ),
        "both_over_all": _weights(
            lambda g, gv, gi, s, ev, ei: g.softmax(-1).gather(1, gi)[..., None] * s.softmax(-1).gather(2, ei)
        ),
        "logits_added": _weights(
            lambda g, gv, gi, s, ev, ei: (gv[..., None] + ev).flatten(1).softmax(-1).view_as(ev)
        ),
        "pooled": pooled,
        "groups_unweighted": _weights(lambda g, gv, gi, s, ev, ei: ev.softmax(-1)),
        "experts_unweighted": _weights(lambda g, gv, gi, s, ev, ei: gv.softmax(-1)[..., None]),
        "ids_transposed": _ids(lambda i, a, b: (i % b) * a + torch.div(i, b, rounding_mode="floor")),
        "times_groups": _ids(lambda i, a, b: torch.div(i, b, rounding_mode="floor") * a + i % b),
        "id_within_group": _ids(lambda i, a, b: i % b),
        "rank_for_group": rank_for_group,
        "importance_counts": _importance(
            lambda g, e, ids, imp: torch.bincount(ids.flatten(), minlength=imp.numel()).float().view_as(imp)
        ),
        "importance_second_only": _importance(lambda g, e, ids, imp: e.softmax(-1).sum(0)),
        "importance_soft": _importance(
            lambda g, e, ids, imp: torch.einsum("ta,tab->ab", g.softmax(-1), e.softmax(-1))
        ),
        "importance_mean": _importance(lambda g, e, ids, imp: imp / g.shape[0]),
    }
}
