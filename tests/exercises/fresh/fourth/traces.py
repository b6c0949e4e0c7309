"""The fourth set, lesson 12: locality, saturation and co-activation."""

import torch
import torch.nn.functional as F


def local(x, n, E, *, real=None, pairs=None, same=None, loads=None, divide=None, chance=None):
    mask = torch.arange(x.shape[1]) < n[:, None] if real is None else real
    pairs = mask[:, 1:] if pairs is None else pairs(mask)
    same = (x[:, 1:] == x[:, :-1]) & pairs if same is None else same(x, pairs)
    repeated = same.sum() / (pairs.sum() if divide is None else divide(n))
    counts = torch.bincount(x[mask] if loads is None else loads(x, mask), minlength=E)
    p = counts / counts.sum()
    return repeated.item(), float(p.square().sum() if chance is None else chance(p, counts))


def locality_loads_with_padding(*args):
    return local(*args, loads=lambda x, mask: x.flatten())


def locality_earlier_token_real(*args):
    return local(*args, pairs=lambda mask: mask[:, :-1])


def locality_loads_of_later_tokens(*args):
    return local(*args, loads=lambda x, mask: x[:, 1:][mask[:, 1:]])


def locality_loads_without_expert_0(*args):
    return local(*args, loads=lambda x, mask: x[x > 0])


def locality_nonzero_is_real(x, n, E):
    return local(x, n, E, real=x != 0)


def locality_one_window(*args):
    return local(*args, divide=lambda n: n.sum() - 1)


def locality_chance_by_window(x, n, E):
    chances = []
    for row, length in zip(x, n.tolist(), strict=True):
        p = torch.bincount(row[:length], minlength=E) / length
        chances.append((p**2).sum())
    return local(x, n, E)[0], torch.stack(chances).mean().item()


def locality_without_replacement(*args):
    return local(*args, chance=lambda p, c: (c * (c - 1)).sum() / (c.sum() * (c.sum() - 1)))


def locality_count(*args):
    return local(*args, divide=lambda n: torch.tensor(1))


def locality_shortest_window(x, n, E):
    L = int(n.min())
    return local(x[:, :L], torch.full_like(n, L), E)


def locality_other_order(*args):
    return local(*args)[::-1]


def locality_entropy(*args):
    return local(*args, chance=lambda p, c: -(p * p.clamp(min=1e-12).log2()).sum())


def saturate(a_TK, b_TK, E):
    return saturate_of(*(F.one_hot(ids, E).sum(1).double() for ids in (a_TK, b_TK)), a_TK.shape[1])


def saturate_of(a, b, K):
    return ((a * b).sum(1).mean() / K).item(), ((a.mean(0) * b.mean(0)).sum() / K).item()


def saturation_count(a, b, E):
    overlap, chance = saturate(a, b, E)
    return overlap * a.shape[1], chance


def saturation_chance_not_over_k(a, b, E):
    overlap, chance = saturate(a, b, E)
    return overlap, chance * a.shape[1]


def saturation_sorted_slots(a, b, E):
    same = a.sort(dim=1).values == b.sort(dim=1).values
    return same.double().mean().item(), saturate(a, b, E)[1]


def saturation_histograms(a, b, E):
    p, q = (torch.bincount(ids.flatten(), minlength=E) / ids.numel() for ids in (a, b))
    return torch.minimum(p, q).sum().item(), saturate(a, b, E)[1]


def saturation_over_e(a, b, E):
    overlap, chance = saturate(a, b, E)
    return overlap * a.shape[1] / E, chance * a.shape[1] / E


def saturation_isin(a, b, E):
    return torch.isin(b, a).double().mean().item(), saturate(a, b, E)[1]


def saturation_by_expert(a, b, E):
    x, y = (F.one_hot(ids, E).sum(1).double() for ids in (a, b))
    return ((x * y).sum(0) / y.sum(0).clamp(min=1)).mean().item(), saturate(a, b, E)[1]


def saturation_other_order(*args):
    return saturate(*args)[::-1]


def saturation_ratio(*args):
    overlap, chance = saturate(*args)
    return overlap / chance, chance


def saturation_kappa(*args):
    overlap, chance = saturate(*args)
    return (overlap - chance) / (1 - chance), chance


def saturation_every_token(a, b, E):
    """A table of all tokens with all tokens for the overlap as well."""
    chance = saturate(a, b, E)[1]
    return chance, chance


def saturation_shuffled(a, b, E):
    overlap, _ = saturate(a, b, E)
    return overlap, saturate(a[torch.randperm(len(a))], b, E)[0]


def together(ids, E, *, both=None, share=None, expected=None, lift=None, clean=True):
    H = F.one_hot(ids, E).sum(1).double()
    n = H.sum(0)
    both_EE = H.T @ H if both is None else both(ids, E)
    given = both_EE / n[:, None] if share is None else share(both_EE, n)
    if clean:
        given = given - torch.diag(given.diagonal())
    K = ids.shape[1]
    by_load = (K - 1) * n[None, :] / (n.sum() - n)[:, None] if expected is None else expected(K, n, len(ids))
    lifted = given / by_load if lift is None else lift(given, by_load, both_EE)
    if not clean:
        given.fill_diagonal_(0)
    return given, lifted


def coactivation_logarithm(*args):
    return together(*args, lift=lambda g, e, _: torch.where(g > 0, (g / e).clamp(min=1e-9).log2(), 0.0))


