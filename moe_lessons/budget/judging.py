"""A verdict on a design: refused, too large or too slow for the budget, or a loss; and how much it uses."""

from dataclasses import dataclass

from moe_lessons.budget.means import Budget
from moe_lessons.budget.price import Price, price
from moe_lessons.budget.quality import predicted_loss, stretched
from moe_lessons.budget.ranges import RANGES, refusals
from moe_lessons.budget.shape import Design, as_chosen

RESOURCES = ("flops", "tokens", "memory", "seconds")
ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Verdict:
    """What the simulator says of a design under a budget.

    Attributes
    ----------
    refused : tuple of str
        Why there is no verdict; everything else is then empty.
    loss : float or None
        Nats a token, whether it fits or not; None where it was refused.
    uses : dict
        Share of each of ``RESOURCES`` that is used; above 1 is too much. Of text, of all repetitions allowed.
    price : Price or None
    stretched : tuple of str
        The laws that were asked beyond the models they were fitted on.
    """

    refused: tuple[str, ...]
    loss: float | None = None
    uses: dict[str, float] | None = None
    price: Price | None = None
    stretched: tuple[str, ...] = ()

    @property
    def over(self) -> tuple[str, ...]:
        """The resources that do not suffice."""
        return tuple(name for name, share in (self.uses or {}).items() if share > ROUNDING)

    @property
    def fits(self) -> bool:
        """Whether there is a verdict, and the budget suffices."""
        return not self.refused and not self.over

    @property
    def fullest(self) -> str:
        """The resource that is used to the highest share: rarely the one that more of would help most."""
        assert self.uses is not None, "refused designs use nothing"
        return max(self.uses, key=self.uses.__getitem__)

    def __str__(self) -> str:
        if self.refused:
            return "refused: " + "; ".join(self.refused)
        assert self.uses is not None
        shares = ", ".join(f"{name} {100 * share:,.0f} %" for name, share in self.uses.items())
        return f"loss {self.loss:.3f}, {'fits' if self.fits else 'does not fit'} ({shares})"


def assess(design: Design, budget: Budget) -> Verdict:
    """Judge a design under a budget, or say why it cannot be judged.

    Parameters
    ----------
    design : Design
    budget : Budget

    Returns
    -------
    Verdict

    Examples
    --------
    >>> from moe_lessons.budget.means import BUSY, LAB
    >>> from moe_lessons.budget.shape import usual
    >>> print(assess(usual(2048, 256, 8, 512, tokens=2e11), LAB))
    loss 2.194, fits (flops 86 %, tokens 5 %, memory 38 %, seconds 5 %)
    >>> print(assess(usual(2048, 256, 64, 64, tokens=2e11), LAB))
    refused: 2 d_model / d_expert is 64: measured from 2 to 16 (arXiv 2507.17702, section 4.1)
    """
    design = as_chosen(design)
    refused = refusals(design, budget)
    if refused:
        return Verdict(refused)
    cost = price(design, budget)
    uses = {
        "flops": 6.0 * design.active * design.tokens / budget.flops,
        "tokens": design.tokens / (RANGES["repetitions of the text"].high * budget.tokens),
        "memory": cost.memory_bytes / budget.memory,
        "seconds": cost.seconds / budget.seconds,
    }
    loss = predicted_loss(design, budget.tokens)
    return Verdict((), loss, uses, cost, stretched(design, budget.tokens))
