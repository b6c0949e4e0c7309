"""Further mistakes in 12.beyond_the_token."""

import math
from collections.abc import Callable

import numpy as np
import torch

from moe_lessons.exercises.spec import Misconception
from moe_lessons.exercises.what_experts_learn.bits import beyond, bits, miller, shared

Tensor = torch.Tensor


def _in_kinds(e: Tensor, t: Tensor, d: Tensor) -> tuple[list[float], list[float]]:
    """Information among the tokens of each kind, and the kinds' shares."""
    groups = [t == value for value in t.unique()]
    return [shared(e[g], d[g]) for g in groups], [g.double().mean().item() for g in groups]


def _last(e: Tensor, t: Tensor, d: Tensor) -> float:
    found, shares = _in_kinds(e, t, d)
    return found[-1] * shares[-1]


def _commonest(e: Tensor, t: Tensor, d: Tensor) -> float:
    found, shares = _in_kinds(e, t, d)
    return found[int(np.argmax(shares))]


def _over_all(e: Tensor, t: Tensor, d: Tensor) -> float:
    """Within a kind, counts over all N tokens, as if they were shares."""

    def entropy(n: int, *labels: Tensor) -> float:
        counts = torch.stack(labels).unique(dim=1, return_counts=True)[1].double() / n
        return torch.special.entr(counts).sum().item() / math.log(2)

    total = 0.0
    for value in t.unique():
        here = t == value
        inside = [entropy(len(e), *labels) for labels in ((e[here],), (d[here],), (e[here], d[here]))]
        total += here.double().mean().item() * (inside[0] + inside[1] - inside[2])
    return total


def _colliding(number: Callable[[Tensor, Tensor], Tensor]) -> tuple[Callable[..., float], ...]:
    """The formulas of entropies with pairs that share a number."""
    return (
        lambda e, t, d: bits(number(e, t)) + bits(number(d, t)) - bits(number(number(e, t), d)) - bits(t),
        lambda e, t, d: bits(number(e, t)) + bits(number(d, t)) - bits(number(number(e, d), t)) - bits(t),
        lambda e, t, d: bits(number(e, t)) + bits(number(d, t)) - bits(number(e, t), d) - bits(t),
        lambda e, t, d: shared(number(e, t), d) - shared(t, d),
    )


def _colliding_in_kinds(number: Callable[[Tensor, Tensor], Tensor]) -> tuple[Callable[..., float], ...]:
    """Kind by kind: expert and domain as one number, which some pairs share."""

    def measured(swapped: bool) -> Callable[..., float]:
        def answer(e: Tensor, t: Tensor, d: Tensor) -> float:
            total = 0.0
            for here in (t == value for value in t.unique()):
                a, b = (d[here], e[here]) if swapped else (e[here], d[here])
                total += (bits(a) + bits(b) - bits(number(a, b))) * here.double().mean().item()
            return total

        return answer

    return measured(False), measured(True)


def _largest_for_factor(a: Tensor, b: Tensor) -> Tensor:
    return a + a.max() * b


def _largest_of_second(a: Tensor, b: Tensor) -> Tensor:
    return a * b.max() + b


def _how_many_for_factor(a: Tensor, b: Tensor) -> Tensor:
    """As many as there are different ones, which is too few where numbers are left out."""
    return a * len(b.unique()) + b


