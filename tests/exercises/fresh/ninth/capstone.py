"""Fresh wrong answers to lesson 17's exercises of numbers, six an exercise."""

import math

import torch

# 17.serve


def all_experts_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = batch * context * cache_per_token
    weights = (shared + n_experts * expert) * bits / 8
    held = weights + embedding * bits / 8 + cache
    flops = 2 * (shared + top_k * expert) * batch
    return held, max((weights + cache) / bandwidth, flops / peak)


def no_two_share_an_expert(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    per_weight = bits / 8
    cache = cache_per_token * context * batch
    touched = min(n_experts, top_k * batch)
    held = (shared + embedding + n_experts * expert) * per_weight + cache
    read = (shared + touched * expert) * per_weight + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def active_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    active = shared + top_k * expert
    return held, max((active * bits / 8 + cache) / bandwidth, 2 * active * batch / peak)


def one_after_the_other(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    return held, read / bandwidth + 2 * (shared + top_k * expert) * batch / peak


def table_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + embedding + touched * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def one_users_arithmetic(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) / peak)


# 17.defend


def other_limit_forgotten(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits].min()
    best = {
        "compute": loss_compute_N[fits].min(),
        "text": loss_text_N[fits].min(),
        "memory": loss_N[memory_N <= 2 * memory].min(),
        "time": loss_N[seconds_N <= 2 * seconds].min(),
    }
    gains = {name: float(today - loss) for name, loss in best.items()}
    name = max(gains, key=gains.get)
    return name, gains[name]


def same_design_kept(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    i = torch.where(fits, loss_N, math.inf).argmin()
    today = loss_N[i]
    gains = {
        "compute": (today - loss_compute_N[i]).item(),
        "text": (today - loss_text_N[i]).item(),
        "memory": (today - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min()).item(),
        "time": (today - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min()).item(),
    }
    best = max(gains, key=lambda name: gains[name])
    return best, gains[best]


def _losses(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    return loss_N[fits].min(), {
        "compute": loss_compute_N[fits].min(),
        "text": loss_text_N[fits].min(),
        "memory": loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }


def the_new_loss(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    _, losses = _losses(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    name = min(losses, key=losses.get)
    return name, losses[name]


def negative_fall(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    today, losses = _losses(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    name = min(losses, key=losses.get)
    return name, losses[name] - today


def fit_asked_of_memory_and_time_alone(
    loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds
):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits].min()
    gains = {
        "compute": today - loss_compute_N.min(),
        "text": today - loss_text_N.min(),
        "memory": today - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": today - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    name = max(gains, key=gains.get)
    return name, gains[name]


def largest_fall_of_any_design(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today, losses = _losses(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    gains = {
        "compute": (loss_N - loss_compute_N)[fits].max(),
        "text": (loss_N - loss_text_N)[fits].max(),
        "memory": today - losses["memory"],
        "time": today - losses["time"],
    }
    name = max(gains, key=gains.get)
    return name, gains[name]


# 17.audit


def _right(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q=None,
):
    total = shared + n_experts * expert
    active = shared + top_k * expert
    return [
        total / 1e9,
        active / 1e9,
        2 * (active - embedding) / 1e9,
        total * bits / 8 / 1e9,
        n_experts * (1 - (1 - top_k / n_experts) ** batch),
        top_k,
        math.ceil(n_tokens * top_k / n_experts * capacity_factor),
        2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks / 1e6,
    ]


def _judged(right, quoted_Q):
    right_Q = torch.tensor([float(number) for number in right], dtype=torch.float64)
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


def table_added_to_shared(*a):
    right = _right(*a)
    shared, expert, embedding, n_experts, top_k, bits = a[:6]
    right[0] = (shared + embedding + n_experts * expert) / 1e9
    right[1] = (shared + embedding + top_k * expert) / 1e9
    right[3] = (shared + embedding + n_experts * expert) * bits / 8 / 1e9
    right[2] = 2 * (shared + top_k * expert) / 1e9
    return _judged(right, a[-1])


def table_multiplied(*a):
    right = _right(*a)
    right[2] = 2 * right[1]
    return _judged(right, a[-1])


def loss_of_one(*a):
    right = _right(*a)
    right[5] = 1.0
    return _judged(right, a[-1])


def capacity_of_tokens(*a):
    right = _right(*a)
    right[6] = math.ceil(a[8] * a[7] / a[3])
    return _judged(right, a[-1])


def one_way(*a):
    right = _right(*a)
    right[7] /= 2
    return _judged(right, a[-1])


def only_too_large(*a):
    right_Q = torch.tensor([float(number) for number in _right(*a)], dtype=torch.float64)
    return right_Q, (a[-1] - right_Q) / right_Q > 0.02


FRESH = {
    "17.serve": [
        ("all experts are read in a step", all_experts_read, {"all_experts_read"}),
        ("top_k * batch experts read, no overlap", no_two_share_an_expert, {"no_overlap"}),
        ("the active parameters of one token read", active_read, {"k_experts_read"}),
        ("reading and arithmetic added", one_after_the_other, {"times_added"}),
        ("the table read in every step", table_read, {"table_read"}),
        ("arithmetic of one user", one_users_arithmetic, {"reading_alone"}),
    ],
    "17.defend": [
        ("with twice one limit, the other is not asked", other_limit_forgotten, {"other_limit_dropped"}),
        ("compute and text: today's best design kept", same_design_kept, {"kept_for_training"}),
        ("the new loss for the fall", the_new_loss, {"loss_not_gain"}),
        ("the fall with a minus", negative_fall, {"other_sign"}),
        ("compute and text: designs that do not fit", fit_asked_of_memory_and_time_alone, {"limits_ignored"}),
        ("the largest fall of any design, not of the best", largest_fall_of_any_design, {"fall_of_any"}),
    ],
    "17.audit": [
        ("the table added, though it is among the shared", table_added_to_shared, {"table_twice"}),
        ("FLOPs of the table's rows counted", table_multiplied, {"table_multiplied"}),
        ("the loss of an even load is 1", loss_of_one, {"loss_is_one"}),
        ("capacity without K", capacity_of_tokens, {"capacity_without_k"}),
        ("one exchange of two", one_way, {"one_way"}),
        ("flags only quotes that are too large", only_too_large, {"one_side"}),
    ],
}
