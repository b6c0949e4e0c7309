"""Unseen wrong answers to lesson 10's model, written from the lesson's text alone."""

import math

import torch
import torch.nn.functional as F

# 10.bits_per_byte


def bits_of_windows(logits_WLV, targets_WL, lengths_W):
    means = []
    for w in range(len(lengths_W)):
        n = int(lengths_W[w])
        means.append(F.cross_entropy(logits_WLV[w, :n], targets_WL[w, :n]) / math.log(2))
    return float(torch.stack(means).mean())


def bits_nats(logits_WLV, targets_WL, lengths_W):
    mask = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    return F.cross_entropy(logits_WLV[mask], targets_WL[mask]).item()


def bits_padding(logits_WLV, targets_WL, lengths_W):
    logp = logits_WLV.log_softmax(-1).gather(-1, targets_WL.unsqueeze(-1))
    return (-logp.mean() / math.log(2)).item()


def bits_shifted(logits_WLV, targets_WL, lengths_W):
    L = targets_WL.shape[1]
    logp = F.log_softmax(logits_WLV[:, :-1], dim=-1)
    nll = -logp.gather(2, targets_WL[:, 1:, None])[..., 0] / math.log(2)
    real = torch.arange(1, L) < lengths_W[:, None]
    return float(nll[real].mean())


def bits_one_more(logits_WLV, targets_WL, lengths_W):
    p = logits_WLV.softmax(-1).gather(-1, targets_WL[..., None]).squeeze(-1)
    real = torch.arange(targets_WL.shape[1])[None, :] <= lengths_W[:, None]
    return -p[real].log2().mean().item()


def bits_of_mean_p(logits_WLV, targets_WL, lengths_W):
    p = torch.softmax(logits_WLV, dim=-1).gather(-1, targets_WL[..., None]).squeeze(-1)
    real = torch.arange(targets_WL.shape[1]) < lengths_W.unsqueeze(1)
    return -math.log2(p[real].mean())


# 10.causal_attention


