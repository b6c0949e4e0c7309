"""Requests and replies as frames; what a worker says is checked value by value before anyone looks at it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lessons.exercises.drivers import Failure, Reply, Request, Value
from moe_lessons.grade import wire

KINDS = ("not attempted", "exception", "interrupted", "bad return")
LOADED = ("function", "missing", "not callable", "borrowed")
MAX_VALUES, MAX_TEXT = 64, 1 << 16
MAX_ELEMENTS = 1 << 18
"""Of one array: some hundred times what any exercise asks for."""
_SHOWN = 500
"""Characters of a learner's error message that reach a report."""


def load(number: int, code: str, entry: str, forbidden: tuple[str, ...], beside: str = "") -> bytes:
    """The frame that asks a worker to run an answer cell, after what it needs of others (``beside``)."""
    asked = {"code": code, "beside": beside, "entry": entry, "forbidden": list(forbidden)}
    return wire.pack({"number": number, "op": "load", **asked})


def call(number: int, request: Request) -> bytes:
    """The frame that asks a worker for one call.

    Examples
    --------
    >>> request = Request("call", {"x": np.arange(3), "k": 2}, {}, {"wrt": [0]})
    >>> as_request(*wire.unpack(call(1, request)))
    Request(driver='call', args={'x': array([0, 1, 2]), 'k': 2}, casts={}, options={'wrt': [0]})
    """
    arrays: list[np.ndarray] = []
    args = [[name, _plain(value, arrays)] for name, value in request.args.items()]
    header = {"driver": request.driver, "casts": dict(request.casts), "options": dict(request.options)}
    return wire.pack({"number": number, "op": "call", "args": args, **header}, arrays)


def as_request(header: Mapping[str, Any], arrays: list[np.ndarray]) -> Request:
    """The request in a frame that the grader sent."""
    args = {name: _value(item, arrays) for name, item in header["args"]}
    return Request(header["driver"], args, header["casts"], header["options"])


def answer(number: int, reply: Reply) -> bytes:
    """The frame with which a worker answers a call; a value that cannot travel becomes a failure."""
    if isinstance(reply, Failure):
        failure = [reply.kind, reply.message[:_SHOWN], reply.line[:_SHOWN]]
        return wire.pack({"number": number, "failure": failure})
    arrays: list[np.ndarray] = []
    try:
        values = [[value.dtype, _plain(value.data, arrays)] for value in reply]
        for value in reply:
            _check(value.data)
        return wire.pack({"number": number, "values": values}, arrays)
    except (wire.WireError, ValueError) as error:
        return answer(number, Failure("bad return", f"returned something that cannot be graded: {error}"))


def as_reply(header: Mapping[str, Any], arrays: list[np.ndarray], number: int) -> Reply:
    """The reply in a worker's frame; WireError if it is anything but a reply to call ``number``."""
    try:
        if type(header["number"]) is not int or header["number"] != number:
            raise ValueError
        if "failure" in header:
            return _as_failure(header["failure"])
        if len(header["values"]) > MAX_VALUES:
            raise ValueError
        return tuple(_as_value(dtype, item, arrays) for dtype, item in header["values"])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise wire.WireError(f"a reply is malformed ({type(error).__name__})") from None


def loaded(number: int, state: str, detail: str = "") -> bytes:
    """The frame with which a worker says what it found in an answer cell."""
    return wire.pack({"number": number, "loaded": [state, detail[:_SHOWN]]})


def as_loaded(header: Mapping[str, Any], arrays: list[np.ndarray], number: int) -> tuple[str, str] | Failure:
    """What a worker found in an answer cell, or why the cell did not run."""
    try:
        if "failure" in header:
            failure = as_reply(header, arrays, number)
            assert isinstance(failure, Failure)
            return failure
        state, detail = header["loaded"]
        if header["number"] != number or state not in LOADED or type(detail) is not str:
            raise ValueError
        return state, detail[:_SHOWN]
    except (ValueError, TypeError, KeyError) as error:
        raise wire.WireError(f"a reply is malformed ({type(error).__name__})") from None


def _plain(value: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    return {"value": value.item() if isinstance(value, np.generic) else value}


def _value(item: Mapping[str, Any], arrays: list[np.ndarray]) -> Any:
    if "array" not in item:
        return item["value"]
    if type(item["array"]) is not int or item["array"] < 0:
        raise ValueError
    return arrays[item["array"]]


def _as_value(dtype: Any, item: Any, arrays: list[np.ndarray]) -> Value:
    value = _value(item, arrays)
    if type(dtype) is not str or len(dtype) > 40:
        raise ValueError
    _check(value)
    # What it is rather than what it is said to be; only bfloat16 comes as something else.
    is_of = value.dtype.name if isinstance(value, np.ndarray) else type(value).__name__
    return Value(value, dtype if (dtype, is_of) == ("bfloat16", "float32") else is_of)


def _check(value: Any) -> None:
    if type(value) is np.ndarray:
        if value.size > MAX_ELEMENTS:
            raise ValueError(f"an array of {value.size} elements, far more than was asked for")
        return
    if type(value) not in (int, float, bool, str):
        raise ValueError(f"a value of type {type(value).__name__}")
    if type(value) is str and len(value) > MAX_TEXT:
        raise ValueError(f"text of {len(value)} characters")
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number that does not fit in 64 bits")


def _as_failure(parts: Any) -> Failure:
    kind, message, line = parts
    if kind not in KINDS or type(message) is not str or type(line) is not str:
        raise ValueError
    return Failure(kind, message[:_SHOWN], line[:_SHOWN])
