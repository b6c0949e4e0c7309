"""Numbers that say how evenly the experts are used, of one layer, of a model, and over a run.

Functions of a load take counts or shares alike, and several layers at once as (layers, E). Where no token was
routed a share is 0/0, and NaN says so. `information` asks what the choice of experts tells about the tokens,
`together` and `specialisation` which experts go together, and whether two routers choose alike.
"""

from moe_lessons.metrics.information import (
    conditional_information,
    information_by_chance,
    mutual_information,
    order_within,
    shuffled_information,
)
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
from moe_lessons.metrics.specialisation import Agreement, Beside, agreement, locality, set_overlap
from moe_lessons.metrics.together import coactivation, expected_coactivation, tokens_until_all
from moe_lessons.routing import tokens_per_expert

__all__ = [
    "Agreement",
    "Beside",
    "LoadRecorder",
    "agreement",
    "coactivation",
    "coefficient_of_variation",
    "conditional_information",
    "dead_experts",
    "drop_rate",
    "effective_experts",
    "entropy",
    "expected_coactivation",
    "information_by_chance",
    "inverse_simpson_experts",
    "load_record",
    "load_shares",
    "locality",
    "max_over_mean",
    "max_violation",
    "mutual_information",
    "order_within",
    "routing_entropy",
    "set_overlap",
    "shuffled_information",
    "tokens_per_expert",
    "tokens_until_all",
]
