"""Exercise 10.expert_information: what experts tell about labels, and what chance would."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.mini_transformer.information import (
    entropy_bits,
    information,
    shuffled,
    table,
    with_chance,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

Tensor = torch.Tensor


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Fewer tokens than pairs of expert and label, so that some pair never occurs; some experts idle.

    The first shuffle is never the one that tells most: "the first only" and "the largest" are two mistakes.
    """
    cases = []
    sizes = [(26, 7, 5, 3), (19, 5, 6, 4), (33, 9, 4, 2), (14, 4, 4, 5)]
    for n_tokens, n_experts, n_labels, n_shuffles in sizes:
        labels_N = rng.permutation(np.arange(n_tokens) % (n_labels - 1) + 1)  # label 0 does not occur
        follows_N = (2 * labels_N + 1) % (n_experts - 1)
        experts_N = np.where(rng.random(n_tokens) < 0.6, follows_N, rng.integers(0, n_experts - 2, n_tokens))
        experts_N[0] = n_experts - 1  # and the one before it has no token
        shuffles_RN = np.stack([rng.permutation(n_tokens) for _ in range(n_shuffles)])
        told = shuffled(information, *map(torch.tensor, (experts_N, labels_N, shuffles_RN)))
        if max(told) == told[0]:
            shuffles_RN = np.roll(shuffles_RN, 1, axis=0)
        args = {"experts_N": experts_N, "labels_N": labels_N, "shuffles_RN": shuffles_RN}
        cases.append(Case(f"{n_tokens} tokens, {n_shuffles} shuffles", args))
    return cases


reference = with_chance(information)


def _against_independence(joint_EC: Tensor) -> float:
    apart_EC = joint_EC.sum(dim=1, keepdim=True) * joint_EC.sum(dim=0, keepdim=True)
    return (joint_EC * (joint_EC / apart_EC).log2()).sum().item()


def _zero_cells(experts_N: Tensor, labels_N: Tensor) -> float:
    return _against_independence(table(experts_N, labels_N) / len(experts_N))


def _add_one(experts_N: Tensor, labels_N: Tensor) -> float:
    counts_EC = table(experts_N, labels_N) + 1
    return _against_independence(counts_EC / counts_EC.sum())


def _conditional(experts_N: Tensor, labels_N: Tensor) -> float:
    counts_EC = table(experts_N, labels_N)
    return entropy_bits(counts_EC) - entropy_bits(counts_EC.sum(dim=1))


def _rows_normalised(experts_N: Tensor, labels_N: Tensor) -> float:
    counts_EC = table(experts_N, labels_N)
    rows_EC = counts_EC / counts_EC.sum(dim=1, keepdim=True).clamp(min=1)
    apart_EC = rows_EC.sum(dim=1, keepdim=True) * rows_EC.sum(dim=0, keepdim=True)
    seen = rows_EC > 0
    return (rows_EC[seen] * (rows_EC[seen] / apart_EC[seen]).log2()).sum().item()


_SCALES: tuple[Callable[[float, float], float], ...] = (
    *(lambda experts, labels: experts, lambda experts, labels: labels),
    lambda experts, labels: min(experts, labels),
    lambda experts, labels: max(experts, labels),
    lambda experts, labels: math.sqrt(experts * labels),
)


def _divided_by(scale: Callable[[float, float], float]) -> Callable[..., tuple[float, float]]:
    """The information as a share of a scale made of the experts' and the labels' entropies."""

    def share(experts_N: Tensor, labels_N: Tensor) -> float:
        counts_EC = table(experts_N, labels_N)
        return information(experts_N, labels_N) / scale(*(entropy_bits(counts_EC.sum(dim=d)) for d in (1, 0)))

    return with_chance(share)


