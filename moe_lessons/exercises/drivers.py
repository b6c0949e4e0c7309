"""Drivers: call a learner's function with plain arrays and bring plain arrays back.

This is the only code that runs beside a learner's answer. It knows neither references nor expected values, so
a sandboxed worker can hold it alone. ``DRIVERS`` maps the names that specs use to functions.
"""

import importlib
import os
import sysconfig
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises import subjects, unwritten
from moe_lessons.exercises.spec import Plain

STUB_MESSAGE = "your code here"
"""How the message of a stub's NotImplementedError starts; PyTorch raises that type for other reasons."""


@dataclass(frozen=True)
class Request:
    """One call: which driver, the arguments in order, and the driver's options."""

    driver: str
    args: Mapping[str, Plain]
    casts: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """One returned value with what was lost in making it plain: its torch dtype and its kind."""

    data: Any
    dtype: str


@dataclass(frozen=True)
class Failure:
    """Why nothing came back: ``kind`` is "not attempted", "exception", "interrupted" or "bad return"."""

    kind: str
    message: str
    line: str = ""


Reply = tuple[Value, ...] | Failure

_MOST_VALUES, _MOST_ITEMS, _MOST_TEXT = 2**24, 100, 1000
"""No exercise asks for more; beyond these a reply is refused rather than compared."""


def run(answer: Callable[..., Any], request: Request) -> Reply:
    """Call ``answer`` as ``request`` says; never raises, whatever the answer does.

    Examples
    --------
    >>> request = Request("call", {"x": np.ones(2, dtype=np.float32)}, {}, {})
    >>> run(lambda x: 2 * x, request)
    (Value(data=array([2., 2.], dtype=float32), dtype='float32'),)
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    dtype = torch.get_default_dtype()
    try:
        # Whatever an answer switches off or seeds, the next call finds the same.
        with torch.random.fork_rng(devices=list(devices)), torch.enable_grad(), unwritten.steady():
            torch.manual_seed(0)
            returned = DRIVERS[request.driver](answer, _arguments(request), request.options)
        values = returned if isinstance(returned, tuple | list) else (returned,)
        if len(values) > _MOST_ITEMS:
            raise _BadReturnError(f"returned a {type(returned).__name__} of {len(values)} items")
        return tuple(_to_plain(value) for value in values)
    except _BadReturnError as error:
        return Failure("bad return", str(error))
    except KeyboardInterrupt:
        return Failure("interrupted", "stopped by you before it returned")
    except BaseException as error:  # SystemExit too: an answer must not end the notebook
        message = _message(error)
        if isinstance(error, NotImplementedError) and (
            not message or message.lower().startswith(STUB_MESSAGE)
        ):
            return Failure("not attempted", message)
        return _failure(error, message)
    finally:
        torch.set_default_dtype(dtype)


def _call(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    return answer(*args)


def _gradient(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer's tensor, and the gradients of its weighted sum with respect to the arguments in ``wrt``."""
    leaves = [args[i].requires_grad_() for i in options["wrt"]]
    output = answer(*args)
    if type(output) is not torch.Tensor:
        raise _BadReturnError(f"returned {_describe(output)}; a tensor that carries gradients is needed")
    gradients: tuple[torch.Tensor | None, ...] = (None,) * len(leaves)
    if output.requires_grad:
        # Fixed, uneven weights: a plain sum would hide errors that cancel (softmax sums to a constant).
        weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
    return (output, *filled)


def _subject(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer takes a function: the argument in ``place`` names one of ``subjects.SUBJECTS``."""
    place = options["place"]
    subject = subjects.SUBJECTS[args[place]]
    return answer(*args[:place], lambda *given: subject(*given), *args[place + 1 :])


def _kernel(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer launches Triton kernels: loaded by name, so that other lessons do not depend on it."""
    return importlib.import_module("moe_lessons.exercises.kernel_driver").drive(answer, args, options)


def _state_dict(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer returns named tensors: sorted names, shapes, all values in that order, and if none share."""
    state = answer(*args)
    if type(state) not in (dict, OrderedDict, defaultdict) or not state:  # a module's own is ordered
        raise _BadReturnError(f"returned {_describe(state)}; a dictionary of tensors by name is needed")
    if len(state) > _MOST_TEXT or not all(type(name) is str and len(name) <= _MOST_TEXT for name in state):
        raise _BadReturnError("returned a dictionary with keys that are no names, or with too many")
    names = sorted(state)
    for name in names:
        if type(state[name]) not in (torch.Tensor, torch.nn.Parameter):
            raise _BadReturnError(f"returned {_describe(state[name])} as {name!r}; a tensor is needed")
    tensors = [state[name].detach() for name in names]
    shapes = "\n".join(", ".join(map(str, tensor.shape)) for tensor in tensors)
    places = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    alone = all(t.is_contiguous() and t.untyped_storage().nbytes() == t.nbytes for t in tensors)
    values = torch.cat([tensor.flatten() for tensor in tensors])
    return "\n".join(names), shapes, values, alone and len(places) == len(tensors)


DRIVERS: dict[str, Callable[[Callable[..., Any], list[Any], Mapping[str, Any]], Any]] = {
    "call": _call,
    "gradient": _gradient,
    "kernel": _kernel,
    "state_dict": _state_dict,
    "subject": _subject,
}


class _BadReturnError(Exception):
    pass


def _arguments(request: Request) -> list[Any]:
    args: list[Any] = []
    for name, value in request.args.items():
        if isinstance(value, np.ndarray):
            tensor = torch.from_numpy(value.copy())  # a copy: an answer may write to its inputs
            cast = request.casts.get(name)
            args.append(tensor.to(getattr(torch, cast)) if cast else tensor)
        else:
            args.append(value)
    return args


def _to_plain(value: Any) -> Value:
    # Exact types: a subclass could answer "equal" to every comparison.
    if type(value) is np.str_:  # a name chosen from an array of names
        value = str(value)
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        if value.numel() > _MOST_VALUES:
            raise _BadReturnError(f"returned {_describe(value)}, far more than was asked for")
        tensor = value.detach().cpu()
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Value(tensor.float().numpy() if dtype == "bfloat16" else tensor.numpy(), dtype)
    if type(value) is np.ndarray or isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise _BadReturnError(f"returned an array of dtype {array.dtype}; numbers are needed")
        if array.size > _MOST_VALUES:
            raise _BadReturnError(f"returned an array of shape {array.shape}, far more than was asked for")
        return Value(array, str(array.dtype))
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise _BadReturnError("returned a whole number of more than 64 bits")
    if type(value) in (int, float, bool, str):
        return Value(value, type(value).__name__)
    remedy = " (torch.tensor and torch.stack make a tensor of a list)" if type(value) in (list, tuple) else ""
    raise _BadReturnError(
        f"returned {_describe(value)}; a tensor, an array, a number or text is needed{remedy}"
    )


def _describe(value: Any) -> str:
    if value is None:
        return "None (is a `return` missing?)"
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}, a kind of tensor of its own"
    return f"a {type(value).__name__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MOST_TEXT]
    except BaseException:  # an exception class of the learner's own may fail here too
        return ""


def _failure(error: BaseException, message: str) -> Failure:
    """Name the error and the innermost line that is the learner's own rather than a library's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARIES)]
    own = [f for f in frames if not f.filename.startswith(_OURS) and "-packages" not in f.filename]
    line = f"line {own[-1].lineno}: {own[-1].line}" if own and own[-1].line else ""
    return Failure("exception", f"{type(error).__name__}: {message}".split("\n")[0].rstrip(": "), line)


_OURS = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = (sysconfig.get_path("stdlib"), "<frozen")
