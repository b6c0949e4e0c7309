"""Lesson 15."""

import heapq
from collections import Counter, OrderedDict

import torch


def batch_after_batch(arrival_N, length_N, n_slots):
    finish = torch.zeros(len(length_N), dtype=torch.int64)
    now = 0
    for i in range(0, len(length_N), n_slots):
        now = max(now, int(arrival_N[i : i + n_slots].max()))
        finish[i : i + n_slots] = now + length_N[i : i + n_slots]
        now = int(finish[i : i + n_slots].max())
    return finish


def slots_in_turn(arrival_N, length_N, n_slots):
    free = [0] * n_slots
    finish = []
    for n, (arrival, length) in enumerate(zip(arrival_N.tolist(), length_N.tolist(), strict=True)):
        start = max(free[n % n_slots], arrival)
        free[n % n_slots] = start + length
        finish.append(start + length)
    return torch.tensor(finish, dtype=torch.int64)


def arrival_not_waited_for(arrival_N, length_N, n_slots):
    free = [0] * n_slots
    finish = []
    for length in length_N.tolist():
        end = heapq.heappop(free) + length
        heapq.heappush(free, end)
        finish.append(end)
    return torch.tensor(finish, dtype=torch.int64)


def last_token_s_step(arrival_N, length_N, n_slots):
    free = [0] * n_slots
    finish = []
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        start = max(heapq.heappop(free), arrival)
        heapq.heappush(free, start + length)
        finish.append(start + length - 1)
    return torch.tensor(finish, dtype=torch.int64)


def slot_free_a_step_later(arrival_N, length_N, n_slots):
    free = [0] * n_slots
    finish = []
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        start = max(heapq.heappop(free), arrival)
        heapq.heappush(free, start + length + 1)
        finish.append(start + length)
    return torch.tensor(finish, dtype=torch.int64)


def in_order_of_finishing(arrival_N, length_N, n_slots):
    waiting = list(zip(arrival_N.tolist(), length_N.tolist(), strict=True))
    running, done, step = [], [], 0
    while waiting or running:
        done += [step for end in running if end == step]
        running = [end for end in running if end > step]
        while waiting and len(running) < n_slots and waiting[0][0] <= step:
            running.append(step + waiting.pop(0)[1])
        step += 1
    return torch.tensor(done, dtype=torch.int64)


def as_bools(inside, n_experts):
    return torch.tensor([e in inside for e in range(n_experts)])


def first_in_first_out(ids_NK, capacity, n_experts):
    cache, hits = [], []
    for row in ids_NK.tolist():
        hit = 0
        for e in row:
            if e in cache:
                hit += 1
                continue
            if len(cache) == capacity:
                cache.remove(next(old for old in cache if old not in row))
            cache.append(e)
        hits.append(hit)
    return torch.tensor(hits), as_bools(cache, n_experts)


def least_often_used(ids_NK, capacity, n_experts):
    uses, inside, hits = Counter(), set(), []
    for row in ids_NK.tolist():
        hit = 0
        for e in row:
            if e in inside:
                hit += 1
            else:
                if len(inside) == capacity:
                    inside.remove(min((x for x in inside if x not in row), key=lambda x: uses[x]))
                inside.add(e)
            uses[e] += 1
        hits.append(hit)
    return torch.tensor(hits), as_bools(inside, n_experts)


def needed_ones_may_leave(ids_NK, capacity, n_experts):
    cache = OrderedDict()
    hits = torch.zeros(len(ids_NK), dtype=torch.int64)
    for n, row in enumerate(ids_NK.tolist()):
        for e in row:
            if e in cache:
                hits[n] += 1
                cache.move_to_end(e)
            else:
                if len(cache) >= capacity:
                    cache.popitem(last=False)
                cache[e] = True
    return hits, as_bools(cache, n_experts)


def newest_leaves(ids_NK, capacity, n_experts):
    cache = OrderedDict()
    hits = torch.zeros(len(ids_NK), dtype=torch.int64)
    for n, row in enumerate(ids_NK.tolist()):
        for e in row:
            if e in cache:
                hits[n] += 1
                cache.move_to_end(e)
            else:
                if len(cache) >= capacity:
                    del cache[next(old for old in reversed(cache) if old not in row)]
                cache[e] = True
    return hits, as_bools(cache, n_experts)


