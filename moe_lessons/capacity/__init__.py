"""Experts with a limited number of places: how many, who gets them, and what becomes of the others.

A slot is one (token, choice) pair. `expert_capacity` says how many slots an expert holds, `admit` decides
which, `dispatch` lays their rows out as (E, C, D), and `combine` brings the results back. A dropped slot adds
zero, so that the residual stream carries the token past the layer.
"""

from moe_lessons.capacity.admission import Admission, admit, admit_with_fallback, drop_rate, padding_fraction
from moe_lessons.capacity.buffers import combine, dispatch
from moe_lessons.capacity.positions import positions_loop, positions_one_hot, positions_sorted
from moe_lessons.capacity.priority import PRIORITIES
from moe_lessons.capacity.size import expert_capacity
from moe_lessons.capacity.theory import expected_drop_rate, expected_overflow, expected_padding

__all__ = [
    "PRIORITIES",
    "Admission",
    "admit",
    "admit_with_fallback",
    "combine",
    "dispatch",
    "drop_rate",
    "expected_drop_rate",
    "expected_overflow",
    "expected_padding",
    "expert_capacity",
    "padding_fraction",
    "positions_loop",
    "positions_one_hot",
    "positions_sorted",
]
