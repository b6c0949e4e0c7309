"""Answers to 12.locality and 12.saturation as learners write them: wrong ones by mistake, right ones."""

import itertools

import numpy as np
import torch


def plain(answer):
    """The same answer, its two numbers as Python's own."""
    return lambda *args: tuple(float(number) for number in answer(*args))


def windows_of(experts_WL, lengths_W):
    return [row[:n].tolist() for row, n in zip(experts_WL, lengths_W.tolist(), strict=True)]


def chance_of(experts):
    _, counts = np.unique(np.asarray(experts), return_counts=True)
    return float(((counts / counts.sum()) ** 2).sum())


def pairs_of(experts_WL, lengths_W):
    return [pair for window in windows_of(experts_WL, lengths_W) for pair in itertools.pairwise(window)]


def locality_by_loop(experts_WL, lengths_W, n_experts):
    same = total = 0
    counts = [0] * n_experts
    for window in windows_of(experts_WL, lengths_W):
        for expert in window:
            counts[expert] += 1
        for before, after in itertools.pairwise(window):
            total += 1
            same += before == after
    return same / total, sum((c / sum(counts)) ** 2 for c in counts)


def locality_by_numpy(experts_WL, lengths_W, n_experts):
    parts = [np.array(w) for w in windows_of(experts_WL, lengths_W)]
    alike = np.concatenate([np.diff(part) == 0 for part in parts])
    return alike.mean(), chance_of(np.concatenate(parts))


def locality_by_marks(experts_WL, lengths_W, n_experts):
    marked = experts_WL.clone()
    marked[torch.arange(marked.shape[1])[None] >= lengths_W[:, None]] = -1
    ok = marked[:, 1:] >= 0
    found = ((marked[:, 1:] == marked[:, :-1]) & ok).sum() / ok.sum()
    p = torch.stack([(marked == e).sum() for e in range(n_experts)]) / lengths_W.sum()
    return found, p @ p


def alike_share(pairs):
    return sum(a == b for a, b in pairs) / len(pairs)


def all_real(experts_WL, lengths_W):
    return [e for window in windows_of(experts_WL, lengths_W) for e in window]


def real_chance(experts_WL, lengths_W):
    return chance_of(all_real(experts_WL, lengths_W))


def right_share(experts_WL, lengths_W):
    return alike_share(pairs_of(experts_WL, lengths_W))


def loc_one_over_e(x, lengths, n_experts):
    return right_share(x, lengths), 1 / n_experts


def loc_across(x, lengths, n_experts):
    row = all_real(x, lengths)
    return alike_share(list(itertools.pairwise(row))), chance_of(row)


def loc_padding(x, lengths, n_experts):
    p = torch.bincount(x.flatten(), minlength=n_experts) / x.numel()
    return (x[:, 1:] == x[:, :-1]).float().mean(), (p**2).sum()


def loc_places(x, lengths, n_experts):
    same = sum(a == b for a, b in pairs_of(x, lengths))
    return same / (x.shape[0] * (x.shape[1] - 1)), real_chance(x, lengths)


def loc_tokens(x, lengths, n_experts):
    return sum(a == b for a, b in pairs_of(x, lengths)) / int(lengths.sum()), real_chance(x, lengths)


def loc_rolled(x, lengths, n_experts):
    mask = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
    same = torch.roll(x, 1, dims=1) == x
    return same[mask].float().mean().item(), real_chance(x, lengths)


def loc_too_many(x, lengths, n_experts):
    mask = (torch.arange(x.shape[1]) < lengths.unsqueeze(1))[:, :-1]
    return (x[:, :-1] == x[:, 1:])[mask].float().mean().item(), real_chance(x, lengths)


def loc_mean(x, lengths, n_experts):
    shares = [alike_share(list(itertools.pairwise(w))) for w in windows_of(x, lengths)]
    return np.mean(shares), real_chance(x, lengths)


def loc_chance_by_window(x, lengths, n_experts):
    return right_share(x, lengths), np.mean([chance_of(w) for w in windows_of(x, lengths)])


def loc_largest(x, lengths, n_experts):
    counts = np.bincount(all_real(x, lengths))
    return right_share(x, lengths), counts.max() / counts.sum()


def loc_no_replacement(x, lengths, n_experts):
    row = all_real(x, lengths)
    n = len(row)
    return right_share(x, lengths), (sum(a == b for a in row for b in row) - n) / (n * (n - 1))


def loc_change(x, lengths, n_experts):
    pairs = pairs_of(x, lengths)
    return sum(a != b for a, b in pairs) / len(pairs), 1 - real_chance(x, lengths)


def loc_lift(x, lengths, n_experts):
    chance = real_chance(x, lengths)
    return right_share(x, lengths) / chance, chance


def loc_count(x, lengths, n_experts):
    return sum(a == b for a, b in pairs_of(x, lengths)), real_chance(x, lengths)


def loc_other_axis(x, lengths, n_experts):
    return (x[1:] == x[:-1]).float().mean(), real_chance(x, lengths)


def loc_root(x, lengths, n_experts):
    return right_share(x, lengths), np.sqrt(real_chance(x, lengths))


def loc_effective(x, lengths, n_experts):
    counts = np.bincount(all_real(x, lengths))
    p = counts[counts > 0] / counts.sum()
    return right_share(x, lengths), 1 / np.exp(-(p * np.log(p)).sum())


