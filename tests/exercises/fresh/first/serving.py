"""Further wrong answers to lesson 15, as they come to mind."""

import heapq
from collections import Counter, OrderedDict, deque

import torch

# 15.continuous


def never_busy(a, n, s):
    """The slot is given back when the request starts."""
    free, out = [0] * s, []
    for x, length in zip(a.tolist(), n.tolist(), strict=True):
        start = max(heapq.heappop(free), x)
        heapq.heappush(free, start)
        out.append(start + length)
    return torch.tensor(out)


def last_free(a, n, s):
    free, out = [0] * s, []
    for x, length in zip(a.tolist(), n.tolist(), strict=True):
        i = free.index(max(free))
        free[i] = max(free[i], x) + length
        out.append(free[i])
    return torch.tensor(out)


def strictly_after(a, n, s):
    """`<` where `<=` belongs: whoever arrives now is seen in the next step."""
    wait, left, done, t, i = deque(), {}, [0] * len(a), 0, 0
    while i < len(a) or wait or left:
        while i < len(a) and a[i] < t:
            wait.append(i)
            i += 1
        while wait and len(left) < s:
            j = wait.popleft()
            left[j] = int(n[j])
        t += 1
        for j in [*left]:
            left[j] -= 1
            if not left[j]:
                done[j] = t
                del left[j]
    return torch.tensor(done)


def longest_first(a, n, s):
    wait, left, done, t, i = [], {}, [0] * len(a), 0, 0
    while i < len(a) or wait or left:
        while i < len(a) and a[i] <= t:
            wait.append(i)
            i += 1
        wait.sort(key=lambda j: -int(n[j]))
        while wait and len(left) < s:
            j = wait.pop(0)
            left[j] = int(n[j])
        t += 1
        for j in [*left]:
            left[j] -= 1
            if not left[j]:
                done[j] = t
                del left[j]
    return torch.tensor(done)


def chunks_from_the_start(a, n, s):
    out, t = [], 0
    for i in range(0, len(n), s):
        out += [t + int(x) for x in n[i : i + s]]
        t = max(out[i:])
    return torch.tensor(out)


def in_a_row(a, n, s):
    return torch.cumsum(n, 0)


def work_shared(a, n, s):
    """All slots work on one request."""
    return torch.ceil(torch.cumsum(n, 0) / s).long()


def one_after_the_end(a, n, s):
    free, out = [0] * s, []
    for x, length in zip(a.tolist(), n.tolist(), strict=True):
        end = max(heapq.heappop(free), x) + length
        heapq.heappush(free, end)
        out.append(end + 1)
    return torch.tensor(out)


def wait_alone(a, n, s):
    free, out = [0] * s, []
    for x, length in zip(a.tolist(), n.tolist(), strict=True):
        start = max(heapq.heappop(free), x)
        heapq.heappush(free, start + length)
        out.append(start - x)
    return torch.tensor(out)


# 15.expert_cache


def mask(cache, e):
    return torch.tensor([i in cache for i in range(e)])


def lru(ids, c, e, *, victim=None, on_hit=None, count=None, full=None):
    cache, hits = OrderedDict(), []
    for row in ids.tolist():
        found = 0
        for x in row:
            if x in cache:
                found += 1
                if on_hit is None:
                    cache.move_to_end(x)
                continue
            if (full or (lambda cache: len(cache) >= c))(cache):
                out = victim(cache, row) if victim else next(y for y in cache if y not in row)
                del cache[out]
            cache[x] = True
        hits.append(count(found, row) if count else found)
    return torch.tensor(hits), mask(cache, e)


def fifo_plain(ids, c, e):
    """A queue, and no look at what the token needs."""
    return lru(ids, c, e, victim=lambda cache, row: next(iter(cache)), on_hit=False)


def popitem(ids, c, e):
    """`popitem()` takes the last one."""
    return lru(ids, c, e, victim=lambda cache, row: list(cache)[-1])


def more_than(ids, c, e):
    return lru(ids, c, e, full=lambda cache: len(cache) > c)