INFORMATION_MISTAKES = (
    Misconception(
        "numbers_collide",
        "Two or three labels were made one number, and different combinations get the same one. A factor has "
        "to be larger than the *largest* label that comes after it; `stack` and `unique(dim=1)` need none.",
        wrong=_colliding(_largest_for_factor)[0],
        also=(
            *_colliding(_largest_for_factor)[1:],
            *_colliding(_largest_of_second),
            *_colliding(_how_many_for_factor),
            *_colliding(torch.add)[:3],
            *_colliding(torch.mul)[:3],
            *_colliding_in_kinds(_largest_of_second),
            *_colliding_in_kinds(_how_many_for_factor),
            *_colliding_in_kinds(torch.add),
            *_colliding_in_kinds(torch.mul),
        ),
        hint=3,
    ),
    Misconception(
        "one_kind_only",
        "Only one kind of token is in the number, the last, the first or the commonest. In the loop the "
        "parts have to add up (`total += ...`).",
        wrong=_last,
        also=(
            lambda e, t, d: _in_kinds(e, t, d)[0][-1],
            lambda e, t, d: _in_kinds(e, t, d)[0][0] * _in_kinds(e, t, d)[1][0],
            lambda e, t, d: _in_kinds(e, t, d)[0][0],
            _commonest,
            lambda e, t, d: max(_in_kinds(e, t, d)[0]),
        ),
        hint=2,
    ),
    Misconception(
        "zero_times_log_zero",
        "The number is not finite. A combination that does not occur has p = 0, and 0 · log 0 is nan to a "
        "computer; in an entropy it counts as 0. Use only the combinations that occur, or "
        "`torch.special.entr`.",
        detects=lambda case, got, want: not np.isfinite(float(got["information"])),
        hint=3,
    ),
    Misconception(
        "shares_of_all_tokens",
        "Among the tokens of one kind the counts were divided by *all* N tokens, so that the shares do not "
        "sum to 1. Divide by the tokens of this kind; how many they are comes in as the weight.",
        wrong=_over_all,
        hint=2,
    ),
    Misconception(
        "other_sign",
        "The sign is the other one. Information is never negative: it is what an entropy *falls* by.",
        wrong=lambda e, t, d: -beyond(e, d, t),
        hint=2,
    ),
    Misconception(
        "chance_of_the_whole",
        "Something for chance was taken off. Here the number is asked for as it is.",
        wrong=lambda e, t, d: beyond(e, d, t) - miller(e, d),
        also=(
            lambda e, t, d: max(0.0, beyond(e, d, t) - miller(e, d)),
            lambda e, t, d: beyond(e, d, t) - _miller_of_numbers(e, t, d),
        ),
    ),
    Misconception(
        "other_weights",
        "The kinds are weighted, but not by how often they occur: by their squares, roots or entropies.",
        wrong=lambda e, t, d: _reweighted(e, t, d, lambda g: g.double().mean().item() ** 2),
        also=(
            lambda e, t, d: _reweighted(e, t, d, lambda g: g.double().mean().item() ** 0.5),
            lambda e, t, d: _reweighted(e, t, d, lambda g: bits(e[g])),
            lambda e, t, d: _reweighted(e, t, d, lambda g: bits(d[g])),
            lambda e, t, d: sum(f * s**2 for f, s in zip(*_in_kinds(e, t, d), strict=True)),
            lambda e, t, d: sum(f * s for f, s in zip(*_in_kinds(e, t, d), strict=True)) / len(t.unique()),
        ),
        hint=2,
    ),
    Misconception(
        "smoothed",
        "Something was added to the counts. That is a good habit for an estimate; asked is what these tokens "
        "give as they are.",
        wrong=lambda e, t, d: _smoothed(e, t, d),
        hint=2,
    ),
    Misconception(
        "labels_not_together",
        "`unique` did not look at the labels together: without `dim=1` it counts single numbers, and with "
        "`dim=0` whole labels. Each *column* of the stacked labels is one combination.",
        wrong=lambda e, t, d: _by_counts(e, t, d, lambda rows: rows.unique(return_counts=True)[1]),
        also=(lambda e, t, d: _by_counts(e, t, d, lambda rows: rows.unique(dim=0, return_counts=True)[1]),),
        hint=3,
    ),
    Misconception(
        "over_another_entropy",
        "This was divided by an entropy, that of the tokens or of the expert and the domain together. Asked "
        "are bits.",
        wrong=lambda e, t, d: beyond(e, d, t) / bits(t),
        also=(
            lambda e, t, d: beyond(e, d, t) / bits(e, d),
            lambda e, t, d: beyond(e, d, t) / math.sqrt(bits(e) * bits(d)),
            lambda e, t, d: 2 * beyond(e, d, t) / (bits(e) + bits(d)),
        ),
    ),
    Misconception(
        "shares_of_the_whole_text",
        "Among the tokens of one kind, experts and domains were compared with their shares in the *whole* "
        "text. Everything in the formula is of this kind: also the shares of expert and of domain.",
        wrong=lambda e, t, d: _against_the_whole(e, t, d),
        hint=2,
    ),
    Misconception(
        "one_for_each_kind",
        "There is one number for each kind of token. Asked is their mean, weighted by how often each kind "
        "occurs.",
        detects=lambda case, got, want: np.ndim(got["information"]) == 1,
        hint=2,
    ),
    Misconception(
        "rare_kinds_left_out",
        "Kinds that occur seldom were left out. All count, each by how often it occurs.",
        wrong=lambda e, t, d: _often(e, t, d, 10),
        also=(lambda e, t, d: _often(e, t, d, 5), lambda e, t, d: _often(e, t, d, 20)),
        hint=2,
    ),
)


def _smoothed(e: Tensor, t: Tensor, d: Tensor) -> float:
    table = torch.ones([int(label.max()) + 1 for label in (e, t, d)], dtype=torch.double)
    table.index_put_((e, t, d), torch.ones(len(e), dtype=torch.double), accumulate=True)
    p = table / table.sum()

    def entropy(shares: Tensor) -> float:
        return torch.special.entr(shares).sum().item() / math.log(2)

    return entropy(p.sum(2)) + entropy(p.sum(0)) - entropy(p) - entropy(p.sum((0, 2)))


def _by_counts(e: Tensor, t: Tensor, d: Tensor, counts: Callable[[Tensor], Tensor]) -> float:
    def entropy(*labels: Tensor) -> float:
        found = counts(torch.stack(labels)).double()
        return torch.special.entr(found / found.sum()).sum().item() / math.log(2)

    return entropy(e, t) + entropy(d, t) - entropy(e, t, d) - entropy(t)


def _against_the_whole(e: Tensor, t: Tensor, d: Tensor) -> float:
    shares = [torch.bincount(label).double() / len(label) for label in (e, d)]
    total = 0.0
    for value in t.unique():
        here = t == value
        pairs, counts = torch.stack([e[here], d[here]]).unique(dim=1, return_counts=True)
        p = counts.double() / counts.sum()
        gain = (p / (shares[0][pairs[0]] * shares[1][pairs[1]])).log2()
        total += here.double().mean().item() * (p * gain).sum().item()
    return total


def _often(e: Tensor, t: Tensor, d: Tensor, least: int) -> float:
    rows = [(f, s) for f, s in zip(*_in_kinds(e, t, d), strict=True) if s * len(t) >= least - 0.5]
    return sum(f * s for f, s in rows) / sum(s for _, s in rows) if rows else 0.0


def _miller_of_numbers(e: Tensor, t: Tensor, d: Tensor) -> float:
    free = (len(e.unique()) - 1) * (len(d.unique()) - 1) * len(t.unique())
    return free / (2 * len(e) * math.log(2))


def _reweighted(e: Tensor, t: Tensor, d: Tensor, weight: Callable[[Tensor], float]) -> float:
    groups = [t == value for value in t.unique()]
    weights = [weight(g) for g in groups]
    found = sum(w * shared(e[g], d[g]) for w, g in zip(weights, groups, strict=True))
    return found / sum(weights) if sum(weights) else 0.0
