"""Answers to lesson 02 as learners write them: wrong ones by misconception, and right ones."""

import torch
import torch.nn.functional as F
from planted import moe_layer_more as more
from planted.moe_layer_sorted import (
    GRADIENT_RIGHT,
    GRADIENT_WRONG,
    SHARED_RIGHT,
    SHARED_WRONG,
    SORTED_RIGHT,
    SORTED_WRONG,
    expert,
)

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
    "both_sides": swiglu_wrong(lambda g, u: F.silu(g) * u * u.sigmoid()),
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


def loop_running_total(hidden, ids, weights, gate_up, down):
    out, row = torch.zeros_like(hidden), torch.zeros(hidden.shape[1])
    for t in range(ids.shape[0]):
        for k in range(ids.shape[1]):
            row = row + weights[t, k] * answer_of(hidden[t], ids[t, k], gate_up, down)
        out[t] = row
    return out


LOOP_WRONG = {
    "no_weights": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(x, ids[k], g, d)),
    "average": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(x, ids[k], g, d) / len(w)),
    "renormalized": loop_wrong(
        lambda row, x, ids, w, k, g, d: row + w[k] / w.sum() * answer_of(x, ids[k], g, d)
    ),
    "overwritten": loop_wrong(lambda row, x, ids, w, k, g, d: w[k] * answer_of(x, ids[k], g, d)),
    "first_choice": loop_wrong(
        lambda row, x, ids, w, k, g, d: row if k else w[k] * answer_of(x, ids[k], g, d)
    ),
    "never_reset": loop_running_total,
    "choice_as_expert": loop_wrong(lambda row, x, ids, w, k, g, d: row + w[k] * answer_of(x, k, g, d)),
    "detached": loop_wrong(lambda row, x, ids, w, k, g, d: row + w[k].item() * answer_of(x, ids[k], g, d)),
    "weighted_input": loop_wrong(lambda row, x, ids, w, k, g, d: row + answer_of(w[k] * x, ids[k], g, d)),
    "up_first": loop_up_first,
}

RIGHT = {
    "02.swiglu": [swiglu_stacked, swiglu_by_token, swiglu_einsum],
    "02.expert_bank": [bank_loop, bank_einsum, bank_bmm],
    "02.moe_loop": [loop_by_expert, loop_gather, loop_in_place],
    "02.moe_sorted": SORTED_RIGHT,
    "02.shared_expert": SHARED_RIGHT,
    "02.router_gradient": GRADIENT_RIGHT,
}
WRONG = {
    "02.swiglu": SWIGLU_WRONG | more.SWIGLU,
    "02.expert_bank": {
        "up_first": bank_up_first,
        "interleaved": bank_interleaved,
        "reshaped_input_first": bank_reshaped_input_first,
        "reshaped_output_first": bank_reshaped_output_first,
        "viewed": bank_viewed,
        "first_expert": bank_first_expert,
        "no_silu": bank_no_silu,
        **more.BANK,
    },
    "02.moe_loop": LOOP_WRONG | more.LOOP,
    "02.moe_sorted": SORTED_WRONG | more.SORTED,
    "02.shared_expert": SHARED_WRONG | more.SHARED,
    "02.router_gradient": GRADIENT_WRONG | more.GRADIENT,
}
