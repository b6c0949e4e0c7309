"""Answers to lesson 10 as learners write them: wrong ones by misconception, and right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from planted import mini_transformer_after, mini_transformer_loss, mini_transformer_training

# 10.bits_per_byte


def bits_flat_cross_entropy(logits_WLV, targets_WL, lengths_W):
    targets = targets_WL.clone()
    for w, n in enumerate(lengths_W.tolist()):
        targets[w, n:] = -100
    return F.cross_entropy(logits_WLV.flatten(0, 1), targets.flatten()).item() / np.log(2)


def bits_by_hand(logits_WLV, targets_WL, lengths_W):
    bits, count = 0.0, 0
    for window, targets, n in zip(logits_WLV, targets_WL, lengths_W, strict=True):
        for row, target in zip(window[: int(n)], targets, strict=False):
            probabilities = torch.exp(row.double() - row.double().max())
            probabilities /= probabilities.sum()
            bits -= math.log2(probabilities[target])
            count += 1
    return torch.tensor(bits / count)


def window_nats(logits, targets, n):
    return F.cross_entropy(logits[:n], targets[:n])


def bits_mean_of_means(logits_WLV, targets_WL, lengths_W):
    per_window = [window_nats(*w) for w in zip(logits_WLV, targets_WL, lengths_W, strict=True)]
    return float(torch.stack(per_window).mean() / math.log(2))


def all_nats(logits_WLV, targets_WL, lengths_W):
    parts = zip(logits_WLV, targets_WL, lengths_W, strict=True)
    return torch.cat([F.cross_entropy(x[:n], t[:n], reduction="none") for x, t, n in parts])


def bits_nats(*args):
    return all_nats(*args).mean().item()


def bits_times(*args):
    return all_nats(*args).mean().item() * np.log(2).item()


def bits_decimal(logits_WLV, targets_WL, lengths_W):
    kept = torch.cat([x[:n] for x, n in zip(logits_WLV, lengths_W, strict=True)])
    wanted = torch.cat([t[:n] for t, n in zip(targets_WL, lengths_W, strict=True)])
    p = F.softmax(kept, dim=-1)[torch.arange(len(wanted)), wanted]
    return -torch.log10(p).mean().item()


def bits_perplexity(*args):
    return torch.exp(all_nats(*args).mean()).item()


def bits_with_padding(logits_WLV, targets_WL, lengths_W):
    return F.cross_entropy(logits_WLV.transpose(1, 2), targets_WL).item() / math.log(2)


def bits_over_all_positions(logits_WLV, targets_WL, lengths_W):
    return all_nats(logits_WLV, targets_WL, lengths_W).sum().item() / targets_WL.numel() / math.log(2)


def bits_full_only(logits_WLV, targets_WL, lengths_W):
    longest = int(lengths_W.max())
    total = count = 0
    for x, t, n in zip(logits_WLV, targets_WL, lengths_W.tolist(), strict=True):
        if n < longest:
            continue
        total += F.cross_entropy(x, t, reduction="sum").item()
        count += n
    return total / count / math.log(2)


def bits_log_of_mean(*args):
    return -torch.log2(torch.exp(-all_nats(*args)).mean()).item()


# 10.moe_block


def rms(x, scale, eps):
    return F.rms_norm(x, x.shape[-1:], scale, eps)


def experts_loop(x, router_input, router, gate_up, down, k, *, softmax_first=False, flip=False):
    scores = router_input @ router.T
    top, ids = scores.topk(k, dim=-1)
    weights = F.softmax(scores, dim=-1).gather(1, ids) if softmax_first else F.softmax(top, dim=-1)
    rows = []
    for t in range(len(x)):
        row = torch.zeros_like(x[t])
        for w, e in zip(weights[t], ids[t].tolist(), strict=True):
            f = down.shape[-1]
            a, b = gate_up[e, :f] @ x[t], gate_up[e, f:] @ x[t]
            if flip:
                a, b = b, a
            row = row + w * (down[e] @ (F.silu(a) * b))
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


def block_full_softmax(stream, norm, *bank):
    *bank, eps = bank
    x = rms(stream, norm, eps)
    return stream + experts_loop(x, x, *bank, softmax_first=True)


RIGHT = {
    "10.bits_per_byte": [bits_flat_cross_entropy, bits_by_hand],
    "10.moe_block": [block_loop, block_by_expert, block_gathered],
    **mini_transformer_loss.RIGHT,
    **mini_transformer_after.RIGHT,
    **mini_transformer_training.RIGHT,
}
WRONG = {
    "10.bits_per_byte": {
        "mean_of_means": bits_mean_of_means,
        "nats": bits_nats,
        "times_ln2": bits_times,
        "log10": bits_decimal,
        "perplexity": bits_perplexity,
        "padding_scored": bits_with_padding,
        "padding_in_the_mean": bits_over_all_positions,
        "full_windows_only": bits_full_only,
        "mean_probability": bits_log_of_mean,
    },
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
    },
    **mini_transformer_loss.WRONG,
    **mini_transformer_after.WRONG,
    **mini_transformer_training.WRONG,
}
