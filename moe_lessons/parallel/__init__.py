"""Experts on several devices: `simulated` counts what would travel, and how long it would take."""

from moe_lessons.parallel.simulated import contiguous_placement, dispatch_bytes, exchange_us, step_us

__all__ = ["contiguous_placement", "dispatch_bytes", "exchange_us", "step_us"]
