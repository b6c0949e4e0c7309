"""Exercise 13.merge: two experts made into one, their hidden units put in the same order first."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.adaptation.merge_cases import draw
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Expert = tuple[Tensor, Tensor]


def _products(gate_up_a: Tensor, down_a: Tensor, gate_up_b: Tensor, down_b: Tensor, parts: str) -> Tensor:
    """Inner products [F, F] of a's units with b's, over the parts that are named."""
    n = down_a.shape[1]
    total = torch.zeros(n, n)
    for part, one, other in (
        ("g", gate_up_a[:n], gate_up_b[:n]),
        ("u", gate_up_a[n:], gate_up_b[n:]),
        ("d", down_a.T, down_b.T),
    ):
        total = total + one @ other.T if part in parts else total
    return total


def matched(products_FF: Tensor, *, best: bool = True) -> Tensor:
    """For each unit of a, the unit of b that it is paired with."""
    from scipy.optimize import linear_sum_assignment  # large, and few exercises need it

    return torch.from_numpy(linear_sum_assignment(products_FF.detach().numpy(), maximize=best)[1])


Given = tuple[Tensor, Tensor, Tensor, Tensor, float]


def _order(given: Given, parts: str = "gud", *, best: bool = True) -> Tensor:
    return matched(_products(*given[:4], parts), best=best)


def _mixed(given: Given, orders: Sequence[Tensor], weight: float | None = None) -> Expert:
    """The weighted mean, with b's gates, ups and downs in these orders (up counted from 0)."""
    gate, up, down = orders
    gate_up_a, down_a, gate_up_b, down_b, w = given
    w, n = w if weight is None else weight, down_a.shape[1]
    rows = torch.cat([gate_up_b[:n][gate], gate_up_b[n:][up]])
    return w * gate_up_a + (1 - w) * rows, w * down_a + (1 - w) * down_b[:, down]


def reference(
    gate_up_a_HD: Tensor, down_a_DF: Tensor, gate_up_b_HD: Tensor, down_b_DF: Tensor, weight_a: float
) -> Expert:
    """Match units by all three of their vectors, reorder b, and average."""
    given = gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a
    return _mixed(given, _same(_order(given)))


Wrong = Callable[..., Expert]


def _ordered(how: Callable[[Tensor], Sequence[Tensor]], parts: str = "gud", *, best: bool = True) -> Wrong:
    """The right mean, with the orders of gate, up and down made of the match."""
    return lambda *given: _mixed(given, how(_order(given, parts, best=best)))


def _same(order: Tensor) -> Sequence[Tensor]:
    return order, order, order


def _stays(order: Tensor) -> Tensor:
    return torch.arange(len(order))


def _weighted(weight: Callable[[float], float]) -> Wrong:
    return lambda *given: _mixed(given, _same(_order(given)), weight(given[4]))


def _summed(factor: float) -> Wrong:
    def wrong(*given: Tensor) -> Expert:
        merged = _mixed(given, _same(_order(given)), 0.5)  # type: ignore[arg-type]
        return 2 * factor * merged[0], 2 * factor * merged[1]

    return wrong


def _a_moved(*given: Tensor) -> Expert:
    gate_up_a, down_a, gate_up_b, down_b, w = given
    turned = gate_up_b, down_b, gate_up_a, down_a, 1 - w
    return _mixed(turned, _same(_order(turned)))  # type: ignore[arg-type]


def _offset_forgotten(*given: Tensor) -> Expert:
    """`rows[cat([p, p])]`: the up rows are b's gates once more."""
    order = _order(given)  # type: ignore[arg-type]
    gate_up_a, down_a, gate_up_b, down_b, w = given
    rows = gate_up_b[torch.cat([order, order])]
    return w * gate_up_a + (1 - w) * rows, w * down_a + (1 - w) * down_b[:, order]


