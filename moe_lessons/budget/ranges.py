"""Where each part of the simulator was measured: what lies outside is refused, in a line, with the source.

A law that is asked where nobody has trained anything answers all the same, and a search finds such places
before anything else: one expert of ten thousand wins every comparison. So there is no answer outside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from moe_lessons.accounting.written import written
from moe_lessons.budget.means import Budget
from moe_lessons.budget.shape import HEAD, LAYOUTS, Design, as_chosen


@dataclass(frozen=True)
class Range:
    """The least and greatest value of a quantity, and who measured there."""

    low: float
    high: float
    source: str

    def refuses(self, name: str, value: float) -> str | None:
        """Say in a line why a value is outside, or None.

        Examples
        --------
        >>> Range(2, 16, "a paper").refuses("2 d_model / d_expert", 512.0)
        '2 d_model / d_expert is 512: measured from 2 to 16 (a paper)'
        >>> Range(2, 16, "a paper").refuses("2 d_model / d_expert", 16.0001)
        '2 d_model / d_expert is 16.0001: measured from 2 to 16 (a paper)'
        >>> Range(2, 16, "a paper").refuses("2 d_model / d_expert", 16)
        """
        if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9):
            return None
        said, low, high = written(value), written(self.low), written(self.high)
        if said in (low, high):  # outside by less than is written
            said = repr(value)
        return f"{name} is {said}: measured from {low} to {high} ({self.source})"


LING = "arXiv 2507.17702, section 4.1"
RANGES = {
    "d_model": Range(512, 16_384, "the models that the course counts"),
    "d_model / n_layers": Range(32, 128, "GPT-2 XL has 33, Mixtral 128; arXiv 2001.08361, figure 5"),
    "n_heads * 128 / d_model": Range(1, 2, "Mixtral has 1, Qwen3-235B-A22B 2; arXiv 2001.08361, figure 5"),
    "n_experts": Range(8, 512, "Mixtral has 8, Qwen3-Next-80B-A3B 512"),
    "active / all experts": Range(1 / 128, 0.5, LING),
    "2 d_model / d_expert": Range(2, 16, LING),
    "n_shared": Range(0, 1, "DeepSeek-V3 has 1; no law here tells shared experts from others"),
    "active hidden width / d_model": Range(2, 7, "Qwen3.5-35B-A3B has 2.25, Mixtral 7"),
    "repetitions of the text": Range(0, 4, "arXiv 2305.16264: up to 4 hardly worse than fresh text"),
    "tokens / active parameter": Range(0.3, 10_000, "arXiv 2203.15556 from there, 2401.00448 up to there"),
    "training FLOPs": Range(1e18, 1e26, "arXiv 2507.17702 begins there; ten times the largest budget here"),
}
LARGEST_LEVERAGE_FLOPS = 5.1e21
"""Ling-mini-beta, .85 billion active parameters and 1e12 tokens, confirmed the law there; further on the
leverage is taken from here and grows no more (arXiv 2507.17702, abstract)."""
FITTED_SIZE, FITTED_TOKENS = (70e6, 16e9), (5e9, 500e9)
"""The dense models behind the law of loss (arXiv 2203.15556, abstract)."""
BITS = (4, 8, 16)
LARGEST, MOST_TOKENS = 2**31, 1e30
"""What is counted at all: far outside every range, and far inside of what a float holds."""


def refusals(design: Design, budget: Budget) -> tuple[str, ...]:
    """Say everything about a design that the simulator has no right to judge; empty if there is nothing.

    Examples
    --------
    >>> from moe_lessons.budget.means import LAB
    >>> from moe_lessons.budget.shape import usual
    >>> refusals(usual(2048, 512, 2, 2048), LAB)[0]
    'active / all experts is 0.003906: measured from 0.007812 to 0.5 (arXiv 2507.17702, section 4.1)'
    """
    design = as_chosen(design)
    return no_numbers(design) or tuple(_outside(design, budget))


def no_numbers(design: Design) -> tuple[str, ...]:
    """Say which choices are no number of anything, or no layout.

    Only Python's own numbers count, and no subclass of them: those compare as they please.

    Examples
    --------
    >>> from moe_lessons.budget.shape import usual
    >>> no_numbers(usual(2048, 64, -8, 512))
    ('top_k is -8: choose a whole number from 1 to 2,147,483,648, an int',)
    """
    return tuple(_no_numbers(design))


def _no_numbers(design: Design) -> Iterator[str]:
    for name in ("d_model", "n_layers", "n_heads", "n_experts", "top_k", "d_expert", "n_shared", "bits"):
        value, least = getattr(design, name), 0 if name == "n_shared" else 1
        if type(value) is not int or not least <= value <= LARGEST:
            yield f"{name} is {_shown(value)}: choose a whole number from {least} to {LARGEST:,}, an int"
    if type(design.tokens) not in (int, float) or not 0 < design.tokens <= MOST_TOKENS:
        yield f"tokens is {_shown(design.tokens)}: choose a positive number up to {written(MOST_TOKENS)}"
    if type(design.layout) is not str or design.layout not in LAYOUTS:
        yield f"layout is {_shown(design.layout)}: choose one of {', '.join(LAYOUTS)}"


def _shown(value: object) -> str:
    """A value in a line: numbers as they are written, all else briefly."""
    if type(value) in (int, float):
        return written(value)  # type: ignore[arg-type]
    try:
        said = " ".join(repr(value).split())
    except Exception:
        return f"a {type(value).__name__}"
    return said if len(said) <= 60 else f"{said[:59]}…"


def _outside(design: Design, budget: Budget) -> Iterator[str]:
    if design.d_model % HEAD:
        yield f"d_model is {written(design.d_model)}: choose a multiple of {HEAD}, the width of a head"
    if design.bits not in BITS:
        bits = written(design.bits)
        yield f"bits is {bits}: what 4, 8 and 16 cost was measured (llama.cpp, quantize/README.md)"
    if design.top_k > design.n_experts:
        yield f"top_k is {written(design.top_k)}: choose at most n_experts={design.n_experts:,}"
    values = {
        "d_model": design.d_model,
        "d_model / n_layers": design.d_model / design.n_layers,
        "n_heads * 128 / d_model": design.n_heads * HEAD / design.d_model,
        "repetitions of the text": design.tokens / budget.tokens,
        "tokens / active parameter": design.tokens / design.active,
        "training FLOPs": 6.0 * design.active * design.tokens,
        "active hidden width / d_model": (design.top_k + design.n_shared) * design.d_expert / design.d_model,
    }
    if design.dense:
        if design.n_shared:
            yield f"n_shared is {written(design.n_shared)} with one expert: a dense model has none beside it"
    else:
        values |= {
            "n_experts": design.n_experts,
            "active / all experts": design.activation,
            "2 d_model / d_expert": design.granularity,
            "n_shared": design.n_shared,
        }
    for name, value in values.items():
        if said := RANGES[name].refuses(name, value):
            yield said
    yield from _layout(design, budget)


def _layout(design: Design, budget: Budget) -> Iterator[str]:
    if design.layout == "one":
        return
    if budget.devices == 1:
        yield f"layout is {design.layout!r}: there is one device to lay it out on"
    elif design.layout == "experts" and design.n_experts % budget.devices:
        yield f"n_experts is {written(design.n_experts)}: {budget.devices:,} devices cannot have equally many"
    elif design.layout == "experts" and budget.batch % budget.devices:
        yield f"batch is {written(budget.batch)}: {budget.devices:,} devices cannot have equally many users"
    elif design.layout == "all" and design.n_kv_heads % budget.devices:
        heads = written(design.n_kv_heads)
        yield f"n_kv_heads is {heads}: {budget.devices:,} devices cannot have equally many"
