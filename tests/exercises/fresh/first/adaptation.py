"""Fresh wrong answers to lesson 13, six or seven an exercise."""

import re

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

# 13.what_trains


def _plans(router, expert, **other):
    def answer(names, plan):
        out = []
        for n in names.split("\n"):
            r, e = router(n), expert(n)
            trains = {
                "all": True,
                "router frozen": not r,
                "experts frozen": not e,
                "only experts": e,
                "only router": r,
                "only the rest": not r and not e,
            } | {k.replace("_", " "): v(r, e) for k, v in other.items()}
            out.append(trains[plan])
        return torch.tensor(out)

    return answer


def _router(n):
    return re.search(r"\.(gate|router)\.", n) is not None


def _expert(n):
    return ".experts." in n


# 13.upcycle


def _copied(gate_up, down, rows, g, cut_axis=1, factor=None):
    n = down.shape[1] // g
    gate, up = gate_up[: down.shape[1]], gate_up[down.shape[1] :]
    a, b, c = [], [], []
    for r in rows:
        for s in range(g):
            a.append(torch.cat([gate[s * n : (s + 1) * n], up[s * n : (s + 1) * n]]))
            b.append(down[:, s * n : (s + 1) * n])
            c.append(r)
    return torch.stack(a), torch.stack(b), torch.stack(c), float(g if factor is None else factor)


def up_no_cut(gate_up, down, rows, g):
    a, _, c, f = _copied(gate_up, down, rows, g)
    return gate_up.repeat(len(a), 1, 1), down.repeat(len(a), 1, 1), c, f


def up_chunked_stack(gate_up, down, rows, g):
    _, b, c, f = _copied(gate_up, down, rows, g)
    return torch.stack(list(gate_up.chunk(g)) * len(rows)), b, c, f


def up_repeat_rows(gate_up, down, rows, g):
    a, b, _, f = _copied(gate_up, down, rows, g)
    return a, b, rows.repeat(g, 1), f


def up_interleaved(gate_up, down, rows, g):
    a, b, _, f = _copied(gate_up, down, rows[:1], g)
    return (
        a.repeat_interleave(len(rows), 0),
        b.repeat_interleave(len(rows), 0),
        rows.repeat_interleave(g, 0),
        f,
    )


def up_k(gate_up, down, rows, g):
    return _copied(gate_up, down, rows, g, factor=g * len(rows))


def up_one(gate_up, down, rows, g):
    return _copied(gate_up, down, rows, g, factor=1)


def up_row_divided(gate_up, down, rows, g):
    a, b, c, f = _copied(gate_up, down, rows, g)
    return a, b, c / g, f


# 13.saliency


def sal_total(ids, w, o, n):
    out = torch.zeros(n)
    for t in range(len(ids)):
        for k in range(ids.shape[1]):
            out[ids[t, k]] += w[t, k] * o[t, k].norm()
    return out


def sal_by_t(ids, w, o, n):
    return sal_total(ids, w, o, n) / len(ids)


def sal_nan(ids, w, o, n):
    return torch.stack([(w[ids == e] * o[ids == e].norm(dim=-1)).mean() for e in range(n)])


def sal_norm_only(ids, w, o, n):
    return torch.stack([o[ids == e].norm(dim=-1).sum() / max((ids == e).sum(), 1) for e in range(n)])


def sal_weight(ids, w, o, n):
    return torch.stack([w[ids == e].sum() / max((ids == e).sum(), 1) for e in range(n)])


def sal_mean_vector(ids, w, o, n):
    out = torch.zeros(n)
    for e in range(n):
        hit = ids == e
        if hit.any():
            out[e] = (w[hit][:, None] * o[hit]).mean(0).norm()
    return out


def sal_squares(ids, w, o, n):
    return torch.stack(
        [(w[ids == e] * (o[ids == e] ** 2).sum(-1)).sum() / max((ids == e).sum(), 1) for e in range(n)]
    )


# 13.prune


def pr_topk_order(r, b, x, s, n, ids):
    keep = torch.topk(s, n).indices
    table = {int(e): i for i, e in enumerate(keep)}
    return r[keep], b[keep], x[keep], torch.tensor([[table.get(int(e), -1) for e in row] for row in ids])


def _kept(s, n):
    return torch.sort(torch.topk(s, n).indices).values


def pr_old_ids(r, b, x, s, n, ids):
    keep = _kept(s, n)
    return r[keep], b[keep], x[keep], torch.where(torch.isin(ids, keep), ids, torch.tensor(-1))


def pr_zero(r, b, x, s, n, ids):
    keep = _kept(s, n)
    new = torch.zeros(len(s), dtype=torch.long)
    new[keep] = torch.arange(n)
    return r[keep], b[keep], x[keep], new[ids]


def pr_lowest(r, b, x, s, n, ids):
    keep = torch.sort(torch.topk(s, n, largest=False).indices).values
    new = torch.full((len(s),), -1)
    new[keep] = torch.arange(n)
    return r[keep], b[keep], x[keep], new[ids]


def pr_bias_left(r, b, x, s, n, ids):
    keep = _kept(s, n)
    new = torch.full((len(s),), -1)
    new[keep] = torch.arange(n)
    return r[keep], b, x[keep], new[ids]


def pr_masked(r, b, x, s, n, ids):
    mask = torch.zeros(len(s))
    mask[_kept(s, n)] = 1
    return r * mask[:, None], b * mask, x * mask[:, None], ids


# 13.merge


def _units(gu, d):
    g, u = gu.chunk(2)
    return torch.cat([g, u, d.T], dim=1)


def _match(a, b, sign=-1):
    return torch.tensor(linear_sum_assignment(sign * (a @ b.T).numpy())[1])