def _by_length(*given: Tensor) -> Expert:
    lengths = [torch.cat([*gu.chunk(2), d.T], dim=1).norm(dim=1) for gu, d in (given[:2], given[2:4])]
    order = torch.empty_like(lengths[0], dtype=torch.long)
    order[lengths[0].argsort()] = lengths[1].argsort()
    return _mixed(given, _same(order))  # type: ignore[arg-type]


def _each_its_best(*given: Tensor) -> Expert:
    return _mixed(given, _same(_products(given[0], given[1], given[2], given[3], "gud").argmax(dim=1)))  # type: ignore[arg-type]


def _largest_first(*given: Tensor) -> Expert:
    """The largest product of all makes a pair, then the largest of what is left."""
    products_FF = _products(given[0], given[1], given[2], given[3], "gud").detach().clone()
    order = torch.zeros(len(products_FF), dtype=torch.long)
    for _ in order:
        i, j = divmod(int(products_FF.argmax()), len(order))
        order[i] = j
        products_FF[i], products_FF[:, j] = -torch.inf, -torch.inf
    return _mixed(given, _same(order))  # type: ignore[arg-type]


def _whole_units(case: Case, got: Outputs, want: Outputs) -> str | None:
    """Less a's share, each unit must be one of b's: its gate, its up and its down together."""
    arg = {name: np.asarray(value, dtype=float) for name, value in case.args.items()}
    w, n = float(arg["weight_a"]), arg["down_a_DF"].shape[1]
    left = [
        (np.asarray(got[part], dtype=float) - w * arg[a]) / (1 - w)
        for part, a in (("gate_up_HD", "gate_up_a_HD"), ("down_DF", "down_a_DF"))
    ]
    units = np.concatenate([left[0][:n], left[0][n:], left[1].T], axis=1)
    others = np.concatenate([arg["gate_up_b_HD"][:n], arg["gate_up_b_HD"][n:], arg["down_b_DF"].T], axis=1)
    gaps = np.abs(units[:, None] - others[None]).max(axis=2)
    lost = [i for i in range(n) if not gaps[i].min() < 1e-3]
    if lost:
        return f"unit {lost[0]}, less a's share of it, is none of b's units"
    return None


