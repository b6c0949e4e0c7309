"""Answers to lesson 02 as learners write them: wrong ones by misconception, and right ones."""

import torch
import torch.nn.functional as F

# 02.swiglu


def swiglu_stacked(x, gate, up, down):
    both = x @ torch.cat([gate, up]).T
    f = gate.shape[0]
    return (both[:, :f] * both[:, :f].sigmoid() * both[:, f:]) @ down.T


def swiglu_by_token(x, gate, up, down):
    rows = []
    for token in x:
        g = torch.mv(gate, token)
        rows.append(torch.mv(down, g / (1 + torch.exp(-g)) * torch.mv(up, token)))
    return torch.stack(rows)


def swiglu_einsum(x, gate, up, down):
    g, u = torch.einsum("nd,fd->nf", x, gate), torch.einsum("nd,fd->nf", x, up)
    return torch.einsum("nf,df->nd", F.silu(g) * u, down)


def swiglu_wrong(mix):
    return lambda x, gate, up, down: F.linear(mix(F.linear(x, gate), F.linear(x, up)), down)


SWIGLU_WRONG = {
    "swapped": swiglu_wrong(lambda g, u: g * F.silu(u)),
    "no_silu": swiglu_wrong(lambda g, u: g * u),
    "sigmoid": swiglu_wrong(lambda g, u: g.sigmoid() * u),
    "relu": swiglu_wrong(lambda g, u: g.clamp(min=0) * u),
    "gelu": swiglu_wrong(lambda g, u: F.gelu(g) * u),
    "sum": swiglu_wrong(lambda g, u: F.silu(g) + u),
    "late_silu": swiglu_wrong(lambda g, u: F.silu(g * u)),
    "two_matrices": swiglu_wrong(lambda g, u: F.silu(g)),
}

# 02.expert_bank


def both_halves(hidden, gate_up, down, input_first):
    """Gate, up and down as lists over experts, each [out, in]."""
    if input_first:
        gate_up, down = gate_up.transpose(1, 2), down.transpose(1, 2)
    f = down.shape[2]
    return gate_up[:, :f], gate_up[:, f:], down


def bank_loop(hidden, gate_up, down, input_first):
    answers = []
    for g, u, d in zip(*both_halves(hidden, gate_up, down, input_first), strict=True):
        answers.append(F.linear(F.silu(F.linear(hidden, g)) * F.linear(hidden, u), d))
    return torch.stack(answers)


def bank_einsum(hidden, gate_up, down, input_first):
    first, second = ("edg", "efd") if input_first else ("egd", "edf")
    both = torch.einsum(f"td,{first}->etg", hidden, gate_up)
    g, u = both.tensor_split(2, dim=-1)
    return torch.einsum(f"etf,{second}->etd", F.silu(g) * u, down)


def bank_bmm(hidden, gate_up, down, input_first):
    if not input_first:
        gate_up, down = gate_up.mT, down.mT
    tokens = hidden.unsqueeze(0).repeat(gate_up.shape[0], 1, 1)
    g, u = torch.bmm(tokens, gate_up).split(down.shape[1], dim=2)
    return torch.bmm(F.silu(g) * u, down)


def bank_up_first(hidden, gate_up, down, input_first):
    g, u, d = both_halves(hidden, gate_up, down, input_first)
    return (F.silu(hidden @ u.mT) * (hidden @ g.mT)) @ d.mT


