"""Lesson 04: the next most plausible ones, two to five an exercise."""

import torch
from fresh.tenth.parts import n_of, revived


def counts_themselves(topk_ids_TK, n_experts, mask_T):
    return torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts).float()


def mask_inverted(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[~mask_T].flatten(), minlength=n_experts).float()
    return counts / counts.sum()


def whole_division(topk_ids_TK, n_experts, mask_T):
    counts = torch.bincount(topk_ids_TK[mask_T].flatten(), minlength=n_experts)
    return counts // counts.sum()


def two_to_the_nats(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return 2 ** torch.special.entr(s).sum(dim=-1), c.shape[1] / (1 + cv**2)


def used_experts(counts_LE):
    c = counts_LE.float()
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return (c > 0).sum(dim=-1).float(), c.shape[1] / (1 + cv**2)


def layers_for_experts(counts_LE):
    c = counts_LE.float()
    s = c / c.sum(dim=-1, keepdim=True)
    cv = c.std(dim=-1, correction=0) / c.mean(dim=-1)
    return torch.special.entr(s).sum(dim=-1).exp(), len(c) / (1 + cv**2)


def along_the_layers(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=0)
    return c.std(dim=0, correction=0) / mean, c.amax(dim=0) / mean - 1, (c == 0).sum(dim=0)


def variance(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.var(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean - 1, (c == 0).sum(dim=-1)


def share_of_dead(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return (
        c.std(dim=-1, correction=0) / mean,
        c.amax(dim=-1) / mean - 1,
        (c == 0).float().mean(dim=-1),
    )


def living(counts_LE):
    c = counts_LE.float()
    mean = c.mean(dim=-1)
    return c.std(dim=-1, correction=0) / mean, c.amax(dim=-1) / mean - 1, (c > 0).sum(dim=-1)


def told(shares_NE, a, b, c, d, rows, half, dead):
    if d < half:
        return "collapsed"
    if rows < half:
        return "oscillating"
    if a > b > c > d and a - d >= 1:
        return "collapsing"
    return "dead expert" if dead else "healthy"


def rows_of_the_whole_run(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (q[3] == 0).all(dim=0).any()
    return told(shares_NE, a, b, c, d, n_of(shares_NE).mean(), shares_NE.shape[1] / 2, dead)


def the_last_row_only(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (shares_NE[-1] == 0).any()
    return told(shares_NE, a, b, c, d, n_of(q[3]).mean(), shares_NE.shape[1] / 2, dead)


def any_row_oscillates(shares_NE):
    q = shares_NE.chunk(4)
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    dead = (q[3] == 0).all(dim=0).any()
    return told(shares_NE, a, b, c, d, n_of(q[3]).min(), shares_NE.shape[1] / 2, dead)


def size_of_the_fall_ignored(shares_NE):
    q = shares_NE.chunk(4)
    half = shares_NE.shape[1] / 2
    a, b, c, d = (n_of(x.mean(dim=0)) for x in q)
    if d < half:
        return "collapsed"
    if n_of(q[3]).mean() < half:
        return "oscillating"
    if a > b > c > d:
        return "collapsing"
    return "dead expert" if (q[3] == 0).all(dim=0).any() else "healthy"


def noise_forgotten(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    return revived(router_ED, experts_EP, momentum_EP, counts_E, 0 * noise_ED, lambda i: busy[i % len(busy)])


def momentum_kept(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, _ = revived(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)]
    )
    return router, experts, momentum_EP.clone()


def donors_lose_momentum_too(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, momentum = revived(
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED, lambda i: busy[i % len(busy)]
    )
    for i in range(int((counts_E == 0).sum())):
        momentum[busy[i % len(busy)]] = 0
    return router, experts, momentum


def noise_on_all_rows(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    busy = counts_E.argsort(descending=True)[: int((counts_E > 0).sum())].tolist()
    router, experts, momentum = revived(
        router_ED, experts_EP, momentum_EP, counts_E, 0 * noise_ED, lambda i: busy[i % len(busy)]
    )
    return router + noise_ED, experts, momentum


FRESH = {
    "04.load_shares": [
        ("counts", counts_themselves, {"counts"}),
        ("the padding's shares", mask_inverted, {"mask_inverted"}),
        ("whole division", whole_division, {"whole_division"}),
    ],
    "04.effective_experts": [
        ("2 to the nats", two_to_the_nats, {"bits_and_e"}),
        ("the number of experts in use", used_experts, {"in_use"}),
        ("L for E", layers_for_experts, {"size_factor"}),
    ],
    "04.imbalance": [
        ("along the layers", along_the_layers, {"over_layers"}),
        ("variance over mean", variance, {"variance_over_mean"}),
        ("share of dead experts", share_of_dead, {"size_factor"}),
        ("the living counted", living, {"living_counted"}),
    ],
    "04.diagnose": [
        ("oscillating: rows of the whole run", rows_of_the_whole_run, {"whole_oscillates"}),
        ("dead: the last row", the_last_row_only, {"rested_is_dead"}),
        ("oscillating: any row", any_row_oscillates, {"one_uneven_row"}),
        ("collapsing: any fall", size_of_the_fall_ignored, {"any_fall"}),
    ],
    "04.revive": [
        ("no noise", noise_forgotten, {"no_noise"}),
        ("momentum kept", momentum_kept, {"momentum_kept"}),
        ("donors lose their momentum too", donors_lose_momentum_too, {"donors_momentum_cleared"}),
        ("noise on all rows", noise_on_all_rows, {"noise_for_all"}),
    ],
}
