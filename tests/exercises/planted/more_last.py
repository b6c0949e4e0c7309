"""More answers to lessons 11 to 16: ways to make a mistake that answers from the notebooks alone had."""

import torch
from fresh.first import fine_grained
from fresh.seventh import cuts, drafts, frontier, information, ranks, serving
from fresh.sixth import late


def numbered_a_times_a(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    n_groups, size = expert_logits_TAB.shape[1:]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups.unsqueeze(-1).expand(-1, -1, size))
    inner_values, places = inner.topk(top_experts)
    weights = (values.softmax(-1).unsqueeze(-1) * inner_values.softmax(-1)).flatten(1)
    ids = (groups.unsqueeze(-1) * n_groups + places).flatten(1)
    total = torch.zeros(n_groups * size).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, total.view(n_groups, size)


def ring_backwards(rows_SD, splits_GG):
    G = len(splits_GG)
    blocks = rows_SD.split(splits_GG.flatten().tolist())
    return torch.cat([blocks[(h - i) % G * G + h] for h in range(G) for i in range(G)])


def starts_by_slices(rows_SD, splits_GG):
    G, at = len(splits_GG), [0]
    for n in splits_GG.sum(0).tolist():
        at.append(at[-1] + n)
    parts = [[] for _ in range(G)]
    for g in range(G):
        here = at[g]
        for h in range(G):
            parts[h].append(rows_SD[here : here + int(splits_GG[g, h])])
            here += int(splits_GG[g, h])
    return torch.cat([torch.cat(part) for part in parts])


def codes_of_nan(weight_FD, bits, group):
    """Codes made whole numbers first, and the weights of these."""
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (-1, group))
    scale = grouped.abs().amax(-1, keepdim=True) / top
    codes = torch.round(grouped / scale).long()
    return codes.flatten(1), scale.squeeze(-1), (codes * scale).flatten(1)


def rarest_in_a_dict(ids_NK, capacity, n_experts):
    uses, hits = {}, []
    for row in ids_NK.tolist():
        hits.append(sum(e in uses for e in row))
        for e in row:
            if e not in uses and len(uses) == capacity:
                del uses[min((old for old in uses if old not in row), key=uses.get)]
            uses[e] = uses.get(e, 0) + 1
    return torch.tensor(hits), torch.tensor([e in uses for e in range(n_experts)])


WRONG = {
    "11.hierarchical": {
        "ids_transposed:importance too": cuts.numbered_by_groups,
        "times_groups:importance too": numbered_a_times_a,
        "id_within_group:importance too": late.levels_within,
        "importance_turned_over": fine_grained.levels_importance_transposed,
    },
    "12.beyond_the_token": {"numbers_collide:kind by kind": information.joint_by_a_number},
    "12.what_is_it": {"no_baseline:asked last": information.never_mind_the_untrained},
    "14.exchange": {
        "received_in_a_ring": ranks.round_the_ring,
        "received_in_a_ring:backwards": ring_backwards,
        "starts_of_receivers": ranks.starts_from_columns,
        "starts_of_receivers:slices": starts_by_slices,
    },
    "14.expert_major": {"ids_begin_only_once": ranks.ids_by_expert_then_sender},
    "14.reduce_gradients": {
        "given_back_to_others": ranks.given_back_interleaved,
        "replicas_not_summed:n_ep": ranks.replica_has_it_all,
    },
    "14.balance": {"one_copy_for_each_of_the_hottest:in turn": ranks.one_copy_for_each_hot},
    "15.continuous": {"waits_for_a_full_batch:the notebook's": serving.batch_after_batch},
    "15.expert_cache": {
        "least_frequent:in a set": serving.least_often_used,
        "least_frequent:in a dict": rarest_in_a_dict,
    },
    "15.quantise": {
        "largest_value_not_magnitude:both ends": serving.largest_without_abs,
        "zero_group_is_nan:codes too": serving.zeros_by_zero,
        "zero_group_is_nan:codes alone": codes_of_nan,
    },
    "15.speculate": {"residual_not_normalised:argmax": drafts.rest_not_made_to_sum},
    "16.product_keys": {"positions_not_ids:by M": frontier.candidates_for_rows},
}
"""By exercise; each lesson's module adds what is its own."""


def add_to(wrong):
    """Put these beside a lesson's other planted answers."""
    for exercise in wrong:
        wrong[exercise] = {**wrong[exercise], **WRONG.get(exercise, {})}
