"""The mistakes of 17.serve: what is said of each, and what `served` has to change to make it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from moe_lessons.exercises.capstone.serving import coverage

Way = Mapping[str, Any]
"""What `served` is given by name; "swapped" exchanges its two speeds."""


class Slip(NamedTuple):
    """A mistake, the hint that helps, and the ways in which it is made: outcomes, one each."""

    id: str
    hint: int
    message: str
    ways: tuple[Way, ...]


def _missed(e: int, k: int, b: float) -> float:
    """The chance that no token chooses a given expert."""
    return (1 - k / e) ** b


EXPERTS = (
    Slip(
        "active_in_memory",
        1,
        "Only the experts of one token, or of one step, are held. Which ones the next token needs is not "
        "known before: all of them must be there.",
        (
            {"held": lambda e, k, b: k},
            {"held": coverage},
            {"held": lambda e, k, b: k, "touched": lambda e, k, b: k},
            {"held": lambda e, k, b: min(e, k * b)},
            {"held": coverage, "table_in": (1, 1, 0)},
            {"held": lambda e, k, b: k, "touched": lambda e, k, b: k, "table_in": (1, 1, 0)},
        ),
    ),
    Slip(
        "all_experts_read",
        1,
        "A step is charged with all experts. It reads those that its tokens chose; for one user that is "
        "a small share.",
        (
            {"touched": lambda e, k, b: e},
            {"touched": lambda e, k, b: e, "table_in": (1, 1, 0)},
            {"touched": lambda e, k, b: e, "table_in": (1, 1, 1)},
            {"touched": lambda e, k, b: e, "computing": lambda e, k, b: e},
            {
                "touched": lambda e, k, b: e,
                "computing": lambda e, k, b: e,
                "table_in": (1, 1, 1),
            },
        ),
    ),
    Slip(
        "k_experts_read",
        1,
        "A step reads the experts of one token here, whatever the batch. Other users choose others, and "
        "those are read as well.",
        (
            {"touched": lambda e, k, b: k},
            {"touched": lambda e, k, b: k, "table_in": (1, 1, 0)},
            {"touched": lambda e, k, b: k, "table_in": (1, 1, 1)},
        ),
    ),
    Slip(
        "one_expert_for_all",
        1,
        "`expert` is a single expert, and somewhere it stands by itself. E of them are held, and a token "
        "passes K.",
        (
            {"held": lambda e, k, b: 1},
            {"computing": lambda e, k, b: 1},
            {"touched": lambda e, k, b: 1},
            {"held": lambda e, k, b: 1, "touched": lambda e, k, b: 1},
            {"touched": lambda e, k, b: 1, "computing": lambda e, k, b: 1},
            {"held": lambda e, k, b: 1, "touched": lambda e, k, b: 1, "computing": lambda e, k, b: 1},
        ),
    ),
    Slip(
        "no_overlap",
        2,
        "Each user's K experts are counted as new ones. Users share experts: expected are "
        "E (1 - (1 - K/E)^B) different ones.",
        ({"touched": lambda e, k, b: min(e, k * b)}, {"touched": lambda e, k, b: k * b}),
    ),
    Slip(
        "with_replacement",
        2,
        "All choices are taken as independent draws of one expert. A token's K experts are different "
        "ones: it misses a given expert with probability 1 - K/E.",
        (
            {"touched": lambda e, k, b: e * (1 - _missed(e, 1, k * b))},
            {"touched": lambda e, k, b: e * (1 - math.exp(-k * b / e))},
        ),
    ),
    Slip(
        "one_choice_a_token",
        2,
        "In the expected number of experts K is missing, as if a token chose a single expert. It misses a "
        "given one with probability 1 - K/E.",
        ({"touched": lambda e, k, b: e * (1 - _missed(e, 1, b))},),
    ),
    Slip(
        "k_counted_twice",
        2,
        "In the expected number of experts K stands twice: in K/E, which is for all choices of a token "
        "together, and in the exponent as well. The exponent is the number of tokens.",
        ({"touched": lambda e, k, b: e * (1 - _missed(e, k, k * b))},),
    ),
    Slip(
        "exponent_not_the_batch",
        2,
        "The exponent in the expected number of experts is not the batch. It counts who chooses: one token "
        "of each user in a step, and that user's K choices are in K/E.",
        (
            {"touched": lambda e, k, b: e * (1 - _missed(e, k, k))},
            {"touched": lambda e, k, b: e * (1 - _missed(e, 1, k))},
            {"touched": lambda e, k, b: e * (1 - _missed(e, k, e))},
            {"touched": lambda e, k, b: e * (1 - _missed(e, k, b / e))},
            {"touched": lambda e, k, b: e * (1 - _missed(e, k, b - 1))},
        ),
    ),
    Slip(
        "share_of_experts",
        2,
        "1 - (1 - K/E)^B is the *share* of the experts that a batch touches. Times E it is their number; "
        "here it stands alone, or is multiplied by something else.",
        (
            {"touched": lambda e, k, b: coverage(e, k, b) / e},
            {"touched": lambda e, k, b: k * coverage(e, k, b) / e},
        ),
    ),
    Slip(
        "chosen_by_all",
        2,
        "(K/E)^B is the chance that *every* token chooses a given expert. It is read when at least one does: "
        "take the chance that all miss it, (1 - K/E)^B, from 1.",
        (
            {"touched": lambda e, k, b: e * (1 - (k / e) ** b)},
            {"touched": lambda e, k, b: e * (k / e) ** b},
        ),
    ),
    Slip(
        "whole_experts",
        2,
        "The expected number of experts was made a whole number. An expectation need not be one: over "
        "many steps the mean is what counts.",
        (
            {"touched": lambda e, k, b: math.ceil(coverage(e, k, b))},
            {"touched": lambda e, k, b: round(coverage(e, k, b))},
            {"touched": lambda e, k, b: math.floor(coverage(e, k, b))},
        ),
    ),
    Slip(
        "those_not_chosen",
        2,
        "These are the experts that *nobody* chose: E (1 - K/E)^B. All others are read.",
        ({"touched": lambda e, k, b: e - coverage(e, k, b)},),
    ),
    Slip(
        "all_experts_compute",
        3,
        "Arithmetic is charged with all experts, or with all that the batch reads, for each token. A token "
        "is multiplied by K of them.",
        ({"computing": lambda e, k, b: e}, {"computing": coverage}),
    ),
)
STEP = (
    Slip(
        "times_added",
        3,
        "Reading and arithmetic are added up. They overlap: the slower of the two is the step.",
        ({"joined": lambda a, b: a + b},),
    ),
    Slip(
        "faster_of_two",
        3,
        "The faster of the two was taken. The step ends when both are through.",
        ({"joined": min},),
    ),
    Slip(
        "reading_alone",
        3,
        "Arithmetic is left out, or it is that of one token. A step has a token of every user: with "
        "hundreds of them it can take longer than reading, since a byte is read once for all of them.",
        ({"joined": lambda read, work: read}, {"tokens": lambda users, context: 1}),
    ),
    Slip(
        "arithmetic_alone",
        3,
        "Reading is left out. With few users nearly nothing is computed for each byte that comes in.",
        ({"joined": lambda read, work: work},),
    ),
    Slip(
        "batch_in_part",
        3,
        "The batch multiplies the operations of the experts alone, or of the shared weights alone. Every "
        "user's token passes both.",
        (
            {"computing": lambda e, k, b: k * b, "tokens": lambda users, context: 1},
            {"computing": lambda e, k, b: k / b},
        ),
    ),
    Slip(
        "whole_context",
        3,
        "The tokens in the caches are computed again. They are through: a decode step has one new token of "
        "each user, whatever the context.",
        (
            {"tokens": lambda users, context: users * context},
            {"tokens": lambda users, context: context},
        ),
    ),
    Slip(
        "one_after_another",
        3,
        "The users are served one after another, or each reads the weights anew. A step takes a token of all "
        "of them at once, and what is read is read once.",
        (
            {"touched": lambda e, k, b: k, "readers": lambda users: users},
            {"readers": lambda users: users},
        ),
    ),
    Slip(
        "speeds_swapped",
        3,
        "Bytes are divided by `peak` and operations by `bandwidth`. Bytes come at the bandwidth.",
        ({"swapped": True},),
    ),
)
