"""The fifth set, lesson 12: the solutions' lines gone through one by one, and what can go wrong in each."""

import torch
import torch.nn.functional as F
from fresh.fourth.traces import local, saturate, together


def locality_one_place_more(x, n, E):
    return local(x, n, E, real=torch.arange(x.shape[1]) <= n[:, None])


def locality_one_place_less(x, n, E):
    return local(x, n, E, real=torch.arange(x.shape[1]) < n[:, None] - 1)


def locality_runs(x, n, E):
    """One less the runs over the tokens."""
    runs = sum(1 + int((row[1:k] != row[: k - 1]).sum()) for row, k in zip(x, n.tolist(), strict=True))
    return 1 - runs / n.sum().item(), local(x, n, E)[1]


def locality_two_marginals(x, n, E):
    """Chance of the first tokens' shares times the second ones'."""
    real = torch.arange(x.shape[1]) < n[:, None]
    first, second = (torch.bincount(v[real[:, 1:]], minlength=E).double() for v in (x[:, :-1], x[:, 1:]))
    return local(x, n, E)[0], (first / first.sum() * second / second.sum()).sum().item()


def locality_one_over_used(x, n, E):
    real = torch.arange(x.shape[1]) < n[:, None]
    return local(x, n, E)[0], 1 / len(x[real].unique())


def locality_shuffled(x, n, E):
    row = x[torch.arange(x.shape[1]) < n[:, None]]
    row = row[torch.randperm(len(row))]
    return local(x, n, E)[0], (row[1:] == row[:-1]).double().mean().item()


def locality_mean_over_experts(x, n, E):
    pairs = (torch.arange(x.shape[1]) < n[:, None])[:, 1:]
    stays = []
    for e in range(E):
        here = (x[:, :-1] == e) & pairs
        if here.any():
            stays.append((x[:, 1:][here] == e).double().mean())
    return torch.stack(stays).mean().item(), local(x, n, E)[1]


def locality_first_window(x, n, E):
    return local(x[:1], n[:1], E)


def saturation_mean_of_table(a, b, E):
    same = (a[:, :, None] == b[:, None, :]).double()
    return same.mean().item(), saturate(a, b, E)[1]


def saturation_chance_mean(a, b, E):
    return saturate(a, b, E)[0], saturate(a, b, E)[1] * a.shape[1] / E


def saturation_chance_minimum(a, b, E):
    x, y = (F.one_hot(v, E).sum(1).double().mean(0) for v in (a, b))
    return saturate(a, b, E)[0], (torch.minimum(x, y).sum() / a.shape[1]).item()


def saturation_others_only(a, b, E):
    """T (T - 1) pairs: a token is not paired with itself."""
    overlap, chance = saturate(a, b, E)
    T = len(a)
    return overlap, (T * T * chance - T * overlap) / (T * (T - 1))


def saturation_at_least_one(a, b, E):
    return saturate(a, b, E)[0], 1 - (1 - a.shape[1] / E) ** a.shape[1]


def saturation_percent(a, b, E):
    return tuple(100 * v for v in saturate(a, b, E))


def saturation_added_up(a, b, E):
    overlap, chance = saturate(a, b, E)
    return overlap * len(a), chance


def saturation_correlation(a, b, E):
    x, y = (F.one_hot(v, E).sum(1).double() for v in (a, b))
    return torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1].item(), saturate(a, b, E)[1]


def coactivation_mean_load(*args):
    return together(*args, share=lambda both, n: both / n.mean())


def coactivation_identity_taken_off(ids, E):
    Z = F.one_hot(ids, E).sum(1).double()
    n = Z.sum(0)
    given = (Z.T @ Z - torch.eye(E)) / n[:, None]
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_load_of_first_slot(ids, E):
    first = torch.bincount(ids[:, 0], minlength=E).double()
    return together(
        ids,
        E,
        share=lambda both, n: both / first[:, None],
        expected=lambda K, n, T: (K - 1) * first[None, :] / (first.sum() - first)[:, None],
    )


def coactivation_ones(ids, E):
    given, lift = together(ids, E)
    return given.fill_diagonal_(1), lift.fill_diagonal_(1)


def coactivation_lift_symmetric(ids, E):
    given, lift = together(ids, E)
    return given, (lift + lift.T) / 2


def coactivation_whole_division(*args):
    return together(*args, share=lambda both, n: both // n[:, None])


def coactivation_flat(ids, E):
    """One row for each choice, so that no row holds two."""
    Z = F.one_hot(ids.flatten(), E).double()
    n = Z.sum(0)
    given = (Z.T @ Z / n[:, None]).fill_diagonal_(0)
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_smoothed(*args):
    return together(*args, share=lambda both, n: (both + 1) / (n[:, None] + 1))


FRESH = {
    "12.locality": [
        ("one place too many", locality_one_place_more, {"mask_off_by_one"}),
        ("one place too few", locality_one_place_less, {"mask_off_by_one"}),
        ("runs", locality_runs, {"divided_by_tokens"}),
        ("two marginals", locality_two_marginals, {"two_loads"}),
        ("one over the used experts", locality_one_over_used, {"one_over_used"}),
        ("shuffled", locality_shuffled, set()),
        ("mean over experts", locality_mean_over_experts, {"mean_over_experts"}),
        ("first window only", locality_first_window, {"one_window"}),
    ],
    "12.saturation": [
        ("mean of the table of slots", saturation_mean_of_table, {"size_factor"}),
        ("chance a mean over experts", saturation_chance_mean, {"size_factor"}),
        ("minimum for product", saturation_chance_minimum, {"minimum_for_product"}),
        ("other tokens only", saturation_others_only, {"without_itself"}),
        ("at least one", saturation_at_least_one, {"at_least_one"}),
        ("percent", saturation_percent, {"in_percent"}),
        ("added up", saturation_added_up, {"size_factor"}),
        ("correlation", saturation_correlation, {"correlation"}),
    ],
    "12.coactivation": [
        ("over the mean load", coactivation_mean_load, {"mean_load"}),
        ("identity taken off", coactivation_identity_taken_off, {"another_diagonal"}),
        ("loads of the first slot", coactivation_load_of_first_slot, {"loads_of_the_first_slot"}),
        ("ones on the diagonal", coactivation_ones, {"another_diagonal"}),
        ("lift made symmetric", coactivation_lift_symmetric, {"lift_symmetric"}),
        ("whole division", coactivation_whole_division, {"nothing_left"}),
        ("one row for each choice", coactivation_flat, {"nothing_left"}),
        ("smoothed", coactivation_smoothed, {"smoothed"}),
    ],
}
