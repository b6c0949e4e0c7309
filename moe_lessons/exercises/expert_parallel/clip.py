"""Exercise 14.clip: one norm for a model that no rank holds as a whole."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Norm = Callable[[Tensor, Tensor], Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Gradients that are too long and one that is short enough; a single rank."""

    def case(G: int, P: int, Q: int, size: float, max_norm: float, edge: bool = False) -> Case:
        dense_P = rng.normal(size=P) * size
        expert_GQ = rng.normal(size=(G, Q)) * size * rng.uniform(0.6, 1.7, (G, 1))
        expert_GQ[0] *= 0.5  # rank 0 is no fair sample, nor is the last one the largest
        if G > 2:
            expert_GQ[1] *= 2 * np.linalg.norm(expert_GQ, axis=1).max() / np.linalg.norm(expert_GQ[1])
        args: dict[str, Plain] = {
            "dense_P": dense_P.astype(np.float32),
            "expert_GQ": expert_GQ.astype(np.float32),
            "max_norm": max_norm,
        }
        short = ", short enough" if size < 0.1 else ""
        return Case(f"G={G}, P={P}, Q={Q}, max_norm={max_norm}{short}", args, edge=edge)

    return [
        case(3, 5, 4, 1.0, 1.0),
        case(4, 6, 3, 0.02, 1.0),
        case(2, 3, 7, 2.0, 0.5),
        case(5, 4, 2, 1.0, 1.5),
        case(1, 4, 4, 1.0, 1.0, edge=True),
    ]


