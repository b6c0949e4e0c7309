"""Further wrong answers to lesson 14, as they come to mind."""

import math

import torch


def exchange_cut_by_what_comes(rows, s):
    """Cut by what each rank receives, in place."""
    return torch.cat(list(rows.split(s.sum(0).tolist())))


def exchange_sorted_descending(rows, s):
    to = torch.arange(len(s)).repeat(len(s)).repeat_interleave(s.flatten())
    return rows[to.argsort(descending=True, stable=True)]


def exchange_receivers_guessed(rows, s):
    """Receivers by column sums, as if all rows lay sorted by receiver."""
    to = torch.arange(len(s)).repeat_interleave(s.sum(0))
    return rows[to.argsort(stable=True)]


def exchange_columns_first(rows, s):
    G = len(s)
    blocks = rows.split([int(s[g, h]) for h in range(G) for g in range(G)])
    return torch.cat([blocks[h * G + g] for h in range(G) for g in range(G)])


def exchange_stays_home(rows, s):
    blocks = rows.split(s.flatten().tolist())
    return torch.cat([blocks[g * (len(s) + 1)] for g in range(len(s))])


def exchange_base_of_receiver(rows, s):
    """Looks into the receiver's part for what the sender has."""
    G, base, out = len(s), [0, *s.sum(1).cumsum(0).tolist()], []
    for h in range(G):
        for g in range(G):
            start = base[h] + int(s[h, :g].sum())
            out.append(rows[start : start + int(s[h, g])])
    return torch.cat(out)


def exchange_through_numbers(rows, s):
    blocks = rows.split(s.flatten().tolist())
    G = len(s)
    return torch.tensor([row.tolist() for h in range(G) for g in range(G) for row in blocks[g * G + h]])


def exchange_next_rank(rows, s):
    """Every block goes one rank on."""
    G = len(s)
    mine = rows.split(s.sum(1).tolist())
    return torch.cat([mine[(h - 1) % G] for h in range(G)])


def major_ids_from_totals(a):
    ids = torch.arange(a.shape[1]).repeat_interleave(a.sum(0))
    return ids.argsort(stable=True), a.sum(0).cumsum(0)


def major_last_sender(a):
    ids = torch.arange(a.shape[1]).repeat(len(a)).repeat_interleave(a.flatten())
    return ids.argsort(stable=True), a.cumsum(1)[-1]


def major_zero_in_front(a):
    ids = torch.arange(a.shape[1]).repeat(len(a)).repeat_interleave(a.flatten())
    return ids.argsort(stable=True), torch.cat([torch.zeros(1).long(), a.sum(0).cumsum(0)])


def major_by_sender_again(a):
    """Sorted by sender instead of expert."""
    who = torch.arange(len(a)).repeat_interleave(a.sum(1))
    return who.argsort(stable=True), a.sum(0).cumsum(0)


def major_positions(a):
    """Where each row goes, by counting."""
    ids = torch.arange(a.shape[1]).repeat(len(a)).repeat_interleave(a.flatten()).tolist()
    next_ = [0, *a.sum(0).cumsum(0)[:-1].tolist()]
    out = []
    for e in ids:
        out.append(next_[e])
        next_[e] += 1
    return out, a.sum(0).cumsum(0)


def major_wrong_repeat(a):
    """repeat_interleave for repeat: ids as if rows came expert by expert."""
    ids = torch.arange(a.shape[1]).repeat_interleave(len(a)).repeat_interleave(a.T.flatten())
    return ids.argsort(stable=True), a.sum(0).cumsum(0)


def major_ends_all(a):
    ids = torch.arange(a.shape[1]).repeat(len(a)).repeat_interleave(a.flatten())
    return ids.argsort(stable=True), a.reshape(-1).cumsum(0)


def reduce_mean_of_everything(d, e, n):
    return d.mean(0).expand_as(d), e.mean(0).expand_as(e)


