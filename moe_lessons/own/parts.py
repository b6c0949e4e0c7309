"""The twelve functions that the model is made of, each an exercise's."""

import dataclasses
from collections.abc import Callable
from typing import Any

from moe_lessons.exercises import registry

Part = Callable[..., Any]


# What each is in the model, and the exercise that asks for it.
ROLES = {
    "router_logits": ("01.router_logits", "scores the experts"),
    "topk_gates": ("01.topk_gates", "chooses K of them, and weighs them"),
    "moe_sorted": ("02.moe_sorted", "takes rows to experts and back, in training"),
    "expert_bank": ("02.expert_bank", "asks all experts at once, in writing"),
    "causal_attention": ("10.causal_attention", "looks back"),
    "moe_block": ("10.moe_block", "the second half of a block in one call, in evaluation"),
    "training_loss": ("10.training_loss", "what training minimises"),
    "training_steps": ("10.training_step", "gives the head its last steps"),
    "balancing_loss": ("05.balancing_loss", "watches: how even is the load?"),
    "effective_experts": ("04.effective_experts", "watches: how many experts are in use?"),
    "bits_per_byte": ("10.bits_per_byte", "says how good it is"),
    "mixtral_keys": ("10.mixtral_keys", "gives its tensors Mixtral's names"),
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What `OwnTransformer` computes with; each is called with its exercise's arguments, by position.

    Give it what `moe_lessons.course.yours` returns, or any functions of this kind.

    Examples
    --------
    >>> parts = Parts.published()
    >>> parts.topk_gates(torch.tensor([[1.0, 3.0, 2.0]]), 1, True)[0]
    tensor([[1]])
    >>> len(Parts.ids()), Parts.ids()["moe_sorted"]
    (12, '02.moe_sorted')
    """

    router_logits: Part
    topk_gates: Part
    moe_sorted: Part
    expert_bank: Part
    causal_attention: Part
    moe_block: Part
    training_loss: Part
    training_steps: Part
    balancing_loss: Part
    effective_experts: Part
    bits_per_byte: Part
    mixtral_keys: Part

    @classmethod
    def ids(cls) -> dict[str, str]:
        """Each part's exercise."""
        return {name: id for name, (id, _) in ROLES.items()}

    @classmethod
    def published(cls) -> "Parts":
        """All of them the package's: the functions that answers are compared with."""
        return cls(**{name: registry.exercise(id).reference for name, id in cls.ids().items()})
