"""The measurements of `what_experts_learn.py`, each of one model or of two; they return plain numbers."""

import itertools
import math

import torch

from moe_lessons import metrics
from moe_lessons.experts import swiglu_activation
from moe_lessons.inspect.learning import byte_bits, choices
from moe_lessons.routing import forced as force

N_SHUFFLES = 2
LABELS = ("byte", "previous byte", "domain", "position")


def rounded(values, digits=4):
    """Numbers for a result file, in whatever lists and dictionaries they come."""
    if isinstance(values, dict):
        return {key: rounded(value, digits) for key, value in values.items()}
    if isinstance(values, torch.Tensor):
        values = values.tolist()
    if isinstance(values, list | tuple):
        return [rounded(value, digits) for value in values]
    return round(values, digits) if isinstance(values, float) else values


def described(experts_N, probe, shuffling):
    """One layer's first choices: information about each label, neighbours, each beside chance."""
    labels, n_windows = probe.labels, len(probe.windows_WL)
    load_E = torch.bincount(experts_N, minlength=8)
    found = {"entropy": metrics.entropy(load_E.double()).item() / math.log(2)}
    for name in LABELS:
        found[name] = metrics.mutual_information(experts_N, labels[name])
        chance = metrics.shuffled_information(experts_N, labels[name], shuffling, n_shuffles=N_SHUFFLES)
        found[f"{name}, by chance"] = chance.mean().item()
    by_byte = metrics.shuffled_information(
        experts_N, labels["domain"], shuffling, n_shuffles=N_SHUFFLES, within_N=labels["byte"]
    )
    found["domain, through the byte"] = by_byte.mean().item()
    beyond = metrics.conditional_information(experts_N, labels["domain"], labels["byte"])
    nothing = [
        metrics.conditional_information(experts_N, labels["domain"][order_N], labels["byte"])
        for order_N in (metrics.order_within(labels["byte"], shuffling) for _ in range(N_SHUFFLES))
    ]
    found["domain, beyond the byte"] = beyond - sum(nothing) / N_SHUFFLES
    found["neighbours"], found["neighbours, by chance"] = metrics.locality(experts_N.view(n_windows, -1))
    swapped_N = experts_N[metrics.order_within(labels["byte"], shuffling)]
    found["neighbours, by the byte"] = metrics.locality(swapped_N.view(n_windows, -1)).found
    return found


def pairs_of(ids_TK):
    """How uneven the pairs of experts are: entropy of the 28, and the largest lift over chance."""
    seen_EE = metrics.coactivation(ids_TK, 8).double().fill_diagonal_(0)
    expected_EE = metrics.expected_coactivation(ids_TK, 8)
    lift_EE = seen_EE / expected_EE.clamp_min(1e-9)
    shares = seen_EE.triu(1).flatten() / seen_EE.triu(1).sum()
    enough = expected_EE >= 50
    return {
        "entropy": torch.special.entr(shares).sum().item() / math.log(2),
        "largest lift": lift_EE[enough].max().item(),
        "smallest lift": lift_EE[enough].min().item(),
    }


def agreed(first_N, second_N, probe, shuffling):
    """Two seeds' first choices: best matching, what they tell of each other, and how much by the byte."""
    mixed_N = second_N[torch.randperm(len(second_N), generator=shuffling)]
    order_N = metrics.order_within(probe.labels["byte"], shuffling)
    return {
        "agreement": metrics.agreement(first_N, second_N, 8).share,
        "shuffled": metrics.agreement(first_N, mixed_N, 8).share,
        "information": metrics.mutual_information(first_N, second_N),
        "through the byte": metrics.mutual_information(first_N, second_N[order_N]),
    }


def interventions(model, probe):
    """Bits per byte with all layers routed otherwise, by name."""
    draws = torch.Generator().manual_seed(1)
    byte_N = probe.labels["byte"]
    n_tokens = len(byte_N)
    anybody = torch.rand(n_tokens, 8, generator=draws).topk(2).indices
    changes = {
        "as trained": force.as_trained,
        "equal weights": force.equal_weights,
        "all eight": force.ranks(*range(8)),
        "first choice only": force.ranks(0),
        "of the same byte": force.exchanged(metrics.order_within(byte_N, draws)),
        "of any token": force.exchanged(torch.randperm(n_tokens, generator=draws)),
        "drawn at random": force.given(anybody),
        "second choice only": force.ranks(1),
        "third and fourth": force.ranks(2, 3),
        "experts renumbered": force.renumbered([1, 2, 3, 4, 5, 6, 7, 0]),
        "no experts": force.no_experts,
    }
    found = {}
    for name, change in changes.items():
        with force.forced(model.moe_layers, change):
            found[name] = byte_bits(model, probe.windows_WL).mean().item()
    return found


def by_domain(bits_WL, n_kinds):
    """Mean bits of each kind of text."""
    return bits_WL.mean(dim=1).view(n_kinds, -1).mean(dim=1)


