"""``measured``: the number, its limit, what follows; and what nbval compares of it."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbval.plugin import get_sanitize_patterns

from moe_lessons.build import paths
from moe_lessons.course import measured

CONFIGURED = paths.ROOT / "tests" / "lessons" / "measured.cfg"
PATTERNS = get_sanitize_patterns(CONFIGURED.read_text())


def compared(line):
    for regex, replacement in PATTERNS:
        line = re.sub(regex, replacement, line)
    return line


@pytest.mark.parametrize(
    ("value", "more", "line"),
    [
        (0.0, {"below": 1e-6}, "x: 0 (below 1e-06)"),
        (3, {"of": 16, "at_most": 3}, "x: 3 of 16 (at most 3)"),
        (12800, {"above": 1000}, "x: 12,800 (above 1,000)"),
        (10506.3, {"above": 100.0}, "x: 10,506 (above 100)"),
        (0.2999, {"below": 0.3}, "x: 0.2999 (below 0.3)"),  # two digits would be no longer below
        (0.3001, {"below": 0.3, "otherwise": "no"}, "x: 0.3 (not below 0.3): no"),
        (0.3, {"below": 0.3}, "x: 0.3 (NOT below 0.3)"),
        (math.nan, {"below": 0.3}, "x: nan (NOT below 0.3)"),
        ([0.1, math.nan], {"below": 0.3}, "x: nan (NOT both below 0.3)"),
        (-0.363, {"above": -1, "below": 0, "then": "against"}, "x: -0.36 (above -1 and below 0): against"),
        (0.125, {"at_least": 0.1, "unit": "%"}, "x: 12 % (at least 10 %)"),
        (2.4, {"above": 2, "unit": "effective experts"}, "x: 2.4 effective experts (above 2)"),
        ([1, 2, 7], {"at_most": 7}, "x: 1 to 7 (all 3 at most 7)"),
        (torch.full((4, 4), 0.5), {"below": 1}, "x: 0.5 (all 16 below 1)"),
        (np.array([0.25, 4.0]), {"below": 1, "otherwise": "no"}, "x: 0.25 to 4 (not both below 1): no"),
        ({"a": torch.tensor(1.5), "b": 2}.values(), {"below": 3}, "x: 1.5 to 2 (both below 3)"),
    ],
)
def test_the_line(value, more, line, capsys):
    measured("x", value, **more)
    assert capsys.readouterr().out == line + "\n"
    hidden = "(measured)" in compared(line)
    assert hidden == ("nan" not in line)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(-10, 10, width=16))
def test_what_is_printed_stands_on_the_side_that_the_verdict_says(value, limit):
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("moe_lessons.course.shown.say", said.append)
        measured("x", value, below=limit, otherwise="no")
    number = float(said[0].split()[1].replace(",", ""))
    assert ("not" in said[0]) == (not value < limit)
    assert (number < limit) == (value < limit)
    assert compared(said[0]).startswith("x: (measured) (")


def test_another_number_is_the_same_and_another_limit_verdict_or_conclusion_is_not(capsys):
    def line(value, **more):
        measured("gap", value, **more)
        return compared(capsys.readouterr().out)

    kept = line(3e-7, below=1e-5, then="the same")
    assert line(4.1e-8, below=1e-5, then="the same") == kept
    assert line([1e-7, 2e-7], below=1e-5, then="the same") != kept  # of how many is compared too
    assert line(3e-7, below=1e-4, then="the same") != kept
    assert line(3e-5, below=1e-5, then="the same") != kept
    assert line(3e-7, below=1e-5, then="alike") != kept
    assert line(14, of=16, at_least=11) != line(14, of=17, at_least=11)


@pytest.mark.parametrize("line", ["loss: 0.5391", "seed: 3 of 16 (lower)", "K = 1: 2 (below, see there)"])
def test_a_number_without_a_limit_is_compared(line):
    assert compared(line) == line


@pytest.mark.parametrize(("value", "more"), [(1.0, {}), ([], {"below": 1})])
def test_nothing_to_hold_against_is_said(value, more, capsys):
    measured("x", value, **more)
    assert "measured could not finish (ValueError: 'x' has no" in capsys.readouterr().out


def test_nbval_compares_so_whoever_starts_it(pytestconfig):
    assert pytestconfig.getoption("nbval_sanitize_with") == str(CONFIGURED)
