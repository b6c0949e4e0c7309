"""Fresh wrong answers to lesson 16, six or seven an exercise."""

import math

import torch

# 16.causal_depth


def depth_sorted_positions(scores, share):
    """Ranks of the whole sequence, compared with the room at each place."""
    rank = scores.argsort(dim=1, descending=True).argsort(dim=1)
    return rank < torch.ceil(share * torch.arange(1, scores.shape[1] + 1))


def depth_excludes_self(scores, share):
    out = torch.zeros(scores.shape, dtype=torch.bool)
    for b in range(len(scores)):
        for t in range(scores.shape[1]):
            earlier = scores[b, :t]
            out[b, t] = (earlier > scores[b, t]).sum() < math.ceil(share * t)
    return out


def depth_int(scores, share):
    better = (scores[:, None, :] > scores[:, :, None]).tril().sum(-1)
    room = torch.tensor([max(1, int(share * (t + 1))) for t in range(scores.shape[1])])
    return better < room


def depth_no_tril(scores, share):
    better = (scores[:, None, :] > scores[:, :, None]).sum(-1)
    return better < torch.ceil(share * torch.arange(1, scores.shape[1] + 1))


def depth_triangle_of_the_others(scores, share):
    better = (scores[:, None, :] > scores[:, :, None]).triu().sum(-1)
    return better < torch.ceil(share * torch.arange(1, scores.shape[1] + 1))


def depth_turned(scores, share):
    """Counts those that are worse."""
    better = (scores[:, None, :] < scores[:, :, None]).tril().sum(-1)
    return better < torch.ceil(share * torch.arange(1, scores.shape[1] + 1))


def depth_le(scores, share):
    better = (scores[:, None, :] > scores[:, :, None]).tril().sum(-1)
    return better <= torch.ceil(share * torch.arange(1, scores.shape[1] + 1))


# 16.product_keys


