"""Answers to 15.speculate and 15.speculation_pays as learners write them, wrong and right ones."""

import torch


def pick(w, u):
    total = 0.0
    for v, x in enumerate(w.tolist()):
        total += x / float(w.sum())
        if total >= u:
            return v
    return len(w) - 1


def speculate_while(p_HV, q_GV, drafted_G, u_G, u_last):
    G, g, out = len(drafted_G), 0, []
    while g < G and float(u_G[g]) <= min(1.0, float(p_HV[g, drafted_G[g]] / q_GV[g, drafted_G[g]])):
        out.append(int(drafted_G[g]))
        g += 1
    w = p_HV[G] if g == G else torch.maximum(p_HV[g] - q_GV[g], torch.tensor(0.0))
    out.append(pick(w, u_last))
    return torch.tensor(out + [-1] * (G + 1 - len(out)))


def speculate_cumprod(p_HV, q_GV, drafted_G, u_G, u_last):
    G = len(drafted_G)
    at = torch.arange(G)
    ok = u_G <= p_HV[at, drafted_G] / q_GV[at, drafted_G]
    n = int(ok.long().cumprod(0).sum())
    padded = torch.cat([q_GV, torch.zeros_like(q_GV[:1])])
    left = (p_HV[n] - padded[n]).clamp_min(0)
    last = torch.searchsorted((left / left.sum()).cumsum(0), torch.tensor([u_last]))
    return torch.cat([drafted_G[:n], last.clamp(max=len(left) - 1), drafted_G.new_full((G - n,), -1)])


def speculate_for(p, q, x, u, u_last):
    out = torch.full((len(p),), -1)
    for g in range(len(x)):
        if u[g] * q[g, x[g]] <= p[g, x[g]]:
            out[g] = x[g]
        else:
            r = torch.relu(p[g] - q[g])
            out[g] = int((r.cumsum(0) / r.sum() >= u_last).nonzero()[0])
            return out
    out[-1] = int((p[-1].cumsum(0) >= u_last).nonzero()[0])
    return out


def looped(ok, left=lambda p, q: torch.relu(p - q), last=lambda p, q: p[-1], choose=pick):
    def answer(p, q, x, u, u_last):
        out = []
        for g, t in enumerate(x.tolist()):
            if not ok(p[g], q[g], t, u[g]):
                out.append(choose(left(p[g], q[g]), u_last))
                break
            out.append(t)
        else:
            out.append(choose(last(p, q), u_last))
        return torch.tensor(out + [-1] * (len(p) - len(out)))

    return answer


def rule(p, q, t, u):
    return u <= p[t] / q[t]


def unnormalised(p, q, x, u, u_last):
    for g in range(len(x)):
        if u[g] > p[g, x[g]] / q[g, x[g]]:
            r = (p[g] - q[g]).clamp(min=0)
            new = min(int((r.cumsum(0) < u_last).sum()), len(r) - 1)
            return torch.tensor([*x[:g].tolist(), new] + [-1] * (len(x) - g))
    return torch.tensor([*x.tolist(), pick(p[-1], u_last)])