MERGE = Exercise(
    id="13.merge",
    title="Two into one",
    task=(
        "Merge experts a and b into a weighted mean, `weight_a` of a and the rest of b. First bring b's F "
        "hidden units into a's order: pair them so that the sum, over all pairs, of the inner products of "
        "their gate rows, up rows and down columns is as large as possible. `gate_up` holds F gate rows, "
        "then F up rows. Return `gate_up` and `down` of the merged expert, its units in a's order. "
        "`scipy.optimize.linear_sum_assignment` is allowed."
    ),
    entry="merge",
    points=4,
    minutes=20,
    difficulty=4,
    gradient="ignored",
    outputs=(Output("gate_up_HD", "HD"), Output("down_DF", "DF")),
    draw=draw,
    reference=reference,
    properties=(Property("the merged units are made of whole ones", _whole_units),),
    misconceptions=(
        Misconception(
            "not_aligned",
            "The experts were averaged as they lie. Hidden units have no order: unit 3 of one may do what "
            "unit 7 of the other does, and a mean of the two does neither. Pair them first.",
            wrong=_ordered(lambda p: _same(_stays(p))),
            also=(lambda *given: _mixed(given, _same(_stays(given[1][0])), 0.5),),
            hint=1,
        ),
        Misconception(
            "worst_match",
            "The pairs have the *smallest* total. `linear_sum_assignment` minimises unless told otherwise, "
            "and inner products are no costs.",
            wrong=_ordered(_same, best=False),
            hint=2,
        ),
        Misconception(
            "inverse_order",
            "The pairs are right, and b was moved the other way. What is needed is, for each unit of a, the "
            "place of its partner in b; here b was indexed by the inverse of that.",
            wrong=_ordered(lambda p: _same(p.argsort())),
            hint=3,
        ),
        Misconception(
            "down_stays",
            "Gate and up rows were moved, the columns of `down` were not. A unit has all three: b's own "
            "output is lost if they part.",
            wrong=_ordered(lambda p: (p, p, _stays(p))),
            hint=1,
        ),
        Misconception(
            "down_inverse",
            "The columns of `down` were moved the other way than the rows of gate and up. They are the same "
            "units: the same index.",
            wrong=_ordered(lambda p: (p, p, p.argsort())),
            hint=3,
        ),
        Misconception(
            "up_stays",
            "Only the gate rows were moved. Row F + i of `gate_up` is unit i, too.",
            wrong=_ordered(lambda p: (p, _stays(p), p)),
            also=(_ordered(lambda p: (p, _stays(p), _stays(p))),),
            hint=1,
        ),
        Misconception(
            "rows_stay",
            "Only the columns of `down` were moved, its units' gate and up rows were not.",
            wrong=_ordered(lambda p: (_stays(p), _stays(p), p)),
            hint=1,
        ),
        Misconception(
            "offset_forgotten",
            "In the place of the up rows stand gate rows: the index was used twice without adding F for the "
            "second half.",
            wrong=_offset_forgotten,
            hint=3,
        ),
        Misconception(
            "matched_by_one_part",
            "Units were paired by only some of their vectors. Two units may have like gates and do different "
            "things: add up the products of gate, up and down.",
            wrong=_ordered(_same, "g"),
            also=tuple(_ordered(_same, parts) for parts in ("d", "u", "gu")),
            hint=2,
        ),
        Misconception(
            "each_its_best",
            "Each unit took the partner that goes best with it, taken already or not, or the best pair was "
            "made first. Asked is the pairing with the largest *sum*, each unit in it once.",
            wrong=_each_its_best,
            also=(_largest_first,),
            hint=2,
        ),
        Misconception(
            "matched_by_length",
            "Units were paired by their lengths, the longest with the longest. Length does not say in which "
            "direction a vector points.",
            wrong=_by_length,
            hint=2,
        ),
        Misconception(
            "a_moved",
            "a was brought into b's order. The merged expert computes the same; asked is a's order, so that "
            "a third one can be merged into it.",
            wrong=_a_moved,
            hint=3,
        ),
        Misconception(
            "plain_mean",
            "Both count alike. `weight_a` says how much of a there is to be: it may have seen far more "
            "tokens.",
            wrong=_weighted(lambda w: 0.5),
            hint=1,
        ),
        Misconception(
            "weights_swapped",
            "`weight_a` was given to b.",
            wrong=_weighted(lambda w: 1 - w),
            hint=1,
        ),
        Misconception(
            "summed",
            "The two were added up. An expert twice as large gives an output that is several times as large: "
            "a mean is asked.",
            wrong=_summed(1.0),
            hint=1,
        ),
        Misconception(
            "one_alone",
            "One of the two is returned as it is, perhaps in another order. Asked is the weighted mean.",
            wrong=_weighted(lambda w: 0.0),
            also=(
                _weighted(lambda w: 1.0),
                lambda *given: _mixed(given, _same(_stays(given[1][0])), 0.0),
            ),
            hint=1,
        ),
    ),
    hints=(
        "Shuffle an expert's hidden units: which rows and columns must move together for its output to stay "
        "the same?",
        "A table [F, F] of inner products: `gate_a @ gate_b.T + up_a @ up_b.T + down_a.T @ down_b`. "
        "`linear_sum_assignment(table.numpy(), maximize=True)[1]` has, for each unit of a, its partner in b.",
        "With `p` for that index: `gate_b[p]`, `up_b[p]`, `down_b[:, p]`, then the weighted mean of each.",
    ),
    notice=(
        "Units can be paired by what they *do* on data as well, which is dearer, and for the models of this "
        "lesson no better."
    ),
)