def reduce_mean_of_holders(d, e, n):
    out = torch.stack([e[s::n].mean(0) for s in range(n)])
    return d.mean(0).expand_as(d), out.repeat(len(e) // n, 1)


def reduce_viewed_wrong(d, e, n):
    W = len(e)
    out = e.view(n, W // n, -1).sum(0) / W
    return d.mean(0).expand_as(d), out.repeat(n, 1)


def reduce_groups_of_ep(d, e, n):
    W = len(e)
    return d.mean(0).expand_as(d), (e.view(W // n, n, -1).mean(1)).repeat_interleave(n, 0)


def reduce_sums(d, e, n):
    out = torch.stack([e[s::n].sum(0) for s in range(n)])
    return d.mean(0).expand_as(d), out.repeat(len(e) // n, 1)


def reduce_only_own(d, e, n):
    return d.mean(0).expand_as(d), e / len(e)


def reduce_dense_by_holders(d, e, n):
    W = len(e)
    out = torch.stack([e[s::n].sum(0) for s in range(n)]).repeat(W // n, 1) / W
    dense = torch.stack([d[s::n].mean(0) for s in range(n)]).repeat(W // n, 1)
    return dense, out


def reduce_by_shards(d, e, n):
    W = len(e)
    out = torch.stack([e[s::n].sum(0) for s in range(n)]).repeat(W // n, 1) / n
    return d.mean(0).expand_as(d), out


def clip_of_first(d, e, m):
    norm = torch.cat([d, e[0]]).norm()
    return norm, min(1.0, m / float(norm))


def clip_list(d, e, m):
    norms = [torch.cat([d, x]).norm() for x in e]
    norm = sum(norms)
    return norm, min(1.0, m / float(norm))


def clip_mean_gradient(d, e, m):
    norm = torch.cat([d, e.mean(0)]).norm()
    return norm, min(1.0, m / float(norm))


def clip_backwards(d, e, m):
    norm = torch.cat([d, e.flatten()]).norm()
    return norm, max(1.0, m / float(norm))


def clip_no_root(d, e, m):
    total = float((d**2).sum() + (e**2).sum())
    return total, min(1.0, m / total)


def clip_every_copy(d, e, m):
    total = sum(float((d**2).sum() + (x**2).sum()) for x in e)
    norm = math.sqrt(total)
    return norm, min(1.0, m / norm)


def clip_expert_norms_summed(d, e, m):
    norm = (d.pow(2).sum() + e.norm(dim=1).sum() ** 2).sqrt()
    return norm, min(1.0, m / float(norm))


def clip_scaled(d, e, m):
    norm = torch.cat([d, e.flatten()]).norm()
    return norm, m / norm


def _pack(pieces, G, slots):
    load, used = [0.0] * G, [0] * G
    for x in pieces:
        g = min((g for g in range(G) if used[g] < slots), key=lambda g: load[g])
        load[g] += x
        used[g] += 1
    return load


def _greedy(load, n):
    copies = [1] * len(load)
    while sum(copies) < n:
        e = max(range(len(load)), key=lambda e: load[e] / copies[e])
        copies[e] += 1
    return copies


def balance_slots_in_all(load_E, G, slots):
    """Copies until `slots`, which are those of one rank."""
    load = load_E.tolist()
    copies = _greedy(load, max(slots, len(load)))
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return copies, _pack(pieces, G, slots)


def balance_top_twice(load_E, G, slots):
    load, n = load_E.tolist(), G * slots
    hot = sorted(range(len(load)), key=lambda e: load[e], reverse=True)
    copies = [1] * len(load)
    for i in range(n - len(load)):
        copies[hot[i % len(hot)]] += 1
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return copies, _pack(pieces, G, slots)


def balance_unsorted(load_E, G, slots):
    load = load_E.tolist()
    copies = _greedy(load, G * slots)
    return copies, _pack([x / c for x, c in zip(load, copies, strict=True) for _ in range(c)], G, slots)


def balance_fewest_items(load_E, G, slots):
    """Onto the rank with the most free slots."""
    load = load_E.tolist()
    copies = _greedy(load, G * slots)
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    total = [0.0] * G
    for i, x in enumerate(pieces):
        total[i % G] += x
    return copies, total


def balance_halves(load_E, G, slots):
    load, left = load_E.tolist(), load_E.tolist()
    copies = [1] * len(load)
    for _ in range(G * slots - len(load)):
        e = left.index(max(left))
        copies[e] += 1
        left[e] = left[e] / 2
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return copies, _pack(pieces, G, slots)


def balance_counts_extra(load_E, G, slots):
    load = load_E.tolist()
    copies = _greedy(load, G * slots)
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return [c - 1 for c in copies], _pack(pieces, G, slots)


def balance_undivided(load_E, G, slots):
    load = load_E.tolist()
    copies = _greedy(load, G * slots)
    pieces = sorted((x for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return copies, _pack(pieces, G, slots)


def balance_overfull(load_E, G, slots):
    load = load_E.tolist()
    copies = _greedy(load, G * slots)
    pieces = sorted((x / c for x, c in zip(load, copies, strict=True) for _ in range(c)), reverse=True)
    return copies, _pack(pieces, G, 10**6)


def balance_halves_kept(load_E, G, slots):
    """Places the halved loads too."""
    load = load_E.tolist()
    items = [(x, e) for e, x in enumerate(load)]
    for _ in range(G * slots - len(load)):
        items.sort(reverse=True)
        x, e = items.pop(0)
        items += [(x / 2, e), (x / 2, e)]
    items.sort(reverse=True)
    copies = [sum(f == e for _, f in items) for e in range(len(load))]
    return copies, _pack([x for x, _ in items], G, slots)


FRESH = {
    "14.exchange": [
        ("cut by what comes", exchange_cut_by_what_comes, {"not_exchanged"}),
        ("sorted downwards", exchange_sorted_descending, {"receivers_reversed"}),
        ("receivers from column sums", exchange_receivers_guessed, {"not_exchanged"}),
        ("blocks read column by column", exchange_columns_first, {"splits_read_across", "not_exchanged"}),
        ("only what stays", exchange_stays_home, {"first_rank_only"}),
        ("looks into the receiver's part", exchange_base_of_receiver, {"not_exchanged"}),
        ("through Python numbers", exchange_through_numbers, {"gradient_lost"}),
        ("one rank on", exchange_next_rank, {"whole_ranks_moved"}),
    ],
    "14.expert_major": [
        ("ids from totals", major_ids_from_totals, {"not_sorted"}),
        ("ends of the last sender", major_last_sender, {"ends_by_sender"}),
        ("a zero in front", major_zero_in_front, {"starts_for_ends"}),
        ("sorted by sender", major_by_sender_again, {"not_sorted"}),
        ("positions", major_positions, {"where_it_goes"}),
        ("as if expert by expert", major_wrong_repeat, {"not_sorted", "counts_read_across"}),
        ("ends of all blocks", major_ends_all, {"sums_over_all", "other_shape"}),
    ],
    "14.reduce_gradients": [
        ("mean of everything", reduce_mean_of_everything, {"averaged_over_all"}),
        ("mean of holders", reduce_mean_of_holders, {"divided_by_holders"}),
        ("viewed the wrong way", reduce_viewed_wrong, {"axes_swapped"}),
        ("mean within groups", reduce_groups_of_ep, {"axes_swapped"}),
        ("sums", reduce_sums, {"not_divided"}),
        ("only its own", reduce_only_own, {"replicas_not_summed"}),
        ("dense by holders", reduce_dense_by_holders, {"dense_like_experts"}),
        ("divided by shards", reduce_by_shards, {"divided_by_shards"}),
    ],
    "14.clip": [
        ("rank 0's", clip_of_first, {"own_norm"}),
        ("sum of ranks' norms", clip_list, {"norms_added"}),
        ("mean gradient", clip_mean_gradient, {"experts_averaged"}),
        ("max for min", clip_backwards, {"factor_upside_down"}),
        ("no root", clip_no_root, {"squared"}),
        ("every copy", clip_every_copy, {"dense_counted_per_rank"}),
        ("experts' norms summed", clip_expert_norms_summed, {"norms_added"}),
        ("always scaled", clip_scaled, {"always_scaled"}),
    ],
    "14.balance": [
        ("slots of one rank", balance_slots_in_all, {"no_copies"}),
        ("the hottest once more", balance_top_twice, {"one_copy_for_each_of_the_hottest"}),
        ("unsorted", balance_unsorted, {"not_sorted"}),
        ("fewest items", balance_fewest_items, {"dealt_in_turn"}),
        ("halves", balance_halves, {"halved_each_time"}),
        ("counts further ones", balance_counts_extra, {"further_copies_only"}),
        ("undivided", balance_undivided, {"load_not_divided"}),
        ("overfull", balance_overfull, {"no_room_limit"}),
        ("a copy halves one copy", balance_halves_kept, {"halved_each_time"}),
    ],
}