def coactivation_difference(*args):
    def lift(g, e, _):
        out = g - e
        return out.fill_diagonal_(0)

    return together(*args, lift=lift)


def coactivation_twice(*args):
    return together(*args, share=lambda both, n: 2 * both / n[:, None])


def coactivation_cosine(*args):
    return together(*args, share=lambda both, n: both / (n[:, None] * n[None, :]).sqrt())


def coactivation_rows_sum_to_one(*args):
    def share(both, n):
        both = both.clone().fill_diagonal_(0)
        return both / both.sum(1, keepdim=True)

    return together(*args, share=share)


def coactivation_diagonal_too_early(ids, E):
    H = F.one_hot(ids, E).sum(1).double()
    both = H.T @ H
    both.fill_diagonal_(0)
    n = both.diagonal()
    given = both / n[:, None]
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_tokens_for_choices(*args):
    return together(*args, expected=lambda K, n, T: (K - 1) * n[None, :] / (T - n)[:, None])


def coactivation_one_choice(*args):
    return together(*args, expected=lambda K, n, T: n[None, :] / (n.sum() - n)[:, None])


def coactivation_without_j(*args):
    return together(*args, expected=lambda K, n, T: (K - 1) * n[None, :] / (n.sum() - n)[None, :])


def coactivation_not_added(*args):
    """`table[i, j] += 1` with index arrays counts each pair once."""

    def both(ids, E):
        table = torch.zeros(E, E, dtype=torch.double)
        for p in range(ids.shape[1]):
            for q in range(ids.shape[1]):
                table[ids[:, p], ids[:, q]] += 1
        return table

    return together(*args, both=both)


def coactivation_counts(ids, E):
    given, lift = together(ids, E)
    n = torch.bincount(ids.flatten(), minlength=E)
    return given * n[:, None], lift


def coactivation_lift_of_counts(*args):
    return together(*args, lift=lambda g, e, both: (both / e).fill_diagonal_(0))


def coactivation_diagonal_of_lift(*args):
    return together(*args, clean=False)


def coactivation_lift_only_of_tokens(*args):
    """How often j is met at all: n_ij T / (n_i n_j)."""
    return together(*args, expected=lambda K, n, T: (n / T)[None, :].expand(len(n), -1))


FRESH = {
    "12.locality": [
        ("loads with the padding", locality_loads_with_padding, {"padding_counted"}),
        ("pairs whose earlier token is real", locality_earlier_token_real, {"one_pair_too_many"}),
        ("loads of the later tokens", locality_loads_of_later_tokens, {"loads_of_some"}),
        ("loads without expert 0", locality_loads_without_expert_0, {"expert_0_left_out"}),
        ("0 is padding everywhere", locality_nonzero_is_real, {"expert_0_left_out"}),
        ("all tokens less one pair", locality_one_window, {"wrong_number_of_pairs"}),
        ("chance window by window", locality_chance_by_window, {"chance_by_window"}),
        ("chance without replacement", locality_without_replacement, {"without_replacement"}),
        ("a count of pairs", locality_count, {"not_a_share"}),
        ("all windows as short as the shortest", locality_shortest_window, {"windows_left_out"}),
        ("chance first", locality_other_order, {"outputs_swapped"}),
        ("entropy for chance", locality_entropy, {"entropy_for_chance"}),
    ],
    "12.saturation": [
        ("not over K", saturation_count, {"counts"}),
        ("chance not over K", saturation_chance_not_over_k, {"counts"}),
        ("slots sorted, then compared", saturation_sorted_slots, {"slot_by_slot"}),
        ("histograms", saturation_histograms, {"loads_compared"}),
        ("over E", saturation_over_e, {"size_factor"}),
        ("isin over the whole table", saturation_isin, {"in_anybodys"}),
        ("mean over experts", saturation_by_expert, {"mean_over_experts"}),
        ("chance first", saturation_other_order, {"outputs_swapped"}),
        ("ratio", saturation_ratio, {"chance_subtracted"}),
        ("rescaled to chance", saturation_kappa, {"chance_subtracted"}),
        ("overlap of all with all", saturation_every_token, {"all_with_all"}),
        ("one shuffle", saturation_shuffled, {"few_pairings"}),
    ],
    "12.coactivation": [
        ("logarithm of the lift", coactivation_logarithm, {"not_a_ratio"}),
        ("difference", coactivation_difference, {"difference"}),
        ("pairs twice", coactivation_twice, {"pairs_twice"}),
        ("cosine", coactivation_cosine, {"made_symmetric"}),
        ("rows that sum to 1", coactivation_rows_sum_to_one, {"rows_sum_to_one"}),
        ("diagonal cleared too early", coactivation_diagonal_too_early, {"diagonal_cleared_too_early"}),
        ("T for T K", coactivation_tokens_for_choices, {"tokens_for_choices"}),
        ("K - 1 forgotten", coactivation_one_choice, {"one_draw"}),
        ("less n_j", coactivation_without_j, {"own_load"}),
        ("pairs not added up", coactivation_not_added, {"not_added_up"}),
        ("counts for shares", coactivation_counts, {"share_of_tokens"}),
        ("lift of the counts", coactivation_lift_of_counts, {"lift_of_counts"}),
        ("diagonal of the lift kept", coactivation_diagonal_of_lift, {"diagonal_kept"}),
        ("met by any token", coactivation_lift_only_of_tokens, {"share_of_all_tokens"}),
    ],
}
