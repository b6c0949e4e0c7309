"""Numbers in sentences, as people write them: 10,240 and 0.0000977 and 16 billion, not 1.024e+04."""

import math

UNITS = (("trillion", 1e12), ("billion", 1e9), ("million", 1e6))
LARGEST_IN_WORDS, SMALLEST_IN_FULL = 1e15, 1e-6


def written(value: float, digits: int = 4) -> str:
    """Write a number for a sentence: thousands apart, millions in words, and powers of ten beyond those.

    Parameters
    ----------
    value : int or float
    digits : int
        Kept of what is no whole number below a million.

    Examples
    --------
    >>> written(10240), written(9.766e-05), written(0.5), written(512.0)
    ('10,240', '0.00009766', '0.5', '512')
    >>> written(1.6e10), written(3.0671e11), written(5.1e21), written(10**400)
    ('16 billion', '306.7 billion', '5.1e21', 'about 1e400')
    """
    if isinstance(value, int) and abs(value) >= 10**300:  # beyond what a float can hold
        return f"about {'-' * (value < 0)}1e{math.floor(value.bit_length() * math.log10(2))}"
    size = abs(value)
    if not math.isfinite(size) or size == 0:
        return f"{value:g}"
    rounded = float(f"{size:.{digits}g}")
    if rounded >= LARGEST_IN_WORDS or rounded < SMALLEST_IN_FULL:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(power)}"
    for unit, one in UNITS:
        if rounded >= one:
            return f"{_significant(value / one, digits)} {unit}"
    whole = float(value).is_integer() or rounded >= 1000
    return f"{value:,.0f}" if whole else _significant(value, digits)


def _significant(value: float, digits: int) -> str:
    """So many digits, without a power of ten."""
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return _trimmed(f"{rounded:.{decimals}f}")


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
