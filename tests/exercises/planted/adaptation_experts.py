"""Answers to lesson 13 as learners write them: upcycle and merge."""

import itertools

import torch
from scipy.optimize import linear_sum_assignment

# Upcycle: right


def upcycle_loop(gate_up, down, rows, granularity):
    n_units = down.shape[1]
    size = n_units // granularity
    gates, downs, router = [], [], []
    for r in range(rows.shape[0]):
        for s in range(granularity):
            units = torch.arange(s * size, (s + 1) * size)
            gates.append(torch.cat((gate_up[units], gate_up[n_units + units])))
            downs.append(down[:, units])
            router.append(rows[r])
    return torch.stack(gates), torch.stack(downs), torch.stack(router), granularity


def upcycle_chunks(gate_up, down, rows, granularity):
    gate, up = gate_up.chunk(2)
    slices = [
        torch.cat(pair) for pair in zip(gate.chunk(granularity), up.chunk(granularity), strict=True)
    ] * len(rows)
    router = rows[torch.arange(len(rows) * granularity) // granularity]
    return (
        torch.stack(slices),
        torch.stack(down.chunk(granularity, dim=1) * len(rows)),
        router,
        1.0 * granularity,
    )


def upcycle_views(gate_up, down, rows, granularity):
    f2, d = gate_up.shape
    part = (
        gate_up.view(2, granularity, f2 // 2 // granularity, d)
        .permute(1, 0, 2, 3)
        .reshape(granularity, -1, d)
    )
    columns = down.view(d, granularity, -1).permute(1, 0, 2)
    n = rows.shape[0]
    router = rows[:, None].expand(-1, granularity, -1).reshape(n * granularity, d)
    return torch.cat([part] * n), torch.cat([columns] * n), router, float(granularity)


# Upcycle: wrong


def _up(router=None, experts=None, downs=None, factor=None):
    def answer(gate_up, down, rows, granularity):
        gate_up_experts, down_experts, router_rows, _ = upcycle_chunks(gate_up, down, rows, granularity)
        return (
            experts(gate_up, rows, granularity) if experts else gate_up_experts,
            downs(down, rows, granularity) if downs else down_experts,
            router(rows, granularity) if router else router_rows,
            factor(rows, granularity) if factor else float(granularity),
        )

    return answer


def _slice_first(gate_up, rows, granularity):
    gate, up = gate_up.chunk(2)
    pairs = zip(gate.chunk(granularity), up.chunk(granularity), strict=True)
    return torch.stack([torch.cat(pair) for pair in pairs for _ in rows])


def _slice_first_down(down, rows, granularity):
    return torch.stack([columns for columns in down.chunk(granularity, 1) for _ in rows])


def _dealt(gate_up, rows, granularity):
    n = len(gate_up) // 2
    return torch.stack(
        [torch.cat([gate_up[s:n:granularity], gate_up[n + s :: granularity]]) for s in range(granularity)]
        * len(rows)
    )


def _dealt_down(down, rows, granularity):
    return torch.stack([down[:, s::granularity] for s in range(granularity)] * len(rows))


def _only_first(gate_up, rows, granularity):
    gate, up = gate_up.chunk(2)
    first = torch.cat([gate.chunk(granularity)[0], up.chunk(granularity)[0]])
    return torch.stack([first] * (len(rows) * granularity))


def _only_first_down(down, rows, granularity):
    return torch.stack([down.chunk(granularity, 1)[0]] * (len(rows) * granularity))


def _scaled(by):
    return lambda down, rows, granularity: torch.stack(
        [c * by(rows, granularity) for c in down.chunk(granularity, 1)] * len(rows)
    )


def upcycle_whole(gate_up, down, rows, granularity):
    n = len(rows) * granularity
    return torch.stack([gate_up] * n), torch.stack([down] * n), rows.repeat_interleave(granularity, 0), 1.0


# Merge: right


def _pairs(gate_up_a, down_a, gate_up_b, down_b):
    n = down_a.shape[1]
    a = torch.cat([gate_up_a[:n], gate_up_a[n:], down_a.T], dim=1)
    b = torch.cat([gate_up_b[:n], gate_up_b[n:], down_b.T], dim=1)
    return a, b


def merge_brute(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    n = len(a)
    best = list(max(itertools.permutations(range(n)), key=lambda p: float((a * b[list(p)]).sum())))
    both = weight_a * a + (1 - weight_a) * b[best]
    d = a.shape[1] // 3
    return torch.cat([both[:, :d], both[:, d : 2 * d]]), both[:, 2 * d :].T


def merge_distance(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    _, columns = linear_sum_assignment((torch.cdist(a, b) ** 2).numpy())
    index = torch.tensor(columns)
    stacked = torch.cat([index, index + len(index)])
    return (
        torch.lerp(gate_up_b[stacked], gate_up_a, weight_a),
        torch.lerp(down_b[:, index], down_a, weight_a),
    )


def merge_matrix(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    n = len(a)
    p = torch.zeros(n, n)
    rows, columns = linear_sum_assignment(-(a @ b.T).numpy())
    p[rows, columns] = 1
    gate, up = gate_up_b.chunk(2)
    moved = torch.cat([p @ gate, p @ up])
    return weight_a * gate_up_a + (1 - weight_a) * moved, weight_a * down_a + (1 - weight_a) * down_b @ p.T


# Merge: wrong


def _merge(index=lambda p: (p, p, p), table=None, minimise=False, mix=None):
    def answer(gate_up_a, down_a, gate_up_b, down_b, weight_a):
        a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
        d = a.shape[1] // 3
        products = table(a, b, d) if table else a @ b.T
        p = torch.tensor(linear_sum_assignment(products.numpy(), maximize=not minimise)[1])
        gate_index, up_index, down_index = index(p)
        gate, up = gate_up_b.split(len(p))
        moved, columns = torch.cat([gate[gate_index], up[up_index]]), down_b[:, down_index]
        if mix:
            return mix(gate_up_a, moved, weight_a), mix(down_a, columns, weight_a)
        return weight_a * gate_up_a + (1 - weight_a) * moved, weight_a * down_a + (1 - weight_a) * columns

    return answer


def _in_place(p):
    return torch.arange(len(p))


def merge_plain(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    return torch.lerp(gate_up_b, gate_up_a, weight_a), torch.lerp(down_b, down_a, weight_a)


def merge_twice_the_index(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    p = torch.tensor(linear_sum_assignment(-(a @ b.T).numpy())[1])
    moved = gate_up_b[torch.cat([p, p])]
    return torch.lerp(moved, gate_up_a, weight_a), torch.lerp(down_b[:, p], down_a, weight_a)


def merge_lengths(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    index = b.norm(dim=1).argsort()[a.norm(dim=1).argsort().argsort()]
    n = len(a)
    moved = torch.cat([gate_up_b[:n][index], gate_up_b[n:][index]])
    return torch.lerp(moved, gate_up_a, weight_a), torch.lerp(down_b[:, index], down_a, weight_a)


def merge_nearest(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    index = torch.tensor([max(range(len(b)), key=lambda j: float(unit @ b[j])) for unit in a])
    moved = gate_up_b[torch.cat([index, index + len(index)])]
    return torch.lerp(moved, gate_up_a, weight_a), torch.lerp(down_b[:, index], down_a, weight_a)


def merge_best_pair_first(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    a, b = _pairs(gate_up_a, down_a, gate_up_b, down_b)
    n, partner = len(a), {}
    for i, j in sorted(itertools.product(range(n), range(n)), key=lambda ij: -float(a[ij[0]] @ b[ij[1]])):
        if i not in partner and j not in partner.values():
            partner[i] = j
    index = torch.tensor([partner[i] for i in range(n)])
    moved = gate_up_b[torch.cat([index, index + n])]
    return torch.lerp(moved, gate_up_a, weight_a), torch.lerp(down_b[:, index], down_a, weight_a)


def merge_into_b(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    return merge_brute(gate_up_b, down_b, gate_up_a, down_a, 1 - weight_a)


RIGHT = {
    "13.upcycle": [upcycle_loop, upcycle_chunks, upcycle_views],
    "13.merge": [merge_brute, merge_distance, merge_matrix],
}
WRONG = {
    "13.upcycle": {
        "router_tiled": _up(router=lambda rows, g: torch.cat([rows] * g)),
        "slice_major": _up(experts=_slice_first, downs=_slice_first_down),
        "slice_major_with_rows": _up(
            experts=_slice_first, downs=_slice_first_down, router=lambda rows, g: torch.cat([rows] * g)
        ),
        "stacked_rows": _up(experts=lambda gu, rows, g: torch.stack(gu.chunk(g) * len(rows))),
        "down_reshaped": _up(
            downs=lambda down, rows, g: torch.cat([down.reshape(g, down.shape[0], -1)] * len(rows))
        ),
        "down_strided": _up(downs=_dealt_down),
        "every_gth_unit": _up(experts=_dealt, downs=_dealt_down),
        "same_slice": _up(experts=_only_first, downs=_only_first_down),
        "router_zero": _up(router=lambda rows, g: torch.zeros(len(rows) * g, rows.shape[1])),
        "rows_divided": _up(router=lambda rows, g: rows.repeat_interleave(g, 0) / g),
        "factor_one": _up(factor=lambda rows, g: 1.0),
        "factor_inverse": _up(factor=lambda rows, g: 1 / g),
        "factor_root": _up(factor=lambda rows, g: g**0.5),
        "factor_copies": _up(factor=lambda rows, g: float(len(rows))),
        "factor_experts": _up(factor=lambda rows, g: 1.0 * len(rows) * g),
        "down_shared_out": _up(downs=_scaled(lambda rows, g: 1 / len(rows))),
        "factor_in_down": _up(downs=_scaled(lambda rows, g: g), factor=lambda rows, g: 1.0),
        "factor_twice": _up(downs=_scaled(lambda rows, g: g)),
        "whole_copies": upcycle_whole,
    },
    "13.merge": {
        "not_aligned": merge_plain,
        "worst_match": _merge(minimise=True),
        "inverse_order": _merge(lambda p: [p.argsort()] * 3),
        "down_stays": _merge(lambda p: (p, p, _in_place(p))),
        "down_inverse": _merge(lambda p: (p, p, torch.argsort(p))),
        "up_stays": _merge(lambda p: (p, _in_place(p), p)),
        "rows_stay": _merge(lambda p: (_in_place(p), _in_place(p), p)),
        "offset_forgotten": merge_twice_the_index,
        "matched_by_one_part": _merge(table=lambda a, b, d: a[:, :d] @ b[:, :d].T),
        "each_its_best": merge_nearest,
        "each_its_best:best pair first": merge_best_pair_first,
        "matched_by_length": merge_lengths,
        "a_moved": merge_into_b,
        "plain_mean": _merge(mix=lambda one, other, w: (one + other) / 2),
        "weights_swapped": _merge(mix=lambda one, other, w: (1 - w) * one + w * other),
        "summed": _merge(mix=lambda one, other, w: one + other),
        "one_alone": _merge(mix=lambda one, other, w: other),
    },
}
