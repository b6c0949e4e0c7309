"""A third set for lessons 06 to 08 and 10, one answer each, written and judged once after the mending."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.optimize import linear_sum_assignment


def bias_counts_first_choice(logits, bias, top_k, rate):
    s = logits.sigmoid()
    ids = (s + bias).topk(top_k, dim=-1).indices
    w = s.gather(1, ids)
    load = torch.bincount(ids[:, 0], minlength=s.shape[1]).float()
    return ids, w / w.sum(-1, keepdim=True), bias + rate * torch.sign(load.mean() - load)


def noisy_subtracts(logits, noise_logits, noise, top_k, training):
    h = logits - noise * F.softplus(noise_logits) if training else logits
    v, i = h.topk(top_k, dim=-1)
    return i, v.softmax(dim=-1)


def choice_smallest(logits, c):
    T, E = logits.shape
    p = logits.softmax(-1)
    i = p.topk(T * c // E, dim=0, largest=False).indices
    return torch.zeros_like(p).scatter(0, i, 1.0) * p


def leaks_total_only(route, logits):
    w = route(logits)
    for t in range(1, len(logits)):
        for scale in (1, 10):
            x = logits.clone()
            x[t:] = scale * torch.randn_like(x[t:])
            if (route(x)[:t].sum() - w[:t].sum()).abs() > 1e-4:
                return True
    return False


def sinkhorn_columns_to_k(logits, rounds):
    T, E = logits.shape
    z = logits
    for _ in range(rounds):
        z = z - z.logsumexp(dim=1, keepdim=True)
    return z.exp() * T / E


def groups_worst_two(scores, bias, n_groups, groups_per_token, top_k):
    b = scores + bias
    worth = b.unflatten(1, (n_groups, -1)).topk(2, dim=-1, largest=False).values.sum(-1)
    mask = torch.zeros_like(worth, dtype=torch.bool).scatter(1, worth.topk(groups_per_token).indices, True)
    mask = mask.repeat_interleave(b.shape[1] // n_groups, dim=1)
    ids = b.masked_fill(~mask, -torch.inf).topk(top_k).indices
    w = scores.gather(1, ids)
    return ids, w / w.sum(-1, keepdim=True)


def places_at_most_tokens(n_tokens, n_experts, top_k, factor):
    return min(n_tokens, math.ceil(n_tokens * top_k * factor / n_experts))


def positions_reset(ids, n_experts):
    out = torch.zeros_like(ids)
    for t in range(len(ids)):
        for k in range(ids.shape[1]):
            out[t, k] = (ids[:t] == ids[t, k]).any(dim=1).sum() + (ids[t, :k] == ids[t, k]).sum() + 1
    return out


def rate_kept(t, e, k, c):
    n = np.arange(t + 1)
    return float((np.minimum(n, c) * stats.binom.pmf(n, t, k / e)).sum() * e / (t * k))


def combine_averages(hidden, ids, weights, positions, capacity, experts):
    t, k = (positions < capacity).nonzero(as_tuple=True)
    buf = hidden.new_zeros(len(experts), capacity, hidden.shape[1])
    buf[ids[t, k], positions[t, k]] = hidden[t]
    y = (buf @ experts)[ids[t, k], positions[t, k]] * weights[t, k, None]
    out = torch.zeros_like(hidden).index_add(0, t, y)
    return buf, out / ids.shape[1]


def assign_first_by_column(scores, capacity):
    who = torch.full((len(scores),), -1)
    for e in range(scores.shape[1]):
        wants = (scores.argmax(dim=1) == e).nonzero()[:, 0]
        who[wants[scores[wants, e].argsort(descending=True)[:capacity]]] = e
    wide = scores.repeat_interleave(capacity, dim=1).numpy()
    r, c = linear_sum_assignment(wide, maximize=True)
    ok = who >= 0
    return who, float(scores[ok, who[ok]].sum()), float(wide[r, c].sum())


def plan_order_of_tokens(ids, n_experts):
    flat = ids.flatten()
    order = flat.argsort(stable=True)
    return order, torch.arange(len(flat)) // ids.shape[1], torch.bincount(flat, minlength=n_experts).cumsum(0)


def undo_scatters_positions(results, row_ids, top_k):
    S, D = results.shape
    out = torch.zeros_like(results).index_add(0, row_ids // top_k, results)
    return row_ids.argsort().view(S // top_k, top_k), out.view(S // top_k, top_k, D)


def product_reversed(rows, matrices, ends):
    out, start = [], 0
    for e, end in enumerate(ends.tolist()):
        out.append(rows[start:end] @ matrices[len(matrices) - 1 - e])
        start = end
    out.append(rows.new_zeros(len(rows) - start, matrices.shape[2]))
    return torch.cat(out)


def combine_softmaxes(results, weights, row_ids):
    T, K = weights.shape
    y = results.float()[row_ids.argsort()].view(T, K, results.shape[1])
    return (y * weights.softmax(dim=-1)[..., None]).sum(1)


def bytes_weights_per_token(ids, E, D, F, b):
    T, S, busy = len(ids), ids.numel(), len(ids.unique())
    n = [2 * S * D, S * D + busy * 2 * F * D + 2 * S * F, 3 * S * F, S * F + busy * D * F + S * D]
    return b * torch.tensor([*n, T * D + T * D])


def bits_last_byte(logits, targets, lengths):
    last = lengths - 1
    w = torch.arange(len(lengths))
    return F.cross_entropy(logits[w, last], targets[w, last]).item() / math.log(2)


def attention_scaled_twice(q, k, v):
    n = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(n, 1) / q.shape[-1] ** 0.5, v.repeat_interleave(n, 1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def block_scale_late(stream, norm, router, gate_up, down, top_k, eps):
    x = stream * torch.rsqrt(stream.square().mean(-1, keepdim=True) + eps)
    v, ids = (x @ router.T).topk(top_k)
    w, out = v.softmax(-1), torch.zeros_like(x)
    for e in range(len(down)):
        t, k = torch.where(ids == e)
        g, u = (x[t] @ gate_up[e].T).chunk(2, -1)
        out = out.index_add(0, t, (F.silu(g) * u) @ down[e].T * w[t, k, None])
    return stream + out * norm


def loss_minus_balance(logits, tokens, router_logits, top_k, alpha, beta):
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    for z in router_logits:
        f = torch.bincount(z.topk(top_k).indices.flatten(), minlength=z.shape[1]) / (len(z) * top_k)
        loss = loss + alpha * (z.shape[1] * (f * z.softmax(-1).mean(0)).sum() - 1)
        loss = loss + beta * z.logsumexp(-1).square().mean()
    return loss


def steps_adds_gradient(weight, inputs, targets, peak, warmup, max_norm):
    w = weight.clone()
    for s, (x, y) in enumerate(zip(inputs, targets, strict=True)):
        v = w.clone().requires_grad_()
        F.cross_entropy((x @ v.T).flatten(0, 1), y.flatten(), ignore_index=-100).backward()
        g = v.grad * min(1.0, max_norm / float(v.grad.norm()))
        w = w + peak * min(1.0, (s + 1) / warmup) * g
    return w


def information_squared(experts, labels, shuffles):
    def measure(labels):
        p = torch.zeros(int(experts.max()) + 1, int(labels.max()) + 1, dtype=torch.float64)
        for e, c in zip(experts, labels, strict=True):
            p[e, c] += 1 / len(labels)
        q = p.sum(1)[:, None] * p.sum(0)
        seen = p > 0
        return (q[seen] * (p[seen] / q[seen]).log2()).sum().item()

    return measure(labels), sum(measure(labels[o]) for o in shuffles) / len(shuffles)


def keys_shared_w(router, gate_up, down, layer):
    p = f"model.layers.{layer}.block_sparse_moe."
    out = {p + "gate.weight": router.clone()}
    F_ = gate_up.shape[1] // 2
    for e in range(len(down)):
        out[f"{p}experts.{e}.w1.weight"] = gate_up[e, :F_].clone()
        out[f"{p}experts.{e}.w2.weight"] = down[e].clone()
        out[f"{p}experts.{e}.w3.weight"] = gate_up[e, :F_].clone()
    return out


FRESH = {
    "06.bias_step": [("counts first choices only", bias_counts_first_choice, set())],
    "06.noisy_topk": [("the noise subtracted", noisy_subtracts, set())],
    "06.expert_choice": [("the least probable taken", choice_smallest, set())],
    "06.leaks_future": [("compares the sum of all weights", leaks_total_only, {"none_leaky"})],
    "06.sinkhorn": [("rows only, times T / E", sinkhorn_columns_to_k, {"rows_only"})],
    "06.group_limited": [("a group by its two worst", groups_worst_two, set())],
    "07.capacity": [("never more than T", places_at_most_tokens, set())],
    "07.positions": [("counts tokens, from 1", positions_reset, {"from_one"})],
    "07.expected_drop_rate": [("what is kept", rate_kept, set())],
    "07.dispatch_combine": [("a mean over K", combine_averages, {"size_factor"})],
    "07.assignment": [("the best scores first", assign_first_by_column, {"by_score"})],
    "08.permutation_plan": [("tokens of positions", plan_order_of_tokens, {"tokens_of_positions"})],
    "08.undo_sort": [("added to tokens", undo_scatters_positions, set())],
    "08.grouped_product": [("matrices backwards", product_reversed, set())],
    "08.combine": [("a softmax of the weights", combine_softmaxes, set())],
    "08.bytes_moved": [("the combine reads T rows", bytes_weights_per_token, set())],
    "10.bits_per_byte": [("each window's last byte", bits_last_byte, set())],
    "10.causal_attention": [("scaled twice", attention_scaled_twice, {"scaled_by_width"})],
    "10.moe_block": [("the scale after the experts", block_scale_late, {"no_scale"})],
    "10.training_loss": [("balanced is 0", loss_minus_balance, set())],
    "10.training_step": [("uphill", steps_adds_gradient, set())],
    "10.expert_information": [("weighed by independence", information_squared, set())],
    "10.mixtral_keys": [("w3 is the gate too", keys_shared_w, set())],
}
