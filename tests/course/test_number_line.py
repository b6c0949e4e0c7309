"""A number and the answer on one line: in order, inside, and with a scale that is named."""

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.course.number_line import EDGE, WIDTH, number_line

finite = st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(finite, finite)
def test_a_larger_number_never_stands_left_of_a_smaller_one(yours, truth):
    drawn = ET.fromstring(number_line(yours, truth))
    of_truth, of_yours = (float(c.get("cx")) for c in drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert min(of_truth, of_yours) >= EDGE - 0.1
    assert max(of_truth, of_yours) <= WIDTH - EDGE + 0.1
    assert (of_yours - of_truth) * (1 if yours >= truth else -1) >= 0
    said = " ".join(drawn.itertext())
    assert "you: " in said
    assert "the answer: " in said
    assert ("log scale" in said) == ("factor" in drawn.get("aria-label"))


def test_a_number_that_is_twenty_times_off_makes_the_line_logarithmic_and_it_says_so():
    assert "log scale" in number_line(8, 86016)
    assert "log scale" not in number_line(0.7, 0.75)
