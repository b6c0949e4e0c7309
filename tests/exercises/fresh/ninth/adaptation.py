"""Fresh wrong answers to lesson 13, six an exercise."""

import torch
from scipy.optimize import linear_sum_assignment

# 13.what_trains


def letters_of_gate(names, plan):
    trains = []
    for name in names.split("\n"):
        router = "gate" in name or "router" in name
        expert = "experts" in name and not router
        if plan == "all":
            trains.append(True)
        elif plan == "router frozen":
            trains.append(not router)
        elif plan == "experts frozen":
            trains.append(not expert)
        elif plan == "only experts":
            trains.append(expert)
        elif plan == "only router":
            trains.append(router)
        else:
            trains.append(not router and not expert)
    return trains


def letters_of_experts(names, plan):
    answer = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = any("experts" in part for part in parts)
        answer.append(
            {
                "all": True,
                "router frozen": not is_router,
                "experts frozen": not is_expert,
                "only experts": is_expert,
                "only router": is_router,
                "only the rest": not (is_router or is_expert),
            }[plan]
        )
    return answer


def between_two_dots(names, plan):
    out = []
    for n in names.splitlines():
        router = ".gate." in n or ".router." in n
        expert = ".experts." in n
        out.append(
            {
                "all": True,
                "router frozen": not router,
                "experts frozen": not expert,
                "only experts": expert,
                "only router": router,
                "only the rest": not router and not expert,
            }[plan]
        )
    return torch.tensor(out)


def no_module_router(names, plan):
    out = []
    for name in names.split("\n"):
        parts = name.split(".")
        kind = "router" if "gate" in parts else "expert" if "experts" in parts else "rest"
        if plan == "all":
            out.append(True)
        elif plan.startswith("only"):
            wanted = {"only experts": "expert", "only router": "router", "only the rest": "rest"}[plan]
            out.append(kind == wanted)
        else:
            out.append(kind != {"router frozen": "router", "experts frozen": "expert"}[plan])
    return out


def what_is_frozen(names, plan):
    frozen = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = "experts" in parts
        is_rest = not is_router and not is_expert
        if plan == "all":
            f = False
        elif plan == "router frozen":
            f = is_router
        elif plan == "experts frozen":
            f = is_expert
        elif plan == "only experts":
            f = is_router or is_rest
        elif plan == "only router":
            f = is_expert or is_rest
        else:
            f = is_router or is_expert
        frozen.append(f)
    return frozen


def rest_is_no_expert(names, plan):
    out = []
    for name in names.splitlines():
        parts = name.split(".")
        router = "gate" in parts or "router" in parts
        expert = "experts" in parts
        if plan == "all":
            out.append(True)
        elif plan == "router frozen":
            out.append(not router)
        elif plan == "experts frozen" or plan == "only the rest":
            out.append(not expert)
        elif plan == "only experts":
            out.append(expert)
        else:
            out.append(router)
    return out


# 13.upcycle


