"""Lesson 10: bits, attention, a block, a loss, a step, information, names."""

import torch
import torch.nn.functional as F
from fresh.tenth.parts import information, joint

# 10.bits_per_byte


def losses(logits_WLV, targets_WL):
    return F.cross_entropy(logits_WLV.flatten(0, 1), targets_WL.flatten(), reduction="none").view(
        targets_WL.shape
    )


def mean_of_windows(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    nats = (losses(logits_WLV, targets_WL) * real).sum(dim=1) / lengths_W
    return float(nats.mean()) / 0.6931471805599453


def padding_counted(logits_WLV, targets_WL, lengths_W):
    return float(losses(logits_WLV, targets_WL).mean()) / 0.6931471805599453


def nats(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    return float(losses(logits_WLV, targets_WL)[real].mean())


# 10.causal_attention


def attend(q, k, v, scale=True):
    length = q.shape[2]
    scores = q @ k.transpose(-1, -2)
    if scale:
        scores = scores / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf)
    return scores.softmax(dim=-1) @ v


def heads_repeated_in_turn(q_BHLP, k_BGLP, v_BGLP):
    n = q_BHLP.shape[1] // k_BGLP.shape[1]
    return attend(q_BHLP, k_BGLP.repeat(1, n, 1, 1), v_BGLP.repeat(1, n, 1, 1))


def scale_missing(q_BHLP, k_BGLP, v_BGLP):
    n = q_BHLP.shape[1] // k_BGLP.shape[1]
    return attend(q_BHLP, k_BGLP.repeat_interleave(n, dim=1), v_BGLP.repeat_interleave(n, dim=1), scale=False)


def masked_after_softmax(q_BHLP, k_BGLP, v_BGLP):
    n, length = q_BHLP.shape[1] // k_BGLP.shape[1], q_BHLP.shape[2]
    k, v = k_BGLP.repeat_interleave(n, dim=1), v_BGLP.repeat_interleave(n, dim=1)
    weights = (q_BHLP @ k.transpose(-1, -2) / q_BHLP.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights * torch.ones(length, length).tril()) @ v


# 10.moe_block


def rms(x, norm, eps):
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * norm


def experts_on(x, weights_TK, ids_TK, gate_up_proj, down_proj):
    out = torch.zeros_like(x)
    for e in range(len(gate_up_proj)):
        token, slot = torch.where(ids_TK == e)
        gate, up = (x[token] @ gate_up_proj[e].T).chunk(2, dim=-1)
        out = out.index_add(0, token, (F.silu(gate) * up) @ down_proj[e].T * weights_TK[token, slot][:, None])
    return out


def added_to_the_normalised(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = rms(stream_TD, norm_D, eps)
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return x + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def router_reads_the_stream(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = rms(stream_TD, norm_D, eps)
    values, ids = (stream_TD @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def stream_not_added(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = rms(stream_TD, norm_D, eps)
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


# 10.training_loss


def loss_of(logits, targets, router_logits_NTE, top_k, alpha, beta, k_in_f=True, over_layers="sum"):
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    balance, z = [], []
    for layer in router_logits_NTE:
        ids = layer.topk(top_k, dim=-1).indices
        rows = ids.numel() if k_in_f else len(layer)
        f = torch.bincount(ids.flatten(), minlength=layer.shape[1]) / rows
        balance.append(layer.shape[1] * (f * layer.softmax(dim=-1).mean(dim=0)).sum())
        z.append(layer.logsumexp(dim=-1).square().mean())
    balance, z = torch.stack(balance), torch.stack(z)
    if over_layers == "mean":
        return total + alpha * balance.mean() + beta * z.mean()
    return total + alpha * balance.sum() + beta * z.sum()


def not_shifted(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    return loss_of(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta)


def mean_over_layers(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    return loss_of(
        logits_BLV[:, :-1], tokens_BL[:, 1:], router_logits_NTE, top_k, alpha, beta, over_layers="mean"
    )


def f_sums_to_k(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    return loss_of(logits_BLV[:, :-1], tokens_BL[:, 1:], router_logits_NTE, top_k, alpha, beta, k_in_f=False)


# 10.training_step


def trained(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm, how="", first=1):
    weight = weight_VD.clone().detach().requires_grad_()
    for s, (inputs, targets) in enumerate(zip(inputs_SMND, targets_SMN, strict=True)):
        gradient = torch.zeros_like(weight)
        n_real = (targets != -100).sum()
        for x, y in zip(inputs, targets, strict=True):
            total = F.cross_entropy(x @ weight.T, y, ignore_index=-100, reduction="sum")
            if how == "mean of means":
                loss = total / (y != -100).sum().clamp(min=1) / len(inputs)
            else:
                loss = total / n_real
            (part,) = torch.autograd.grad(loss, weight)
            if how == "clip each":
                part = part * min(1.0, max_norm / float(part.norm().clamp(min=1e-12)))
            gradient = gradient + part
        if how != "clip each":
            gradient = gradient * min(1.0, max_norm / float(gradient.norm().clamp(min=1e-12)))
        rate = peak * min(1.0, (s + first) / warmup_steps)
        with torch.no_grad():
            weight -= rate * gradient
    return weight.detach()


def mean_of_micro_batches(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    return trained(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm, "mean of means")


def each_micro_batch_clipped(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    return trained(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm, "clip each")


def first_step_at_rate_0(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    return trained(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm, first=0)


# 10.expert_information


def in_nats(experts_N, labels_N, shuffles_RN):
    chance = [information(joint(experts_N, labels_N[order]), torch.log) for order in shuffles_RN]
    return information(joint(experts_N, labels_N), torch.log), sum(chance) / len(chance)


def log_of_0(experts_N, labels_N, shuffles_RN):
    def bits(p):
        return float((p * (p / (p.sum(1, keepdim=True) * p.sum(0, keepdim=True))).log2()).sum())

    chance = [bits(joint(experts_N, labels_N[order])) for order in shuffles_RN]
    return bits(joint(experts_N, labels_N)), sum(chance) / len(chance)


def one_table_of_all_shuffles(experts_N, labels_N, shuffles_RN):
    pooled = torch.stack([joint(experts_N, labels_N[order]) for order in shuffles_RN]).mean(dim=0)
    return information(joint(experts_N, labels_N)), information(pooled)


# 10.mixtral_keys


def keys_of(router_ED, gate_up_proj, down_proj, layer, w1=0, own=True):
    prefix = f"model.layers.{layer}.block_sparse_moe."
    keys = {prefix + "gate.weight": router_ED}
    for e in range(len(gate_up_proj)):
        halves = gate_up_proj[e].chunk(2, dim=0)
        keys[f"{prefix}experts.{e}.w1.weight"] = halves[w1]
        keys[f"{prefix}experts.{e}.w2.weight"] = down_proj[e]
        keys[f"{prefix}experts.{e}.w3.weight"] = halves[1 - w1]
    return {name: tensor.clone() if own else tensor for name, tensor in keys.items()}


def w1_is_up(router_ED, gate_up_proj, down_proj, layer):
    return keys_of(router_ED, gate_up_proj, down_proj, layer, w1=1)


def views(router_ED, gate_up_proj, down_proj, layer):
    return keys_of(router_ED, gate_up_proj, down_proj, layer, own=False)


def down_transposed(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    return {name: tensor.T.contiguous() if ".w2." in name else tensor for name, tensor in keys.items()}


FRESH = {
    "10.bits_per_byte": [
        ("the mean of the windows' means", mean_of_windows, {"mean_of_means"}),
        ("padding counted", padding_counted, {"padding_scored"}),
        ("nats", nats, {"nats"}),
    ],
    "10.causal_attention": [
        ("repeat for repeat_interleave", heads_repeated_in_turn, {"heads_in_turn"}),
        ("no division by the root of P", scale_missing, {"no_scale"}),
        ("masked after the softmax", masked_after_softmax, {"masked_after"}),
    ],
    "10.moe_block": [
        ("added to the normalised stream", added_to_the_normalised, {"residual_from_normed"}),
        ("the router reads the raw stream", router_reads_the_stream, {"routes_on_stream"}),
        ("the stream not added", stream_not_added, {"no_residual"}),
    ],
    "10.training_loss": [
        ("not shifted", not_shifted, {"unshifted"}),
        ("mean over the layers", mean_over_layers, {"layer_mean"}),
        ("f sums to K", f_sums_to_k, {"load_sums_to_k"}),
    ],
    "10.training_step": [
        ("the mean of the micro-batches' means", mean_of_micro_batches, {"mean_of_means"}),
        ("each micro-batch clipped", each_micro_batch_clipped, {"each_clipped"}),
        ("the first step at rate 0", first_step_at_rate_0, {"rate_too_late"}),
    ],
    "10.expert_information": [
        ("nats", in_nats, {"nats"}),
        ("log of 0", log_of_0, {"zero_cells"}),
        ("one table of all shuffles", one_table_of_all_shuffles, {"pooled"}),
    ],
    "10.mixtral_keys": [
        ("w1 and w3 swapped", w1_is_up, {"halves_swapped"}),
        ("views", views, {"views"}),
        ("w2 transposed", down_transposed, {"down_transposed"}),
    ],
}