def _pairs_kept(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    return (information(experts_N, labels_N),) * 2


def _experts_shuffled(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    chance = [information(experts_N[order_N], labels_N) for order_N in shuffles_RN]
    return information(experts_N, labels_N), sum(chance) / len(chance)


def _largest(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    return information(experts_N, labels_N), max(shuffled(information, experts_N, labels_N, shuffles_RN))


def _subtracted(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    found, chance = reference(experts_N, labels_N, shuffles_RN)
    return found - chance, chance


def _pooled(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    together = experts_N.repeat(len(shuffles_RN)), torch.cat([labels_N[order_N] for order_N in shuffles_RN])
    return information(experts_N, labels_N), information(*together)


def _one_of_them(place: int) -> Callable[[Tensor, Tensor, Tensor], tuple[float, float]]:
    return lambda experts_N, labels_N, shuffles_RN: (
        information(experts_N, labels_N),
        shuffled(information, experts_N, labels_N, shuffles_RN)[place],
    )


def _added_up(experts_N: Tensor, labels_N: Tensor, shuffles_RN: Tensor) -> tuple[float, float]:
    return information(experts_N, labels_N), sum(shuffled(information, experts_N, labels_N, shuffles_RN))


def _wrong_stride(experts_N: Tensor, labels_N: Tensor) -> float:
    """Pairs numbered with the experts' count, so that different pairs share a number."""
    n_experts, n_labels = int(experts_N.max()) + 1, int(labels_N.max()) + 1
    counts = torch.bincount(experts_N * n_experts + labels_N, minlength=max(n_experts, n_labels) ** 2)
    joint_EC = counts[: n_experts * n_labels].view(n_experts, n_labels).double() / len(experts_N)
    apart_EC = joint_EC.sum(dim=1, keepdim=True) * joint_EC.sum(dim=0)
    seen = joint_EC > 0
    return (joint_EC[seen] * (joint_EC[seen] / apart_EC[seen]).log2()).sum().item()


EXPERT_INFORMATION = Exercise(
    id="10.expert_information",
    title="What does an expert tell?",
    task=(
        "Token n went to expert `experts_N[n]` and carries the label `labels_N[n]`. Return two numbers, in "
        "bits: the **mutual information** of expert and label, $\\sum_{e,c} p_{ec} \\log_2 \\frac{p_{ec}}"
        "{p_e\\,p_c}$, where $p$ are shares of the N tokens and a pair that never occurs adds 0; and what "
        "**chance** gives: the mean of the same over R shuffles. `shuffles_RN[r]` is an order of the tokens; "
        "in shuffle r, token n gets the label of token `shuffles_RN[r, n]` and keeps its expert."
    ),
    entry="expert_information",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("information"), Output("chance")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "nats",
            "These are nats: the logarithm was natural. A bit is the logarithm to base 2.",
            wrong=with_chance(lambda e, c: information(e, c) * math.log(2)),
            hint=2,
        ),
        Misconception(
            "zero_cells",
            "Some pair of expert and label never occurs, and 0 times the logarithm of 0 is NaN in floating "
            "point. In the limit it is 0: sum over the pairs that occur.",
            wrong=with_chance(_zero_cells),
            hint=3,
        ),
        Misconception(
            "add_one",
            "1 was added to every count to keep the logarithm finite. That invents tokens, as many as there "
            "are pairs, and changes the answer. Pairs that never occur add nothing: leave them out.",
            wrong=with_chance(_add_one),
            hint=3,
        ),
        Misconception(
            "conditional",
            "This is the conditional entropy: the bits about the label that are still missing once the "
            "expert is known. Asked is how many the expert *gives*: the label's own entropy less these.",
            wrong=with_chance(_conditional),
        ),
        Misconception(
            "label_entropy",
            "This is the entropy of the labels alone. Asked is how much of it the expert takes away: look at "
            "the pairs.",
            wrong=lambda e, c, r: (entropy_bits(table(e, c).sum(dim=0)), reference(e, c, r)[1]),
            also=(with_chance(lambda e, c: entropy_bits(table(e, c).sum(dim=0))),),
        ),
        Misconception(
            "expert_entropy",
            "This is the entropy of the experts alone: how evenly they are used. It does not look at the "
            "labels at all, and shuffling them does not change it.",
            wrong=with_chance(lambda e, c: entropy_bits(table(e, c).sum(dim=1))),
        ),
        Misconception(
            "joint_entropy",
            "This is the entropy of the pairs. It is large when much is going on, whether or not the two "
            "have anything to do with each other. Compare with what the two would have apart.",
            wrong=with_chance(lambda e, c: entropy_bits(table(e, c))),
        ),
        Misconception(
            "rows_normalised",
            "Each expert's row was made to sum to 1, so an expert with one token counts as much as one with "
            "a thousand. The joint shares sum to 1 over the whole table: divide by N.",
            wrong=with_chance(_rows_normalised),
            hint=2,
        ),
        Misconception(
            "normalised",
            "This was divided by an entropy (the labels', the experts', or a mean), which gives a score from "
            "0 to 1: a normalised mutual information. Asked are bits.",
            wrong=_divided_by(lambda e, c: (e + c) / 2),
            also=tuple(_divided_by(scale) for scale in _SCALES),
            hint=2,
        ),
        Misconception(
            "pairs_kept",
            "Chance gives exactly what the data give, because expert and label were shuffled together: every "
            "token kept its pair. Shuffle one of the two and leave the other.",
            wrong=_pairs_kept,
        ),
        Misconception(
            "other_shuffle",
            "As good a measure of chance, but of another shuffle than the one asked for: the experts were "
            "put in the order `shuffles_RN[r]`, or the labels back from it. Token n keeps its expert and "
            "gets the label of token `shuffles_RN[r, n]`.",
            wrong=_experts_shuffled,
            hint=3,
        ),
        Misconception(
            "pooled",
            "All shuffles went into one table. A larger sample has less information by chance: this is too "
            "little. Measure each shuffle by itself and take the mean.",
            wrong=_pooled,
            hint=3,
        ),
        Misconception(
            "last_shuffle",
            "Chance is what the last shuffle gives: each one replaced the one before. Asked is the mean.",
            wrong=_one_of_them(-1),
            hint=3,
        ),
        Misconception(
            "first_shuffle",
            "Chance is what the first shuffle gives. Asked is the mean over all of them.",
            wrong=_one_of_them(0),
            hint=3,
        ),
        Misconception(
            "added_up",
            "Chance is the sum over the shuffles. Divide by their number.",
            wrong=_added_up,
        ),
        Misconception(
            "wrong_stride",
            "The pairs were numbered `expert * n_experts + label`: different pairs get the same number, or "
            "none. The step from one expert to the next is the number of *labels*.",
            wrong=with_chance(_wrong_stride),
            hint=2,
        ),
        Misconception(
            "negative",
            "The sign is turned: the logarithm was taken of the independent share over the joint one.",
            wrong=with_chance(lambda e, c: -information(e, c)),
        ),
        Misconception(
            "largest",
            "Chance is the largest of the shuffles. It grows with their number; asked is their mean.",
            wrong=_largest,
        ),
        Misconception(
            "subtracted",
            "Chance was subtracted from the first number already. Return both: how far apart they are is for "
            "the reader to judge.",
            wrong=_subtracted,
        ),
    ),
    hints=(
        "You know how often expert e meets label c. How often would they meet if they had nothing to do with "
        "each other?",
        "Count the pairs with `torch.bincount(experts * n_labels + labels, minlength=n_experts * n_labels)`, "
        "divide by N, and get the shares of experts and of labels by summing over the other axis.",
        "Inside a helper: `seen = p > 0`, then `(p[seen] * (p[seen] / apart[seen]).log2()).sum()`; call it "
        "once with `labels_N` and once for each order with `labels_N[order]`.",
    ),
    notice=(
        "Chance is measured with shuffled labels and not taken to be 0: from a finite number of tokens "
        "the estimate comes out positive even where expert and label have nothing to do with each other."
    ),
)
