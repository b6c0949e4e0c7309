"""Designs that are not what they say: other types, designs that change, and numbers written over."""

import math
from collections import UserString
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from moe_lessons.budget import KINDS, Design, assess, refusals, score, search, trained, usual

LAB = KINDS["small lab"]
GOOD = trained(usual(2048, 128, 8, 512), LAB)
HUGE = replace(GOOD, d_model=8192, n_layers=64, n_heads=64, d_expert=2048)


class Obliging(int):
    """A number that lies between whatever it is compared with."""

    def __le__(self, other):
        return True

    def __ge__(self, other):
        return True

    def __lt__(self, other):
        return False

    def __gt__(self, other):
        return False


class AnyLayout(str):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return hash("one")


class Explodes:
    def __repr__(self):
        raise RuntimeError("no")


NOT_NUMBERS = {
    "an int that compares as it likes": Obliging(10**6),
    "a numpy integer": np.int64(8),
    "a numpy float": np.float64(8),
    "a numpy bool": np.True_,
    "a numpy array of one": np.array(8),
    "a numpy array of two": np.array([8, 8]),
    "a torch scalar": torch.tensor(8),
    "a torch vector": torch.tensor([8, 8]),
    "a torch float": torch.tensor(8.0),
    "a float": 8.0,
    "a fraction of a float": 8.5,
    "a Fraction": Fraction(17, 2),
    "a Decimal": Decimal(8),
    "a complex number": 8 + 0j,
    "True": True,
    "False": False,
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "zero": 0,
    "minus one": -1,
    "beyond 64 bits": 2**64,
    "beyond a float": 10**400,
    "beyond what Python writes": 10**5000,
    "a string": "8",
    "a long string": "8" * 10_000,
    "bytes": b"8",
    "None": None,
    "a list": [8],
    "a string with lines": "8\n8",
    "what cannot be shown": Explodes(),
}


@pytest.mark.parametrize("field", ["d_model", "n_layers", "n_experts", "top_k", "d_expert", "bits"])
@pytest.mark.parametrize("name", NOT_NUMBERS)
def test_no_choice_may_be_anything_but_a_number_in_its_range(name, field):
    design = trained(replace(GOOD, **{field: NOT_NUMBERS[name]}), LAB)
    verdict = assess(design, LAB)
    assert verdict.refused
    assert all(len(line) < 200 and "\n" not in line for line in verdict.refused)
    assert any(line.startswith(f"{field} is ") for line in verdict.refused)
    assert score(design, LAB).points == 0


@pytest.mark.parametrize("name", [n for n in NOT_NUMBERS if n not in ("a float", "a fraction of a float")])
def test_nor_may_the_tokens(name):
    design = replace(GOOD, tokens=NOT_NUMBERS[name])
    assert score(design, LAB).points == 0
    assert refusals(design, LAB)


@pytest.mark.parametrize("layout", [AnyLayout("everywhere"), UserString("one"), None, 0, "", "One", ["one"]])
def test_a_layout_is_one_of_three_words(layout):
    (said,) = refusals(replace(GOOD, layout=layout), LAB)
    assert "choose one of one, experts, all" in said


@pytest.mark.parametrize(
    "choices",
    [(0, 0, 0, 0), (2048, 0, 0, 512), ("2048", 64, 8, 512), (None, 64, 8, 512), (2048, 64, "8", 512)],
)
def test_what_cannot_be_counted_is_refused_and_ends_in_no_error(choices):
    design = trained(usual(*choices), LAB)
    assert score(design, LAB).points == 0


@dataclass(frozen=True)
class Free(Design):
    """Says that it passes nearly nothing."""

    active = 1_000_000
    rest = 1_000_000
    expert = 1


@dataclass(frozen=True)
class Worthless(Design):
    """Holds nothing, and caches nothing."""

    total = 0
    cache_bytes_per_token = 0


class Turncoat(Design):
    """Small whenever it is counted, after it was large once: the first that is read is kept."""

    reads = 0

    def __getattribute__(self, name):
        if name in ("d_model", "d_expert", "n_experts"):
            type(self).reads += 1
            large = type(self).reads > 3  # all three are read by then, in range
            return getattr(HUGE if large else GOOD, name)
        return super().__getattribute__(name)


def fields(design):
    return (
        design.d_model,
        design.n_layers,
        design.n_heads,
        design.n_experts,
        design.top_k,
        design.d_expert,
        design.n_shared,
        design.bits,
        design.layout,
        design.tokens,
    )


@pytest.mark.parametrize("kind", [Free, Worthless])
def test_a_subclass_is_judged_by_its_choices_alone(kind):
    claimed = kind(*fields(HUGE))
    assert assess(claimed, LAB) == assess(HUGE, LAB)
    assert score(claimed, LAB) == score(HUGE, LAB)
    assert score(claimed, LAB).points < 3


def test_a_design_that_changes_is_judged_as_it_was_first_read():
    Turncoat.reads = 0
    changing = Turncoat(*fields(GOOD))
    assert score(changing, LAB) == score(GOOD, LAB)
    assert Turncoat.reads == 3


@pytest.mark.parametrize("name", ["active", "rest"])
def test_what_was_counted_cannot_be_written_over(name):
    forged = replace(HUGE)
    object.__setattr__(forged, name, 1_000_000)
    assert getattr(forged, name) == 1_000_000  # the attack is one
    assert assess(forged, LAB) == assess(HUGE, LAB)
    assert score(forged, LAB) == score(HUGE, LAB)


@pytest.mark.parametrize("given", [None, (2048, 64, 4, 512), {"d_model": 2048}, GOOD.as_model(), "a design"])
def test_what_is_no_design_is_refused_in_a_line(given):
    for judge in (assess, score, refusals):
        with pytest.raises(TypeError, match="give a Design, such as usual"):
            judge(given, LAB)


def test_the_largest_numbers_that_are_counted_are_refused_and_do_not_overflow():
    most = Design(*(2**31,) * 8, "one", 1e30)
    assert score(most, LAB).points == 0
    assert search(LAB).loss < 3  # and nothing of all this has moved the mark
