"""Unseen wrong answers to lesson 10's training and measuring, written from the lesson's text alone."""

import torch
import torch.nn.functional as F

# 10.training_loss


def _ce(logits_BLV, tokens_BL):
    return F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten())


def _balance(logits_TE, k):
    E = logits_TE.shape[1]
    ids = logits_TE.topk(k).indices
    f = torch.bincount(ids.flatten(), minlength=E) / ids.numel()
    return E * (f * logits_TE.softmax(-1).mean(0)).sum()


def loss_rolled(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    targets = torch.roll(tokens_BL, -1, dims=1)
    loss = F.cross_entropy(logits_BLV.flatten(0, 1), targets.flatten())
    for z in router_logits_NTE:
        loss = loss + alpha * _balance(z, top_k) + beta * z.logsumexp(-1).square().mean()
    return loss


def loss_layer_mean(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    bal = torch.stack([_balance(z, top_k) for z in router_logits_NTE]).mean()
    zl = torch.logsumexp(router_logits_NTE, dim=-1).pow(2).mean()
    return _ce(logits_BLV, tokens_BL) + alpha * bal + beta * zl


def loss_square_late(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    loss = _ce(logits_BLV, tokens_BL)
    for z in router_logits_NTE:
        loss = loss + alpha * _balance(z, top_k)
        loss = loss + beta * z.logsumexp(dim=-1).mean() ** 2
    return loss


def loss_first_choice(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    loss = _ce(logits_BLV, tokens_BL)
    for z in router_logits_NTE:
        p = z.softmax(dim=-1)
        f = F.one_hot(p.argmax(-1), p.shape[1]).float().mean(0)
        loss = loss + alpha * p.shape[1] * (f * p.mean(0)).sum() + beta * (z.logsumexp(-1) ** 2).mean()
    return loss


def loss_share_of_tokens(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    loss = _ce(logits_BLV, tokens_BL)
    E = router_logits_NTE.shape[-1]
    for z in router_logits_NTE:
        f = F.one_hot(z.topk(top_k).indices, E).sum(1).float().mean(0)
        loss = loss + alpha * E * (f * z.softmax(-1).mean(0)).sum() + beta * z.logsumexp(-1).pow(2).mean()
    return loss


def loss_pooled(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    every = router_logits_NTE.flatten(0, 1)
    n = len(router_logits_NTE)
    z_loss = torch.logsumexp(every, dim=1).square().mean() * n
    return _ce(logits_BLV, tokens_BL) + alpha * n * _balance(every, top_k) + beta * z_loss


# 10.training_step


def _step_loss(weight, x_MND, y_MN):
    logits = x_MND @ weight.T
    return F.cross_entropy(logits.flatten(0, 1), y_MN.flatten(), ignore_index=-100)


def steps_mean_of_means(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.clone().requires_grad_()
    M = inputs_SMND.shape[1]
    for s in range(len(inputs_SMND)):
        for m in range(M):
            (F.cross_entropy(inputs_SMND[s, m] @ w.T, targets_SMN[s, m], ignore_index=-100) / M).backward()
        torch.nn.utils.clip_grad_norm_([w], max_norm)
        with torch.no_grad():
            w -= peak * min(1, (s + 1) / warmup_steps) * w.grad
        w.grad = None
    return w.detach()


def steps_never_cleared(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.clone().requires_grad_()
    for s in range(len(inputs_SMND)):
        n = (targets_SMN[s] != -100).sum()
        for x, y in zip(inputs_SMND[s], targets_SMN[s], strict=True):
            (F.cross_entropy(x @ w.T, y, ignore_index=-100, reduction="sum") / n).backward()
        torch.nn.utils.clip_grad_norm_([w], max_norm)
        with torch.no_grad():
            w -= peak * min(1, (s + 1) / warmup_steps) * w.grad
    return w.detach()


def steps_from_nothing(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.clone()
    for s, (x, y) in enumerate(zip(inputs_SMND, targets_SMN, strict=True)):
        v = w.clone().requires_grad_()
        (g,) = torch.autograd.grad(_step_loss(v, x, y), v)
        g = g * min(1.0, max_norm / (g.norm().item() + 1e-12))
        w = w - peak * min(1.0, s / warmup_steps) * g
    return w


def steps_always_scaled(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.clone()
    for s, (x, y) in enumerate(zip(inputs_SMND, targets_SMN, strict=True)):
        v = w.clone().requires_grad_()
        (g,) = torch.autograd.grad(_step_loss(v, x, y), v)
        g = max_norm * g / g.norm()
        rate = peak * (s + 1) / warmup_steps if s < warmup_steps else peak
        w = w - rate * g
    return w


def steps_clipped_by_value(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = torch.nn.Parameter(weight_VD.clone())
    for s in range(inputs_SMND.shape[0]):
        _step_loss(w, inputs_SMND[s], targets_SMN[s]).backward()
        torch.nn.utils.clip_grad_value_([w], max_norm)
        w.data -= peak * min(1.0, (s + 1) / warmup_steps) * w.grad
        w.grad.zero_()
    return w.data


def steps_keep_rising(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.detach().clone().requires_grad_(True)
    for s in range(inputs_SMND.shape[0]):
        rate = peak * (s + 1) / warmup_steps
        _step_loss(w, inputs_SMND[s], targets_SMN[s]).backward()
        torch.nn.utils.clip_grad_norm_(w, max_norm)
        with torch.no_grad():
            w.sub_(rate * w.grad)
            w.grad = None
    return w.detach()


# 10.expert_information


def _counts(a, b):
    table = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        table[x, y] += 1
    return table / len(a)


def _information(a, b, log=torch.log2):
    p = _counts(a, b)
    q = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    seen = p > 0
    return float((p[seen] * log(p[seen] / q[seen])).sum())


def information_nats(experts_N, labels_N, shuffles_RN):
    chance = [_information(experts_N, labels_N[r], torch.log) for r in shuffles_RN]
    return _information(experts_N, labels_N, torch.log), sum(chance) / len(chance)


def information_nan(experts_N, labels_N, shuffles_RN):
    def bits(a, b):
        p = _counts(a, b)
        return (p * (p / (p.sum(1)[:, None] * p.sum(0))).log2()).sum().item()

    chance = sum(bits(experts_N, labels_N[r]) for r in shuffles_RN) / len(shuffles_RN)
    return bits(experts_N, labels_N), chance


def information_one_shuffle(experts_N, labels_N, shuffles_RN):
    return _information(experts_N, labels_N), _information(experts_N, labels_N[shuffles_RN[0]])


def information_shuffled_back(experts_N, labels_N, shuffles_RN):
    total = 0.0
    for order in shuffles_RN:
        shuffled = torch.empty_like(labels_N)
        shuffled[order] = labels_N
        total += _information(experts_N, shuffled)
    return _information(experts_N, labels_N), total / len(shuffles_RN)


def information_less_chance(experts_N, labels_N, shuffles_RN):
    chance = sum(_information(experts_N, labels_N[o]) for o in shuffles_RN) / len(shuffles_RN)
    return _information(experts_N, labels_N) - chance, chance


def information_share(experts_N, labels_N, shuffles_RN):
    p = torch.bincount(labels_N).double() / len(labels_N)
    h = -(p[p > 0] * p[p > 0].log2()).sum().item()
    chance = sum(_information(experts_N, labels_N[o]) for o in shuffles_RN) / len(shuffles_RN)
    return _information(experts_N, labels_N) / h, chance / h
