"""Exercise 03.four_numbers: four numbers people quote, put right with value and unit."""

from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

QUOTES = ("8x7B", "13B FLOPs", "47B of memory", "2 of 8 experts")
NAMES = ("quote", "shared", "expert", "embedding", "n_experts", "top_k", "batch", "bits")
Answer = tuple[float, str]
Rule = Callable[[int, int, int, int, int, int, int], Answer]

RIGHT: dict[str, Rule] = {
    "8x7B": lambda s, x, v, e, k, b, bits: (s + e * x, "parameters"),
    "13B FLOPs": lambda s, x, v, e, k, b, bits: (2 * (s + k * x - v), "FLOP"),
    "47B of memory": lambda s, x, v, e, k, b, bits: ((s + e * x) * bits / 8, "bytes"),
    "2 of 8 experts": lambda s, x, v, e, k, b, bits: (e * (1 - (1 - k / e) ** b), "experts"),
}


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Every quote on Mixtral's numbers and on a drawn model with the same problem."""
    mixtral = (1_605_636_096, 5_637_144_576, 131_072_000, 8, 2, 8, 16)
    embedding = int(rng.integers(10**7, 10**8))
    shared = 5 * embedding + int(rng.integers(1000))
    expert = int(rng.integers(2 * 10**7, 10**8))
    # At most 10 tokens: 3 experts each, all different, would not yet be all 32. Half a byte each.
    drawn = (shared, expert, embedding, 32, 3, int(rng.integers(5, 11)), 4)
    return [
        Case(f"{quote!r} of {name}", dict(zip(NAMES, (quote, *row), strict=True)))
        for name, row in (("Mixtral-8x7B", mixtral), ("a drawn model", drawn))
        for quote in QUOTES
    ]


def reference(
    quote: str, shared: int, expert: int, embedding: int, n_experts: int, top_k: int, batch: int, bits: int
) -> Answer:
    """The number that was meant, and its unit."""
    value, unit = RIGHT[quote](shared, expert, embedding, n_experts, top_k, batch, bits)
    return float(value), unit


def _but(quote: str, rule: Rule) -> Callable[..., Answer]:
    """All quotes put right, except that one goes by another rule."""

    def wrong(asked: str, *numbers: int) -> Answer:
        value, unit = (rule if asked == quote else RIGHT[asked])(*numbers)
        return float(value), unit

    return wrong


def _literally(quote: str, *numbers: int) -> Answer:
    s, x, _, e, _, _, bits = numbers
    literally = {"8x7B": e * (s + x), "47B of memory": e * (s + x) * bits / 8}
    value, unit = reference(quote, *numbers)
    return float(literally.get(quote, value)), unit


def _unit_misspelt(case: Case, got: Outputs, want: Outputs) -> bool:
    known = {unit for _, unit in (RIGHT[quote](1, 1, 1, 8, 2, 1, 8) for quote in QUOTES)} | {"FLOP/s"}
    right = np.isclose(got["value"], want["value"], rtol=1e-6)
    return bool(right) and (got["unit"] == want["unit"] or got["unit"] not in known)


