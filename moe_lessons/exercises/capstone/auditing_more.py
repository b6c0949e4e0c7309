"""More wrong formulas of 17.audit: slips of those who work the eight numbers out, which no page quotes."""

import math
import operator

from moe_lessons.exercises.capstone.auditing import NEAR, QUOTED, Formula, Slip
from moe_lessons.exercises.capstone.pages import Numbers, rules


def _touched(chance: Formula, tokens: Formula) -> Formula:
    """Experts that are touched, with another chance for each token, or another exponent."""
    return lambda n: n.n_experts * (1 - (1 - chance(n)) ** tokens(n))


def _even(n: Numbers) -> float:
    return n.capacity_factor * n.n_tokens * n.top_k / n.n_experts


def _slip(
    id: str, item: int, message: str, hint: int, first: Formula, *also: Formula, beside: bool = True
) -> Slip:
    return Slip(id, item, first, message, hint, also, beside=beside)


SLIPS = (
    _slip(
        "active_for_total",
        0,
        "(1) counts only one or K of the E experts. A model has all of them.",
        1,
        lambda n: rules(n)[1],
        lambda n: (n.shared + n.expert) / 1e9,
    ),
    _slip(
        "table_not_active",
        1,
        "(2) leaves out the embedding table. It is asked for with the table and all; only (3) leaves it out.",
        1,
        lambda n: rules(n)[1] - n.embedding / 1e9,
    ),
    _slip(
        "all_active",
        1,
        "(2) counts all experts. A token passes K of them.",
        1,
        lambda n: rules(n)[0],
        lambda n: rules(n)[0] - n.embedding / 1e9,
    ),
    _slip(
        "one_expert_active",
        1,
        "(2) counts a single expert, or none. A token passes K of them.",
        1,
        lambda n: (n.shared + n.expert) / 1e9,
        lambda n: n.shared / 1e9,
    ),
    _slip(
        "table_half_off",
        2,
        "(3) takes the table's parameters off only once. Each of them would cost two operations: take the "
        "table off first, then double.",
        2,
        lambda n: 2 * rules(n)[1] - n.embedding / 1e9,
    ),
    _slip(
        "head_taken_off",
        2,
        "(3) takes the table off twice, as if the head were looked up like the embedding. A token is "
        "multiplied by the head.",
        1,
        lambda n: 2 * (rules(n)[1] - 2 * n.embedding / 1e9),
    ),
    _slip(
        "flops_of_experts",
        2,
        "(3) counts the experts alone. Attention and head multiply, too.",
        1,
        lambda n: 2 * n.top_k * n.expert / 1e9,
    ),
    _slip(
        "flops_of_the_batch",
        2,
        "(3) is for many tokens. Asked is what one token takes.",
        2,
        lambda n: rules(n)[2] * n.batch,
        lambda n: rules(n)[2] * n.n_tokens,
    ),
    _slip(
        "flops_of_one_expert",
        2,
        "(3) lets a token pass a single expert, or none. It passes K of them.",
        1,
        lambda n: 2 * (n.shared + n.expert - n.embedding) / 1e9,
        lambda n: 2 * (n.shared - n.embedding) / 1e9,
    ),
    _slip(
        "bits_as_bytes",
        3,
        "(4) counts bits. Eight of them are a byte.",
        2,
        lambda n: rules(n)[0] * n.bits,
    ),
    _slip(
        "one_byte_each",
        3,
        "(4) takes a byte for every parameter. Here a weight has `bits` bits, eight to a byte.",
        2,
        lambda n: rules(n)[0],
        beside=False,
    ),
    _slip(
        "no_half_bytes",
        3,
        "(4) makes whole bytes of the bits with `//`: of 4 bits nothing is left. A weight has `bits / 8` "
        "bytes.",
        2,
        lambda n: rules(n)[0] * (n.bits // 8),
        beside=False,
    ),
    _slip(
        "weights_left_out",
        3,
        "(4) leaves out weights: the table, or all that is shared. They are kept like the experts.",
        1,
        lambda n: (rules(n)[0] - n.embedding / 1e9) * n.bits / 8,
        lambda n: n.n_experts * n.expert / 1e9 * n.bits / 8,
    ),
    _slip(
        "one_choice_a_token",
        4,
        "(5) lets a token choose a single expert: K is missing. It misses a given one with probability 1 "
        "- K/E.",
        2,
        _touched(lambda n: 1 / n.n_experts, lambda n: n.batch),
    ),
    _slip(
        "k_counted_twice",
        4,
        "(5) has K twice: in K/E, which is for all choices of a token together, and in the exponent as well.",
        2,
        _touched(lambda n: n.top_k / n.n_experts, lambda n: n.top_k * n.batch),
    ),
    _slip(
        "exponent_not_the_batch",
        4,
        "(5) has another exponent than the tokens of the batch. The exponent counts who chooses, and each "
        "token of the batch does, once.",
        2,
        _touched(lambda n: n.top_k / n.n_experts, lambda n: n.top_k),
        _touched(lambda n: 1 / n.n_experts, lambda n: n.top_k),
        _touched(lambda n: n.top_k / n.n_experts, lambda n: n.batch - 1),
        beside=False,
    ),
    _slip(
        "share_of_experts",
        4,
        "(5) is the *share* of the experts that are touched, or K times that. Times E it is their number.",
        2,
        lambda n: rules(n)[4] / n.n_experts,
        lambda n: rules(n)[4] / n.n_experts * n.top_k,
    ),
    _slip(
        "chosen_by_all",
        4,
        "(5) has (K/E)^B, the chance that *every* token chooses a given expert. It is touched when one does: "
        "take the chance that all miss it from 1.",
        2,
        lambda n: n.n_experts * (1 - (n.top_k / n.n_experts) ** n.batch),
        lambda n: n.n_experts * (n.top_k / n.n_experts) ** n.batch,
    ),
    _slip(
        "those_not_chosen",
        4,
        "(5) counts the experts that *nobody* chose. All others are touched.",
        2,
        lambda n: n.n_experts - rules(n)[4],
    ),
    _slip(
        "whole_experts",
        4,
        "(5) was made a whole number. It is an expectation, a mean over many batches.",
        2,
        lambda n: float(math.ceil(rules(n)[4])),
        lambda n: float(round(rules(n)[4])),
        lambda n: float(math.floor(rules(n)[4])),
        beside=False,
    ),
    _slip(
        "sum_forgotten",
        5,
        "(6) is K/E: the sum over the E experts is missing, or the factor E before it.",
        3,
        lambda n: n.top_k / n.n_experts,
    ),
    _slip(
        "even_loss_off",
        5,
        "(6) has f, P or a factor off. At an even load f is K/E and P is 1/E for each of E experts: P sums "
        "to 1 and f to K. Put both into E times the sum of their products.",
        3,
        lambda n: float(n.top_k**2),
        lambda n: float(n.n_experts),
        lambda n: float(n.n_experts * n.top_k),
        lambda n: 1 / n.n_experts,
        lambda n: 1 / n.top_k,
        lambda n: n.n_experts / n.top_k,
        lambda n: n.top_k**2 / n.n_experts,
        lambda n: n.top_k / n.n_experts**2,
        lambda n: 0.0,
    ),
    _slip(
        "not_rounded",
        6,
        "(7) is not rounded. Places come in whole numbers: asked is the next one above.",
        2,
        _even,
        beside=False,
    ),
    _slip(
        "one_place_more",
        6,
        "(7) is one place too many, always or where it is whole as it is. `int(x) + 1` is no rounding up.",
        2,
        lambda n: float(math.floor(_even(n)) + 1),
        lambda n: float(math.ceil(_even(n)) + 1),
        beside=False,
    ),
    _slip(
        "rounded_too_early",
        6,
        "(7) is rounded before all is multiplied. Round once, at the end.",
        2,
        lambda n: n.capacity_factor * math.ceil(n.n_tokens * n.top_k / n.n_experts),
        lambda n: float(math.ceil(n.capacity_factor * math.ceil(n.n_tokens * n.top_k / n.n_experts))),
        lambda n: float(n.top_k * math.ceil(n.capacity_factor * n.n_tokens / n.n_experts)),
        lambda n: float(math.ceil(n.capacity_factor) * math.ceil(n.n_tokens * n.top_k / n.n_experts)),
        beside=False,
    ),
    _slip(
        "capacity_of_the_batch",
        6,
        "(7) takes `batch` for the tokens. The capacity is for `n_tokens` of them.",
        2,
        lambda n: float(math.ceil(n.capacity_factor * n.batch * n.top_k / n.n_experts)),
        lambda n: n.capacity_factor * n.batch * n.top_k / n.n_experts,
    ),
    _slip(
        "capacity_not_of_an_expert",
        6,
        "(7) is not divided by the experts: it is for all of them, or for those of a rank. Asked is one "
        "expert's capacity.",
        2,
        lambda n: float(math.ceil(n.capacity_factor * n.n_tokens * n.top_k)),
        lambda n: float(math.ceil(n.capacity_factor * n.n_tokens * n.top_k / n.ranks)),
        lambda n: float(math.ceil(n.capacity_factor * n.n_tokens)),
    ),
    _slip(
        "rows_of_the_batch",
        7,
        "(8) takes `batch` for the tokens. Asked is what `n_tokens` of them send.",
        3,
        lambda n: rules(n)[7] * n.batch / n.n_tokens,
    ),
    _slip(
        "ranks_mistaken",
        7,
        "(8) takes another share of the rows than those that change rank, which are (R - 1) / R of them. One "
        "in R stays, and the number of experts has no part in it.",
        3,
        lambda n: rules(n)[7] / (n.ranks - 1),
        lambda n: rules(n)[7] * n.ranks,
        lambda n: rules(n)[7] * n.ranks / (n.ranks - 1) * (n.n_experts - 1) / n.n_experts,
        lambda n: rules(n)[7] / n.ranks,
        lambda n: rules(n)[7] * n.ranks**2 / (n.ranks - 1),
    ),
    _slip(
        "spare_places_sent",
        7,
        "(8) has the capacity factor in it. Rows are sent for the tokens that there are, not for spare "
        "places.",
        3,
        lambda n: rules(n)[7] * n.capacity_factor,
    ),
    _slip(
        "mebibytes",
        7,
        "(8) counts in MiB, 2**20 bytes. An MB is 10**6.",
        3,
        lambda n: rules(n)[7] * 1e6 / 2**20,
    ),
)
MISTAKES = tuple(sorted((*QUOTED, *NEAR, *SLIPS), key=operator.attrgetter("item")))
"""From (1) to (8): whoever makes two of them is told the first."""
