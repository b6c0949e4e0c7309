"""Exercise 17.serve: what a design takes to serve, bytes and seconds, with lessons 03 and 15."""

import math
from collections.abc import Callable
from typing import Any

from moe_lessons.exercises.capstone.serving import Numbers, coverage, draw, served
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def reference(*given: Any) -> Numbers:
    """All weights and the cache are held; the step takes as long as the slower of reading and arithmetic."""
    return served(*given)


def _but(**how: Any) -> Callable[..., Numbers]:
    return lambda *given: served(*given, **how)


def _swapped(*given: Any) -> Numbers:
    numbers = [*given[:-2], given[-1], given[-2]]
    return served(*numbers)


def _holds_the_cache(case: Case, got: Outputs, want: Outputs) -> str | None:
    args: dict[str, Any] = dict(case.args)
    cache = args["cache_per_token"] * args["batch"] * args["context"]
    if float(got["memory_bytes"]) < cache * (1 - 1e-9):
        return f"the cache alone takes {cache:.4g} bytes"
    return None


SERVE = Exercise(
    id="17.serve",
    title="What it takes to serve",
    task=(
        "Every token passes `shared` parameters (attention, routers, the head), and `top_k` of `n_experts` "
        "experts; `expert` is one of them *in all layers together*. The table of `embedding` parameters is "
        "held besides, and a token reads one row of it, which counts for nothing. Weights have `bits` bits. "
        "Each of `batch` users has `context` tokens in a cache, `cache_per_token` bytes each. Return the "
        "bytes that must be held, and the seconds of a decode step of all users: the slower of reading (the "
        "weights that the batch touches *in expectation*, and all caches, at `bandwidth`) and arithmetic "
        "(two operations for each parameter that a token passes, at `peak`)."
    ),
    entry="serve",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("memory_bytes", rtol=1e-5), Output("step_seconds", rtol=1e-5, atol=0)),
    draw=draw,
    reference=reference,
    properties=(Property("the cache is held, too", _holds_the_cache),),
    misconceptions=(
        Misconception(
            "active_in_memory",
            "Only the experts of one token are held. Which ones the next token needs is not known before: "
            "all of them must be there.",
            wrong=_but(held=lambda e, k: k),
            hint=1,
        ),
        Misconception(
            "all_experts_read",
            "A step is charged with all experts. It reads those that its tokens chose; for one user that is "
            "a small share.",
            wrong=_but(touched=lambda e, k, b: e),
            hint=1,
        ),
        Misconception(
            "k_experts_read",
            "A step reads the experts of one token here, whatever the batch. Other users choose others, and "
            "those are read as well.",
            wrong=_but(touched=lambda e, k, b: k),
            hint=1,
        ),
        Misconception(
            "no_overlap",
            "Each user's K experts are counted as new ones, up to all E. Users share experts: expected are "
            "E (1 - (1 - K/E)^B) different ones.",
            wrong=_but(touched=lambda e, k, b: min(e, k * b)),
            also=(_but(touched=lambda e, k, b: k * b),),
            hint=2,
        ),
        Misconception(
            "with_replacement",
            "All choices are taken as independent draws of one expert. A token's K experts are different "
            "ones: it misses a given expert with probability 1 - K/E.",
            wrong=_but(touched=lambda e, k, b: e * (1 - (1 - 1 / e) ** (k * b))),
            hint=2,
        ),
        Misconception(
            "whole_experts",
            "The expected number of experts was made a whole number. An expectation need not be one: over "
            "many steps the mean is what counts.",
            wrong=_but(touched=lambda e, k, b: math.ceil(coverage(e, k, b))),
            also=(
                _but(touched=lambda e, k, b: round(coverage(e, k, b))),
                _but(touched=lambda e, k, b: math.floor(coverage(e, k, b))),
            ),
            hint=2,
        ),
        Misconception(
            "those_not_chosen",
            "These are the experts that *nobody* chose: E (1 - K/E)^B. All others are read.",
            wrong=_but(touched=lambda e, k, b: e - coverage(e, k, b)),
            hint=2,
        ),
        Misconception(
            "times_added",
            "Reading and arithmetic are added up. They overlap: the slower of the two is the step.",
            wrong=_but(joined=lambda a, b: a + b),
            hint=3,
        ),
        Misconception(
            "faster_of_two",
            "The faster of the two was taken. The step ends when both are through.",
            wrong=_but(joined=min),
            hint=3,
        ),
        Misconception(
            "reading_alone",
            "Arithmetic is left out, or it is that of one token. A step has a token of every user: with "
            "hundreds of them it is what takes long, since a byte is read once for all of them.",
            wrong=_but(joined=lambda read, work: read),
            also=(_but(tokens=lambda users: 1),),
            hint=3,
        ),
        Misconception(
            "arithmetic_alone",
            "Reading is left out. With few users nearly nothing is computed for each byte that comes in.",
            wrong=_but(joined=lambda read, work: work),
            hint=3,
        ),
        Misconception(
            "cache_forgotten",
            "The cache is neither held nor read. Of long texts and many users it is the larger part.",
            wrong=_but(cached=lambda each, users, tokens: 0.0),
            hint=1,
        ),
        Misconception(
            "cache_of_one",
            "The cache is that of one user. Each has one: multiply by the batch.",
            wrong=_but(cached=lambda each, users, tokens: each * tokens),
            also=(_but(cached=lambda each, users, tokens: each * users),),
            hint=1,
        ),
        Misconception(
            "cache_not_read",
            "The cache is held and not read. Attention looks at every token in it, in every step.",
            wrong=_but(read_cache=False),
            hint=1,
        ),
        Misconception(
            "cache_in_few_bits",
            "The cache was scaled with the bits of the weights. `cache_per_token` is in bytes already.",
            wrong=lambda *given: served(
                *given, cached=lambda each, users, tokens: each * users * tokens * given[8] / 8
            ),
            also=(
                lambda *given: served(
                    *given, cached=lambda each, users, tokens: each * users * tokens * given[8] / 16
                ),
            ),
            hint=2,
        ),
        Misconception(
            "parameters_as_bytes",
            "A parameter is taken as a byte. It has `bits` bits, eight to a byte.",
            wrong=_but(weight_bytes=lambda bits: 1),
            hint=2,
        ),
        Misconception(
            "bits_as_bytes",
            "The bits were not divided by eight.",
            wrong=_but(weight_bytes=lambda bits: bits),
            hint=2,
        ),
        Misconception(
            "one_operation",
            "A weight is counted as one operation. It is multiplied and added: two.",
            wrong=_but(operations=1),
            hint=3,
        ),
        Misconception(
            "training_operations",
            "Six operations are for training, forwards and backwards. A step of decoding needs two.",
            wrong=_but(operations=6),
            hint=3,
        ),
        Misconception(
            "all_experts_compute",
            "All experts compute for each token. A token is multiplied by K of them.",
            wrong=_but(computing=lambda e, k: e),
            hint=3,
        ),
        Misconception(
            "table_read",
            "The whole embedding table is read. A token reads its own row, which is nothing beside the rest.",
            wrong=_but(read_table=True),
            hint=1,
        ),
        Misconception(
            "table_not_held",
            "The embedding table is missing from what is held. Hardly any of it is read in a step, and all "
            "of it must be there.",
            wrong=_but(no_table=True),
            hint=1,
        ),
        Misconception(
            "speeds_swapped",
            "Bytes are divided by `peak` and operations by `bandwidth`. Bytes come at the bandwidth.",
            wrong=_swapped,
            hint=3,
        ),
    ),
    hints=(
        "Four piles: shared weights, experts, table, caches. Which of them are held, and which are read in a "
        "step, in part or in full?",
        "Bytes are parameters times `bits / 8`; the cache comes in bytes. Expected experts are those of "
        "lesson 03, `n_experts * (1 - (1 - top_k / n_experts) ** batch)`.",
        "`max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)`.",
    ),
    notice=(
        "Memory asks for all experts, reading for those of the batch and arithmetic for those of a token: "
        "three numbers of experts in one design, and mixing them up is the most common mistake on the web."
    ),
)
