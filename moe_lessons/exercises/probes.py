"""What an answer does beside returning values: whether it writes to its arguments and lets gradients through.

The driver "probe" calls the answer twice, on copies, and reports in plain arrays. Like all that runs beside
an answer it knows nothing about what is expected; ``habits`` compares its report with the reference's.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def probe(
    answer: Callable[..., Any],
    args: list[Any],
    options: Mapping[str, Any],
    call: Callable[[Callable[..., Any], list[Any]], Any],
) -> Any:
    """Which arguments are changed; if ``options["gradient"]``, which a gradient reaches, and the gradients.

    Returns
    -------
    tuple
        A bool array ``[number of arguments]`` of those that were written to; a second one of those that a
        gradient reached; then the gradient of each floating-point argument, zeros where none came.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # PyTorch warns of what only the gradient's presence makes doubtful
        return _probed(answer, args, options, call)


def _probed(
    answer: Callable[..., Any],
    args: list[Any],
    options: Mapping[str, Any],
    call: Callable[[Callable[..., Any], list[Any]], Any],
) -> Any:
    fresh = [_copy(arg) for arg in args]
    kept = [_copy(arg) for arg in args]
    call(answer, args)
    changed = np.array([_differs(a, b) for a, b in zip(args, kept, strict=True)], dtype=bool)
    if not options["gradient"]:
        return (changed,)
    places = [i for i, arg in enumerate(fresh) if isinstance(arg, Tensor) and arg.is_floating_point()]
    leaves = [fresh[i].requires_grad_() for i in places]
    try:
        gradients = _gradients(list(_tensors(call(answer, fresh))), leaves)
    except Exception:
        # What works on a plain tensor and fails on one with a gradient, such as .numpy(), passes none on.
        gradients = [None] * len(leaves)
    reached = np.zeros(len(args), dtype=bool)
    reached[[i for i, g in zip(places, gradients, strict=True) if g is not None]] = True
    filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
    return (changed, reached, *filled)


def _gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """Of a sum that any order of the outputs' elements leaves as it is, and in which they weigh unevenly."""
    carrying = [t for t in outputs if t.is_floating_point() and t.requires_grad]
    if not carrying or not leaves:
        return [None] * len(leaves)
    total = torch.stack([(t * t + 0.5 * t * t.abs()).sum().double() for t in carrying]).sum()
    return list(torch.autograd.grad(total, leaves, allow_unused=True))


def _tensors(returned: Any) -> Iterator[Tensor]:
    if isinstance(returned, Tensor):
        yield returned
    elif type(returned) in (tuple, list):
        for item in returned:
            yield from _tensors(item)


def _copy(arg: Any) -> Any:
    return arg.clone() if isinstance(arg, Tensor) else arg


def _differs(now: Any, before: Any) -> bool:
    if not isinstance(now, Tensor):
        return False
    if now.shape != before.shape or now.dtype != before.dtype:
        return True
    return not bool(((now == before) | ((now != now) & (before != before))).all())