def keys_few(q, k1, k2, top_k):
    h = q.shape[1] // 2
    n = int(math.sqrt(top_k)) + 1
    a, i = (q[:, :h] @ k1.T).topk(n)
    b, j = (q[:, h:] @ k2.T).topk(n)
    s, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return i.gather(1, p // n) * len(k2) + j.gather(1, p % n), s


def keys_outer(q, k1, k2, top_k):
    h = q.shape[1] // 2
    a, i = (q[:, :h] @ k1.T).topk(top_k)
    b, j = (q[:, h:] @ k2.T).topk(top_k)
    s, p = (a[:, None, :] + b[:, :, None]).flatten(1).topk(top_k)  # second on the rows
    return i.gather(1, p // top_k) * len(k2) + j.gather(1, p % top_k), s


def keys_k_stride(q, k1, k2, top_k):
    h = q.shape[1] // 2
    a, i = (q[:, :h] @ k1.T).topk(top_k)
    b, j = (q[:, h:] @ k2.T).topk(top_k)
    s, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return i.gather(1, p // top_k) * top_k + j.gather(1, p % top_k), s


def keys_by_j(q, k1, k2, top_k):
    h = q.shape[1] // 2
    s = (q[:, :h] @ k1.T)[:, None, :] + (q[:, h:] @ k2.T)[:, :, None]
    values, ids = s.flatten(1).topk(top_k)
    return ids, values


def keys_probabilities(q, k1, k2, top_k):
    h = q.shape[1] // 2
    a, i = (q[:, :h] @ k1.T).topk(top_k)
    b, j = (q[:, h:] @ k2.T).topk(top_k)
    s, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return i.gather(1, p // top_k) * len(k2) + j.gather(1, p % top_k), s.softmax(1)


def keys_top_one_crossed(q, k1, k2, top_k):
    h = q.shape[1] // 2
    a, i = (q[:, :h] @ k1.T).topk(1)
    b, j = (q[:, h:] @ k2.T).topk(top_k)
    return (i * len(k2) + j), a + b


# 16.selective_scan


def scan_decay_after(x, b, c, a):
    S = torch.zeros(b.shape[1], x.shape[1])
    ys = []
    for t in range(x.shape[0]):
        S = S + torch.outer(b[t], x[t])
        ys.append(c[t] @ S)
        S = S * a[t].exp()
    return torch.stack(ys)


def scan_no_mask(x, b, c, a):
    cs = a.cumsum(0)
    return ((c @ b.T) * (cs[:, None] - cs[None, :]).exp()) @ x


def scan_turned_round(x, b, c, a):
    cs = a.cumsum(0)
    m = (cs[None, :] - cs[:, None]).exp().tril()
    return ((c @ b.T) * m) @ x


def scan_strict(x, b, c, a):
    cs = a.cumsum(0)
    d = (cs[:, None] - cs[None, :]).tril(-1).exp().tril(-1)
    return ((c @ b.T) * d) @ x


def scan_ema(x, b, c, a):
    S = torch.zeros(b.shape[1], x.shape[1])
    ys = []
    for t in range(x.shape[0]):
        d = a[t].exp()
        S = d * S + (1 - d) * (b[t][:, None] * x[t][None, :])
        ys.append((c[t][:, None] * S).sum(0))
    return torch.stack(ys)


def scan_no_exp(x, b, c, a):
    S = torch.zeros(b.shape[1], x.shape[1])
    ys = []
    for t in range(x.shape[0]):
        S = a[t] * S + b[t][:, None] * x[t][None, :]
        ys.append(c[t] @ S)
    return torch.stack(ys)


def scan_no_grad(x, b, c, a):
    S = torch.zeros(b.shape[1], x.shape[1])
    ys = []
    for t in range(x.shape[0]):
        S = S.detach() * a[t].exp() + torch.outer(b[t], x[t])
        ys.append(c[t] @ S)
    return torch.stack(ys)


# 16.null_experts


def _null(logits, bias, n, k, target, rate, biased_weights=False, logit=False, over_real=False, flip=False):
    p = logits.softmax(-1)
    s = (logits if logit else p).clone()
    s[:, n:] += bias
    ids = s.topk(k).indices
    w = (s if biased_weights else p).gather(1, ids)
    real = ids < n
    w = w / ((w * real).sum(1, keepdim=True).clamp_min(1e-9) if over_real else w.sum(1, keepdim=True))
    full = torch.zeros_like(p).scatter(1, ids, w)[:, :n]
    used = real.sum(1)
    step = rate if (used.float().mean() > target) != flip else -rate
    return full, used, bias + step


def null_real_sum(*args):
    return _null(*args, over_real=True)


def null_biased(*args):
    return _null(*args, biased_weights=True)


def null_logit(*args):
    return _null(*args, logit=True)


def null_flipped(*args):
    return _null(*args, flip=True)


def null_difference(logits, bias, n, k, target, rate):
    full, used, _ = _null(logits, bias, n, k, target, rate)
    return full, used, bias + rate * (used.float().mean() - target).item()


def null_raw(logits, bias, n, k, target, rate):
    p = logits.softmax(-1)
    full, used, new = _null(logits, bias, n, k, target, rate)
    return p[:, :n] * (full > 0), used, new


def null_counted_all(logits, bias, n, k, target, rate):
    full, used, new = _null(logits, bias, n, k, target, rate)
    return full, torch.full_like(used, k), new


# 16.two_numbers


def numbers_exact(total, active, unit, E, K):
    x = (total - active) / (E - K)
    rest = active - K * x
    return [x, x, rest, rest], rest >= 0


def numbers_naive(total, active, unit, E, K):
    h = unit / 2
    low, high = (total - h) / E, (total + h) / E
    return [low, high, active - h - K * high, active + h - K * low], active + h - K * low >= 0


def numbers_lowest_counts(total, active, unit, E, K):
    xs = [(total + i - active - j) / (E - K) for i in (-unit / 2, unit / 2) for j in (-unit / 2, unit / 2)]
    rests = [
        active + j - K * (total + i - active - j) / (E - K)
        for i in (-unit / 2, unit / 2)
        for j in (-unit / 2, unit / 2)
    ]
    return [min(xs), max(xs), min(rests), max(rests)], min(rests) >= 0


def numbers_whole(total, active, unit, E, K):
    xs = [(total + i - active - j) / (E - K) for i in (-unit, unit) for j in (-unit, unit)]
    rests = [
        active + j - K * (total + i - active - j) / (E - K) for i in (-unit, unit) for j in (-unit, unit)
    ]
    return [min(xs), max(xs), min(rests), max(rests)], max(rests) >= 0


def numbers_same_way(total, active, unit, E, K):
    h = unit / 2
    x1, x2 = (total - h - (active - h)) / (E - K), (total + h - (active + h)) / (E - K)
    r1, r2 = active - h - K * x1, active + h - K * x2
    return [min(x1, x2), max(x1, x2), min(r1, r2), max(r1, r2)], max(r1, r2) >= 0


def numbers_clamped(total, active, unit, E, K):
    h = unit / 2
    x = (total - active - unit) / (E - K), (total - active + unit) / (E - K)
    low, high = active - h - K * x[1], active + h - K * x[0]
    return [*x, max(low, 0.0), max(high, 0.0)], high >= 0


FRESH = {
    "16.causal_depth": [
        ("ranks of the whole sequence", depth_sorted_positions, {"whole_sequence"}),
        ("itself left out of the count", depth_excludes_self, {"without_itself"}),
        ("int", depth_int, {"rounded_down"}),
        ("no triangle", depth_no_tril, {"whole_sequence"}),
        ("the other triangle", depth_triangle_of_the_others, {"later_ones"}),
        ("counts the worse ones", depth_turned, {"lowest_scores"}),
        ("at most", depth_le, {"one_too_many"}),
    ],
    "16.product_keys": [
        ("a few of each", keys_few, {"root_of_k_from_each"}),
        ("second on the rows", keys_outer, {"row_and_column_mixed_up"}),
        ("stride K", keys_k_stride, {"stride_k"}),
        ("numbered by j", keys_by_j, {"ids_swapped"}),
        ("softmax", keys_probabilities, {"scores_softmaxed"}),
        ("best first half only", keys_top_one_crossed, {"one_half_fixed"}),
    ],
    "16.selective_scan": [
        ("decays after the read", scan_decay_after, {"decay_one_late"}),
        ("no mask", scan_no_mask, {"sees_the_future"}),
        ("difference turned round", scan_turned_round, {"decay_inverted"}),
        ("without itself", scan_strict, {"read_before_written"}),
        ("moving average", scan_ema, {"weighted_average"}),
        ("no exp", scan_no_exp, {"log_not_undone"}),
        ("detached", scan_no_grad, {"state_detached"}),
    ],
    "16.null_experts": [
        ("real ones sum to 1", null_real_sum, {"weights_of_the_real_ones_alone"}),
        ("bias in the weights", null_biased, {"bias_in_the_weight"}),
        ("bias on logits", null_logit, {"bias_on_the_logit"}),
        ("wrong way", null_flipped, {"bias_runs_away"}),
        ("proportional", null_difference, {"step_proportional"}),
        ("raw scores", null_raw, {"not_normalised"}),
        ("K for everybody", null_counted_all, {"null_ones_counted"}),
    ],
    "16.two_numbers": [
        ("exact", numbers_exact, {"rounding_ignored"}),
        ("total over E", numbers_naive, {"total_over_experts"}),
        ("the lowest must be 0", numbers_lowest_counts, {"lowest_rest_counts"}),
        ("whole units", numbers_whole, {"a_whole_unit"}),
        ("both the same way", numbers_same_way, {"rounded_together"}),
        ("rest not below 0", numbers_clamped, {"rest_clamped"}),
    ],
}
