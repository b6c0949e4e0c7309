"""The driver "kernel": call a function that launches Triton kernels, in memory that shows where they stray.

Each tensor lies in the middle of a larger piece of memory, filled with what no answer should ever see: NaN,
or `FENCE_ID` among whole numbers. The same stands in for what a masked load without `other` gives, which is
undefined on a GPU and a convenient 0 in Triton's interpreter. Triton itself is imported on the first call.
"""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from moe_lessons.exercises import kernel_compile, kernel_launch

FENCE = 8192
"""Elements on either side of a tensor."""
FENCE_ID = 101
"""Beyond every row, token and expert of an exercise, and near enough for its row to lie within the fence."""
CLEAN = "clean"


def gpu_suits() -> bool:
    """Whether there is a GPU that Triton compiles for: compute capability 8.0 or more (a T4 has 7.5)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def prepare() -> None:
    """Choose Triton's interpreter where no GPU suits.

    Only before Triton is imported: half of it would go on as a compiler.
    """
    if "triton" not in sys.modules and not gpu_suits():
        os.environ.setdefault("TRITON_INTERPRET", "1")


def missing() -> str:
    """Say what kernels lack to run in this process; empty if nothing."""
    if importlib.util.find_spec("triton") is None:
        return "needs Linux"
    prepare()
    return "" if interpreted() or gpu_suits() else "needs TRITON_INTERPRET=1 before Triton is imported"


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, which can be watched, rather than compiled."""
    from moe_lessons.kernels.common import INTERPRETED

    return INTERPRETED


def compiler_missing() -> str:
    """Say why kernels cannot be compiled here for GPUs that are not here; empty if they can."""
    if missing():
        return missing()
    text = "def nothing(x):\n    tl.store(x, tl.load(x))\n"
    names = {"tl": ["module", "triton.language"]}
    kernel = {"name": "nothing", "text": text, "line": 1, "names": names}
    said = kernel_compile.compile_text({"functions": [kernel], "signature": {"x": "*fp32"}})
    return "" if said == kernel_compile.COMPILES else said


def counter_missing() -> str:
    """Say why interpreted kernels cannot be watched here; empty if they can."""
    from moe_lessons.kernels.traffic import unwatchable

    return unwatchable()


@dataclass(frozen=True)
class Watched:
    """What a call left in its outputs, and what its kernels did to memory.

    `memory` is "clean", or says what was wrong. The rest is empty where kernels are compiled: those do not
    say what they move. `reads` and `writes` count, by argument, how often each element was moved.
    """

    outputs: list[Tensor]
    memory: str
    reads: dict[str, Tensor] = field(default_factory=dict)
    writes: dict[str, Tensor] = field(default_factory=dict)
    program_bytes: dict[tuple[int, int, int], int] = field(default_factory=dict)


