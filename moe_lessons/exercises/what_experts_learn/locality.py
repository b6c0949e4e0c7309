"""Exercise 12.locality: how often neighbours share an expert, and how often they would by chance."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output
from moe_lessons.exercises.what_experts_learn.more_chances import neighbour_mistakes
from moe_lessons.exercises.what_experts_learn.more_traces import locality_mistakes

Tensor = torch.Tensor
Answer = Callable[[Tensor, Tensor, int], tuple[float, float]]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Windows of unequal length, loads far from even, an expert without a token; 0 behind a window's end."""
    cases = []
    for n_windows, length, n_experts in ((5, 7, 4), (4, 9, 6), (6, 5, 3), (3, 12, 5)):
        idle = int(rng.integers(1, n_experts))
        favour_E = rng.dirichlet(np.full(n_experts, 1.2)) + 0.05
        favour_E[idle] = 0
        experts_WL = rng.choice(n_experts, size=(n_windows, length), p=favour_E / favour_E.sum())
        stays_WL = rng.random((n_windows, length)) < 0.35
        for place in range(1, length):
            before_W = experts_WL[:, place - 1]
            experts_WL[:, place] = np.where(stays_WL[:, place], before_W, experts_WL[:, place])
        lengths_W = rng.integers(2, length + 1, n_windows)
        lengths_W[:2] = length, 2
        if n_windows > 4:
            lengths_W[2] = length  # who takes the full windows only is not who takes the first one only
        # One window ends and the next begins with the same expert, and one ends with what padding looks like.
        experts_WL[1, :2] = experts_WL[0, -1], 0
        experts_WL = np.where(np.arange(length) < lengths_W[:, None], experts_WL, 0)
        cases.append(
            Case(
                f"{n_windows} windows of at most {length}, E={n_experts}",
                {"experts_WL": experts_WL, "lengths_W": lengths_W, "n_experts": n_experts},
            )
        )
    return cases


def _real(experts_WL: Tensor, lengths_W: Tensor) -> Tensor:
    return torch.arange(experts_WL.shape[1]) < lengths_W[:, None]


def _shares(experts: Tensor, n_experts: int) -> Tensor:
    counts_E = torch.bincount(experts.flatten(), minlength=n_experts).double()
    return counts_E / counts_E.sum()


def _squares(shares_E: Tensor) -> float:
    return shares_E.square().sum().item()


def _pairs(experts_WL: Tensor, counted: Tensor) -> tuple[float, float]:
    """Pairs of neighbours that are alike, and all pairs, among those that count."""
    alike = (experts_WL[:, 1:] == experts_WL[:, :-1]) & counted
    return alike.sum().item(), counted.sum().item()


