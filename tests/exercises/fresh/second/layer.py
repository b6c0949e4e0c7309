"""The second set, written from the learner's notebooks alone: lesson 02, up to the loop."""

import torch
import torch.nn.functional as F

# 02.swiglu


def swiglu_silu_on_up(hidden_ND, gate_FD, up_FD, down_DF):
    a = hidden_ND @ gate_FD.T
    b = hidden_ND @ up_FD.T
    return (a * F.silu(b)) @ down_DF.T


def swiglu_sigmoid(hidden_ND, gate_FD, up_FD, down_DF):
    gate = torch.sigmoid(F.linear(hidden_ND, gate_FD))
    return F.linear(gate * F.linear(hidden_ND, up_FD), down_DF)


def swiglu_added(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD.T) + hidden_ND @ up_FD.T) @ down_DF.T


def swiglu_down_as_stored(hidden_ND, gate_FD, up_FD, down_DF):
    h = F.silu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)
    return h @ down_DF


def swiglu_silu_of_product(hidden_ND, gate_FD, up_FD, down_DF):
    inner = torch.mul(hidden_ND @ gate_FD.t(), hidden_ND @ up_FD.t())
    return F.silu(inner) @ down_DF.t()


def swiglu_residual(hidden_ND, gate_FD, up_FD, down_DF):
    x = hidden_ND
    y = F.linear(F.silu(F.linear(x, gate_FD)) * F.linear(x, up_FD), down_DF)
    return x + y


# 02.expert_bank


def bank_up_first(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up = gate_up.transpose(1, 2)
        down = down.transpose(1, 2)
    both = torch.einsum("td,efd->etf", hidden_TD, gate_up)
    up, gate = both.chunk(2, dim=-1)
    return torch.einsum("etf,edf->etd", F.silu(gate) * up, down)


def bank_chunk_one(hidden_TD, gate_up, down, input_first):
    gate, up = gate_up.chunk(2, dim=1)
    if not input_first:
        gate, up, down = gate.mT, up.mT, down.mT
    return (F.silu(hidden_TD @ gate) * (hidden_TD @ up)) @ down


def bank_tokens_first(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.permute(0, 2, 1), down.permute(0, 2, 1)
    outs = []
    f = gate_up.shape[1] // 2
    for e in range(len(gate_up)):
        g, u = hidden_TD @ gate_up[e, :f].T, hidden_TD @ gate_up[e, f:].T
        outs.append((F.silu(g) * u) @ down[e].T)
    return torch.stack(outs, dim=1)


def bank_interleaved(hidden_TD, gate_up, down, input_first):
    if not input_first:
        gate_up = gate_up.transpose(-1, -2)
        down = down.transpose(-1, -2)
    h = torch.matmul(hidden_TD, gate_up)
    gate, up = h[..., ::2], h[..., 1::2]
    return torch.matmul(F.silu(gate) * up, down)


def bank_reshaped(hidden_TD, gate_up, down, input_first):
    if input_first:
        e, d, ff = gate_up.shape
        gate_up = gate_up.reshape(e, ff, d)
        down = down.reshape(e, d, ff // 2)
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, -1)
    return (F.silu(gate) * up) @ down.mT


def bank_first_layout_only(hidden_TD, gate_up, down, input_first):
    y = []
    for w1, w2 in zip(gate_up, down, strict=True):
        g, u = (hidden_TD @ w1.T).chunk(2, dim=-1)
        y.append((F.silu(g) * u) @ w2.T)
    return torch.stack(y)


# 02.moe_loop


def _expert(x, gate_up, down):
    g, u = (gate_up @ x).chunk(2)
    return down @ (F.silu(g) * u)


def loop_no_weights(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    T, K = topk_ids_TK.shape
    for t in range(T):
        for k in range(K):
            e = topk_ids_TK[t, k]
            out[t] = out[t] + _expert(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def loop_overwrites(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(hidden_TD.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = topk_ids_TK[t, k].item()
            out[t] = topk_weights_TK[t, k] * _expert(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def loop_weight_of_expert(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t, ids in enumerate(topk_ids_TK):
        for e in ids:
            out[t] += topk_weights_TK[t, e] * _expert(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def loop_stacked(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    rows = []
    for x, ids, ws in zip(hidden_TD, topk_ids_TK, topk_weights_TK, strict=True):
        y = 0
        for e, w in zip(ids.tolist(), ws, strict=True):
            y = y + w * _expert(x, gate_up_E2FD[e], down_EDF[e])
        rows.append(y)
    return torch.stack(rows)


def loop_weight_item(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = hidden_TD.new_zeros(hidden_TD.shape)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.size(1)):
            e = int(topk_ids_TK[t, k])
            w = float(topk_weights_TK[t, k])
            out[t] += w * _expert(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def loop_starts_at_input(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = hidden_TD.clone()
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.size(1)):
            e = int(topk_ids_TK[t, k])
            out[t] += topk_weights_TK[t, k] * _expert(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


FRESH = {
    "02.swiglu": [
        ("silu on the other side", swiglu_silu_on_up, {"swapped"}),
        ("sigmoid for silu", swiglu_sigmoid, {"sigmoid"}),
        ("added, not multiplied", swiglu_added, {"sum"}),
        ("down not transposed", swiglu_down_as_stored, {"transpose_missing"}),
        ("silu of the product", swiglu_silu_of_product, {"late_silu"}),
        ("residual added", swiglu_residual, {"residual"}),
    ],
    "02.expert_bank": [
        ("up before gate", bank_up_first, {"up_first"}),
        ("halves always along dim 1", bank_chunk_one, {"layouts_mixed"}),
        ("[T, E, D]", bank_tokens_first, {"token_first"}),
        ("interleaved", bank_interleaved, {"interleaved"}),
        ("reshaped for transposed", bank_reshaped, {"reshaped_input_first"}),
        ("one layout only", bank_first_layout_only, {"layouts_mixed"}),
    ],
    "02.moe_loop": [
        ("no weights", loop_no_weights, {"no_weights"}),
        ("last choice only", loop_overwrites, {"overwritten"}),
        ("weight looked up by expert", loop_weight_of_expert, {"weight_by_expert"}),
        ("stack of nothing", loop_stacked, {"nothing_to_stack"}),
        ("weight as a float", loop_weight_item, {"detached"}),
        ("starts at the input", loop_starts_at_input, {"residual"}),
    ],
}
