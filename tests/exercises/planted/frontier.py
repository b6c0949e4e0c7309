"""Answers to lesson 16 as learners write them: depth without the future, product keys."""

import bisect
import heapq
import math

import torch
from planted import frontier_numbers as numbers
from planted import frontier_states as states
from planted import more_last

# Who passes: right


def depth_compared(scores_BL, share):
    L = scores_BL.shape[1]
    better = (scores_BL[:, None, :] > scores_BL[:, :, None]).tril().sum(-1)
    room = torch.tensor([math.ceil(share * (t + 1)) for t in range(L)])
    return better < room


def depth_by_prefix(scores_BL, share):
    out = torch.zeros(scores_BL.shape, dtype=torch.bool)
    for b in range(scores_BL.shape[0]):
        for t in range(scores_BL.shape[1]):
            k = math.ceil(share * (t + 1))
            out[b, t] = t in scores_BL[b, : t + 1].topk(k).indices.tolist()
    return out


def depth_sorted_list(scores_BL, share):
    rows = []
    for row in scores_BL.tolist():
        seen, passes = [], []
        for t, x in enumerate(row):
            bisect.insort(seen, x)
            passes.append(len(seen) - bisect.bisect_right(seen, x) < math.ceil(share * (t + 1)))
        rows.append(passes)
    return torch.tensor(rows)


def depth_by_threshold(scores_BL, share):
    columns = []
    for t in range(scores_BL.shape[1]):
        kth = scores_BL[:, : t + 1].topk(math.ceil(share * (t + 1)), dim=1).values[:, -1]
        columns.append(scores_BL[:, t] >= kth)
    return torch.stack(columns, dim=1)


# Who passes: wrong


def _mask(scores, k):
    out = torch.zeros(scores.shape, dtype=torch.bool)
    out.scatter_(-1, scores.topk(k, dim=-1).indices, True)
    return out


def depth_whole(scores_BL, share):
    return _mask(scores_BL, math.ceil(share * scores_BL.shape[1]))


def depth_batch(scores_BL, share):
    flat = scores_BL.flatten()
    return _mask(flat, math.ceil(share * len(flat))).view(scores_BL.shape)


def depth_columns(scores_BL, share):
    return _mask(scores_BL.T.contiguous(), math.ceil(share * len(scores_BL))).T


def _prefixes(scores_BL, passes):
    """`passes(score, those so far with itself, t)` for each position."""
    rows = [[passes(row[t], row[: t + 1], t) for t in range(len(row))] for row in scores_BL.tolist()]
    return torch.tensor(rows)


def _beaten(x, so_far):
    return sum(y > x for y in so_far)


def depth_without_itself(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: _beaten(x, so_far) < math.ceil(share * t))


def depth_later(scores_BL, share):
    return depth_by_prefix(scores_BL.flip(1), share).flip(1)


def depth_lowest(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: sum(y < x for y in so_far) < math.ceil(share * (t + 1)))


def depth_threshold(scores_BL, share):
    return torch.sigmoid(scores_BL) > 0.5


def depth_mean(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: x >= sum(so_far) / len(so_far))


def depth_floor(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: _beaten(x, so_far) < int(share * (t + 1)))


def depth_at_most(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: _beaten(x, so_far) <= math.ceil(share * (t + 1)))


def depth_beats_itself(scores_BL, share):
    return _prefixes(scores_BL, lambda x, so_far, t: sum(y >= x for y in so_far) < math.ceil(share * (t + 1)))


def depth_fixed(scores_BL, share):
    k = math.ceil(share * scores_BL.shape[1])
    return _prefixes(scores_BL, lambda x, so_far, t: _beaten(x, so_far) < k)


def depth_first(scores_BL, share):
    out = torch.zeros_like(scores_BL, dtype=torch.bool)
    out[:, : math.ceil(share * scores_BL.shape[1])] = True
    return out


def depth_first_come(scores_BL, share):
    out = torch.zeros_like(scores_BL, dtype=torch.bool)
    for t in range(scores_BL.shape[1]):
        out[:, t] = out[:, :t].sum(1) < math.ceil(share * (t + 1))
    return out


def depth_used_up(scores_BL, share):
    out = torch.zeros_like(scores_BL, dtype=torch.bool)
    better = (scores_BL[:, None, :] > scores_BL[:, :, None]).tril().sum(-1)
    for t in range(scores_BL.shape[1]):
        room = math.ceil(share * (t + 1))
        out[:, t] = (better[:, t] < room) & (out[:, :t].sum(1) < room)
    return out


def depth_quantile(scores_BL, share):
    out = torch.zeros_like(scores_BL, dtype=torch.bool)
    for t in range(scores_BL.shape[1]):
        out[:, t] = scores_BL[:, t] >= torch.quantile(scores_BL[:, : t + 1], 1 - share, dim=1)
    return out


def depth_records(scores_BL, share):
    return scores_BL == scores_BL.cummax(dim=1).values


# Product keys: right


def keys_crossed(q, k1, k2, top_k):
    H = k1.shape[1]
    a, i = torch.topk(q[:, :H] @ k1.T, top_k)
    b, j = torch.topk(q[:, H:] @ k2.T, top_k)
    ids, values = [], []
    for t in range(len(q)):
        pairs = [
            (float(a[t, m] + b[t, n]), int(i[t, m]) * len(k2) + int(j[t, n]))
            for m in range(top_k)
            for n in range(top_k)
        ]
        pairs.sort(reverse=True)
        ids.append([key for _, key in pairs[:top_k]])
        values.append([value for value, _ in pairs[:top_k]])
    return torch.tensor(ids), torch.tensor(values)