FOUR_NUMBERS = Exercise(
    id="03.four_numbers",
    title="Four numbers people quote",
    task=(
        "Each `quote` is wrong in its number or its unit. Return `(value, unit)`: for `'8x7B'` how many "
        "parameters the model has; for `'13B FLOPs'` the cost of one token in FLOP, context aside; for "
        "`'47B of memory'` the size of all weights in bytes at `bits` each; for `'2 of 8 experts'` how many "
        "different experts of a layer `batch` tokens touch on average if each chooses `top_k` different ones "
        "at random. `shared` counts all parameters outside the experts (input embedding of `embedding` "
        "included), "
        "`expert` those of one expert over all layers. Units: `'parameters'`, `'FLOP'`, `'bytes'`, "
        "`'experts'`."
    ),
    entry="four_numbers",
    points=4,
    minutes=12,
    difficulty=3,
    outputs=(Output("value", rtol=1e-6, atol=1e-9), Output("unit", kind="text")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "name_taken_literally",
            "8x7B is taken at its word: E times a whole model. The parameters outside the experts are there "
            "once.",
            wrong=_but("8x7B", lambda s, x, v, e, k, b, bits: (e * (s + x), "parameters")),
        ),
        Misconception(
            "experts_only",
            "8x7B: only the experts are counted. Attention, embedding, head and the rest are parameters too.",
            wrong=_but("8x7B", lambda s, x, v, e, k, b, bits: (e * x, "parameters")),
        ),
        Misconception(
            "parameters_for_flops",
            "13B FLOPs: the number of parameters is returned as FLOP. Each makes a multiplication and an "
            "addition.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (s + k * x - v, "FLOP")),
            hint=2,
        ),
        Misconception(
            "embedding_multiplied",
            "13B FLOPs: the input embedding is multiplied. A token reads one row of it.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (2 * (s + k * x), "FLOP")),
            hint=2,
        ),
        Misconception(
            "all_experts_compute",
            "13B FLOPs: all experts are made to compute. A token passes K of them.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (2 * (s + e * x - v), "FLOP")),
            hint=2,
        ),
        Misconception(
            "training_flops",
            "13B FLOPs: this is a training step, six FLOPs per parameter. One token of inference is asked "
            "for.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (6 * (s + k * x - v), "FLOP")),
            hint=2,
        ),
        Misconception(
            "per_second",
            "13B FLOPs: the value is right and the unit is not. FLOP/s is a speed, of a machine; a token "
            "costs an amount, in FLOP.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (2 * (s + k * x - v), "FLOP/s")),
        ),
        Misconception(
            "memory_of_the_name",
            "47B of memory: E whole models are held, as the name 8x7B suggests. The parameters outside the "
            "experts are there once.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: (e * (s + x) * bits / 8, "bytes")),
        ),
        Misconception(
            "name_taken_literally_twice",
            "8x7B is taken at its word, for the parameters and for the memory: E times a whole model. The "
            "parameters outside the experts are there once.",
            wrong=_literally,
        ),
        Misconception(
            "one_byte_each",
            "47B of memory: parameters are returned as bytes. At 16 bits each takes two.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: (s + e * x, "bytes")),
        ),
        Misconception(
            "active_in_memory",
            "47B of memory: only the active weights are held. Any expert may be asked for next.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: ((s + k * x) * bits / 8, "bytes")),
        ),
        Misconception(
            "bits_for_bytes",
            "47B of memory: these are bits. A byte has eight.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: ((s + e * x) * bits, "bytes")),
        ),
        Misconception(
            "active_for_total",
            "8x7B: these are the active parameters. The name stands for all of them: every expert is "
            "there, whoever is chosen.",
            wrong=_but("8x7B", lambda s, x, v, e, k, b, bits: (s + k * x, "parameters")),
        ),
        Misconception(
            "head_left_out",
            "13B FLOPs: the embedding is subtracted twice, as if the head were looked up too. The head is "
            "multiplied.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: (2 * (s + k * x - 2 * v), "FLOP")),
            hint=2,
        ),
        Misconception(
            "multiplied_by_bytes",
            "13B FLOPs: the number of parameters is multiplied by the bytes of one. Bytes are for memory; "
            "a parameter costs two FLOP whatever its dtype.",
            wrong=_but("13B FLOPs", lambda s, x, v, e, k, b, bits: ((s + k * x - v) * bits / 8, "FLOP")),
            hint=2,
        ),
        Misconception(
            "whole_bytes",
            "47B of memory: weights of 4 bits take no room here: `4 // 8` is 0. Half a byte is a fraction; "
            "divide with `/`.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: ((s + e * x) * (bits // 8), "bytes")),
        ),
        Misconception(
            "gigabytes",
            "47B of memory: the number is in GB, the unit says bytes.",
            wrong=_but("47B of memory", lambda s, x, v, e, k, b, bits: ((s + e * x) * bits / 8e9, "bytes")),
        ),
        Misconception(
            "k_left_out",
            "2 of 8 experts: K is missing. A token leaves a given expert out with probability 1 - K/E; "
            "with 1 - 1/E it would choose a single one.",
            wrong=_but(
                "2 of 8 experts", lambda s, x, v, e, k, b, bits: (e * (1 - (1 - 1 / e) ** b), "experts")
            ),
            hint=3,
        ),
        Misconception(
            "rounded",
            "2 of 8 experts: the average is rounded to a whole number. An average need not be whole: leave "
            "it as it is.",
            wrong=_but(
                "2 of 8 experts",
                lambda s, x, v, e, k, b, bits: (round(e * (1 - (1 - k / e) ** b)), "experts"),
            ),
            hint=3,
        ),
        Misconception(
            "unit_misspelt",
            "The numbers are right, and a unit is not one of the four: `'parameters'`, `'FLOP'`, `'bytes'`, "
            "`'experts'`. (FLOP is an amount; FLOPs reads like its plural, or like a speed.)",
            detects=_unit_misspelt,
        ),
        Misconception(
            "k_for_any_batch",
            "2 of 8 experts: K is returned whatever the batch. It holds for one token; others choose others.",
            wrong=_but("2 of 8 experts", lambda s, x, v, e, k, b, bits: (k, "experts")),
            hint=3,
        ),
        Misconception(
            "no_overlap",
            "2 of 8 experts: K experts are added for every token, as if no two tokens ever chose the same.",
            wrong=_but("2 of 8 experts", lambda s, x, v, e, k, b, bits: (min(e, k * b), "experts")),
            hint=3,
        ),
        Misconception(
            "with_replacement",
            "2 of 8 experts: the K choices of a token are taken as independent draws. They are K different "
            "experts, so one expert is left out by a token with probability 1 - K/E.",
            wrong=_but(
                "2 of 8 experts", lambda s, x, v, e, k, b, bits: (e * (1 - (1 - 1 / e) ** (k * b)), "experts")
            ),
            hint=3,
        ),
        Misconception(
            "untouched",
            "2 of 8 experts: these are the experts that no token touches. Asked for are the others.",
            wrong=_but("2 of 8 experts", lambda s, x, v, e, k, b, bits: (e * (1 - k / e) ** b, "experts")),
            hint=3,
        ),
        Misconception(
            "share",
            "2 of 8 experts: this is the share of the experts that is touched. Asked for is their number.",
            wrong=_but("2 of 8 experts", lambda s, x, v, e, k, b, bits: (1 - (1 - k / e) ** b, "experts")),
            hint=3,
        ),
    ),
    hints=(
        "Take one quote at a time. What does the name or the letter B stand for: parameters, FLOP or bytes?",
        "A token multiplies with `shared - embedding + top_k * expert` weights, two FLOP each.",
        "One token misses a given expert with probability `1 - top_k / n_experts`. All of `batch` tokens?",
    ),
    notice=(
        "The last line is E times the chance that an expert is chosen by anyone; it nears E as the batch "
        "grows, so that large batches read nearly all experts."
    ),
)
