"""Lesson 16, the last two: a state, and two numbers."""

import torch


def forgets_after_writing(x_LP, b_LN, c_LN, log_decay_L):
    S = torch.zeros(b_LN.shape[1], x_LP.shape[1])
    ys = []
    for t in range(len(x_LP)):
        S = (S + torch.outer(b_LN[t], x_LP[t])) * log_decay_L[t].exp()
        ys.append(c_LN[t] @ S)
    return torch.stack(ys)


def reads_before_writing(x_LP, b_LN, c_LN, log_decay_L):
    S = torch.zeros(b_LN.shape[1], x_LP.shape[1])
    ys = []
    for t in range(len(x_LP)):
        S = S * log_decay_L[t].exp()
        ys.append(c_LN[t] @ S)
        S = S + torch.outer(b_LN[t], x_LP[t])
    return torch.stack(ys)


def decay_without_exp(x_LP, b_LN, c_LN, log_decay_L):
    S = torch.zeros(b_LN.shape[1], x_LP.shape[1])
    ys = []
    for t in range(len(x_LP)):
        S = S * log_decay_L[t] + torch.outer(b_LN[t], x_LP[t])
        ys.append(c_LN[t] @ S)
    return torch.stack(ys)


def running_mean(x_LP, b_LN, c_LN, log_decay_L):
    S = x_LP.new_zeros(b_LN.shape[1], x_LP.shape[1])
    ys = []
    for t in range(len(x_LP)):
        keep = log_decay_L[t].exp()
        S = keep * S + (1 - keep) * torch.outer(b_LN[t], x_LP[t])
        ys.append(c_LN[t] @ S)
    return torch.stack(ys)


def future_not_masked(x_LP, b_LN, c_LN, log_decay_L):
    cum = log_decay_L.cumsum(0)
    mask = (cum[:, None] - cum[None, :]).exp()
    return (mask * (c_LN @ b_LN.T)) @ x_LP


def only_the_last_decay(x_LP, b_LN, c_LN, log_decay_L):
    L = len(x_LP)
    decay = torch.eye(L) + log_decay_L.exp()[:, None] * torch.ones(L, L).tril(-1)
    return (decay * (c_LN @ b_LN.T)) @ x_LP


def both_rounded_alike(total, active, unit, n_experts, top_k):
    xs, rests = [], []
    for off in (-unit / 2, unit / 2):
        t, a = total + off, active + off
        x = (t - a) / (n_experts - top_k)
        xs.append(x)
        rests.append(a - top_k * x)
    return (min(xs), max(xs), min(rests), max(rests)), max(rests) >= 0


def off_by_a_whole_unit(total, active, unit, n_experts, top_k):
    xs, rests = [], []
    for t in (total - unit, total + unit):
        for a in (active - unit, active + unit):
            x = (t - a) / (n_experts - top_k)
            xs.append(x)
            rests.append(a - top_k * x)
    return (min(xs), max(xs), min(rests), max(rests)), max(rests) >= 0


def all_rests_above_zero(total, active, unit, n_experts, top_k):
    h = unit / 2
    corners = [(total + s * h, active + r * h) for s in (-1, 1) for r in (-1, 1)]
    xs = [(t - a) / (n_experts - top_k) for t, a in corners]
    rests = [a - top_k * x for (t, a), x in zip(corners, xs, strict=True)]
    return (min(xs), max(xs), min(rests), max(rests)), min(rests) >= 0


def divided_by_all_experts(total, active, unit, n_experts, top_k):
    h = unit / 2
    corners = [(total + s * h, active + r * h) for s in (-1, 1) for r in (-1, 1)]
    xs = [(t - a) / n_experts for t, a in corners]
    rests = [a - top_k * x for (t, a), x in zip(corners, xs, strict=True)]
    return (min(xs), max(xs), min(rests), max(rests)), max(rests) >= 0


def ends_of_x_put_in(total, active, unit, n_experts, top_k):
    h = unit / 2
    x_low = ((total - h) - (active + h)) / (n_experts - top_k)
    x_high = ((total + h) - (active - h)) / (n_experts - top_k)
    low = (total - h) - n_experts * x_high
    high = (total + h) - n_experts * x_low
    return (x_low, x_high, low, high), high >= 0


def rest_from_active_as_said(total, active, unit, n_experts, top_k):
    x_low = (total - active - unit) / (n_experts - top_k)
    x_high = (total - active + unit) / (n_experts - top_k)
    low = active - top_k * x_high
    high = active - top_k * x_low
    return (x_low, x_high, low, high), high >= 0


FRESH = {
    "16.selective_scan": [
        ("what is written at t decays at t too", forgets_after_writing, {"input_decays_at_once"}),
        ("read before it is written", reads_before_writing, {"read_before_written"}),
        ("multiplied by log_decay, exp forgotten", decay_without_exp, {"log_not_undone"}),
        ("a running mean: (1 - decay) times what is new", running_mean, {"weighted_average"}),
        ("one matrix, without the lower triangle", future_not_masked, {"sees_the_future"}),
        ("one matrix in which all earlier ones decay once", only_the_last_decay, {"decay_not_accumulated"}),
    ],
    "16.two_numbers": [
        ("both rounded in the same direction", both_rounded_alike, {"rounded_together"}),
        ("a whole unit in place of half of it", off_by_a_whole_unit, {"a_whole_unit"}),
        ("possible only if the least rest is not below 0", all_rests_above_zero, {"lowest_rest_counts"}),
        ("t - a divided by E", divided_by_all_experts, {"e_not_e_minus_k"}),
        (
            "least total less E times the most x, and the other way round",
            ends_of_x_put_in,
            {"opposite_ends_alone"},
        ),
        ("the rest from active as it was said", rest_from_active_as_said, {"active_taken_exact"}),
    ],
}