def one_time_for_the_token(ids_NK, capacity, n_experts):
    last_used, hits = {}, []
    for n, row in enumerate(ids_NK.tolist()):
        hits.append(sum(e in last_used for e in row))
        for e in row:
            if e not in last_used and len(last_used) == capacity:
                others = [old for old in sorted(last_used) if old not in row]
                del last_used[min(others, key=last_used.get)]
            last_used[e] = n
    return torch.tensor(hits), as_bools(last_used, n_experts)


def loads_for_hits(ids_NK, capacity, n_experts):
    cache, loads = OrderedDict(), []
    for row in ids_NK.tolist():
        count = 0
        for e in row:
            if e in cache:
                cache.move_to_end(e)
                continue
            count += 1
            if len(cache) == capacity:
                del cache[next(old for old in cache if old not in row)]
            cache[e] = True
        loads.append(count)
    return torch.tensor(loads), as_bools(cache, n_experts)


def a_scale_a_row(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    scale = weight_FD.abs().amax(1, keepdim=True) / top
    codes = (weight_FD / torch.where(scale > 0, scale, 1)).round()
    return codes.long(), scale.expand(-1, weight_FD.shape[1] // group), codes * scale


def one_code_more(weight_FD, bits, group):
    top = 2 ** (bits - 1)
    grouped = weight_FD.unflatten(1, (-1, group))
    scale = grouped.abs().amax(-1) / top
    codes = (grouped / torch.where(scale > 0, scale, 1)[..., None]).round()
    return codes.flatten(1).long(), scale, (codes * scale[..., None]).flatten(1)


def largest_without_abs(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (-1, group))
    scale = grouped.amax(-1) / top
    codes = (grouped / torch.where(scale != 0, scale, 1)[..., None]).round().clamp(-top, top)
    return codes.flatten(1).long(), scale, (codes * scale[..., None]).flatten(1)


def cut_off_not_rounded(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (-1, group))
    scale = grouped.abs().amax(-1) / top
    codes = (grouped / torch.where(scale > 0, scale, 1)[..., None]).long()
    return codes.flatten(1), scale, (codes * scale[..., None]).flatten(1)


def every_so_many_th(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (group, -1))
    scale = grouped.abs().amax(1, keepdim=True) / top
    codes = (grouped / torch.where(scale > 0, scale, 1)).round()
    return codes.flatten(1).long(), scale.squeeze(1), (codes * scale).flatten(1)


def zeros_by_zero(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (-1, group))
    scale = grouped.abs().amax(-1) / top
    codes = (grouped / scale[..., None]).round().clamp(-top, top)
    return codes.flatten(1).long(), scale, (codes * scale[..., None]).flatten(1)


FRESH = {
    "15.continuous": [
        ("a batch waits until the one before is done", batch_after_batch, {"waits_for_a_full_batch"}),
        ("request n in slot n % n_slots", slots_in_turn, {"fixed_slots"}),
        ("arrival not looked at", arrival_not_waited_for, {"arrivals_ignored"}),
        ("finished in the step of its last token: - 1", last_token_s_step, {"last_step"}),
        ("the slot is free one step after", slot_free_a_step_later, {"slot_free_a_step_late"}),
        ("finishing steps in the order of finishing", in_order_of_finishing, {"sorted_by_end"}),
    ],
    "15.expert_cache": [
        ("a hit does not count as a use: first in, first out", first_in_first_out, {"first_in_first_out"}),
        ("what was used least often leaves", least_often_used, {"least_frequent"}),
        ("the oldest leaves, though this token needs it", needed_ones_may_leave, {"own_experts_evicted"}),
        ("what was used last leaves", newest_leaves, {"most_recent_out"}),
        ("all experts of a token have the same time", one_time_for_the_token, {"one_time_for_all"}),
        ("loads counted, not hits", loads_for_hits, {"misses_returned"}),
    ],
    "15.quantise": [
        ("one scale for the whole row", a_scale_a_row, {"one_scale_per_row"}),
        ("top = 2^(bits-1)", one_code_more, {"top_one_too_large"}),
        (
            "the largest weight in place of the largest magnitude",
            largest_without_abs,
            {"largest_value_not_magnitude"},
        ),
        (".long() cuts off where it should round", cut_off_not_rounded, {"rounded_down"}),
        ("unflatten(1, (group, -1)): groups of distant inputs", every_so_many_th, {"dealt_in_turn"}),
        ("a group of zeros divided by its scale 0", zeros_by_zero, {"zero_group_is_nan"}),
    ],
}
