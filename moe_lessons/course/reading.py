"""Read a number as people write it: ``3/4``, ``75 %``, ``0,75``, ``1,000,000``, ``46.7 × 10^9``."""

import math
import re
from typing import Any

_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2009": " ", "\u202f": " ", "\u00a0": " ", "’": "'"})
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# The same mark between all groups; a number does not begin with 0 then, so that 0,250 is a quarter.
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?P<mark>[ ,'_])[0-9]{3}(?:(?P=mark)[0-9]{3})*(?:\.[0-9]*)?")
_DOTTED = re.compile(
    r"[+-]?[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+,[0-9]+|(?:\.[0-9]{3}){2,}|(?: [0-9]{3})+,[0-9]+)"
)
_POWER = re.compile(
    r"(?:(?P<times>.+?)\s*[x×*·⋅]\s*)?(?P<base>[0-9.,]+)\s*(?:\^|\*\*)\s*(?P<to>[+-]?[0-9]{1,3})"
)
_UNIT = re.compile(r"(?P<number>[+-]?[0-9][0-9.,'_ /]*(?:[eE][+-]?[0-9]+)?)\s*[A-Za-zµ€$°].*", re.DOTALL)


def read_number(answer: Any) -> float:
    """The number that an answer means.

    A comma between groups of three digits is a thousands mark (``1,250`` is 1250); any other comma is a
    decimal one, and so is the comma of ``0,250``. A percentage is a share: ``75 %`` is 0.75.

    Parameters
    ----------
    answer : str or number
        Text, or anything with a value, such as a tensor of one element.

    Raises
    ------
    ValueError
        One sentence that says what cannot be read and what to write.

    Examples
    --------
    >>> [read_number(text) for text in ("3/4", "75%", "75 %", "0,75", ".75", "3 / 4")]
    [0.75, 0.75, 0.75, 0.75, 0.75, 0.75]
    >>> [read_number(text) for text in ("1,250", "1 250", "1.234,5", "1'000'000", "2.5 × 10^9", "2³")]
    [1250.0, 1250.0, 1234.5, 1000000.0, 2500000000.0, 8.0]
    >>> read_number("24.8 GB")
    Traceback (most recent call last):
    ValueError: '24.8 GB' has a unit; write the number alone: 24.8.
    """
    try:
        value = _read(answer) if isinstance(answer, str) else float(answer)
    except OverflowError:
        raise ValueError(f"{_short(answer)} is too large a number.") from None
    except (TypeError, ValueError, RuntimeError):
        value = None
    if value is None:
        unit = _UNIT.fullmatch(_tidy(answer)) if isinstance(answer, str) else None
        alone = unit["number"].strip() if unit else ""
        if alone and _read(alone) is not None:
            raise ValueError(f"{answer.strip()!r} has a unit; write the number alone: {alone}.")
        raise ValueError(f"{_short(answer)} is not a number; write for example 0.25, 1/4, 25 % or 1e9.")
    if not math.isfinite(value):
        raise ValueError(f"{_short(answer)} is not a finite number.")
    return value


def _short(answer: Any) -> str:
    shown = repr(answer) if not isinstance(answer, int) or abs(answer) < 1e20 else "This"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _tidy(text: str) -> str:
    text = text.translate(_SIGNS).strip()
    return re.sub(r"(?<=[0-9])([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda found: "^" + found[1].translate(_RAISED), text)


def _read(text: str) -> float | None:
    """The value of a text, or None."""
    text = _tidy(text)
    share = re.fullmatch(r"(.*[^\s%])\s*(?:%|percent|per cent)", text, re.DOTALL)
    if share:
        value = _read(share[1])
        return None if value is None else value / 100
    if text.count("/") == 1:
        above, below = map(_read, text.split("/"))
        return above / below if above is not None and below else None
    power = _POWER.fullmatch(text)
    if power:
        times = 1.0 if power["times"] is None else _read(power["times"])
        base = _read(power["base"])
        if times is None or base is None or (base == 0 and int(power["to"]) < 0):
            return None
        return times * base ** int(power["to"])
    if _GROUPED.fullmatch(text):
        text = re.sub("[ ,'_]", "", text)
    elif _DOTTED.fullmatch(text):
        text = re.sub("[ .]", "", text).replace(",", ".")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text) if _PLAIN.fullmatch(text) else None