LOCALITY_WRONG = {
    "not_a_share": plain(loc_count),
    "other_windows": plain(loc_other_axis),
    "not_squared": plain(loc_root),
    "by_entropy": plain(loc_effective),
    "one_over_e": plain(loc_one_over_e),
    "across_windows": plain(loc_across),
    "padding_counted": plain(loc_padding),
    "divided_by_all_places": plain(loc_places),
    "divided_by_tokens": plain(loc_tokens),
    "rolled": plain(loc_rolled),
    "one_pair_too_many": plain(loc_too_many),
    "mean_of_windows": plain(loc_mean),
    "chance_by_window": plain(loc_chance_by_window),
    "largest_share": plain(loc_largest),
    "without_replacement": plain(loc_no_replacement),
    "change": plain(loc_change),
    "lift": plain(loc_lift),
}
LOCALITY_RIGHT = [locality_by_loop, locality_by_numpy, locality_by_marks]


def sets_of(ids_TK):
    return [set(row) for row in ids_TK.tolist()]


def shared_experts(then_TK, finally_TK):
    return [len(a & b) for a, b in zip(sets_of(then_TK), sets_of(finally_TK), strict=True)]


def popularity(ids_TK, n_experts):
    rows = sets_of(ids_TK)
    return np.array([sum(e in row for row in rows) / len(rows) for e in range(n_experts)])


def sat_by_sets(then_TK, finally_TK, n_experts):
    k = then_TK.shape[1]
    chance = popularity(then_TK, n_experts) @ popularity(finally_TK, n_experts) / k
    return float(np.mean(shared_experts(then_TK, finally_TK))) / k, chance


def sat_all_pairings(then_TK, finally_TK, n_experts):
    equal = (then_TK[:, None, :, None] == finally_TK[None, :, None, :]).double()
    shares = equal.sum(dim=(2, 3)) / then_TK.shape[1]
    return shares.diagonal().mean(), shares.mean()


def sat_isin(then_TK, finally_TK, n_experts):
    had = [torch.isin(b, a).float().mean() for a, b in zip(then_TK, finally_TK, strict=True)]
    flat = torch.bincount(then_TK.flatten(), minlength=n_experts).double() / len(then_TK)
    last = torch.bincount(finally_TK.flatten(), minlength=n_experts).double() / len(then_TK)
    return torch.stack(had).mean().item(), float(flat @ last) / then_TK.shape[1]


def sat_chance(a, b, n_experts):
    return sat_by_sets(a, b, n_experts)[1]


def sat_overlap(a, b):
    return sum(shared_experts(a, b)) / a.numel()


def sat_slots(a, b, n_experts):
    return (a == b).float().mean().item(), sat_chance(a, b, n_experts)


def sat_isin_all(a, b, n_experts):
    return torch.isin(b, a).float().mean().item(), sat_chance(a, b, n_experts)


def sat_even(a, b, n_experts):
    return sat_overlap(a, b), a.shape[1] / n_experts


def sat_first(a, b, n_experts):
    first = a[:, 0] == b[:, 0]
    pa, pb = (np.bincount(x[:, 0].numpy(), minlength=n_experts) / len(x) for x in (a, b))
    return first.float().mean().item(), (pa * pb).sum()


def sat_whole(a, b, n_experts):
    same = [x == y for x, y in zip(sets_of(a), sets_of(b), strict=True)]
    return sum(same) / len(same), sat_chance(a, b, n_experts)


def sat_any(a, b, n_experts):
    return np.mean([n > 0 for n in shared_experts(a, b)]), sat_chance(a, b, n_experts)


def sat_jaccard(a, b, n_experts):
    both = [len(x & y) / len(x | y) for x, y in zip(sets_of(a), sets_of(b), strict=True)]
    return np.mean(both), sat_chance(a, b, n_experts)


def sat_counts(a, b, n_experts):
    return np.mean(shared_experts(a, b)), popularity(a, n_experts) @ popularity(b, n_experts)


def sat_one_load(a, b, n_experts):
    return sat_overlap(a, b), (popularity(a, n_experts) ** 2).sum() / a.shape[1]


def sat_load_shares(a, b, n_experts):
    pa, pb = (torch.bincount(x.flatten(), minlength=n_experts) / x.numel() for x in (a, b))
    return sat_overlap(a, b), (pa * pb).sum().item()


def sat_subtracted(a, b, n_experts):
    chance = sat_chance(a, b, n_experts)
    return sat_overlap(a, b) - chance, chance


def sat_changed(a, b, n_experts):
    new = [len(y - x) / len(y) for x, y in zip(sets_of(a), sets_of(b), strict=True)]
    return float(np.mean(new)), 1 - sat_chance(a, b, n_experts)


def sat_absent(a, b, n_experts):
    same = [
        sum((e in x) == (e in y) for e in range(n_experts)) / n_experts
        for x, y in zip(sets_of(a), sets_of(b), strict=True)
    ]
    return np.mean(same), sat_chance(a, b, n_experts)


def sat_rolled(a, b, n_experts):
    return sat_overlap(a, b), sat_overlap(a, torch.roll(b, 1, 0))


SATURATION_WRONG = {
    "absences_counted": plain(sat_absent),
    "one_other_pairing": plain(sat_rolled),
    "slot_by_slot": plain(sat_slots),
    "in_anybodys": plain(sat_isin_all),
    "k_over_e": plain(sat_even),
    "first_only": plain(sat_first),
    "whole_sets": plain(sat_whole),
    "any_common": plain(sat_any),
    "jaccard": plain(sat_jaccard),
    "counts": plain(sat_counts),
    "one_load_twice": plain(sat_one_load),
    "load_shares": plain(sat_load_shares),
    "chance_subtracted": plain(sat_subtracted),
    "changed": plain(sat_changed),
}
SATURATION_RIGHT = [sat_by_sets, sat_all_pairings, sat_isin]
