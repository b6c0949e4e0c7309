"""Answers to 05.balancing_loss."""

import torch
import torch.nn.functional as F


def loss_loop(logits_NTE, mask_T, top_k):
    """Drop the padding first, then layer by layer."""
    losses = []
    for logits_TE in logits_NTE:
        real = logits_TE[mask_T.bool()]
        T, E = real.shape
        f = torch.bincount(real.topk(top_k).indices.flatten(), minlength=E) / (T * top_k)
        losses.append(E * torch.dot(f, real.softmax(-1).mean(0)))
    return torch.stack(losses).mean()


def loss_einsum(logits_NTE, mask_T, top_k):
    E = logits_NTE.shape[-1]
    onehot = F.one_hot(logits_NTE.topk(top_k, dim=-1).indices, E).sum(-2).float()
    m = mask_T.float() / mask_T.sum()
    f = torch.einsum("nte,t->ne", onehot, m) / top_k
    P = torch.einsum("nte,t->ne", logits_NTE.softmax(-1), m)
    return E * torch.einsum("ne,ne->", f, P) / len(logits_NTE)


def loss_switch_form(logits_NTE, mask_T, top_k):
    """Switch's own line: the mean over experts, times E squared."""
    real = logits_NTE[:, mask_T]
    E = real.shape[-1]
    f = torch.zeros_like(real).scatter(-1, real.topk(top_k, -1).indices, 1.0).mean(1) / top_k
    return (f * real.softmax(-1).mean(1)).mean() * E**2


def loss_pooled(logits_NTE, mask_T, top_k):
    """All layers' tokens in one heap, as in transformers."""
    real = logits_NTE[:, mask_T].flatten(0, 1)
    E = real.shape[-1]
    f = F.one_hot(real.topk(top_k, -1).indices, E).float().mean((0, 1))
    return E * (f * real.softmax(-1).mean(0)).sum()


def loss_of_mixtral(logits_NTE, mask_T, top_k):
    """load_balancing_loss_func of transformers with an attention mask, its names and steps."""
    gate_logits, num_experts = tuple(logits_NTE), logits_NTE.shape[-1]
    concatenated = torch.cat(gate_logits, dim=0)
    routing_weights = F.softmax(concatenated, dim=-1)
    selected = torch.topk(routing_weights, top_k, dim=-1).indices
    expert_mask = F.one_hot(selected, num_experts).float()
    m = mask_T.float().repeat(len(gate_logits))
    tokens_per_expert = (expert_mask * m[:, None, None]).sum(0) / m.sum()
    prob_per_expert = (routing_weights * m[:, None]).sum(0) / m.sum()
    return torch.sum(tokens_per_expert * prob_per_expert.unsqueeze(0)) * num_experts


def loss_of_padding(logits_NTE, mask_T, top_k):
    """Read like PyTorch's key_padding_mask, in which True is padding."""
    return loss_einsum(logits_NTE, ~mask_T, top_k)


def loss_filled(logits_NTE, mask_T, top_k):
    """As attention masks its scores."""
    return loss_unmasked(logits_NTE.masked_fill(~mask_T[None, :, None], -1e9), mask_T, top_k)


def loss_gates(logits_NTE, mask_T, top_k):
    real = logits_NTE[:, mask_T]
    E = real.shape[-1]
    w, ids = real.topk(top_k, -1)
    gates = torch.zeros_like(real).scatter(-1, ids, w.softmax(-1))
    f = (gates > 0).float().mean(1) / top_k
    return E * (f * gates.mean(1)).sum(-1).mean()


def loss_squares(logits_NTE, mask_T, top_k):
    P = logits_NTE[:, mask_T].softmax(-1).mean(1)
    return P.shape[-1] * (P * P).sum(-1).mean()


def loss_unmasked(logits_NTE, mask_T, top_k):
    return loss_loop(logits_NTE, torch.ones_like(mask_T), top_k)


def _two_masks(logits_NTE, mask_f, mask_P, top_k):
    E = logits_NTE.shape[-1]
    f = F.one_hot(logits_NTE[:, mask_f].topk(top_k, -1).indices, E).float().mean((1, 2))
    P = logits_NTE[:, mask_P].softmax(-1).mean(1)
    return E * (f * P).sum(-1).mean()


def loss_f_unmasked(logits_NTE, mask_T, top_k):
    return _two_masks(logits_NTE, torch.ones_like(mask_T), mask_T, top_k)


def loss_P_unmasked(logits_NTE, mask_T, top_k):
    return _two_masks(logits_NTE, mask_T, torch.ones_like(mask_T), top_k)


def loss_zeroed(logits_NTE, mask_T, top_k):
    m = mask_T.float()[None, :, None]
    E = logits_NTE.shape[-1]
    onehot = F.one_hot(logits_NTE.topk(top_k, -1).indices, E).sum(-2)
    f, P = (onehot * m).mean(1) / top_k, (logits_NTE.softmax(-1) * m).mean(1)
    return E * (f * P).sum(-1).mean()


def loss_no_E(logits_NTE, mask_T, top_k):
    return loss_switch_form(logits_NTE, mask_T, top_k) / logits_NTE.size(-1)


def loss_huggingface(logits_NTE, mask_T, top_k):
    return torch.stack([top_k * loss_loop(layer[None], mask_T, top_k) for layer in logits_NTE]).mean()


def loss_added_up(logits_NTE, mask_T, top_k):
    return sum(loss_loop(layer[None], mask_T, top_k) for layer in logits_NTE)


def loss_gshard(logits_NTE, mask_T, top_k):
    """f from the first choices alone, as in algorithm 1 of GShard."""
    real = logits_NTE[:, mask_T]
    f = F.one_hot(real.argmax(-1), real.shape[-1]).float().mean(1)
    return real.shape[-1] * (f * real.softmax(-1).mean(1)).sum(-1).mean()


def loss_no_grad(logits_NTE, mask_T, top_k):
    with torch.no_grad():
        return loss_einsum(logits_NTE, mask_T, top_k)
