"""Exercise 04.revive: re-initialise dead experts from busy ones, router row and optimizer state included."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.collapse.revive_mistakes import MISTAKES, Three, revived
from moe_lessons.exercises.spec import Case, Exercise, Output

SIZES = ((6, 3, 5, 2), (5, 4, 7, 3), (7, 2, 4, 0), (4, 5, 3, 1))
"""E, D, P and the number of dead experts."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """None, one, two, and more dead experts than living ones; loads without ties."""
    cases = []
    for n_experts, width, n_weights, n_dead in SIZES:
        counts_E = np.sort(rng.choice(np.arange(3, 400), n_experts, replace=False))
        counts_E[:n_dead] = 0
        counts_E = rng.permutation(counts_E)
        # Donors in order of id must not happen to be right, nor the least busy ones.
        extremes = (0, counts_E.max(), min(filter(None, counts_E)))
        while n_dead == 2 and (counts_E[-1] == 0 or counts_E[0] in extremes):
            counts_E = rng.permutation(counts_E)
        args = {
            "router_ED": rng.standard_normal((n_experts, width)).astype(np.float32),
            "experts_EP": rng.standard_normal((n_experts, n_weights)).astype(np.float32),
            "momentum_EP": rng.standard_normal((n_experts, n_weights)).astype(np.float32),
            "counts_E": counts_E,
            "noise_ED": 0.1 * rng.standard_normal((n_experts, width)).astype(np.float32),
        }
        cases.append(Case(f"E={n_experts}, D={width}, P={n_weights}, {n_dead} dead", args))
    return cases


def reference(
    router_ED: torch.Tensor,
    experts_EP: torch.Tensor,
    momentum_EP: torch.Tensor,
    counts_E: torch.Tensor,
    noise_ED: torch.Tensor,
) -> Three:
    """Pair the dead with donors, and copy."""
    return revived(router_ED, experts_EP, momentum_EP, counts_E, noise_ED)


REVIVE = Exercise(
    id="04.revive",
    title="Bring the dead back",
    task=(
        "Replace the dead experts, those with `counts_E` 0. Take them in order of id: the first gets the "
        "busiest expert as its donor, the second the second busiest, and so on; when the living run out, "
        "start again with the busiest. A revived expert gets its donor's weights (row of `experts_EP`), its "
        "donor's router row plus its own row of `noise_ED`, and momentum 0. Everything else stays. Return "
        "`router_ED, experts_EP, momentum_EP`."
    ),
    entry="revive",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("router_ED", "ED"), Output("experts_EP", "EP"), Output("momentum_EP", "EP")),
    draw=draw,
    reference=reference,
    gradient="ignored",
    may_change=("router_ED", "experts_EP", "momentum_EP"),
    misconceptions=MISTAKES,
    hints=(
        "First make a list of pairs (dead, donor). What decides who is in it?",
        "`(counts_E == 0).nonzero().flatten()` are the dead, in order of id. `clone()` before you write, and "
        "write to the rows of the dead only.",
        "`busy = counts_E.argsort(descending=True)`, without the dead; the donor of the i-th dead expert "
        "is `busy[i % len(busy)]`.",
    ),
    notice="The momentum goes to 0 too: it averages gradients of a network that is no longer there.",
)
