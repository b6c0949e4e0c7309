"""Keeping the experts in use: auxiliary losses on the router, and biases that steer its choices."""

from moe_lessons.balancing.losses import NORMALIZATIONS, load_balancing_loss, z_loss

__all__ = ["NORMALIZATIONS", "load_balancing_loss", "z_loss"]
