"""Keeping the experts in use: auxiliary losses on the router, and biases that steer its choices."""

from moe_lessons.balancing.bias import (
    UPDATES,
    ema_update,
    load_error,
    proportional_update,
    quantile_bias,
    sign_update,
)
from moe_lessons.balancing.importance import cv_squared, importance_loss, load_loss, selection_probability
from moe_lessons.balancing.losses import NORMALIZATIONS, PROBABILITIES, SCOPES, load_balancing_loss, z_loss

__all__ = [
    "NORMALIZATIONS",
    "PROBABILITIES",
    "SCOPES",
    "UPDATES",
    "cv_squared",
    "ema_update",
    "importance_loss",
    "load_balancing_loss",
    "load_error",
    "load_loss",
    "proportional_update",
    "quantile_bias",
    "selection_probability",
    "sign_update",
    "z_loss",
]
