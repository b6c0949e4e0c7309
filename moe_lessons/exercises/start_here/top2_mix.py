"""Exercise 00.top2_mix: one token, its router logits, what every expert says; mix the two best."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sizes that all differ; experts that agree; large logits; two experts only."""
    return [
        _case(rng, "E=5, D=3", 5, 3),
        _case(rng, "E=4, D=6, all experts say the same", 4, 6, agree=True),
        _case(rng, "E=6, D=2, logits near 120", 6, 2, shift=120.0),
        _case(rng, "E=2, D=4", 2, 4),
    ]


def _case(
    rng: np.random.Generator,
    name: str,
    n_experts: int,
    d_model: int,
    *,
    shift: float = 0.0,
    agree: bool = False,
) -> Case:
    # Steps of 0.8 and a jitter of at most 0.2 keep any two logits at least 0.4 apart: no ties.
    steps = 0.8 * rng.permutation(n_experts) - 0.4 * n_experts
    logits_E = steps + rng.uniform(-0.2, 0.2, n_experts) + shift
    outputs_ED = rng.standard_normal((1 if agree else n_experts, d_model)) + 0.5
    outputs_ED = np.broadcast_to(outputs_ED, (n_experts, d_model))
    return Case(name, {"logits_E": logits_E.astype(np.float32), "outputs_ED": outputs_ED.astype(np.float32)})


