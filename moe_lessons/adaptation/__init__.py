"""After pre-training: another text, another number of experts, a dense model; and rollouts replayed.

`upcycling` makes experts out of a dense model, `pruning` takes experts away by what `calibration` says of
them, `merging` averages them, `distilling` makes a dense model again. `freezing` and `finetuning` train on.
`replaying` sends tokens where a rollout sent them, `comparing` says how far two passes are apart. All return
new models, in evaluation mode, and leave the old one as it is. `upcycled_folders` and `pruned_folders` do to
a folder of Hugging Face's what the first two do to a model: `folders` and `dense_folders` help them.
"""

from moe_lessons.adaptation.calibration import CRITERIA, layer_inputs, reap, saliency
from moe_lessons.adaptation.comparing import Mismatch, changed_sets, mismatch, moved_choices, slip_sizes
from moe_lessons.adaptation.distilling import distil, distillation_loss, student
from moe_lessons.adaptation.finetuning import fine_tune, routing_drift
from moe_lessons.adaptation.freezing import PLANS, frozen, part_of, trainable
from moe_lessons.adaptation.merging import (
    ALIGNMENTS,
    align,
    grouped,
    likeness,
    merge,
    merged_experts,
    permuted,
)
from moe_lessons.adaptation.pruned_folders import prune_folder
from moe_lessons.adaptation.pruning import best, keep_experts, prune
from moe_lessons.adaptation.rebuilding import logit_gap, with_weights
from moe_lessons.adaptation.replaying import (
    narrowed,
    perturbed,
    recorded,
    replay,
    replayed_weights,
)
from moe_lessons.adaptation.upcycled_folders import upcycle_folder
from moe_lessons.adaptation.upcycling import ROUTERS, fold_scale, upcycle, upcycled_bank

__all__ = [
    "ALIGNMENTS",
    "CRITERIA",
    "PLANS",
    "ROUTERS",
    "Mismatch",
    "align",
    "best",
    "changed_sets",
    "distil",
    "distillation_loss",
    "fine_tune",
    "fold_scale",
    "frozen",
    "grouped",
    "keep_experts",
    "layer_inputs",
    "likeness",
    "logit_gap",
    "merge",
    "merged_experts",
    "mismatch",
    "moved_choices",
    "narrowed",
    "part_of",
    "permuted",
    "perturbed",
    "prune",
    "prune_folder",
    "reap",
    "recorded",
    "replay",
    "replayed_weights",
    "routing_drift",
    "saliency",
    "slip_sizes",
    "student",
    "trainable",
    "upcycle",
    "upcycle_folder",
    "upcycled_bank",
    "with_weights",
]
