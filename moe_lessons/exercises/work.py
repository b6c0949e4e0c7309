"""How much an answer multiplies: for exercises that ask for a result at a price, not at any price.

Runs beside an answer, like the drivers, and knows nothing about what is expected; ``habits`` compares.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
# By operator: which two arguments are multiplied.
_PRODUCTS = {
    _ATEN.mm: (0, 1),
    _ATEN.bmm: (0, 1),
    _ATEN.mv: (0, 1),
    _ATEN.dot: (0, 1),
    _ATEN.addmm: (1, 2),
    _ATEN.addmv: (1, 2),
    _ATEN.baddbmm: (1, 2),
}


class Products(TorchDispatchMode):
    """Counts matrix products and their multiply-adds while it is open.

    Examples
    --------
    >>> with Products() as products:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 5)
    >>> products.calls, products.multiply_adds
    (1, 30)
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.multiply_adds = 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would load its whole compiler, for seconds, only to keep that from looking in here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a product and pass everything on."""
        places = _PRODUCTS.get(func.overloadpacket)
        if places is not None:
            first, second = (args[i] for i in places)
            columns = second.shape[-1] if second.dim() > 1 else 1
            self.calls += 1
            self.multiply_adds += math.prod(first.shape) * columns
        return func(*args, **(kwargs or {}))


def work(
    answer: Callable[..., Any],
    args: list[Any],
    options: Mapping[str, Any],
    call: Callable[[Callable[..., Any], list[Any]], Any],
) -> Any:
    """Matrix products of one call and their multiply-adds, as an array of two whole numbers."""
    with Products() as products:
        call(answer, args)
    return np.array([products.calls, products.multiply_adds])
