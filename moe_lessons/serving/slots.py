"""A key-value cache with several slots, each as full as its own text is long."""

import torch
from torch import Tensor

from moe_lessons.model import KVCache


class SlotCache:
    """Keys and values of one attention layer, for S texts that do not begin together.

    Parameters
    ----------
    n_slots, capacity : int
        S, and the tokens that each has room for.

    Examples
    --------
    >>> cache = SlotCache(n_slots=3, capacity=8)
    >>> one = cache.rows(torch.tensor([2]), torch.tensor([0]))
    >>> k_BGLP, _ = one.append(torch.ones(1, 2, 5, 4), torch.ones(1, 2, 5, 4))
    >>> two = cache.rows(torch.tensor([0, 2]), torch.tensor([0, 5]))
    >>> k_BGLP, _ = two.append(torch.ones(2, 2, 1, 4), torch.ones(2, 2, 1, 4))
    >>> k_BGLP.shape, two.mask(1)[:, 0, 0].int().tolist()
    (torch.Size([2, 2, 6, 4]), [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    """

    def __init__(self, n_slots: int, capacity: int) -> None:
        self.n_slots, self.capacity = n_slots, capacity
        self.k_SGCP: Tensor | None = None
        self.v_SGCP: Tensor | None = None

    def rows(self, slot_B: Tensor, start_B: Tensor) -> "SlotRows":
        """Let some slots go on, each from where it is."""
        return SlotRows(self, slot_B, start_B)


class SlotRows(KVCache):
    """Some slots of a `SlotCache`, for one pass of `Attention`, which takes it for a `KVCache`.

    Parameters
    ----------
    slots : SlotCache
    slot_B : Tensor, int64, shape (B,)
        Which row of the pass belongs to which slot.
    start_B : Tensor, int64, shape (B,)
        Tokens that each slot holds already.
    """

    def __init__(self, slots: SlotCache, slot_B: Tensor, start_B: Tensor) -> None:
        super().__init__(slots.capacity)
        self.slots, self.slot_B, self.start_B = slots, slot_B, start_B

    def append(self, k_BGLP: Tensor, v_BGLP: Tensor) -> tuple[Tensor, Tensor]:
        """Keep L more tokens of each row; return all, up to the longest row's length."""
        _, G, L, P = k_BGLP.shape
        self.length = int(self.start_B.max()) + L
        if self.length > self.capacity:
            raise ValueError(f"capacity is {self.capacity}: a cache of {self.length} tokens needs more")
        slots = self.slots
        if slots.k_SGCP is None or slots.v_SGCP is None:
            # Zeros, and not whatever memory holds: what a mask hides is still multiplied, by zero.
            slots.k_SGCP = k_BGLP.new_zeros(slots.n_slots, G, self.capacity, P)
            slots.v_SGCP = v_BGLP.new_zeros(slots.n_slots, G, self.capacity, P)
        place_BL = self.start_B[:, None] + torch.arange(L)
        for kept_SGCP, new_BGLP in ((slots.k_SGCP, k_BGLP), (slots.v_SGCP, v_BGLP)):
            kept_SGCP[self.slot_B[:, None], :, place_BL] = new_BGLP.transpose(1, 2)
        return slots.k_SGCP[self.slot_B, :, : self.length], slots.v_SGCP[self.slot_B, :, : self.length]

    def mask(self, L: int) -> Tensor | None:
        """Say what each row's last L tokens may see; None where that is plain: causal, or all."""
        S = self.length
        if (self.start_B == S - L).all() and (L in (1, S)):
            return None
        place_BL = self.start_B[:, None] + torch.arange(L)
        return (torch.arange(S) <= place_BL[:, :, None])[:, None]
