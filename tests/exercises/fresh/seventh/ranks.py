"""Lesson 14."""

import torch


def cut_by_what_arrives(rows_SD, splits_GG):
    G = len(splits_GG)
    blocks = rows_SD.split(splits_GG.T.flatten().tolist())
    return torch.cat([blocks[g * G + h] for h in range(G) for g in range(G)])


def senders_outside(rows_SD, splits_GG):
    G = len(splits_GG)
    blocks = rows_SD.split(splits_GG.flatten().tolist())
    return torch.cat([blocks[g * G + h] for g in range(G) for h in range(G)])


def own_rows_first(rows_SD, splits_GG):
    G = len(splits_GG)
    blocks = rows_SD.split(splits_GG.flatten().tolist())
    out = []
    for h in range(G):
        out.append(blocks[h * G + h])
        out += [blocks[g * G + h] for g in range(G) if g != h]
    return torch.cat(out)


def round_the_ring(rows_SD, splits_GG):
    G = len(splits_GG)
    blocks = rows_SD.split(splits_GG.flatten().tolist())
    return torch.cat([blocks[(h + i) % G * G + h] for h in range(G) for i in range(G)])


def row_by_row_in_lists(rows_SD, splits_GG):
    G = len(splits_GG)
    inbox = [[] for _ in range(G)]
    at = 0
    for g in range(G):
        for h in range(G):
            for _ in range(int(splits_GG[g, h])):
                inbox[h].append(rows_SD[at].tolist())
                at += 1
    return torch.tensor([row for box in inbox for row in box], dtype=rows_SD.dtype).view_as(rows_SD)


def starts_from_columns(rows_SD, splits_GG):
    G = len(splits_GG)
    start_of_rank = [0, *splits_GG.sum(0).cumsum(0).tolist()]
    within = splits_GG.cumsum(1) - splits_GG
    pieces = []
    for h in range(G):
        for g in range(G):
            start = start_of_rank[g] + int(within[g, h])
            pieces.append(torch.arange(start, start + int(splits_GG[g, h])))
    return rows_SD[torch.cat(pieces).clamp(max=len(rows_SD) - 1)]


def sorted_by_sender_already(arriving_GL):
    return torch.arange(int(arriving_GL.sum())), arriving_GL.sum(0).cumsum(0)


def ends_are_starts(arriving_GL):
    G, L = arriving_GL.shape
    ids = torch.arange(L).repeat(G).repeat_interleave(arriving_GL.flatten())
    counts = arriving_GL.sum(0)
    return ids.argsort(stable=True), counts.cumsum(0) - counts


def ends_are_counts(arriving_GL):
    G, L = arriving_GL.shape
    ids = torch.arange(L).repeat(G).repeat_interleave(arriving_GL.flatten())
    return ids.argsort(stable=True), arriving_GL.sum(0)


def places_not_order(arriving_GL):
    G, L = arriving_GL.shape
    ids = torch.arange(L).repeat(G).repeat_interleave(arriving_GL.flatten())
    return ids.argsort(stable=True).argsort(), arriving_GL.sum(0).cumsum(0)


def ids_by_expert_then_sender(arriving_GL):
    G, L = arriving_GL.shape
    ids = torch.arange(L).repeat_interleave(G).repeat_interleave(arriving_GL.flatten())
    return ids.argsort(stable=True), torch.bincount(ids, minlength=L).cumsum(0)


def blocks_cut_expert_by_expert(arriving_GL):
    G, L = arriving_GL.shape
    rows = torch.arange(int(arriving_GL.sum()))
    blocks = rows.split(arriving_GL.T.flatten().tolist())
    order = torch.cat([blocks[g * L + e] for e in range(L) for g in range(G)])
    return order, arriving_GL.sum(dim=0).cumsum(0)


def dense_mean(dense_WP):
    return dense_WP.mean(0, keepdim=True).expand_as(dense_WP)


def mean_over_replicas(dense_WP, expert_WQ, n_ep):
    W = len(dense_WP)
    R = W // n_ep
    experts = expert_WQ.view(R, n_ep, -1).mean(0)
    return dense_mean(dense_WP), experts.repeat(R, 1)


