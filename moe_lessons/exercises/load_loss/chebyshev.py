"""Exercise 05.chebyshev: the proof that co-sorted f and P give at least the balanced value, as code."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Triple = tuple[Tensor, Tensor, bool]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Co-sorted with ties, not co-sorted above and below or far apart, one constant, f that sums to K."""
    f_E, P_E = _sorted_shares(rng, 4), _sorted_shares(rng, 4)
    ahead_E, tied_E = _sorted_shares(rng, 5), _sorted_shares(rng, 5)
    tied_E[1] = tied_E[2]
    order, zigzag = rng.permutation(5), [2, 0, 3, 1]
    third_E, rising_E = np.full(3, 1 / 3, dtype=np.float32), _sorted_shares(rng, 3)
    return [
        _case("both in one order", f_E[zigzag], P_E[zigzag]),
        _case("opposite orders", f_E, P_E[::-1]),
        # One pair of neighbours swapped: the sum stays above, the order does not hold.
        _case("nearly one order", f_E, P_E[[0, 2, 1, 3]]),
        # Up, down, up in both, so neighbours agree; the first and the third do not.
        _case("up and down together", f_E[[1, 3, 0, 2]], P_E[[0, 3, 1, 2]]),
        _case("one order with a tie", ahead_E[order], tied_E[order]),
        _case("f constant", third_E, rising_E[::-1]),
        _case("P constant, f sums to 2", 2 * rising_E, third_E),
        _case("f sums to 3", 3 * f_E, P_E),
    ]


def _sorted_shares(rng: np.random.Generator, n_experts: int) -> np.ndarray:
    """Rising shares that sum to 1, well apart."""
    raw_E = np.arange(1, n_experts + 1) + rng.uniform(-0.2, 0.2, n_experts)
    return (raw_E / raw_E.sum()).astype(np.float32)


def _case(name: str, f_E: np.ndarray, P_E: np.ndarray) -> Case:
    args: dict[str, Plain] = {
        "f_E": np.ascontiguousarray(f_E, dtype=np.float32),
        "P_E": np.ascontiguousarray(P_E, dtype=np.float32),
    }
    return Case(name, args)


def _differences(x_E: Tensor) -> Tensor:
    return x_E[:, None] - x_E[None, :]


def pairs(f_E: Tensor, P_E: Tensor) -> Tensor:
    """(f_i - f_j)(P_i - P_j) / 2."""
    return _differences(f_E) * _differences(P_E) / 2


def reference(f_E: Tensor, P_E: Tensor) -> Triple:
    """The matrix, its sum, and whether none of its entries is negative."""
    pairs_EE = pairs(f_E, P_E)
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _sorted_says(says: Callable[[Tensor, Tensor], bool]) -> Callable[[Tensor, Tensor], Triple]:
    def wrong(f_E: Tensor, P_E: Tensor) -> Triple:
        pairs_EE, excess, _ = reference(f_E, P_E)
        return pairs_EE, excess, says(f_E, P_E)

    return wrong


def _excess_is(excess: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Triple]:
    def wrong(f_E: Tensor, P_E: Tensor) -> Triple:
        pairs_EE, _, sorted_alike = reference(f_E, P_E)
        return pairs_EE, excess(f_E, P_E), sorted_alike

    return wrong


