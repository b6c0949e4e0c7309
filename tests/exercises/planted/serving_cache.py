"""Answers to 15.expert_cache as learners write them: wrong ones by mistake, right ones."""

import itertools
from collections import Counter, OrderedDict, deque

import torch


def inside(experts, n_experts):
    return torch.tensor([e in experts for e in range(n_experts)])


def cache_ordered(ids_NK, capacity, n_experts):
    cache, hits = OrderedDict(), []
    for row in ids_NK.tolist():
        found = 0
        for e in row:
            if e in cache:
                found += 1
                cache.move_to_end(e)
                continue
            if len(cache) == capacity:
                del cache[next(old for old in cache if old not in row)]
            cache[e] = True
        hits.append(found)
    return torch.tensor(hits), inside(cache, n_experts)


def cache_stamps(ids_NK, capacity, n_experts):
    last = torch.full((n_experts,), -1)
    here = torch.zeros(n_experts, dtype=torch.bool)
    hits_N = torch.zeros(len(ids_NK), dtype=torch.long)
    t = 0
    for n, row in enumerate(ids_NK):
        for e in row:
            t += 1
            if here[e]:
                hits_N[n] += 1
            else:
                if here.sum() >= capacity:
                    may = here.clone()
                    may[row] = False
                    here[torch.where(may, last, 10**9).argmin()] = False
                here[e] = True
            last[e] = t
    return hits_N, here


def cache_list(ids_NK, capacity, n_experts):
    recent, hits = [], []
    for row in ids_NK.tolist():
        hits.append(sum(e in recent for e in row))
        for e in row:
            if e in recent:
                recent.remove(e)
            elif len(recent) >= capacity:
                recent.remove(next(old for old in recent if old not in row))
            recent.append(e)
    return torch.tensor(hits), torch.isin(torch.arange(n_experts), torch.tensor(recent))


def fifo(ids_NK, capacity, n_experts):
    queue, hits = [], []
    for row in ids_NK.tolist():
        found = 0
        for e in row:
            if e in queue:
                found += 1
                continue
            if len(queue) >= capacity:
                queue.remove(next(old for old in queue if old not in row))
            queue.append(e)
        hits.append(found)
    return torch.tensor(hits), inside(queue, n_experts)


def textbook(ids_NK, capacity, n_experts):
    """LRU as for single requests."""
    cache, hits = OrderedDict(), []
    for row in ids_NK.tolist():
        found = 0
        for e in row:
            if e in cache:
                found += 1
                cache.move_to_end(e)
            else:
                if len(cache) >= capacity:
                    cache.popitem(last=False)
                cache[e] = True
        hits.append(found)
    return torch.tensor(hits), inside(cache, n_experts)


def mru(ids_NK, capacity, n_experts):
    recent, hits = [], []
    for row in ids_NK.tolist():
        found = 0
        for e in row:
            if e in recent:
                found += 1
                recent.remove(e)
            elif len(recent) >= capacity:
                recent.remove([old for old in recent if old not in row][-1])
            recent.append(e)
        hits.append(found)
    return torch.tensor(hits), inside(recent, n_experts)


def lfu(ids_NK, capacity, n_experts):
    times, last, cache, hits, t = Counter(), {}, set(), [], 0
    for row in ids_NK.tolist():
        found = 0
        for e in row:
            t += 1
            times[e] += 1
            if e in cache:
                found += 1
            else:
                if len(cache) >= capacity:
                    cache.remove(min(cache - set(row), key=lambda c: (times[c], last[c])))
                cache.add(e)
            last[e] = t
        hits.append(found)
    return torch.tensor(hits), inside(cache, n_experts)


def smallest_out(ids_NK, capacity, n_experts):
    cache, hits = set(), []
    for row in ids_NK.tolist():
        hits.append(0)
        for e in row:
            if e in cache:
                hits[-1] += 1
            else:
                if len(cache) == capacity:
                    cache.remove(min(cache - set(row)))
                cache.add(e)
    return torch.tensor(hits), inside(cache, n_experts)


def after_loading(ids_NK, capacity, n_experts):
    recent, hits = [], []
    for row in ids_NK.tolist():
        for e in row:
            if e in recent:
                recent.remove(e)
            elif len(recent) >= capacity:
                recent.remove(next(old for old in recent if old not in row))
            recent.append(e)
        hits.append(len(set(row) & set(recent)))
    return torch.tensor(hits), inside(recent, n_experts)


def misses(ids_NK, capacity, n_experts):
    hits_N, inside_E = cache_list(ids_NK, capacity, n_experts)
    return ids_NK.shape[1] - hits_N, inside_E


def all_or_nothing(ids_NK, capacity, n_experts):
    recent, hits = [], []
    for row in ids_NK.tolist():
        hits.append(int(set(row) <= set(recent)))
        for e in row:
            if e in recent:
                recent.remove(e)
            elif len(recent) >= capacity:
                recent.remove(next(old for old in recent if old not in row))
            recent.append(e)
    return torch.tensor(hits), inside(recent, n_experts)


