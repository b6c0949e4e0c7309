"""One answer, one grade: memory that an answer leaves unwritten reads the same every time.

Fresh memory holds whatever was there before, often the very values that were left there a moment ago: an
answer that forgets to write would be right on one day and wrong on the next. Here it reads as NaN, or as the
largest whole number, and so is wrong every day. Random numbers are drawn from one seed, for the same reason.
"""

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
import torch


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Within it, fresh memory is filled and random numbers are those of one seed.

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
            for name, made in _NUMPY.items():
                stack.enter_context(mock.patch.object(np, name, made))
            stack.enter_context(mock.patch.object(np.random, "default_rng", _default_rng))
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
        made = make(*args, **options)
        kind = made.dtype.kind
        if kind in "fc":
            made.fill(np.nan)
        elif kind in "iu":
            made.fill(np.iinfo(made.dtype).max)
        elif kind == "b":
            made.fill(True)
        return made

    return filled


_NUMPY = {"empty": _filled(np.empty), "empty_like": _filled(np.empty_like)}
_new_rng = np.random.default_rng


@wraps(_new_rng)
def _default_rng(seed: Any = None) -> np.random.Generator:
    return _new_rng(0 if seed is None else seed)
