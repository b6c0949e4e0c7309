"""Numbers in sentences, and no sentence of ours with a number that only a machine writes."""

import math
import re

import pytest

from moe_lessons.accounting.written import UNITS, written

MACHINE = re.compile(r"e\+|\d{4}")
"""A signed exponent, or four figures without a comma."""
WORDS = {"": 1, **dict(UNITS)}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (8, "8"),
        (10_240, "10,240"),
        (1.024e4, "10,240"),
        (21_845.33, "21,845"),
        (999.96, "1,000"),
        (7.00061, "7.001"),
        (0.0078125, "0.007812"),
        (1e-5, "0.00001"),
        (2e-7, "2e-7"),
        (129e6, "129 million"),
        (999_999.9, "1 million"),
        (2**31, "2.147 billion"),
        (1e12, "1 trillion"),
        (1e18, "1e18"),
        (5.1e21, "5.1e21"),
        (-10_240, "-10,240"),
        (-2.5e9, "-2.5 billion"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (10**400, "about 1e400"),
        (-(10**4000), "about -1e4000"),
    ],
)
def test_numbers_are_written_as_people_write_them(value, said):
    assert written(value) == said


def test_every_magnitude_can_be_read_back_and_none_has_a_signed_exponent():
    for power in range(-20, 30):
        for digits in (1, 1.5, 2.048, 9.99996):
            said = written(digits * 10.0**power)
            number, _, unit = said.replace(",", "").partition(" ")
            assert "e+" not in said
            assert not MACHINE.search(said.split(".")[0]), said
            assert float(number) * WORDS[unit] == pytest.approx(digits * 10.0**power, rel=1e-3)
