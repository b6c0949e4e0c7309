"""Answers to 05.chebyshev and 05.counterexample."""

import itertools

import numpy as np
import torch

# chebyshev


def chebyshev_loops(f_E, P_E):
    f, P = f_E.double().tolist(), P_E.double().tolist()
    E = len(f)
    pairs = [[0.5 * (f[i] - f[j]) * (P[i] - P[j]) for j in range(E)] for i in range(E)]
    agree = all(not (f[i] < f[j] and P[i] > P[j]) for i in range(E) for j in range(E))
    return torch.tensor(pairs), sum(map(sum, pairs)), agree


def chebyshev_formula(f_E, P_E):
    """Multiplied out; co-sorted if P does not fall when the experts are sorted by f and then by P."""
    fP = f_E * P_E
    pairs = (fP[:, None] + fP[None, :] - torch.outer(f_E, P_E) - torch.outer(P_E, f_E)) / 2
    excess = len(f_E) * fP.sum() - f_E.sum() * P_E.sum()
    rows = sorted(zip(f_E.tolist(), P_E.tolist(), strict=True))
    agree = all(b[1] >= a[1] or a[0] == b[0] for a, b in itertools.pairwise(rows))
    return pairs, excess, agree


def _grid(f_E, P_E):
    return (f_E.unsqueeze(1) - f_E) * (P_E.unsqueeze(1) - P_E)


def _answer(f_E, P_E, agree):
    m = _grid(f_E, P_E) / 2
    return m, m.sum(), agree


def chebyshev_by_sum(f_E, P_E):
    m = _grid(f_E, P_E) / 2
    return m, m.sum(), (m.sum() >= 0).item()


def chebyshev_argsort(f_E, P_E):
    return _answer(f_E, P_E, torch.equal(f_E.argsort(stable=True), P_E.argsort(stable=True)))


def chebyshev_strict(f_E, P_E):
    m = _grid(f_E, P_E) / 2
    above = m[np.triu_indices(len(f_E), k=1)]
    return m, m.sum(), bool(above.min() > 0)


def chebyshev_favourite(f_E, P_E):
    return _answer(f_E, P_E, (f_E.argmax() == P_E.argmax()).item())


def chebyshev_next_door(f_E, P_E):
    steps = [(f_E[i + 1] - f_E[i]) * (P_E[i + 1] - P_E[i]) for i in range(len(f_E) - 1)]
    return _answer(f_E, P_E, all(step.item() >= 0 for step in steps))


def chebyshev_whole(f_E, P_E):
    m = _grid(f_E, P_E)
    return m, m.sum(), not (m < 0).any().item()


def chebyshev_triangle(f_E, P_E):
    m = _grid(f_E, P_E) / 2
    return m, m.tril().sum(), not (m < 0).any().item()


def chebyshev_minus_one(f_E, P_E):
    m = _grid(f_E, P_E) / 2
    return m, len(f_E) * torch.dot(f_E, P_E) - 1.0, not (m < 0).any().item()


def chebyshev_products(f_E, P_E):
    x = f_E * P_E
    m = 0.5 * (x[:, None] - x[None])
    return m, m.sum(), bool(torch.all(m >= 0))


def chebyshev_absolute(f_E, P_E):
    m = (f_E[:, None] - f_E).abs() * (P_E[:, None] - P_E).abs() / 2
    return m, m.sum(), True


CHEBYSHEV_RIGHT = [chebyshev_loops, chebyshev_formula]
CHEBYSHEV_WRONG = {
    "excess_means_sorted": chebyshev_by_sum,
    "same_argsort": chebyshev_argsort,
    "strict": chebyshev_strict,
    "same_favourite": chebyshev_favourite,
    "neighbours_only": chebyshev_next_door,
    "no_half": chebyshev_whole,
    "upper_triangle": chebyshev_triangle,
    "minus_one": chebyshev_minus_one,
    "products_first": chebyshev_products,
    "absolute": chebyshev_absolute,
}

# counterexample


def half_dead(n_tokens, n_experts):
    """Half of the experts share all tokens and each leads by a hair over the dead half."""
    hogs = (n_experts + 1) // 2
    if n_experts == 2:
        return three_quarters(n_tokens, n_experts)
    logits = torch.full((n_tokens, n_experts), -30.0)
    logits[:, hogs:] = 0.0
    logits[torch.arange(n_tokens), torch.arange(n_tokens) % hogs] = 0.02
    return logits


def three_quarters(n_tokens, n_experts):
    """Three quarters by a hair in the first experts of each pair, one quarter sure of the second."""
    logits = np.zeros((n_tokens, n_experts))
    for t in range(n_tokens):
        if t % 4 == 0:
            logits[t, n_experts - 1 - (t // 4) % (n_experts // 2)] = 15
        else:
            logits[t, t % ((n_experts + 1) // 2)] = 0.02
    return logits


def by_search(n_tokens, n_experts):
    """Random shares, leads and favourites until the loss is low enough."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(2000):
        share, hair, sure = torch.rand(3, generator=generator).tolist()
        z = torch.zeros(n_tokens, n_experts)
        n = int(share * n_tokens)
        z[:n, 0] = 0.01 + hair
        others = torch.randint(1, n_experts, (n_tokens - n,), generator=generator)
        z[torch.arange(n, n_tokens), others] = 30 * sure + 0.01
        f = torch.bincount(z.argmax(1), minlength=n_experts) / n_tokens
        if n_experts * (f * z.softmax(1).mean(0)).sum() < 0.94:
            return z
    raise AssertionError("nothing found")


def _rows(n_tokens, n_experts, crowd, lead_0, lead_others):
    """A crowd at expert 0 with one lead; the rest at the others in turn, with another."""
    z = torch.zeros(n_tokens, n_experts)
    n = round(crowd * n_tokens)
    z[:n, 0] = lead_0
    rest = torch.arange(n, n_tokens)
    z[rest, 1 + rest % (n_experts - 1)] = lead_others
    return z


def already_softmaxed(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 0.6, 0.05, 20.0).softmax(-1)


def minus_infinity(n_tokens, n_experts):
    z = _rows(n_tokens, n_experts, 0.6, 0.05, 20.0)
    return z.masked_fill(z == 0, -torch.inf)


def all_tied(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 0.6, 0.0, 20.0)


def round_robin(n_tokens, n_experts):
    z = torch.zeros(n_tokens, n_experts)
    z[torch.arange(n_tokens), torch.arange(n_tokens) % n_experts] = 1.0
    return z


def collapsed(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 1.0, 5.0, 0.0)


def collapsed_by_a_hair(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 1.0, 0.02, 0.0)


def one_minority(n_tokens, n_experts):
    """Three quarters undecided, and everybody else sure of one and the same expert."""
    z = torch.full((n_tokens, n_experts), -20.0)
    n = 3 * n_tokens // 4
    z[:n, 0], z[:n, 1], z[n:, 0], z[n:, 1] = 0.02, 0.0, 0.0, 20.0
    return z


def wrong_ones_sure(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 0.7, 20.0, 0.02)


def timid(n_tokens, n_experts):
    return _rows(n_tokens, n_experts, 0.6, 0.02, 0.4)


COUNTEREXAMPLE_RIGHT = [half_dead, three_quarters, by_search]
COUNTEREXAMPLE_WRONG = {
    "probabilities": already_softmaxed,
    "infinite": minus_infinity,
    "ties": all_tied,
    "balanced": round_robin,
    "sure_crowd": collapsed,
    "lukewarm_crowd": collapsed_by_a_hair,
    "two_experts_only": one_minority,
    "sure_majority": wrong_ones_sure,
    "not_far_enough": timid,
}
