"""The rule of 04.diagnose, and what those return who take another one."""

from collections.abc import Callable

import torch


def effective(shares: torch.Tensor) -> torch.Tensor:
    """Exponential of the entropy along the last axis."""
    return torch.special.entr(shares).sum(dim=-1).exp()


def diagnosis(
    *, collapsed: bool, oscillates: bool, falls: bool, starves: bool, first_of_all_starves: bool = False
) -> str:
    """The first name that applies."""
    if first_of_all_starves and starves:
        return "dead expert"
    if collapsed:
        return "collapsed"
    if oscillates:
        return "oscillating"
    if falls:
        return "collapsing"
    return "dead expert" if starves else "healthy"


def facts(
    shares_NE: torch.Tensor,
    late_NE: torch.Tensor | None = None,
    n: Callable[[torch.Tensor], torch.Tensor] = effective,
) -> dict[str, bool]:
    """Answer the four questions as the task asks them, or with other late rows or another n."""
    n_experts = shares_NE.shape[1]
    quarters = shares_NE.chunk(4)
    late_NE = quarters[3] if late_NE is None else late_NE
    n_1, n_2, n_3, n_4 = (float(n(quarter.mean(dim=0))) for quarter in quarters)
    half = n_experts / 2
    return {
        "collapsed": float(n(late_NE.mean(dim=0))) < half,
        "oscillates": float(n(late_NE).mean()) < half,
        "falls": n_1 > n_2 > n_3 > n_4 and n_1 - n_4 >= 1,
        "starves": bool((late_NE == 0).all(dim=0).any()),
    }


def reference(shares_NE: torch.Tensor) -> str:
    """Answer the four questions and return the first name that applies."""
    return diagnosis(**facts(shares_NE))


def rows_fall(shares_NE: torch.Tensor) -> dict[str, bool]:
    """The fall, judged by the mean of the rows' n instead of the n of the mean."""
    n_1, n_2, n_3, n_4 = (float(effective(quarter).mean()) for quarter in shares_NE.chunk(4))
    return {"falls": n_1 > n_2 > n_3 > n_4 and n_1 - n_4 >= 1}


def fall_of_rows(shares_NE: torch.Tensor) -> str:
    """The mean of the rows' n where the fall is asked for, and only there."""
    return diagnosis(**{**facts(shares_NE), **rows_fall(shares_NE)})


def rows_everywhere(shares_NE: torch.Tensor) -> str:
    """The mean of the rows' n wherever n is asked for."""
    seen = facts(shares_NE)
    return diagnosis(**{**seen, **rows_fall(shares_NE), "collapsed": seen["oscillates"]})


def dead_before_collapsing(shares_NE: torch.Tensor) -> str:
    """A starved expert rules out that the run is collapsing."""
    seen = facts(shares_NE)
    return diagnosis(**{**seen, "falls": seen["falls"] and not seen["starves"]})


def oscillating_first(shares_NE: torch.Tensor) -> str:
    """Oscillating is asked before collapsed."""
    seen = facts(shares_NE)
    return diagnosis(**{**seen, "collapsed": seen["collapsed"] and not seen["oscillates"]})


def experts_used(shares_NE: torch.Tensor) -> str:
    """E is the number of experts that were ever used."""
    return diagnosis(**facts(shares_NE[:, shares_NE.sum(dim=0) > 0]) | starves(shares_NE))


def starves(shares_NE: torch.Tensor) -> dict[str, bool]:
    """The question whether an expert starves, alone."""
    return {"starves": facts(shares_NE)["starves"]}


def last_row(shares_NE: torch.Tensor) -> str:
    """The last row stands for the last quarter."""
    return diagnosis(**facts(shares_NE, shares_NE[-1:]))


def whole(shares_NE: torch.Tensor) -> str:
    """The whole history stands for the last quarter."""
    return diagnosis(**facts(shares_NE, shares_NE))


