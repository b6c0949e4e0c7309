"""Exercise 04.effective_experts: two ways to say how many experts a layer really uses."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

Pair = tuple[torch.Tensor, torch.Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several layers at once, all sizes different: uneven, with unused experts, even, and fully collapsed."""
    cases = []
    for n_layers, n_experts in [(3, 5), (2, 8), (4, 6)]:
        counts_LE = rng.integers(1, 60, (n_layers, n_experts))
        counts_LE[0, rng.permutation(n_experts)[: n_experts // 2]] = 0
        cases.append(Case(f"L={n_layers}, E={n_experts}, some unused", {"counts_LE": counts_LE}))
    extremes_LE = np.array([[12, 12, 12, 12], [0, 48, 0, 0]])
    cases.append(Case("L=2, E=4: an even layer, and one with a single expert", {"counts_LE": extremes_LE}))
    return cases


def _shares(counts_LE: torch.Tensor) -> torch.Tensor:
    return counts_LE / counts_LE.sum(dim=-1, keepdim=True)


def _entropy(shares_LE: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(shares_LE).sum(dim=-1)


def _from_cv(cv_L: torch.Tensor, n_experts: int) -> torch.Tensor:
    return n_experts / (1 + cv_L.square())


def _cv(counts_LE: torch.Tensor, correction: int) -> torch.Tensor:
    load_LE = counts_LE.float()
    return load_LE.std(dim=-1, correction=correction) / load_LE.mean(dim=-1)


def reference(counts_LE: torch.Tensor) -> Pair:
    """The exponential of the entropy, and E / (1 + CV²)."""
    return _entropy(_shares(counts_LE)).exp(), _from_cv(_cv(counts_LE, 0), counts_LE.shape[-1])


def _nan(counts_LE: torch.Tensor) -> Pair:
    shares_LE = _shares(counts_LE)
    return (-(shares_LE * shares_LE.log()).sum(dim=-1)).exp(), reference(counts_LE)[1]


def _all_layers(counts_LE: torch.Tensor) -> Pair:
    return _entropy(counts_LE / counts_LE.sum()).exp(), reference(counts_LE)[1]


def _bits(counts_LE: torch.Tensor) -> Pair:
    return (_entropy(_shares(counts_LE)) / np.log(2)).exp(), reference(counts_LE)[1]


EFFECTIVE_EXPERTS = Exercise(
    id="04.effective_experts",
    title="How many experts are there, really?",
    task=(
        "For every layer return two numbers, each `[L]`: the exponential of the load's entropy, "
        "`exp(-sum of s ln s)` over the layer's load shares s, where an unused expert adds nothing; and "
        "`E / (1 + CV²)`, where CV is the standard deviation of the counts (the one that divides by E) over "
        "their mean."
    ),
    entry="effective_experts",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("from_entropy_L", "L"), Output("from_cv_L", "L")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "nan",
            "An unused expert turns the layer into NaN: 0 times ln 0 is 0 times minus infinity. Its limit "
            "is 0. A collapsed layer is where this number is needed most, so it must survive zeros.",
            wrong=_nan,
            hint=2,
        ),
        Misconception(
            "no_exp",
            "The first value is the entropy itself, in nats. Its exponential is what counts experts: ln 8 "
            "is 2.08, and its exponential is 8.",
            wrong=lambda counts_LE: (_entropy(_shares(counts_LE)), reference(counts_LE)[1]),
        ),
        Misconception(
            "bits_and_e",
            "Logarithm and exponential have different bases: 2 (`log2`, `2 ** H`) in one and e (`log`, "
            "`exp`) in the other. Any base will do, as long as both have the same one.",
            wrong=_bits,
            also=(lambda counts_LE: (2 ** _entropy(_shares(counts_LE)), reference(counts_LE)[1]),),
            hint=2,
        ),
        Misconception(
            "entropy_of_counts",
            "The entropy was taken of the counts. s ln s is about shares, which sum to 1 in each layer: "
            "divide each row by its sum first.",
            wrong=lambda counts_LE: (_entropy(counts_LE.float()).exp(), reference(counts_LE)[1]),
            hint=3,
        ),
        Misconception(
            "in_use",
            "The first value counts the experts in use. One with a single row then counts as much as the "
            "fullest; the exponential of the entropy weighs each by its share.",
            wrong=lambda counts_LE: ((counts_LE > 0).sum(dim=-1).float(), reference(counts_LE)[1]),
        ),
        Misconception(
            "one_sum",
            "All layers are divided by one common sum, so a layer's shares do not sum to 1. Each layer is a "
            "router of its own: divide each row by its own sum.",
            wrong=_all_layers,
            hint=3,
        ),
        Misconception(
            "sample_std",
            "The standard deviation divides by E - 1, which is PyTorch's default. Then a fully collapsed "
            "layer does not come out as 1 expert. The E loads are all there are, not a sample of more.",
            wrong=lambda counts_LE: (
                reference(counts_LE)[0],
                _from_cv(_cv(counts_LE, 1), counts_LE.shape[-1]),
            ),
            hint=2,
        ),
        Misconception(
            "cv_not_squared",
            "The second value is E / (1 + CV): the CV is not squared. With one expert in use it must be 1: "
            "CV² is then E - 1.",
            wrong=lambda counts_LE: (
                reference(counts_LE)[0],
                counts_LE.shape[-1] / (1 + _cv(counts_LE, 0)),
            ),
            hint=3,
        ),
        Misconception(
            "fraction",
            "Both values are divided by E: the fraction of the experts in use, from 1/E to 1. Asked for is "
            "their number, from 1 to E.",
            wrong=lambda counts_LE: tuple(value / counts_LE.shape[-1] for value in reference(counts_LE)),
        ),
        Misconception(
            "swapped",
            "The two values are the wrong way round: first the one from the entropy, then the one from the "
            "CV. They differ in general, so whoever quotes one has to say which.",
            wrong=lambda counts_LE: reference(counts_LE)[::-1],
        ),
    ),
    hints=(
        "Try it on paper for one layer with loads 6, 6, 0, 0. Both numbers should say 2. Which steps give "
        "that?",
        "`torch.special.entr(s)` is -s ln s, and 0 at 0. `std` takes `correction=0`.",
        "`shares = counts / counts.sum(dim=-1, keepdim=True)`, then sum `entr` over the last axis and take "
        "`exp`. The other: the squared ratio of `std` and `mean` over the last axis.",
    ),
    notice=(
        "`torch.special.entr` is -s ln s with its limit 0 at s = 0 built in: no mask, and no small number "
        "under the logarithm that would shift the result."
    ),
)