def removals(model, probe):
    """For each layer and expert: the share of each kind's bytes that use it, and the bits lost without it."""
    n_kinds = len(probe.names)
    whole = by_domain(byte_bits(model, probe.windows_WL), n_kinds)
    rows = []
    for layer, ids_TK in zip(model.moe_layers, choices(model, probe.windows_WL), strict=True):
        row = []
        for expert in range(8):
            use = (ids_TK == expert).any(dim=1).double().view(n_kinds, -1).mean(dim=1)
            with force.forced([layer], force.without(expert)):
                lost = by_domain(byte_bits(model, probe.windows_WL), n_kinds) - whole
            row.append({"use": use.tolist(), "lost": lost.tolist()})
        rows.append(row)
    return rows


def all_pairs(model, probe, other_bits_N):
    """Every pair of experts forced on every byte in the last layer: was the router's pair a good one?"""
    windows_WL = probe.windows_WL
    own_N = byte_bits(model, windows_WL).flatten()
    pairs, table = list(itertools.combinations(range(8), 2)), []
    for pair in pairs:
        with force.forced([model.moe_layers[-1]], force.given(torch.tensor(pair))):
            table.append(byte_bits(model, windows_WL).flatten())
    table_PN = torch.stack(table)
    last_TK = choices(model, windows_WL)[-1].view(*windows_WL.shape, 2)[:, :-1].flatten(0, 1)
    mine_N = torch.tensor([pairs.index(tuple(sorted(pair))) for pair in last_TK.tolist()])
    torch.testing.assert_close(table_PN.gather(0, mine_N[None])[0], own_N, rtol=1e-3, atol=1e-3)
    better_N = (table_PN < own_N - 1e-5).sum(dim=0).double()  # pairs that would have been better
    beaten_N = 1 - better_N / (len(table_PN) - 1)
    orders = {
        "its own bits": own_N,
        "the mean over all pairs": table_PN.mean(dim=0),
        "another model's bits": other_bits_N,
    }
    quarters = {
        name: [beaten_N[part].mean().item() for part in key_N.argsort(stable=True).chunk(4)]
        for name, key_N in orders.items()
    }
    return {
        "router": own_N.mean().item(),
        "a random pair": table_PN.mean().item(),
        "the best fixed pair": table_PN.mean(dim=1).min().item(),
        "hindsight": table_PN.amin(dim=0).mean().item(),
        "better than": beaten_N.mean().item(),
        "the best": (better_N == 0).double().mean().item(),
        "quarters by": quarters,
    }


def units_needed(model, probe, kept=(64, 32, 16)):
    """A dense model with most hidden units at 0: which ones may go? Bits lost, and units idle by kind."""
    n_kinds, contribution = len(probe.names), {}

    def bits(mask):
        def hook(layer):
            def changed(module, given, output):
                rows = given[0].flatten(0, 1)
                hidden = swiglu_activation(rows @ module.experts.gate_up_proj[0].T)
                size = hidden.abs() * module.experts.down_proj[0].norm(dim=0)
                contribution.setdefault(layer, size)
                update = (hidden * mask(layer, size)) @ module.experts.down_proj[0].T
                return output._replace(hidden=update.view_as(given[0]))

            return changed

        hooks = [moe.register_forward_hook(hook(n)) for n, moe in enumerate(model.moe_layers)]
        try:
            return by_domain(byte_bits(model, probe.windows_WL), n_kinds)
        finally:
            for handle in hooks:
                handle.remove()

    def largest(size, n):
        return torch.zeros_like(size).scatter(-1, size.topk(n, dim=-1).indices, 1.0)

    whole_C = bits(lambda layer, size: 1.0)
    mean_CF = {n: size.view(n_kinds, -1, size.shape[1]).mean(dim=1) for n, size in contribution.items()}

    def lost(n):
        fixed_CC = torch.stack(
            [bits(lambda layer, _, c=c: largest(mean_CF[layer][c], n)) - whole_C for c in range(n_kinds)]
        )
        others = (fixed_CC.sum() - fixed_CC.diagonal().sum()).item() / (n_kinds * (n_kinds - 1))
        return {
            "each byte's own": (bits(lambda layer, size: largest(size, n)) - whole_C).mean().item(),
            "its kind's": fixed_CC.diagonal().mean().item(),
            "another kind's": others,
            "all": (bits(lambda layer, _: largest(mean_CF[layer].sum(dim=0), n)) - whole_C).mean().item(),
        }

    quarter = {n: largest(size, size.shape[1] // 4) for n, size in contribution.items()}
    busy_CF = {n: chosen.view(n_kinds, -1, chosen.shape[1]).mean(dim=1) for n, chosen in quarter.items()}
    idle = [int(((busy[0] < 0.01) & (busy[1] > 0.1)).sum()) for busy in busy_CF.values()]
    losses = {n: lost(n) for n in kept}
    return {"bits": whole_C.tolist(), "lost": losses, "idle in English, busy in code": idle}
