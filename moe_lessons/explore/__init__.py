"""Explorables: pictures to drag, each behind a prediction. ``Router().static()`` needs no kernel."""

import importlib
from typing import Any

_EXPORTS = {
    "BalancingRace": "balancing_race",
    "Calculator": "calculator",
    "Capacity": "capacity",
    "Collapse": "collapse",
    "LiveView": "live",
    "Permutation": "permutation",
    "Router": "router",
    "Surface": "surface",
}

__all__ = [
    "BalancingRace",
    "Calculator",
    "Capacity",
    "Collapse",
    "LiveView",
    "Permutation",
    "Router",
    "Surface",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"moe_lessons.explore.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'moe_lessons.explore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