def bank_interleaved(hidden, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    g, u = gate_up[:, 0::2], gate_up[:, 1::2]
    return (F.silu(hidden @ g.mT) * (hidden @ u.mT)) @ down.mT


def bank_reshaped_input_first(hidden, gate_up, down, input_first):
    if input_first:
        E, D, twice_f = gate_up.shape
        gate_up, down = gate_up.reshape(E, twice_f, D), down.reshape(E, D, twice_f // 2)
    return bank_loop(hidden, gate_up, down, False)


def bank_reshaped_output_first(hidden, gate_up, down, input_first):
    if not input_first:
        E, twice_f, D = gate_up.shape
        gate_up, down = gate_up.reshape(E, D, twice_f), down.reshape(E, twice_f // 2, D)
    return bank_loop(hidden, gate_up, down, True)


def bank_viewed(hidden, gate_up, down, input_first):
    per_token = [bank_loop(row[None], gate_up, down, input_first)[:, 0] for row in hidden]
    return torch.stack(per_token).view(gate_up.shape[0], *hidden.shape)


def bank_first_expert(hidden, gate_up, down, input_first):
    answers = []
    for _ in range(gate_up.shape[0]):
        answers.append(bank_loop(hidden, gate_up[:1], down[:1], input_first)[0])
    return torch.stack(answers)


def bank_no_silu(hidden, gate_up, down, input_first):
    g, u, d = both_halves(hidden, gate_up, down, input_first)
    return (hidden @ g.mT * (hidden @ u.mT)) @ d.mT


# 02.moe_loop


def expert(rows, gate_up, down):
    g, u = (rows @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(g) * u) @ down.T


def loop_by_expert(hidden, ids, weights, gate_up, down):
    out = torch.zeros_like(hidden)
    for e in range(gate_up.shape[0]):
        tokens, choices = (ids == e).nonzero(as_tuple=True)
        answers = expert(hidden[tokens], gate_up[e], down[e])
        out = out.index_add(0, tokens, answers * weights[tokens, choices, None])
    return out


def loop_gather(hidden, ids, weights, gate_up, down):
    g, u = torch.einsum("td,tkgd->tkg", hidden, gate_up[ids]).chunk(2, dim=-1)
    return torch.einsum("tkf,tkdf,tk->td", F.silu(g) * u, down[ids], weights)


def loop_in_place(hidden, ids, weights, gate_up, down):
    out = torch.zeros_like(hidden)
    for t in range(ids.shape[0]):
        for k in range(ids.shape[1]):
            e = ids[t, k].item()
            out[t] += weights[t, k] * expert(hidden[t], gate_up[e], down[e])
    return out


def loop_wrong(step):
    """A loop over tokens and choices; ``step`` gives the row's new value."""

    def answer(hidden, ids, weights, gate_up, down):
        out = torch.zeros_like(hidden)
        for t in range(ids.shape[0]):
            row = torch.zeros_like(hidden[t])
            for k in range(ids.shape[1]):
                row = step(row, hidden[t], ids[t], weights[t], k, gate_up, down)
            out[t] = row
        return out

    return answer


def answer_of(x, e, gate_up, down):
    return expert(x, gate_up[int(e)], down[int(e)])


def loop_up_first(hidden, ids, weights, gate_up, down):
    return loop_by_expert(hidden, ids, weights, gate_up.roll(down.shape[2], dims=1), down)


LOOP_WRONG = {
    "no_weights": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(x, ids[k], g, d)),
    "average": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(x, ids[k], g, d) / len(w)),
    "renormalized": loop_wrong(
        lambda row, x, ids, w, k, g, d: row + w[k] / w.sum() * answer_of(x, ids[k], g, d)
    ),
    "overwritten": loop_wrong(lambda row, x, ids, w, k, g, d: w[k] * answer_of(x, ids[k], g, d)),
    "choice_as_expert": loop_wrong(lambda row, x, ids, w, k, g, d: row + w[k] * answer_of(x, k, g, d)),
    "detached": loop_wrong(lambda row, x, ids, w, k, g, d: row + w[k].item() * answer_of(x, ids[k], g, d)),
    "weighted_input": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(w[k] * x, ids[k], g, d)),
    "up_first": loop_up_first,
}

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


SORTED_WRONG = {
    "weights_unsorted": sorted_wrong(put=put_weights_unsorted),
    "overwritten": sorted_wrong(put=put_overwritten),
    "not_put_back": sorted_wrong(put=put_not_back),
    "order_as_inverse": sorted_wrong(put=put_order_as_inverse),
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


RIGHT = {
    "02.swiglu": [swiglu_stacked, swiglu_by_token, swiglu_einsum],
    "02.expert_bank": [bank_loop, bank_einsum, bank_bmm],
    "02.moe_loop": [loop_by_expert, loop_gather, loop_in_place],
    "02.moe_sorted": [sorted_split, sorted_inverse, sorted_from_the_back],
    "02.shared_expert": [shared_loop, shared_as_one_more],
    "02.router_gradient": [gradient_autograd, gradient_jacobian, gradient_by_case],
}
WRONG = {
    "02.swiglu": SWIGLU_WRONG,
    "02.expert_bank": {
        "up_first": bank_up_first,
        "interleaved": bank_interleaved,
        "reshaped_input_first": bank_reshaped_input_first,
        "reshaped_output_first": bank_reshaped_output_first,
        "viewed": bank_viewed,
        "first_expert": bank_first_expert,
        "no_silu": bank_no_silu,
    },
    "02.moe_loop": LOOP_WRONG,
    "02.moe_sorted": SORTED_WRONG,
    "02.shared_expert": SHARED_WRONG,
    "02.router_gradient": {
        "always_renormalized": gradient_always(True),
        "never_renormalized": gradient_always(False),
        "chosen_only": gradient_chosen_only,
        "diagonal": gradient_diagonal,
        "no_softmax": gradient_no_softmax,
        "no_upstream": gradient_no_upstream,
        "by_choice": gradient_by_choice,
        "mean": gradient_mean,
    },
}
