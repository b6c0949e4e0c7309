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

from moe_lessons.exercises import probes, subjects, unwritten, work
from moe_lessons.exercises.replies import MOST_TEXT, BadReturnError, Failure, Reply, Value, describe, values
from moe_lessons.exercises.spec import Plain

__all__ = ["DRIVERS", "Failure", "Reply", "Request", "Value", "call", "run"]

STUB_MESSAGE = "your code here"
"""How the message of a stub's NotImplementedError starts; PyTorch raises that type for other reasons."""


@dataclass(frozen=True)
class Request:
    """One call: which driver, the arguments in order, and the driver's options."""

    driver: str
    args: Mapping[str, Plain]
    casts: Mapping[str, str]
    options: Mapping[str, Any]


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
        with torch.random.fork_rng(devices=list(devices)), torch.enable_grad(), unwritten.steady(answer):
            # Without a GPU `torch.manual_seed` would note, for milliseconds, that one may turn up later.
            (torch.manual_seed if devices else torch.default_generator.manual_seed)(0)
            returned = DRIVERS[request.driver](answer, _arguments(request), request.options)
        return values(returned)
    except BadReturnError as error:
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


def call(answer: Callable[..., Any], args: list[Any]) -> Any:
    """Call an answer: all drivers but that of kernels do it here, so what holds for every call goes here."""
    return answer(*args)


def _call(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    return call(answer, args)


def _gradient(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer's tensor, and the gradients of its weighted sum with respect to the arguments in ``wrt``."""
    leaves = [args[i].requires_grad_() for i in options["wrt"]]
    output = call(answer, args)
    if type(output) is not torch.Tensor:
        raise BadReturnError(f"returned {describe(output)}; a tensor that carries gradients is needed")
    gradients: tuple[torch.Tensor | None, ...] = (None,) * len(leaves)
    if output.requires_grad:
        # Fixed, uneven weights: a plain sum would hide errors that cancel (softmax sums to a constant).
        weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
    return (output, *filled)


def _by_hand(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """As "call", with autograd off beyond what an answer switches on: for derivatives by hand."""
    with torch.inference_mode():
        return call(answer, args)


def _subject(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer takes a function: the argument in ``place`` names one of ``subjects.SUBJECTS``."""
    return call(answer, _with_subject(args, options))


def _with_subject(args: list[Any], options: Mapping[str, Any]) -> list[Any]:
    place = options["place"]
    subject = subjects.SUBJECTS[args[place]]
    return [*args[:place], lambda *given: subject(*given), *args[place + 1 :]]


def _kernel(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer launches Triton kernels: loaded by name, so that other lessons do not depend on it."""
    return importlib.import_module("moe_lessons.exercises.kernel_driver").drive(answer, args, options)


def _state_dict(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer returns named tensors: names, shapes, values in their order, whether none share, dtypes."""
    state = call(answer, args)
    if type(state) not in (dict, OrderedDict, defaultdict) or not state:  # a module's own is ordered
        raise BadReturnError(f"returned {describe(state)}; a dictionary of tensors by name is needed")
    if len(state) > MOST_TEXT or not all(type(name) is str and len(name) <= MOST_TEXT for name in state):
        raise BadReturnError("returned a dictionary with keys that are no names, or with too many")
    names = sorted(state)
    for name in names:
        if type(state[name]) not in (torch.Tensor, torch.nn.Parameter):
            raise BadReturnError(f"returned {describe(state[name])} as {name!r}; a tensor is needed")
    tensors = [state[name].detach() for name in names]
    shapes = "\n".join(", ".join(map(str, tensor.shape)) for tensor in tensors)
    dtypes = "\n".join(str(tensor.dtype).removeprefix("torch.") for tensor in tensors)
    places = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    given = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
    alone = all(t.is_contiguous() and t.untyped_storage().nbytes() == t.nbytes for t in tensors)
    values = torch.cat([tensor.flatten() for tensor in tensors])
    return "\n".join(names), shapes, values, alone and len(places - given) == len(tensors), dtypes


def _probe(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer's manners rather than its values: see ``probes``."""
    given = _with_subject(args, options) if "place" in options else args
    return probes.probe(answer, given, options, call)


def _work(answer: Callable[..., Any], args: list[Any], options: Mapping[str, Any]) -> Any:
    """The answer's matrix products rather than its values: see ``work``."""
    return work.work(answer, args, options, call)


DRIVERS: dict[str, Callable[[Callable[..., Any], list[Any], Mapping[str, Any]], Any]] = {
    "call": _call,
    "by_hand": _by_hand,
    "gradient": _gradient,
    "kernel": _kernel,
    "probe": _probe,
    "state_dict": _state_dict,
    "subject": _subject,
    "work": _work,
}


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


def _message(error: BaseException) -> str:
    try:
        return str(error)[:MOST_TEXT]
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