def _heads(k, H):
    return k.repeat_interleave(H // k.shape[1], dim=1)


def attention_whole_width(q_BHLP, k_BGLP, v_BGLP):
    _, H, L, P = q_BHLP.shape
    s = q_BHLP @ _heads(k_BGLP, H).mT / math.sqrt(H * P)
    s = s.masked_fill(~torch.ones(L, L, dtype=torch.bool).tril(), float("-inf"))
    return s.softmax(-1) @ _heads(v_BGLP, H)


def attention_round_robin(q_BHLP, k_BGLP, v_BGLP):
    _, H, L, P = q_BHLP.shape
    n = H // k_BGLP.shape[1]
    k, v = k_BGLP.repeat(1, n, 1, 1), v_BGLP.repeat(1, n, 1, 1)
    s = torch.einsum("bhlp,bhmp->bhlm", q_BHLP, k) * P**-0.5
    s = s + torch.full((L, L), -torch.inf).triu(1)
    return torch.einsum("bhlm,bhmp->bhlp", s.softmax(dim=-1), v)


def attention_mask_late(q_BHLP, k_BGLP, v_BGLP):
    _, H, L, P = q_BHLP.shape
    a = (q_BHLP @ _heads(k_BGLP, H).transpose(-1, -2) / P**0.5).softmax(dim=-1)
    return (a * torch.ones(L, L).tril()) @ _heads(v_BGLP, H)


def attention_zero_score(q_BHLP, k_BGLP, v_BGLP):
    _, H, _, P = q_BHLP.shape
    s = q_BHLP @ _heads(k_BGLP, H).transpose(-1, -2) / P**0.5
    return s.tril().softmax(-1) @ _heads(v_BGLP, H)


def attention_over_queries(q_BHLP, k_BGLP, v_BGLP):
    _, H, L, P = q_BHLP.shape
    s = q_BHLP @ _heads(k_BGLP, H).transpose(-1, -2) / math.sqrt(P)
    s = s.masked_fill(torch.ones(L, L).tril() == 0, float("-inf"))
    return s.softmax(dim=-2) @ _heads(v_BGLP, H)


def attention_past_only(q_BHLP, k_BGLP, v_BGLP):
    _, H, L, P = q_BHLP.shape
    s = q_BHLP @ _heads(k_BGLP, H).mT / math.sqrt(P)
    seen = torch.ones(L, L, dtype=torch.bool).tril(-1)
    seen[0, 0] = True
    return s.masked_fill(~seen, -1e9).softmax(-1) @ _heads(v_BGLP, H)


# 10.moe_block


def _rms(x, scale, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * scale


def _experts(x, ids, w, gate_up_proj, down_proj, swap=False):
    out = torch.zeros_like(x)
    for e in range(len(down_proj)):
        t, k = torch.where(ids == e)
        g, u = (x[t] @ gate_up_proj[e].T).chunk(2, dim=-1)
        if swap:
            g, u = u, g
        out = out.index_add(0, t, (F.silu(g) * u) @ down_proj[e].T * w[t, k, None])
    return out


def block_adds_to_norm(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = _rms(stream_TD, norm_D, eps)
    v, ids = (x @ router_ED.T).topk(top_k)
    return x + _experts(x, ids, v.softmax(-1), gate_up_proj, down_proj)


def block_layer_norm(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = F.layer_norm(stream_TD, norm_D.shape, weight=norm_D, eps=eps)
    v, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + _experts(x, ids, v.softmax(-1), gate_up_proj, down_proj)


def block_router_raw(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    v, ids = F.linear(stream_TD, router_ED).topk(top_k, dim=-1)
    x = _rms(stream_TD, norm_D, eps)
    return stream_TD + _experts(x, ids, F.softmax(v, dim=-1), gate_up_proj, down_proj)


def block_up_first(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = _rms(stream_TD, norm_D, eps)
    v, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + _experts(x, ids, v.softmax(-1), gate_up_proj, down_proj, swap=True)


def block_not_rescaled(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = _rms(stream_TD, norm_D, eps)
    p, ids = (x @ router_ED.T).softmax(-1).topk(top_k, dim=-1)
    return stream_TD + _experts(x, ids, p, gate_up_proj, down_proj)


def block_eps_outside(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = stream_TD / (stream_TD.pow(2).mean(-1, keepdim=True).sqrt() + eps) * norm_D
    v, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + _experts(x, ids, v.softmax(-1), gate_up_proj, down_proj)


# 10.mixtral_keys

PREFIX = "model.layers.{}.block_sparse_moe."


def keys_contiguous(router_ED, gate_up_proj, down_proj, layer):
    p = PREFIX.format(layer)
    out = {p + "gate.weight": router_ED.contiguous()}
    for e in range(len(down_proj)):
        gate, up = gate_up_proj[e].chunk(2)
        out[f"{p}experts.{e}.w1.weight"] = gate.contiguous()
        out[f"{p}experts.{e}.w2.weight"] = down_proj[e].contiguous()
        out[f"{p}experts.{e}.w3.weight"] = up.contiguous()
    return out


def keys_interleaved(router_ED, gate_up_proj, down_proj, layer):
    p = PREFIX.format(layer)
    out = {p + "gate.weight": router_ED.clone()}
    for e in range(len(down_proj)):
        out[f"{p}experts.{e}.w1.weight"] = gate_up_proj[e, 0::2].clone()
        out[f"{p}experts.{e}.w2.weight"] = down_proj[e].clone()
        out[f"{p}experts.{e}.w3.weight"] = gate_up_proj[e, 1::2].clone()
    return out


def keys_down_turned(router_ED, gate_up_proj, down_proj, layer):
    p = PREFIX.format(layer)
    out = {p + "gate.weight": router_ED.clone()}
    half = gate_up_proj.shape[1] // 2
    for e, (gu, d) in enumerate(zip(gate_up_proj, down_proj, strict=True)):
        out[f"{p}experts.{e}.w1.weight"] = gu[:half].clone()
        out[f"{p}experts.{e}.w2.weight"] = d.T.contiguous()
        out[f"{p}experts.{e}.w3.weight"] = gu[half:].clone()
    return out


def keys_in_reading_order(router_ED, gate_up_proj, down_proj, layer):
    p = PREFIX.format(layer)
    out = {p + "gate.weight": router_ED.clone()}
    for e in range(len(down_proj)):
        gate, up = gate_up_proj[e].chunk(2)
        for i, w in enumerate((gate, up, down_proj[e]), start=1):
            out[f"{p}experts.{e}.w{i}.weight"] = w.clone()
    return out


def keys_floats(router_ED, gate_up_proj, down_proj, layer):
    p = PREFIX.format(layer)
    out = {p + "gate.weight": router_ED.float().clone()}
    for e in range(len(down_proj)):
        gate, up = gate_up_proj[e].float().chunk(2)
        out[f"{p}experts.{e}.w1.weight"] = gate.clone()
        out[f"{p}experts.{e}.w2.weight"] = down_proj[e].float().clone()
        out[f"{p}experts.{e}.w3.weight"] = up.clone()
    return out


def keys_short(router_ED, gate_up_proj, down_proj, layer):
    p = f"model.layers.{layer}.block_sparse_moe."
    out = {p + "gate": router_ED.clone()}
    for e in range(len(down_proj)):
        gate, up = gate_up_proj[e].chunk(2)
        out[f"{p}experts.{e}.w1"] = gate.clone()
        out[f"{p}experts.{e}.w2"] = down_proj[e].clone()
        out[f"{p}experts.{e}.w3"] = up.clone()
    return out
