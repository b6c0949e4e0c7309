"""Lesson 15, the last two: drafts."""

import torch


def first_up_to(probs, u):
    return int((probs.cumsum(0) >= u).float().argmax())


def filled(tokens, n):
    out = torch.full((n,), -1, dtype=torch.int64)
    out[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
    return out


def rest_not_made_to_sum(p_HV, q_GV, drafted_G, u_G, u_last):
    tokens = []
    for g, x in enumerate(drafted_G.tolist()):
        if u_G[g] * q_GV[g, x] <= p_HV[g, x]:
            tokens.append(x)
        else:
            rest = (p_HV[g] - q_GV[g]).clamp(min=0)
            tokens.append(first_up_to(rest, u_last))
            break
    else:
        tokens.append(first_up_to(p_HV[-1], u_last))
    return filled(tokens, len(p_HV))


def replaced_from_p(p_HV, q_GV, drafted_G, u_G, u_last):
    tokens = []
    for g, x in enumerate(drafted_G.tolist()):
        if u_G[g] * q_GV[g, x] > p_HV[g, x]:
            tokens.append(first_up_to(p_HV[g], u_last))
            return filled(tokens, len(p_HV))
        tokens.append(x)
    tokens.append(first_up_to(p_HV[-1], u_last))
    return filled(tokens, len(p_HV))


def goes_on_after_a_rejection(p_HV, q_GV, drafted_G, u_G, u_last):
    tokens = []
    for g, x in enumerate(drafted_G.tolist()):
        if u_G[g] * q_GV[g, x] <= p_HV[g, x]:
            tokens.append(x)
        else:
            rest = (p_HV[g] - q_GV[g]).clamp_min(0)
            tokens.append(first_up_to(rest / rest.sum(), u_last))
    tokens.append(first_up_to(p_HV[-1], u_last))
    return filled(tokens, len(p_HV))


def no_bonus(p_HV, q_GV, drafted_G, u_G, u_last):
    out = torch.full((len(p_HV),), -1, dtype=torch.int64)
    for g in range(len(drafted_G)):
        x = drafted_G[g]
        if u_G[g] * q_GV[g, x] <= p_HV[g, x]:
            out[g] = x
        else:
            rest = (p_HV[g] - q_GV[g]).clamp_min(0)
            out[g] = first_up_to(rest / rest.sum(), u_last)
            break
    return out


def draft_s_chance_left_out(p_HV, q_GV, drafted_G, u_G, u_last):
    tokens = []
    for g, x in enumerate(drafted_G.tolist()):
        if u_G[g] <= p_HV[g, x]:
            tokens.append(x)
            continue
        rest = (p_HV[g] - q_GV[g]).clamp_min(0)
        if rest.sum() == 0:
            rest = p_HV[g]
        tokens.append(first_up_to(rest / rest.sum(), u_last))
        break
    else:
        tokens.append(first_up_to(p_HV[-1], u_last))
    return filled(tokens, len(p_HV))


def distance_for_rest(p_HV, q_GV, drafted_G, u_G, u_last):
    tokens = []
    for g, x in enumerate(drafted_G.tolist()):
        if u_G[g] * q_GV[g, x] <= p_HV[g, x]:
            tokens.append(x)
            continue
        rest = (p_HV[g] - q_GV[g]).abs()
        tokens.append(first_up_to(rest / rest.sum(), u_last))
        break
    else:
        tokens.append(first_up_to(p_HV[-1], u_last))
    return filled(tokens, len(p_HV))


def each_kept_by_itself(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        return shared_bytes + expert_bytes * n_experts * (1 - (1 - top_k / n_experts) ** n)

    return (1 + gamma * acceptance) * read(batch) / read(batch * (gamma + 1))


def only_drafted_ones_pass(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        return shared_bytes + expert_bytes * n_experts * (1 - (1 - top_k / n_experts) ** n)

    tokens = sum(acceptance**i for i in range(gamma + 1))
    return tokens * read(batch) / read(batch * gamma)


def a_check_costs_a_step(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    tokens = sum(acceptance**i for i in range(gamma + 1))
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    step = check = shared_bytes + expert_bytes * touched
    return tokens * step / check


def rejected_ones_read_nothing(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        return shared_bytes + expert_bytes * n_experts * (1 - (1 - top_k / n_experts) ** n)

    tokens = sum(acceptance**i for i in range(gamma + 1))
    return tokens * read(batch) / read(batch * tokens)


def users_share_nothing(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        touched = n_experts * (1 - (1 - top_k / n_experts) ** n)
        return shared_bytes + expert_bytes * batch * touched

    tokens = sum(acceptance**i for i in range(gamma + 1))
    return tokens * read(1) / read(gamma + 1)


def one_more_forgotten(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    def read(n):
        return shared_bytes + expert_bytes * n_experts * (1 - (1 - top_k / n_experts) ** n)

    tokens = sum(acceptance**i for i in range(1, gamma + 1))
    return tokens * read(batch) / read(batch * (gamma + 1))


FRESH = {
    "15.speculate": [
        (
            "the positive part of p - q not made to sum to 1",
            rest_not_made_to_sum,
            {"residual_not_normalised"},
        ),
        ("the replacement drawn from p", replaced_from_p, {"redrawn_from_target"}),
        ("goes on after a token that was replaced", goes_on_after_a_rejection, {"goes_on_after_rejection"}),
        ("no token more if all are kept", no_bonus, {"no_bonus"}),
        ("kept if u <= p(x), q not asked", draft_s_chance_left_out, {"target_probability_alone"}),
        ("|p - q| in place of the positive part", distance_for_rest, {"residual_of_magnitudes"}),
    ],
    "15.speculation_pays": [
        ("1 + gamma · a tokens", each_kept_by_itself, {"mean_accepted"}),
        ("the check passes gamma tokens a user", only_drafted_ones_pass, {"gamma_not_gamma_plus_1"}),
        ("a check reads what a step reads", a_check_costs_a_step, {"bytes_unchanged"}),
        ("only kept tokens count in the coverage", rejected_ones_read_nothing, {"kept_tokens_only"}),
        ("coverage of one user, times the users", users_share_nothing, {"users_apart"}),
        ("the one more token not counted", one_more_forgotten, {"own_token_forgotten"}),
    ],
}
