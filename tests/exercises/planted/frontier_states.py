"""Answers to lesson 16 as learners write them: a state that forgets, and experts that do nothing."""

import torch

# The scan: right


def scan_loop(x, b, c, log_decay):
    S = torch.zeros(b.shape[1], x.shape[1])
    y = []
    for t in range(len(x)):
        S = S * log_decay[t].exp() + torch.outer(b[t], x[t])
        y.append(c[t] @ S)
    return torch.stack(y)


def scan_matrix(x, b, c, log_decay):
    L = len(x)
    total = torch.cumsum(log_decay, 0)
    left = total[:, None] - total[None, :]
    future = ~torch.tril(torch.ones(L, L, dtype=torch.bool))
    return (torch.exp(left.masked_fill(future, float("-inf"))) * (c @ b.T)) @ x


def scan_chunks(x, b, c, log_decay):
    """The matrix within chunks of four, a state between them."""
    S = torch.zeros(b.shape[1], x.shape[1])
    y = []
    for k in range(0, len(x), 4):
        here = slice(k, k + 4)
        total = log_decay[here].cumsum(0)
        y.append(
            scan_matrix(x[here], b[here], c[here], log_decay[here]) + total.exp()[:, None] * (c[here] @ S)
        )
        S = S * total[-1].exp() + (b[here] * (total[-1] - total).exp()[:, None]).T @ x[here]
    return torch.cat(y)


def scan_by_sums(x, b, c, log_decay):
    rows = []
    for t in range(len(x)):
        parts = [(c[t] @ b[s]) * log_decay[s + 1 : t + 1].sum().exp() * x[s] for s in range(t + 1)]
        rows.append(sum(parts))
    return torch.stack(rows)


# The scan: wrong


def scan_decays_input(x, b, c, a):
    S, y = torch.zeros(b.shape[1], x.shape[1]), []
    for t in range(len(x)):
        S = S + b[t][:, None] * x[t][None]
        S = a[t].exp() * S
        y.append(c[t] @ S)
    return torch.stack(y)


def scan_reads_first(x, b, c, a):
    S, y = torch.zeros(b.shape[1], x.shape[1]), []
    for t in range(len(x)):
        y.append(c[t] @ S)
        S = a[t].exp() * S + b[t][:, None] * x[t][None]
    return torch.stack(y)


def scan_late(x, b, c, a):
    return scan_loop(x, b, c, torch.cat([torch.zeros(1), a[:-1]]))


def scan_no_decay(x, b, c, a):
    return (c @ b.T).tril() @ x + 0 * a.sum()


def scan_future(x, b, c, a):
    total = a.cumsum(0)
    return (c @ b.T * torch.exp(-(total[:, None] - total).abs())) @ x


def scan_roles(x, b, c, a):
    return scan_loop(x, c, b, a)


def _scan_with(decay):
    def answer(x, b, c, a):
        S, y = 0, []
        for t in range(len(x)):
            S = decay(a[t]) * S + torch.outer(b[t], x[t])
            y.append(S.T @ c[t])
        return torch.stack(y)

    return answer


def scan_one_step(x, b, c, a):
    L = len(x)
    d = a.exp()
    left = torch.stack([torch.stack([d[t] if s < t else 1 + 0 * d[t] for s in range(L)]) for t in range(L)])
    return ((c @ b.T) * left.tril()) @ x


def scan_since_start(x, b, c, a):
    return (c @ b.T).tril() * a.cumsum(0).exp()[:, None] @ x


def scan_average(x, b, c, a):
    S, y = 0, []
    for t in range(len(x)):
        d = torch.exp(a[t])
        S = d * S + (1 - d) * torch.outer(b[t], x[t])
        y.append(c[t] @ S)
    return torch.stack(y)


def scan_normalised(x, b, c, a):
    total = a.cumsum(0)
    left = torch.exp((total[:, None] - total).tril()).tril()
    return ((c @ b.T) * (left / left.sum(-1, keepdim=True))) @ x


def scan_softmax(x, b, c, a):
    total = a.cumsum(0)
    scores = c @ b.T + (total[:, None] - total)
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -1e9).softmax(-1) @ x


def scan_scaled(x, b, c, a):
    return scan_matrix(x, b, c / b.shape[1] ** 0.5, a)


def scan_reset(x, b, c, a):
    return torch.cat(
        [scan_loop(x[k : k + 4], b[k : k + 4], c[k : k + 4], a[k : k + 4]) for k in range(0, len(x), 4)]
    )


def scan_detached(x, b, c, a):
    S, y = torch.zeros(b.shape[1], x.shape[1]), []
    for t in range(len(x)):
        S = S * a[t].exp() + torch.outer(b[t], x[t])
        y.append(c[t] @ S)
        S = S.detach()
    return torch.stack(y)


# Null experts: right


def null_scattered(logits, null_bias, n_real, top_k, target, rate):
    p = logits.softmax(-1)
    s = p.clone()
    s[:, n_real:] += null_bias
    ids = s.topk(top_k).indices
    w = p.gather(1, ids)
    w = w / w.sum(1, keepdim=True)
    out = torch.zeros_like(p).scatter_(1, ids, w)[:, :n_real]
    used = (ids < n_real).sum(1)
    return out, used, null_bias + rate * torch.sign(used.float().mean() - target)


