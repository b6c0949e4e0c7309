"""Lesson 17: what it takes to serve, what to buy, and a page of numbers."""

import math

import torch

# 17.serve


def touched_of(n_experts, top_k, batch):
    """Experts of a layer that a batch touches, in expectation."""
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def serve_reads_active(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * bits / 8 + caches
    read = (shared + top_k * expert) * bits / 8 + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def serve_no_expert_twice(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * bits / 8 + caches
    read = (shared + min(n_experts, batch * top_k) * expert) * bits / 8 + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def serve_adds_up(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * bits / 8 + caches
    read = (shared + touched_of(n_experts, top_k, batch) * expert) * bits / 8 + caches
    return held, read / bandwidth + 2 * (shared + top_k * expert) * batch / peak


def serve_caches_unread(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    held = (shared + n_experts * expert + embedding) * bits / 8 + batch * context * cache_per_token
    read = (shared + touched_of(n_experts, top_k, batch) * expert) * bits / 8
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def serve_one_token_computed(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * bits / 8 + caches
    read = (shared + touched_of(n_experts, top_k, batch) * expert) * bits / 8 + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) / peak)


def serve_table_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * bits / 8 + caches
    read = (shared + embedding + touched_of(n_experts, top_k, batch) * expert) * bits / 8 + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# 17.defend


def most(falls):
    """The resource with the largest number, and the number."""
    best = max(falls, key=falls.get)
    return best, falls[best]


def defend_other_limit_dropped(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits_N = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits_N].min()
    falls = {
        "compute": today - loss_compute_N[fits_N].min(),
        "text": today - loss_text_N[fits_N].min(),
        "memory": today - loss_N[memory_N <= 2 * memory].min(),
        "time": today - loss_N[seconds_N <= 2 * seconds].min(),
    }
    return most({name: fall.item() for name, fall in falls.items()})


def defend_training_for_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    small_N, fast_N = memory_N <= memory, seconds_N <= seconds
    today = loss_N[small_N & fast_N].min()
    falls = {
        "compute": today - loss_compute_N.min(),
        "text": today - loss_text_N.min(),
        "memory": today - loss_N[(memory_N <= 2 * memory) & fast_N].min(),
        "time": today - loss_N[small_N & (seconds_N <= 2 * seconds)].min(),
    }
    return most({name: fall.item() for name, fall in falls.items()})


def defend_todays_design(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    small_N, fast_N = memory_N <= memory, seconds_N <= seconds
    mine = torch.where(small_N & fast_N, loss_N, float("inf")).argmin()
    today = loss_N[mine]
    falls = {
        "compute": today - loss_compute_N[mine],
        "text": today - loss_text_N[mine],
        "memory": today - loss_N[(memory_N <= 2 * memory) & fast_N].min(),
        "time": today - loss_N[small_N & (seconds_N <= 2 * seconds)].min(),
    }
    return most({name: fall.item() for name, fall in falls.items()})


def losses_of(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    """The best loss with twice as much of each."""
    small_N, fast_N = memory_N <= memory, seconds_N <= seconds
    return {
        "compute": loss_compute_N[small_N & fast_N].min().item(),
        "text": loss_text_N[small_N & fast_N].min().item(),
        "memory": loss_N[(memory_N <= 2 * memory) & fast_N].min().item(),
        "time": loss_N[small_N & (seconds_N <= 2 * seconds)].min().item(),
    }


def defend_new_loss(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    new = losses_of(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    best = min(new, key=new.get)
    return best, new[best]


def defend_today_without_limits(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    today = loss_N.min().item()
    new = losses_of(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    return most({name: today - loss for name, loss in new.items()})


def defend_new_minus_old(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    today = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min().item()
    new = losses_of(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds)
    best = min(new, key=new.get)
    return best, new[best] - today


# 17.audit


def page(shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks):
    """The eight numbers, each under a name."""
    return {
        "all": (shared + n_experts * expert) / 1e9,
        "active": (shared + top_k * expert) / 1e9,
        "forward": 2 * (shared - embedding + top_k * expert) / 1e9,
        "weights": (shared + n_experts * expert) * bits / 8 / 1e9,
        "touched": touched_of(n_experts, top_k, batch),
        "balance": top_k,
        "capacity": math.ceil(capacity_factor * n_tokens * top_k / n_experts),
        "sent": 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks / 1e6,
    }


def flagged(right, quoted_Q):
    """The numbers as a tensor, and which quotes are off by more than 2 %."""
    right_Q = torch.tensor([float(number) for number in right.values()], dtype=torch.float64)
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


def audit_table_twice(
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
    quoted_Q,
):
    right = page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    right["all"] = (shared + embedding + n_experts * expert) / 1e9
    right["active"] = (shared + embedding + top_k * expert) / 1e9
    right["forward"] = 2 * (shared + top_k * expert) / 1e9
    right["weights"] = right["all"] * bits / 8
    return flagged(right, quoted_Q)


def audit_table_multiplied(*args):
    *model, quoted_Q = args
    right = page(*model)
    right["forward"] = 2 * right["active"]
    return flagged(right, quoted_Q)


def audit_capacity_of_one_choice(*args):
    *model, quoted_Q = args
    n_experts, n_tokens, capacity_factor = model[3], model[7], model[8]
    right = page(*model) | {"capacity": math.ceil(capacity_factor * n_tokens / n_experts)}
    return flagged(right, quoted_Q)


def audit_balance_is_one(*args):
    *model, quoted_Q = args
    return flagged(page(*model) | {"balance": 1.0}, quoted_Q)


def audit_all_rows_leave(*args):
    *model, quoted_Q = args
    top_k, n_tokens, d_model = model[4], model[7], model[9]
    return flagged(page(*model) | {"sent": 2 * n_tokens * top_k * d_model * 2 / 1e6}, quoted_Q)


def audit_off_by_a_difference(*args):
    *model, quoted_Q = args
    right_Q, _ = flagged(page(*model), quoted_Q)
    return right_Q, (quoted_Q - right_Q).abs() > 0.02


FRESH = {
    "17.serve": [
        ("a step reads the active parameters", serve_reads_active, {"k_experts_read"}),
        ("a batch touches batch times top_k experts, at most all", serve_no_expert_twice, {"no_overlap"}),
        ("time to read plus time to compute", serve_adds_up, {"times_added"}),
        ("caches are held, and what is read are weights", serve_caches_unread, {"cache_not_read"}),
        (
            "two operations for each active parameter, of one token",
            serve_one_token_computed,
            {"reading_alone"},
        ),
        ("the table is read with the other weights", serve_table_read, {"table_read"}),
    ],
    "17.defend": [
        (
            "with twice the memory only memory is asked for, and likewise time",
            defend_other_limit_dropped,
            {"other_limit_dropped"},
        ),
        (
            "training has nothing to do with what fits: compute and text over all",
            defend_training_for_all,
            {"limits_ignored"},
        ),
        ("compute and text for the design that is best today", defend_todays_design, {"kept_for_training"}),
        ("returned the lowest loss, not by how much it falls", defend_new_loss, {"loss_not_gain"}),
        ("compared with the lowest loss of all designs", defend_today_without_limits, {"limits_ignored"}),
        ("new minus old, below zero", defend_new_minus_old, {"other_sign"}),
    ],
    "17.audit": [
        ("the table comes on top of shared", audit_table_twice, {"table_twice"}),
        (
            "two operations for each active parameter, table and all",
            audit_table_multiplied,
            {"table_multiplied"},
        ),
        ("capacity without top_k", audit_capacity_of_one_choice, {"capacity_without_k"}),
        ("an even load gives 1", audit_balance_is_one, {"loss_is_one"}),
        ("all rows leave their rank", audit_all_rows_leave, {"own_rank_sent"}),
        ("off by more than 0.02", audit_off_by_a_difference, {"absolute_difference"}),
    ],
}