def total(ids_NK, capacity, n_experts):
    hits_N, inside_E = cache_stamps(ids_NK, capacity, n_experts)
    return torch.cumsum(hits_N, 0), inside_E


def first_choice(ids_NK, capacity, n_experts):
    cache, hits = OrderedDict(), []
    for e in ids_NK[:, 0].tolist():
        hits.append(int(e in cache))
        if e in cache:
            cache.move_to_end(e)
        else:
            if len(cache) >= capacity:
                cache.popitem(last=False)
            cache[e] = 1
    return torch.tensor(hits), inside(cache, n_experts)


def forgetful(ids_NK, capacity, n_experts):
    hits = []
    for row in ids_NK.tolist():
        cache, found = {}, 0
        for e in row:
            found += e in cache
            cache[e] = True
        hits.append(found)
    return torch.tensor(hits), inside(cache, n_experts)


def neighbour(ids_NK, capacity, n_experts):
    rows = [set(row) for row in ids_NK.tolist()]
    hits = [0] + [len(a & b) for a, b in itertools.pairwise(rows)]
    return torch.tensor(hits), inside(rows[-1], n_experts)


def hits_first(ids_NK, capacity, n_experts):
    recent, hits = [], []
    for row in ids_NK.tolist():
        had = [e for e in row if e in recent]
        hits.append(len(had))
        for e in had:
            recent.remove(e)
            recent.append(e)
        for e in [e for e in row if e not in had]:
            if len(recent) >= capacity:
                recent.remove(next(old for old in recent if old not in row))
            recent.append(e)
    return torch.tensor(hits), inside(recent, n_experts)


def token_stamps(ids_NK, capacity, n_experts):
    last, hits = {}, []
    for n, row in enumerate(ids_NK.tolist()):
        hits.append(0)
        for e in row:
            if e in last:
                hits[-1] += 1
            elif len(last) >= capacity:
                old = min((c for c in last if c not in row), key=lambda c: last[c])
                del last[old]
            last[e] = n
    return torch.tensor(hits), inside(last, n_experts)


def warm(ids_NK, capacity, n_experts):
    cache, hits = OrderedDict((e, True) for e in range(capacity)), []
    for row in ids_NK.tolist():
        hits.append(0)
        for e in row:
            if e in cache:
                hits[-1] += 1
                cache.move_to_end(e)
                continue
            if len(cache) >= capacity:
                del cache[next(old for old in cache if old not in row)]
            cache[e] = True
    return torch.tensor(hits), inside(cache, n_experts)


def popular(ids_NK, capacity, n_experts):
    keep = torch.bincount(ids_NK.flatten(), minlength=n_experts).topk(capacity).indices.tolist()
    hits = [sum(e in keep for e in row) for row in ids_NK.tolist()]
    return torch.tensor(hits), inside(keep, n_experts)


def ever(ids_NK, capacity, n_experts):
    return cache_list(ids_NK, capacity, n_experts)[0], inside(ids_NK.unique().tolist(), n_experts)


def last_row(ids_NK, capacity, n_experts):
    here = torch.zeros(n_experts, dtype=torch.bool)
    here[ids_NK[-1]] = True
    return cache_list(ids_NK, capacity, n_experts)[0], here


def loads_no_use(ids_NK, capacity, n_experts):
    last, here, hits, t = dict.fromkeys(range(n_experts), 0), set(), [], 0
    for row in ids_NK.tolist():
        hits.append(0)
        for e in row:
            t += 1
            if e in here:
                hits[-1] += 1
                last[e] = t
                continue
            if len(here) == capacity:
                here.remove(min((c for c in sorted(here) if c not in row), key=lambda c: last[c]))
            here.add(e)
    return torch.tensor(hits), inside(here, n_experts)


def window_of_uses(ids_NK, capacity, n_experts):
    recent, hits = deque(maxlen=capacity), []
    for row in ids_NK.tolist():
        hits.append(0)
        for e in row:
            hits[-1] += e in recent
            recent.append(e)
    return torch.tensor(hits), inside(recent, n_experts)


WRONG = {
    "loads_are_no_uses": loads_no_use,
    "uses_kept_not_experts": window_of_uses,
    "first_in_first_out": fifo,
    "own_experts_evicted": textbook,
    "most_recent_out": mru,
    "least_frequent": lfu,
    "by_number": smallest_out,
    "one_place_more": lambda ids_NK, c, n: cache_ordered(ids_NK, c + 1, n),
    "one_place_less": lambda ids_NK, c, n: cache_list(ids_NK, c - 1, n),
    "loads_counted_as_hits": after_loading,
    "misses_returned": misses,
    "whole_tokens": all_or_nothing,
    "running_total": total,
    "first_choice_only": first_choice,
    "forgotten_between_tokens": forgetful,
    "neighbour_only": neighbour,
    "hits_served_first": hits_first,
    "one_time_for_all": token_stamps,
    "starts_full": warm,
    "most_popular": popular,
    "all_ever_loaded": ever,
    "last_token_only": last_row,
}

RIGHT = [cache_ordered, cache_stamps, cache_list]
