"""From the text of an answer cell to the function in it.

An answer cell stands alone: it may use ``PRELUDE`` and what it imports itself, nothing from other cells.
That is what lets a grader take the answer cells out of a notebook and leave the rest.
"""

import linecache
from collections.abc import Callable
from typing import Any

PRELUDE = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
"""


def load(code: str, entry: str, *, name: str = "<answer>") -> Callable[..., Any] | None:
    """Run an answer cell in a namespace of its own and return the function that it defines.

    Parameters
    ----------
    code : str
        The cell's source.
    entry : str
        The name that the exercise asks for.
    name : str
        What error messages call the cell.

    Returns
    -------
    callable or None
        None if the cell defines no such name.

    Examples
    --------
    >>> load("def double(x):\\n    return 2 * x", "double")(4)
    8
    """
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "answer"}
    exec(PRELUDE, namespace)
    exec(compile(code, name, "exec"), namespace)
    return namespace.get(entry)
