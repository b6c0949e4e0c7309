"""Feed-forward experts: the plain FFN, SwiGLU, a bank of SwiGLU experts, and banks of every other kind."""

from moe_lessons.experts.bank import Experts, SharedExperts
from moe_lessons.experts.cutting import Cut, merge_slices, split_experts
from moe_lessons.experts.feed_forward import (
    SwiGLU,
    SwiGLUExperts,
    check_sizes,
    ffn,
    swiglu,
    swiglu_activation,
)
from moe_lessons.experts.kinds import (
    ACTIVATIONS,
    SWIGLU,
    ExpertKind,
    clamped_swiglu,
    gated,
    late_clamped_swiglu,
    offset_swiglu,
    softcapped_swiglu,
    ungated,
)

__all__ = [
    "ACTIVATIONS",
    "SWIGLU",
    "Cut",
    "ExpertKind",
    "Experts",
    "SharedExperts",
    "SwiGLU",
    "SwiGLUExperts",
    "check_sizes",
    "clamped_swiglu",
    "ffn",
    "gated",
    "late_clamped_swiglu",
    "merge_slices",
    "offset_swiglu",
    "softcapped_swiglu",
    "split_experts",
    "swiglu",
    "swiglu_activation",
    "ungated",
]
