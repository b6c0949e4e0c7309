"""What 06.leaks_future tries a test on: each router once, with logits on which no verdict hangs on chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.routing_zoo.leak_kinds import CLEAN, CROWD, HARD, SOFT
from moe_lessons.exercises.spec import Case
from moe_lessons.exercises.subjects import SUBJECTS

SIZES = (12, 4)
CHOICE_MOVES = (CROWD, "expert_choice", "batch_bias")


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Every router once, in an order of its own."""
    names = {**CLEAN, **SOFT, **HARD}
    kinds = [list(names)[i] for i in rng.permutation(len(names))]
    return [Case(f"router: {names[kind]}", _args(rng, kind)) for kind in kinds]


def _args(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """Logits on which a hard leak shows beyond doubt to whoever looks for it in an apt way."""
    while True:
        logits_TE = (1.5 * rng.standard_normal(SIZES)).astype(np.float32)
        if kind == CROWD:
            logits_TE = logits_TE[_halves(rng, logits_TE.argmax(axis=1))]
        if kind not in HARD or _suits(kind, torch.from_numpy(logits_TE)):
            return {"route": kind, "logits_TE": logits_TE}


def _halves(rng: np.random.Generator, favourite_T: np.ndarray) -> np.ndarray:
    """Tokens in an order in which two experts are the favourites of the first half, two of the second.

    Then a second half of other tokens, even a single draw of it, almost always leaves the batch uneven.
    """
    second_T = np.isin(favourite_T, rng.permutation(SIZES[1])[: SIZES[1] // 2])
    return np.lexsort((rng.random(SIZES[0]), second_T))


def _suits(kind: str, logits_TE: Tensor) -> bool:
    """One fresh end at each position shows it, every time; so does a beginning that is routed alone.

    A crowd shows with a fresh second half alone, and experts that choose with a fresh last token alone: who
    overlooks these has changed less, and no single try decides by chance which mistake that is. And no
    choice stands so near its edge that a small change moves it.
    """
    if kind == CROWD and set(logits_TE.argmax(dim=-1).bincount(minlength=SIZES[1]).tolist()) != {3}:
        return False
    before_TE, positions = SUBJECTS[kind](logits_TE), range(1, len(logits_TE))

    def shows(after_TE: Tensor, position: int) -> bool:
        return bool((after_TE[:position] - before_TE[:position]).abs().max() > 1e-3)

    if kind in CHOICE_MOVES and any(
        shows(SUBJECTS[kind](_nudged(logits_TE, t, s)), t) for t in positions for s in range(10)
    ):
        return False
    start = {CROWD: len(logits_TE) // 2, "expert_choice": len(logits_TE) - 1}.get(kind)
    if start and not all(shows(SUBJECTS[kind](replaced(logits_TE, start, s)), start) for s in range(9)):
        return False
    return any(shows(SUBJECTS[kind](logits_TE[:t]), t) for t in positions) and all(
        any(shows(SUBJECTS[kind](replaced(logits_TE, t, 20 * t + s)), t) for t in positions)
        for s in range(10)
    )


def replaced(logits_TE: Tensor, position: int, seed: int) -> Tensor:
    """Other logits from this position on, as large as the ones that were there or several times larger."""
    generator = torch.Generator().manual_seed(seed)
    changed_TE = logits_TE.clone()
    fresh_TE = torch.randn(logits_TE[position:].shape, generator=generator)
    changed_TE[position:] = fresh_TE * (1 + seed % 3)
    return changed_TE


def _nudged(logits_TE: Tensor, position: int, seed: int) -> Tensor:
    """Logits a little different from this position on: more than a learner's small change, by a margin."""
    generator = torch.Generator().manual_seed(seed)
    nudge_TE = 5e-3 * torch.randn(logits_TE.shape, generator=generator)
    return torch.cat([logits_TE[:position], (logits_TE + nudge_TE)[position:]])