def without_break(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        if rule(p[g], q[g], x[g], u[g]):
            out.append(int(x[g]))
        else:
            out.append(pick(torch.relu(p[g] - q[g]), u_last))
    if out == x.tolist():
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def sum_of_passes(p, q, x, u, u_last):
    at = torch.arange(len(x))
    n = int((u <= p[at, x] / q[at, x]).sum())
    left = torch.relu(p[n] - q[n]) if n < len(x) else p[n]
    return torch.tensor([*x[:n].tolist(), pick(left, u_last)] + [-1] * (len(x) - n))


def rejected_too(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        out.append(int(x[g]))
        if not rule(p[g], q[g], x[g], u[g]):
            out.append(pick(torch.relu(p[g] - q[g]), u_last))
            break
    else:
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def only_kept(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        if not rule(p[g], q[g], x[g], u[g]):
            break
        out.append(int(x[g]))
    if len(out) == len(x):
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def two_more(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        if not rule(p[g], q[g], x[g], u[g]):
            out.append(pick(torch.relu(p[g] - q[g]), u_last))
            break
        out.append(int(x[g]))
    out.append(pick(p[len(out)], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def no_extra(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        if not rule(p[g], q[g], x[g], u[g]):
            out.append(pick(torch.relu(p[g] - q[g]), u_last))
            break
        out.append(int(x[g]))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def last_row(p, q, x, u, u_last):
    """The residual of the last place, whichever was rejected."""
    out = []
    for g in range(len(x)):
        if not rule(p[g], q[g], x[g], u[g]):
            out.append(pick(p[-1], u_last))
            break
        out.append(int(x[g]))
    else:
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def zeros(p, q, x, u, u_last):
    tokens = speculate_while(p, q, x, u, u_last)
    return torch.where(tokens < 0, 0, tokens)


def next_one(w, u):
    return min(pick(w, u) + 1, len(w) - 1)


def same_chance(p, q, x, u, u_last):
    out = []
    for g in range(len(x)):
        if u[g] > p[g, x[g]] / q[g, x[g]]:
            out.append(pick(torch.relu(p[g] - q[g]), float(u[g])))
            break
        out.append(int(x[g]))
    else:
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


def one_row_on(p, q, x, u, u_last):
    n = 0
    while n < len(x) and u[n] <= p[n + 1, x[n]] / q[n, x[n]]:
        n += 1
    w = torch.relu(p[n] - q[n]) if n < len(x) else p[n]
    return torch.tensor([*x[:n].tolist(), pick(w, u_last)] + [-1] * (len(x) - n))


def whole_draft_so_far(p, q, x, u, u_last):
    out, joint = [], 1.0
    for g in range(len(x)):
        joint = joint * float(p[g, x[g]] / q[g, x[g]])
        if float(u[g]) > joint:
            out.append(pick(torch.relu(p[g] - q[g]), u_last))
            break
        out.append(int(x[g]))
    else:
        out.append(pick(p[-1], u_last))
    return torch.tensor(out + [-1] * (len(p) - len(out)))


SPECULATE_WRONG = {
    "ratios_multiplied": whole_draft_so_far,
    "chance_used_twice": same_chance,
    "softmax_of_residual": looped(rule, left=lambda p, q: torch.relu(p - q).softmax(0)),
    "row_shifted": one_row_on,
    "target_probability_alone": looped(lambda p, q, t, u: u <= p[t]),
    "accepted_if_likelier": looped(lambda p, q, t, u: p[t] >= q[t]),
    "ratio_upside_down": looped(lambda p, q, t, u: u <= q[t] / p[t]),
    "kept_and_rejected_swapped": looped(lambda p, q, t, u: u > p[t] / q[t]),
    "accepted_if_best": looped(lambda p, q, t, u: t == p.argmax()),
    "redrawn_from_target": looped(rule, left=lambda p, q: p),
    "redrawn_from_draft": looped(rule, left=lambda p, q: q),
    "residual_of_magnitudes": looped(rule, left=lambda p, q: (p - q).abs()),
    "residual_of_surplus": looped(rule, left=lambda p, q: torch.relu(q - p)),
    "residual_not_normalised": unnormalised,
    "most_likely_instead_of_drawn": looped(rule, choose=lambda w, u: int(w.argmax())),
    "one_token_off": looped(rule, choose=next_one),
    "goes_on_after_rejection": without_break,
    "counts_all_kept": sum_of_passes,
    "rejected_stays": rejected_too,
    "not_replaced": only_kept,
    "bonus_after_rejection": two_more,
    "no_bonus": no_extra,
    "bonus_from_draft": looped(rule, last=lambda p, q: q[-1]),
    "bonus_from_the_row_before": looped(rule, last=lambda p, q: p[-2]),
    "residual_of_another_place": last_row,
    "zero_behind_the_end": zeros,
}

SPECULATE_RIGHT = [speculate_while, speculate_cumprod, speculate_for]


def pays_by_recurrence(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        touched = 0.0
        for _ in range(n):
            touched += (n_experts - touched) * top_k / n_experts
        return shared_bytes + expert_bytes * touched

    tokens = 1.0
    for _ in range(gamma):
        tokens = 1 + acceptance * tokens
    return tokens * read(batch) / read(batch * (gamma + 1))


def pays_in_closed_form(E, K, B, g, a, S, X):
    tokens = g + 1 if a == 1 else (1 - a ** (g + 1)) / (1 - a)
    miss = 1 - K / E
    return tokens * (S + X * (E - E * miss**B)) / (S + X * (E - E * miss ** (B + B * g)))


def pays_by_chances(E, K, B, g, a, S, X):
    """Tokens by the number kept: each n < g with its chance, then all."""
    tokens = sum((n + 1) * a**n * (1 - a) for n in range(g)) + (g + 1) * a**g
    return torch.tensor(tokens * read(E, K, S, X, B) / read(E, K, S, X, B * (g + 1)))


def cover(E, K, n):
    return E * (1 - (1 - K / E) ** n)


def read(E, K, S, X, n):
    return S + X * cover(E, K, n)


def geometric(a, g):
    return sum(a**i for i in range(g + 1))


def with_tokens(of):
    """The right bytes, beside other tokens."""
    return lambda E, K, B, g, a, S, X: of(a, g) * read(E, K, S, X, B) / read(E, K, S, X, B * (g + 1))


def repeated(E, K, B, g, a, S, X):
    def bytes_of(n):
        return S + X * E * (1 - (1 - 1 / E) ** (K * n))

    return geometric(a, g) * bytes_of(B) / bytes_of(B * (g + 1))


PAYS_WRONG = {
    "chosen_one_by_one": repeated,
    "whole_draft_weighted": with_tokens(lambda a, g: sum((n + 1) * a**n * (1 - a) for n in range(g + 1))),
    "two_steps": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * read(E, K, S, X, B) / (read(E, K, S, X, B) + read(E, K, S, X, B * (g + 1)))
    ),
    "all_accepted": with_tokens(lambda a, g: g + 1),
    "mean_accepted": with_tokens(lambda a, g: 1 + a * g),
    "own_token_forgotten": with_tokens(lambda a, g: sum(a**i for i in range(1, g + 1))),
    "only_if_all_right": with_tokens(lambda a, g: a**g * (g + 1) + (1 - a**g)),
    "one_token_too_few": with_tokens(lambda a, g: sum(a**i for i in range(g))),
    "endless_draft": with_tokens(lambda a, g: 1 / (1 - a)),
    "bytes_unchanged": lambda E, K, B, g, a, S, X: geometric(a, g),
    "no_overlap": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * (S + X * min(K * B, E)) / (S + X * min(K * B * (g + 1), E))
    ),
    "users_apart": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * (S + B * X * K) / (S + B * X * cover(E, K, g + 1))
    ),
    "one_user": lambda E, K, B, g, a, S, X: geometric(a, g) * read(E, K, S, X, 1) / read(E, K, S, X, g + 1),
    "every_expert": lambda E, K, B, g, a, S, X: geometric(a, g) * read(E, K, S, X, B) / (S + E * X),
    "gamma_not_gamma_plus_1": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * read(E, K, S, X, B) / read(E, K, S, X, B * g)
    ),
    "added_not_multiplied": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * read(E, K, S, X, B) / read(E, K, S, X, B * g + 1)
    ),
    "kept_tokens_only": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * read(E, K, S, X, B) / read(E, K, S, X, B * geometric(a, g))
    ),
    "shared_forgotten": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * cover(E, K, B) / cover(E, K, B * (g + 1))
    ),
    "shared_for_each_token": lambda E, K, B, g, a, S, X: (
        geometric(a, g) * (B * S + X * cover(E, K, B)) / (B * (g + 1) * S + X * cover(E, K, B * (g + 1)))
    ),
    "cost_not_speed": lambda E, K, B, g, a, S, X: (
        read(E, K, S, X, B * (g + 1)) / geometric(a, g) / read(E, K, S, X, B)
    ),
    "bytes_alone": lambda E, K, B, g, a, S, X: read(E, K, S, X, B * (g + 1)) / read(E, K, S, X, B),
    "gain_not_factor": lambda *args: pays_in_closed_form(*args) - 1,
}

PAYS_RIGHT = [pays_by_recurrence, pays_in_closed_form, pays_by_chances]
