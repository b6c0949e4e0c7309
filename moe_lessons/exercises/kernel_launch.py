"""Launches of kernels as plain data: noted where the answer runs, done again where it never was.

The first process runs the answer and notes what it launches: the kernels' text, and which argument was which
tensor. The second holds nothing of the answer. It has the same tensors, launches the same kernels on them
while it watches, and what it then reads in its own memory is what counts.
"""

import ast
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.kernel_source import KernelTextError, build, describe, dtype, is_dtype

_MOST_LAUNCHES, _MOST_SCRATCH, _MOST_TEXT = 40, 16, 60_000


class Recorder:
    """What an answer launched, and what it changed without a kernel.

    Parameters
    ----------
    tensors : dict
        The tensors that the answer was given, by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.launches: list[dict[str, Any]] = []
        self.kernels: list[list[dict[str, Any]]] = []
        self.scratch: list[np.ndarray] = []
        self.problem = ""
        self._tensors = dict(tensors)
        self._places = {t.untyped_storage().data_ptr(): name for name, t in tensors.items()}
        self._scratch_places: dict[int, tuple[int, Tensor]] = {}
        self._before = self._copies()

    def note(self, kernel: Any, args: tuple[Any, ...], grid: Any, options: Mapping[str, Any]) -> None:
        """Note a launch, before it happens."""
        if self.problem or len(self.launches) >= _MOST_LAUNCHES:
            self.problem = self.problem or f"launches kernels more than {_MOST_LAUNCHES} times"
            return
        given = dict(zip(kernel.arg_names, args, strict=False))
        given |= {name: value for name, value in options.items() if name in kernel.arg_names}
        try:
            size = grid(given) if callable(grid) else grid
            self.launches.append(
                {
                    "kernel": self._kernel(kernel),
                    "grid": [int(n) for n in (size if isinstance(size, tuple | list) else (size,))],
                    "args": {name: self._argument(value) for name, value in given.items()},
                    "fills": self._fills(),
                }
            )
        except (KernelTextError, OSError, TypeError) as error:
            self.problem = str(error) or type(error).__name__

    def done(self) -> None:
        """Note that a launch is over: what changed until here, a kernel changed."""
        self._before = self._copies()

    def changed_outside(self) -> list[str]:
        """Names of given tensors that something other than a kernel has changed since the last launch."""
        now = self._copies()
        return [name for name, old in self._before.items() if not _same(old, now[name])]

    def as_text(self) -> str:
        """All that was noted as one text of JSON."""
        noted = {"kernels": self.kernels, "launches": self.launches, "outside": self.changed_outside()}
        text = json.dumps(noted)
        if len(text) > _MOST_TEXT:
            raise KernelTextError("is far longer than was asked for")
        return text

    def _kernel(self, kernel: Any) -> int:
        functions = describe(kernel)
        if functions not in self.kernels:
            self.kernels.append(functions)
        return self.kernels.index(functions)

    def _copies(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._tensors.items()}

    def _fills(self) -> dict[str, Any]:
        """Tensors that hold one number throughout, since the answer filled them: that may be done again."""
        fills: dict[str, Any] = {}
        for name in self.changed_outside():
            flat = self._tensors[name].detach().reshape(-1)
            if flat.numel() and not _same(flat, flat[:1].expand(flat.shape)):
                raise KernelTextError(f"works on {name} after something that is no kernel has changed it")
            if flat.numel():
                fills[name] = repr(flat[0].item())
        return fills

    def _argument(self, value: Any) -> list[Any]:
        if isinstance(value, Tensor):
            place = value.untyped_storage().data_ptr()
            name = self._places.get(place)
            if name is not None:
                start = int(self._tensors[name].storage_offset())
                return ["given", name, *_layout(value, start)]
            return ["scratch", self._keep(value), *_layout(value, 0)]
        if type(value).__name__ == "constexpr":
            value = value.value
        if is_dtype(value):
            return ["dtype", value.name]
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) in (bool, int, float, str, type(None)):
            return ["plain", repr(value)]
        raise KernelTextError(
            f"is given a {type(value).__name__}; tensors, numbers and dtypes can be launched"
        )

    def _keep(self, tensor: Tensor) -> int:
        """A tensor of the answer's own: its memory as it is now, unless a kernel had it before."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._scratch_places:
            if len(self.scratch) >= _MOST_SCRATCH:
                raise KernelTextError(f"uses more than {_MOST_SCRATCH} tensors of its own")
            whole = tensor.detach().as_strided((storage.nbytes() // tensor.itemsize,), (1,), 0).cpu()
            held = whole.float() if whole.dtype == torch.bfloat16 else whole
            self.scratch.append(held.clone().numpy())
            self._scratch_places[storage.data_ptr()] = len(self.scratch) - 1, tensor  # held: no reuse
        return self._scratch_places[storage.data_ptr()][0]


def _layout(tensor: Tensor, start: int) -> list[Any]:
    dtype_name = str(tensor.dtype).removeprefix("torch.")
    return [dtype_name, tensor.storage_offset() - start, list(tensor.shape), list(tensor.stride())]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(torch.nan_to_num(a, 12345.0), torch.nan_to_num(b, 12345.0))


@contextlib.contextmanager
def recording(tensors: Mapping[str, Tensor]) -> Iterator[Recorder]:
    """Note every launch of an interpreted kernel."""
    from triton.runtime.interpreter import InterpretedFunction

    recorder, run = Recorder(tensors), InterpretedFunction.run

    def noted(kernel: Any, *args: Any, grid: Any, **options: Any) -> Any:
        recorder.note(kernel, args, grid, options)
        returned = run(kernel, *args, grid=grid, **options)
        recorder.done()
        return returned

    with mock.patch.object(InterpretedFunction, "run", noted):
        yield recorder


def again(noted: Mapping[str, Any], tensors: Mapping[str, Tensor], scratch: Sequence[Tensor]) -> None:
    """Launch what was noted, on these tensors.

    Raises
    ------
    KernelTextError
        Where a kernel holds more than a kernel may.
    """
    built = [build(functions) for functions in noted["kernels"]]
    for launch in noted["launches"]:
        for name, value in launch["fills"].items():
            tensors[name].fill_(_plain(value))
        arguments = {name: _as_argument(value, tensors, scratch) for name, value in launch["args"].items()}
        built[launch["kernel"]][tuple(launch["grid"])](**arguments)


def read(text: str) -> dict[str, Any]:
    """What `Recorder.as_text` wrote, or a KernelTextError."""
    noted = json.loads(text)
    if not isinstance(noted, dict) or set(noted) != {"kernels", "launches", "outside"}:
        raise KernelTextError("cannot be launched again")
    if len(noted["launches"]) > _MOST_LAUNCHES:
        raise KernelTextError(f"is launched more than {_MOST_LAUNCHES} times")
    return noted


def types(noted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each kernel once, as `kernel_compile.compile_text` wants it: with its arguments' types."""
    seen: set[int] = set()
    for launch in noted["launches"]:
        if launch["kernel"] not in seen:
            seen.add(launch["kernel"])
            functions = noted["kernels"][launch["kernel"]]
            yield {"functions": functions, "signature": _signature(functions[-1]["text"], launch["args"])}


def _signature(text: str, args: Mapping[str, Any]) -> dict[str, Any]:
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    parameters = function.args.args
    defaults = dict(zip([p.arg for p in parameters][::-1], function.args.defaults[::-1], strict=False))
    signature: dict[str, Any] = {}
    for parameter in parameters:
        is_constant = parameter.annotation is not None and "constexpr" in ast.unparse(parameter.annotation)
        if parameter.arg in args:
            signature[parameter.arg] = _type(args[parameter.arg], is_constant)
        else:
            signature[parameter.arg] = ["constexpr", ast.literal_eval(defaults[parameter.arg])]
    return signature


def _type(argument: list[Any], is_constant: bool) -> Any:
    kind, what, *layout = argument
    if kind in ("given", "scratch"):
        return "*" + _TYPES.get(layout[0], layout[0])
    if kind == "dtype":
        return ["constexpr", f"tl:{what}"]
    value = _plain(what)
    if is_constant or value is None or isinstance(value, str) or (isinstance(value, int) and value == 1):
        return ["constexpr", value]
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


_TYPES = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float64": "fp64",
    "int8": "i8",
    "uint8": "u8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "bool": "i1",
}


def _plain(words: str) -> Any:
    """A number, a truth value, a text or None, from what `repr` made of it."""
    return float(words) if words in ("nan", "inf", "-inf") else ast.literal_eval(words)


def _as_argument(value: list[Any], tensors: Mapping[str, Tensor], scratch: Sequence[Tensor]) -> Any:
    kind, what, *layout = value
    if kind == "plain":
        return _plain(what)
    if kind == "dtype":
        return dtype(what)
    tensor = tensors[what] if kind == "given" else scratch[what]
    dtype_name, offset, shape, stride = layout
    if str(tensor.dtype) != f"torch.{dtype_name}":
        raise KernelTextError(f"looks at {what} as {dtype_name}")
    return tensor.as_strided(shape, stride, tensor.storage_offset() + offset)
