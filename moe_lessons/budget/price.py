"""What a design costs to serve: bytes on a device, and the seconds of a decode step.

A step reads weights and caches and multiplies; whichever takes longer counts (lesson 15). On several devices
two exchanges a layer follow (lesson 14). Loads are taken as even, and nothing overlaps an exchange.
"""

from dataclasses import dataclass

from moe_lessons.accounting.coverage import expert_coverage
from moe_lessons.budget.means import Budget
from moe_lessons.budget.quality import STORED_BITS
from moe_lessons.budget.shape import VOCAB, Design

ACTIVATION_BYTES = 2
LAYER_S = 20e-6
"""Launches and waits of one layer: an assumption, the same for all designs."""
PARTNER_S = 1e-6
"""Of an exchange, for each device that is sent to: an assumption, too. Large batches hardly feel it."""


@dataclass(frozen=True)
class Price:
    """What serving costs, on the device that has most.

    Attributes
    ----------
    weight_bytes, cache_bytes : float
    reading_s, arithmetic_s, exchange_s, overhead_s : float
        The parts of a step.
    experts_read : float
        Of one layer, over all devices.
    """

    weight_bytes: float
    cache_bytes: float
    reading_s: float
    arithmetic_s: float
    exchange_s: float
    overhead_s: float
    experts_read: float

    @property
    def memory_bytes(self) -> float:
        """Weights and cache."""
        return self.weight_bytes + self.cache_bytes

    @property
    def seconds(self) -> float:
        """Of a step: the longer of reading and arithmetic, then exchanges and launches."""
        return max(self.reading_s, self.arithmetic_s) + self.exchange_s + self.overhead_s


def price(design: Design, budget: Budget) -> Price:
    """Count what a design costs to serve under a budget.

    Examples
    --------
    >>> from moe_lessons.budget.means import BUSY
    >>> from moe_lessons.budget.shape import usual
    >>> cost = price(usual(2048, 512, 4, 256), BUSY)
    >>> round(cost.experts_read), f"{cost.memory_bytes / 1e9:.1f} GB", f"{1e3 * cost.seconds:.1f} ms"
    (443, '31.4 GB', '9.1 ms')
    """
    n = 1 if design.layout == "one" else budget.devices
    apart = n if design.layout == "all" else 1  # over how many devices the rest is cut
    stored = STORED_BITS[design.bits] / 8
    touched = expert_coverage(design.n_experts, design.top_k, budget.batch)
    rest, bank = design.rest / apart, design.n_layers * design.expert / n
    cache = design.cache_bytes_per_token * float(budget.context) * budget.batch / n
    return Price(
        weight_bytes=(rest + VOCAB * design.d_model / apart + bank * design.n_experts) * stored,
        cache_bytes=cache,
        reading_s=((rest + bank * touched) * stored + cache) / budget.bandwidth,
        arithmetic_s=2.0 * design.active * budget.batch / n / budget.peak,
        exchange_s=design.n_layers * exchange_s(design, budget),
        overhead_s=design.n_layers * LAYER_S,
        experts_read=touched,
    )


def exchange_s(design: Design, budget: Budget) -> float:
    """Seconds that one layer's exchanges take: dispatch and combine, or two sums over all devices.

    Of a token's K rows a share of (n - 1) / n travels to another device, out and back. Where all matrices are
    cut, attention and experts each end in a sum of all devices' parts, in a ring: 2 (n - 1) / n of the bytes.

    Examples
    --------
    >>> from moe_lessons.budget.means import EIGHT
    >>> from moe_lessons.budget.shape import usual
    >>> design = usual(4096, 128, 8, 1024, layout="experts")
    >>> f"{1e6 * exchange_s(design, EIGHT):.1f} us"  # 2 (7 us + 229 kB / 153 GB/s)
    '17.0 us'
    """
    n = budget.devices
    if design.layout == "one" or n == 1:
        return 0.0
    row = design.d_model * ACTIVATION_BYTES
    away = (n - 1) / n
    if design.layout == "experts":
        sent = budget.batch / n * design.top_k * row * away
        return 2 * (PARTNER_S * (n - 1) + sent / budget.link)
    return 2 * (2 * PARTNER_S * (n - 1) + 2 * away * budget.batch * row / budget.link)
