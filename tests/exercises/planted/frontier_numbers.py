"""Answers to lesson 16 as learners write them: two numbers."""

from itertools import product

import numpy as np
import torch

# Two numbers: right


def numbers_closed(total, active, unit, n_experts, top_k):
    h, d = unit / 2, n_experts - top_k
    x = (total - active - unit) / d, (total - active + unit) / d
    lo = (active - h) - top_k * (total - active + unit) / d
    hi = (active + h) - top_k * (total - active - unit) / d
    return [*x, lo, hi], hi >= 0


def numbers_solved(total, active, unit, n_experts, top_k):
    matrix = np.array([[1, n_experts], [1, top_k]], float)
    ends = product((-unit / 2, unit / 2), repeat=2)
    solved = np.array([np.linalg.solve(matrix, [total + i, active + j]) for i, j in ends])
    low, high = solved.min(0), solved.max(0)
    return torch.tensor([low[1], high[1], low[0], high[0]]), bool(high[0] >= 0)


def numbers_corners(total, active, unit, n_experts, top_k):
    xs, rests = [], []
    for t in (total - unit / 2, total + unit / 2):
        for a in (active - unit / 2, active + unit / 2):
            x = (t - a) / (n_experts - top_k)
            xs.append(x)
            rests.append(t - n_experts * x)
    return (min(xs), max(xs), min(rests), max(rests)), max(rests) >= 0


# Two numbers: wrong


def _numbers(
    x=lambda t, a, E, K: (t - a) / (E - K), rest=lambda t, a, E, K, x: a - K * x, dt=0.5, da=0.5, same=False
):
    def answer(total, active, unit, E, K):
        ends = [(-1, -1), (1, 1)] if same else list(product((-1, 1), repeat=2))
        xs, rests = [], []
        for i, j in ends:
            t, a = total + i * dt * unit, active + j * da * unit
            xs.append(x(t, a, E, K))
            rests.append(rest(t, a, E, K, xs[-1]))
        return torch.tensor([min(xs), max(xs), min(rests), max(rests)]), max(rests) >= 0

    return answer


def numbers_intervals(total, active, unit, E, K):
    h = unit / 2
    x_low, x_high = (total - h - active - h) / (E - K), (total + h - active + h) / (E - K)
    low, high = total - h - E * x_high, total + h - E * x_low
    return torch.tensor([x_low, x_high, low, high]), high >= 0


def numbers_active_exact(total, active, unit, E, K):
    (x_low, x_high, _, _), _ = numbers_closed(total, active, unit, E, K)
    rest = active - K * x_high, active - K * x_low
    return torch.tensor([x_low, x_high, *rest]), rest[1] >= 0


def numbers_swapped(total, active, unit, E, K):
    return numbers_solved(total, active, unit, K, E)


def numbers_rest_first(total, active, unit, E, K):
    (a, b, c, d), fine = numbers_closed(total, active, unit, E, K)
    return torch.tensor([c, d, a, b]), fine


def numbers_lowest(total, active, unit, E, K):
    bounds, _ = numbers_closed(total, active, unit, E, K)
    return torch.tensor(bounds), bounds[2] >= 0


def numbers_clamped(total, active, unit, E, K):
    (a, b, c, d), fine = numbers_closed(total, active, unit, E, K)
    return torch.tensor([a, b, max(c, 0.0), max(d, 0.0)]), fine


def numbers_always(total, active, unit, E, K):
    return torch.tensor(numbers_closed(total, active, unit, E, K)[0]), total > active


RIGHT = {
    "16.two_numbers": [numbers_closed, numbers_solved, numbers_corners],
}
WRONG = {
    "16.two_numbers": {
        "total_over_experts": _numbers(x=lambda t, a, E, K: t / E),
        "active_over_k": _numbers(x=lambda t, a, E, K: a / K),
        "e_not_e_minus_k": _numbers(x=lambda t, a, E, K: (t - a) / E),
        "rounding_ignored": _numbers(dt=0, da=0),
        "a_whole_unit": _numbers(dt=1, da=1),
        "one_of_them_rounded": _numbers(da=0),
        "rounded_together": _numbers(same=True),
        "opposite_ends_alone": numbers_intervals,
        "active_taken_exact": numbers_active_exact,
        "shared_is_active": _numbers(rest=lambda t, a, E, K, x: a),
        "shared_minus_one_expert": _numbers(rest=lambda t, a, E, K, x: a - x),
        "k_experts_off_the_total": _numbers(rest=lambda t, a, E, K, x: t - K * x),
        "inactive_is_the_rest": _numbers(rest=lambda t, a, E, K, x: t - a),
        "k_and_e_swapped": numbers_swapped,
        "rest_first": numbers_rest_first,
        "lowest_rest_counts": numbers_lowest,
        "rest_clamped": numbers_clamped,
        "always_possible": numbers_always,
    },
}