def me_cost(ga, da, gb, db, w):
    p = _match(_units(ga, da), _units(gb, db), sign=1)
    g, u = gb.chunk(2)
    return w * ga + (1 - w) * torch.cat([g[p], u[p]]), w * da + (1 - w) * db[:, p]


def me_gate_match(ga, da, gb, db, w):
    g, u = gb.chunk(2)
    p = _match(ga.chunk(2)[0], g)
    return w * ga + (1 - w) * torch.cat([g[p], u[p]]), w * da + (1 - w) * db[:, p]


def me_down_left(ga, da, gb, db, w):
    p = _match(_units(ga, da), _units(gb, db))
    g, u = gb.chunk(2)
    return w * ga + (1 - w) * torch.cat([g[p], u[p]]), w * da + (1 - w) * db


def me_mean(ga, da, gb, db, w):
    return (ga + gb) / 2, (da + db) / 2


def me_weighted_only(ga, da, gb, db, w):
    return w * ga + (1 - w) * gb, w * da + (1 - w) * db


def me_transposed_match(ga, da, gb, db, w):
    p = _match(_units(gb, db), _units(ga, da))
    g, u = gb.chunk(2)
    return w * ga + (1 - w) * torch.cat([g[p], u[p]]), w * da + (1 - w) * db[:, p]


def me_stacked_index(ga, da, gb, db, w):
    p = _match(_units(ga, da), _units(gb, db))
    q = torch.cat([p, p])
    return w * ga + (1 - w) * gb[q], w * da + (1 - w) * db[:, p]


# 13.replay


def rp_old(z, ids, old):
    return old


def rp_top(z, ids, old):
    return F.softmax(torch.topk(z, ids.shape[1])[0], -1)


def rp_full(z, ids, old):
    return torch.softmax(z, 1)[torch.arange(len(z))[:, None], ids]


def rp_item(z, ids, old):
    rows = [[float(z[t, e]) for e in ids[t]] for t in range(len(ids))]
    return torch.softmax(torch.tensor(rows), -1)


def rp_zero_mask(z, ids, old):
    mask = torch.zeros_like(z)
    mask.scatter_(1, ids, 1)
    return F.softmax(z * mask, dim=1).gather(1, ids)


def rp_ste(z, ids, old):
    new = z.gather(1, ids).softmax(-1)
    return new + (old - new).detach()


FRESH = {
    "13.what_trains": [
        ("gate anywhere", _plans(lambda n: "gate" in n or "router" in n, _expert), {"gate_substring"}),
        ("router by its word", _plans(lambda n: "router" in n, _expert), {"router_by_that_name"}),
        ("expert anywhere", _plans(_router, lambda n: "expert" in n), {"shared_are_experts"}),
        (
            "only weights",
            _plans(lambda n: n.endswith(("gate.weight", "router.weight")), _expert),
            {"router_weight_alone", "shared_gate_is_router"},
        ),
        (
            "numbers",
            _plans(_router, lambda n: re.search(r"experts\.[0-9]+", n) is not None),
            {"experts_by_number"},
        ),
        (
            "the rest has the router",
            _plans(_router, _expert, only_the_rest=lambda r, e: not e),
            {"rest_keeps_router"},
        ),
        ("what is frozen", lambda names, plan: ~_plans(_router, _expert)(names, plan), {"inverted"}),
    ],
    "13.upcycle": [
        ("not cut", up_no_cut, {"whole_copies"}),
        ("stack cut as it lies", up_chunked_stack, {"stacked_rows"}),
        ("rows as a block", up_repeat_rows, {"router_tiled"}),
        ("slices side by side", up_interleaved, {"slice_major"}),
        ("factor of all", up_k, {"factor_experts"}),
        ("no factor", up_one, {"factor_one"}),
        ("rows divided", up_row_divided, {"rows_divided"}),
    ],
    "13.saliency": [
        ("a sum", sal_total, {"sum_not_mean"}),
        ("by all tokens", sal_by_t, {"over_all_tokens"}),
        ("mean of nothing", sal_nan, {"nan_for_idle"}),
        ("length alone", sal_norm_only, {"no_weight"}),
        ("weight alone", sal_weight, {"weights_alone"}),
        ("mean vector", sal_mean_vector, {"length_of_the_mean"}),
        ("squares", sal_squares, {"squared_length"}),
    ],
    "13.prune": [
        ("in order of topk", pr_topk_order, {"in_order_of_saliency"}),
        ("old ids", pr_old_ids, {"ids_not_renumbered"}),
        ("0 for those gone", pr_zero, {"removed_become_0"}),
        ("lowest kept", pr_lowest, {"least_kept"}),
        ("bias whole", pr_bias_left, {"bias_first_entries"}),
        ("zeroed", pr_masked, {"zeroed_not_removed"}),
    ],
    "13.merge": [
        ("products as costs", me_cost, {"worst_match"}),
        ("matched by gates", me_gate_match, {"matched_by_one_part"}),
        ("down in its order", me_down_left, {"down_stays"}),
        ("plain mean of both", me_mean, {"not_aligned"}),
        ("not in order", me_weighted_only, {"not_aligned"}),
        ("b to a", me_transposed_match, {"inverse_order"}),
        ("one index twice", me_stacked_index, {"offset_forgotten"}),
    ],
    "13.replay": [
        ("as recorded", rp_old, {"rollout_weights"}),
        ("own best", rp_top, {"own_choice"}),
        ("softmax over all", rp_full, {"softmax_over_all"}),
        ("by numbers", rp_item, {"detached"}),
        ("times a mask", rp_zero_mask, {"masked_by_zero"}),
        ("straight through", rp_ste, {"straight_through"}),
    ],
}
