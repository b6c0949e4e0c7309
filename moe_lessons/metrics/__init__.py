"""Numbers that say how evenly the experts are used, of one layer, of a model, and over a run.

Functions of a load take counts or shares alike, and several layers at once as (layers, E). Where no token was
routed a share is 0/0, and NaN says so. `information` asks what the choice of experts tells about the tokens.
"""

from moe_lessons.metrics.information import mutual_information, shuffled_information
from moe_lessons.metrics.load import (
    coefficient_of_variation,
    dead_experts,
    drop_rate,
    effective_experts,
    entropy,
    inverse_simpson_experts,
    load_shares,
    max_over_mean,
    max_violation,
    routing_entropy,
)
from moe_lessons.metrics.recorder import LoadRecorder, load_record
from moe_lessons.metrics.together import coactivation, expected_coactivation, tokens_until_all
from moe_lessons.routing import tokens_per_expert

__all__ = [
    "LoadRecorder",
    "coactivation",
    "coefficient_of_variation",
    "dead_experts",
    "drop_rate",
    "effective_experts",
    "entropy",
    "expected_coactivation",
    "inverse_simpson_experts",
    "load_record",
    "load_shares",
    "max_over_mean",
    "max_violation",
    "mutual_information",
    "routing_entropy",
    "shuffled_information",
    "tokens_per_expert",
    "tokens_until_all",
]