def rate(ids, c, e):
    hits, inside = lru(ids, c, e)
    return hits.float() / ids.shape[1], inside


def any_hit(ids, c, e):
    return lru(ids, c, e, count=lambda found, row: int(found > 0))


def lfu_ids(ids, c, e):
    times, cache, hits = Counter(), set(), []
    for row in ids.tolist():
        hits.append(sum(x in cache for x in row))
        for x in row:
            times[x] += 1
            if x not in cache:
                if len(cache) >= c:
                    cache.remove(min(sorted(cache - set(row)), key=lambda y: times[y]))
                cache.add(x)
    return torch.tensor(hits), mask(cache, e)


def recent_uses(ids, c, e):
    seen, hits = deque(maxlen=c), []
    for row in ids.tolist():
        hits.append(sum(x in seen for x in row))
        seen.extend(row)
    return torch.tensor(hits), mask(seen, e)


def largest_out(ids, c, e):
    return lru(ids, c, e, victim=lambda cache, row: max(y for y in cache if y not in row))


def flattened(ids, c, e):
    """One expert after the other, as if each were a token; protected is only itself."""
    hits, inside = lru(ids.flatten()[:, None], c, e)
    return hits.view(ids.shape).sum(1), inside


def last_tokens(ids, c, e):
    """Experts of the last c // K tokens."""
    k = max(c // ids.shape[1], 1)
    hits = [
        len(set(ids[n].tolist()) & set(ids[max(n - k, 0) : n].flatten().tolist())) for n in range(len(ids))
    ]
    return torch.tensor(hits), mask(set(ids[-k:].flatten().tolist()), e)


def integers(ids, c, e):
    hits, inside = lru(ids, c, e)
    return hits, inside.long()


# 15.quantise


def q(w, s, group, b, rounding=torch.round):
    wide = s.repeat_interleave(group, 1)
    codes = rounding(w / torch.where(wide > 0, wide, 1.0))
    return codes.long(), s, codes * wide


def g(w, group):
    return w.unflatten(1, (-1, group))


def floored(w, b, group):
    return q(w, g(w, group).abs().amax(-1) / (2 ** (b - 1) - 1), group, b, torch.floor)


def half_up_wrong(w, b, group):
    return q(w, g(w, group).abs().amax(-1) / (2 ** (b - 1) - 1), group, b, lambda x: (x + 0.5).trunc())


def no_clamp(w, b, group):
    return q(w, g(w, group).abs().amax(-1) / 2 ** (b - 1), group, b)


def full_range(w, b, group):
    return q(w, g(w, group).abs().amax(-1) / (2**b - 1), group, b)


def spread(w, b, group):
    return q(w, (g(w, group).amax(-1) - g(w, group).amin(-1)) / 2 / (2 ** (b - 1) - 1), group, b)


def abs_after_max(w, b, group):
    return q(w, g(w, group).amax(-1).abs() / (2 ** (b - 1) - 1), group, b)


def deviations(w, b, group):
    codes, s, _ = q(w, g(w, group).std(-1) / (2 ** (b - 1) - 1), group, b)
    top = 2 ** (b - 1)
    codes = codes.clamp(-top, top - 1)
    return codes, s, codes * s.repeat_interleave(group, 1)


def always_int8(w, b, group):
    return q(w, g(w, group).abs().amax(-1) / 127, group, b)


def divided(w, b, group):
    codes, s, _ = q(w, g(w, group).abs().amax(-1) / (2 ** (b - 1) - 1), group, b)
    return codes, s, codes / s.repeat_interleave(group, 1)


def for_rows(w, b, group):
    s = w.abs().amax(1, keepdim=True) / (2 ** (b - 1) - 1)
    return q(w, s.expand(-1, w.shape[1] // group).contiguous(), group, b)


def swapped(w, b, group):
    codes, s, back = q(w, g(w, group).abs().amax(-1) / (2 ** (b - 1) - 1), group, b)
    return back, s, codes


# 15.speculate


def draw(w, u):
    return min(int(((w / w.sum()).cumsum(0) < u).sum()), len(w) - 1)


def spec(p, q, x, u, last, *, keep=None, row=None, chance=None, bonus=True):
    out = []
    for i in range(len(x)):
        t = int(x[i])
        ok = keep(p[i], q[i], t, u[i], i) if keep else u[i] * q[i, t] <= p[i, t]
        if not ok:
            out.append(draw(row(i) if row else (p[i] - q[i]).clamp_min(0), chance(i) if chance else last))
            break
        out.append(t)
    else:
        if bonus:
            out.append(draw(p[-1], last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def product_of_ratios(p, q, x, u, last):
    so_far = [1.0]

    def keep(p_V, q_V, t, u_g, i):
        so_far[0] *= float(p_V[t] / q_V[t])
        return float(u_g) <= min(1.0, so_far[0])

    return spec(p, q, x, u, last, keep=keep)


def own_u(p, q, x, u, last):
    return spec(p, q, x, u, last, chance=lambda i: float(u[i]))


def softmaxed(p, q, x, u, last):
    return spec(p, q, x, u, last, row=lambda i: (p[i] - q[i]).clamp_min(0).softmax(0))


def difference_of_u(p, q, x, u, last):
    """Kept if the two are closer than u."""
    return spec(p, q, x, u, last, keep=lambda a, b, t, v, i: abs(a[t] - b[t]) <= v)


def large_u(p, q, x, u, last):
    return spec(p, q, x, u, last, keep=lambda a, b, t, v, i: v >= a[t] / b[t])


def half_likely(p, q, x, u, last):
    return spec(p, q, x, u, last, keep=lambda a, b, t, v, i: a[t] >= b[t])


def argmax_match(p, q, x, u, last):
    return spec(p, q, x, u, last, keep=lambda a, b, t, v, i: a.argmax() == t)


def best_missing(p, q, x, u, last):
    return spec(
        p, q, x, u, last, row=lambda i: torch.nn.functional.one_hot((p[i] - q[i]).argmax(), len(p[i]))
    )


def q_surplus(p, q, x, u, last):
    return spec(p, q, x, u, last, row=lambda i: (q[i] - p[i]).clamp_min(0))


def next_p(p, q, x, u, last):
    return spec(p, q, x, u, last, row=lambda i: p[i + 1])


def plain_target(p, q, x, u, last):
    return spec(p, q, x, u, last, row=lambda i: p[i])


def ends_without(p, q, x, u, last):
    return spec(p, q, x, u, last, bonus=False)


def short(p, q, x, u, last):
    out = spec(p, q, x, u, last)
    return out[out >= 0]


# 15.speculation_pays


def cov(E, K, n):
    return E * (1 - (1 - K / E) ** n)


def pays(tokens, read=None):
    def answer(E, K, B, g, a, S, X):
        cost = S + X * cov(E, K, B * (g + 1)) if read is None else read(E, K, B, g, a, S, X)
        return tokens(g, a) * (S + X * cov(E, K, B)) / cost

    return answer


def powers(g, a):
    return sum(a**i for i in range(g + 1))


def two_steps(E, K, B, g, a, S, X):
    return 2 * S + X * (cov(E, K, B) + cov(E, K, B * (g + 1)))


def each_user(E, K, B, g, a, S, X):
    return S + X * B * cov(E, K, g + 1)


def precedence(E, K, B, g, a, S, X):
    return S + X * cov(E, K, B * g + 1)


def only_kept(E, K, B, g, a, S, X):
    return S + X * cov(E, K, B * powers(g, a))


def as_before(E, K, B, g, a, S, X):
    return S + X * cov(E, K, B)


def one_by_one(E, K, B, g, a, S, X):
    return S + X * E * (1 - (1 - 1 / E) ** (K * B * (g + 1)))


def without_the_last(g, a):
    return sum((n + 1) * a**n * (1 - a) for n in range(g))


FRESH = {
    "15.continuous": [
        ("slot given back at the start", never_busy, {"no_limit"}),
        ("the slot that is free last", last_free, {"one_at_a_time"}),
        ("arrivals seen a step late", strictly_after, {"a_step_late"}),
        ("longest first", longest_first, {"shortest_first"}),
        ("batches of slots, arrivals ignored", chunks_from_the_start, {"whole_batches"}),
        ("one after the other", in_a_row, {"one_at_a_time"}),
        ("all slots on one request", work_shared, set()),
        ("one too many at the end", one_after_the_end, {"a_step_late"}),
        ("waiting alone", wait_alone, {"time_from_arrival"}),
    ],
    "15.expert_cache": [
        ("queue, nothing protected", fifo_plain, {"own_experts_evicted", "first_in_first_out"}),
        ("popitem takes the newest", popitem, {"most_recent_out"}),
        ("> for >=", more_than, {"one_place_more"}),
        ("share of hits", rate, {"size_factor", "other_dtype"}),
        ("any hit", any_hit, {"whole_tokens"}),
        ("least often, lower id", lfu_ids, {"least_frequent"}),
        ("last uses, looked at once a token", recent_uses, {"uses_kept_not_experts"}),
        ("largest number leaves", largest_out, {"by_number"}),
        ("each expert a token of its own", flattened, {"own_experts_evicted"}),
        ("experts of the last tokens", last_tokens, set()),
        ("0 and 1 for the mask", integers, {"other_dtype"}),
    ],
    "15.quantise": [
        ("floor", floored, {"rounded_down"}),
        ("plus a half, cut off", half_up_wrong, {"rounded_down"}),
        ("top is 2^(bits-1), no limit", no_clamp, {"top_one_too_large"}),
        ("2^bits - 1, no limit", full_range, {"all_bits_for_the_size"}),
        ("half the range", spread, {"half_the_range"}),
        ("abs after max", abs_after_max, {"largest_value_not_magnitude"}),
        ("standard deviation", deviations, {"average_for_largest"}),
        ("127 whatever the bits", always_int8, {"bits_ignored"}),
        ("codes divided by scales", divided, {"scale_upside_down"}),
        ("scale of the row", for_rows, {"one_scale_per_row"}),
        ("codes and weights swapped", swapped, {"outputs_swapped"}),
    ],
    "15.speculate": [
        ("product of ratios", product_of_ratios, {"ratios_multiplied"}),
        ("its own chance again", own_u, {"chance_used_twice"}),
        ("softmax of what is missing", softmaxed, {"softmax_of_residual"}),
        ("difference against u", difference_of_u, set()),
        ("large u keeps", large_u, {"kept_and_rejected_swapped"}),
        ("only where p >= q", half_likely, {"accepted_if_likelier"}),
        ("only the favourite", argmax_match, {"accepted_if_best"}),
        ("the most missing one", best_missing, {"most_likely_instead_of_drawn"}),
        ("q - p", q_surplus, {"residual_of_surplus"}),
        ("the next row", next_p, {"residual_of_another_place"}),
        ("from p", plain_target, {"redrawn_from_target"}),
        ("no bonus", ends_without, {"no_bonus"}),
        ("no filling up", short, set()),
    ],
    "15.speculation_pays": [
        ("gamma tokens", pays(lambda g, a: g), {"own_token_forgotten"}),
        ("a (gamma + 1)", pays(lambda g, a: a * (g + 1)), {"mean_accepted"}),
        ("all or nothing", pays(lambda g, a: (g + 1) * a**g), {"only_if_all_right"}),
        ("powers from 1 to gamma + 1", pays(lambda g, a: a * powers(g, a)), {"one_token_too_few"}),
        ("chances without the last", pays(without_the_last), {"whole_draft_weighted"}),
        ("a step besides", pays(powers, two_steps), {"two_steps"}),
        ("each user's coverage", pays(powers, each_user), {"users_apart"}),
        ("precedence", pays(powers, precedence), {"added_not_multiplied"}),
        ("kept tokens alone", pays(powers, only_kept), {"kept_tokens_only"}),
        ("all experts", pays(powers, lambda E, K, B, g, a, S, X: S + X * E), {"every_expert"}),
        ("K experts, as in a plain step", pays(powers, as_before), {"bytes_unchanged"}),
        ("chosen one by one", pays(powers, one_by_one), {"chosen_one_by_one"}),
    ],
}
