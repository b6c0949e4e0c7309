"""Answers to the second half of lesson 02: sorting, the shared expert, the router's gradient."""

import torch
import torch.nn.functional as F


def expert(rows, gate_up, down):
    g, u = (rows @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(g) * u) @ down.T


# 02.moe_sorted


def sorted_split(hidden, ids, weights, gate_up, down):
    flat = ids.reshape(-1)
    order = torch.argsort(flat, stable=True)
    tokens = order // ids.shape[1]
    counts = torch.bincount(flat, minlength=gate_up.shape[0])
    groups = torch.split(hidden[tokens], counts.tolist())
    rows = torch.cat([expert(group, gate_up[e], down[e]) for e, group in enumerate(groups)])
    rows = rows * weights.reshape(-1)[order].unsqueeze(1)
    return torch.zeros_like(hidden).index_add_(0, tokens, rows), tokens, counts


def sorted_inverse(hidden, ids, weights, gate_up, down):
    T, K = ids.shape
    slots = hidden.repeat_interleave(K, dim=0)
    order = ids.flatten().sort(stable=True).indices
    counts = F.one_hot(ids.flatten(), gate_up.shape[0]).sum(0)
    ends = counts.cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    rows = torch.empty_like(slots)
    for e, (a, b) in enumerate(zip(starts, ends, strict=True)):
        rows[a:b] = expert(slots[order[a:b]], gate_up[e], down[e])
    back = rows[order.argsort()].view(T, K, hidden.shape[1])
    tokens = torch.arange(T).repeat_interleave(K)[order]
    return (back * weights[..., None]).sum(1), tokens, counts


def sorted_from_the_back(hidden, ids, weights, gate_up, down):
    """Another order within each expert, which is as right."""
    tokens, rows, counts = [], [], []
    for e in range(gate_up.shape[0]):
        t, k = (ids.flip(0) == e).nonzero(as_tuple=True)
        t = ids.shape[0] - 1 - t
        tokens.append(t)
        counts.append(len(t))
        rows.append(expert(hidden[t], gate_up[e], down[e]) * weights[t, k, None])
    tokens = torch.cat(tokens)
    out = torch.zeros_like(hidden).scatter_add(
        0, tokens[:, None].expand(-1, hidden.shape[1]), torch.cat(rows)
    )
    return out, tokens, torch.tensor(counts)


