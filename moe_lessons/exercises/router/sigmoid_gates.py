"""Exercise 01.sigmoid_gates: sigmoid scores, a bias for selection only, renormalised and scaled."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.router.draws import THE_RIGHT_CHOICE, by_expert, spaced_logits
from moe_lessons.exercises.router.sigmoid_mistakes import MISTAKES, Gates, gates
from moe_lessons.exercises.spec import Case, Crash, Exercise, Output, Outputs, Plain, Property

# T, E, K, the scale, and the range of the biases: below -1 every biased score is negative.
SHAPES = (
    (6, 8, 2, 2.5, -0.35, 0.45),
    (5, 7, 3, 2.827, -0.35, 0.45),
    (7, 4, 1, 2.5, -0.35, 0.45),
    (6, 6, 2, 1.8, -0.35, 0.45),
    (5, 6, 3, 1.25, -1.9, -1.1),
    (3, 5, 5, 1.5, -0.35, 0.45),
)


def reference(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
    """Choose by score plus bias; weigh by score alone, rescaled to sum to ``scale``."""
    return gates(logits_TE, expert_bias_E, top_k, scale)


SELECTIONS = (
    lambda z, b: z.sigmoid() + b,
    lambda z, b: z,
    lambda z, b: z + b,
    lambda z, b: z.softmax(dim=-1) + b,
    lambda z, b: z.sigmoid() - b,
    lambda z, b: z.softmax(dim=-1).sigmoid() + b,
)
"""What the right answer and the mistakes choose by: the right one, no bias, on the logits, other scores."""
APART = ((0, 1), (0, 2), (0, 4), (1, 2))
"""Pairs of them that must choose differently for some token."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes, T = E, K = 1 and K = E among them, biased scores below 0, and one without a bias."""
    cases = []
    args: dict[str, Plain]
    for n_tokens, n_experts, top_k, scale, lowest, highest in SHAPES:
        logits_TE, bias_E = _decisive(rng, n_tokens, n_experts, top_k, lowest, highest)
        args = {"logits_TE": logits_TE, "expert_bias_E": bias_E, "top_k": top_k, "scale": scale}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, scale={scale}", args))
    logits_TE = spaced_logits(rng, 4, 6)
    bias_E = np.zeros(6, dtype=np.float32)
    args = {"logits_TE": logits_TE, "expert_bias_E": bias_E, "top_k": 2, "scale": 1.0}
    return [*cases, Case("T=4, E=6, K=2, scale=1.0, no bias", args)]


def _decisive(
    rng: np.random.Generator, n_tokens: int, n_experts: int, top_k: int, lowest: float, highest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and a bias for which every rule in SELECTIONS is far from a tie, and the main ones differ.

    The tokens differ in what they choose too, so that no one choice for all of them is right.
    """
    while True:
        logits_TE = spaced_logits(rng, n_tokens, n_experts)
        bias_E = rng.permutation(np.linspace(lowest, highest, n_experts)).astype(np.float32)
        if top_k == n_experts:
            return logits_TE, bias_E
        chosen = []
        clear = True
        for rule in SELECTIONS:
            values = rule(torch.from_numpy(logits_TE), torch.from_numpy(bias_E)).sort(dim=-1, descending=True)
            clear &= bool((values.values[:, top_k - 1] - values.values[:, top_k] > 1e-3).all())
            chosen.append(np.sort(values.indices[:, :top_k].numpy(), axis=-1))
        apart = not any(np.array_equal(chosen[i], chosen[j]) for i, j in APART)
        if clear and apart and len(np.unique(chosen[0], axis=0)) > 1:
            return logits_TE, bias_E


def _sum_to_scale(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["topk_weights_TK"].sum(axis=-1)
    scale = float(case.args["scale"])  # type: ignore[arg-type]
    worst = int(np.abs(sums_T - scale).argmax())
    if abs(sums_T[worst] - scale) > 1e-3:
        return f"the weights of token {worst} sum to {sums_T[worst]:.4g}, the scale is {scale:g}"
    return None


def _positive(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["topk_weights_TK"].min() <= 0:
        return "a weight is zero or negative; a sigmoid never is"
    return None


SIGMOID_GATES = Exercise(
    id="01.sigmoid_gates",
    title="Sigmoid gates, as in DeepSeek-V3",
    task=(
        "Score each expert by the sigmoid of its logit. Choose the K experts with the largest score *plus "
        "bias*. Their weights are the scores *without* the bias, rescaled to sum to 1 and then multiplied "
        "by `scale` (arXiv 2412.19437, eq. 12-16; the expert groups of its code are left out)."
    ),
    entry="sigmoid_gates",
    points=4,
    minutes=12,
    difficulty=3,
    outputs=(Output("topk_ids_TK", "TK", kind="int"), Output("topk_weights_TK", "TK")),
    draw=draw,
    reference=reference,
    canonical=by_expert,
    properties=(
        Property("every weight is positive", _positive),
        Property("each token's weights sum to `scale`", _sum_to_scale),
        *THE_RIGHT_CHOICE,
    ),
    misconceptions=MISTAKES,
    crashes=(
        Crash(
            "bias_per_token",
            "The bias has one number for each expert, and here it meets the tokens. Shapes line up from the "
            "right: [T, E] and [E] fit as they are.{sizes}",
            pattern=r"size of tensor a \(\d+\) must match the size of tensor b",
            line=r"bias\w*\[:, None\]|bias\w*\.unsqueeze|\bb\[:, None\]",
            hint=1,
        ),
    ),
    hints=(
        "Two questions have two answers here: *who* is chosen, and with *which weight*. Which of them sees "
        "the bias?",
        "`topk` on one tensor gives the indices; `scores_TE.gather(-1, ids_TK)` reads another tensor at "
        "them.",
        "With the K bare scores in hand: divide by their sum, so that they sum to 1, and multiply by `scale` "
        "last. `sum(dim=-1, keepdim=True)` keeps the axis for the division.",
    ),
    notice=(
        "What is ranked (score plus bias) is not what weighs, so here the weights must be gathered; "
        "DeepSeek's code also adds a tiny number to their sum, for K sigmoids may all underflow to 0."
    ),
)
