"""The wrong formulas of 17.audit: what pages quote, and what answers make of the eight numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from moe_lessons.exercises.capstone.pages import Numbers, rules

Formula = Callable[[Numbers], float]


@dataclass(frozen=True)
class Slip:
    """A wrong formula for one of the eight numbers, and what to say of it."""

    id: str
    item: int
    formula: Formula
    message: str
    hint: int
    also: tuple[Formula, ...] = ()
    beside: bool = True
    """Known whatever the other seven numbers are; not so where it may be right by chance."""


QUOTED = (
    Slip(
        "total_times_name",
        0,
        lambda n: n.n_experts * (n.shared + n.expert) / 1e9,
        "(1) multiplies the whole model by the number of experts. Attention and embeddings are there once, "
        "whatever a name like 8x7B suggests.",
        1,
    ),
    Slip(
        "experts_only",
        0,
        lambda n: n.n_experts * n.expert / 1e9,
        "(1) counts the experts alone. What every token shares is part of the model.",
        1,
    ),
    Slip(
        "table_left_out",
        0,
        lambda n: rules(n)[0] - n.embedding / 1e9,
        "(1) leaves out the embedding table. A row is read and nothing is multiplied, but its parameters "
        "count.",
        1,
    ),
    Slip(
        "active_k_models",
        1,
        lambda n: n.top_k * (n.shared + n.expert) / 1e9,
        "(2) multiplies the shared part by K. A token passes it once, and K experts.",
        1,
    ),
    Slip(
        "active_share_of_total",
        1,
        lambda n: rules(n)[0] * n.top_k / n.n_experts,
        "(2) takes K/E of everything. Only the experts are used in part; the rest is active for each token.",
        1,
    ),
    Slip(
        "active_experts_only",
        1,
        lambda n: n.top_k * n.expert / 1e9,
        "(2) counts a token's experts alone. Attention and head are active, too.",
        1,
    ),
    Slip(
        "one_operation",
        2,
        lambda n: rules(n)[2] / 2,
        "(3) counts one operation a weight. It is multiplied and added: two.",
        2,
        (lambda n: rules(n)[1],),
    ),
    Slip(
        "training_flops",
        2,
        lambda n: 3 * rules(n)[2],
        "(3) is what training takes, forwards and backwards. Asked is the forward: two operations a weight.",
        2,
        (lambda n: 6 * rules(n)[1],),
    ),
    Slip(
        "table_multiplied",
        2,
        lambda n: 2 * rules(n)[1],
        "(3) multiplies by the embedding table as well. A row of it is looked up.",
        1,
    ),
    Slip(
        "flops_of_all",
        2,
        lambda n: 2 * (rules(n)[0] - n.embedding / 1e9),
        "(3) lets a token pass all experts. It passes K of them.",
        1,
        (lambda n: 2 * rules(n)[0],),
    ),
    Slip(
        "active_bytes",
        3,
        lambda n: rules(n)[1] * n.bits / 8,
        "(4) holds the active parameters only. The next token may need any other expert.",
        1,
        (lambda n: 2 * rules(n)[1], lambda n: (rules(n)[1] - n.embedding / 1e9) * n.bits / 8),
    ),
    Slip(
        "two_bytes_each",
        3,
        lambda n: 2 * rules(n)[0],
        "(4) takes two bytes for every parameter, or four. Here a weight has `bits` bits, eight to a byte.",
        2,
        (lambda n: 4 * rules(n)[0],),
    ),
    Slip(
        "k_touched",
        4,
        lambda n: float(n.top_k),
        "(5) is the experts of one token. A batch of them touches more.",
        2,
    ),
    Slip(
        "no_overlap",
        4,
        lambda n: float(min(n.n_experts, n.top_k * n.batch)),
        "(5) counts every token's experts as new ones. Tokens share experts, by chance alone.",
        2,
        (lambda n: float(n.top_k * n.batch),),
    ),
    Slip(
        "all_touched",
        4,
        lambda n: float(n.n_experts),
        "(5) says that all experts are touched. So few tokens leave many of them out.",
        2,
    ),
    Slip(
        "loss_is_one",
        5,
        lambda n: 1.0,
        "(6) is 1 where f is a share that sums to 1. Here f counts all K choices: it sums to K, and so does "
        "the loss.",
        3,
    ),
    Slip(
        "capacity_without_k",
        6,
        lambda n: float(math.ceil(n.capacity_factor * n.n_tokens / n.n_experts)),
        "(7) leaves out K: each token asks for K places.",
        2,
        (
            lambda n: float(math.floor(n.capacity_factor * n.n_tokens / n.n_experts)),
            lambda n: n.capacity_factor * n.n_tokens / n.n_experts,
        ),
    ),
    Slip(
        "no_spare_places",
        6,
        lambda n: float(math.ceil(n.n_tokens * n.top_k / n.n_experts)),
        "(7) leaves out the capacity factor: these are the places of an even load, without any to spare.",
        2,
        (
            lambda n: float(n.n_tokens * n.top_k // n.n_experts),
            lambda n: n.n_tokens * n.top_k / n.n_experts,
        ),
    ),
    Slip(
        "one_way",
        7,
        lambda n: rules(n)[7] / 2,
        "(8) is half of it: rows go out and come back, and a number of 16 bits has two bytes. One of these "
        "twos is missing.",
        3,
    ),
    Slip(
        "own_rank_sent",
        7,
        lambda n: rules(n)[7] * n.ranks / (n.ranks - 1),
        "(8) lets all rows travel. One in R finds its expert on its own rank.",
        3,
        (lambda n: rules(n)[7] * n.ranks / (n.ranks - 1) / 2,),
    ),
    Slip(
        "once_a_token",
        7,
        lambda n: rules(n)[7] / n.top_k,
        "(8) sends a token once. Here each of its K rows is sent by itself.",
        3,
    ),
    Slip(
        "numbers_for_bytes",
        7,
        lambda n: rules(n)[7] * 2,
        "(8) takes another width for a number than two bytes, which is what 16 bits are.",
        3,
        (lambda n: rules(n)[7] * 8, lambda n: rules(n)[7] * n.bits / 16),
    ),
)
"""What the pages of the exercise quote: far enough from the right number to be called wrong."""

NEAR = (
    Slip(
        "gibibytes",
        3,
        lambda n: rules(n)[3] * 1e9 / 2**30,
        "(4) counts in GiB, 2**30 bytes. A GB is 10**9.",
        3,
    ),
    Slip(
        "with_replacement",
        4,
        lambda n: n.n_experts * (1 - (1 - 1 / n.n_experts) ** (n.top_k * n.batch)),
        "(5) takes all choices as independent draws of one expert. A token's K experts are different ones.",
        2,
        (lambda n: n.n_experts * (1 - math.exp(-n.top_k * n.batch / n.n_experts)),),
    ),
    Slip(
        "rounded_down",
        6,
        lambda n: float(math.floor(n.capacity_factor * n.n_tokens * n.top_k / n.n_experts)),
        "(7) is rounded down, or to the nearest number. Asked is the next whole number above.",
        2,
        (lambda n: float(round(n.capacity_factor * n.n_tokens * n.top_k / n.n_experts)),),
        beside=False,
    ),
)
"""Too near the right number to be quoted on a page that rounds."""