def sorted_wrong(*, tokens_of=lambda order, ids: order // ids.shape[1], used_only=False, put=None):
    """Sort and split with one thing done differently; ``put`` makes the output of rows in sorted order."""

    def answer(hidden, ids, weights, gate_up, down):
        order = ids.flatten().argsort(stable=True)
        tokens = tokens_of(order, ids)
        counts = torch.bincount(ids.flatten(), minlength=gate_up.shape[0])
        sizes = [c for c in counts.tolist() if c] if used_only else counts.tolist()
        groups = hidden[tokens].split(sizes) if sizes else ()
        rows = [expert(group, gate_up[e], down[e]) for e, group in enumerate(groups)]
        rows = torch.cat([*rows, hidden[:0]])
        out = (put or put_added)(rows, weights, order, tokens, torch.zeros_like(hidden))
        return out, tokens, counts

    return answer


def put_added(rows, weights, order, tokens, out):
    return out.index_add_(0, tokens, rows * weights.flatten()[order][:, None])


def put_weights_unsorted(rows, weights, order, tokens, out):
    return out.index_add_(0, tokens, rows * weights.reshape(-1, 1))


def put_overwritten(rows, weights, order, tokens, out):
    out[tokens] = rows * weights.flatten()[order][:, None]
    return out


def put_not_back(rows, weights, order, tokens, out):
    return torch.einsum("tkd,tk->td", rows.reshape(*weights.shape, out.shape[1]), weights)


def put_order_as_inverse(rows, weights, order, tokens, out):
    return put_not_back(rows[order], weights, order, tokens, out)


def put_unweighted(rows, weights, order, tokens, out):
    return out.index_add_(0, tokens, rows)


def sorted_slots(hidden, ids, weights, gate_up, down):
    out, _, counts = sorted_split(hidden, ids, weights, gate_up, down)
    return out, torch.sort(ids.flatten(), stable=True).indices, counts


SORTED_WRONG = {
    "weights_unsorted": sorted_wrong(put=put_weights_unsorted),
    "overwritten": sorted_wrong(put=put_overwritten),
    "not_put_back": sorted_wrong(put=put_not_back),
    "order_as_inverse": sorted_wrong(put=put_order_as_inverse),
    "slots_not_tokens": sorted_slots,
    "modulo": sorted_wrong(tokens_of=lambda order, ids: order % max(ids.shape[0], 1)),
    "no_weights": sorted_wrong(put=put_unweighted),
    "empty_skipped": sorted_wrong(used_only=True),
}

# 02.shared_expert


def shared_loop(hidden, results, weights, scale, gate_up, down):
    out = expert(hidden, gate_up, down)
    for k in range(weights.shape[1]):
        out = out + scale * weights[:, k, None] * results[:, k]
    return out


def shared_as_one_more(hidden, results, weights, scale, gate_up, down):
    """The shared answer as one more choice, whose weight is 1."""
    every = torch.cat([results, expert(hidden, gate_up, down)[:, None]], dim=1)
    counts = torch.cat([scale * weights, torch.ones(len(weights), 1)], dim=1)
    return torch.einsum("tkd,tk->td", every, counts)


def shared_wrong(join):
    def answer(hidden, results, weights, scale, gate_up, down):
        routed = torch.einsum("tkd,tk->td", results, weights)
        return join(hidden, routed, lambda x: expert(x, gate_up, down), weights, scale)

    return answer


def shared_unweighted(hidden, results, weights, scale, gate_up, down):
    return expert(hidden, gate_up, down) + scale * torch.sum(results, 1)


def shared_up_first(hidden, results, weights, scale, gate_up, down):
    u, g = torch.tensor_split(hidden @ gate_up.T, 2, dim=-1)
    routed = torch.einsum("tk,tkd->td", weights, results)
    return scale * routed + (F.silu(g) * u) @ down.T


SHARED_WRONG = {
    "scaled": shared_wrong(lambda x, routed, shared, w, s: s * routed + s * shared(x)),
    "once_per_choice": shared_wrong(
        lambda x, routed, shared, w, s: s * routed + sum(shared(x) for _ in range(w.shape[1]))
    ),
    "averaged": shared_wrong(lambda x, routed, shared, w, s: 0.5 * (s * routed) + 0.5 * shared(x)),
    "gated": shared_wrong(lambda x, routed, shared, w, s: s * routed + shared(x) * w[:, 0, None]),
    "remainder": shared_wrong(
        lambda x, routed, shared, w, s: s * routed + shared(x) * (1 - w.sum(1))[:, None]
    ),
    "in_series": shared_wrong(lambda x, routed, shared, w, s: s * routed + shared(s * routed)),
    "residual": shared_wrong(lambda x, routed, shared, w, s: s * routed + shared(x) + x),
    "no_weights": shared_unweighted,
    "up_first": shared_up_first,
    "unscaled": shared_wrong(lambda x, routed, shared, w, s: routed + shared(x)),
}

# 02.router_gradient


def gradient_autograd(hidden, logits, ids, results, upstream, renormalize):
    z = logits.clone().requires_grad_()
    weights = z.gather(1, ids).softmax(-1) if renormalize else z.softmax(-1).gather(1, ids)
    output = (weights[..., None] * results).sum(1)
    (grad,) = torch.autograd.grad(output, z, upstream)
    return grad.T @ hidden


def gradient_jacobian(hidden, logits, ids, results, upstream, renormalize):
    """One token at a time, with the softmax's whole Jacobian."""
    total = torch.zeros(logits.shape[1], hidden.shape[1])
    for t in range(len(hidden)):
        among = ids[t] if renormalize else torch.arange(logits.shape[1])
        w = logits[t, among].softmax(0)
        jacobian = torch.diag(w) - torch.outer(w, w)
        to_weights = torch.zeros(len(among))
        for k, e in enumerate(ids[t]):
            to_weights[among == e] = upstream[t] @ results[t, k]
        total.index_add_(0, among, torch.outer(jacobian @ to_weights, hidden[t]))
    return total


def gradient_by_case(hidden, logits, ids, results, upstream, renormalize):
    s = (upstream[:, None] * results).sum(-1)
    grad = torch.zeros_like(logits)
    if renormalize:
        w = logits.gather(1, ids).softmax(1)
        grad.scatter_(1, ids, w * (s - (w * s).sum(1, keepdim=True)))
    else:
        p = logits.softmax(1)
        mean = (p.gather(1, ids) * s).sum(1, keepdim=True)
        grad = (-p * mean).scatter_add(1, ids, p.gather(1, ids) * s)
    return torch.einsum("te,td->ed", grad, hidden)


def parts(logits, ids, results, upstream, renormalize):
    """Weights and inner products per choice."""
    w = logits.gather(1, ids).softmax(1) if renormalize else logits.softmax(1).gather(1, ids)
    return w, torch.einsum("tkd,td->tk", results, upstream)


def placed(logits, ids, values):
    return torch.zeros_like(logits).scatter_(1, ids, values)


def gradient_always(flag):
    return lambda x, logits, ids, r, up, renormalize: gradient_autograd(x, logits, ids, r, up, flag)


def gradient_chosen_only(hidden, logits, ids, results, upstream, renormalize):
    w, s = parts(logits, ids, results, upstream, renormalize)
    return placed(logits, ids, w * (s - (w * s).sum(1, keepdim=True))).T @ hidden


def gradient_diagonal(hidden, logits, ids, results, upstream, renormalize):
    w, s = parts(logits, ids, results, upstream, renormalize)
    return placed(logits, ids, w * (1 - w) * s).T @ hidden


def gradient_first_term(hidden, logits, ids, results, upstream, renormalize):
    w, s = parts(logits, ids, results, upstream, renormalize)
    return torch.einsum("te,td->ed", placed(logits, ids, w * s), hidden)


def gradient_constant_sum(hidden, logits, ids, results, upstream, renormalize):
    z = logits.clone().requires_grad_()
    weights = z.softmax(-1).gather(1, ids)
    if renormalize:
        weights = weights / weights.sum(1, keepdim=True).detach()
    (grad,) = torch.autograd.grad((weights[..., None] * results).sum(1), z, upstream)
    return grad.T @ hidden


def gradient_no_softmax(hidden, logits, ids, results, upstream, renormalize):
    _, s = parts(logits, ids, results, upstream, renormalize)
    return placed(logits, ids, s).T @ hidden


def gradient_no_upstream(hidden, logits, ids, results, upstream, renormalize):
    return gradient_autograd(hidden, logits, ids, results, torch.ones_like(upstream), renormalize)


def gradient_by_choice(hidden, logits, ids, results, upstream, renormalize):
    w, s = parts(logits, ids, results, upstream, renormalize)
    grad = torch.zeros_like(logits)
    grad[:, : ids.shape[1]] = w * (s - (w * s).sum(1, keepdim=True))
    return grad.T @ hidden


def gradient_mean(hidden, logits, ids, results, upstream, renormalize):
    return gradient_autograd(hidden, logits, ids, results, upstream / len(hidden), renormalize)


SORTED_RIGHT = [sorted_split, sorted_inverse, sorted_from_the_back]
SHARED_RIGHT = [shared_loop, shared_as_one_more]
GRADIENT_RIGHT = [gradient_autograd, gradient_jacobian, gradient_by_case]
GRADIENT_WRONG = {
    "always_renormalized": gradient_always(True),
    "never_renormalized": gradient_always(False),
    "chosen_only": gradient_chosen_only,
    "diagonal": gradient_diagonal,
    "first_term_only": gradient_first_term,
    "constant_sum": gradient_constant_sum,
    "no_softmax": gradient_no_softmax,
    "no_upstream": gradient_no_upstream,
    "by_choice": gradient_by_choice,
    "mean": gradient_mean,
}
