"""Lessons 00 to 03: the next most plausible ones, two to four an exercise."""

import torch
import torch.nn.functional as F
from fresh.tenth.counting import four, mixtral_of
from fresh.tenth.layer import on_experts, routed, run_groups, swiglu

# 00.top2_mix


def smallest_two(logits_E, outputs_ED):
    ids = logits_E.argsort()[:2]
    return logits_E[ids].softmax(dim=-1) @ outputs_ED[ids]


def even_halves(logits_E, outputs_ED):
    return outputs_ED[logits_E.topk(2).indices].mean(dim=0)


def weights_the_other_way_round(logits_E, outputs_ED):
    values, ids = logits_E.sort()
    return values[-2:].flip(0).softmax(dim=-1) @ outputs_ED[ids[-2:]]


def topk_of_the_outputs(logits_E, outputs_ED):
    weights = logits_E.topk(2).values.softmax(dim=-1)
    return weights @ outputs_ED.topk(2, dim=0).values


# 01.router_logits


def scaled_by_the_root(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.float().T / hidden_TD.shape[1] ** 0.5


def cosine(hidden_TD, router_ED):
    return F.normalize(hidden_TD.float(), dim=-1) @ F.normalize(router_ED.float(), dim=-1).T


def in_doubles(hidden_TD, router_ED):
    return hidden_TD.double() @ router_ED.double().T


# 01.topk_gates


def always_all(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids, weights


def renormalised_the_other_way(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if not renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def along_the_tokens(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=0)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def logits_divided(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.topk(top_k, dim=-1)
    if renormalize:
        return ids, weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights.softmax(dim=-1)


# 01.sigmoid_gates


def rescaled_by_all(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, scale * scores.gather(-1, ids) / scores.sum(dim=-1, keepdim=True)


def softmax_scores(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.softmax(dim=-1)
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids)
    return ids, scale * weights / weights.sum(dim=-1, keepdim=True)


def bias_inside_the_sigmoid(logits_TE, expert_bias_E, top_k, scale):
    scores = (logits_TE + expert_bias_E).sigmoid()
    weights, ids = scores.topk(top_k, dim=-1)
    return ids, scale * weights / weights.sum(dim=-1, keepdim=True)


# 01.gate_family


def one_token_looked_at(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE[0, topk_ids_TK[0]]
    w = topk_weights_TK[0]
    if torch.allclose(w, chosen.softmax(-1), atol=1e-5):
        return "topk_softmax"
    if torch.allclose(w, logits_TE[0].softmax(-1)[topk_ids_TK[0]], atol=1e-5):
        return "softmax_topk"
    if torch.allclose(w, chosen.sigmoid(), atol=1e-5):
        return "topk_sigmoid"
    shares = chosen.sigmoid() / chosen.sigmoid().sum()
    return "sigmoid" if torch.allclose(w / w.sum(), shares, atol=1e-5) else "sqrt_softplus"


def exactly_equal(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    sigmoid = chosen.sigmoid()
    shares = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    if torch.equal(topk_weights_TK, chosen.softmax(-1)):
        return "topk_softmax"
    if torch.equal(topk_weights_TK, logits_TE.softmax(-1).gather(-1, topk_ids_TK)):
        return "softmax_topk"
    if torch.equal(topk_weights_TK, sigmoid):
        return "topk_sigmoid"
    if torch.equal(shares, sigmoid / sigmoid.sum(-1, keepdim=True)):
        return "sigmoid"
    return "sqrt_softplus"


# 02.swiglu


def silu_on_both(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD.T) * F.silu(hidden_ND @ up_FD.T)) @ down_DF.T


def relu(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.relu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def down_forgotten(hidden_ND, gate_FD, up_FD, down_DF):
    return F.silu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)


# 02.expert_bank


def experts_added(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return ((F.silu(gate) * up) @ down.mT).sum(dim=0)


def t_for_mt(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.T, down.T
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


def cut_along_the_tokens(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=1)
    return (F.silu(gate) * up) @ down.mT


# 02.moe_loop


def rescaled(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    weights = topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + weights[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def expert_by_choice(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            out[t] = out[t] + topk_weights_TK[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[k], down_EDF[k])
    return out


def one_token_after_another(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = hidden_TD.clone()
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + topk_weights_TK[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def weight_on_the_input(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + swiglu(topk_weights_TK[t, k] * hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


# 02.moe_sorted


def results_put_back_twice(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)[order]
    weighted = results * topk_weights_TK.flatten()[:, None]
    n_tokens, k = topk_ids_TK.shape
    return weighted.view(n_tokens, k, hidden_TD.shape[1]).sum(dim=1), tokens, counts


def sorted_ids_returned(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    experts, order = topk_ids_TK.flatten().sort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(experts, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), experts, counts


def weights_left_out(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    return torch.zeros_like(hidden_TD).index_add(0, tokens, results), tokens, counts


# 02.router_gradient


def detour_of_signs(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    if renormalize:
        chosen = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, 1.0).bool()
        p = logits_TE.masked_fill(~chosen, -torch.inf).softmax(-1)
    else:
        p = logits_TE.softmax(-1)
    return (p * (s - s.mean(dim=-1, keepdim=True))).T @ hidden_TD


def diagonal_of_the_softmax(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    if renormalize:
        chosen = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, 1.0).bool()
        p = logits_TE.masked_fill(~chosen, -torch.inf).softmax(-1)
    else:
        p = logits_TE.softmax(-1)
    return (p * (1 - p) * s).T @ hidden_TD


def stops_at_the_logits(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = (results_TKD * upstream_TD[:, None]).sum(-1)
    return on_experts(s, logits_TE, topk_ids_TK).T @ hidden_TD


# 02.shared_expert


def shared_averaged_in(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    out = scale * routed(results_TKD, topk_weights_TK) + swiglu(hidden_TD, gate_up_2GD, down_DG)
    return out / 2


def routed_unweighted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return scale * results_TKD.sum(dim=1) + swiglu(hidden_TD, gate_up_2GD, down_DG)


def shared_weighted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    share = topk_weights_TK.mean(dim=-1, keepdim=True)
    return scale * routed(results_TKD, topk_weights_TK) + share * swiglu(hidden_TD, gate_up_2GD, down_DG)


# 03


def router_of_hidden_width(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * (n_experts * d_expert + d_shared) + d_expert * n_experts


def biases_counted(d_model, d_expert, n_experts, d_shared):
    weights = 3 * d_model * (n_experts * d_expert + d_shared) + d_model * n_experts
    return weights + n_experts * (2 * d_expert + d_model) + n_experts


def two_matrices_each(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    matrix = n_layers * d_model * d_expert
    return total - n_experts * matrix, active - top_k * matrix


def one_norm_a_layer(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total - n_layers * d_model, active - n_layers * d_model


def active_is_a_share(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, _ = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total, total * top_k // n_experts


def six_n(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    return 2 * active, 6 * active


def one_flop_each(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = active - embedding + 2 * n_layers * n_heads * d_head * n_positions
    return flops, 3 * flops


def training_without_lookup(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    attention = 4 * n_layers * n_heads * d_head * n_positions
    return 2 * (active - embedding) + attention, 3 * (2 * active + attention)


def batch_forgotten(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context
    return total * weight_bits / 8 / 1e9, cache * cache_bits / 8 / 1e9


def bytes_returned(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8, cache * cache_bits / 8


def bits_divided_down(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * (weight_bits // 8) / 1e9, cache * (cache_bits // 8) / 1e9


def missed_experts(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "2 of 8 experts":
        return n_experts * (1 - top_k / n_experts) ** batch, "experts"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def active_for_8x7b(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "8x7B":
        return shared + top_k * expert, "parameters"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def all_experts_multiply(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "13B FLOPs":
        return 2 * (shared - embedding + n_experts * expert), "FLOP"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


FRESH = {
    "00.top2_mix": [
        ("the two smallest", smallest_two, {"smallest"}),
        ("the two averaged", even_halves, {"average"}),
        ("weights the other way round", weights_the_other_way_round, {"swapped"}),
        ("the largest two of each column", topk_of_the_outputs, set()),
    ],
    "01.router_logits": [
        ("divided by the root of D", scaled_by_the_root, {"attention_scale"}),
        ("cosines", cosine, {"cosine"}),
        ("fp64", in_doubles, {"other_dtype"}),
    ],
    "01.topk_gates": [
        ("never rescaled", always_all, {"never_renormalized"}),
        ("renormalize the wrong way round", renormalised_the_other_way, {"flag_swapped"}),
        ("top-k along the tokens", along_the_tokens, {"sliced_rows"}),
        ("logits divided by their sum", logits_divided, set()),
    ],
    "01.sigmoid_gates": [
        ("divided by the sum of all scores", rescaled_by_all, {"sum_over_all"}),
        ("softmax scores", softmax_scores, {"softmax_scores"}),
        ("bias in the sigmoid, for choice and weight", bias_inside_the_sigmoid, {"bias_everywhere"}),
    ],
    "01.gate_family": [
        ("the first token only, top-k weights compared", one_token_looked_at, {"one_token_decides"}),
        ("equality of floats", exactly_equal, set()),
    ],
    "02.swiglu": [
        ("silu on both sides", silu_on_both, {"both_sides"}),
        ("ReLU", relu, {"relu"}),
        ("no down projection", down_forgotten, {"no_down"}),
    ],
    "02.expert_bank": [
        ("experts added up", experts_added, {"summed"}),
        (".T for .mT", t_for_mt, {"layouts_mixed"}),
        ("cut along the tokens", cut_along_the_tokens, {"cut_along_another_axis"}),
    ],
    "02.moe_loop": [
        ("weights rescaled", rescaled, {"renormalized"}),
        ("expert k for choice k", expert_by_choice, {"choice_as_expert"}),
        ("begins with the hidden states", one_token_after_another, {"residual"}),
        ("the weight multiplies the input", weight_on_the_input, {"weighted_input"}),
    ],
    "02.moe_sorted": [
        ("unsorted with the order, not its inverse", results_put_back_twice, {"order_as_inverse"}),
        ("experts returned for tokens", sorted_ids_returned, {"experts_not_tokens"}),
        ("no weights", weights_left_out, {"no_weights"}),
    ],
    "02.router_gradient": [
        ("the plain mean of s subtracted", detour_of_signs, {"plain_mean"}),
        ("the diagonal only", diagonal_of_the_softmax, {"diagonal"}),
        ("s for the gradient of the logits", stops_at_the_logits, {"no_softmax"}),
    ],
    "02.shared_expert": [
        ("the average of the two parts", shared_averaged_in, {"averaged"}),
        ("routed answers without weights", routed_unweighted, {"no_weights"}),
        ("shared part times the mean weight", shared_weighted, set()),
    ],
    "03.swiglu_moe_params": [
        ("the router reads the hidden width", router_of_hidden_width, {"router_reads_expert_width"}),
        ("biases counted", biases_counted, set()),
    ],
    "03.mixtral": [
        ("two matrices an expert", two_matrices_each, {"two_matrices"}),
        ("one norm a layer", one_norm_a_layer, {"one_norm_per_layer"}),
        ("active is total times K / E", active_is_a_share, {"proportional"}),
    ],
    "03.flops_per_token": [
        ("2 N and 6 N", six_n, {"rule_of_thumb"}),
        ("one FLOP a multiply-add", one_flop_each, {"multiply_adds"}),
        ("the embedding counted in training only", training_without_lookup, {"embedding_multiplied"}),
    ],
    "03.memory": [
        ("batch forgotten", batch_forgotten, {"one_text"}),
        ("bytes", bytes_returned, {"in_bytes"}),
        ("whole bytes: 4 bits are 0", bits_divided_down, {"whole_bytes"}),
    ],
    "03.four_numbers": [
        ("experts that nobody chose", missed_experts, {"untouched"}),
        ("active for 8x7B", active_for_8x7b, {"active_for_total"}),
        ("all experts multiply", all_experts_multiply, {"all_experts_compute"}),
    ],
}