def cut_across_gate_and_up(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    gate_up_EHD = torch.stack(gate_up_HD.chunk(G)).repeat(R, 1, 1)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat(R, 1, 1)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(G, dim=0), float(G)


def rows_in_turn(gate_up_HD, down_DF, rows_RD, granularity):
    gate, up = gate_up_HD.chunk(2)
    slices = [torch.cat([g, u]) for g, u in zip(gate.chunk(granularity), up.chunk(granularity), strict=True)]
    downs = list(down_DF.chunk(granularity, dim=1))
    R = len(rows_RD)
    return torch.stack(slices * R), torch.stack(downs * R), rows_RD.repeat(granularity, 1), granularity


def each_slice_r_times(gate_up_HD, down_DF, rows_RD, granularity):
    R = rows_RD.shape[0]
    gate, up = gate_up_HD.chunk(2)
    F = gate.shape[0]
    n = F // granularity
    experts, downs = [], []
    for g in range(granularity):
        s = slice(g * n, (g + 1) * n)
        experts.append(torch.cat([gate[s], up[s]]))
        downs.append(down_DF[:, s])
    gate_up_EHD = torch.stack(experts).repeat_interleave(R, dim=0)
    down_EDF = torch.stack(downs).repeat_interleave(R, dim=0)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(granularity, dim=0), granularity


def down_reshaped(gate_up_HD, down_DF, rows_RD, granularity):
    R, D = rows_RD.shape
    F = down_DF.shape[1]
    gate_up = gate_up_HD.reshape(2, granularity, F // granularity, D).transpose(0, 1)
    gate_up = gate_up.reshape(granularity, 2 * F // granularity, D).repeat(R, 1, 1)
    down = down_DF.reshape(granularity, D, F // granularity).repeat(R, 1, 1)
    return gate_up, down, rows_RD.repeat_interleave(granularity, 0), granularity


def factor_one_over_g(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate, up = gate_up_HD.chunk(2)
    pairs = zip(gate.chunk(granularity), up.chunk(granularity), strict=True)
    experts = torch.stack([torch.cat(pair) for pair in pairs]).repeat(R, 1, 1)
    downs = torch.stack(down_DF.chunk(granularity, 1)).repeat(R, 1, 1)
    return experts, downs, rows_RD.repeat_interleave(granularity, 0), 1 / granularity


def factor_one(gate_up_HD, down_DF, rows_RD, granularity):
    """The softmax sums to 1, so there is nothing to make up for."""
    R = len(rows_RD)
    gate, up = gate_up_HD.chunk(2)
    pairs = zip(gate.chunk(granularity), up.chunk(granularity), strict=True)
    experts = torch.stack([torch.cat(pair) for pair in pairs]).repeat(R, 1, 1)
    downs = torch.stack(down_DF.chunk(granularity, 1)).repeat(R, 1, 1)
    return experts, downs, rows_RD.repeat_interleave(granularity, 0), 1.0


# 13.saliency


def sum_of_additions(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values = topk_weights_TK * outputs_TKD.norm(dim=-1)
    return torch.zeros(n_experts, dtype=values.dtype).index_add(0, topk_ids_TK.flatten(), values.flatten())


def mean_over_all_tokens(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    scores = []
    for e in range(n_experts):
        scores.append((values_TK * (topk_ids_TK == e)).sum(dim=1).mean())
    return torch.stack(scores)


def length_alone(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    norms = outputs_TKD.norm(dim=-1)
    saliency = torch.zeros(n_experts, dtype=norms.dtype)
    for e in range(n_experts):
        mask = topk_ids_TK == e
        if mask.any():
            saliency[e] = norms[mask].mean()
    return saliency


def unused_is_nan(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    added_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    return torch.stack([added_TK[topk_ids_TK == e].mean() for e in range(n_experts)])


def by_the_sum_of_weights(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    ids = topk_ids_TK.flatten()
    weights = topk_weights_TK.flatten()
    added = weights * outputs_TKD.norm(dim=-1).flatten()
    total = torch.zeros(n_experts, dtype=added.dtype).index_add(0, ids, added)
    weight = torch.zeros(n_experts, dtype=added.dtype).index_add(0, ids, weights)
    return torch.where(weight > 0, total / weight.clamp(min=1e-12), torch.zeros_like(total))


def length_of_the_mean(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    weighted = topk_weights_TK.unsqueeze(-1) * outputs_TKD
    out = []
    for e in range(n_experts):
        mine = weighted[topk_ids_TK == e]
        out.append(mine.mean(0).norm() if len(mine) else torch.zeros((), dtype=weighted.dtype))
    return torch.stack(out)


# 13.prune


def _table(kept, n):
    new = torch.full((n,), -1)
    new[kept] = torch.arange(len(kept))
    return new


def in_order_of_score(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept = saliency_E.topk(n_keep).indices
    new_E = _table(kept, len(saliency_E))
    return router_ED[kept], bias_E[kept], experts_EP[kept], new_E[topk_ids_TK]


def old_numbers_stay(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept = saliency_E.topk(n_keep).indices.sort().values
    ids = torch.where(torch.isin(topk_ids_TK, kept), topk_ids_TK, torch.full_like(topk_ids_TK, -1))
    return router_ED[kept], bias_E[kept], experts_EP[kept], ids


def the_lowest_stay(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept = saliency_E.argsort()[:n_keep].sort().values
    new_E = _table(kept, len(saliency_E))
    return router_ED[kept], bias_E[kept], experts_EP[kept], new_E[topk_ids_TK]


def gone_is_zero(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept = saliency_E.topk(n_keep).indices.sort().values
    new_E = torch.zeros(len(saliency_E), dtype=torch.long)
    new_E[kept] = torch.arange(n_keep)
    return router_ED[kept], bias_E[kept], experts_EP[kept], new_E[topk_ids_TK]


def bias_whole(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept = torch.sort(torch.topk(saliency_E, n_keep).indices).values
    new_E = _table(kept, len(saliency_E))
    return router_ED[kept], bias_E, experts_EP[kept], new_E[topk_ids_TK]


def counted_from_one(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    """A running count of the kept, without the - 1."""
    keep = torch.zeros(len(saliency_E), dtype=torch.bool)
    keep[saliency_E.topk(n_keep).indices] = True
    new_E = torch.where(keep, keep.cumsum(0), -1)
    return router_ED[keep], bias_E[keep], experts_EP[keep], new_E[topk_ids_TK]


# 13.merge


def _split(gate_up_HD):
    half = gate_up_HD.shape[0] // 2
    return gate_up_HD[:half], gate_up_HD[half:]


def least_alike(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    """Without maximize=True."""
    ga, ua = gate_up_a_HD.chunk(2)
    gb, ub = gate_up_b_HD.chunk(2)
    table = ga @ gb.T + ua @ ub.T + down_a_DF.T @ down_b_DF
    p = torch.as_tensor(linear_sum_assignment(table.numpy())[1])
    gate_up_b = torch.cat([gb[p], ub[p]])
    down_b = down_b_DF[:, p]
    return (
        weight_a * gate_up_a_HD + (1 - weight_a) * gate_up_b,
        weight_a * down_a_DF + (1 - weight_a) * down_b,
    )


def each_takes_its_favourite(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    ga, ua = _split(gate_up_a_HD)
    gb, ub = _split(gate_up_b_HD)
    p = (ga @ gb.T + ua @ ub.T + down_a_DF.T @ down_b_DF).argmax(dim=1)
    gate = weight_a * ga + (1 - weight_a) * gb[p]
    up = weight_a * ua + (1 - weight_a) * ub[p]
    down = weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p]
    return torch.cat([gate, up]), down


def other_way_round(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    ga, ua = gate_up_a_HD.chunk(2)
    gb, ub = gate_up_b_HD.chunk(2)
    table = gb @ ga.T + ub @ ua.T + down_b_DF.T @ down_a_DF
    p = torch.from_numpy(linear_sum_assignment(table.numpy(), maximize=True)[1])
    gate_up_b = torch.cat([gb[p], ub[p]])
    return (
        weight_a * gate_up_a_HD + (1 - weight_a) * gate_up_b,
        weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p],
    )


def down_stays_where_it_was(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    ga, ua = gate_up_a_HD.chunk(2)
    gb, ub = gate_up_b_HD.chunk(2)
    table = ga @ gb.T + ua @ ub.T + down_a_DF.T @ down_b_DF
    _, p = linear_sum_assignment(table.numpy(), maximize=True)
    gate_up = weight_a * gate_up_a_HD + (1 - weight_a) * torch.cat([gb[p], ub[p]])
    down = weight_a * down_a_DF + (1 - weight_a) * down_b_DF
    return gate_up, down


def paired_by_gate_alone(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    ga, ua = gate_up_a_HD.chunk(2)
    gb, ub = gate_up_b_HD.chunk(2)
    p = torch.as_tensor(linear_sum_assignment((ga @ gb.T).numpy(), maximize=True)[1])
    gate = weight_a * ga + (1 - weight_a) * gb[p]
    up = weight_a * ua + (1 - weight_a) * ub[p]
    return torch.cat([gate, up]), weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p]


def weights_swapped(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    ga, ua = gate_up_a_HD.chunk(2)
    gb, ub = gate_up_b_HD.chunk(2)
    table = ga @ gb.T + ua @ ub.T + down_a_DF.T @ down_b_DF
    p = torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
    gate_up = torch.lerp(gate_up_a_HD, torch.cat([gb[p], ub[p]]), weight_a)
    return gate_up, torch.lerp(down_a_DF, down_b_DF[:, p], weight_a)


# 13.replay


def as_recorded(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return rollout_weights_TK


def over_all_experts(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.softmax(dim=-1).gather(1, replayed_ids_TK)


def own_choice(logits_TE, replayed_ids_TK, rollout_weights_TK):
    k = replayed_ids_TK.shape[1]
    return logits_TE.topk(k, dim=-1).values.softmax(dim=-1)


def down_the_tokens(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return torch.softmax(logits_TE.gather(1, replayed_ids_TK), dim=0)


def recorded_values_own_gradient(logits_TE, replayed_ids_TK, rollout_weights_TK):
    weights_TK = logits_TE.gather(1, replayed_ids_TK).softmax(-1)
    return rollout_weights_TK + weights_TK - weights_TK.detach()


def others_at_zero(logits_TE, replayed_ids_TK, rollout_weights_TK):
    """The logits of the other experts set to 0, and not to minus infinity."""
    mask = torch.zeros_like(logits_TE).scatter(1, replayed_ids_TK, 1.0)
    return (logits_TE * mask).softmax(-1).gather(1, replayed_ids_TK)


FRESH = {
    "13.what_trains": [
        ("'gate' and 'experts' anywhere in the name", letters_of_gate, {"gate_substring"}),
        ("'experts' as a part of a module's name", letters_of_experts, {"shared_plural"}),
        ("'.gate.' with a dot before it: not found where the name begins", between_two_dots, {"dot_before"}),
        ("a module called router forgotten", no_module_router, {"router_called_gate"}),
        ("True for what is frozen", what_is_frozen, {"inverted"}),
        ("the rest is all that is no expert, routers too", rest_is_no_expert, {"rest_keeps_router"}),
    ],
    "13.upcycle": [
        ("gate_up cut in G without parting gate and up", cut_across_gate_and_up, {"stacked_rows"}),
        ("router rows repeated as a whole: r0 r1 r0 r1", rows_in_turn, {"router_tiled"}),
        ("slice 0 of all copies first", each_slice_r_times, {"slice_major"}),
        ("down reshaped to [G, D, F/G], not cut by columns", down_reshaped, {"down_reshaped"}),
        ("factor 1/G", factor_one_over_g, {"factor_inverse"}),
        ("factor 1", factor_one, {"factor_one"}),
    ],
    "13.saliency": [
        ("the sum", sum_of_additions, {"sum_not_mean"}),
        ("the mean over all tokens", mean_over_all_tokens, {"over_all_tokens"}),
        ("lengths without the weights", length_alone, {"no_weight"}),
        ("NaN for an expert without tokens", unused_is_nan, {"nan_for_idle"}),
        ("divided by the sum of weights", by_the_sum_of_weights, {"weighted_mean"}),
        ("the length of the mean output", length_of_the_mean, {"length_of_the_mean"}),
    ],
    "13.prune": [
        ("kept in order of score", in_order_of_score, {"in_order_of_saliency"}),
        ("ids not renumbered", old_numbers_stay, {"ids_not_renumbered"}),
        ("the lowest scores kept", the_lowest_stay, {"least_kept"}),
        ("0 where the expert is gone", gone_is_zero, {"removed_become_0"}),
        ("the bias not cut", bias_whole, {"bias_first_entries"}),
        ("new numbers begin at 1", counted_from_one, {"numbered_from_1"}),
    ],
    "13.merge": [
        ("minimised, without maximize=True", least_alike, {"worst_match"}),
        ("argmax: two units of a may take the same of b", each_takes_its_favourite, {"each_its_best"}),
        ("the inverse of the pairing", other_way_round, {"inverse_order"}),
        ("down's columns not permuted", down_stays_where_it_was, {"down_stays"}),
        ("paired by the gate rows alone", paired_by_gate_alone, {"matched_by_one_part"}),
        ("weight_a given to b", weights_swapped, {"weights_swapped"}),
    ],
    "13.replay": [
        ("the recorded weights returned", as_recorded, {"rollout_weights"}),
        ("softmax over all experts", over_all_experts, {"softmax_over_all"}),
        ("the trainer's own top-k", own_choice, {"own_choice"}),
        ("softmax over the tokens", down_the_tokens, {"over_the_tokens"}),
        ("recorded values with the trainer's gradient", recorded_values_own_gradient, {"straight_through"}),
        ("the others masked with 0, not with -inf", others_at_zero, {"masked_by_zero"}),
    ],
}
