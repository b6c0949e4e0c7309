"""What is said of a design that was returned for 17.design: legal, fitting, good enough."""

from functools import lru_cache

from moe_lessons.budget import Verdict, assess, trained
from moe_lessons.exercises.capstone.costing import NAMES, Shape, budget_of, design_of
from moe_lessons.exercises.spec import Case, Outputs

WITHIN = 1.02
"""Of the loss of the best design of the reference's grid, which the package's search beats by 1 % at most."""
OUTPUTS = ("d_model", "n_experts", "top_k", "d_expert", "bits", "layout")


def shape_of(got: Outputs) -> Shape:
    """What was returned, as plain numbers."""
    d, e, k, f, bits = (int(got[name]) for name in OUTPUTS[:5])
    return d, e, k, f, bits, str(got["layout"])


def verdict(case: Case, got: Outputs) -> Verdict:
    """What the package's simulator says of a returned design."""
    key = tuple(float(case.args[name]) for name in NAMES)  # type: ignore[arg-type]
    return _judged(key, shape_of(got))


@lru_cache(maxsize=4096)
def _judged(key: tuple[float, ...], shape: Shape) -> Verdict:
    """Asked for each property and each mistake, so kept."""
    budget = budget_of(dict(zip(NAMES, key, strict=True)))
    design = design_of(shape)
    if min(shape[:5]) > 0:  # the simulator refuses the others, and needs no tokens for that
        design = trained(design, budget)
    return assess(design, budget)


def legal(case: Case, got: Outputs, want: Outputs) -> str | None:
    """What the simulator refuses, if anything."""
    refused = verdict(case, got).refused
    return f"refused: {refused[0]}" if refused else None


def fits(case: Case, got: Outputs, want: Outputs) -> str | None:
    """What there is too little of, if anything."""
    found = verdict(case, got)
    assert found.price is not None
    memory, seconds = (float(case.args[name]) for name in ("memory", "seconds"))  # type: ignore[arg-type]
    if found.price.memory_bytes > memory * (1 + 1e-9):
        return f"needs {found.price.memory_bytes / 1e9:,.2f} GB on a device that has {memory / 1e9:.2f}"
    if found.price.seconds > seconds * (1 + 1e-9):
        return f"a step takes {1e3 * found.price.seconds:,.2f} ms; {1e3 * seconds:.2f} are allowed"
    return None


def good(case: Case, got: Outputs, want: Outputs) -> str | None:
    """By how much a design is too poor, if it is."""
    loss, possible = verdict(case, got).loss, verdict(case, want).loss
    assert loss is not None
    assert possible is not None
    if loss <= WITHIN * possible:
        return None
    return f"predicted loss {loss:.3f}; {possible:.3f} is possible, and 2 % above that is enough"


def right(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether nothing is to be said about a design."""
    return not any(test(case, got, want) for test in (legal, fits, good))
