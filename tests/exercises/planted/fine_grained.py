"""Answers to lesson 11 as learners write them: cutting experts, and what it costs."""

import math

import torch
from planted import fine_grained_latent as latent
from planted import fine_grained_laws as laws
from planted import fine_grained_levels as levels
from planted import fine_grained_more, more_last

# Cut the experts: right


def split_slices(gate_up_proj, down_proj, router_ED, granularity):
    """With plain slices, one expert after the other."""
    F = down_proj.shape[2]
    f = F // granularity
    gu, dn, r = [], [], []
    for e in range(len(router_ED)):
        for s in range(granularity):
            here = slice(s * f, (s + 1) * f)
            gu.append(torch.cat([gate_up_proj[e, :F][here], gate_up_proj[e, F:][here]]))
            dn.append(down_proj[e][:, here])
            r.append(router_ED[e])
    return torch.stack(gu), torch.stack(dn), torch.stack(r), granularity


def split_chunks(gate_up_proj, down_proj, router_ED, granularity):
    gate, up = gate_up_proj.chunk(2, dim=1)
    parts = zip(gate.chunk(granularity, 1), up.chunk(granularity, 1), strict=True)
    gu = torch.stack([torch.cat(pair, dim=1) for pair in parts], dim=1).flatten(0, 1)
    dn = torch.stack(down_proj.chunk(granularity, dim=2), dim=1).flatten(0, 1)
    return gu, dn, torch.repeat_interleave(router_ED, granularity, 0), float(granularity)


def split_reshaped(gate_up_proj, down_proj, router_ED, granularity):
    E, F2, D = gate_up_proj.shape
    f = F2 // 2 // granularity
    gu = gate_up_proj.reshape(E, 2, granularity, f, D).permute(0, 2, 1, 3, 4).reshape(-1, 2 * f, D)
    dn = down_proj.reshape(E, D, granularity, f).permute(0, 2, 1, 3).reshape(-1, D, f)
    r = router_ED[:, None].expand(E, granularity, D).reshape(-1, D)
    return gu, dn, r, torch.tensor(float(granularity))


# Cut the experts: wrong


def _cut(gu, dn, r, g):
    return split_chunks(gu, dn, r, g)


