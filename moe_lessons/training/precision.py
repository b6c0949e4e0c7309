"""In which floating-point format a forward pass multiplies, and fp16's loss scale.

Weights, their gradients and the optimizer stay in fp32 throughout, and so does the router.
"""

import contextlib
from typing import Any

import torch

from moe_lessons.config import PRECISIONS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BF16_NEEDS = (8, 0)  # compute capability
# From its start at 2**16, so many halvings leave a scale of 64: what still overflows is no matter of scale.
MOST_SKIPPED = 10


def resolve(precision: str, device: torch.device) -> str:
    """Turn "auto" into a precision, and refuse what the device does not have in hardware.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`. "auto" is bf16 on a GPU that has it, and fp32 elsewhere.
    device : torch.device

    Returns
    -------
    str
        "fp32", "bf16" or "fp16".

    Raises
    ------
    ValueError
        If the name is unknown, or asks an older GPU for bf16.

    Examples
    --------
    >>> resolve("auto", torch.device("cpu"))
    'fp32'
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: choose one of {', '.join(PRECISIONS)}")
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if precision == "auto":
        return "bf16" if capability is not None and capability >= BF16_NEEDS else "fp32"
    if precision == "bf16" and capability is not None and capability < BF16_NEEDS:
        raise ValueError(
            f"precision='bf16': {torch.cuda.get_device_name(device)} would only imitate it; "
            "choose fp16 (--precision fp16)"
        )
    return precision


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Multiply in that precision inside a ``with``; with fp32, change nothing.

    Examples
    --------
    >>> with autocast("bf16", torch.device("cpu")):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    dtype = DTYPES[resolve(precision, device)]
    return contextlib.nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)


class LossScaler:
    """fp16's loss scale: gradients are computed this much too large, so that small ones do not become 0.

    A step whose gradients overflow is skipped and halves the scale; two thousand good ones in a row double
    it. With another precision every method does what it would without a scale.

    Parameters
    ----------
    precision : str
        What `resolve` returned.
    device : torch.device

    Attributes
    ----------
    skipped_in_a_row : int
        Steps skipped since the last one that was done.

    References
    ----------
    Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740, section 3.2.

    Examples
    --------
    >>> scaler = LossScaler("fp16", torch.device("cpu"))
    >>> float(scaler.scale(torch.tensor(1.0))), LossScaler("fp32", torch.device("cpu")).current
    (65536.0, None)
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.skipped_in_a_row = 0

    @property
    def current(self) -> float | None:
        """The scale; None where there is none."""
        return self.scaler.get_scale() if self.scaler.is_enabled() else None

    @property
    def may_skip(self) -> bool:
        """Whether a further step may be skipped for gradients that are not finite."""
        return self.scaler.is_enabled() and self.skipped_in_a_row < MOST_SKIPPED

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Return what to call ``backward`` on."""
        return self.scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to their own size, before they are clipped."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Do the optimizer's step."""
        self.scaler.step(optimizer)
        self.scaler.update()
        self.skipped_in_a_row = 0

    def skip(self) -> None:
        """Leave the optimizer's step out, and go on with half the scale."""
        self.scaler.update()
        self.skipped_in_a_row += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint records, numbers that JSON can hold; empty where there is no scale."""
        if not self.scaler.is_enabled():
            return {}
        return {"skipped_in_a_row": self.skipped_in_a_row, **self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        if state and self.scaler.is_enabled():
            values = dict(state)
            self.skipped_in_a_row = values.pop("skipped_in_a_row")
            self.scaler.load_state_dict(values)
