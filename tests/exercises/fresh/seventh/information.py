"""Lesson 12, the last two: information."""

import math

import torch


def H(*labels):
    counts = torch.stack(labels).unique(dim=1, return_counts=True)[1]
    p = counts / counts.sum()
    return -(p * p.log2()).sum().item()


def mi(a, b):
    return H(a) + H(b) - H(a, b)


def plain_mean_over_kinds(experts_N, tokens_N, domains_N):
    found = []
    for token in tokens_N.unique():
        of_kind = tokens_N == token
        e, d = experts_N[of_kind], domains_N[of_kind]
        found.append(H(e) + H(d) - H(e, d))
    return sum(found) / len(found)


def token_not_asked(experts_N, tokens_N, domains_N):
    return H(experts_N) + H(domains_N) - H(experts_N, domains_N)


def in_nats(experts_N, tokens_N, domains_N):
    def entropy(*labels):
        counts = torch.stack(labels).unique(dim=1, return_counts=True)[1]
        p = counts / len(experts_N)
        return -(p * p.log()).sum().item()

    e, t, d = experts_N, tokens_N, domains_N
    return entropy(e, t) + entropy(d, t) - entropy(e, t, d) - entropy(t)


def last_entropy_forgotten(experts_N, tokens_N, domains_N):
    return H(experts_N, tokens_N) + H(domains_N, tokens_N) - H(experts_N, tokens_N, domains_N)


def what_the_token_tells_taken_off(experts_N, tokens_N, domains_N):
    return mi(experts_N, domains_N) - mi(tokens_N, domains_N)


def joint_by_a_number(experts_N, tokens_N, domains_N):
    total = 0.0
    for token in tokens_N.unique():
        mask = tokens_N == token
        e, d = experts_N[mask], domains_N[mask]
        both = e * d.max() + d
        total += mask.double().mean().item() * (H(e) + H(d) - H(both))
    return total


def beyond(e, t, d):
    return H(e, t) + H(d, t) - H(e, t, d) - H(t)


def shuffled(x):
    return x[torch.randperm(len(x))]


def within(x, groups):
    out = x.clone()
    for g in groups.unique():
        places = (groups == g).nonzero().squeeze(1)
        out[places] = x[places[torch.randperm(len(places))]]
    return out


def net_mi(a, b):
    return mi(a, b) - sum(mi(a, shuffled(b)) for _ in range(5)) / 5


def net_beyond(e, t, d):
    return beyond(e, t, d) - sum(beyond(e, t, within(d, t)) for _ in range(5)) / 5


def no_correction(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    if beyond(trained_N, tokens_N, domains_N) > 0.1:
        return "domain"
    if mi(trained_N, positions_N) > 0.1:
        return "position"
    if mi(trained_N, tokens_N) > 0.1:
        better = mi(trained_N, tokens_N) - mi(untrained_N, tokens_N) > 0.2
        return "token" if better else "untrained"
    return "nothing"


def domain_with_the_token_in_it(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    if net_mi(trained_N, domains_N) > 0.1:
        return "domain"
    if net_mi(trained_N, positions_N) > 0.1:
        return "position"
    told = net_mi(trained_N, tokens_N)
    if told > 0.1:
        return "token" if told - net_mi(untrained_N, tokens_N) > 0.2 else "untrained"
    return "nothing"


def never_mind_the_untrained(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    if net_beyond(trained_N, tokens_N, domains_N) > 0.1:
        return "domain"
    if net_mi(trained_N, positions_N) > 0.1:
        return "position"
    if net_mi(trained_N, tokens_N) > 0.1:
        return "token"
    if net_mi(untrained_N, tokens_N) > 0.1:
        return "untrained"
    return "nothing"


def whichever_tells_most(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    told = {
        "domain": net_beyond(trained_N, tokens_N, domains_N),
        "position": net_mi(trained_N, positions_N),
        "token": net_mi(trained_N, tokens_N),
    }
    name = max(told, key=told.get)
    if told[name] <= 0.1:
        return "nothing"
    if name == "token" and told["token"] - net_mi(untrained_N, tokens_N) <= 0.2:
        return "untrained"
    return name


def shuffled_over_everything(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    chance = sum(beyond(trained_N, tokens_N, shuffled(domains_N)) for _ in range(5)) / 5
    if beyond(trained_N, tokens_N, domains_N) - chance > 0.1:
        return "domain"
    if net_mi(trained_N, positions_N) > 0.1:
        return "position"
    told = net_mi(trained_N, tokens_N)
    if told > 0.1:
        return "token" if told - net_mi(untrained_N, tokens_N) > 0.2 else "untrained"
    return "nothing"


def untrained_has_it_too(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    n_experts = int(max(trained_N.max(), untrained_N.max())) + 1

    def miller(e, b):
        return (n_experts - 1) * (len(b.unique()) - 1) / (2 * len(b) * math.log(2))

    if net_beyond(trained_N, tokens_N, domains_N) > 0.1:
        return "domain"
    if mi(trained_N, positions_N) - miller(trained_N, positions_N) > 0.1:
        return "position"
    if mi(trained_N, tokens_N) - miller(trained_N, tokens_N) > 0.1:
        before = mi(untrained_N, tokens_N) - miller(untrained_N, tokens_N)
        return "untrained" if before > 0.1 else "token"
    return "nothing"


FRESH = {
    "12.beyond_the_token": [
        ("the plain mean over kinds, frequent or not", plain_mean_over_kinds, {"unweighted"}),
        ("expert and domain, the token not asked", token_not_asked, {"not_conditional"}),
        ("log in place of log2", in_nats, {"nats"}),
        ("H(t) not taken off at the end", last_entropy_forgotten, {"token_left_in"}),
        (
            "what the token tells of the domain taken off",
            what_the_token_tells_taken_off,
            {"token_subtracted"},
        ),
        ("pairs as one number, e * max(d) + d, which some share", joint_by_a_number, {"numbers_collide"}),
    ],
    "12.what_is_it": [
        ("nothing taken off for chance", no_correction, {"chance_taken_for_news"}),
        (
            "information on the domain, not beyond the token",
            domain_with_the_token_in_it,
            {"domain_through_token"},
        ),
        ("the untrained router not subtracted", never_mind_the_untrained, {"no_baseline"}),
        ("whichever tells most, not in the order of the card", whichever_tells_most, {"largest_wins"}),
        ("domains shuffled over all tokens", shuffled_over_everything, {"domain_just_missed"}),
        (
            "'untrained' wherever the untrained one tells more than 0.1 too",
            untrained_has_it_too,
            {"untrained_by_itself"},
        ),
    ],
}