def reference(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    """Pairs within windows; the sum of the squared shares of the real tokens."""
    real_WL = _real(experts_WL, lengths_W)
    alike, n_pairs = _pairs(experts_WL, real_WL[:, 1:])
    return alike / n_pairs, _squares(_shares(experts_WL[real_WL], n_experts))


def _repeated(of: Answer) -> Answer:
    """Another share of repeats, beside the right chance."""
    return lambda x, n, e: (of(x, n, e)[0], reference(x, n, e)[1])


def _chance(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
    """The right share of repeats, beside another chance."""
    return lambda x, n, e: (reference(x, n, e)[0], of(x, n, e))


def _in_a_row(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    row = experts_WL[_real(experts_WL, lengths_W)]
    return (row[1:] == row[:-1]).double().mean().item(), _squares(_shares(row, n_experts))


def _all_in_a_row(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    row = experts_WL.flatten()
    return (row[1:] == row[:-1]).double().mean().item(), _squares(_shares(row, n_experts))


def _with_padding(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    alike = (experts_WL[:, 1:] == experts_WL[:, :-1]).double()
    return alike.mean().item(), _squares(_shares(experts_WL, n_experts))


def _over(n: Callable[[Tensor, Tensor], float]) -> Answer:
    """The right number of repeats, divided by something else."""

    def answer(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
        alike, _ = _pairs(experts_WL, _real(experts_WL, lengths_W)[:, 1:])
        return alike / n(experts_WL, lengths_W), 0.0

    return _repeated(answer)


def _rolled(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    real_WL = _real(experts_WL, lengths_W)
    alike = (experts_WL == experts_WL.roll(1, dims=1)) & real_WL
    return alike.sum().item() / real_WL.sum().item(), 0.0


def _one_too_many(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    alike, n_pairs = _pairs(experts_WL, _real(experts_WL, lengths_W)[:, :-1])
    return alike / n_pairs, 0.0


def _mean_of_windows(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    windows = [row[:n] for row, n in zip(experts_WL, lengths_W.tolist(), strict=True)]
    return sum((w[1:] == w[:-1]).double().mean().item() for w in windows) / len(windows), 0.0


def _chance_by_window(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> float:
    windows = [row[:n] for row, n in zip(experts_WL, lengths_W.tolist(), strict=True)]
    return sum(_squares(_shares(w, n_experts)) for w in windows) / len(windows)


def _without_replacement(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> float:
    counts_E = torch.bincount(experts_WL[_real(experts_WL, lengths_W)], minlength=n_experts).double()
    return (counts_E * (counts_E - 1)).sum().item() / (counts_E.sum() * (counts_E.sum() - 1)).item()


def _between_windows(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> tuple[float, float]:
    real_WL = _real(experts_WL, lengths_W)
    both_WL = real_WL[1:] & real_WL[:-1]
    return (experts_WL[1:] == experts_WL[:-1])[both_WL].double().mean().item(), 0.0


def _real_shares(experts_WL: Tensor, lengths_W: Tensor, n_experts: int) -> Tensor:
    return _shares(experts_WL[_real(experts_WL, lengths_W)], n_experts)


LOCALITY = Exercise(
    id="12.locality",
    title="Do neighbours share an expert?",
    task=(
        "`experts_WL[w, l]` is the expert of token l in window w. Only the first `lengths_W[w]` tokens of a "
        "window are real; behind them stands 0, which is no expert there. Return two numbers: `repeated`, "
        "the share of all pairs of neighbours in the same window that have the same expert; and "
        "`by_chance`, what it would be if experts were drawn independently by their loads: "
        "$\\sum_e p_e^2$, where $p_e$ is expert e's share of all real tokens."
    ),
    entry="locality",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("repeated"), Output("by_chance")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "one_over_e",
            "Chance is taken to be 1/E. That holds for an even load only. A popular expert meets itself "
            "often without any reason: chance has to be that of *these* loads.",
            wrong=_chance(lambda x, n, e: 1 / e),
        ),
        Misconception(
            "across_windows",
            "The windows were joined to one row: the last token of one and the first of the next are counted "
            "as neighbours. They were never read together. Stay within a window.",
            wrong=_in_a_row,
            also=(_all_in_a_row, _repeated(_in_a_row)),
            hint=2,
        ),
        Misconception(
            "padding_counted",
            "What stands behind the end of a window was counted as if expert 0 had chosen it. Runs of 0 look "
            "like neighbours that agree. Leave them out of the pairs and of the loads.",
            wrong=_with_padding,
            also=(_repeated(_with_padding), _chance(lambda x, n, e: _squares(_shares(x, e)))),
            hint=2,
        ),
        Misconception(
            "divided_by_all_places",
            "The repeats are counted well, but divided by the pairs of full windows, padding included. Count "
            "the pairs that exist.",
            wrong=_over(lambda x, n: x[:, 1:].numel()),
            also=(_over(lambda x, n: x.numel()),),
            hint=2,
        ),
        Misconception(
            "divided_by_tokens",
            "The repeats are counted well and divided by the number of tokens. A window of n tokens has one "
            "pair fewer than tokens.",
            wrong=_over(lambda x, n: n.sum().item()),
            hint=2,
        ),
        Misconception(
            "rolled",
            "`roll` puts a window's last token before its first: they are no neighbours. Compare two slices "
            "of the window, one shifted by a place.",
            wrong=_repeated(_rolled),
            hint=2,
        ),
        Misconception(
            "one_pair_too_many",
            "One pair too many for each short window: its last real token beside the padding behind it. A "
            "pair is real if its *later* token is.",
            wrong=_repeated(_one_too_many),
            hint=3,
        ),
        Misconception(
            "mean_of_windows",
            "This is the mean of the windows' own shares: a window of two tokens counts as much as the "
            "longest. Asked is the share of all pairs.",
            wrong=_repeated(_mean_of_windows),
            hint=2,
        ),
        Misconception(
            "chance_by_window",
            "Chance was computed for each window by itself. A short window always has few experts, so it "
            "agrees with itself. Take the loads of all real tokens.",
            wrong=_chance(_chance_by_window),
        ),
        Misconception(
            "largest_share",
            "Chance is the largest expert's share: the success of always guessing it. Asked is how often two "
            "independent draws are the same, whichever expert it is.",
            wrong=_chance(lambda x, n, e: _real_shares(x, n, e).max().item()),
        ),
        Misconception(
            "without_replacement",
            "Chance without putting back: two *different* tokens of this text. It is a fair question too, "
            "but asked is $\\sum_e p_e^2$, for independent draws.",
            wrong=_chance(_without_replacement),
            hint=3,
        ),
        Misconception(
            "not_a_share",
            "The first number is a count of repeats, in all or for each window. Divide by the number of "
            "pairs.",
            wrong=_over(lambda x, n: 1),
            also=(_over(lambda x, n: len(n)),),
            hint=2,
        ),
        Misconception(
            "other_windows",
            "Each token was compared with the token at the same place of the *next window*. Neighbours "
            "stand in the same row: compare along the other axis.",
            wrong=_repeated(lambda x, n, e: ((x[1:] == x[:-1]).double().mean().item(), 0.0)),
            also=(_repeated(_between_windows),),
            hint=2,
        ),
        Misconception(
            "not_squared",
            "The shares were not squared one by one: chance comes out as 1, or as the root of what is asked. "
            "Two tokens have to draw the same expert, so each share counts twice, $p_e \\cdot p_e$.",
            wrong=_chance(lambda x, n, e: _real_shares(x, n, e).sum().item()),
            also=(_chance(lambda x, n, e: math.sqrt(reference(x, n, e)[1])),),
        ),
        Misconception(
            "by_entropy",
            "Chance was made of the entropy, as one over the effective experts exp(H). For an even load "
            "that is the same. In general two draws agree with probability $\\sum_e p_e^2$.",
            wrong=_chance(lambda x, n, e: math.exp(-torch.special.entr(_real_shares(x, n, e)).sum().item())),
        ),
        Misconception(
            "change",
            "These are the shares of pairs that *differ*. Asked is how often they are the same.",
            wrong=lambda x, n, e: (1 - reference(x, n, e)[0], 1 - reference(x, n, e)[1]),
            also=(
                lambda x, n, e: (1 - reference(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (reference(x, n, e)[0], 1 - reference(x, n, e)[1]),
            ),
        ),
        Misconception(
            "lift",
            "The first number was divided by chance, or chance taken off it. Return both as they are; "
            "whoever reads them can compare.",
            wrong=lambda x, n, e: (reference(x, n, e)[0] / reference(x, n, e)[1], reference(x, n, e)[1]),
            also=(lambda x, n, e: (reference(x, n, e)[0] - reference(x, n, e)[1], reference(x, n, e)[1]),),
        ),
        *locality_mistakes(reference),
        *neighbour_mistakes(reference),
    ),
    hints=(
        "Which pairs of places in the table are pairs of real tokens? And if two experts are drawn "
        "independently, how often are both expert e?",
        "`experts_WL[:, 1:] == experts_WL[:, :-1]` compares each token with the one before it. A mask "
        "`torch.arange(L) < lengths_W[:, None]` says which places are real.",
        "The pair that ends at place l counts where place l is real: `mask[:, 1:]`. For the loads count "
        "`experts_WL[mask]`, divide, square, add up.",
    ),
    notice=(
        "The chance of two alike is $1/E$ only for an even load and larger for every other one, so a report "
        "that compares with $1/E$ takes imbalance for locality."
    ),
)
