"""More wrong answers to lesson 02, several for one mistake; `moe_layer` lists which is which."""

import torch
import torch.nn.functional as F
from planted.moe_layer_sorted import expert, parts, placed

# 02.swiglu


def swiglu(mix, end=lambda y: y):
    return lambda x, gate, up, down: end(mix(x, x @ gate.T, x @ up.T, gate) @ down.T)


def swiglu_untransposed(x, gate, up, down):
    return (F.silu(x @ gate) * (x @ up)) @ down


def swiglu_no_grad(x, gate, up, down):
    with torch.no_grad():
        return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def swiglu_gate_detached(x, gate, up, down):
    z = x @ gate.T
    return (z * z.sigmoid().detach() * (x @ up.T)) @ down.T


SWIGLU = {
    "sigmoid_of_up": swiglu(lambda x, g, u, gate: g * u.sigmoid()),
    "early_silu": swiglu(lambda x, g, u, gate: F.linear(F.silu(x), gate) * u),
    "silu_last": swiglu(lambda x, g, u, gate: g * u, F.silu),
    "gate_twice": swiglu(lambda x, g, u, gate: F.silu(g) * g),
    "residual": lambda x, gate, up, down: swiglu(lambda x, g, u, gate: F.silu(g) * u)(x, gate, up, down) + x,
    "no_down": lambda x, gate, up, down: F.silu(F.linear(x, gate)) * F.linear(x, up),
    "tanh": swiglu(lambda x, g, u, gate: g.tanh() * u),
    "transpose_missing": swiglu_untransposed,
    "gradient_lost": swiglu_no_grad,
    "gradient_partly_lost": swiglu_gate_detached,
}

# 02.expert_bank


def one_bank(hidden, gate_up, down, axis=-1):
    g, u = torch.einsum("td,egd->etg", hidden, gate_up).chunk(2, dim=axis)
    return torch.einsum("etf,edf->etd", F.silu(g) * u, down)


def bank_by_first_shape(hidden, gate_up, down, input_first):
    if gate_up.shape[1] == hidden.shape[1]:
        gate_up, down = gate_up.mT, down.mT
    return one_bank(hidden, gate_up, down)


def bank_by_each_shape(hidden, gate_up, down, input_first):
    if gate_up.shape[-1] != hidden.shape[1]:
        gate_up = gate_up.mT
    if down.shape[1] != hidden.shape[1]:
        down = down.mT
    return one_bank(hidden, gate_up, down)


def bank_flag_ignored(hidden, gate_up, down, input_first):
    g, u = (hidden @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(g) * u) @ down.mT


