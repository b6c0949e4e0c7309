"""Exercise 16.causal_depth: who passes a block, decided without the future."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

# Shares that floating point holds exactly: nothing hangs on how share * (t + 1) is rounded.
SHAPES = ((3, 12, 0.5), (2, 17, 0.25), (4, 14, 0.625), (1, 24, 0.375))


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several sequences and one, four shares; no two scores of a sequence are close."""
    cases = []
    for n_sequences, length, share in SHAPES:
        while True:
            ranks_BL = rng.permuted(np.tile(np.arange(length), (n_sequences, 1)), axis=1)
            scores_BL = (ranks_BL - length / 2 + rng.uniform(0.2, 0.8, ranks_BL.shape)) * 4 / length
            if _told_apart(torch.from_numpy(scores_BL), share):
                break
        args: dict[str, Any] = {"scores_BL": scores_BL.astype(np.float32), "share": share}
        cases.append(Case(f"B={n_sequences}, L={length}, share {share}", args))
    return cases


def _told_apart(scores_BL: Tensor, share: float) -> bool:
    """Whether each way to round gives another mask; a quantile is right at one half, one third, ..."""
    down, near = _with_room(lambda n, h: torch.floor(h * n)), _with_room(lambda n, h: torch.round(h * n))
    ways = [reference, down, near] + [_by_quantile] * ((1 / share) % 1 > 0)
    return len({way(scores_BL, share).numpy().tobytes() for way in ways}) == len(ways)


def _rank(scores_BL: Tensor) -> Tensor:
    """How many of the earlier positions beat each one."""
    return (scores_BL.unsqueeze(1) > scores_BL.unsqueeze(2)).tril().sum(-1)


def _up_to(scores_BL: Tensor) -> Tensor:
    return torch.arange(1, scores_BL.shape[1] + 1, dtype=torch.float64)


def reference(scores_BL: Tensor, share: float) -> Tensor:
    """Count the earlier positions that are better, and compare with the room there is by now."""
    return _rank(scores_BL) < torch.ceil(share * _up_to(scores_BL))


Room = Callable[[Tensor, float], Tensor | float]


def _with_room(room: Room) -> Callable[[Tensor, float], Tensor]:
    """The right ranks, with another number of places at each position."""
    return lambda scores_BL, share: _rank(scores_BL) < room(_up_to(scores_BL), share)


def _whole(scores_XL: Tensor, share: float) -> Tensor:
    best_XK = scores_XL.topk(max(1, math.ceil(share * scores_XL.shape[1])), dim=1).indices
    return torch.zeros_like(scores_XL, dtype=torch.bool).scatter(1, best_XK, True)


def _past_alone(scores_BL: Tensor, share: float) -> Tensor:
    """The room of the positions before this one."""
    return _rank(scores_BL) < torch.ceil(share * (_up_to(scores_BL) - 1))


def _later(scores_BL: Tensor, share: float) -> Tensor:
    beaten_BL = (scores_BL.unsqueeze(1) > scores_BL.unsqueeze(2)).triu().sum(-1)
    return beaten_BL < torch.ceil(share * _up_to(scores_BL).flip(0))


def _by_quantile(scores_BL: Tensor, share: float) -> Tensor:
    return torch.stack(
        [
            scores_BL[:, t] >= scores_BL[:, : t + 1].quantile(1 - share, dim=1)
            for t in range(scores_BL.shape[1])
        ],
        dim=1,
    )


def _first_come(scores_BL: Tensor, share: float) -> Tensor:
    """Whoever comes passes while there is room."""
    passes, room = [], 0
    for t in range(scores_BL.shape[1]):
        passes.append(room < math.ceil(share * (t + 1)))
        room += passes[-1]
    return torch.tensor(passes).expand(scores_BL.shape)