def null_loop(logits, null_bias, n_real, top_k, target, rate):
    p = torch.softmax(logits, -1)
    W, used = torch.zeros(len(p), n_real), []
    for t in range(len(p)):
        steered = [float(p[t, c]) + (null_bias if c >= n_real else 0) for c in range(p.shape[1])]
        chosen = sorted(range(len(steered)), key=lambda c: steered[c], reverse=True)[:top_k]
        total = sum(float(p[t, c]) for c in chosen)
        for c in chosen:
            if c < n_real:
                W[t, c] = p[t, c] / total
        used.append(sum(c < n_real for c in chosen))
    mean = sum(used) / len(used)
    return W, torch.tensor(used), null_bias + (rate if mean > target else -rate if mean < target else 0)


def null_by_threshold(logits, null_bias, n_real, top_k, target, rate):
    p = logits.softmax(-1)
    price = torch.zeros(p.shape[1])
    price[n_real:] = null_bias
    chosen = p + price >= (p + price).topk(top_k).values[:, -1:]
    w = torch.where(chosen, p, torch.zeros(()))
    w = w / w.sum(-1, keepdim=True)
    used = chosen[:, :n_real].sum(-1)
    mean = used.double().mean().item()
    return w[:, :n_real], used, null_bias + rate * ((mean > target) - (mean < target))


# Null experts: wrong


def _null(score=None, weigh=None, move=None, said=None):
    def answer(logits, null_bias, n_real, top_k, target, rate):
        p = torch.softmax(logits, dim=-1)
        is_null = torch.arange(p.shape[1]) >= n_real
        s = p + null_bias * is_null if score is None else score(logits, p, null_bias, is_null)
        ids = torch.topk(s, top_k, dim=-1).indices
        taken = torch.gather(p, 1, ids)
        if weigh is None:
            taken = taken / taken.sum(-1, keepdim=True)
        else:
            taken = weigh(p, taken, torch.gather(s, 1, ids), ids < n_real)
        W = torch.zeros_like(p).scatter(1, ids, taken)[:, :n_real]
        used = (ids < n_real).sum(-1)
        step = torch.sign(used.float().mean() - target) if move is None else move(used.float(), target, top_k)
        return W, used if said is None else said(used, top_k), null_bias + rate * float(step)

    return answer


def _over_real(p, w, s, real):
    w = w * real
    return torch.where(w.sum(-1, keepdim=True) > 0, w / w.sum(-1, keepdim=True), w)


def null_own_softmax(logits, null_bias, n_real, top_k, target, rate):
    W, used, bias = null_loop(logits, null_bias, n_real, top_k, target, rate)
    return torch.softmax(logits[:, :n_real], -1) * (W > 0), used, bias


def null_step(logits, null_bias, n_real, top_k, target, rate):
    W, used, _ = null_scattered(logits, null_bias, n_real, top_k, target, rate)
    return W, used, rate if used.float().mean() > target else -rate


def null_first_columns(logits, null_bias, n_real, top_k, target, rate):
    n_null = logits.shape[1] - n_real
    p = logits.softmax(-1)
    s = p.clone()
    s[:, :n_null] += null_bias
    ids = s.topk(top_k).indices
    w = p.gather(1, ids)
    out = torch.zeros_like(p).scatter(1, ids, w / w.sum(1, keepdim=True))[:, n_null:]
    used = (ids >= n_null).sum(1)
    return out, used, null_bias + rate * float(torch.sign(used.float().mean() - target))


RIGHT = {
    "16.selective_scan": [scan_loop, scan_matrix, scan_chunks, scan_by_sums],
    "16.null_experts": [null_scattered, null_loop, null_by_threshold],
}
WRONG = {
    "16.selective_scan": {
        "input_decays_at_once": scan_decays_input,
        "read_before_written": scan_reads_first,
        "decay_one_late": scan_late,
        "no_decay": scan_no_decay,
        "sees_the_future": scan_future,
        "roles_of_b_and_c_swapped": scan_roles,
        "decay_not_exponential": _scan_with(lambda a: 1 + a),
        "log_not_undone": _scan_with(lambda a: a),
        "decay_inverted": _scan_with(lambda a: torch.exp(-a)),
        "decay_not_accumulated": scan_one_step,
        "since_the_start": scan_since_start,
        "weighted_average": scan_average,
        "normalised": scan_normalised,
        "softmaxed": scan_softmax,
        "scaled": scan_scaled,
        "state_reset": scan_reset,
        "state_detached": scan_detached,
    },
    "16.null_experts": {
        "weights_of_the_real_ones_alone": _null(weigh=_over_real),
        "softmax_of_the_real_ones": null_own_softmax,
        "bias_in_the_weight": _null(weigh=lambda p, w, s, real: s / s.sum(1, keepdim=True)),
        "bias_on_the_logit": _null(score=lambda z, p, b, null: z + b * null),
        "bias_on_the_real_ones": _null(score=lambda z, p, b, null: p + b * ~null),
        "bias_without_effect": _null(score=lambda z, p, b, null: p + b),
        "bias_runs_away": _null(move=lambda used, target, k: torch.sign(target - used.mean())),
        "step_proportional": _null(move=lambda used, target, k: used.mean() - target),
        "null_ones_compared": _null(move=lambda used, target, k: torch.sign((k - used).mean() - target)),
        "step_alone": null_step,
        "not_normalised": _null(weigh=lambda p, w, s, real: w),
        "equal_weights": _null(weigh=lambda p, w, s, real: torch.ones_like(w) / w.shape[1]),
        "null_ones_counted": _null(said=lambda used, k: torch.full_like(used, k)),
        "largest_not_mean": _null(move=lambda used, target, k: torch.sign(used.max() - target)),
        "null_ones_first": null_first_columns,
    },
}