def everything_averaged(dense_WP, expert_WQ, n_ep):
    return dense_WP.mean(0).expand_as(dense_WP), expert_WQ.mean(0).expand_as(expert_WQ)


def shards_in_rows(dense_WP, expert_WQ, n_ep):
    W = len(dense_WP)
    R = W // n_ep
    experts = expert_WQ.view(n_ep, R, -1).sum(1) / W
    return dense_mean(dense_WP), experts.repeat_interleave(R, dim=0)


def given_back_interleaved(dense_WP, expert_WQ, n_ep):
    W = len(dense_WP)
    R = W // n_ep
    experts = expert_WQ.view(R, n_ep, -1).sum(0) / W
    return dense_mean(dense_WP), experts.repeat_interleave(R, dim=0)


def replica_has_it_all(dense_WP, expert_WQ, n_ep):
    return dense_mean(dense_WP), expert_WQ / n_ep


def dense_left_to_the_replica(dense_WP, expert_WQ, n_ep):
    W, P = dense_WP.shape
    R = W // n_ep
    dense = dense_WP.view(R, n_ep, P).mean(1, keepdim=True).expand(R, n_ep, P).reshape(W, P)
    return dense, (expert_WQ.view(R, n_ep, -1).sum(0) / W).repeat(R, 1)


def dense_of_every_rank(dense_P, expert_GQ, max_norm):
    G = len(expert_GQ)
    norm = (G * dense_P.square().sum() + expert_GQ.square().sum()).sqrt()
    return norm, min(1.0, (max_norm / norm).item())


def norms_added(dense_P, expert_GQ, max_norm):
    norm = dense_P.norm() + expert_GQ.norm()
    return norm.item(), min(1.0, max_norm / norm.item())


def scaled_up_too(dense_P, expert_GQ, max_norm):
    norm = torch.sqrt((dense_P**2).sum() + (expert_GQ**2).sum())
    return norm.item(), max_norm / norm.item()


def longest_rank(dense_P, expert_GQ, max_norm):
    norms = (dense_P.square().sum() + expert_GQ.square().sum(1)).sqrt()
    norm = norms.max().item()
    return norm, min(1.0, max_norm / norm)


def norm_after_clipping(dense_P, expert_GQ, max_norm):
    norm = torch.cat([dense_P, expert_GQ.flatten()]).norm().item()
    factor = min(1.0, max_norm / norm)
    return norm * factor, factor


def experts_averaged_first(dense_P, expert_GQ, max_norm):
    norm = torch.cat([dense_P, expert_GQ.mean(0)]).norm().item()
    return norm, min(1.0, max_norm / norm)


def place(loads, n_ranks, slots):
    load_G, free = [0.0] * n_ranks, [slots] * n_ranks
    for load in loads:
        rank = min((r for r in range(n_ranks) if free[r]), key=lambda r: load_G[r])
        load_G[rank] += load
        free[rank] -= 1
    return torch.tensor(load_G)


def copy_greedily(load_E, n_copies):
    copies_E = torch.ones(len(load_E), dtype=torch.int64)
    for _ in range(n_copies - len(load_E)):
        copies_E[(load_E / copies_E).argmax()] += 1
    return copies_E


def one_copy_for_each_hot(load_E, n_ranks, slots):
    spare = n_ranks * slots - len(load_E)
    copies = torch.ones(len(load_E), dtype=torch.int64)
    hot = load_E.argsort(descending=True).tolist()
    for i in range(spare):
        copies[hot[i % len(hot)]] += 1
    per_copy = (load_E / copies).repeat_interleave(copies).sort(descending=True).values
    return copies, place(per_copy.tolist(), n_ranks, slots)


def all_to_the_hottest(load_E, n_ranks, slots):
    copies = torch.ones(len(load_E), dtype=torch.int64)
    for _ in range(n_ranks * slots - len(load_E)):
        copies[load_E.argmax()] += 1
    per_copy = (load_E / copies).repeat_interleave(copies).sort(descending=True).values
    return copies, place(per_copy.tolist(), n_ranks, slots)


