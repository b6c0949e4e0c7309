"""Mistakes in 12.locality, 12.saturation and 12.coactivation: another chance, another mean, another mask."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Misconception

Tensor = torch.Tensor
Answer = Callable[..., Any]


def _squares(experts: Tensor, n_experts: int) -> float:
    counts_E = torch.bincount(experts.flatten(), minlength=n_experts).double()
    return (counts_E / counts_E.sum()).square().sum().item()


def neighbour_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.locality."""

    def masked(by: Callable[[Tensor, Tensor], Tensor]) -> Answer:
        """Both numbers by another mask of the real places."""

        def wrong(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
            real = by(torch.arange(x.shape[1]), n[:, None])
            alike = (x[:, 1:] == x[:, :-1]) & real[:, 1:]
            return alike.sum().item() / max(real[:, 1:].sum().item(), 1), _squares(x[real], e)

        return wrong

    def real(x: Tensor, n: Tensor) -> Tensor:
        return torch.arange(x.shape[1]) < n[:, None]

    def two_loads(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        pairs = real(x, n)[:, 1:]
        p, q = (torch.bincount(v[pairs], minlength=e).double() for v in (x[:, :-1], x[:, 1:]))
        return reference(x, n, e)[0], (p * q).sum().item() / (p.sum() * q.sum()).item()

    def stays(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        pairs = real(x, n)[:, 1:]
        found = []
        for expert in range(e):
            here = (x[:, :-1] == expert) & pairs
            if here.any():
                found.append((x[:, 1:][here] == expert).double().mean().item())
        return sum(found) / len(found), reference(x, n, e)[1]

    def used(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        return reference(x, n, e)[0], 1 / len(x[real(x, n)].unique())

    return (
        Misconception(
            "mask_off_by_one",
            "The mask is off by one place, at the end of each window. Places count from 0, so the first "
            "`lengths_W[w]` of them are those *below* it.",
            wrong=masked(lambda place, n: place <= n),
            also=(
                masked(lambda place, n: place < n - 1),
                masked(lambda place, n: (place > 0) & (place <= n)),
            ),
            hint=2,
        ),
        Misconception(
            "one_window",
            "Only one window is in the numbers. A `return` inside the loop ends it, and `=` in place of `+=` "
            "keeps the last.",
            wrong=lambda x, n, e: reference(x[:1], n[:1], e),
            also=(
                lambda x, n, e: reference(x[-1:], n[-1:], e),
                lambda x, n, e: (reference(x[:1], n[:1], e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (reference(x[-1:], n[-1:], e)[0], reference(x, n, e)[1]),
            ),
            hint=2,
        ),
        Misconception(
            "two_loads",
            "Chance was made of the loads of the earlier tokens times those of the later ones. It is close, "
            "and asked is $p_e$ of *all* real tokens, squared.",
            wrong=two_loads,
            hint=3,
        ),
        Misconception(
            "one_over_used",
            "Chance is one over the number of experts that are used. That holds if they are used evenly.",
            wrong=used,
            hint=1,
        ),
        Misconception(
            "mean_over_experts",
            "This is a mean over experts of how often each is followed by itself: a rare one counts as much "
            "as a popular one. Asked is the share of all pairs.",
            wrong=stays,
            hint=2,
        ),
    )


def overlap_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.saturation."""

    def chance(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
        return lambda a, b, e: (reference(a, b, e)[0], of(a, b, e))

    def shares(a: Tensor, b: Tensor, e: int) -> tuple[Tensor, Tensor]:
        first, second = (F.one_hot(ids, e).sum(dim=1).double().mean(dim=0) for ids in (a, b))
        return first, second

    def others(a: Tensor, b: Tensor, e: int) -> float:
        found, by_chance = reference(a, b, e)
        return (len(a) * by_chance - found) / (len(a) - 1)

    def correlation(a: Tensor, b: Tensor, e: int) -> float:
        tables = [F.one_hot(ids, e).sum(dim=1).double().flatten() for ids in (a, b)]
        return torch.corrcoef(torch.stack(tables))[0, 1].item()

    return (
        Misconception(
            "minimum_for_product",
            "Chance was made of the smaller of the two shares, or of their mean. Two strangers both have "
            "expert e with probability $a_e b_e$, the product.",
            wrong=chance(lambda a, b, e: torch.minimum(*shares(a, b, e)).sum().item() / a.shape[1]),
            also=(
                chance(lambda a, b, e: torch.minimum(*shares(a, b, e)).sum().item()),
                chance(
                    lambda a, b, e: (shares(a, b, e)[0] * shares(a, b, e)[1]).sqrt().sum().item() / a.shape[1]
                ),
                chance(
                    lambda a, b, e: (
                        ((shares(a, b, e)[0] + shares(a, b, e)[1]) / 2).square().sum().item() / a.shape[1]
                    )
                ),
            ),
            hint=3,
        ),
        Misconception(
            "without_itself",
            "Each token was paired with all *others*. Asked are all T x T pairs, its own among them: that "
            "is what the formula with the loads gives.",
            wrong=chance(others),
            hint=3,
        ),
        Misconception(
            "at_least_one",
            "Chance is that of having at least one expert in common, or comes from an even load. Asked is "
            "the share of K that two strangers have in common, with the loads as they are.",
            wrong=chance(lambda a, b, e: 1 - (1 - a.shape[1] / e) ** a.shape[1]),
            also=(
                chance(lambda a, b, e: 1 - math.comb(e - a.shape[1], a.shape[1]) / math.comb(e, a.shape[1])),
                chance(lambda a, b, e: 1 / math.comb(e, a.shape[1])),
            ),
            hint=3,
        ),
        Misconception(
            "in_percent",
            "The numbers are in percent. Asked are shares.",
            wrong=lambda a, b, e: tuple(100 * x for x in reference(a, b, e)),
            also=(lambda a, b, e: (100 * reference(a, b, e)[0], reference(a, b, e)[1]),),
            hint=3,
        ),
        Misconception(
            "correlation",
            "This is a correlation of the two tables. It has chance taken off in its own way. Asked is the "
            "plain share of the final experts that were there before.",
            wrong=lambda a, b, e: (correlation(a, b, e), reference(a, b, e)[1]),
            hint=2,
        ),
    )


def table_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.coactivation."""

    def counts(ids: Tensor, e: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen_TE = F.one_hot(ids, e).sum(dim=1).double()
        n_E = chosen_TE.sum(dim=0)
        return chosen_TE.T @ chosen_TE, n_E, (ids.shape[1] - 1) * n_E[None, :] / (n_E.sum() - n_E)[:, None]

    def given(of: Callable[[Tensor, Tensor, Tensor], Tensor], keep: bool = False) -> Answer:
        """Another `given_EE`, of the ids, pairs and loads, and the lift made of it."""

        def wrong(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
            both, n_E, expected = counts(ids, e)
            table = of(ids, both, n_E).clone()
            if not keep:
                table.fill_diagonal_(0)
            return table, table / expected

        return wrong

    def first_slot(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
        both, _, _ = counts(ids, e)
        n_E = torch.bincount(ids[:, 0], minlength=e).double()
        table = (both / n_E[:, None]).fill_diagonal_(0)
        return table, table / ((ids.shape[1] - 1) * n_E[None, :] / (n_E.sum() - n_E)[:, None])

    def diagonal_of(value: float) -> Answer:
        return lambda ids, e: tuple(table.clone().fill_diagonal_(value) for table in reference(ids, e))

    def symmetric(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
        table, lift = reference(ids, e)
        return table, (lift + lift.T) / 2

    return (
        Misconception(
            "another_diagonal",
            "The diagonal is not 0: it holds ones, or what is left when 1 was taken off. An expert beside "
            "itself says nothing; `fill_diagonal_(0)` at the end.",
            wrong=diagonal_of(1.0),
            also=(
                given(lambda ids, both, n: (both - torch.eye(len(n))) / n[:, None], keep=True),
                diagonal_of(math.nan),
                lambda ids, e: (reference(ids, e)[0].clone().fill_diagonal_(1.0), reference(ids, e)[1]),
            ),
            hint=2,
        ),
        Misconception(
            "loads_of_the_first_slot",
            "The loads are those of the first slot. A token is expert i's in whichever slot i stands.",
            wrong=first_slot,
            hint=2,
        ),
        Misconception(
            "mean_load",
            "The counts were divided by the *mean* load, as if every expert had it. Row i is divided by its "
            "own $n_i$.",
            wrong=given(lambda ids, both, n: both / n.mean()),
            hint=2,
        ),
        Misconception(
            "nothing_left",
            "The shares are 0, or nearly all. Either whole numbers were divided without a remainder (`//`, "
            "or a table of integers), or no row holds a pair: a row of the table [T, E] belongs to a "
            "*token* and holds K ones, and with a row for each choice none holds two.",
            wrong=given(lambda ids, both, n: both // n[:, None]),
            also=(
                lambda ids, e: (reference(ids, e)[0].long().double(), reference(ids, e)[1]),
                given(lambda ids, both, n: 0 * both),
            ),
            hint=2,
        ),
        Misconception(
            "smoothed",
            "Something was added to the counts. That is a good habit for an estimate; asked are the shares "
            "as they are.",
            wrong=given(lambda ids, both, n: (both + 1) / (n[:, None] + 1)),
            also=(
                given(lambda ids, both, n: (both + 1) / (n[:, None] + len(n))),
                given(lambda ids, both, n: (both + 1) / n[:, None]),
            ),
            hint=3,
        ),
        Misconception(
            "lift_symmetric",
            "The lift was made symmetric. With K above 1 the two directions differ a little: each leaves out "
            "another expert's choices.",
            wrong=symmetric,
            also=(lambda ids, e: (reference(ids, e)[0], reference(ids, e)[1].T.clone()),),
            hint=3,
        ),
    )
