"""Explorables: pictures to drag, each behind a prediction. ``Router().static()`` needs no kernel."""

from moe_lessons.explore import widget as widget  # registers itself as the view
from moe_lessons.lazy import lazy

_EXPORTS = {
    "AllToAll": "all_to_all.explorable",
    "BalancingRace": "balancing_race.explorable",
    "BlindTest": "blind_test.explorable",
    "BudgetBench": "budget.explorable",
    "Calculator": "calculator.explorable",
    "Capacity": "capacity.explorable",
    "Collapse": "collapse.explorable",
    "Granularity": "granularity.explorable",
    "LiveView": "live",
    "Permutation": "permutation.explorable",
    "Roofline": "roofline.explorable",
    "Router": "router.explorable",
    "RoutingStrip": "routing_strip.explorable",
    "Sentence": "sentence.explorable",
    "Slip": "slip.explorable",
    "SortedLayer": "sorted_layer.explorable",
    "Surface": "surface.explorable",
    "TwoNumbers": "two_numbers.explorable",
}

__all__ = [
    "AllToAll",
    "BalancingRace",
    "BlindTest",
    "BudgetBench",
    "Calculator",
    "Capacity",
    "Collapse",
    "Granularity",
    "LiveView",
    "Permutation",
    "Roofline",
    "Router",
    "RoutingStrip",
    "Sentence",
    "Slip",
    "SortedLayer",
    "Surface",
    "TwoNumbers",
]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