def keys_all(q, k1, k2, top_k):
    H = q.shape[1] // 2
    scores = (q[:, :H] @ k1.T).unsqueeze(2) + (q[:, H:] @ k2.T).unsqueeze(1)
    values, ids = scores.flatten(1).topk(top_k)
    return ids, values


def keys_heap(q, k1, k2, top_k):
    """Walk along the frontier of the sorted sums."""
    H = k1.shape[1]
    ids, values = [], []
    for x in q:
        a, i = (k1 @ x[:H]).sort(descending=True)
        b, j = (k2 @ x[H:]).sort(descending=True)
        heap, seen, row, worth = [(-float(a[0] + b[0]), 0, 0)], {(0, 0)}, [], []
        while len(row) < top_k:
            s, m, n = heapq.heappop(heap)
            row.append(int(i[m]) * len(k2) + int(j[n]))
            worth.append(-s)
            for c in ((m + 1, n), (m, n + 1)):
                if c not in seen and c[0] < len(a) and c[1] < len(b):
                    seen.add(c)
                    heapq.heappush(heap, (-float(a[c[0]] + b[c[1]]), *c))
        ids.append(row)
        values.append(worth)
    return torch.tensor(ids), torch.tensor(values)


def keys_gathered(q, k1, k2, top_k):
    left, right = q.chunk(2, dim=1)
    a, i = (left @ k1.T).topk(top_k)
    b, j = (right @ k2.T).topk(top_k)
    values, place = (a[:, :, None] + b[:, None, :]).reshape(len(q), -1).topk(top_k)
    every = (i[:, :, None] * len(k2) + j[:, None, :]).reshape(len(q), -1)
    return every.gather(1, place), values


# Product keys: wrong


def _keys(
    take=lambda k: k, cross=lambda a, b: a[:, :, None] + b[:, None, :], turn=False, number=None, cut=None
):
    def answer(q, k1, k2, top_k):
        left, right = q.chunk(2, dim=1) if cut is None else cut(q)
        n = take(top_k)
        a, i = (left @ k1.T).topk(n)
        b, j = (right @ k2.T).topk(n)
        values, place = cross(a, b).flatten(1).topk(min(top_k, n * n))
        m, r = torch.div(place, n, rounding_mode="floor"), place % n
        if turn:
            m, r = r, m
        i, j = i.gather(1, m), j.gather(1, r)
        return (i * len(k2) + j if number is None else number(i, j, len(k1), len(k2), top_k)), values

    return answer


def keys_paired(q, k1, k2, top_k):
    left, right = q.chunk(2, dim=1)
    a, i = (left @ k1.T).topk(top_k)
    b, j = (right @ k2.T).topk(top_k)
    return i * len(k2) + j, a + b


def keys_best_row(q, k1, k2, top_k):
    left, right = q.chunk(2, dim=1)
    a, i = (left @ k1.T).max(1, keepdim=True)
    b, j = (right @ k2.T).topk(top_k)
    return i * len(k2) + j, a + b


def keys_places(q, k1, k2, top_k):
    left, right = q.chunk(2, dim=1)
    a, _ = (left @ k1.T).topk(top_k)
    b, _ = (right @ k2.T).topk(top_k)
    values, place = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return place, values


def keys_first_scores(q, k1, k2, top_k):
    ids, _ = keys_all(q, k1, k2, top_k)
    return ids, (q[:, : k1.shape[1]] @ k1.T).gather(1, ids // len(k2))


def keys_softmax(q, k1, k2, top_k):
    ids, values = keys_all(q, k1, k2, top_k)
    return ids, torch.softmax(values, dim=-1)


def keys_lowest(q, k1, k2, top_k):
    ids, values = keys_all(-q, k1, k2, top_k)
    return ids, -values


RIGHT = {
    "16.causal_depth": [depth_compared, depth_by_prefix, depth_sorted_list, depth_by_threshold],
    "16.product_keys": [keys_crossed, keys_all, keys_heap, keys_gathered],
    **states.RIGHT,
    **numbers.RIGHT,
}
WRONG = {
    "16.causal_depth": {
        "whole_sequence": depth_whole,
        "across_the_batch": depth_batch,
        "over_the_batch_axis": depth_columns,
        "without_itself": depth_without_itself,
        "later_ones": depth_later,
        "lowest_scores": depth_lowest,
        "threshold": depth_threshold,
        "running_mean": depth_mean,
        "rounded_down": depth_floor,
        "one_too_many": depth_at_most,
        "one_too_few": depth_beats_itself,
        "fixed_budget": depth_fixed,
        "first_ones": depth_first,
        "first_come": depth_first_come,
        "room_used_up": depth_used_up,
        "interpolated_quantile": depth_quantile,
        "only_records": depth_records,
    },
    "16.product_keys": {
        "root_of_k_from_each": _keys(take=lambda k: int(k**0.5)),
        "paired_not_crossed": keys_paired,
        "one_half_fixed": keys_best_row,
        "halves_swapped": _keys(cut=lambda q: q.chunk(2, dim=1)[::-1]),
        "taken_in_turn": _keys(cut=lambda q: (q[:, 0::2], q[:, 1::2])),
        "ids_swapped": _keys(number=lambda i, j, n, m, k: j * n + i),
        "positions_not_ids": keys_places,
        "stride_of_the_other_table": _keys(number=lambda i, j, n, m, k: i * n + j),
        "stride_k": _keys(number=lambda i, j, n, m, k: i * k + j),
        "row_and_column_mixed_up": _keys(turn=True),
        "scores_multiplied": _keys(cross=lambda a, b: torch.einsum("tm,tn->tmn", a, b)),
        "scores_of_the_halves": keys_first_scores,
        "scores_softmaxed": keys_softmax,
        "lowest": keys_lowest,
    },
    **states.WRONG,
    **numbers.WRONG,
}
more_last.add_to(WRONG)
