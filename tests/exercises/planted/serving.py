"""Answers to lesson 15's exercises as learners write them: wrong ones by misconception, and right ones."""

import heapq
from collections import deque

import torch
from planted import more_last, serving_bits, serving_cache
from planted.serving_drafts import PAYS_RIGHT, PAYS_WRONG, SPECULATE_RIGHT, SPECULATE_WRONG


def finish_heap(arrival_N, length_N, n_slots):
    free, out = [0] * n_slots, []
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        start = max(heapq.heappop(free), arrival)
        heapq.heappush(free, start + length)
        out.append(start + length)
    return torch.tensor(out)


def finish_argmin(arrival_N, length_N, n_slots):
    free_S = torch.zeros(n_slots, dtype=torch.long)
    finish_N = torch.empty_like(arrival_N)
    for n in range(len(arrival_N)):
        slot = free_S.argmin()
        free_S[slot] = torch.maximum(free_S[slot], arrival_N[n]) + length_N[n]
        finish_N[n] = free_S[slot]
    return finish_N


def finish_clock(arrival_N, length_N, n_slots):
    queue = deque(range(len(arrival_N)))
    left, done, now = {}, [0] * len(arrival_N), 0
    while queue or left:
        while queue and arrival_N[queue[0]] <= now and len(left) < n_slots:
            i = queue.popleft()
            left[i] = int(length_N[i])
        now += 1
        left = {i: n - 1 for i, n in left.items()}
        for i in [i for i, n in left.items() if n == 0]:
            done[i] = now
            del left[i]
    return torch.tensor(done)


def static(a, n, s):
    out, now, i = [], 0, 0
    while i < len(a):
        now = max(now, int(a[i]))
        batch = [j for j in range(i, min(i + s, len(a))) if a[j] <= now]
        out += [now + int(n[j]) for j in batch]
        now, i = max(out[i:]), i + len(batch)
    return torch.tensor(out)


def static_full(a, n, s):
    out, now = [], 0
    for i in range(0, len(a), s):
        now = max(now, int(a[i : i + s].max()))
        out += [now + int(x) for x in n[i : i + s]]
        now = max(out[i:])
    return torch.tensor(out)


def one_by_one(a, n, s):
    out, now = [], 0
    for arrival, length in zip(a.tolist(), n.tolist(), strict=True):
        now = max(now, arrival) + length
        out.append(now)
    return torch.tensor(out)


def with_gap(gap):
    def answer(a, n, s):
        free, out = [0] * s, []
        for arrival, length in zip(a.tolist(), n.tolist(), strict=True):
            end = max(heapq.heappop(free), arrival) + length
            heapq.heappush(free, end + gap)
            out.append(end)
        return torch.tensor(out)

    return answer


def picking(which):
    def answer(a, n, s):
        waiting, left, done, now = [], {}, [0] * len(a), 0
        coming = list(range(len(a)))
        while coming or waiting or left:
            while coming and a[coming[0]] <= now:
                waiting.append(coming.pop(0))
            while waiting and len(left) < s:
                i = which(waiting, n)
                waiting.remove(i)
                left[i] = int(n[i])
            now += 1
            for i in list(left):
                left[i] -= 1
                if left[i] == 0:
                    done[i] = now
                    del left[i]
        return torch.tensor(done)

    return answer


def all_there(a, n, s):
    return finish_heap(torch.zeros_like(a), n, s)


def own_slot(a, n, s):
    free, out = [0] * s, []
    for i in range(len(a)):
        free[i % s] = max(free[i % s], int(a[i])) + int(n[i])
        out.append(free[i % s])
    return torch.tensor(out)


def in_line(a, n, s):
    """A queue of running requests whose head alone can leave."""
    line, out, gone = deque(), [], 0
    for arrival, length in zip(a.tolist(), n.tolist(), strict=True):
        if len(line) == s:
            gone = max(gone, line.popleft())
        end = max(gone, arrival) + length
        line.append(end)
        out.append(end)
    return torch.tensor(out)


CONTINUOUS_WRONG = {
    "a_step_late": lambda a, n, s: finish_argmin(a + 1, n, s),
    "whole_batches": static,
    "waits_for_a_full_batch": static_full,
    "one_at_a_time": one_by_one,
    "no_limit": lambda a, n, s: a + n,
    "one_slot_more": lambda a, n, s: finish_heap(a, n, s + 1),
    "slot_free_a_step_late": with_gap(1),
    "slot_free_a_step_early": with_gap(-1),
    "newest_first": picking(lambda waiting, n: waiting[-1]),
    "shortest_first": picking(lambda waiting, n: min(waiting, key=lambda i: int(n[i]))),
    "start_not_end": lambda a, n, s: finish_argmin(a, n, s) - n,
    "last_step": lambda a, n, s: finish_clock(a, n, s) - 1,
    "time_from_arrival": lambda a, n, s: finish_heap(a, n, s) - a,
    "arrivals_ignored": all_there,
    "arrival_added": lambda a, n, s: all_there(a, n, s) + a,
    "fixed_slots": own_slot,
    "released_in_order": in_line,
    "sorted_by_end": lambda a, n, s: torch.tensor(sorted(finish_heap(a, n, s).tolist())),
}


WRONG = {
    "15.continuous": CONTINUOUS_WRONG,
    "15.expert_cache": serving_cache.WRONG,
    "15.quantise": serving_bits.WRONG,
    "15.speculate": SPECULATE_WRONG,
    "15.speculation_pays": PAYS_WRONG,
}

RIGHT = {
    "15.continuous": [finish_heap, finish_argmin, finish_clock],
    "15.expert_cache": serving_cache.RIGHT,
    "15.quantise": serving_bits.RIGHT,
    "15.speculate": SPECULATE_RIGHT,
    "15.speculation_pays": PAYS_RIGHT,
}
more_last.add_to(WRONG)
