"""``measured``: a number, the limit that it was held against, and what follows: on one line."""

import math
from collections.abc import Iterable
from typing import Any

from moe_lessons.course.show import never_raises, say

_LIMITS = {
    "above": lambda number, limit: number > limit,
    "below": lambda number, limit: number < limit,
    "at least": lambda number, limit: number >= limit,
    "at most": lambda number, limit: number <= limit,
}


@never_raises
def measured(
    what: str,
    value: Any,
    *,
    below: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    of: int | None = None,
    unit: str = "",
    then: str = "",
    otherwise: str = "",
) -> None:
    """Print what was measured, the limit, and the conclusion if the limit holds.

    The number has two digits, more only where two would contradict the verdict. When the solutions are
    compared with their stored output, limit and conclusion must be the same and the number need not
    (``tests/lessons/measured.cfg``): its last digit is the machine's. What is the same on every machine,
    such as a count without chance in it, is better printed as it is.

    Parameters
    ----------
    what : str
        What the number is, such as ``"largest difference"``.
    value : float, int, tensor or iterable of these
        Of several numbers the smallest and the largest are shown, and the limit is for all.
    below, above, at_most, at_least : float, optional
        The limits; at least one.
    of : int, optional
        For a count: out of how many.
    unit : str
        Stands after the number. With ``"%"`` value and limits are shares: 0.12 is printed as ``12 %``.
    then, otherwise : str
        The conclusion where the limits hold, and where they do not. Without `otherwise` a limit that does not
        hold stands in capitals: it was meant to.

    Raises
    ------
    ValueError
        If there is no limit or no number. In a notebook that is said in one line.

    Examples
    --------
    >>> measured("largest difference", 3.57e-7, at_most=1e-5, then="the same")
    largest difference: 3.6e-07 (at most 1e-05): the same
    >>> measured("entropy of each seed", torch.tensor([0.052, 0.2136]), below=0.3, unit="bits")
    entropy of each seed: 0.052 to 0.21 bits (both below 0.3)
    >>> measured("lower in", 14, of=16, at_least=11)
    lower in: 14 of 16 (at least 11)
    >>> measured("moved by", 0.004, above=0.01, unit="%", then="it learns", otherwise="it stands still")
    moved by: 0.4 % (not above 1 %): it stands still
    """
    given = zip(_LIMITS, (above, below, at_least, at_most), strict=True)
    limits = {name: limit for name, limit in given if limit is not None}
    numbers = list(_flat(value))
    if not limits:
        raise ValueError(f"{what!r} has no limit; give at least one")
    if not numbers:
        raise ValueError(f"{what!r} has no number: was a cell above stopped, or not run to its end?")
    holds = _all_hold(numbers, limits)
    ends = sorted({min(numbers), max(numbers)}) if not any(map(math.isnan, numbers)) else [math.nan]
    factor = 100 if unit == "%" else 1
    shown = " to ".join(dict.fromkeys(_rounded(end, limits, factor) for end in ends))
    shown += (f" of {of}" if of is not None else "") + (f" {unit}" if unit else "")
    percent = " %" if factor == 100 else ""
    held = " and ".join(f"{name} {_limit(factor * limit)}{percent}" for name, limit in limits.items())
    many = {1: "", 2: "both "}.get(len(numbers), f"all {len(numbers)} ")
    verdict = "" if holds else "not " if otherwise else "NOT "
    conclusion = then if holds else otherwise
    say(f"{what}: {shown} ({verdict}{many}{held})" + (f": {conclusion}" if conclusion else ""))


def _flat(value: Any) -> Iterable[float]:
    if hasattr(value, "detach"):
        value = value.detach().flatten().tolist()
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, Iterable):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _all_hold(numbers: Iterable[float], limits: dict[str, float]) -> bool:
    return all(_LIMITS[name](number, limit) for number in numbers for name, limit in limits.items())


def _rounded(number: float, limits: dict[str, float], factor: int) -> str:
    """Two digits, or as many as it takes to stand on the same side of every limit."""
    if isinstance(number, int) and factor == 1:
        return f"{number:,}"
    if not math.isfinite(number):
        return f"{number}"
    for digits in range(2, 17):
        text = _text(factor * number, digits)
        read = float(text.replace(",", "")) / factor
        if all(
            _all_hold([read], {n: limit}) == _all_hold([number], {n: limit}) for n, limit in limits.items()
        ):
            break
    return text


def _limit(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _text(number: float, digits: int) -> str:
    if number and not 1e-3 <= abs(number) < 1e6:
        return f"{number:.{digits - 1}e}".replace(".0e", "e")
    if number == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
