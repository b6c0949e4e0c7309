"""What comes back from an answer: plain values, or why there are none.

Part of what runs beside a learner's answer, so it knows no references and no expected values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MOST_VALUES, MOST_ITEMS, MOST_TEXT = 2**24, 100, 1000
"""No exercise asks for more; beyond these a reply is refused rather than compared."""
_NUMBERS = (bool, int, float)


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


class BadReturnError(Exception):
    """An answer returned something that cannot be compared."""


def values(returned: Any) -> tuple[Value, ...]:
    """What an answer returned, value by value; a list or tuple is several.

    Examples
    --------
    >>> values((3, [0.5, 1]))
    (Value(data=3, dtype='int'), Value(data=array([0.5, 1. ]), dtype='float64'))
    """
    items = returned if isinstance(returned, tuple | list) else (returned,)
    if len(items) > MOST_ITEMS:
        raise BadReturnError(f"returned a {type(returned).__name__} of {len(items)} items")
    return tuple(plain(item) for item in items)


def plain(value: Any) -> Value:
    """One value as a number, a text or an array; BadReturnError for anything else."""
    # Exact types: a subclass could answer "equal" to every comparison.
    if type(value) is np.str_:  # a name chosen from an array of names
        value = str(value)
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        if value.numel() > MOST_VALUES:
            raise BadReturnError(f"returned {describe(value)}, far more than was asked for")
        tensor = value.detach().cpu()
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Value(tensor.float().numpy() if dtype == "bfloat16" else tensor.numpy(), dtype)
    if type(value) is np.ndarray or isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise BadReturnError(f"returned an array of dtype {array.dtype}; numbers are needed")
        if array.size > MOST_VALUES:
            raise BadReturnError(f"returned an array of shape {array.shape}, far more than was asked for")
        return Value(array, str(array.dtype))
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise BadReturnError("returned a whole number of more than 64 bits")
    if type(value) in (int, float, bool, str):
        return Value(value, type(value).__name__)
    if type(value) in (list, tuple):
        rows = _rows(value)
        if rows is not None:
            return Value(rows, str(rows.dtype))
    remedy = " (torch.tensor and torch.stack make a tensor of a list)" if type(value) in (list, tuple) else ""
    raise BadReturnError(
        f"returned {describe(value)}; a tensor, an array, a number or text is needed{remedy}"
    )


def _rows(value: Any) -> np.ndarray | None:
    """Numbers in a list, or in lists of one length, as an array; None where there is anything else."""

    def opened(item: Any, depth: int) -> Any:
        if type(item) in (list, tuple):
            if depth > 8 or len(item) > 2**16:
                raise ValueError
            return [opened(inner, depth + 1) for inner in item]
        if type(item) is torch.Tensor or isinstance(item, np.generic):
            if item.ndim:
                raise ValueError
            item = item.item()
        if type(item) not in _NUMBERS:
            raise ValueError
        return item

    try:
        array = np.array(opened(value, 0))
    except (ValueError, OverflowError):  # ragged, no numbers, or whole numbers beyond 64 bits
        return None
    if array.size == 0 and array.ndim == 1:
        array = array.astype(np.int64)  # an empty list says nothing about its kind; numpy would say float
    return array if array.dtype.kind in "fib" else None


def describe(value: Any) -> str:
    """A returned thing in words, for a message.

    Examples
    --------
    >>> describe({1}), describe(3)
    ('a set', 'an int')
    """
    if value is None:
        return "None (is a `return` missing?)"
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, torch.Tensor):
        return f"{an(type(value).__name__)}, a kind of tensor of its own"
    return an(type(value).__name__)


def an(word: str) -> str:
    """A word with its article.

    Examples
    --------
    >>> an("int"), an("list")
    ('an int', 'a list')
    """
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
