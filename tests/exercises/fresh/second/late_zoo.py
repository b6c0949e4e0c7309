"""Unseen wrong answers to lesson 06, written from the lesson's text alone."""

import torch
import torch.nn.functional as F

# 06.bias_step


def bias_weighs(logits_TE, expert_bias_E, top_k, rate):
    s = logits_TE.sigmoid() + expert_bias_E
    w, ids = s.topk(top_k, dim=-1)
    w = w / w.sum(-1, keepdim=True)
    load = torch.bincount(ids.flatten(), minlength=s.shape[1]).float()
    return ids, w, expert_bias_E + rate * (load.mean() - load).sign()


def bias_by_error(logits_TE, expert_bias_E, top_k, rate):
    scores = torch.sigmoid(logits_TE)
    ids = torch.topk(scores + expert_bias_E, top_k).indices
    w = scores.gather(1, ids)
    count = F.one_hot(ids, scores.size(1)).sum((0, 1)).float()
    error = count.mean() - count
    return ids, w / w.sum(1, keepdim=True), expert_bias_E + rate * error


def bias_never_rests(logits_TE, expert_bias_E, top_k, rate):
    n = logits_TE.shape[-1]
    s = logits_TE.sigmoid()
    _, ids = (s + expert_bias_E).topk(top_k)
    chosen = s.gather(-1, ids)
    c = torch.bincount(ids.reshape(-1), minlength=n)
    avg = ids.numel() / n
    step = torch.where(c < avg, rate, -rate)
    return ids, chosen / chosen.sum(-1, keepdim=True), expert_bias_E + step


def bias_one_each(logits_TE, expert_bias_E, top_k, rate):
    T, E = logits_TE.shape
    s = logits_TE.sigmoid()
    ids = (s + expert_bias_E).topk(top_k, dim=1)[1]
    w = torch.take_along_dim(s, ids, dim=1)
    load = torch.bincount(ids.flatten(), minlength=E)
    return ids, w / w.sum(dim=1, keepdim=True), expert_bias_E + rate * torch.sign(T / E - load)


def bias_as_they_are(logits_TE, expert_bias_E, top_k, rate):
    s = logits_TE.sigmoid()
    ids = (s + expert_bias_E[None]).topk(top_k, dim=-1).indices
    load = torch.zeros_like(expert_bias_E)
    for e in range(len(load)):
        load[e] = (ids == e).sum()
    return ids, s.gather(1, ids), expert_bias_E + rate * torch.sign(load.mean() - load)


def bias_softmaxed(logits_TE, expert_bias_E, top_k, rate):
    ids = (logits_TE.sigmoid() + expert_bias_E).topk(top_k, dim=-1).indices
    w = logits_TE.gather(1, ids).softmax(dim=-1)
    load_E = torch.bincount(ids.flatten(), minlength=logits_TE.shape[1]).float()
    return ids, w, expert_bias_E + rate * torch.sign(load_E.mean() - load_E)


# 06.noisy_topk


