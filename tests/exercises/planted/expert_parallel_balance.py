"""Answers to 14.balance as learners write them."""

import heapq

import torch

# Right


def by_argmax(load_E, n_ranks, slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    while copies.sum() < n_ranks * slots:
        copies[torch.argmax(load_E / copies)] += 1
    pieces = torch.repeat_interleave(load_E / copies, copies).sort(descending=True).values
    load, used = torch.zeros(n_ranks, dtype=load_E.dtype), torch.zeros(n_ranks)
    for piece in pieces:
        g = torch.where(used < slots, load, torch.inf).argmin()
        load[g] += piece
        used[g] += 1
    return copies, load


def by_heap(load_E, n_ranks, slots):
    loads = load_E.tolist()
    heap = [(-x, e) for e, x in enumerate(loads)]
    heapq.heapify(heap)
    copies = [1] * len(loads)
    for _ in range(n_ranks * slots - len(loads)):
        e = heapq.heappop(heap)[1]
        copies[e] += 1
        heapq.heappush(heap, (-loads[e] / copies[e], e))
    pieces = sorted((x / c for x, c in zip(loads, copies, strict=True) for _ in range(c)), reverse=True)
    ranks = [(0.0, g, 0) for g in range(n_ranks)]
    done = []
    for piece in pieces:
        load, g, used = heapq.heappop(ranks)
        entry = (load + piece, g, used + 1)
        (ranks if used + 1 < slots else done).append(entry)
        heapq.heapify(ranks)
    return copies, [entry[0] for entry in done]


def by_lists(load_E, n_ranks, slots):
    loads = [float(x) for x in load_E]
    copies = [1 for _ in loads]
    for _ in range(n_ranks * slots - len(loads)):
        each = [x / c for x, c in zip(loads, copies, strict=True)]
        copies[each.index(max(each))] += 1
    bins = [[] for _ in range(n_ranks)]
    items = []
    for x, c in zip(loads, copies, strict=True):
        items.extend([x / c] * c)
    for item in sorted(items)[::-1]:
        open_bins = [b for b in bins if len(b) < slots]
        min(open_bins, key=sum).append(item)
    return torch.tensor(copies), torch.tensor([sum(b) for b in bins]).sort(descending=True).values


# Wrong


def _copies(load_E, n_slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    while int(copies.sum()) < n_slots:
        copies[(load_E / copies).argmax()] += 1
    return copies


def _greedy(pieces, n_ranks, slots):
    load, used = [0.0] * n_ranks, [0] * n_ranks
    for piece in pieces:
        g = min((g for g in range(n_ranks) if used[g] < slots), key=load.__getitem__)
        load[g] += float(piece)
        used[g] += 1
    return torch.tensor(load, dtype=torch.float64)


def _pieces(load_E, copies):
    return (load_E / copies).repeat_interleave(copies)


def _with_copies(make):
    def answer(load_E, n_ranks, slots):
        copies = make(load_E, n_ranks * slots)
        return copies, _greedy(_pieces(load_E, copies).sort(descending=True).values, n_ranks, slots)

    return answer


def _with_places(make):
    def answer(load_E, n_ranks, slots):
        copies = _copies(load_E, n_ranks * slots)
        return copies, make(_pieces(load_E, copies), n_ranks, slots)

    return answer


def one_each(load_E, n_slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    copies[load_E.topk(n_slots - len(load_E)).indices] += 1
    return copies


def one_takes_all(load_E, n_slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    for _ in range(n_slots - len(load_E)):
        copies[load_E.argmax()] += 1
    return copies


def proportional(load_E, n_slots):
    copies = (n_slots * load_E / load_E.sum()).round().long().clamp(min=1)
    while copies.sum() > n_slots:
        copies[copies.argmax()] -= 1
    while copies.sum() < n_slots:
        copies[load_E.argmax()] += 1
    return copies


def one_ahead(load_E, n_slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    for _ in range(n_slots - len(load_E)):
        copies[(load_E / (copies + 1)).argmax()] += 1
    return copies


def halving(load_E, n_slots):
    left, copies = load_E.clone(), torch.ones(len(load_E), dtype=torch.long)
    while copies.sum() < n_slots:
        hottest = left.argmax()
        left[hottest] /= 2
        copies[hottest] += 1
    return copies


def further_only(load_E, n_ranks, slots):
    copies, load = by_argmax(load_E, n_ranks, slots)
    return copies - 1, load


def coldest(load_E, n_slots):
    copies = torch.ones(len(load_E), dtype=torch.long)
    for _ in range(n_slots - len(load_E)):
        copies[(load_E / copies).argmin()] += 1
    return copies


def whole_load(load_E, n_ranks, slots):
    copies = _copies(load_E, n_ranks * slots)
    return copies, _greedy(load_E.repeat_interleave(copies).sort(descending=True).values, n_ranks, slots)


def without_limit(pieces, n_ranks, slots):
    load = torch.zeros(n_ranks, dtype=torch.float64)
    for piece in sorted(pieces.tolist(), reverse=True):
        load[load.argmin()] += piece
    return load


RIGHT = {"14.balance": [by_argmax, by_heap, by_lists]}
WRONG = {
    "14.balance": {
        "one_copy_for_each_of_the_hottest": _with_copies(one_each),
        "all_to_the_hottest": _with_copies(one_takes_all),
        "in_proportion": _with_copies(proportional),
        "after_the_next_copy": _with_copies(one_ahead),
        "coldest_copied": _with_copies(coldest),
        "halved_each_time": _with_copies(halving),
        "no_copies": _with_copies(lambda x, n: torch.ones_like(x).long()),
        "further_copies_only": further_only,
        "one_copy_too_few": _with_copies(lambda x, n: _copies(x, max(len(x), n - 1))),
        "load_not_divided": whole_load,
        "not_sorted": _with_places(_greedy),
        "filled_in_order": _with_places(lambda p, G, s: p.view(G, s).sum(1)),
        "dealt_in_turn": _with_places(lambda p, G, s: p.sort(descending=True).values.view(s, G).sum(0)),
        "no_room_limit": _with_places(without_limit),
    }
}