def split_stacked(gu, dn, r, g):
    E, F2, D = gu.shape
    return gu.view(E * g, F2 // g, D), *_cut(gu, dn, r, g)[1:]


def split_down_strided(gu, dn, r, g):
    right = _cut(gu, dn, r, g)
    down = torch.stack([dn[e][:, s::g] for e in range(len(r)) for s in range(g)])
    return right[0], down, right[2], right[3]


def _rows_in_turn(gu, g):
    F = gu.shape[1] // 2
    return torch.stack(
        [torch.cat([gu[e, :F][s::g], gu[e, F:][s::g]]) for e in range(len(gu)) for s in range(g)]
    )


def split_rows_strided(gu, dn, r, g):
    return _rows_in_turn(gu, g), *_cut(gu, dn, r, g)[1:]


def split_every_gth(gu, dn, r, g):
    return _rows_in_turn(gu, g), split_down_strided(gu, dn, r, g)[1], r.repeat_interleave(g, 0), float(g)


def split_slice_major(gu, dn, r, g):
    gate, up = gu.chunk(2, dim=1)
    slices = [torch.cat(p, dim=1) for p in zip(gate.chunk(g, 1), up.chunk(g, 1), strict=True)]
    return torch.cat(slices), torch.cat(dn.chunk(g, dim=2)), r.repeat(g, 1), float(g)


def split_up_whole(gu, dn, r, g):
    """Only the gate is cut."""
    F = dn.shape[2]
    a, b, c, d = _cut(gu, dn, r, g)
    a = a.clone()
    for i in range(len(a)):
        a[i, F // g :] = gu[i // g, F : F + F // g]
    return a, b, c, d


def split_down_view(gu, dn, r, g):
    a, _, c, d = _cut(gu, dn, r, g)
    return a, dn.contiguous().view(len(r) * g, dn.shape[1], -1), c, d


def split_up_first(gu, dn, r, g):
    f = dn.shape[2] // g
    a, b, c, d = _cut(gu, dn, r, g)
    return torch.cat([a[:, f:], a[:, :f]], dim=1), b, c, d


def split_tiled(gu, dn, r, g):
    a, b, _, d = _cut(gu, dn, r, g)
    return a, b, torch.cat([r] * g), d


def split_router_divided(gu, dn, r, g):
    a, b, c, d = _cut(gu, dn, r, g)
    return a, b, c * (1 / g), d


def split_copies(gu, dn, r, g):
    return gu.repeat_interleave(g, 0), dn.repeat_interleave(g, 0), r.repeat_interleave(g, 0), 1 / g


def _factor(value):
    def answer(gu, dn, r, g):
        return *_cut(gu, dn, r, g)[:3], value(g)

    return answer


def _down_times_g(factor):
    def answer(gu, dn, r, g):
        a, b, c, _ = _cut(gu, dn, r, g)
        return a, b * g, c, factor(g)

    return answer


# What a cut costs: right


def costs_by_slices(d_model, d_expert, n_experts, top_k, granularity):
    """Everything counted in slices."""
    n, k, f = n_experts * granularity, top_k * granularity, d_expert // granularity
    slice_ = 3 * d_model * f
    used = d_model * n + k * slice_
    return d_model * n + n * slice_, used, d_model * n / used, math.log2(math.comb(n, k))


def costs_by_products(d_model, d_expert, n_experts, top_k, granularity):
    rows = n_experts * granularity
    router = rows * d_model
    expert = d_model * d_expert * 3
    choices = sum(math.log2((rows - i) / (i + 1)) for i in range(top_k * granularity))
    return router + n_experts * expert, router + top_k * expert, router / (router + top_k * expert), choices


def costs_by_lgamma(d_model, d_expert, n_experts, top_k, granularity):
    n, k = n_experts * granularity, top_k * granularity
    a = n * d_model + 3 * top_k * d_model * d_expert
    nats = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return n * d_model + 3 * n_experts * d_model * d_expert, a, n * d_model / a, nats / math.log(2)


# What a cut costs: wrong


def _all(router, expert, n, k, bits):
    return router + n * expert, router + k * expert, router / (router + k * expert), bits


def costs_no_router(d, f, e, k, g):
    share, bits = costs_by_slices(d, f, e, k, g)[2:]
    return e * 3 * d * f, k * 3 * d * f, share, bits


def costs_old_router(d, f, e, k, g):
    return _all(d * e, 3 * d * f, e, k, math.log2(math.comb(e * g, k * g)))


def costs_chosen_rows(d, f, e, k, g):
    t, _, _, bits = costs_by_slices(d, f, e, k, g)
    rows = k * g * d
    return t, rows + 3 * k * d * f, rows / (rows + 3 * k * d * f), bits


def costs_two(d, f, e, k, g):
    return _all(d * e * g, 2 * d * f, e, k, math.log2(math.comb(e * g, k * g)))


def costs_not_cut(d, f, e, k, g):
    return _all(d * e * g, 3 * d * f, e * g, k * g, math.log2(math.comb(e * g, k * g)))


def costs_k(d, f, e, k, g):
    return _all(d * e * g, 3 * d * (f // g), e * g, k, math.log2(math.comb(e * g, k)))


def costs_share_of_experts(d, f, e, k, g):
    t, a, _, bits = costs_by_slices(d, f, e, k, g)
    return t, a, d * e * g / (a - d * e * g), bits


def costs_share_of_total(d, f, e, k, g):
    t, a, _, bits = costs_by_slices(d, f, e, k, g)
    return t, a, d * e * g / t, bits


def costs_everything(d, f, e, k, g):
    total, _, _, choices = costs_by_slices(d, f, e, k, g)
    return total, total, e * g * d / total, choices


def _with_bits(count):
    def answer(d, f, e, k, g):
        return *costs_by_slices(d, f, e, k, g)[:3], count(e, k, g)

    return answer


RIGHT = {
    "11.split_expert": [split_slices, split_chunks, split_reshaped],
    "11.cut_costs": [costs_by_slices, costs_by_products, costs_by_lgamma],
    **latent.RIGHT,
    **levels.RIGHT,
    **laws.RIGHT,
}
WRONG = {
    "11.split_expert": {
        "stacked_rows": split_stacked,
        "down_strided": split_down_strided,
        "rows_strided": split_rows_strided,
        "every_gth_unit": split_every_gth,
        "slice_major": split_slice_major,
        "up_not_cut": split_up_whole,
        "down_reshaped": split_down_view,
        "up_first": split_up_first,
        "router_tiled": split_tiled,
        "router_divided": split_router_divided,
        "factor_one": _factor(lambda g: 1.0),
        "factor_inverse": _factor(lambda g: 1 / g),
        "factor_root": _factor(math.sqrt),
        "factor_twice": _down_times_g(float),
        "factor_in_down": _down_times_g(lambda g: 1.0),
        "copies": split_copies,
    },
    "11.cut_costs": {
        "router_forgotten": costs_no_router,
        "router_not_grown": costs_old_router,
        "only_chosen_rows": costs_chosen_rows,
        "two_matrices": costs_two,
        "experts_not_cut": costs_not_cut,
        "k_not_grown": costs_k,
        "share_of_experts": costs_share_of_experts,
        "share_of_total": costs_share_of_total,
        "ordered": _with_bits(lambda e, k, g: sum(math.log2(e * g - i) for i in range(k * g))),
        "slices_together": _with_bits(lambda e, k, g: math.log2(math.comb(e, k))),
        "with_repetition": _with_bits(lambda e, k, g: math.log2((e * g) ** (k * g))),
        "natural_log": _with_bits(lambda e, k, g: math.log(math.comb(e * g, k * g))),
        "one_slice": _with_bits(lambda e, k, g: math.log2(e) + math.log2(g)),
        "all_active": costs_everything,
        "no_log": _with_bits(lambda e, k, g: float(math.comb(e * g, k * g))),
    },
    **latent.WRONG,
    **levels.WRONG,
    **laws.WRONG,
}
for _id, _answers in fine_grained_more.WRONG.items():
    WRONG[_id] = WRONG[_id] | _answers
more_last.add_to(WRONG)
