"""Exercise 04.imbalance: coefficient of variation, MaxVio and dead experts of every layer."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Layers with unused, nearly unused and busy experts; even, single and nearly even ones."""
    cases = []
    for n_layers, n_experts in [(2, 5), (3, 8), (4, 7)]:
        counts_LE = rng.integers(20, 400, (n_layers, n_experts))
        for row_E in counts_LE:
            quiet = rng.permutation(n_experts)
            row_E[quiet[: 1 + int(rng.integers(n_experts // 2))]] = 0
            row_E[quiet[-1]] = int(rng.integers(1, 4))
        counts_LE[0, counts_LE[0] < 4] = np.minimum(counts_LE[0, counts_LE[0] < 4], 1)  # one row is not none
        cases.append(Case(f"L={n_layers}, E={n_experts}", {"counts_LE": counts_LE}))
    # In the last layer the emptiest expert is further from the mean than the fullest.
    last_LE = np.array([[9, 9, 9, 9], [0, 36, 0, 0], [11, 0, 12, 13]])
    name = "L=3, E=4: an even layer, one with a single expert, one with a single idle one"
    cases.append(Case(name, {"counts_LE": last_LE}))
    return cases


def _cv(load_LE: torch.Tensor, correction: int = 0) -> torch.Tensor:
    return load_LE.std(dim=-1, correction=correction) / load_LE.mean(dim=-1)


def reference(counts_LE: torch.Tensor) -> Three:
    """Standard deviation over mean, fullest over mean less 1, and how many zeros."""
    load_LE = counts_LE.float()
    return _cv(load_LE), load_LE.amax(dim=-1) / load_LE.mean(dim=-1) - 1, (counts_LE == 0).sum(dim=-1)


def _with_cv(cv_L: torch.Tensor, counts_LE: torch.Tensor) -> Three:
    return (cv_L, *reference(counts_LE)[1:])


def _with_violation(violation_L: torch.Tensor, counts_LE: torch.Tensor) -> Three:
    cv_L, _, dead_L = reference(counts_LE)
    return cv_L, violation_L, dead_L


def _with_dead(dead_LE: torch.Tensor, counts_LE: torch.Tensor) -> Three:
    return (*reference(counts_LE)[:2], dead_LE.sum(dim=-1))


def _mean_in_use(counts_LE: torch.Tensor) -> Three:
    load_LE = counts_LE.float()
    in_use_L = (counts_LE > 0).sum(dim=-1)
    return _with_violation(load_LE.amax(dim=-1) * in_use_L / load_LE.sum(dim=-1) - 1, counts_LE)


def _one_mean(counts_LE: torch.Tensor) -> Three:
    load_LE = counts_LE.float()
    cv_L = load_LE.std(dim=-1, correction=0) / load_LE.mean()
    return cv_L, load_LE.amax(dim=-1) / load_LE.mean() - 1, reference(counts_LE)[2]


def _of_shares(counts_LE: torch.Tensor) -> Three:
    cv_L, violation_L, dead_L = reference(counts_LE)
    return cv_L / counts_LE.shape[1], violation_L / counts_LE.shape[1], dead_L


IMBALANCE = Exercise(
    id="04.imbalance",
    title="Three alarms",
    task=(
        "For every layer return three values, each `[L]`: the coefficient of variation of the counts "
        "(the standard deviation that divides by E, over the mean); MaxVio, by what fraction of the mean the "
        "fullest expert exceeds the mean; and the number of dead experts, those with no row at all (whole "
        "numbers)."
    ),
    entry="imbalance",
    points=2,
    minutes=8,
    difficulty=2,
    outputs=(Output("cv_L", "L"), Output("max_violation_L", "L"), Output("dead_L", "L", kind="int")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "sample_std",
            "The standard deviation divides by E - 1, which is PyTorch's default. These are all E loads, "
            "not a sample: divide by E.",
            wrong=lambda counts_LE: _with_cv(_cv(counts_LE.float(), 1), counts_LE),
            hint=2,
        ),
        Misconception(
            "cv_squared",
            "The first value is CV². That is what Shazeer's importance and load losses use, since its "
            "gradient is simpler; the coefficient itself is the square root.",
            wrong=lambda counts_LE: _with_cv(_cv(counts_LE.float()).square(), counts_LE),
        ),
        Misconception(
            "variance_over_mean",
            "The variance is divided by the mean. That number grows with the number of tokens, so two "
            "batch sizes could not be compared. The CV divides the standard deviation.",
            wrong=lambda counts_LE: _with_cv(
                counts_LE.float().var(dim=-1, correction=0) / counts_LE.float().mean(dim=-1), counts_LE
            ),
            hint=2,
        ),
        Misconception(
            "max_over_mean",
            "The second value is the fullest over the mean: 1 when balanced. MaxVio is the excess over "
            "the mean, so a balanced layer has 0.",
            wrong=lambda counts_LE: _with_violation(reference(counts_LE)[1] + 1, counts_LE),
            hint=3,
        ),
        Misconception(
            "max_share",
            "The second value is the fullest expert's share of all rows. A share of 0.25 is even with 4 "
            "experts and alarming with 64; dividing by the mean makes layers comparable.",
            wrong=lambda counts_LE: _with_violation(
                counts_LE.amax(dim=-1) / counts_LE.sum(dim=-1), counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "mean_in_use",
            "The mean for MaxVio goes over the experts in use only. With 6 of 8 dead and two sharing "
            "evenly the alarm would then say 0. The mean is over all E.",
            wrong=_mean_in_use,
        ),
        Misconception(
            "dead_below_mean",
            "Experts with less than the mean are called dead. In any uneven layer about half the experts "
            "are below the mean; a dead one gets nothing.",
            wrong=lambda counts_LE: _with_dead(
                counts_LE < counts_LE.float().mean(dim=-1, keepdim=True), counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "quiet_is_dead",
            "Experts with a few rows are called dead. A few rows are a few gradients: such an expert still "
            "learns and may come back. Dead means no row.",
            wrong=lambda counts_LE: _with_dead(
                counts_LE < 0.05 * counts_LE.float().mean(dim=-1, keepdim=True), counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "one_mean",
            "The mean was taken over all layers at once. Each layer is a router of its own, with a number of "
            "rows of its own: take the mean of each row, `dim=-1`.",
            wrong=_one_mean,
            hint=2,
        ),
        Misconception(
            "excess_in_rows",
            "The second value is the excess in rows. It grows with the batch; divided by the mean it does "
            "not, and 1 then means twice the mean.",
            wrong=lambda counts_LE: _with_violation(
                counts_LE.amax(dim=-1) - counts_LE.float().mean(dim=-1), counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "furthest_from_mean",
            "The second value looks at the expert that is furthest from the mean, on either side. In an "
            "uneven layer that may be the emptiest. MaxVio is about the fullest: that is the one all "
            "others wait for.",
            wrong=lambda counts_LE: _with_violation(
                (counts_LE / counts_LE.float().mean(dim=-1, keepdim=True) - 1).abs().amax(dim=-1), counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "over_the_emptiest",
            "The second value compares the fullest with the emptiest. Where one expert is idle that "
            "divides by zero; the measure is the mean.",
            wrong=lambda counts_LE: _with_violation(
                counts_LE.amax(dim=-1) / counts_LE.amin(dim=-1).float() - 1, counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "over_the_median",
            "The second value compares the fullest with the median. The median does not see how many rows "
            "there are to share; an even load is the mean.",
            wrong=lambda counts_LE: _with_violation(
                counts_LE.amax(dim=-1) / counts_LE.float().median(dim=-1).values - 1, counts_LE
            ),
            hint=3,
        ),
        Misconception(
            "of_shares",
            "The first two values are those of the load *shares*, not divided by their mean. That mean is "
            "1/E, so the numbers shrink as E grows; divide by it.",
            wrong=_of_shares,
            hint=2,
        ),
        Misconception(
            "any_dead",
            "The third value says whether a layer has a dead expert, not how many. `any` answers yes or no; "
            "`sum` counts.",
            wrong=lambda counts_LE: (*reference(counts_LE)[:2], (counts_LE == 0).any(dim=-1).long()),
            hint=3,
        ),
        Misconception(
            "dead_of_all_layers",
            "The dead experts of all layers are in one number. Each layer has its own: say along which axis "
            "`sum` runs.",
            wrong=lambda counts_LE: (*reference(counts_LE)[:2], (counts_LE == 0).sum()),
            hint=3,
        ),
        Misconception(
            "living_counted",
            "The third value counts the experts that are in use. Asked for are the dead ones.",
            wrong=lambda counts_LE: _with_dead(counts_LE > 0, counts_LE),
            hint=3,
        ),
        Misconception(
            "two_defaults",
            "Two slips at once. The standard deviation divides by E - 1 (PyTorch's default; divide by E), "
            "and the second value is the fullest over the mean, not its excess over it (take 1 away).",
            wrong=lambda counts_LE: (
                _cv(counts_LE.float(), 1),
                reference(counts_LE)[1] + 1,
                reference(counts_LE)[2],
            ),
            hint=2,
        ),
        Misconception(
            "over_layers",
            "There is one number for each expert: the statistics run over the layers. Each layer is a "
            "router of its own, so they run over its experts, the last axis.",
            wrong=lambda counts_LE: reference(counts_LE.T),
            hint=2,
        ),
    ),
    crashes=(
        Crash(
            "whole_numbers",
            "Mean and standard deviation need real numbers, and counts are whole ones. `.float()` first.",
            pattern=r"std and var only support floating|Input dtype must be either a floating",
            hint=2,
        ),
    ),
    hints=(
        "What should each of the three say for a layer in which all experts have the same load?",
        "`counts_LE.float()` first; `std(dim=-1, correction=0)`, `mean(dim=-1)`, `amax(dim=-1)`.",
        "MaxVio is (fullest - mean) / mean. Dead: compare with 0 and sum over the last axis.",
    ),
    notice=(
        "CV looks at all experts and MaxVio at the fullest alone, so that two layers can agree in one and "
        "differ in the other; a log should hold both."
    ),
)
