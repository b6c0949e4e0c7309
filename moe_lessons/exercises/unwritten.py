"""One answer, one grade: memory that an answer leaves unwritten reads the same every time.

Fresh memory holds whatever was there before, often the very values that were left there a moment ago: an
answer that forgets to write would be right on one day and wrong on the next. Here it reads as NaN, or as the
largest whole number, and so is wrong every day. Random numbers are drawn from one seed, for the same reason.
"""

import contextlib
import functools
import linecache
import random
import re
import types
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
import torch


@contextlib.contextmanager
def steady(answer: Any = None) -> Iterator[None]:
    """Within it, fresh memory is filled and random numbers are those of one seed.

    Parameters
    ----------
    answer : callable, optional
        The function that is about to run. What its cell imported by name, as in ``from numpy import empty``,
        is replaced there too.

    Examples
    --------
    >>> with steady():
    ...     torch.empty(2), np.empty(2, dtype=np.int16), random.random()
    (tensor([nan, nan]), array([32767, 32767], dtype=int16), 0.8444218515250481)
    """
    states = random.getstate(), np.random.get_state()
    mode = torch.get_deterministic_debug_mode()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        with contextlib.ExitStack() as stack:
            # Algorithms that are not deterministic only warn, and no learner asked for that.
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message=".*deterministic.*")
            # As torch.use_deterministic_algorithms(True, warn_only=True), which would load the compiler too.
            torch.set_deterministic_debug_mode("warn")
            torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
            function = _function(answer)
            names = {} if function is None else function.__globals__
            replaced = dict(_REPLACED)
            if any(map(_MAKES_AN_ARRAY.search, _texts(function))):
                replaced[np, "ndarray"] = _Array
            for (module, name), made in replaced.items():
                stack.enter_context(_by_name(names, getattr(module, name), made))
                stack.enter_context(mock.patch.object(module, name, made))
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
        random.setstate(states[0])
        np.random.set_state(states[1])


def _filled(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    @wraps(make)
    def filled(*args: Any, **options: Any) -> np.ndarray:
        return _fill(make(*args, **options))

    return filled


def _fill(made: np.ndarray) -> np.ndarray:
    kind = made.dtype.kind
    if kind in "fc":
        made.fill(np.nan)
    elif kind in "iu":
        made.fill(np.iinfo(made.dtype).max)
    elif kind == "b":
        made.fill(True)
    return made


class _Kind(type):
    """What makes ``_Array`` pass for ``np.ndarray`` itself wherever a type is asked for."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if cls is not _Array:
            return super().__call__(*args, **options)
        made = _ndarray(*args, **options)
        # The third argument is memory that is there already.
        return made if len(args) > 2 or options.get("buffer") is not None else _fill(made)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _ndarray) if cls is _Array else super().__instancecheck__(instance)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _ndarray) if cls is _Array else super().__subclasscheck__(kind)


_ndarray = np.ndarray


class _Array(np.ndarray, metaclass=_Kind):
    """``np.ndarray`` for an answer that calls it to make an array, which is left unwritten."""


_new_rng = np.random.default_rng


@wraps(_new_rng)
def _default_rng(seed: Any = None) -> np.random.Generator:
    return _new_rng(0 if seed is None else seed)


_REPLACED: dict[tuple[types.ModuleType, str], Any] = {
    (np, "empty"): _filled(np.empty),
    (np, "empty_like"): _filled(np.empty_like),
    (np.random, "default_rng"): _default_rng,
}
_MAKES_AN_ARRAY = re.compile(r"\bndarray\s*\(")


def _function(answer: Any) -> types.FunctionType | None:
    """The function that a call of an answer runs: its own, a partial's, a wrapper's, its class's."""
    for _ in range(20):
        with contextlib.suppress(Exception):  # an answer may be any object at all
            if isinstance(answer, types.FunctionType) and not hasattr(answer, "__wrapped__"):
                return answer
            if isinstance(answer, functools.partial):
                answer = answer.func
            elif hasattr(answer, "__wrapped__"):
                answer = answer.__wrapped__
            else:
                answer = type(answer).__call__
    return None


def _texts(function: types.FunctionType | None) -> Iterator[str]:
    """The cells that a function, and those beside it, were written in."""
    if function is None:
        return
    beside = [value for value in list(function.__globals__.values()) if type(value) is types.FunctionType]
    for file in {one.__code__.co_filename for one in (function, *beside)}:
        if file.startswith("<") or "ipykernel" in file:  # a cell's; a library is none of ours
            yield "".join(linecache.getlines(file))


@contextlib.contextmanager
def _by_name(names: dict[str, Any], original: Any, made: Any) -> Iterator[None]:
    """Replace a thing under whatever names it has there."""
    ours = [name for name, value in list(names.items()) if value is original]
    names.update(dict.fromkeys(ours, made))
    try:
        yield
    finally:
        names.update({name: original for name in ours if names.get(name) is made})
