"""What there is to spend: compute, text, devices, and how fast and for whom the model must answer.

The numbers of devices are what they reach in practice or less, rounded; each kind says where they are from.
"""

import random
from dataclasses import dataclass, replace

from moe_lessons.accounting.written import written


@dataclass(frozen=True)
class Budget:
    """A task with its limits.

    Parameters
    ----------
    name : str
    flops : float
        For training.
    tokens : float
        Of text, each once; `ranges` says how often it may be repeated.
    batch, context : int
        Users who decode together, and tokens in each one's cache.
    devices : int
    memory, bandwidth, peak : float
        Of one device: bytes for weights and cache, bytes a second, FLOPs a second.
    link : float
        Bytes a second that a device sends to others, each way; 0 for a single device.
    seconds : float
        That a decode step may take at most.

    Examples
    --------
    >>> PHONE.devices, PHONE.batch
    (1, 1)
    """

    name: str
    flops: float
    tokens: float
    batch: int
    context: int
    devices: int
    memory: float
    bandwidth: float
    peak: float
    link: float
    seconds: float

    def __post_init__(self) -> None:
        for name in (
            "flops",
            "tokens",
            "batch",
            "context",
            "devices",
            "memory",
            "bandwidth",
            "peak",
            "seconds",
        ):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={written(value)}: choose a positive number")
        for name in ("batch", "context", "devices"):
            if getattr(self, name) != int(getattr(self, name)):
                raise ValueError(f"{name}={written(getattr(self, name))}: choose a whole number")
        if self.devices > 1 and not 0 < self.link < float("inf"):
            raise ValueError(
                f"link={written(self.link)} with {self.devices:,} devices: choose a positive number"
            )


PHONE = Budget("phone", 2e22, 1e13, 1, 4096, 1, 4e9, 5e10, 4e12, 0, 0.012)
CARD = Budget("one 24 GB card", 5e22, 1e13, 1, 8192, 1, 2.2e10, 1e12, 8e13, 0, 0.0022)
LAB = Budget("small lab", 1e21, 1e12, 8, 4096, 1, 4e10, 2e12, 3e14, 0, 0.05)
LITTLE_TEXT = Budget("little text", 1e23, 2e10, 4, 2048, 1, 2e10, 3.35e12, 7e14, 0, 0.06)
LONG = Budget("long documents", 1e23, 1e13, 24, 65_536, 1, 7.8e10, 3.35e12, 7e14, 0, 0.04)
BUSY = Budget("busy server", 1e22, 1e13, 256, 2048, 1, 7.8e10, 3.35e12, 7e14, 0, 0.010)
EIGHT = Budget("eight-GPU server", 1e25, 2e13, 32, 32_768, 8, 7.5e10, 3.35e12, 7e14, 1.53e11, 0.012)
CLUSTER = Budget("cluster of 32", 1e25, 2e13, 2048, 8192, 32, 7.5e10, 3.35e12, 7e14, 4.8e10, 0.050)

KINDS = {b.name: b for b in (PHONE, CARD, LAB, LITTLE_TEXT, LONG, BUSY, EIGHT, CLUSTER)}
SOURCES = {
    "memory, bandwidth": "NVIDIA, H100 datasheet: 80 GB, of which a model gets less, and 3.35 TB/s (SXM)",
    "peak": "as reached, not as promised: lesson 15's roofline takes 800 TFLOP/s for the same device",
    "link": "github.com/deepseek-ai/DeepEP, docs/legacy.md: 153 GB/s in a server of 8, 48 in 32 over RDMA",
    "phone, card": "round numbers of the order of a phone's LPDDR memory and of a consumer card's GDDR",
}
SPREAD = {
    "flops": (0.85, 1.2),
    "tokens": (0.85, 1.2),
    "memory": (0.85, 1.2),
    "bandwidth": (0.85, 1.2),
    "seconds": (0.9, 1.2),
}
"""By how much a drawn budget differs from its kind."""


def draw_budget(kind: str, seed: int | str) -> Budget:
    """Draw a learner's own budget: one of the kinds with five of its numbers moved, the same for each seed.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    seed : int or str
        A number or a name.

    Raises
    ------
    KeyError
        If there is no such kind; the message lists them.

    Examples
    --------
    >>> draw_budget("phone", "Ada") == draw_budget("phone", "Ada") != draw_budget("phone", "Alan")
    True
    """
    if kind not in KINDS:
        raise KeyError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    rng = random.Random(f"{kind} {seed}")
    base = KINDS[kind]
    moved = {name: float(f"{getattr(base, name) * rng.uniform(*ends):.3g}") for name, ends in SPREAD.items()}
    return replace(base, **moved)  # type: ignore[arg-type]