def reference(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    """Softmax over the two largest logits, then the weighted sum of these two rows."""
    top_2, ids_2 = logits_E.topk(2)
    return top_2.softmax(dim=-1) @ outputs_ED[ids_2]


def _weights_sum_to_1(case: Case, got: Outputs, want: Outputs) -> str | None:
    outputs_ED = np.asarray(case.args["outputs_ED"], dtype=np.float64)
    if np.ptp(outputs_ED, axis=0).max() > 0 or np.allclose(got["mixed_D"], outputs_ED[0], atol=1e-4):
        return None
    scale = got["mixed_D"] @ outputs_ED[0] / (outputs_ED[0] @ outputs_ED[0])
    return f"every expert says the same here, yet the mix is {scale:.3f} times that"


def _rows(logits_E: torch.Tensor, outputs_ED: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return logits_E[ids].softmax(dim=-1) @ outputs_ED[ids]


def _naive(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    top_2, ids_2 = logits_E.topk(2)
    return (top_2.exp() / top_2.exp().sum()) @ outputs_ED[ids_2]


def _not_renormalised(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    weights_2, ids_2 = logits_E.softmax(dim=-1).topk(2)
    return weights_2 @ outputs_ED[ids_2]


def _softmax_twice(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    weights_2, ids_2 = logits_E.softmax(dim=-1).topk(2)
    return weights_2.softmax(dim=-1) @ outputs_ED[ids_2]


def _divided_logits(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    top_2, ids_2 = logits_E.topk(2)
    return (top_2 / top_2.sum()) @ outputs_ED[ids_2]


def _masked_with_zero(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    top_2, ids_2 = logits_E.topk(2)
    return torch.zeros_like(logits_E).scatter(0, ids_2, top_2).softmax(dim=-1) @ outputs_ED


def _second_by_zero(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    first = int(logits_E.argmax())
    others_E = logits_E.clone()
    others_E[first] = 0.0
    return _rows(logits_E, outputs_ED, torch.tensor([first, int(others_E.argmax())]))


def _best_alone_weighted(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    return logits_E.softmax(dim=-1).max() * outputs_ED[logits_E.argmax()]


def _not_summed(case: Case, got: Outputs, want: Outputs) -> bool:
    rows_2D = np.asarray(got["mixed_D"])
    return (
        rows_2D.ndim == 2
        and len(rows_2D) == 2
        and bool(np.allclose(rows_2D.sum(axis=0), want["mixed_D"], 1e-4, 1e-5))
    )


TOP2_MIX = Exercise(
    id="00.top2_mix",
    title="Mix the two best experts",
    task=(
        "One token has arrived. `logits_E` holds the router's score for each expert, `outputs_ED` one row "
        "per expert: what that expert says about the token. Pick the two experts with the largest logits, "
        "turn these two logits into weights that sum to 1 (a softmax), and return the weighted sum of the "
        "two rows."
    ),
    entry="top2_mix",
    points=1,
    minutes=5,
    difficulty=1,
    outputs=(Output("mixed_D", "D"),),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(Property("the two weights sum to 1", _weights_sum_to_1),),
    misconceptions=(
        Misconception(
            "everyone",
            "Every expert is in the mix. The point of a sparse layer is that only the two with the largest "
            "logits answer; the others are not even asked. Choose two first, then take the softmax of those "
            "two.",
            wrong=lambda logits_E, outputs_ED: logits_E.softmax(dim=-1) @ outputs_ED,
        ),
        Misconception(
            "not_renormalised",
            "The softmax ran over all experts before two were chosen, so the two weights sum to less than 1. "
            "Some models do just that (lesson 01); this exercise asks for weights that sum to 1.",
            wrong=_not_renormalised,
            hint=2,
        ),
        Misconception(
            "halved",
            "Right experts and right weights, but the two weighted rows were averaged. The weights sum to "
            "1 already: add the rows up.",
            wrong=lambda logits_E, outputs_ED: reference(logits_E, outputs_ED) / 2,
            hint=3,
        ),
        Misconception(
            "average",
            "The two experts count the same, half each. The router's logits say how much each counts: "
            "softmax turns them into weights.",
            wrong=lambda logits_E, outputs_ED: outputs_ED[logits_E.topk(2).indices].mean(dim=0),
            hint=2,
        ),
        Misconception(
            "raw_logits",
            "The logits themselves are used as weights. A logit may be negative or 120, and two of them do "
            "not sum to 1. Softmax makes weights of them.",
            wrong=lambda logits_E, outputs_ED: logits_E.topk(2).values @ outputs_ED[logits_E.topk(2).indices],
            hint=2,
        ),
        Misconception(
            "divided_logits",
            "The two logits were divided by their sum. That gives weights that sum to 1, but a negative "
            "logit makes a negative weight, and adding 120 to both logits changes them. Softmax takes exp "
            "first.",
            wrong=_divided_logits,
            hint=2,
        ),
        Misconception(
            "sigmoid",
            "Each logit went through a sigmoid of its own, so the two weights need not sum to 1. A softmax "
            "lets them compete.",
            wrong=lambda logits_E, outputs_ED: (
                logits_E.topk(2).values.sigmoid() @ outputs_ED[logits_E.topk(2).indices]
            ),
            hint=2,
        ),
        Misconception(
            "softmax_of_ids",
            "The softmax ran over the experts' numbers instead of their logits. `topk` returns two things: "
            "first the values, then the places where they stand. The weights come from the values.",
            wrong=lambda logits_E, outputs_ED: (
                logits_E.topk(2).indices.float().softmax(dim=-1) @ outputs_ED[logits_E.topk(2).indices]
            ),
            hint=2,
        ),
        Misconception(
            "smallest",
            "These are the two experts with the smallest logits. `argsort` sorts upwards unless told "
            "otherwise; the largest stand at the end.",
            wrong=lambda logits_E, outputs_ED: _rows(logits_E, outputs_ED, logits_E.argsort()[:2]),
            hint=2,
        ),
        Misconception(
            "first_rows",
            "The weights are right, but they meet the first two rows of `outputs_ED`. `topk` also returns "
            "which experts were chosen: use these numbers to pick the rows.",
            wrong=lambda logits_E, outputs_ED: logits_E.topk(2).values.softmax(dim=-1) @ outputs_ED[:2],
            hint=3,
        ),
        Misconception(
            "swapped",
            "Right experts, right weights, but swapped: the better expert got the smaller weight. Weights "
            "and rows must stand in the same order; `topk` puts the largest first.",
            wrong=lambda logits_E, outputs_ED: (
                logits_E.topk(2).values.softmax(dim=-1).flip(0) @ outputs_ED[logits_E.topk(2).indices]
            ),
            hint=3,
        ),
        Misconception(
            "only_the_best",
            "Only the best expert answers. That is top-1; here the second best has a say too.",
            wrong=lambda logits_E, outputs_ED: outputs_ED[logits_E.argmax()],
        ),
        Misconception(
            "best_alone_weighted",
            "Only the best expert answers, times its probability. That is top-1 as in Switch; here the "
            "second best has a say too, and the two weights sum to 1.",
            wrong=_best_alone_weighted,
        ),
        Misconception(
            "second_by_zero",
            "To find the second best, the best logit was set to 0. Logits may be negative: where all others "
            "are, 0 is the largest again, and one expert is chosen twice. `topk(2)` finds both at once; or "
            "use minus infinity.",
            wrong=_second_by_zero,
            hint=2,
        ),
        Misconception(
            "overflow",
            "Right for small logits, but `exp(120)` does not fit into 32 bits and becomes infinity. "
            "`torch.softmax` subtracts the largest logit first, which changes nothing else.",
            wrong=_naive,
            hint=2,
        ),
        Misconception(
            "softmax_twice",
            "There are two softmaxes, one over all experts and another over what it gave the best two. The "
            "second flattens the weights. One is enough: over the two chosen *logits*.",
            wrong=_softmax_twice,
            hint=2,
        ),
        Misconception(
            "masked_with_zero",
            "The logits of the others were set to 0 and then went through the softmax. exp(0) is 1, so each "
            "of them still gets a share. Take the softmax of the two chosen logits alone, or set the others "
            "to minus infinity.",
            wrong=_masked_with_zero,
            hint=2,
        ),
        Misconception(
            "weights_only",
            "These are the two weights. What is left is to use them: each multiplies what its expert says, "
            "and the two results are added.",
            detects=lambda case, got, want: np.shape(got["mixed_D"]) == (2,),
            hint=3,
        ),
        Misconception(
            "not_summed",
            "These are the two rows, each times its weight, one below the other. What is left is to add "
            "them up.",
            detects=_not_summed,
            hint=3,
        ),
    ),
    crashes=(
        Crash(
            "no_unsqueeze",
            "Two weights, and two rows of D numbers: PyTorch lines shapes up from the right, so the "
            "weights meet the columns. Give the weights an axis of size 1 (`weights[:, None]`), or use "
            "`@`, which multiplies and adds in one.",
            pattern=r"size of tensor a \(\d+\) must match the size of tensor b",
            hint=3,
        ),
    ),
    hints=(
        "How many of the E experts should have a say, and which? Find these first, before any softmax.",
        "`logits_E.topk(2)` returns two things: the two largest values, in falling order, and their places. "
        "`.softmax(dim=-1)` of the two values gives the weights.",
        "With two weights and the numbers of the two experts in hand, `weights @ outputs_ED[...]` is the "
        "sum. Put the experts' numbers where the dots are.",
    ),
    notice=(
        "Only two rows of `outputs_ED` are read, and one product of a row of weights with a matrix adds "
        "them up; in a real layer the other experts are not even computed."
    ),
)
