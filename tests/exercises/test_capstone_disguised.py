"""Answers to 17.design in other types than the task names: right ones pass, and no other does."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from moe_lessons.exercises.capstone.design import DESIGN
from moe_lessons.exercises.judge import judge, local

SAME = {
    "numpy integers": lambda s: (*map(np.int64, s[:5]), s[5]),
    "numpy floats that are whole": lambda s: (*map(np.float64, s[:5]), s[5]),
    "whole floats": lambda s: (*map(float, s[:5]), s[5]),
    "torch scalars": lambda s: (*map(torch.tensor, s[:5]), s[5]),
    "a list": list,
}


@pytest.mark.parametrize("name", SAME)
def test_a_right_design_passes_in_any_type_of_number(name):
    assert judge(DESIGN, local(lambda *b: SAME[name](DESIGN.reference(*b))), seed=1).status == "passed"


class Turncoat(int):
    """One experts' number for whoever looks first, another for whoever counts."""

    looks = 0

    def __int__(self):
        Turncoat.looks += 1
        return 64 if Turncoat.looks % 2 else 512

    __index__ = __int__


class Twice(tuple):
    """Another design each time that it is unpacked."""

    times = 0

    def __iter__(self):
        Twice.times += 1
        return iter((2048, 64, 8, 512, 8, "one") if Twice.times % 2 else (8192, 512, 1, 512, 4, "one"))


def at(place, value):
    """The reference's design with one entry put in the place of another."""

    def answer(*budget):
        shape = list(DESIGN.reference(*budget))
        shape[place] = value(shape[place]) if callable(value) else value
        return tuple(shape)

    return answer


D, E, K, F, BITS, LAYOUT = range(6)
DISGUISED = {
    "a width and a half": at(D, lambda d: d + 0.5),
    "a fraction of an expert": at(E, lambda e: e + 0.25),
    "a fraction of a choice": at(K, lambda k: k - 0.001),
    "a Fraction": at(F, lambda f: Fraction(2 * f + 1, 2)),
    "a Decimal": at(F, lambda f: Decimal(f) / 3),
    "width as text": at(D, str),
    "zero experts": at(E, 0),
    "minus the experts": at(E, lambda e: -e),
    "nothing chosen": at(K, 0),
    "more chosen than there are": at(K, lambda k: 1024),
    "K is E and one": lambda *b: (2048, 8, 9, 512, 8, "one"),
    "no hidden width": at(F, 0),
    "infinitely wide": at(F, float("inf")),
    "nan experts": at(E, float("nan")),
    "nan bits": at(BITS, float("nan")),
    "no bits": at(BITS, 0),
    "two bits": at(BITS, 2),
    "seven and a half bits": at(BITS, 7.5),
    "True bits": at(BITS, True),
    "True experts": at(E, True),
    "layout as a number": at(LAYOUT, 1),
    "layout in capitals": at(LAYOUT, "ONE"),
    "layout with a space": at(LAYOUT, "one "),
    "no layout": at(LAYOUT, None),
    "a complex width": at(D, lambda d: complex(d, 1)),
    "a vector of widths": at(D, lambda d: torch.tensor([d, d])),
    "an empty tensor": at(D, torch.tensor([])),
    "beyond 64 bits": at(F, 10**30),
    "beyond a float": at(F, 10**400),
    "the smallest float": at(K, 5e-324),
    "a set": lambda *b: set(DESIGN.reference(*b)),
    "a generator": lambda *b: (n for n in DESIGN.reference(*b)[:5]),
    "a dictionary": lambda *b: dict.fromkeys(range(6), 8),
    "five entries": lambda *b: DESIGN.reference(*b)[:5],
    "seven entries": lambda *b: (*DESIGN.reference(*b), 0),
    "a number that changes": at(E, lambda e: Turncoat(64)),
    "a tuple that changes": lambda *b: Twice((1, 1, 1, 1, 1, "one")),
}


@pytest.mark.parametrize("name", DISGUISED)
def test_a_design_in_disguise_does_not_pass(name):
    report = judge(DESIGN, local(DISGUISED[name]), seed=1)
    assert report.status == "failed"
    assert any(finding.passed is False for finding in report.findings)
