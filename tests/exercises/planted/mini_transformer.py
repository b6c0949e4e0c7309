"""Answers to lesson 10 as learners write them: wrong ones by misconception, and right ones."""

import torch
import torch.nn.functional as F
from planted import (
    mini_transformer_after,
    mini_transformer_bits,
    mini_transformer_keys,
    mini_transformer_loss,
    mini_transformer_training,
    more_late,
    more_tenth,
)

# 10.moe_block


def rms(x, scale, eps):
    return F.rms_norm(x, x.shape[-1:], scale, eps)


def experts_loop(x, router_input, router, gate_up, down, k, **change):
    return mixed(x, router_input @ router.T, gate_up, down, k, **change)


def mixed(x, scores, gate_up, down, k, softmax_first=False, flip=False, act=F.silu, step=1, weigh=None):
    top, ids = scores.topk(k, dim=-1)
    weights = F.softmax(scores, dim=-1).gather(1, ids) if softmax_first else F.softmax(top, dim=-1)
    if weigh:
        weights = weigh(top)
    rows = []
    for t in range(len(x)):
        row = torch.zeros_like(x[t])
        for w, e in zip(weights[t], ids[t].tolist(), strict=True):
            f = down.shape[-1]
            a, b = gate_up[e, :f] @ x[t], gate_up[e, f:] @ x[t]
            if step == 2:
                a, b = gate_up[e, ::2] @ x[t], gate_up[e, 1::2] @ x[t]
            if flip:
                a, b = b, a
            row = row + w * (down[e] @ (act(a) * b))
        rows.append(row)
    return torch.stack(rows)


def block_loop(stream, norm, router, gate_up, down, k, eps):
    x = rms(stream, norm, eps)
    return stream + experts_loop(x, x, router, gate_up, down, k)


def block_by_expert(stream, norm, router, gate_up, down, k, eps):
    x = norm * stream / torch.sqrt((stream**2).mean(-1, keepdim=True) + eps)
    top, ids = (x @ router.T).topk(k)
    weights = top.softmax(-1)
    out = stream.clone()
    for e in range(len(router)):
        token, slot = torch.where(ids == e)
        gate, up = (x[token] @ gate_up[e].T).chunk(2, -1)
        out.index_add_(0, token, weights[token, slot, None] * ((F.silu(gate) * up) @ down[e].T))
    return out


def block_gathered(stream, norm, router, gate_up, down, k, eps):
    x = rms(stream, norm, eps)
    probs = F.softmax(x @ router.T, dim=-1)
    weights, ids = probs.topk(k, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True)
    hidden = torch.einsum("tkfd,td->tkf", gate_up[ids], x)
    gate, up = hidden.split(hidden.shape[-1] // 2, dim=-1)
    return stream + torch.einsum("tk,tkdf,tkf->td", weights, down[ids], F.silu(gate) * up)


def block_forgets_stream(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, norm, eps)
    return experts_loop(x, x, *bank)


def block_overwrites_stream(stream, norm, *bank):
    *bank, eps = bank
    stream = rms(stream, norm, eps)
    return stream + experts_loop(stream, stream, *bank)


def block_post(stream, norm, *bank):
    *bank, eps = bank
    return rms(stream + experts_loop(stream, stream, *bank), norm, eps)


def block_centred(stream, norm, *bank):
    *bank, eps = bank
    centred = stream - stream.mean(-1, keepdim=True)
    x = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps) * norm
    return stream + experts_loop(x, x, *bank)


def block_eps_outside(stream, norm, *bank):
    *bank, eps = bank
    x = norm * stream / (torch.sqrt(stream.pow(2).mean(-1, keepdim=True)) + eps)
    return stream + experts_loop(x, x, *bank)


def block_sum(stream, norm, *bank):
    *bank, eps = bank
    x = norm * stream * torch.rsqrt((stream * stream).sum(-1, keepdim=True) + eps)
    return stream + experts_loop(x, x, *bank)


def block_default_eps(stream, norm, *bank):
    *bank, _ = bank
    x = F.rms_norm(stream, norm.shape, norm)
    return stream + experts_loop(x, x, *bank)


def block_assigns(stream, norm, router, gate_up, down, k, eps):
    x = rms(stream, norm, eps)
    top, ids = (x @ router.T).topk(k)
    weights = top.softmax(-1)
    out = torch.zeros_like(stream)
    for e in range(len(router)):
        token, slot = torch.where(ids == e)
        gate, up = (x[token] @ gate_up[e].T).chunk(2, -1)
        out[token] = weights[token, slot, None] * ((F.silu(gate) * up) @ down[e].T)
    return stream + out


def block_unscaled(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, None, eps)
    return stream + experts_loop(x, x, *bank)


def block_flipped(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, norm, eps)
    return stream + experts_loop(x, x, *bank, flip=True)


def block_raw_router(stream, norm, *bank):
    *bank, eps = bank
    return stream + experts_loop(rms(stream, norm, eps), stream, *bank)


def block_raw_experts(stream, norm, *bank):
    *bank, eps = bank
    return stream + experts_loop(stream, rms(stream, norm, eps), *bank)


def block_with(**change):
    def answer(stream, norm, *bank):
        *bank, eps = bank
        x = rms(stream, norm, eps)
        return stream + experts_loop(x, x, *bank, **change)

    return answer


def block_in_place(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, norm, eps)
    stream += experts_loop(x, x, *bank)
    return stream


def block_detached(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream.detach(), norm.detach(), eps)
    with torch.no_grad():
        return stream.detach() + experts_loop(x, x, *bank)


def block_full_softmax(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, norm, eps)
    return stream + experts_loop(x, x, *bank, softmax_first=True)


RIGHT = {
    **mini_transformer_bits.RIGHT,
    "10.moe_block": [block_loop, block_by_expert, block_gathered],
    **mini_transformer_loss.RIGHT,
    **mini_transformer_after.RIGHT,
    **mini_transformer_keys.RIGHT,
    **mini_transformer_training.RIGHT,
}
WRONG = {
    **mini_transformer_bits.WRONG,
    "10.moe_block": {
        "no_residual": block_forgets_stream,
        "residual_from_normed": block_overwrites_stream,
        "post_norm": block_post,
        "layer_norm": block_centred,
        "eps_outside": block_eps_outside,
        "no_eps": block_default_eps,
        "sum_of_squares": block_sum,
        "no_scale": block_unscaled,
        "swapped": block_flipped,
        "routes_on_stream": block_raw_router,
        "experts_on_stream": block_raw_experts,
        "overwritten": block_assigns,
        "not_renormalised": block_full_softmax,
        "interleaved": block_with(step=2),
        "gelu": block_with(act=F.gelu),
        "sigmoid": block_with(act=torch.sigmoid),
        "relu": block_with(act=torch.relu),
        "no_weights": block_with(weigh=torch.ones_like),
        "logits_for_weights": block_with(weigh=lambda top: top),
        "gradient_lost": block_detached,
    },
    **mini_transformer_loss.WRONG,
    **mini_transformer_after.WRONG,
    **mini_transformer_keys.WRONG,
    **mini_transformer_training.WRONG,
}
MORE = {
    **mini_transformer_bits.MORE,
    "10.moe_block": [("arguments_changed", block_in_place)],
    **mini_transformer_keys.MORE,
}
more_late.add_to(WRONG)
more_tenth.add_to(WRONG)