def reference(dense_P: Tensor, expert_GQ: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
    """Squares of every weight's gradient once; a factor of at most 1."""
    norm = (dense_P.square().sum() + expert_GQ.square().sum()).sqrt()
    return norm, (max_norm / norm).clamp(max=1.0)


def _clipped(norm_of: Norm) -> Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]:
    """Another norm, and the factor that belongs to it."""

    def answer(dense_P: Tensor, expert_GQ: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
        norm = norm_of(dense_P, expert_GQ)
        return norm, (max_norm / norm).clamp(max=1.0)

    return answer


def _factor(
    make: Callable[[Tensor, float], Tensor],
) -> Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]:
    """The right norm and another factor."""

    def answer(dense_P: Tensor, expert_GQ: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
        norm, _ = reference(dense_P, expert_GQ, max_norm)
        return norm, make(norm, max_norm)

    return answer


def _rank_norms(dense_P: Tensor, expert_GQ: Tensor) -> Tensor:
    """What each rank sees: the dense part and its own experts."""
    return (dense_P.square().sum() + expert_GQ.square().sum(dim=1)).sqrt()


def _at_most_one(case: Case, got: Outputs, want: Outputs) -> str | None:
    factor = float(np.max(got["factor"]))
    return (
        f"the factor is {factor:.4g}: clipping never makes a gradient longer" if factor > 1 + 1e-6 else None
    )


CLIP = Exercise(
    id="14.clip",
    title="One norm for all ranks",
    task=(
        "All G ranks hold the dense weights and have the same averaged gradient of them, `dense_P`. Rank g "
        "alone holds its experts, with gradient `expert_GQ[g]`. Return the norm of the gradient of the whole "
        "model, and the factor by which every rank multiplies its gradients so that this norm is at most "
        "`max_norm`. A gradient that is short enough stays as it is."
    ),
    entry="clip_factor",
    points=3,
    minutes=10,
    difficulty=2,
    gradient="ignored",
    outputs=(Output("norm"), Output("factor")),
    draw=draw,
    reference=reference,
    properties=(Property("the factor is at most 1", _at_most_one),),
    misconceptions=(
        Misconception(
            "own_norm",
            "This is the norm that one rank sees: the dense part and its own experts. Each rank would get "
            "another factor, and the dense weights, which are the same everywhere, would drift apart.",
            wrong=_clipped(lambda d, e: _rank_norms(d, e)[0]),
            also=(_clipped(lambda d, e: _rank_norms(d, e)[-1]),),
            hint=1,
        ),
        Misconception(
            "a_norm_for_each_rank",
            "These are G norms and G factors. The ranks hold parts of *one* model: its gradient has one "
            "norm, and one factor keeps its direction.",
            wrong=_clipped(_rank_norms),
            also=(_clipped(lambda d, e: (d.square().sum() + e.square().sum()).sqrt().expand(len(e))),),
            hint=1,
        ),
        Misconception(
            "dense_counted_per_rank",
            "The dense part was counted G times, once for each rank that holds it. It is one part of the "
            "model, however many copies there are.",
            wrong=_clipped(lambda d, e: _rank_norms(d, e).norm()),
            hint=1,
        ),
        Misconception(
            "norms_added",
            "Norms were added up. Norms of parts do not add, their *squares* do.",
            wrong=_clipped(lambda d, e: d.norm() + e.norm()),
            also=(
                _clipped(lambda d, e: d.norm() + e.norm(dim=1).sum()),
                _clipped(lambda d, e: (d.square().sum() + e.norm(dim=1).sum().square()).sqrt()),
                _clipped(lambda d, e: _rank_norms(d, e).sum()),
            ),
            hint=2,
        ),
        Misconception(
            "rank_norms_averaged",
            "The ranks' norms were averaged. A mean over ranks says how long a *rank's* part is, and the "
            "model is longer than any of its parts.",
            wrong=_clipped(lambda d, e: _rank_norms(d, e).mean()),
            hint=1,
        ),
        Misconception(
            "largest_rank",
            "This is the largest norm that any rank sees. The others' experts are missing from it.",
            wrong=_clipped(lambda d, e: _rank_norms(d, e).amax()),
            hint=1,
        ),
        Misconception(
            "experts_averaged",
            "The experts' part, or the whole square, was averaged over the ranks. They hold *different* "
            "experts: nothing of these is there twice.",
            wrong=_clipped(lambda d, e: (d.square().sum() + e.square().sum() / len(e)).sqrt()),
            also=(
                _clipped(lambda d, e: (d.square().sum() + e.mean(dim=0).square().sum()).sqrt()),
                _clipped(lambda d, e: (d.square().sum() + e.norm(dim=1).mean().square()).sqrt()),
            ),
            hint=1,
        ),
        Misconception(
            "experts_summed",
            "The experts' gradients were added up over the ranks before the norm was taken, as if they were "
            "of one and the same expert. They can cancel then; square first.",
            wrong=_clipped(lambda d, e: (d.square().sum() + e.sum(dim=0).square().sum()).sqrt()),
            hint=2,
        ),
        Misconception(
            "experts_left_out",
            "Only the dense part was measured. The experts are most of the model.",
            wrong=_clipped(lambda d, e: d.norm()),
            also=(_clipped(lambda d, e: e.norm()),),
            hint=1,
        ),
        Misconception(
            "squared",
            "This is the square of the norm: the root is missing.",
            wrong=_clipped(lambda d, e: d.square().sum() + e.square().sum()),
            hint=2,
        ),
        Misconception(
            "mean_of_squares",
            "The squares were averaged. A norm is the root of their *sum*: it grows with the model.",
            wrong=_clipped(
                lambda d, e: ((d.square().sum() + e.square().sum()) / (d.numel() + e.numel())).sqrt()
            ),
            also=(_clipped(lambda d, e: (d.square().mean() + e.square().mean()).sqrt()),),
            hint=2,
        ),
        Misconception(
            "other_norm",
            "This is another norm: the sum of the absolute values, or the largest of them. Clipping takes "
            "the length, the root of the sum of squares.",
            wrong=_clipped(lambda d, e: d.abs().sum() + e.abs().sum()),
            also=(_clipped(lambda d, e: torch.cat([d, e.flatten()]).abs().amax()),),
            hint=2,
        ),
        Misconception(
            "always_scaled",
            "A gradient that is short enough was made *longer*, up to `max_norm`. Clipping shortens, and "
            "leaves short ones alone.",
            wrong=_factor(lambda norm, most: most / norm),
            hint=3,
        ),
        Misconception(
            "factor_upside_down",
            "The factor is norm over `max_norm`, or its upper and lower limit are exchanged. A gradient "
            "twice too long has to be halved.",
            wrong=_factor(lambda norm, most: (norm / most).clamp(max=1.0)),
            also=(
                _factor(lambda norm, most: norm / most),
                _factor(lambda norm, most: (most / norm).clamp(min=1.0)),
                _factor(lambda norm, most: (norm / most).clamp(min=1.0)),
            ),
            hint=3,
        ),
        Misconception(
            "norm_after",
            "The factor is right, and `norm` is what is left *after* clipping. Return the norm before it, as "
            "`clip_grad_norm_` does: it is what one logs.",
            wrong=lambda d, e, most: (
                reference(d, e, most)[0] * reference(d, e, most)[1],
                reference(d, e, most)[1],
            ),
            hint=3,
        ),
    ),
    hints=(
        "How often would a weight be counted that all ranks hold? And one that a single rank holds? The norm "
        "should be that of one process.",
        "Squares add up, norms do not: `x.square().sum()` of each part, one root at the end.",
        "`norm = (dense.square().sum() + expert.square().sum()).sqrt()`, and `min(1, max_norm / norm)`.",
    ),
    notice=(
        "In a real run each rank squares its own experts, one `all_reduce` adds these up, and the dense part "
        "joins without one."
    ),
)
