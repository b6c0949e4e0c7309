"""What experts tell about labels, in bits: what 10.expert_information and its mistakes are made of."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
Measure = Callable[[Tensor, Tensor], float]


def table(experts_N: Tensor, labels_N: Tensor) -> Tensor:
    """How often each expert meets each label."""
    experts_NE, labels_NC = F.one_hot(experts_N).double(), F.one_hot(labels_N).double()
    return experts_NE.T @ labels_NC


def entropy_bits(counts: Tensor) -> float:
    """Entropy of counts, in bits."""
    return torch.special.entr(counts / counts.sum()).sum().item() / math.log(2)


def information(experts_N: Tensor, labels_N: Tensor) -> float:
    """Entropies apart less the entropy together."""
    counts_EC = table(experts_N, labels_N)
    apart = entropy_bits(counts_EC.sum(dim=1)) + entropy_bits(counts_EC.sum(dim=0))
    return apart - entropy_bits(counts_EC)


def shuffled(measure: Measure, experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> list[float]:
    """The measure on each shuffle of the labels."""
    return [measure(experts_N, labels_N[order_N]) for order_N in shuffles_RN]


def with_chance(measure: Measure) -> Callable[[Tensor, Tensor, Tensor], tuple[float, float]]:
    """The measure, and its mean over the shuffles."""

    def both(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
        chance = shuffled(measure, experts_N, labels_N, shuffles_RN)
        return measure(experts_N, labels_N), sum(chance) / len(chance)

    return both