def bank_tokens_first(hidden, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    return torch.stack([one_bank(row[None], gate_up, down)[:, 0] for row in hidden])


def bank_added(hidden, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    return sum(one_bank(hidden, g[None], d[None])[0] for g, d in zip(gate_up, down, strict=True))


def bank_cut_tokens(hidden, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    return one_bank(hidden, gate_up, down, axis=1)


BANK = {
    "layout_guessed": bank_by_each_shape,
    "layouts_mixed": bank_flag_ignored,
    "layouts_mixed:guessed": bank_by_first_shape,
    "token_first": bank_tokens_first,
    "summed": bank_added,
    "summed:averaged": lambda *args: bank_added(*args) / len(args[1]),
    "cut_along_another_axis": bank_cut_tokens,
}

# 02.moe_loop


def loop(begin=torch.zeros_like, scale=lambda w, k: w[k], of=expert, n_choices=None, stack=False):
    """A loop over tokens and choices with one thing done differently."""

    def answer(hidden, ids, weights, gate_up, down):
        rows = []
        for t in range(len(hidden)):
            row = begin(hidden[t])
            for k in range(n_choices or ids.shape[1]):
                e = int(ids[t, k])
                row = row + scale(weights[t], k) * of(hidden[t], gate_up[e], down[e])
            rows.append(row)
        return torch.stack(rows) if rows or stack else torch.zeros_like(hidden)

    return answer


def bilinear(x, gate_up, down):
    g, u = (gate_up @ x).chunk(2)
    return down @ (g * u)


def loop_into_input(hidden, ids, weights, gate_up, down):
    for t in range(len(hidden)):
        x = hidden[t].clone()
        hidden[t] = 0
        for k in range(ids.shape[1]):
            hidden[t] += weights[t, k] * expert(x, gate_up[ids[t, k]], down[ids[t, k]])
    return hidden


def loop_everyone(hidden, ids, weights, gate_up, down):
    out = torch.zeros_like(hidden)
    for g, d in zip(gate_up, down, strict=True):
        out = out + expert(hidden, g, d)
    return out


def loop_weight_by_expert(hidden, ids, weights, gate_up, down):
    out = torch.zeros_like(hidden)
    for t in range(len(hidden)):
        for e in ids[t].tolist():
            out[t] = out[t] + weights[t, e] * expert(hidden[t], gate_up[e], down[e])
    return out


LOOP = {
    "every_expert": loop_everyone,
    "softmaxed": loop(scale=lambda w, k: F.softmax(w, dim=0)[k]),
    "weight_by_expert": loop_weight_by_expert,
    "divided_by_k": loop(scale=lambda w, k: w[k] / len(w)),
    "weights_squared": loop(scale=lambda w, k: w[k] ** 2),
    "residual": loop(begin=lambda x: x),
    "no_silu": loop(of=bilinear),
    "fixed_k": loop(n_choices=2),
    "nothing_to_stack": loop(stack=True),
    "argument_overwritten": loop_into_input,
}

# 02.moe_sorted


def sort(ids, n_experts):
    order = ids.reshape(-1).sort(stable=True).indices
    return order, order // ids.shape[1], torch.bincount(ids.reshape(-1), minlength=n_experts)


def groups_of(rows, counts, gate_up, down):
    return torch.cat([expert(r, gate_up[e], down[e]) for e, r in enumerate(rows.split(counts.tolist()))])


def sorted_but(put=None, tokens=None, counts=None, returned=None, weigh=None, read=None):
    """Sort and split with one thing done differently."""

    def answer(hidden, ids, weights, gate_up, down):
        order, of, n = sort(ids, len(down))
        of = tokens(order, ids) if tokens else of
        rows = groups_of(hidden[read(order) if read else of], n, gate_up, down)
        rows = rows * (weigh(weights, of, order) if weigh else weights.reshape(-1)[order])[:, None]
        out = put(rows, ids, order) if put else torch.zeros_like(hidden).index_add(0, of, rows)
        return out, returned(ids, order) if returned else of, counts(ids) if counts else n

    return answer


def back(rows, ids):
    return rows.reshape(*ids.shape, rows.shape[1]).sum(1)


def sorted_dense(hidden, ids, weights, gate_up, down):
    _, of, n = sort(ids, len(down))
    out = torch.zeros_like(hidden)
    for e in range(len(down)):
        out = out + (weights * (ids == e)).sum(1, keepdim=True) * expert(hidden, gate_up[e], down[e])
    return out, of, n


def sorted_slot_by_slot(hidden, ids, weights, gate_up, down):
    order, of, n = sort(ids, len(down))
    out = torch.zeros_like(hidden)
    for slot, t in zip(order.tolist(), of.tolist(), strict=True):
        e = ids.reshape(-1)[slot]
        out[t] += weights.reshape(-1)[slot] * expert(hidden[t], gate_up[e], down[e])
    return out, of, n


def sorted_no_minlength(hidden, ids, weights, gate_up, down):
    order, of, _ = sort(ids, len(down))
    n = torch.bincount(ids.reshape(-1))
    rows = [expert(r, gate_up[e], down[e]) for e, r in enumerate(hidden[of].split(n.tolist()))]
    rows = torch.cat([*rows, hidden[:0]]) * weights.reshape(-1)[order, None]
    return torch.zeros_like(hidden).index_add(0, of, rows), of, n


def sorted_detached(hidden, ids, weights, gate_up, down):
    return sorted_but()(hidden, ids, weights.detach(), gate_up, down)


def sorted_slots_read(hidden, ids, weights, gate_up, down):
    order, _, n = sort(ids, len(down))
    rows = groups_of(hidden[order], n, gate_up, down)
    return rows, order, n


SORTED = {
    "weighted_not_put_back": sorted_but(lambda rows, ids, order: back(rows, ids)),
    "weighted_order_as_inverse": sorted_but(lambda rows, ids, order: back(rows[order], ids)),
    "first_weight": sorted_but(weigh=lambda w, of, order: w[of, 0]),
    "modulo_k": sorted_but(tokens=lambda order, ids: order % ids.shape[1]),
    "experts_not_tokens": sorted_but(returned=lambda ids, order: ids.flatten()[order]),
    "tokens_unsorted": sorted_but(
        returned=lambda ids, order: torch.arange(len(ids)).repeat_interleave(ids.shape[1])
    ),
    "short_counts": sorted_no_minlength,
    "only_used": sorted_but(counts=lambda ids: torch.unique(ids, return_counts=True)[1]),
    "slots_read_tokens": sorted_slots_read,
    "weights_not_flat": sorted_but(weigh=lambda weights, of, order: weights[order][:, 0]),
    "rows_too_many": sorted_dense,
    "products_too_many": sorted_slot_by_slot,
    "gradient_lost": sorted_detached,
}

# 02.shared_expert


def shared(join, of=expert):
    def answer(hidden, results, weights, scale, gate_up, down):
        return join((results * weights[:, :, None]).sum(1), of(hidden, gate_up, down), weights, scale)

    return answer


def shared_renormalized(hidden, results, weights, scale, gate_up, down):
    return shared(lambda r, s, w, scale: scale * r + s)(
        hidden, results, F.normalize(weights, p=1, dim=1), scale, gate_up, down
    )


def rows_bilinear(x, gate_up, down):
    g, u = (x @ gate_up.T).chunk(2, dim=-1)
    return (g * u) @ down.T


SHARED = {
    "routed_mean": shared(lambda r, s, w, scale: scale * r / w.shape[1] + s),
    "scale_on_shared": shared(lambda r, s, w, scale: r + scale * s),
    "renormalized": shared_renormalized,
    "no_shared": shared(lambda r, s, w, scale: scale * r),
    "no_silu": shared(lambda r, s, w, scale: scale * r + s, rows_bilinear),
    "gradient_lost": shared(lambda r, s, w, scale: scale * r + s.detach()),
}

# 02.router_gradient


def whole(logits, ids, results, upstream, renormalize):
    """The softmax on all E columns, and the score of each choice on its expert."""
    w, s = parts(logits, ids, results, upstream, renormalize)
    return placed(logits, ids, w) if renormalize else logits.softmax(1), placed(logits, ids, s)


def gradient(through, flip=False, end=lambda grad, hidden: grad.T @ hidden):
    def answer(hidden, logits, ids, results, upstream, renormalize):
        p, s = whole(logits, ids, results, upstream, renormalize != flip)
        return end(through(p, s), hidden)

    return answer


def softmax_back(p, s):
    return p * s - p * (p * s).sum(1, keepdim=True)


GRADIENT = {
    "flag_swapped": gradient(softmax_back, flip=True),
    "plain_mean": gradient(lambda p, s: p * (s - s.mean(1)[:, None])),
    "weight_twice": gradient(lambda p, s: softmax_back(p, p * s)),
    "sign": gradient(lambda p, s: -softmax_back(p, s)),
    "transposed": gradient(softmax_back, end=lambda grad, hidden: hidden.T @ grad),
    "of_the_logits": gradient(softmax_back, end=lambda grad, hidden: grad),
}
