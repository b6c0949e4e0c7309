"""Exercise 01.sigmoid_gates: sigmoid scores, a bias for selection only, renormalised and scaled."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.router.draws import (
    SWAPPED_RETURN,
    THE_RIGHT_CHOICE,
    by_expert,
    spaced_logits,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Gates = tuple[torch.Tensor, torch.Tensor]
SHAPES = ((6, 8, 2, 2.5), (5, 7, 3, 2.827), (7, 4, 1, 2.5), (3, 5, 5, 1.5))


def reference(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
    """Choose by score plus bias; weigh by score alone, rescaled to sum to ``scale``."""
    scores_TE = logits_TE.sigmoid()
    ids_TK = (scores_TE + expert_bias_E).topk(top_k, dim=-1).indices
    weights_TK = scores_TE.gather(-1, ids_TK)
    return ids_TK, scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def _variant(
    score: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid,
    select: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] = lambda z, s, b: s + b,
    weigh: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda s, b: s,
    finish: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor] = (
        lambda w, s, scale: scale * w / w.sum(dim=-1, keepdim=True)
    ),
) -> Callable[..., Gates]:
    """The reference with one of its four steps replaced."""

    def gates(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
        scores_TE = score(logits_TE)
        ids_TK = select(logits_TE, scores_TE, expert_bias_E).topk(top_k, dim=-1).indices
        weights_TK = weigh(scores_TE, expert_bias_E).gather(-1, ids_TK)
        return ids_TK, finish(weights_TK, scores_TE, scale)

    return gates


def _largest_scores(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
    scores_TE = logits_TE.sigmoid()
    weights_TK = scores_TE.topk(top_k, dim=-1).values
    ids_TK = (scores_TE + expert_bias_E).topk(top_k, dim=-1).indices
    return ids_TK, scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def _bias_everywhere(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
    return reference(logits_TE + expert_bias_E, torch.zeros_like(expert_bias_E), top_k, scale)


def _softmax(logits_TE: torch.Tensor) -> torch.Tensor:
    return logits_TE.softmax(dim=-1)


SELECTIONS = (
    lambda z, b: z.sigmoid() + b,
    lambda z, b: z,
    lambda z, b: z + b,
    lambda z, b: z.softmax(dim=-1) + b,
    lambda z, b: z.softmax(dim=-1).sigmoid() + b,
)
"""What the right answer and the mistakes choose by: the right one, no bias, on the logits, other scores."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes, K = 1 and K = E among them, and the first again without a bias."""
    cases = []
    args: dict[str, Plain]
    for n_tokens, n_experts, top_k, scale in SHAPES:
        logits_TE, bias_E = _decisive(rng, n_tokens, n_experts, top_k)
        args = {"logits_TE": logits_TE, "expert_bias_E": bias_E, "top_k": top_k, "scale": scale}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, scale={scale}", args))
    logits_TE = spaced_logits(rng, 4, 6)
    bias_E = np.zeros(6, dtype=np.float32)
    args = {"logits_TE": logits_TE, "expert_bias_E": bias_E, "top_k": 2, "scale": 1.0}
    return [*cases, Case("T=4, E=6, K=2, scale=1.0, no bias", args)]


def _decisive(
    rng: np.random.Generator, n_tokens: int, n_experts: int, top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and a bias for which every rule in SELECTIONS is far from a tie, and the first three differ."""
    while True:
        logits_TE = spaced_logits(rng, n_tokens, n_experts)
        bias_E = rng.permutation(np.linspace(-0.35, 0.45, n_experts)).astype(np.float32)
        if top_k == n_experts:
            return logits_TE, bias_E
        chosen = []
        clear = True
        for rule in SELECTIONS:
            values = rule(torch.from_numpy(logits_TE), torch.from_numpy(bias_E)).sort(dim=-1, descending=True)
            clear &= bool((values.values[:, top_k - 1] - values.values[:, top_k] > 1e-3).all())
            chosen.append(np.sort(values.indices[:, :top_k].numpy(), axis=-1))
        if clear and all(not np.array_equal(chosen[i], chosen[j]) for i, j in ((0, 1), (0, 2), (1, 2))):
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
    misconceptions=(
        SWAPPED_RETURN,
        Misconception(
            "bias_in_weight",
            "The bias leaked into the weights. It is there to steer who is chosen, so that load can be "
            "evened out without changing what the layer computes. Take the weights from the scores without "
            "it.",
            wrong=_variant(weigh=lambda s, b: s + b),
            hint=2,
        ),
        Misconception(
            "bias_ignored",
            "The experts were chosen by score alone. The bias has to be added before the top-k: that is "
            "its one use.",
            wrong=_variant(select=lambda z, s, b: s),
            hint=1,
        ),
        Misconception(
            "bias_on_logits",
            "The bias was added to the logits, before the sigmoid. Some models do that, with biases of "
            "another scale; it is another rule, and here other experts win. Add it to the scores.",
            wrong=_variant(select=lambda z, s, b: z + b),
            hint=1,
        ),
        Misconception(
            "bias_everywhere",
            "The bias was added to the logits before anything else, as a linear layer would do. So it moves "
            "the weights as well as the choice. Here it belongs to the choice alone, and is added to the "
            "scores.",
            wrong=_bias_everywhere,
            hint=1,
        ),
        Misconception(
            "largest_scores",
            "The ids were chosen with the bias, but the weights are the K largest scores without it: those "
            "belong to other experts. Read the scores at the chosen ids.",
            wrong=_largest_scores,
            hint=2,
        ),
        Misconception(
            "softmax_scores",
            "The scores are a softmax: they compete with each other. A sigmoid scores each expert by its own "
            "logit alone.",
            wrong=_variant(score=_softmax),
            hint=1,
        ),
        Misconception(
            "sigmoid_of_softmax",
            "A sigmoid was put on top of a softmax. Probabilities lie in 0 to 1, so all scores end between "
            "0.5 and 0.73 and hardly differ. The sigmoid takes the logits themselves.",
            wrong=_variant(score=lambda z: z.softmax(dim=-1).sigmoid()),
            hint=1,
        ),
        Misconception(
            "not_renormalized",
            "The scores were scaled but not rescaled to sum to 1 first. Sigmoids are not a distribution: "
            "their sum is another one for each token.",
            wrong=_variant(finish=lambda w, s, scale: scale * w),
            hint=3,
        ),
        Misconception(
            "sum_over_all",
            "The weights were divided by the sum over all E experts. Divide by the sum over the K that "
            "were chosen.",
            wrong=_variant(finish=lambda w, s, scale: scale * w / s.sum(dim=-1, keepdim=True)),
            hint=3,
        ),
        Misconception(
            "scale_cancels",
            "The weights sum to 1, whatever `scale` is. Either it was left out, or it was multiplied in "
            "before renormalising, where it stands above and below the fraction line and cancels. Scale "
            "last.",
            wrong=_variant(finish=lambda w, s, scale: w / w.sum(dim=-1, keepdim=True)),
            hint=3,
        ),
        Misconception(
            "softmax_of_scores",
            "The chosen scores went through a softmax instead of being divided by their sum. That flattens "
            "them.",
            wrong=_variant(finish=lambda w, s, scale: scale * w.softmax(dim=-1)),
            hint=3,
        ),
    ),
    hints=(
        "Two questions have two answers here: *who* is chosen, and with *which weight*. Which of them sees "
        "the bias?",
        "`topk` on one tensor gives the indices; `scores_TE.gather(-1, ids_TK)` reads another tensor at "
        "them.",
        "`scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)`, with weights gathered from the bare "
        "scores.",
    ),
)