def noisy_always(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    noisy = logits_TE + noise_TE * F.softplus(noise_logits_TE)
    v, i = noisy.topk(top_k, dim=-1)
    return i, v.softmax(-1)


def noisy_choice_only(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE
    if training:
        h = h + noise_TE * F.softplus(noise_logits_TE)
    i = h.topk(top_k, dim=1).indices
    return i, logits_TE.gather(1, i).softmax(1)


def noisy_raw_width(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    h = logits_TE + noise_logits_TE * noise_TE if training else logits_TE
    v, i = h.topk(top_k, dim=-1)
    return i, torch.softmax(v, dim=-1)


def noisy_over_all(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    if training:
        logits_TE = logits_TE + noise_TE * F.softplus(noise_logits_TE)
    p, i = logits_TE.softmax(-1).topk(top_k, -1)
    return i, p


def noisy_draws_own(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    if training:
        eps = torch.randn_like(logits_TE)
        logits_TE = logits_TE + eps * F.softplus(noise_logits_TE)
    v, i = torch.topk(logits_TE, top_k)
    return i, F.softmax(v, dim=-1)


def noisy_inside(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    extra = F.softplus(noise_logits_TE * noise_TE) if training else 0.0
    v, i = (logits_TE + extra).topk(top_k, dim=-1)
    return i, v.softmax(dim=-1)


# 06.expert_choice


def choice_by_tokens(logits_TE, experts_per_token):
    p = logits_TE.softmax(dim=-1)
    v, i = p.topk(experts_per_token, dim=1)
    return torch.zeros_like(p).scatter(1, i, v)


def choice_softmax_tokens(logits_TE, experts_per_token):
    T, E = logits_TE.shape
    p = logits_TE.softmax(dim=0)
    v, i = p.topk(T * experts_per_token // E, dim=0)
    return torch.zeros_like(p).scatter(0, i, v)


def choice_without_c(logits_TE, experts_per_token):
    T, E = logits_TE.shape
    p = F.softmax(logits_TE, dim=1)
    rows = p.topk(T // E, dim=0).indices
    mask = torch.zeros_like(p)
    mask.scatter_(0, rows, 1.0)
    return p * mask


def choice_only_ones(logits_TE, experts_per_token):
    T, E = logits_TE.shape
    p = logits_TE.softmax(-1)
    n = int(T * experts_per_token / E)
    return torch.zeros_like(p).scatter(0, p.topk(n, 0).indices, 1.0)


def choice_rescaled(logits_TE, experts_per_token):
    T, E = logits_TE.shape
    p = logits_TE.softmax(-1)
    n = T * experts_per_token // E
    w = p * torch.zeros_like(p).scatter(0, p.topk(n, dim=0).indices, 1.0)
    return w / w.sum(dim=-1, keepdim=True).clamp_min(1e-9)


def choice_ranks_logits(logits_TE, experts_per_token):
    T, E = logits_TE.shape
    n = T * experts_per_token // E
    taken = torch.zeros(T, E)
    for e in range(E):
        taken[logits_TE[:, e].topk(n).indices, e] = 1
    return logits_TE.softmax(-1) * taken


# 06.leaks_future


def leaks_one_try(route, logits_TE):
    t = len(logits_TE) // 2
    other = logits_TE.clone()
    other[t:] = torch.randn_like(other[t:])
    return bool((route(other)[:t] - route(logits_TE)[:t]).abs().max() > 1e-4)


def leaks_who_only(route, logits_TE):
    before = route(logits_TE) > 0
    for t in range(1, len(logits_TE)):
        for scale in (0.1, 1, 10, 100):
            for _ in range(10):
                x = logits_TE.clone()
                x[t:] = scale * torch.randn_like(x[t:])
                if (before[:t] != (route(x) > 0)[:t]).any():
                    return True
    return False


def leaks_shuffled(route, logits_TE):
    want = route(logits_TE)
    for _ in range(20):
        for t in range(1, len(logits_TE) - 1):
            tail = logits_TE[t:][torch.randperm(len(logits_TE) - t)]
            got = route(torch.cat([logits_TE[:t], tail]))
            if (got[:t] - want[:t]).abs().max() > 1e-4:
                return True
    return False


def leaks_nudged(route, logits_TE):
    w = route(logits_TE)
    for _ in range(50):
        x = logits_TE.clone()
        x[-1] += 0.01 * torch.randn(x.shape[1])
        if (route(x)[:-1] - w[:-1]).abs().max() > 1e-4:
            return True
    return False


def leaks_exact(route, logits_TE):
    w = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (1.0, 5.0, 50.0):
            for _ in range(8):
                x = logits_TE.clone()
                x[t:] = scale * torch.randn_like(x[t:])
                if not torch.equal(route(x)[:t], w[:t]):
                    return True
    return False


def leaks_itself(route, logits_TE):
    w = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for scale in (1.0, 10.0):
            x = logits_TE.clone()
            x[t:] = scale * torch.randn_like(x[t:])
            if (route(x)[: t + 1] - w[: t + 1]).abs().max() > 1e-4:
                return True
    return False
