"""Lesson 10: the next most plausible ones, two to five an exercise."""

import math

import torch
import torch.nn.functional as F
from fresh.tenth.parts import information, joint
from fresh.tenth.transformer import experts_on, keys_of, losses, rms


def targets_shifted(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1] - 1) < lengths_W[:, None] - 1
    found = losses(logits_WLV[:, :-1].contiguous(), targets_WL[:, 1:].contiguous())
    return float(found[real].mean()) / math.log(2)


def divided_by_all_places(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    return float((losses(logits_WLV, targets_WL) * real).mean()) / math.log(2)


def zero_is_padding(logits_WLV, targets_WL, lengths_W):
    real = targets_WL != 0
    return float(losses(logits_WLV, targets_WL)[real].mean()) / math.log(2)


def masked_scores(q, k, v, mask, scale=None):
    n = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1)
    scores = q @ k.transpose(-1, -2) / (scale or q.shape[-1] ** 0.5)
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v


def looks_ahead(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, torch.ones(length, length).triu().bool())


def no_mask(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, torch.ones(length, length).bool())


def divided_by_p(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    mask = torch.ones(length, length).tril().bool()
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, mask, scale=q_BHLP.shape[-1])


def softmax_over_all(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = rms(stream_TD, norm_D, eps)
    weights, ids = (x @ router_ED.T).softmax(dim=-1).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, weights, ids, gate_up_proj, down_proj)


def eps_outside_the_root(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = stream_TD / (stream_TD.square().mean(dim=-1, keepdim=True).sqrt() + eps) * norm_D
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def layer_norm(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = F.layer_norm(stream_TD, (stream_TD.shape[1],), norm_D, None, eps)
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def terms(logits_BLV, tokens_BL, router_logits_NTE, top_k):
    ce = F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten())
    balance, z = [], []
    for layer in router_logits_NTE:
        ids = layer.topk(top_k, dim=-1).indices
        f = torch.bincount(ids.flatten(), minlength=layer.shape[1]) / ids.numel()
        balance.append(layer.shape[1] * (f * layer.softmax(dim=-1).mean(dim=0)).sum())
        z.append(layer.logsumexp(dim=-1))
    return ce, torch.stack(balance).sum(), z


def z_not_squared(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    ce, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    return ce + alpha * balance + beta * sum(part.mean() for part in z)


def weights_swapped(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    ce, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    return ce + beta * balance + alpha * sum(part.square().mean() for part in z)


def wrong_end_cut(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    _, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    ce = F.cross_entropy(logits_BLV[:, 1:].flatten(0, 1), tokens_BL[:, :-1].flatten())
    return ce + alpha * balance + beta * sum(part.square().mean() for part in z)


def entropy_of_the_labels(experts_N, labels_N, shuffles_RN):
    p = joint(experts_N, labels_N).sum(dim=0)
    entropy = float(-(p[p > 0] * p[p > 0].log2()).sum())
    chance = [information(joint(experts_N, labels_N[order])) for order in shuffles_RN]
    return entropy, sum(chance) / len(chance)


def first_shuffle_only(experts_N, labels_N, shuffles_RN):
    return information(joint(experts_N, labels_N)), information(joint(experts_N, labels_N[shuffles_RN[0]]))


def both_shuffled(experts_N, labels_N, shuffles_RN):
    chance = [information(joint(experts_N[order], labels_N[order])) for order in shuffles_RN]
    return information(joint(experts_N, labels_N)), sum(chance) / len(chance)


def prefix_without_model(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    return {name.removeprefix("model."): tensor for name, tensor in keys.items()}


def up_is_w2(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    swap = {".w2.": ".w3.", ".w3.": ".w2."}
    return {
        next((name.replace(a, b) for a, b in swap.items() if a in name), name): tensor
        for name, tensor in keys.items()
    }


def in_fp32(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    return {name: tensor.float().clone() for name, tensor in keys.items()}


FRESH = {
    "10.bits_per_byte": [
        ("shifted once more", targets_shifted, {"shifted"}),
        ("divided by all places", divided_by_all_places, {"padding_in_the_mean"}),
        ("every 0 taken for padding", zero_is_padding, {"zeros_left_out"}),
    ],
    "10.causal_attention": [
        ("the mask the wrong way round", looks_ahead, {"sees_the_future"}),
        ("no mask", no_mask, {"no_mask"}),
        ("divided by P, not its root", divided_by_p, {"scaled_by_width"}),
    ],
    "10.moe_block": [
        ("softmax over all, not rescaled", softmax_over_all, {"not_renormalised"}),
        ("eps outside the root", eps_outside_the_root, {"eps_outside"}),
        ("LayerNorm", layer_norm, {"layer_norm"}),
    ],
    "10.training_loss": [
        ("z-loss not squared", z_not_squared, {"z_without_square"}),
        ("alpha and beta swapped", weights_swapped, {"weights_swapped"}),
        ("shifted the wrong way", wrong_end_cut, {"shifted_back"}),
    ],
    "10.expert_information": [
        ("entropy of the labels", entropy_of_the_labels, {"label_entropy"}),
        ("one shuffle", first_shuffle_only, {"first_shuffle"}),
        ("experts shuffled along with labels", both_shuffled, {"pairs_kept"}),
    ],
    "10.mixtral_keys": [
        ("no model. in front", prefix_without_model, {"other_stem"}),
        ("w2 and w3 swapped", up_is_w2, {"in_order"}),
        ("fp32", in_fp32, {"cast"}),
    ],
}
