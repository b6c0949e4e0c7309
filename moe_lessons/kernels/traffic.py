"""Count what interpreted kernels read and write, element by element, and stop at the first stray address."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from moe_lessons.kernels.common import INTERPRETED


def unwatchable() -> str:
    """Say why interpreted kernels cannot be watched here; empty if they can.

    Triton has no interface for it, so we stand in for parts of its interpreter, as Triton 3.6, 3.7 and 3.9
    have them; another version may rename any of these.
    """
    from triton.runtime import interpreter

    parts = {
        interpreter: ("_implicit_cvt", "InterpretedFunction", "interpreter_builder", "interpreter_semantic"),
        getattr(interpreter, "InterpretedFunction", None): ("run",),
        getattr(interpreter, "interpreter_builder", None): (
            "create_masked_load",
            "create_masked_store",
            "create_atomic_rmw",
            "create_atomic_cas",
            "set_grid_idx",
        ),
    }
    lacks = [name for part, names in parts.items() for name in names if not hasattr(part, name)]
    if not lacks:
        return ""
    return f"the interpreter of Triton {triton.__version__} has no `{lacks[0]}`; Triton 3.6, 3.7 and 3.9 have"


class Region(NamedTuple):
    """One tensor's memory, from `start` up to `end`, and how often each of its elements was moved."""

    name: str
    tensor: Tensor  # held, so that its memory is not given to another while we count
    start: int
    end: int
    reads: np.ndarray
    writes: np.ndarray