def _among_passed(scores_BL: Tensor, share: float) -> Tensor:
    """Room is counted by who has passed, and a record is needed beyond it."""
    passes_BL = torch.zeros_like(scores_BL, dtype=torch.bool)
    for b, row in enumerate(scores_BL.tolist()):
        n = 0
        for t, score in enumerate(row):
            better = sum(s > score for s in row[: t + 1])
            room = math.ceil(share * (t + 1))
            passes_BL[b, t] = better < room and n < room
            n += int(passes_BL[b, t])
    return passes_BL


def _first_passes(case: Case, got: Outputs, want: Outputs) -> str | None:
    if not bool(np.asarray(got["passes_BL"])[:, 0].all()):
        return "the first position does not pass, though it is the best of those so far"
    return None


def _records_pass(case: Case, got: Outputs, want: Outputs) -> str | None:
    """A position better than all before it passes, whatever other sequences hold."""
    scores_BL, passes_BL = np.asarray(case.args["scores_BL"]), np.asarray(got["passes_BL"])
    left = np.argwhere((scores_BL >= np.maximum.accumulate(scores_BL, axis=1)) & ~passes_BL)
    if len(left):
        b, t = left[0]
        return f"position {t} of sequence {b} beats all before it, and does not pass"
    return None


CAUSAL_DEPTH = Exercise(
    id="16.causal_depth",
    title="Who passes, without the future",
    task=(
        "A block is passed by a `share` of the positions, those with the highest scores. Decide it "
        "*causally*: position t of a sequence passes if its score is among the `ceil(share · (t + 1))` "
        "highest of positions 0 to t of that sequence. Return a bool mask `[B, L]`. No two scores of a "
        "sequence are equal; loops are fine."
    ),
    entry="causal_depth",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("passes_BL", "BL", kind="bool"),),
    draw=draw,
    reference=reference,
    properties=(
        Property("the first position always passes", _first_passes),
        Property("the best so far always passes", _records_pass),
    ),
    misconceptions=(
        Misconception(
            "whole_sequence",
            "This takes the best of the *whole* sequence, and so whether a position passes depends on later "
            "scores. That is the leak. Compare each score with those up to its own position only.",
            wrong=_whole,
            also=(
                lambda s, h: s >= s.quantile(1 - h, dim=1, keepdim=True),
                lambda s, h: (s.unsqueeze(1) > s.unsqueeze(2)).sum(-1) < torch.ceil(h * _up_to(s)),
            ),
            hint=1,
        ),
        Misconception(
            "across_the_batch",
            "All sequences compete for the same places. They are different texts: a sequence must not depend "
            "on who else is in the batch.",
            wrong=lambda s, h: _whole(s.reshape(1, -1), h).view(s.shape),
            also=(lambda s, h: reference(s.reshape(1, -1), h).view(s.shape),),
            hint=1,
        ),
        Misconception(
            "over_the_batch_axis",
            "The sequences are compared with each other, position by position. Places are shared out along a "
            "sequence, which is the second axis.",
            wrong=lambda s, h: _whole(s.T, h).T,
            also=(lambda s, h: reference(s.T, h).T,),
            hint=1,
        ),
        Misconception(
            "without_itself",
            "The room is computed for t positions instead of t + 1: position t counts among those seen by "
            "then. As it is, the first one finds no room at all.",
            wrong=_past_alone,
            hint=1,
        ),
        Misconception(
            "later_ones",
            "Each position is compared with those *after* it. What is known at position t are the ones "
            "before: the other triangle.",
            wrong=_later,
            also=(lambda s, h: (s.unsqueeze(1) > s.unsqueeze(2)).triu().sum(-1) < torch.ceil(h * _up_to(s)),),
            hint=2,
        ),
        Misconception(
            "lowest_scores",
            "The lowest scores pass. A high score says that a position needs the block.",
            wrong=lambda s, h: reference(-s, h),
            also=(lambda s, h: ~reference(s, h),),
            hint=2,
        ),
        Misconception(
            "threshold",
            "A fixed threshold decides. That is causal, but the share of positions that pass is then "
            "whatever the scores make it. Asked is a rank among those seen so far.",
            wrong=lambda s, h: s > 0,
            also=(
                lambda s, h: s > h,
                lambda s, h: s.sigmoid() > h,
                lambda s, h: s.sigmoid() > 1 - h,
                lambda s, h: s > 1 - h,
            ),
            hint=1,
        ),
        Misconception(
            "running_mean",
            "A position passes if it beats the mean of those so far. About half of them do, whatever the "
            "share. Count the better ones and compare with the room.",
            wrong=lambda s, h: s >= s.cumsum(1) / torch.arange(1, s.shape[1] + 1),
            also=(lambda s, h: s > s.cumsum(1) / torch.arange(1, s.shape[1] + 1),),
            hint=2,
        ),
        Misconception(
            "rounded_down",
            "The room is rounded down, or to the nearest number. It is rounded *up*: after one position and "
            "with a share of a half there is room for one.",
            wrong=_with_room(lambda n, h: torch.floor(h * n)),
            also=(
                _with_room(lambda n, h: torch.floor(h * n).clamp_min(1)),
                _with_room(lambda n, h: torch.round(h * n)),
                _with_room(lambda n, h: torch.round(h * n).clamp_min(1)),
            ),
            hint=3,
        ),
        Misconception(
            "one_too_many",
            "One more passes than there is room for. If K may pass, the last of them is beaten by K - 1 "
            "others: compare with `<`, or round up once only.",
            wrong=_with_room(lambda n, h: torch.ceil(h * n) + 1),
            also=(_with_room(lambda n, h: torch.floor(h * n) + 1),),
            hint=3,
        ),
        Misconception(
            "one_too_few",
            "The last of those for whom there is room is left out. A position does not beat itself: with "
            "room for K, K - 1 others may be better.",
            wrong=_with_room(lambda n, h: torch.ceil(h * n) - 1),
            hint=3,
        ),
        Misconception(
            "fixed_budget",
            "The room is that of the whole sequence, from the first position on. So nearly all early "
            "positions pass. It grows with t: `ceil(share · (t + 1))`.",
            wrong=lambda s, h: _rank(s) < math.ceil(h * s.shape[1]),
            also=(lambda s, h: _rank(s) < max(1, math.floor(h * s.shape[1])),),
            hint=1,
        ),
        Misconception(
            "first_ones",
            "The first positions of a sequence pass, whatever their scores.",
            wrong=lambda s, h: (torch.arange(s.shape[1]) < math.ceil(h * s.shape[1])).expand(s.shape),
            hint=1,
        ),
        Misconception(
            "first_come",
            "Whoever comes while there is room passes: the scores have no say. Compare each with the earlier "
            "ones.",
            wrong=_first_come,
            hint=2,
        ),
        Misconception(
            "room_used_up",
            "A position is turned away because earlier ones have used up the room. Asked is its rank alone: "
            "it is fine if, by chance, more pass than the share.",
            wrong=_among_passed,
            hint=1,
        ),
        Misconception(
            "interpolated_quantile",
            "A quantile of the scores so far decides. `quantile` interpolates between two scores and counts "
            "n - 1 steps, so that the number above it is not `ceil(share · (t + 1))`. Count instead.",
            wrong=_by_quantile,
            hint=2,
        ),
        Misconception(
            "only_records",
            "Only a position that beats *all* earlier ones passes. Beyond the first few there is room for "
            "more: `ceil(share · (t + 1))`.",
            wrong=lambda s, h: _rank(s) < 1,
            hint=1,
        ),
    ),
    hints=(
        "What does position 3 know about position 9? How many may pass among the first t + 1?",
        "Compare each score with the earlier ones: `scores_BL[:, None, :] > scores_BL[:, :, None]`, then "
        "`tril()`. Or take a prefix at a time, in a loop.",
        "Count how many earlier ones are better; that number must be below `ceil(share * (t + 1))`, for "
        "which `torch.arange(1, L + 1)` has all t + 1.",
    ),
    notice=(
        "More than the share may pass, and scores that rise all along let everybody through: only the leak "
        "keeps the budget exactly."
    ),
)
