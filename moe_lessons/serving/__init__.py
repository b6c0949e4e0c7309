"""Serving a trained model: what a step reads and how long it takes, what is kept, what is guessed."""

from moe_lessons.serving.batch_aware import batch_aware, positions
from moe_lessons.serving.batching import MODES, Request, Served, requests, simulate
from moe_lessons.serving.cache import POLICIES, CacheRun, ExpertCache, simulate_cache
from moe_lessons.serving.drafts import ModelDraft, NGramDraft, acceptance, early_exit, fewer_experts
from moe_lessons.serving.elsewhere import how_to_serve
from moe_lessons.serving.engine import Engine
from moe_lessons.serving.fine32 import held_out, load_fine32
from moe_lessons.serving.prefetch import PLACES, count_successors, guess_from_counts, guess_next, recall
from moe_lessons.serving.quantise import (
    Quantised,
    bits_per_weight,
    quantise,
    quantised_model,
    relative_error,
)
from moe_lessons.serving.roofline import Server, speculation_speedup, tokens_per_check
from moe_lessons.serving.speculate import Counts, accept, distribution, speculative_generate
from moe_lessons.serving.store import ExpertStore, offloaded
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
    "MODES",
    "PLACES",
    "POLICIES",
    "CacheRun",
    "Counts",
    "Engine",
    "ExpertCache",
    "ExpertStore",
    "ModelDraft",
    "NGramDraft",
    "Quantised",
    "Request",
    "Served",
    "Server",
    "Trace",
    "accept",
    "acceptance",
    "batch_aware",
    "bits_per_weight",
    "count_successors",
    "distribution",
    "early_exit",
    "fewer_experts",
    "guess_from_counts",
    "guess_next",
    "held_out",
    "how_to_serve",
    "load_fine32",
    "neighbours",
    "offloaded",
    "popular",
    "positions",
    "quantise",
    "quantised_model",
    "recall",
    "relative_error",
    "requests",
    "routing_trace",
    "simulate",
    "simulate_cache",
    "speculation_speedup",
    "speculative_generate",
    "strangers",
    "tokens_per_check",
    "touched",
    "touched_by_popularity",
]