def drive(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """Return the arguments that `options["outputs"]` names, what happened to memory, and whether it compiles.

    `options["names"]` names all arguments, in order. With `"record"` the answer runs, and what it launches is
    returned instead, as text and tensors. With that text as `"launched"` it is launched again, and there is
    no answer: what is then read was never within an answer's reach. A function of this package is a
    reference: it works without a kernel, in clean memory.
    """
    names, outputs = options["names"], options["outputs"]
    if str(getattr(answer, "__module__", "")).startswith("moe_lessons."):
        answer(*args)
        found = dict(zip(names, args, strict=True))
        return (*(found[name] for name in outputs), CLEAN, kernel_compile.COMPILES)
    if missing():
        raise RuntimeError(f"Triton kernels cannot run here: {missing()}")
    if counter_missing() and ("launched" in options or options.get("record")):
        raise RuntimeError(f"Triton kernels cannot be graded here: {counter_missing()}")
    given = dict(zip(names, args[: len(names)], strict=True))
    if "launched" in options:
        noted = kernel_launch.read(options["launched"])
        outside = [name for name in names if name in noted["outside"]]
        seen = _watch(
            lambda own: kernel_launch.again(noted, own, args[len(names) :]), given, outputs, outside
        )
        return (*seen.outputs, seen.memory, compiled(noted))
    if not interpreted() or counter_missing():
        seen = watch(answer, given, outputs)
        return (*seen.outputs, seen.memory, kernel_compile.COMPILES)  # it just was, or no source can be taken
    noted_text, scratch, seen = _recorded(answer, given, outputs)
    if options.get("record"):
        return (noted_text, *scratch)
    return (*seen.outputs, seen.memory, compiled(kernel_launch.read(noted_text)))


def watch(answer: Callable[..., Any], args: Mapping[str, Any], outputs: Sequence[str]) -> Watched:
    """Call `answer` with fenced copies of its tensors; errors inside a kernel come out as what they are."""
    return _watch(lambda given: answer(*given.values()), args, outputs)


def _recorded(
    answer: Callable[..., Any], args: Mapping[str, Any], outputs: Sequence[str]
) -> tuple[str, list[Any], Watched]:
    """Watch an answer, and note what it launches."""
    outside: list[str] = []
    kept: list[kernel_launch.Recorder] = []

    def call(given: Mapping[str, Any]) -> None:
        tensors = {name: arg for name, arg in given.items() if isinstance(arg, Tensor)}
        with kernel_launch.recording(tensors) as recorder:
            kept.append(recorder)
            answer(*given.values())
        if recorder.problem:
            raise RuntimeError(f"the kernel {recorder.problem}")
        outside.extend(recorder.changed_outside())

    seen = _watch(call, args, outputs, outside)
    return kept[0].as_text(), list(kept[0].scratch), seen


_compiled: dict[str, str] = {}


def compiled(noted: Mapping[str, Any]) -> str:
    """What a compiler says to the first kernel that it refuses; each is compiled once, for one size."""
    for launch in kernel_launch.types(noted):
        # Numbers may differ from case to case; a text or a truth value chooses what is compiled.
        types = [kind for kind in launch["signature"].values() if isinstance(kind, str) or _chooses(kind[1])]
        key = json.dumps([launch["functions"], types])
        if key not in _compiled:
            _compiled[key] = kernel_compile.compile_text(launch)
        if _compiled[key] != kernel_compile.COMPILES:
            return _compiled[key]
    return kernel_compile.COMPILES


def _chooses(constant: Any) -> bool:
    return isinstance(constant, str | bool)


def _watch(
    call: Callable[[Mapping[str, Any]], object],
    args: Mapping[str, Any],
    outputs: Sequence[str],
    outside: Sequence[str] = (),
) -> Watched:
    """Do `call` on fenced copies; `outside` names what it changes without a kernel, once it is done."""
    from moe_lessons.kernels.traffic import count_traffic

    device = "cpu" if interpreted() else "cuda"
    given = {name: _fenced(arg, device) if isinstance(arg, Tensor) else arg for name, arg in args.items()}
    tensors = {name: arg for name, arg in given.items() if isinstance(arg, Tensor)}
    with count_traffic() as moved, _masked_is_undefined():
        try:
            call(given)
        except Exception as error:
            raise _cause(error) from None
    results = [tensors[name].detach().cpu() for name in outputs]
    if not moved.counted:
        return Watched(results, _compiled_memory(tensors))
    reads: dict[str, Tensor] = {}
    writes: dict[str, Tensor] = {}
    problems = []
    places = {arg.untyped_storage().data_ptr(): name for name, arg in tensors.items()}
    for kernels_name, seen in moved.tensors.items():
        name = places.get(seen.untyped_storage().data_ptr())
        if name is not None:
            for counts, verb in (
                (moved.reads(kernels_name), "reads"),
                (moved.writes(kernels_name), "writes"),
            ):
                inside, beyond = _inside(counts, tensors[name])
                (reads if verb == "reads" else writes)[name] = inside
                if beyond:
                    problems.append(f"{verb} {_elements(beyond)} outside {name}")
    if not moved.tensors:
        problems.append("is never launched")
    problems += _write_problems(writes, outputs)
    problems += [f"is not alone: something else changes {name}" for name in outside]
    return Watched(results, "; ".join(problems) or CLEAN, reads, writes, dict(moved.program_bytes))


def _write_problems(writes: Mapping[str, Tensor], outputs: Sequence[str]) -> Iterator[str]:
    for name, counts in writes.items():
        again, never = int((counts > 1).sum()), int((counts == 0).sum())
        if name not in outputs:
            if counts.any():
                yield f"changes {name}"
            continue
        if again:
            yield f"writes {_elements(again)} of {name} more than once"
        if never:
            yield f"leaves {_elements(never)} of {name} unwritten"


def _elements(count: int) -> str:
    return "1 element" if count == 1 else f"{count} elements"


def _inside(counts: Tensor, fenced: Tensor) -> tuple[Tensor, int]:
    """The counts of a tensor's own elements, and how many lie around it (counts span its whole memory)."""
    whole = counts.as_strided((counts.untyped_storage().nbytes() // counts.itemsize,), (1,), 0)
    inside = whole[fenced.storage_offset() :][: fenced.numel()].view(fenced.shape)
    return inside, int(whole.sum() - inside.sum())


def _fenced(tensor: Tensor, device: str) -> Tensor:
    memory = torch.full((tensor.numel() + 2 * FENCE,), _poison(tensor.dtype), dtype=tensor.dtype)
    memory[FENCE:][: tensor.numel()] = tensor.reshape(-1)
    return memory.to(device)[FENCE:][: tensor.numel()].view(tensor.shape)


def _poison(dtype: torch.dtype) -> float | int:
    return float("nan") if dtype.is_floating_point else FENCE_ID


def _compiled_memory(tensors: Mapping[str, Tensor]) -> str:
    problems = []
    for name, tensor in tensors.items():
        whole = tensor.as_strided((tensor.numel() + 2 * FENCE,), (1,), 0)
        fence = torch.cat([whole[:FENCE], whole[-FENCE:]])
        intact = fence.isnan() if fence.is_floating_point() else fence == FENCE_ID
        if not intact.all():
            problems.append(f"writes {_elements(int((~intact).sum()))} outside {name}")
    return "; ".join(problems) or CLEAN


@contextlib.contextmanager
def _masked_is_undefined() -> Iterator[None]:
    if not interpreted() or counter_missing():
        yield
        return
    import numpy as np
    from triton.runtime.interpreter import TensorHandle, interpreter_semantic
    from triton.runtime.interpreter import interpreter_builder as builder

    load, load_semantic = builder.create_masked_load, interpreter_semantic.load
    has_other = False

    def noted(pointer: Any, mask: Any, other: Any, *rest: Any) -> Any:
        # Triton 3.7 asks `if other` further on, and so loses an `other=0` given for a single element.
        nonlocal has_other
        has_other = other is not None
        return load_semantic(pointer, mask, other, *rest)

    def poisoned(pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        loaded = load(pointers, mask, other, *rest)
        if other is None and not has_other and not np.all(mask.data):
            poison = np.nan if loaded.data.dtype.kind == "f" else FENCE_ID
            loaded = TensorHandle(
                np.where(mask.data, loaded.data, poison).astype(loaded.data.dtype), loaded.dtype
            )
        return loaded

    with (
        mock.patch.object(builder, "create_masked_load", poisoned),
        mock.patch.object(interpreter_semantic, "load", noted),
    ):
        yield


def _cause(error: BaseException) -> BaseException:
    """What went wrong inside the kernel: the interpreter wraps it, the compiler quotes the line."""
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    if 'NotImplementedError("your code here")' in str(error):
        return NotImplementedError("your code here")
    return error
