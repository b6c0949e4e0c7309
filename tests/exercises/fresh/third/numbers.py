"""The third set: two answers an exercise, written after mending, before they were tried; lessons 03 to 05."""

import torch
import torch.nn.functional as F


def block_four(d_model, d_expert, n_experts, d_shared):
    return d_model * (4 * n_experts * d_expert + n_experts + 4 * d_shared)


def block_shared_two(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * d_expert * n_experts + d_model * n_experts + 3 * d_model * d_shared * n_experts


def _model(v, d, n_layers, h, h_kv, d_h, f, n, e, norms=2, matrices=4):
    attention = d * d_h * (2 * h + 2 * h_kv)
    return 2 * v * d + d + n_layers * (attention + e * d + norms * d + 3 * n * d * f)


def mix_active_one_more(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    a = (vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert)
    return _model(*a, n_experts, n_experts), _model(*a, top_k + 1, n_experts)


def mix_keys_only(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    a = (vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert)
    less = n_layers * d_model * d_head * n_kv_heads
    return _model(*a, n_experts, n_experts) - less, _model(*a, top_k, n_experts) - less


def flops_one_layer(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    f = 2 * (active - embedding) + 4 * n_heads * d_head * n_positions
    return f, 3 * f


def flops_squared(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    f = 2 * (active - embedding) + 4 * n_layers * n_heads * d_head * n_positions**2
    return f, 3 * f


def mem_context_forgotten(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    return total * weight_bits / 8e9, 2 * n_layers * n_kv_heads * d_head * batch * cache_bits / 8e9


def mem_weights_in_cache_bits(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch * cache_bits / 8e9
    return total * cache_bits / 8e9, cache


def load_of_tokens(topk_ids_TK, n_experts, mask_T):
    c = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return c / n_experts


def load_max(topk_ids_TK, n_experts, mask_T):
    c = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return c / c.max()


def eff_swapped(counts_LE):
    c = counts_LE.double()
    s = c / c.sum(1, keepdim=True)
    cv = c.std(1, correction=0) / c.mean(1)
    return c.shape[1] / (1 + cv**2), torch.special.entr(s).sum(1).exp()


def eff_over_layers(counts_LE):
    c = counts_LE.double()
    s = c / c.sum(0, keepdim=True).clamp(min=1)
    cv = c.std(1, correction=0) / c.mean(1)
    return torch.special.entr(s).sum(1).exp(), c.shape[1] / (1 + cv**2)


def imb_min(counts_LE):
    c = counts_LE.float()
    m = c.mean(1)
    return c.std(1, correction=0) / m, 1 - c.amin(1) / m, (c == 0).sum(1)


def imb_share_of_dead(counts_LE):
    c = counts_LE.float()
    m = c.mean(1)
    return c.std(1, correction=0) / m, c.amax(1) / m - 1, (c == 0).float().mean(1)


def fp_counts_over_e(logits_TE, topk_ids_TK):
    E = logits_TE.shape[1]
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / E
    return f, logits_TE.softmax(-1).mean(0)


def fp_sigmoid(logits_TE, topk_ids_TK):
    E = logits_TE.shape[1]
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / topk_ids_TK.numel()
    return f, logits_TE.sigmoid().mean(0)


def _balance(z, top_k, P=None):
    E = z.shape[-1]
    f = F.one_hot(z.topk(top_k).indices, E).sum(-2).float().mean(0) / top_k
    return (f * (z.softmax(-1).mean(0) if P is None else P)).sum()


def bal_k_not_e(logits_NTE, mask_T, top_k):
    return torch.stack([top_k * _balance(z[mask_T], top_k) for z in logits_NTE]).mean()


def bal_last_layer(logits_NTE, mask_T, top_k):
    return logits_NTE.shape[-1] * _balance(logits_NTE[-1][mask_T], top_k)


def lg_no_k(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = logits_TE.softmax(-1)
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / T
    return E / T * p * (f - (p @ f)[:, None])


def lg_p_for_f(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = logits_TE.softmax(-1)
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / topk_ids_TK.numel()
    return E / T * (f * p - p)


def zl_sum(logits_TE):
    return (logits_TE.sum(-1) ** 2).mean()


def zl_root(logits_TE):
    return (logits_TE.logsumexp(-1) ** 2).mean().sqrt()


FRESH = {
    "03.swiglu_moe_params": [
        ("four matrices", block_four, set()),
        ("shared for each", block_shared_two, {"0", "1", "2"}),
    ],
    "03.mixtral": [("K + 1 active", mix_active_one_more, set()), ("no values", mix_keys_only, set())],
    "03.flops_per_token": [
        ("one layer", flops_one_layer, {"0", "1", "2"}),
        ("squared context", flops_squared, {"0", "1", "2"}),
    ],
    "03.memory": [
        ("no context", mem_context_forgotten, {"0", "1", "2"}),
        ("bits of the cache", mem_weights_in_cache_bits, set()),
    ],
    "04.load_shares": [
        ("divided by E", load_of_tokens, {"other_normaliser"}),
        ("divided by the largest", load_max, {"other_normaliser"}),
    ],
    "04.effective_experts": [
        ("swapped", eff_swapped, {"0", "1", "2"}),
        ("shares over the layers", eff_over_layers, set()),
    ],
    "04.imbalance": [("the emptiest", imb_min, set()), ("share of dead", imb_share_of_dead, {"0", "1", "2"})],
    "05.f_and_p": [("divided by E", fp_counts_over_e, {"size_factor"}), ("sigmoid", fp_sigmoid, set())],
    "05.balancing_loss": [("K for E", bal_k_not_e, {"0", "1", "2"}), ("last layer", bal_last_layer, set())],
    "05.loss_gradient": [("f sums to K", lg_no_k, {"0", "1", "2"}), ("p taken off", lg_p_for_f, set())],
    "05.z_loss": [("sum of logits", zl_sum, set()), ("root", zl_root, set())],
}