class Traffic:
    """What kernels moved while `count_traffic` watched.

    Tensors go by the name of the kernel's argument that first brought them; `kernel.argument` if another
    tensor has that name. `program_bytes[i]` is what program i of all launches together moved. An element that
    two programs write is a race; one that none writes keeps what was in memory before.
    """

    def __init__(self) -> None:
        self.counted = INTERPRETED and not unwatchable()
        self.program_bytes: Counter[tuple[int, int, int]] = Counter()
        self._regions: dict[str, Region] = {}
        self._reachable: list[Region] = []
        self._origins: dict[int, tuple[Any, Tensor, str]] = {}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors seen, by name."""
        return {name: region.tensor for name, region in self._regions.items()}

    def reads(self, name: str) -> Tensor:
        """Return how often each element of a tensor was loaded, in the tensor's shape."""
        return self._shaped(name, self._regions[name].reads)

    def writes(self, name: str) -> Tensor:
        """Return how often each element of a tensor was stored, in the tensor's shape."""
        return self._shaped(name, self._regions[name].writes)

    @property
    def read_bytes(self) -> int:
        """All bytes loaded; an element loaded twice counts twice."""
        return sum(int(region.reads.sum()) * region.tensor.itemsize for region in self._regions.values())

    @property
    def written_bytes(self) -> int:
        """All bytes stored."""
        return sum(int(region.writes.sum()) * region.tensor.itemsize for region in self._regions.values())

    def report(self) -> str:
        """Return a table: a line per tensor, its size, and how many bytes of it were moved."""
        if not self.counted:
            return f"not counted: {unwatchable() or 'compiled kernels do not say what they move'}"
        width = max([6, *map(len, self._regions)])
        lines = [f"{'tensor':{width}}{'bytes':>10}{'read':>10}{'written':>10}"]
        for name, region in self._regions.items():
            moved = (region.tensor.numel(), int(region.reads.sum()), int(region.writes.sum()))
            numbers = "".join(f"{count * region.tensor.itemsize:10}" for count in moved)
            lines.append(f"{name:{width}}{numbers}")
        return "\n".join(lines)

    def _shaped(self, name: str, counts: np.ndarray) -> Tensor:
        tensor = self._regions[name].tensor
        return torch.from_numpy(counts).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _arrive(self, kernel: str, arguments: dict[str, Any]) -> None:
        """Note a launch: its tensors are all that its programs may touch."""
        self._reachable = []
        self._origins = {}
        for argument, tensor in arguments.items():
            if isinstance(tensor, TensorDescriptor):
                tensor = tensor.base
            if not isinstance(tensor, Tensor):
                continue
            if tensor.device.type != "cpu":
                raise ValueError(f"{argument} is on {tensor.device}: traffic is counted for CPU tensors only")
            storage = tensor.untyped_storage()
            start, end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
            known = [
                region for region in self._regions.values() if (region.start, region.end) == (start, end)
            ]
            if not known:
                name = argument if argument not in self._regions else f"{kernel}.{argument}"
                counts = (np.zeros(storage.nbytes() // tensor.itemsize, dtype=np.int64) for _ in range(2))
                known = [Region(name, tensor, start, end, *counts)]
                self._regions[name] = known[0]
            self._reachable += known[:1]

    def _point(self, pointer: Any, tensor: Tensor) -> None:
        """Note a pointer to a tensor: all that the kernel computes from it holds the same type object."""
        start = tensor.untyped_storage().data_ptr()
        name = next((region.name for region in self._reachable if region.start == start), None)
        if name is not None:
            self._origins[id(pointer.dtype)] = (pointer.dtype, tensor, name)  # held: an id is used again

    def _move(self, verb: str, pointers: Any, mask: np.ndarray, program: tuple[int, int, int]) -> None:
        itemsize = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        addresses = pointers.data[np.broadcast_to(mask, pointers.data.shape)].astype(np.int64)
        self.program_bytes[program] += addresses.size * itemsize
        for region in self._reachable:
            inside = (addresses >= region.start) & (addresses + itemsize <= region.end)
            counts = region.reads if verb == "reads" else region.writes
            np.add.at(counts, (addresses[inside] - region.start) // itemsize, 1)
            addresses = addresses[~inside]
        if addresses.size:
            raise IndexError(
                f"program {program} {verb} {self._where(pointers, addresses)}: "
                "is a mask missing, or an index wrong?"
            )

    def _where(self, pointers: Any, stray: np.ndarray) -> str:
        if id(pointers.dtype) not in self._origins:
            return f"{stray.size} elements outside all of the kernel's tensors"
        _, tensor, name = self._origins[id(pointers.dtype)]
        span = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)) + 1
        first = (stray - tensor.data_ptr()) // tensor.itemsize
        if first.max() >= span:
            return f"{name} up to {first.max() - span + 1} elements past its end"
        return f"{name} up to {-first.min()} elements before its start"


@contextlib.contextmanager
def count_traffic() -> Iterator[Traffic]:
    """Watch interpreted kernels: count what they move, and stop them at an address that is none of theirs.

    On a GPU nothing is counted and nothing is checked, nor in an interpreter that `unwatchable` names.

    Returns
    -------
    context manager, gives Traffic

    Raises
    ------
    IndexError
        Inside a kernel, as Triton's InterpreterError: an address lies in none of the launch's tensors. On a
        GPU such a kernel reads a neighbour's numbers, or crashes; here it would take the notebook with it.

    Examples
    --------
    >>> with count_traffic() as moved:
    ...     pass  # kernel[grid](x, out, ...)
    >>> moved.read_bytes, moved.written_bytes
    (0, 0)
    """
    traffic = Traffic()
    if not traffic.counted:
        yield traffic
        return
    from triton.runtime import interpreter
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.interpreter import interpreter_builder as builder

    convert = interpreter._implicit_cvt
    run, load, store = InterpretedFunction.run, builder.create_masked_load, builder.create_masked_store

    def watched_run(kernel: Any, *args: Any, **options: Any) -> Any:
        arguments = dict(zip(kernel.arg_names, args, strict=False)) | options
        traffic._arrive(kernel.__name__, arguments)
        return run(kernel, *args, **options)

    def traced_convert(argument: Any) -> Any:
        converted = convert(argument)
        if isinstance(argument, Tensor):
            traffic._point(converted.handle, argument)
        return converted

    def counted_load(pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        traffic._move("reads", pointers, mask.data, builder.grid_idx)
        return load(pointers, mask, *rest, **named)

    def counted_store(pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        traffic._move("writes", pointers, mask.data, builder.grid_idx)
        return store(pointers, value, mask, *rest, **named)

    with (
        mock.patch.object(InterpretedFunction, "run", watched_run),
        mock.patch.object(interpreter, "_implicit_cvt", traced_convert),
        mock.patch.object(builder, "create_masked_load", counted_load),
        mock.patch.object(builder, "create_masked_store", counted_store),
        mock.patch.object(builder, "create_atomic_rmw", _counted_atomic(builder, traffic)),
        mock.patch.object(builder, "create_atomic_cas", _counted_exchange(builder, traffic)),
    ):
        yield traffic


def _counted_atomic(builder: Any, traffic: Traffic) -> Callable[..., Any]:
    atomic = builder.create_atomic_rmw

    def counted(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        traffic._move("reads", pointers, mask.data, builder.grid_idx)
        traffic._move("writes", pointers, mask.data, builder.grid_idx)
        return atomic(operation, pointers, value, mask, *rest)

    return counted


def _counted_exchange(builder: Any, traffic: Traffic) -> Callable[..., Any]:
    exchange = builder.create_atomic_cas

    def counted(pointers: Any, *rest: Any) -> Any:
        everywhere = np.ones(pointers.data.shape, dtype=bool)
        traffic._move("reads", pointers, everywhere, builder.grid_idx)
        traffic._move("writes", pointers, everywhere, builder.grid_idx)
        return exchange(pointers, *rest)

    return counted
