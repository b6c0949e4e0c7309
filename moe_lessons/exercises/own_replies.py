"""What the package's own functions reply, each run once for the same request.

References and misconceptions are asked the same for every answer to an exercise: a class of a hundred asks a
hundred times, and a learner at every check.
"""

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

from moe_lessons.exercises import drivers

_MOST = 8192
"""Replies kept: more than all exercises have on one seed. They are small, as what is drawn is."""

_kept: dict[tuple[Callable[..., Any], bytes], drivers.Reply] = {}


def asked(request: drivers.Request) -> bytes | None:
    """Return what a request is known by, for who puts one to many functions; None if there is nothing.

    Examples
    --------
    >>> two, three = (drivers.Request("call", {"x": x}, {}, {}) for x in (2.0, 3.0))
    >>> asked(two) == asked(three)
    False
    """
    try:
        # A request holds a case's arrays; its sum is a hundredth as long.
        return hashlib.blake2b(pickle.dumps(request), digest_size=16).digest()
    except Exception:  # options of a driver may hold a function that has no name
        return None


def own_reply(
    function: Callable[..., Any], request: drivers.Request, known: bytes | None = None
) -> drivers.Reply:
    """Run a function of the package, which replies the same to the same; its arrays are read-only.

    ``known`` is what ``asked`` says of the request, from a caller who has asked already.

    Examples
    --------
    >>> request = drivers.Request("call", {"x": 2.0}, {}, {})
    >>> double = lambda x: 2 * x
    >>> own_reply(double, request) is own_reply(double, request)
    True
    """
    known = known or asked(request)
    if known is None:
        return drivers.run(function, request)
    reply = _kept.get((function, known))
    if reply is None:
        reply = drivers.run(function, request)
        if isinstance(reply, drivers.Failure):
            if reply.kind == "interrupted":
                return reply
        else:
            for value in reply:
                if hasattr(value.data, "setflags"):
                    value.data.setflags(write=False)
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[function, known] = reply
    return reply
