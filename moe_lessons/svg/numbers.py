"""How numbers are written in pictures: ``18 %``, ``12,288``, ticks of 1, 10, 100 and 1k."""

import math
import re

_TIGHT = re.compile(r"(?<=\d)[\u202f\u00a0]?%")


def percent(share: float, digits: int = 0) -> str:
    """Write a share in percent, with a space before the sign.

    >>> percent(0.184), percent(0.184, 1), percent(1)
    ('18 %', '18.4 %', '100 %')
    """
    return f"{100 * share:.{digits}f} %"


def count(number: float) -> str:
    """Write a whole number, thousands apart.

    >>> count(196533), count(512)
    ('196,533', '512')
    """
    return f"{number:,.0f}"


def spaced(words: str) -> str:
    """Put the space before every percent sign that follows a digit.

    >>> spaced("64% of 100 %"), spaced("% of experts")
    ('64 % of 100 %', '% of experts')
    """
    return _TIGHT.sub(" %", words) if "%" in words else words


def tick_label(value: float) -> str:
    """Write a tick without a tail of zeros.

    >>> tick_label(0.25), tick_label(3000.0)
    ('0.25', '3,000')
    """
    return count(value) if float(value).is_integer() else f"{value:.6g}"


def log_label(value: float) -> str:
    """Write a tick of a logarithmic axis: thousands as k, millions as M, and small ones as they are.

    >>> [log_label(value) for value in (0.001, 0.5, 20, 1000, 50_000, 2e6, 1e9)]
    ['0.001', '0.5', '20', '1k', '50k', '2M', '1,000M']
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * (1 - 1e-9):
            return tick_label(float(f"{value / size:.6g}")) + unit
    if 0 < value < 1e-4:
        power = math.floor(math.log10(value) + 1e-9)
        raised = str(abs(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        digit = f"{value / 10.0**power:.3g}"
        return f"{'' if digit == '1' else digit + '·'}10⁻{raised}"
    return f"{value:.6g}"
