"""Experts on several devices: the exchange, the gradients, and what they cost; `simulated` needs one process.

`exchange` sends rows to their experts and back, `experts` leaves each rank its share of a model's,
`gradients` says who adds up what, `mesh` which ranks belong together, `placement` which expert lives where.
`moe_lessons.training` puts them under the training command (`--parallel ep`).
"""

from moe_lessons.lazy import lazy

_EXPORTS = {
    "AlphaBeta": "steptime",
    "Bar": "schedule",
    "LocalExperts": "experts",
    "Placement": "placement",
    "Schedule": "schedule",
    "Sent": "exchange",
    "StepModel": "steptime",
    "alone": "mesh",
    "by_coactivation": "placement",
    "clip": "gradients",
    "combine": "exchange",
    "contiguous_placement": "simulated",
    "dense_parameters": "gradients",
    "dispatch": "exchange",
    "dispatch_bytes": "simulated",
    "exchange_us": "simulated",
    "expert_mesh": "mesh",
    "expert_parameters": "gradients",
    "fit_alpha_beta": "steptime",
    "mesh_of": "experts",
    "nodes_per_token": "placement",
    "overlap": "schedule",
    "pack": "placement",
    "plan": "placement",
    "rank_load": "placement",
    "reduce_experts": "gradients",
    "replicate": "placement",
    "shard_experts": "experts",
    "step_us": "simulated",
    "total_norm": "gradients",
}

__all__ = [*sorted(_EXPORTS)]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
