"""Serving a trained model: what a step reads and how long it takes, what is kept, what is guessed."""

from moe_lessons.serving.cache import POLICIES, CacheRun, ExpertCache, simulate_cache
from moe_lessons.serving.fine32 import held_out, load_fine32
from moe_lessons.serving.quantise import (
    Quantised,
    bits_per_weight,
    quantise,
    quantised_model,
    relative_error,
)
from moe_lessons.serving.roofline import Server, speculation_speedup, tokens_per_check
from moe_lessons.serving.traces import (
    Trace,
    neighbours,
    popular,
    routing_trace,
    strangers,
    touched,
    touched_by_popularity,
)

__all__ = [
    "POLICIES",
    "CacheRun",
    "ExpertCache",
    "Quantised",
    "Server",
    "Trace",
    "bits_per_weight",
    "held_out",
    "load_fine32",
    "neighbours",
    "popular",
    "quantise",
    "quantised_model",
    "relative_error",
    "routing_trace",
    "simulate_cache",
    "speculation_speedup",
    "strangers",
    "tokens_per_check",
    "touched",
    "touched_by_popularity",
]
