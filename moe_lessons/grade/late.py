"""What an answer will have to import that takes long, told from its text.

It is not parsed here, where the grader is: it may be anything, and is looked at for a bounded time.
A wrong guess costs no grade. An answer imports for itself what was not expected, and what was imported for
nothing is memory that every later answer's process shares.
"""

import itertools
import re
from collections.abc import Iterator

_GRAD = re.compile(r"\bgrad\(")
_BACKWARD = re.compile(r"\.backward\(\s*[^\s)]")
_FAR, _MOST = 500, 100
"""Characters of a call, and calls, that are looked at."""


def needed(code: str) -> Iterator[str]:
    """The names in ``warm.LATE`` that an answer's text asks for.

    Examples
    --------
    >>> list(needed("from scipy.stats import binom")), list(needed("y.backward(upstream)"))
    (['scipy'], ['grad'])
    >>> list(needed("(g,) = torch.autograd.grad(y.sum(), x)"))
    []
    """
    if re.search(r"\bscipy\b", code):
        yield "scipy"
    if gradient_given(code):
        yield "grad"


def gradient_given(code: str) -> bool:
    """Whether a gradient is handed to ``backward`` or ``autograd.grad``: PyTorch compares its shape by SymPy.

    Without one it does not, and SymPy is some 35 MB in each warm parent.
    """
    if "grad_outputs" in code or _BACKWARD.search(code):
        return True
    return any(_third(code, call.end()) for call in itertools.islice(_GRAD.finditer(code), _MOST))


def _third(code: str, start: int) -> bool:
    """Whether a call, whose arguments begin at ``start``, has a third one without a name."""
    depth = commas = 0
    for place in range(start, min(len(code), start + _FAR)):
        sign = code[place]
        if sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            commas += 1
        elif commas == 2 and depth == 0 and not sign.isspace():
            return not re.match(r"\w+\s*=", code[place : place + 40])
        if depth < 0:
            return False
    return False
