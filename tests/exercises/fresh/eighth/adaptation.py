"""Lesson 13: what trains, dense to sparse, and a replayed routing."""

import torch

# 13.what_trains


def plan_of(is_router, is_expert, plan):
    """Say whether a plan trains a parameter of this kind."""
    if plan == "all":
        return True
    if plan == "router frozen":
        return not is_router
    if plan == "experts frozen":
        return not is_expert
    if plan == "only experts":
        return is_expert
    if plan == "only router":
        return is_router
    return not is_router and not is_expert


def trains_by_letters(names, plan):
    return [
        plan_of("gate" in name or "router" in name, "experts" in name, plan) for name in names.splitlines()
    ]


def trains_shared_are_experts(names, plan):
    found = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        found.append(plan_of(is_router, "expert" in name and not is_router, plan))
    return found


def trains_last_module(names, plan):
    found = []
    for name in names.splitlines():
        parts = name.split(".")
        found.append(plan_of(parts[-2:-1] in (["gate"], ["router"]), "experts" in parts, plan))
    return found


def trains_gate_only(names, plan):
    found = []
    for name in names.splitlines():
        parts = name.split(".")
        found.append(plan_of("gate" in parts, "experts" in parts, plan))
    return found


def trains_what_is_frozen(names, plan):
    frozen = []
    for name in names.splitlines():
        parts = name.split(".")
        frozen.append(not plan_of("gate" in parts or "router" in parts, "experts" in parts, plan))
    return frozen


def trains_rest_with_router(names, plan):
    found = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router, is_expert = "gate" in parts or "router" in parts, "experts" in parts
        trains = {
            "all": True,
            "router frozen": not is_router,
            "experts frozen": not is_expert,
            "only experts": is_expert,
            "only router": is_router,
            "only the rest": not is_expert,
        }
        found.append(trains[plan])
    return found


# 13.upcycle


def slices_of(gate_up_HD, down_DF, granularity):
    """Cut a dense network into slices of neighbouring hidden units."""
    gate_FD, up_FD = gate_up_HD.chunk(2)
    gates, ups = gate_FD.chunk(granularity), up_FD.chunk(granularity)
    gate_up_GHD = torch.stack([torch.cat(pair) for pair in zip(gates, ups, strict=True)])
    return gate_up_GHD, torch.stack(down_DF.chunk(granularity, dim=1))


def upcycle_gate_and_up_as_one(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate_up_GHD = torch.stack(gate_up_HD.chunk(granularity))
    down_GDF = torch.stack(down_DF.chunk(granularity, dim=1))
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return gate_up_GHD.repeat(R, 1, 1), down_GDF.repeat(R, 1, 1), rows_ED, float(granularity)


def upcycle_rows_repeated(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate_up_GHD, down_GDF = slices_of(gate_up_HD, down_DF, granularity)
    rows_ED = rows_RD.repeat(granularity, 1)
    return gate_up_GHD.repeat(R, 1, 1), down_GDF.repeat(R, 1, 1), rows_ED, float(granularity)


def upcycle_slice_by_slice(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate_up_GHD, down_GDF = slices_of(gate_up_HD, down_DF, granularity)
    experts = gate_up_GHD.repeat_interleave(R, dim=0), down_GDF.repeat_interleave(R, dim=0)
    return *experts, rows_RD.repeat_interleave(granularity, dim=0), float(granularity)


def upcycle_down_reshaped(gate_up_HD, down_DF, rows_RD, granularity):
    R, (D, n_units) = len(rows_RD), down_DF.shape
    gate_up_GHD, _ = slices_of(gate_up_HD, down_DF, granularity)
    down_GDF = down_DF.reshape(granularity, D, n_units // granularity)
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return gate_up_GHD.repeat(R, 1, 1), down_GDF.repeat(R, 1, 1), rows_ED, float(granularity)


def upcycle_factor_is_a_share(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate_up_GHD, down_GDF = slices_of(gate_up_HD, down_DF, granularity)
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return gate_up_GHD.repeat(R, 1, 1), down_GDF.repeat(R, 1, 1), rows_ED, 1 / granularity


def upcycle_factor_is_experts(gate_up_HD, down_DF, rows_RD, granularity):
    R = len(rows_RD)
    gate_up_GHD, down_GDF = slices_of(gate_up_HD, down_DF, granularity)
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return gate_up_GHD.repeat(R, 1, 1), down_GDF.repeat(R, 1, 1), rows_ED, float(R * granularity)


# 13.replay


def replay_softmax_over_all(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.softmax(dim=-1).gather(1, replayed_ids_TK)


def replay_recorded_weights(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return rollout_weights_TK + 0 * logits_TE.gather(1, replayed_ids_TK)


def replay_own_choice(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.topk(replayed_ids_TK.shape[1], dim=-1).values.softmax(dim=-1)


def replay_softmax_over_tokens(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.gather(1, replayed_ids_TK).softmax(dim=0)


def replay_straight_through(logits_TE, replayed_ids_TK, rollout_weights_TK):
    own_TK = logits_TE.gather(1, replayed_ids_TK).softmax(dim=-1)
    return own_TK + (rollout_weights_TK - own_TK).detach()


def replay_masked_with_zeros(logits_TE, replayed_ids_TK, rollout_weights_TK):
    mask_TE = torch.zeros_like(logits_TE).scatter(1, replayed_ids_TK, 1.0)
    return (logits_TE * mask_TE).softmax(dim=-1).gather(1, replayed_ids_TK)


FRESH = {
    "13.what_trains": [
        (
            "looked for gate, router and experts anywhere in the name",
            trains_by_letters,
            {"gate_substring", "shared_plural"},
        ),
        (
            "everything with expert in its name is an expert, shared or not",
            trains_shared_are_experts,
            {"shared_are_experts"},
        ),
        (
            "the router is where the module right before .weight is gate or router",
            trains_last_module,
            {"innermost_module"},
        ),
        ("a router is called gate; forgot router", trains_gate_only, {"router_called_gate"}),
        ("returned what is frozen", trains_what_is_frozen, {"inverted"}),
        ("only the rest is everything but the experts", trains_rest_with_router, {"rest_keeps_router"}),
    ],
    "13.upcycle": [
        ("cut gate_up into G runs, as it lies there", upcycle_gate_and_up_as_one, {"stacked_rows"}),
        ("the router's rows with repeat, as the experts", upcycle_rows_repeated, {"router_tiled"}),
        ("experts with repeat_interleave, as the router's rows", upcycle_slice_by_slice, {"slice_major"}),
        ("reshaped down to [G, D, F/G]", upcycle_down_reshaped, {"down_reshaped"}),
        ("the factor is the share of a slice, 1/G", upcycle_factor_is_a_share, {"factor_inverse"}),
        ("the factor is the number of experts", upcycle_factor_is_experts, {"factor_experts"}),
    ],
    "13.replay": [
        ("softmax over all experts, then those recorded", replay_softmax_over_all, {"softmax_over_all"}),
        ("the rollout's weights; times zero for the gradient", replay_recorded_weights, {"rollout_weights"}),
        ("softmax over the trainer's own top K", replay_own_choice, {"own_choice"}),
        ("softmax with dim=0", replay_softmax_over_tokens, {"over_the_tokens"}),
        (
            "the rollout's weights forward, the trainer's backward",
            replay_straight_through,
            {"straight_through"},
        ),
        (
            "set the logits of all others to 0 before the softmax",
            replay_masked_with_zeros,
            {"masked_by_zero"},
        ),
    ],
}