def one_uneven_row(shares_NE: torch.Tensor) -> str:
    """A single uneven row counts as oscillation."""
    uneven = bool((effective(shares_NE.chunk(4)[3]) < shares_NE.shape[1] / 2).any())
    return diagnosis(**{**facts(shares_NE), "oscillates": uneven})


def whole_collapsed(shares_NE: torch.Tensor) -> str:
    """Collapsed is judged by the mean of the whole history, the rest as asked."""
    collapsed = facts(shares_NE, shares_NE)["collapsed"]
    return diagnosis(**{**facts(shares_NE), "collapsed": collapsed})


def whole_oscillates(shares_NE: torch.Tensor) -> str:
    """Oscillation is judged by the rows of the whole history, the rest as asked."""
    oscillates = facts(shares_NE, shares_NE)["oscillates"]
    return diagnosis(**{**facts(shares_NE), "oscillates": oscillates})


def one_in_each(shares_NE: torch.Tensor) -> str:
    """A fall of 1 is asked of every step."""
    n_1, n_2, n_3, n_4 = (float(effective(quarter.mean(dim=0))) for quarter in shares_NE.chunk(4))
    return diagnosis(**{**facts(shares_NE), "falls": min(n_1 - n_2, n_2 - n_3, n_3 - n_4) >= 1})


def max_share(shares_NE: torch.Tensor) -> str:
    """The largest share stands for n."""
    late_NE = shares_NE.chunk(4)[3]
    seen = {
        "collapsed": bool(late_NE.mean(dim=0).max() > 0.5),
        "oscillates": bool(late_NE.amax(dim=-1).mean() > 0.5),
    }
    return diagnosis(**{**facts(shares_NE), **seen})


def quiet(shares_NE: torch.Tensor) -> str:
    """Starved is who has less than half of an even share."""
    quiet = bool((shares_NE.chunk(4)[3].mean(dim=0) < 0.5 / shares_NE.shape[1]).any())
    return diagnosis(**{**facts(shares_NE), "starves": quiet})


def rested(shares_NE: torch.Tensor) -> str:
    """Starved is who had one interval without a token."""
    return diagnosis(**{**facts(shares_NE), "starves": bool((shares_NE.chunk(4)[3] == 0).any())})


def mean_of_rows(shares_NE: torch.Tensor) -> str:
    """Collapsed is judged by the mean of the rows' n."""
    seen = facts(shares_NE)
    return diagnosis(**{**seen, "collapsed": seen["oscillates"]})


def ends(shares_NE: torch.Tensor) -> str:
    """The fall is judged by the first and the last quarter alone."""
    first, *_, last = shares_NE.chunk(4)
    fell = float(effective(first.mean(dim=0)) - effective(last.mean(dim=0))) >= 1
    return diagnosis(**{**facts(shares_NE), "falls": fell})


def any_fall(shares_NE: torch.Tensor) -> str:
    """Any fall counts, however small."""
    n_1, n_2, n_3, n_4 = (float(effective(quarter.mean(dim=0))) for quarter in shares_NE.chunk(4))
    return diagnosis(**{**facts(shares_NE), "falls": n_1 > n_2 > n_3 > n_4})


def dead_first(shares_NE: torch.Tensor) -> str:
    """A starved expert is asked for before all else."""
    return diagnosis(**facts(shares_NE), first_of_all_starves=True)


def other_number(shares_NE: torch.Tensor) -> str:
    """n is 1 over the sum of squares."""
    return diagnosis(**facts(shares_NE, n=lambda shares: 1 / shares.square().sum(dim=-1)))


def nan(shares_NE: torch.Tensor) -> str:
    """0 log 0 becomes NaN."""
    return diagnosis(**facts(shares_NE, n=lambda shares: (-(shares * shares.log()).sum(dim=-1)).exp()))


def no_exp(shares_NE: torch.Tensor) -> str:
    """The entropy stands for its exponential."""
    late_NE = shares_NE.chunk(4)[3]
    entropies = torch.special.entr(late_NE.mean(dim=0)).sum()
    return diagnosis(**{**facts(shares_NE), "collapsed": bool(entropies < shares_NE.shape[1] / 2)})
