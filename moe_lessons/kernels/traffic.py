"""Count what interpreted kernels read and write, element by element, and stop at the first stray address."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from moe_lessons.kernels.common import INTERPRETED


class Traffic:
    """What kernels moved while `count_traffic` watched.

    `reads[name]` and `writes[name]` have the tensor's shape and count how often each element was loaded and
    stored; `program_bytes[i]` is what program i of all launches together moved. An element that two programs
    write is a race; one that none writes keeps what was in memory before.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.counted = INTERPRETED
        self.program_bytes: Counter[tuple[int, int, int]] = Counter()
        self.reads: dict[str, Tensor] = {}
        self.writes: dict[str, Tensor] = {}
        self._itemsizes = {name: tensor.itemsize for name, tensor in tensors.items()}
        self._regions: list[tuple[str, int, int, np.ndarray, np.ndarray]] = []
        for name, tensor in tensors.items():
            storage = tensor.untyped_storage()
            start, end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
            counts = [torch.zeros(storage.nbytes() // tensor.itemsize, dtype=torch.int64) for _ in range(2)]
            shape = (tensor.shape, tensor.stride(), tensor.storage_offset())
            self.reads[name], self.writes[name] = (count.as_strided(*shape) for count in counts)
            self._regions.append((name, start, end, counts[0].numpy(), counts[1].numpy()))

    @property
    def read_bytes(self) -> int:
        """All bytes loaded, an element loaded twice counted twice."""
        return sum(int(count.sum()) * self._itemsizes[name] for name, count in self.reads.items())

    @property
    def written_bytes(self) -> int:
        """All bytes stored."""
        return sum(int(count.sum()) * self._itemsizes[name] for name, count in self.writes.items())

    def report(self) -> str:
        """Return a table: a line per tensor, its size, and how many bytes were moved."""
        if not self.counted:
            return "not counted: compiled kernels do not say what they move, the interpreter does"
        lines = [f"{'tensor':16}{'bytes':>9}{'read':>9}{'written':>9}"]
        for name, reads in self.reads.items():
            size = self._itemsizes[name]
            moved = (reads.numel() * size, int(reads.sum()) * size, int(self.writes[name].sum()) * size)
            lines.append(f"{name:16}" + "".join(f"{number:9}" for number in moved))
        return "\n".join(lines)

    def _note(self, verb: str, pointers: Any, mask: np.ndarray, program: tuple[int, int, int]) -> None:
        itemsize = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        addresses = pointers.data[np.broadcast_to(mask, pointers.data.shape)].astype(np.int64)
        self.program_bytes[program] += addresses.size * itemsize
        for _, start, end, reads, writes in self._regions:
            inside = (addresses >= start) & (addresses + itemsize <= end)
            if inside.any():
                np.add.at(reads if verb == "reads" else writes, (addresses[inside] - start) // itemsize, 1)
                addresses = addresses[~inside]
            if addresses.size == 0:
                return
        raise IndexError(f"program {program} {verb} {self._where(addresses)}: is a mask missing, or wrong?")

    def _where(self, stray: np.ndarray) -> str:
        name, start, end, *_ = min(
            self._regions, key=lambda region: np.maximum(region[1] - stray, stray - region[2] + 1).min()
        )
        size = self._itemsizes[name]
        after, before = (stray >= end).sum(), (stray < start).sum()
        if after >= before:
            return f"{after} elements past the end of {name}, up to {(stray.max() - end) // size + 1} past it"
        return (
            f"{before} elements before the start of {name}, up to {(start - stray.min()) // size} before it"
        )


@contextlib.contextmanager
def count_traffic(**tensors: Tensor) -> Iterator[Traffic]:
    """Watch the named tensors while interpreted kernels run.

    Parameters
    ----------
    **tensors : Tensor
        Every tensor that a kernel may touch, on the CPU. On a GPU nothing is counted, and nothing is checked.

    Returns
    -------
    context manager, gives Traffic

    Raises
    ------
    IndexError
        Inside a kernel, as Triton's InterpreterError: an address belongs to none of the tensors. On a GPU
        such a kernel reads a neighbour's numbers, or crashes; here it would take the whole notebook with it.

    Examples
    --------
    >>> with count_traffic(x=torch.zeros(8)) as moved:
    ...     pass  # kernel[grid](x, ...)
    >>> moved.read_bytes, moved.reads["x"].shape
    (0, torch.Size([8]))
    """
    traffic = Traffic(tensors)
    if not INTERPRETED:
        yield traffic
        return
    from triton.runtime.interpreter import interpreter_builder as builder

    load, store, atomic = builder.create_masked_load, builder.create_masked_store, builder.create_atomic_rmw

    def counted_load(pointers: Any, mask: Any, *rest: Any) -> Any:
        traffic._note("reads", pointers, mask.data, builder.grid_idx)
        return load(pointers, mask, *rest)

    def counted_store(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        traffic._note("writes", pointers, mask.data, builder.grid_idx)
        return store(pointers, value, mask, *rest)

    def counted_atomic(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        traffic._note("reads", pointers, mask.data, builder.grid_idx)
        traffic._note("writes", pointers, mask.data, builder.grid_idx)
        return atomic(operation, pointers, value, mask, *rest)

    with mock.patch.multiple(
        builder,
        create_masked_load=counted_load,
        create_masked_store=counted_store,
        create_atomic_rmw=counted_atomic,
    ):
        yield traffic