def _products(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE = _differences(f_E * P_E) / 2
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _outer(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE = f_E[:, None] * P_E[None, :] / 2
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _crossed(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE = (f_E[:, None] - P_E) * (P_E[:, None] - f_E) / 2
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _gaps(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE = (f_E - P_E)[:, None] * (f_E - P_E)[None, :] / 2
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _absolute(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE = pairs(f_E, P_E).abs()
    return pairs_EE, pairs_EE.sum(), bool((pairs_EE >= 0).all())


def _doubled(f_E: Tensor, P_E: Tensor) -> Triple:
    pairs_EE, excess, sorted_alike = reference(f_E, P_E)
    return 2 * pairs_EE, 2 * excess, sorted_alike


def _strictly(f_E: Tensor, P_E: Tensor) -> bool:
    apart = ~torch.eye(len(f_E), dtype=torch.bool)
    return bool((pairs(f_E, P_E)[apart] > 0).all())


def _no_pair_counts_itself(case: Case, got: Outputs, want: Outputs) -> str | None:
    diagonal_E = np.abs(np.diagonal(got["pairs_EE"]))
    if diagonal_E.max() > 1e-6:
        return f"entry [{diagonal_E.argmax()}, {diagonal_E.argmax()}] is not zero, an expert beside itself"
    return None


CHEBYSHEV = Exercise(
    id="05.chebyshev",
    title="Chebyshev's proof",
    task=(
        "Return three things: the matrix of `(f_i - f_j)(P_i - P_j) / 2`; its sum; and whether f and P are "
        "**co-sorted**, which means that no pair of experts is ordered one way by f and the other way by P "
        "(a tie is no disagreement). If you got the matrix right, its sum is `E·sum(f P) - sum(f)·sum(P)`: "
        "multiply out and see."
    ),
    entry="chebyshev",
    points=3,
    minutes=15,
    difficulty=3,
    outputs=(
        Output("pairs_EE", "EE"),
        Output("excess", atol=2e-6),
        Output("co_sorted", kind="bool"),
    ),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(Property("a pair of an expert with itself counts nothing", _no_pair_counts_itself),),
    misconceptions=(
        Misconception(
            "excess_means_sorted",
            "co_sorted says whether a *sum* is at least 0, of all entries or of a row. It can be positive "
            "although a pair disagrees: a few large agreeing pairs outweigh it. Look at the entries.",
            wrong=_sorted_says(lambda f, P: bool(pairs(f, P).sum() >= -1e-7)),
            also=(_sorted_says(lambda f, P: bool((pairs(f, P).sum(dim=-1) >= -1e-7).all())),),
            hint=2,
        ),
        Misconception(
            "outer_product",
            "These are products f_i P_j, not of differences. The proof compares two experts at a time: "
            "f_i - f_j times P_i - P_j.",
            wrong=_outer,
            also=(lambda f, P: _outer(2 * f, P),),
            hint=3,
        ),
        Misconception(
            "same_argsort",
            "co_sorted compares the orders that `argsort` returns. Where two values tie, argsort has to put "
            "one of them first, and a constant P then seems to disagree with f.",
            wrong=_sorted_says(lambda f, P: bool((f.argsort(stable=True) == P.argsort(stable=True)).all())),
            hint=2,
        ),
        Misconception(
            "strict",
            "co_sorted asks for every pair of experts to be strictly positive. A tie is no disagreement: its "
            "entry is 0, and 0 does not pull the sum below.",
            wrong=_sorted_says(_strictly),
            hint=2,
        ),
        Misconception(
            "strict_with_diagonal",
            "co_sorted is never True: every entry has to be above 0, and the diagonal is 0, an expert beside "
            "itself. Nor is a tie a disagreement. Which entries speak *against* co-sorting?",
            wrong=_sorted_says(lambda f, P: False),
            hint=2,
        ),
        Misconception(
            "any_pair",
            "co_sorted is always True: it asks whether *some* entry is not negative, and the diagonal always "
            "is. Every pair has to agree.",
            wrong=_sorted_says(lambda f, P: True),
            hint=2,
        ),
        Misconception(
            "same_favourite",
            "co_sorted compares only the fullest expert with the most probable one. Every pair has to agree.",
            wrong=_sorted_says(lambda f, P: int(f.argmax()) == int(P.argmax())),
            hint=2,
        ),
        Misconception(
            "neighbours_only",
            "co_sorted compares each expert with the next one only. Neighbours may agree where experts "
            "further apart do not: up, down, up in both says nothing about the first and the third. Every "
            "pair counts.",
            wrong=_sorted_says(lambda f, P: bool((f.diff() * P.diff() >= 0).all())),
            hint=2,
        ),
        Misconception(
            "no_half",
            "Each pair stands in the matrix twice, as [i, j] and as [j, i]. Without the half the sum is "
            "twice what it should be.",
            wrong=_doubled,
            hint=3,
        ),
        Misconception(
            "crossed",
            "The differences are taken between f and P: f_i - P_j. Each difference belongs to one of the two "
            "quantities, and compares two experts.",
            wrong=_crossed,
            hint=3,
        ),
        Misconception(
            "gaps",
            "The entries are products of f_i - P_i and f_j - P_j: how far f and P lie apart at each expert. "
            "Each difference here compares two *experts*, once by f and once by P.",
            wrong=_gaps,
            hint=3,
        ),
        Misconception(
            "upper_triangle",
            "The sum runs over one triangle only, or was halved once more. With the half in each entry, both "
            "triangles together make one whole.",
            wrong=_excess_is(lambda f, P: pairs(f, P).triu().sum()),
            hint=3,
        ),
        Misconception(
            "minus_one",
            "The excess is E·sum(f P) - 1. That holds where f sums to 1. Where f sums to K, the balanced "
            "value is K: subtract sum(f)·sum(P), or sum the matrix.",
            wrong=_excess_is(lambda f, P: len(f) * (f * P).sum() - 1),
            hint=3,
        ),
        Misconception(
            "products_first",
            "The entries are differences of the products f_i P_i. Such a matrix is antisymmetric and always "
            "sums to 0. Take the two differences first, then multiply them.",
            wrong=_products,
            hint=1,
        ),
        Misconception(
            "absolute",
            "The entries have lost their sign. The sign is the whole proof: a pair that f and P order "
            "differently is negative.",
            wrong=_absolute,
            hint=1,
        ),
    ),
    hints=(
        "Take two experts. If f and P agree on who is ahead, what is the sign of the product of the two "
        "differences? And if they disagree?",
        "co_sorted is a question to every entry, not to their sum. Which entries are allowed?",
        "`x_E[:, None] - x_E[None, :]` is the matrix of differences.",
    ),
    notice=(
        "The sign is decided pair by pair, so nothing has to be sorted, and a negative entry names the "
        "two experts that f and P order differently."
    ),
)
