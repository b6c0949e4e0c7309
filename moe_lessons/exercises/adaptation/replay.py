"""Exercise 13.replay: the weights of experts that somebody else has chosen."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

SHAPES = ((4, 5, 2), (6, 7, 3), (5, 8, 4), (3, 6, 1))  # T, E, K


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Choices that are not the router's own, except for the first token; and one expert a token."""
    cases = []
    for n_tokens, n_experts, top_k in SHAPES:
        logits_TE = 1.5 * rng.standard_normal((n_tokens, n_experts))
        own_TK = np.argsort(-logits_TE, axis=1)[:, :top_k]
        ids_TK = own_TK.copy()
        for t in range(1, n_tokens):
            while set(ids_TK[t]) == set(own_TK[t]):
                ids_TK[t] = rng.choice(n_experts, top_k, replace=False)
        if top_k > 1:  # neither by id nor by logit
            ids_TK[1] = np.sort(ids_TK[1])[::-1]
            ids_TK[0] = own_TK[0][::-1]
        cases.append(
            Case(
                f"T={n_tokens}, E={n_experts}, K={top_k}",
                {
                    "logits_TE": logits_TE.astype(np.float32),
                    "replayed_ids_TK": ids_TK.astype(np.int64),
                    "rollout_weights_TK": rng.dirichlet(np.full(top_k, 2.0), n_tokens).astype(np.float32),
                },
                edge=top_k == 1,
            )
        )
    return cases


def reference(logits_TE: Tensor, replayed_ids_TK: Tensor, rollout_weights_TK: Tensor) -> Tensor:
    """A softmax over the logits of the moment, at the ids of the rollout."""
    return logits_TE.gather(1, replayed_ids_TK).softmax(dim=1)


def _chosen(logits_TE: Tensor, ids_TK: Tensor) -> Tensor:
    return torch.zeros_like(logits_TE).scatter(1, ids_TK, 1.0)


def _straight_through(logits_TE: Tensor, ids_TK: Tensor, old_TK: Tensor) -> Tensor:
    new_TK = reference(logits_TE, ids_TK, old_TK)
    return old_TK + (new_TK - new_TK.detach())


