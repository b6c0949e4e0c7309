"""A witness for kernels: a second worker launches again what the first has launched, and says what happened.

The worker that runs an answer can be talked into anything by it. So it is asked only which kernels the answer
launches, as text; another worker, which never held the answer, launches them in memory of its own.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from moe_lessons.exercises.drivers import Failure, Reply, Request

Call = Callable[[Request], Reply]


def witnessed(request: Request, answer: Call, witness: Call) -> Reply:
    """Ask the answer what it launches and return what a witness makes of it; other drivers ask the answer.

    Parameters
    ----------
    request : Request
    answer, witness : callable
        Each takes a request to its worker; only the first worker holds an answer.

    Examples
    --------
    >>> plain = Request("call", {}, {}, {})
    >>> witnessed(plain, lambda request: request.driver, lambda request: "not asked")
    'call'
    """
    if request.driver != "kernel":
        return answer(request)
    noted = answer(replace(request, options={**request.options, "record": True}))
    if isinstance(noted, Failure):
        return noted
    text, *own = (value.data for value in noted)
    if not isinstance(text, str) or not all(isinstance(array, np.ndarray) for array in own):
        return Failure("bad return", "returned something that is no launch of a kernel")
    tensors = {f"own tensor {number}": array for number, array in enumerate(own)}
    again = {**request.options, "launched": text}
    return witness(replace(request, args={**request.args, **tensors}, options=again))