def dealt_out_in_turn(load_E, n_ranks, slots):
    copies = copy_greedily(load_E, n_ranks * slots)
    per_copy = (load_E / copies).repeat_interleave(copies).sort(descending=True).values
    load_G = torch.zeros(n_ranks)
    for i, load in enumerate(per_copy.tolist()):
        load_G[i % n_ranks] += load
    return copies, load_G


def slots_not_watched(load_E, n_ranks, slots):
    copies = copy_greedily(load_E, n_ranks * slots)
    per_copy = (load_E / copies).repeat_interleave(copies).sort(descending=True).values
    load_G = torch.zeros(n_ranks)
    for load in per_copy.tolist():
        load_G[load_G.argmin()] += load
    return copies, load_G


def placed_by_number(load_E, n_ranks, slots):
    copies = copy_greedily(load_E, n_ranks * slots)
    per_copy = (load_E / copies).repeat_interleave(copies)
    return copies, place(per_copy.tolist(), n_ranks, slots)


def copies_with_the_whole_load(load_E, n_ranks, slots):
    copies = copy_greedily(load_E, n_ranks * slots)
    loads = load_E.repeat_interleave(copies).sort(descending=True).values
    return copies, place(loads.tolist(), n_ranks, slots)


FRESH = {
    "14.exchange": [
        ("the buffer cut by the transposed table", cut_by_what_arrives, {"splits_read_across"}),
        ("senders in the outer loop", senders_outside, {"not_exchanged"}),
        ("a rank's own rows first, then those of the others", own_rows_first, {"own_block_moved"}),
        ("received in a ring, beginning with oneself", round_the_ring, {"received_in_a_ring"}),
        ("row by row through Python lists, no gradient", row_by_row_in_lists, {"gradient_lost"}),
        (
            "a rank's rows looked for where received ones would start",
            starts_from_columns,
            {"starts_of_receivers"},
        ),
    ],
    "14.expert_major": [
        ("rows left as they came", sorted_by_sender_already, {"not_sorted"}),
        ("starts returned for ends", ends_are_starts, {"starts_for_ends"}),
        ("counts returned for ends, no cumsum", ends_are_counts, {"sizes_for_ends"}),
        ("argsort of the argsort: where each row goes", places_not_order, {"where_it_goes"}),
        ("ids as if rows came by expert, then sender", ids_by_expert_then_sender, {"ids_begin_only_once"}),
        ("arriving rows cut by the transposed counts", blocks_cut_expert_by_expert, {"counts_read_across"}),
    ],
    "14.reduce_gradients": [
        ("experts' gradient averaged over the replicas", mean_over_replicas, {"divided_by_holders"}),
        ("everything averaged over all ranks", everything_averaged, {"averaged_over_all"}),
        ("view(n_ep, R): rank taken as shard * R + replica", shards_in_rows, {"axes_swapped"}),
        ("given back by repeat_interleave", given_back_interleaved, {"given_back_to_others"}),
        ("a replica's experts have heard all, so only / n_ep", replica_has_it_all, {"replicas_not_summed"}),
        ("dense gradients averaged within a replica", dense_left_to_the_replica, {"dense_within_replica"}),
    ],
    "14.clip": [
        ("the dense part counted once for each rank", dense_of_every_rank, {"dense_counted_per_rank"}),
        ("norms added up in place of squares", norms_added, {"norms_added"}),
        ("max_norm / norm, also above 1", scaled_up_too, {"always_scaled"}),
        ("the largest of the ranks' norms", longest_rank, {"largest_rank"}),
        ("the norm after clipping returned", norm_after_clipping, {"norm_after"}),
        ("experts' gradients averaged over ranks first", experts_averaged_first, {"experts_averaged"}),
    ],
    "14.balance": [
        (
            "one copy more for each of the hottest",
            one_copy_for_each_hot,
            {"one_copy_for_each_of_the_hottest"},
        ),
        ("always the largest load, not per copy", all_to_the_hottest, {"all_to_the_hottest"}),
        ("sorted, then dealt out in turn", dealt_out_in_turn, {"dealt_in_turn"}),
        ("least loaded rank, free slot or not", slots_not_watched, {"no_room_limit"}),
        ("copies placed in the order of experts", placed_by_number, {"not_sorted"}),
        ("each copy placed with the expert's whole load", copies_with_the_whole_load, {"load_not_divided"}),
    ],
}