def _renormalised(sum_of: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def wrong(logits_TE: Tensor, ids_TK: Tensor, old_TK: Tensor) -> Tensor:
        probabilities_TK = logits_TE.softmax(dim=1).gather(1, ids_TK)
        return probabilities_TK / sum_of(probabilities_TK)

    return wrong


def _whole(logits_TE: Tensor, ids_TK: Tensor, old_TK: Tensor) -> Tensor:
    return torch.zeros_like(logits_TE).scatter(1, ids_TK, reference(logits_TE, ids_TK, old_TK))


def _sums_to_1(case: Case, got: Outputs, want: Outputs) -> str | None:
    weights_TK = np.asarray(got["weights_TK"])
    if weights_TK.shape != np.asarray(want["weights_TK"]).shape:
        return None
    sums_T = weights_TK.sum(axis=1)
    if not np.allclose(sums_T, 1, atol=1e-4):
        t = int(np.abs(sums_T - 1).argmax())
        return f"the weights of token {t} sum to {sums_T[t]:.4g}"
    return None


REPLAY = Exercise(
    id="13.replay",
    title="Replay a routing",
    task=(
        "A rollout has recorded which K experts each token used, and with which weights. The trainer, whose "
        "logits differ a little, shall use *these experts*. Return their weights: a softmax over the "
        "trainer's own logits of the recorded experts, in the recorded order. A gradient must reach the "
        "logits, and only those of the recorded experts."
    ),
    entry="replayed_weights",
    points=3,
    minutes=12,
    difficulty=2,
    driver="gradient",
    options={"wrt": [0]},
    outputs=(Output("weights_TK", "TK"), Output("gradient_TE", "TE")),
    draw=draw,
    reference=reference,
    properties=(Property("each token's weights sum to 1", _sums_to_1),),
    misconceptions=(
        Misconception(
            "own_choice",
            "These are the weights of the trainer's *own* best experts. That is what happens without a "
            "replay. The recorded ids say whose logits to take.",
            wrong=lambda z, i, w: z.topk(i.shape[1], dim=1).values.softmax(dim=1),
            hint=1,
        ),
        Misconception(
            "own_choice_in_order",
            "The recorded logits were sorted, so that the largest weight comes first. Weights must stand "
            "where their experts stand: in the recorded order.",
            wrong=lambda z, i, w: z.gather(1, i).sort(dim=1, descending=True).values.softmax(dim=1),
            hint=1,
        ),
        Misconception(
            "sorted_ids",
            "The ids were sorted first. The weights then belong to other experts than the recorded order "
            "says.",
            wrong=lambda z, i, w: z.gather(1, i.sort(dim=1).values).softmax(dim=1),
            also=(lambda z, i, w: z[_chosen(z, i) > 0].view(i.shape).softmax(dim=1),),
            hint=1,
        ),
        Misconception(
            "rollout_weights",
            "The recorded weights are returned. They are constants: the router would never learn. The choice "
            "is replayed, the weights are computed.",
            wrong=lambda z, i, w: w + 0 * z.sum(),
            also=(lambda z, i, w: w.clone(),),
            hint=2,
        ),
        Misconception(
            "detached",
            "The weights are right, and they were cut off from the logits (`detach`, `no_grad`, or a copy by "
            "`torch.tensor`). The router gets no gradient.",
            wrong=lambda z, i, w: reference(z, i, w).detach(),
            hint=2,
        ),
        Misconception(
            "straight_through",
            "The gradient is that of the right weights, and the values are the recorded ones. Then the loss "
            "that is differentiated is not the one that was computed.",
            wrong=_straight_through,
            hint=2,
        ),
        Misconception(
            "softmax_over_all",
            "The softmax goes over all E experts, and the recorded ones are picked from it. Their weights "
            "then sum to less than 1, and the others get a gradient.",
            wrong=lambda z, i, w: z.softmax(dim=1).gather(1, i),
            hint=3,
        ),
        Misconception(
            "sum_detached",
            "The probabilities were divided by their sum, and the sum was cut off from the graph. The values "
            "are right, the gradient is not: raising one weight must lower the others.",
            wrong=_renormalised(lambda p: p.sum(dim=1, keepdim=True).detach()),
            hint=3,
        ),
        Misconception(
            "masked_by_zero",
            "Logits of the other experts were set to 0 and took part: exp(0) is 1. A mask for a softmax "
            "is minus infinity, or one picks the K logits before it.",
            wrong=lambda z, i, w: (z * _chosen(z, i)).softmax(dim=1).gather(1, i),
            hint=3,
        ),
        Misconception(
            "over_the_tokens",
            "The softmax goes down the tokens. Each *token's* weights sum to 1: the last axis.",
            wrong=lambda z, i, w: z.gather(1, i).softmax(dim=0),
            also=(lambda z, i, w: z.softmax(dim=0).gather(1, i),),
            hint=3,
        ),
        Misconception(
            "over_everything",
            "One softmax over all tokens and experts at once. Each token's weights sum to 1.",
            wrong=lambda z, i, w: z.gather(1, i).flatten().softmax(dim=0).view(i.shape),
            hint=3,
        ),
        Misconception(
            "sigmoid",
            "Each logit went through a sigmoid by itself. This router's gate is a softmax; its weights know "
            "of each other.",
            wrong=lambda z, i, w: z.gather(1, i).sigmoid(),
            also=(lambda z, i, w: (lambda s: s / s.sum(dim=1, keepdim=True))(z.gather(1, i).sigmoid()),),
            hint=2,
        ),
        Misconception(
            "logits_alone",
            "These are the logits of the recorded experts. A softmax makes weights of them.",
            wrong=lambda z, i, w: z.gather(1, i),
            also=(lambda z, i, w: z.gather(1, i).log_softmax(dim=1), lambda z, i, w: z.gather(1, i).exp()),
            hint=2,
        ),
        Misconception(
            "ratio",
            "The new weights were divided by the recorded ones, or multiplied with them. The ratio between "
            "trainer and rollout is for whole tokens, in the loss; a layer needs weights.",
            wrong=lambda z, i, w: reference(z, i, w) / w,
            also=(
                lambda z, i, w: reference(z, i, w) * w,
                lambda z, i, w: (lambda p: p / p.sum(dim=1, keepdim=True))(reference(z, i, w) * w),
                lambda z, i, w: (reference(z, i, w) + w) / 2,
            ),
            hint=2,
        ),
        Misconception(
            "whole_weights",
            "There is a weight for each of the E experts, most of them 0. Asked are the K of the recorded "
            "ones, `[T, K]`.",
            wrong=_whole,
            also=(lambda z, i, w: z.masked_fill(_chosen(z, i) == 0, -torch.inf).softmax(dim=1),),
            hint=1,
        ),
    ),
    hints=(
        "What of the rollout is replayed, and what is computed anew? What must the router still be able to "
        "learn?",
        "`logits_TE.gather(1, replayed_ids_TK)` has the trainer's logits of the recorded experts, in their "
        "order.",
        "A softmax over the last axis of these K logits, and nothing else.",
    ),
    notice=(
        "A choice of ids has no gradient anyway, so that a replay takes nothing from the router that it "
        "would have had without it."
    ),
)
