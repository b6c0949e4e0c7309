"""Answers to 17.audit as learners write them."""

import math

import numpy as np
import torch

ORDER = ("total", "active", "flops", "bytes", "touched", "even", "capacity", "sent")


def numbers(shared, expert, embedding, E, K, bits, B, T, cf, D, R):
    shared, expert, embedding = (x / 10**9 for x in (shared, expert, embedding))
    total = shared + expert * E
    return {
        "total": total,
        "active": shared + expert * K,
        "flops": 2 * (shared - embedding) + 2 * K * expert,
        "bytes": total / 8 * bits,
        "touched": E - E * ((E - K) / E) ** B,
        "even": K,
        "capacity": math.ceil(T * K * cf / E),
        "sent": 4e-6 * D * T * K * (1 - 1 / R),
    }


def audit_list(*given):
    *model, quoted = given
    right = [float(numbers(*model)[name]) for name in ORDER]
    return right, torch.tensor([abs(q - r) > 0.02 * r for q, r in zip(quoted.tolist(), right, strict=True)])


def audit_numpy(*given):
    *model, quoted = given
    right = np.array([numbers(*model)[name] for name in ORDER], dtype=float)
    return right, ~np.isclose(quoted.numpy(), right, rtol=0.02, atol=0)


def audit_torch(
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
    shared, expert, embedding = shared * 1e-9, expert * 1e-9, embedding * 1e-9
    total = shared + n_experts * expert
    active = shared + top_k * expert
    missed = torch.tensor(1 - top_k / n_experts, dtype=torch.double).pow(batch)
    right_Q = torch.stack(
        [
            torch.as_tensor(x, dtype=torch.double)
            for x in (
                total,
                active,
                (active - embedding) * 2,
                total * (bits / 8),
                n_experts * (1 - missed),
                top_k,
                -(-capacity_factor * n_tokens * top_k // n_experts),
                (ranks - 1) * (n_tokens * top_k / ranks) * d_model * 2 * 2 / 1e6,
            )
        ]
    )
    return right_Q, torch.max(quoted_Q / right_Q, right_Q / quoted_Q) > 1.02


def other(name, how, flags=None):
    def audit(*given):
        *m, quoted = given
        values = numbers(*m)
        if name:
            values[name] = how(values, *(x / 1e9 for x in m[:3]), *m[3:])
        right_Q = torch.tensor([float(values[item]) for item in ORDER], dtype=torch.double)
        wrong_Q = (quoted - right_Q).abs() / right_Q > 0.02
        return right_Q, flags(wrong_Q, quoted, right_Q) if flags else wrong_Q

    return audit


def table_on_top(forward):
    def audit(*given):
        *m, quoted = given
        values, table = numbers(*m), m[2] / 1e9
        values["total"] += table
        values["active"] += table
        values["bytes"] = values["total"] * m[5] / 8
        values["flops"] += 2 * table * forward
        right_Q = torch.tensor([float(values[item]) for item in ORDER], dtype=torch.double)
        return right_Q, (quoted - right_Q).abs() / right_Q > 0.02

    return audit


def two_slips(*given):
    """The head's table off as well, and rows one way: the first of them is told."""
    right_Q, _ = audit_torch(*given)
    right_Q[2] -= 2 * given[2] / 1e9
    right_Q[7] /= 2
    return right_Q, (given[-1] / right_Q - 1).abs() > 0.02


def in_another_order(*given):
    right_Q, _ = audit_torch(*given)
    right_Q = right_Q[[1, 0, 2, 3, 4, 5, 6, 7]]
    return right_Q, (given[-1] / right_Q - 1).abs() > 0.02


def to_three_digits(*given):
    right, flags = audit_list(*given)
    return [float(f"{z:.3g}") for z in right], flags


def touched(chance, tokens):
    return other(
        "touched",
        lambda v, s, x, t, E, K, bits, B, *_: E - E * (1 - chance(E, K)) ** tokens(K, B),
    )


def places(how):
    return other("capacity", lambda v, s, x, t, E, K, bits, B, T, cf, D, R: how(E, K, B, T, cf, R))


def sent(how):
    return other("sent", lambda v, s, x, t, E, K, bits, B, T, cf, D, R: how(v["sent"], E, K, B, T, cf, D, R))


MORE = {
    "active_for_total": other("total", lambda v, *_: v["active"]),
    "table_not_active": other("active", lambda v, s, x, t, *_: v["active"] - t),
    "all_active": other("active", lambda v, *_: v["total"]),
    "one_expert_active": other("active", lambda v, s, x, *_: s + x),
    "table_half_off": other("flops", lambda v, s, x, t, *_: 2 * v["active"] - t),
    "head_taken_off": other("flops", lambda v, s, x, t, *_: 2 * (v["active"] - t - t)),
    "head_taken_off:and another": two_slips,
    "flops_of_experts": other("flops", lambda v, s, x, t, E, K, *_: K * (x + x)),
    "flops_of_the_batch": other("flops", lambda v, s, x, t, E, K, bits, B, *_: B * v["flops"]),
    "flops_of_one_expert": other("flops", lambda v, s, x, t, *_: 2 * (s - t) + 2 * x),
    "bits_as_bytes": other("bytes", lambda v, s, x, t, E, K, bits, *_: bits * v["total"]),
    "one_byte_each": other("bytes", lambda v, *_: v["total"]),
    "no_half_bytes": other("bytes", lambda v, s, x, t, E, K, bits, *_: v["total"] * (bits // 8)),
    "weights_left_out": other("bytes", lambda v, s, x, t, E, K, bits, *_: (v["total"] - t) / 8 * bits),
    "one_choice_a_token": touched(lambda E, K: 1 / E, lambda K, B: B),
    "k_counted_twice": touched(lambda E, K: K / E, lambda K, B: K * B),
    "exponent_not_the_batch": touched(lambda E, K: K / E, lambda K, B: K),
    "share_of_experts": other("touched", lambda v, s, x, t, E, *_: v["touched"] / E),
    "chosen_by_all": other("touched", lambda v, s, x, t, E, K, bits, B, *_: E * (K / E) ** B),
    "those_not_chosen": other("touched", lambda v, s, x, t, E, *_: E - v["touched"]),
    "whole_experts": other("touched", lambda v, *_: math.ceil(v["touched"])),
    "sum_forgotten": other("even", lambda v, s, x, t, E, K, *_: E * (K / E) * (1 / E)),
    "even_loss_off": other("even", lambda v, s, x, t, E, K, *_: E * E * (K / E) * (K / E)),
    "even_loss_off:nothing": other("even", lambda v, *_: 0),
    "not_rounded": places(lambda E, K, B, T, cf, R: T * K * cf / E),
    "one_place_more": places(lambda E, K, B, T, cf, R: int(T * K * cf / E) + 1),
    "rounded_too_early": places(lambda E, K, B, T, cf, R: cf * math.ceil(T * K / E)),
    "capacity_of_the_batch": places(lambda E, K, B, T, cf, R: math.ceil(B * K * cf / E)),
    "capacity_not_of_an_expert": places(lambda E, K, B, T, cf, R: math.ceil(T * K * cf)),
    "rows_of_the_batch": sent(lambda v, E, K, B, T, cf, D, R: v / T * B),
    "ranks_mistaken": sent(lambda v, E, K, B, T, cf, D, R: v * R),
    "ranks_mistaken:experts": sent(lambda v, E, K, B, T, cf, D, R: 4e-6 * D * T * K * (1 - 1 / E)),
    "spare_places_sent": sent(lambda v, E, K, B, T, cf, D, R: v * cf),
    "mebibytes": sent(lambda v, E, K, B, T, cf, D, R: v * 1e6 / 1024 / 1024),
    "other_unit": sent(lambda v, E, K, B, T, cf, D, R: v * 1e6),
    "other_order": in_another_order,
    "rounded": to_three_digits,
}
WRONG = {
    "17.audit": {
        "total_times_name": other("total", lambda v, s, x, t, E, *_: E * s + E * x),
        "experts_only": other("total", lambda v, s, x, t, E, *_: E * x),
        "table_left_out": other("total", lambda v, s, x, t, E, *_: s + E * x - t),
        "active_k_models": other("active", lambda v, s, x, t, E, K, *_: K * s + K * x),
        "active_share_of_total": other("active", lambda v, s, x, t, E, K, *_: v["total"] / E * K),
        "active_experts_only": other("active", lambda v, s, x, t, E, K, *_: K * x),
        "one_operation": other("flops", lambda v, *_: v["flops"] / 2),
        "training_flops": other("flops", lambda v, s, x, t, E, K, *_: 6 * (s - t + K * x)),
        "table_multiplied": other("flops", lambda v, *_: 2 * v["active"]),
        "flops_of_all": other("flops", lambda v, s, x, t, *_: 2 * (v["total"] - t)),
        "active_bytes": other("bytes", lambda v, s, x, t, E, K, bits, *_: v["active"] * bits / 8),
        "two_bytes_each": other("bytes", lambda v, *_: 2 * v["total"]),
        "two_bytes_each:four": other("bytes", lambda v, *_: 4 * v["total"]),
        "k_touched": other("touched", lambda v, s, x, t, E, K, *_: K),
        "no_overlap": other("touched", lambda v, s, x, t, E, K, bits, B, *_: min(E, B * K)),
        "all_touched": other("touched", lambda v, s, x, t, E, *_: E),
        "with_replacement": other(
            "touched", lambda v, s, x, t, E, K, bits, B, *_: E * (1 - ((E - 1) / E) ** (B * K))
        ),
        "gibibytes": other("bytes", lambda v, *_: v["bytes"] * 10**9 / 1024**3),
        "loss_is_one": other("even", lambda v, *_: 1),
        "capacity_without_k": other(
            "capacity", lambda v, s, x, t, E, K, bits, B, T, cf, *_: math.ceil(cf * T / E)
        ),
        "rounded_down": other("capacity", lambda v, s, x, t, E, K, bits, B, T, cf, *_: int(cf * T * K / E)),
        "rounded_down:to the nearest": places(lambda E, K, B, T, cf, R: round(T * K * cf / E)),
        "no_spare_places": other("capacity", lambda v, s, x, t, E, K, bits, B, T, *_: math.ceil(T * K / E)),
        "one_way": other("sent", lambda v, *_: v["sent"] / 2),
        "own_rank_sent": other("sent", lambda v, s, x, t, E, K, bits, B, T, cf, D, R: 4 * T * K * D / 1e6),
        "once_a_token": other("sent", lambda v, s, x, t, E, K, *_: v["sent"] / K),
        "numbers_for_bytes": other("sent", lambda v, *_: v["sent"] * 2),
        **MORE,
        "table_twice": table_on_top(forward=True),
        "table_twice:not in the forward": table_on_top(forward=False),
        "absolute_difference": other(None, None, lambda wrong, q, r: (q - r).abs() > 0.02),
        "all_accused": other(None, None, lambda wrong, *_: torch.full_like(wrong, True)),
        "none_accused": other(None, None, lambda wrong, *_: torch.full_like(wrong, False)),
        "quoted_believed": lambda *given: (given[-1], torch.tensor([False] * 8)),
        "too_strict": other(None, None, lambda wrong, q, r: (q - r).abs() > 0),
        "too_lenient": other(None, None, lambda wrong, q, r: (q - r).abs() > r / 5),
        "too_lenient:two for two per cent": other(None, None, lambda wrong, q, r: (q - r).abs() > 2 * r),
        "one_side": other(None, None, lambda wrong, q, r: q > 1.02 * r),
        "flags_inverted": other(None, None, lambda wrong, q, r: (q - r).abs() < 0.02 * r),
    }
}
RIGHT = {"17.audit": [audit_list, audit_numpy, audit_torch]}
