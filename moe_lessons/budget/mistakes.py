"""Which mistake a design looks like that does not fit, or fits and is far from the best."""

from dataclasses import dataclass, replace

from moe_lessons.budget.judging import Verdict
from moe_lessons.budget.means import Budget
from moe_lessons.budget.price import price
from moe_lessons.budget.quality import STORED_BITS, leverage, size
from moe_lessons.budget.searching import Found, trained
from moe_lessons.budget.shape import Design


@dataclass(frozen=True)
class Mistake:
    """A name, and what to say to who makes it."""

    id: str
    message: str


MISTAKES = {
    m.id: m
    for m in (
        Mistake(
            "active_in_memory",
            "It would fit if only the experts of one token had to be held. All of them must be: which ones "
            "the next token needs is not known before.",
        ),
        Mistake(
            "cache_forgotten",
            "The weights fit, and no room is left for the caches. Every user has one, as long as the "
            "context.",
        ),
        Mistake(
            "one_of_many",
            "One device does all the work, and others stand idle. Lay the model out over them.",
        ),
        Mistake(
            "rest_not_on_each",
            "Experts are spread out, the rest is on every device in full: that is what does not fit.",
        ),
        Mistake(
            "too_large",
            "There are more weights than memory. Fewer experts, fewer bits or a narrower model take less.",
        ),
        Mistake(
            "exchange_forgotten",
            "It would be fast enough if nothing had to travel. Two exchanges a layer grow with `top_k` and "
            "the batch; another layout has others.",
        ),
        Mistake(
            "batch_of_one",
            "For one user it would be fast enough. A batch touches more experts than a token does, and reads "
            "every user's cache.",
        ),
        Mistake(
            "too_slow",
            "A step reads or multiplies more than there is time for. What a token passes has to shrink, or "
            "take fewer bits.",
        ),
        Mistake(
            "training_not_paid",
            "Six operations for each active parameter and token are more than the compute pays for. Train on "
            "fewer tokens, or make a token pass less.",
        ),
        Mistake(
            "stopped_early",
            "Compute and text are left over: with more tokens the same model is better, at no cost when it "
            "is served.",
        ),
        Mistake(
            "text_forgotten",
            "The model is larger than the best one and has seen fewer tokens. Compute spent on size is not "
            "spent on text.",
        ),
        Mistake(
            "experts_buy_nothing",
            "A larger share of the experts works for each token than in the best design. More experts for "
            "the same work make it act like a larger model, as long as there is memory.",
        ),
        Mistake(
            "too_sparse",
            "A smaller share of the experts works for each token than in the best design. The experts that "
            "idle take memory, and more of what a token passes would do more.",
        ),
        Mistake(
            "bits_too_many",
            "The weights take more bits than in the best design. Eight cost next to nothing in quality; what "
            "they free can hold experts.",
        ),
        Mistake(
            "bits_too_few",
            "Four bits cost quality, and here bytes are not what is scarce.",
        ),
        Mistake(
            "room_left",
            "The model is smaller than the best one, and there is room for more. What binds has not been "
            "used.",
        ),
        Mistake(
            "other_shape",
            "Size and tokens are about right; width, the size of an expert and `top_k` share them out badly.",
        ),
    )
}


def mistake(design: Design, verdict: Verdict, budget: Budget, best: Found | None) -> Mistake | None:
    """Name what a design looks like, if anything is wrong with it; None if it was refused or is good.

    Parameters
    ----------
    design, verdict, budget : Design, Verdict, Budget
        What was judged.
    best : Found or None
        The best design, from `search`.

    Examples
    --------
    >>> from moe_lessons.budget import KINDS, assess, usual
    >>> phone, design = KINDS["phone"], usual(4096, 128, 8, 1024, bits=4, tokens=1e11)
    >>> mistake(design, assess(design, phone), phone, None).id
    'active_in_memory'
    """
    if verdict.refused:
        return None
    name = _over(design, verdict, budget) or _worse(design, budget, best)
    return MISTAKES[name] if name else None


def _over(design: Design, verdict: Verdict, budget: Budget) -> str | None:
    cost = verdict.price
    assert cost is not None
    if "memory" in verdict.over:
        if design.layout == "one" and 1 < budget.devices >= cost.memory_bytes / budget.memory:
            return "one_of_many"
        if cost.weight_bytes <= budget.memory:
            return "cache_forgotten"
        spread = price(replace(design, layout="all"), budget)
        if design.layout == "experts" and spread.memory_bytes <= budget.memory:
            return "rest_not_on_each"
        active = design.active * STORED_BITS[design.bits] / 8 + cost.cache_bytes
        return "active_in_memory" if not design.dense and active <= budget.memory else "too_large"
    if "seconds" in verdict.over:
        if cost.exchange_s and cost.seconds - cost.exchange_s <= budget.seconds:
            return "exchange_forgotten"
        alone = price(replace(design, layout="one"), replace(budget, batch=1))
        if budget.batch > 1 and alone.seconds <= budget.seconds:
            return "batch_of_one"
        return "one_of_many" if design.layout == "one" and budget.devices > 1 else "too_slow"
    return "training_not_paid" if "flops" in verdict.over else None


def _worse(design: Design, budget: Budget, best: Found | None) -> str | None:
    if best is None:
        return None
    most, mark = trained(design, budget), best.design
    acts, wanted = (size(d) * leverage(d) for d in (design, mark))
    for name, holds in {
        "stopped_early": design.tokens < 0.8 * most.tokens,
        "one_of_many": design.layout == "one" != mark.layout,
        "bits_too_many": design.bits > max(8, mark.bits),
        "text_forgotten": acts > 1.3 * wanted and design.tokens < mark.tokens,
        "bits_too_few": design.bits < mark.bits,
        "experts_buy_nothing": design.activation > 2 * mark.activation,
        "too_sparse": design.activation < mark.activation / 2,
        "room_left": design.total < 0.7 * mark.total,
    }.items():
        if holds:
            return name
    return "other_shape"
