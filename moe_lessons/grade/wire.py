"""Frames on the channel to a worker: a JSON header and the raw bytes of arrays, lengths checked.

Nothing here can make the reader run code: no pickle, dtypes from a list, sizes agreed before they are read.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DTYPES = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
"""The only dtypes that travel; bfloat16 travels as float32 and is named beside its values."""
MAX_HEADER = 2 << 20
MAX_BODY = 4 << 20
"""Answers return some kilobytes. All that a forged reply holds goes into the grader's own memory."""
MAX_AXES = 16
MAX_ARRAYS = 100
_PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"MoE1"


class WireError(Exception):
    """What came, or should go, is no frame that this channel allows."""


def pack(header: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> bytes:
    """One frame as bytes.

    Examples
    --------
    >>> unpack(pack({"op": "call"}, [np.array([1.5, 2.5])]))
    ({'op': 'call'}, [array([1.5, 2.5])])
    """
    if len(arrays) > MAX_ARRAYS:
        raise WireError(f"{len(arrays)} arrays; at most {MAX_ARRAYS} are taken")
    described, parts = [], []
    for array in arrays:
        if array.dtype.name not in DTYPES:
            raise WireError(f"arrays of dtype {array.dtype} cannot be sent")
        if array.ndim > MAX_AXES:
            raise WireError(f"an array of {array.ndim} axes; at most {MAX_AXES} are taken")
        described.append([array.dtype.name, list(array.shape)])
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    text = json.dumps({**header, "arrays": described}).encode("ascii")
    body = b"".join(parts)
    if len(text) > MAX_HEADER or len(body) > MAX_BODY:
        raise WireError(f"{len(text) + len(body)} bytes are more than the channel takes")
    return _PREFIX.pack(_MAGIC, len(text), len(body)) + text + body


def unpack(frame: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a whole frame; WireError if anything about it is not as it must be."""
    sizes = _sizes(frame[: _PREFIX.size])
    if len(frame) != _PREFIX.size + sum(sizes):
        raise WireError("a frame is shorter or longer than it says")
    text = frame[_PREFIX.size : _PREFIX.size + sizes[0]]
    return _read(text, frame[_PREFIX.size + sizes[0] :])


def send(channel: socket.socket, frame: bytes, deadline: float | None = None) -> None:
    """Send a packed frame; TimeoutError once ``time.monotonic()`` passes ``deadline``."""
    channel.settimeout(_left(deadline))
    channel.sendall(frame)


def receive(channel: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Receive one frame; EOFError where the other side has gone, TimeoutError, WireError."""
    head, body = _sizes(_exactly(channel, _PREFIX.size, deadline))
    return _read(_exactly(channel, head, deadline), _exactly(channel, body, deadline))


def _sizes(prefix: bytes) -> tuple[int, int]:
    if len(prefix) != _PREFIX.size:
        raise WireError("a frame's prefix is cut short")
    magic, head, body = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head > MAX_HEADER or body > MAX_BODY:
        raise WireError("a frame begins with something else, or says it is too large")
    return head, body


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts, missing = [], count
    while missing:
        channel.settimeout(_left(deadline))
        part = channel.recv(min(missing, 1 << 20))
        if not part:
            raise EOFError("the other side has gone")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("out of time")
    return left


def _read(text: bytes, body: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    try:
        header = json.loads(text.decode("ascii"))
        described = header.pop("arrays")
        arrays, offset = [], 0
        if len(described) > MAX_ARRAYS:
            raise ValueError
        for dtype, shape in described:
            array = _array(dtype, shape, body, offset)
            arrays.append(array)
            offset += array.nbytes
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"a frame's header is malformed ({type(error).__name__})") from None
    if offset != len(body):
        raise WireError("a frame's body is longer than its arrays")
    return header, arrays


def _array(dtype: Any, shape: Any, body: bytes, offset: int) -> np.ndarray:
    if dtype not in DTYPES or type(shape) is not list or len(shape) > MAX_AXES:
        raise ValueError
    if any(type(size) is not int or not 0 <= size <= MAX_BODY for size in shape):
        raise ValueError
    kind = np.dtype(dtype).newbyteorder("<")
    count = math.prod(shape)
    if offset + count * kind.itemsize > len(body):
        raise ValueError
    # A copy: the reader may write to it, and it no longer holds on to the whole frame.
    return np.frombuffer(body, kind, count, offset).reshape(shape).astype(np.dtype(dtype))
