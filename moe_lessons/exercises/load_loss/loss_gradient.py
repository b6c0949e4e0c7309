"""Exercise 05.loss_gradient: what the load-balancing loss does to each logit, by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.load_loss.draws import best_ids, lopsided_logits
from moe_lessons.exercises.load_loss.f_and_p import mean_probability, shares
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Uneven loads at K = 1 to 3, and one even load, where the gradient is zero."""
    cases = []
    for n_tokens, n_experts, top_k in [(8, 4, 1), (6, 5, 2), (9, 6, 3)]:
        logits_TE = lopsided_logits(rng, n_tokens, n_experts, lean=1.5)
        args = {"logits_TE": logits_TE, "topk_ids_TK": best_ids(logits_TE, top_k)}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}", args))
    even_TE = np.concatenate([np.roll(np.array([2.0, 0.5, -1.0]), i)[None] for i in range(3)] * 2)
    even_TE = (even_TE + rng.uniform(-0.3, 0.3, even_TE.shape)).astype(np.float32)
    cases.append(
        Case("T=6, E=3, K=1, even load", {"logits_TE": even_TE, "topk_ids_TK": best_ids(even_TE, 1)})
    )
    return cases


def through_softmax(probs_TE: Tensor, incoming_E: Tensor) -> Tensor:
    """Gradient with respect to the logits from that with respect to the probabilities."""
    return probs_TE * (incoming_E - (probs_TE * incoming_E).sum(dim=-1, keepdim=True))


def reference(logits_TE: Tensor, topk_ids_TK: Tensor) -> Tensor:
    """E f / T reaches each probability, because P is a mean; then each token's own softmax."""
    n_tokens, n_experts = logits_TE.shape
    pressure_E = n_experts * shares(logits_TE, topk_ids_TK) / n_tokens
    return through_softmax(logits_TE.softmax(dim=-1), pressure_E)


def _scaled(factor: Callable[[int, int, int], float]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda z, ids: reference(z, ids) * factor(z.shape[0], z.shape[1], ids.shape[1])


def _no_softmax(z: Tensor, ids: Tensor) -> Tensor:
    return (z.shape[1] * shares(z, ids) / len(z)).expand_as(z)


def _diagonal(z: Tensor, ids: Tensor) -> Tensor:
    p_TE = z.softmax(dim=-1)
    return p_TE * (1 - p_TE) * _no_softmax(z, ids)


def _no_bracket(z: Tensor, ids: Tensor) -> Tensor:
    return z.softmax(dim=-1) * _no_softmax(z, ids)


def _common_bracket(z: Tensor, ids: Tensor) -> Tensor:
    pressure_TE = _no_softmax(z, ids)
    met = (mean_probability(z) * pressure_TE).sum(dim=-1, keepdim=True)
    return z.softmax(dim=-1) * (pressure_TE - met)


def _met_by_all(z: Tensor, ids: Tensor) -> Tensor:
    pressure_TE = _no_softmax(z, ids)
    p_TE = z.softmax(dim=-1)
    return p_TE * (pressure_TE - (p_TE * pressure_TE).sum(dim=0))


def _mean_outside(z: Tensor, ids: Tensor) -> Tensor:
    pressure_TE = _no_softmax(z, ids)
    met_T1 = (z.softmax(dim=-1) * pressure_TE).sum(dim=-1, keepdim=True)
    return mean_probability(z) * (pressure_TE - met_T1)


def _through_both(z: Tensor, ids: Tensor) -> Tensor:
    return through_softmax(z.softmax(dim=-1), 2 * z.shape[1] * mean_probability(z) / len(z))


def _mean_softmax(z: Tensor, ids: Tensor) -> Tensor:
    P_E = mean_probability(z)
    return through_softmax(P_E[None], z.shape[1] * shares(z, ids) / len(z)).expand_as(z)


def _chosen_only(z: Tensor, ids: Tensor) -> Tensor:
    return reference(z, ids) * torch.zeros_like(z).scatter(1, ids, 1.0)


def _own_choice(z: Tensor, ids: Tensor) -> Tensor:
    own_TE = torch.zeros_like(z).scatter(1, ids, 1.0) / ids.shape[1]
    return through_softmax(z.softmax(dim=-1), z.shape[1] * own_TE / len(z))


def _rows_cancel(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = np.abs(got["gradient_TE"].sum(axis=-1))
    if sums_T.max() > 1e-4:
        return (
            f"the gradients of token {int(sums_T.argmax())} sum to {sums_T.max():.3g}; adding one number to "
            "all logits of a token changes no probability, so they must cancel"
        )
    return None


LOSS_GRADIENT = Exercise(
    id="05.loss_gradient",
    title="Its gradient, by hand",
    task=(
        "The loss is `E · sum(f · P)` with `f` the shares of the T·K rows. Return its gradient with respect "
        "to the logits, `[T, E]`, from the formula: while it is checked, autograd is switched off. f is a "
        "constant: it was counted. (Outside, autograd is a fair way to check yourself.)"
    ),
    entry="loss_gradient",
    points=4,
    minutes=18,
    difficulty=4,
    outputs=(Output("gradient_TE", "TE", atol=1e-6),),
    draw=draw,
    reference=reference,
    driver="by_hand",
    properties=(Property("each token's gradients cancel", _rows_cancel),),
    crashes=(
        Crash(
            "autograd",
            "Here autograd is switched off, so that the derivative is yours. Use it outside, to check "
            "yourself: compare your function with what `torch.autograd.grad` says of the loss.",
            pattern=r"does not require grad|[Ii]nference (tensor|mode)",
            hint=1,
        ),
    ),
    misconceptions=(
        Misconception(
            "no_softmax",
            "This is the gradient with respect to the probabilities: E f / T, the same for every token. A "
            "softmax lies between them and the logits.",
            wrong=_no_softmax,
            hint=2,
        ),
        Misconception(
            "diagonal",
            "Only the diagonal of the softmax's derivative was used, p (1 - p). Raising one logit also "
            "lowers the other probabilities of the token.",
            wrong=_diagonal,
            hint=2,
        ),
        Misconception(
            "no_bracket",
            "This is p times the gradient with respect to p, without what is taken off: a softmax's "
            "probabilities sum to 1, so what one gains the others lose. From each f_j goes the mean of f "
            "under the token's own p.",
            wrong=_no_bracket,
            hint=2,
        ),
        Misconception(
            "common_bracket",
            "Every token has the same bracket: the mean of f was taken under P, the average of all tokens. "
            "Each token meets the experts with its own probabilities, so the mean is under its own p.",
            wrong=_common_bracket,
            hint=2,
        ),
        Misconception(
            "summed_over_tokens",
            "What is taken off in the bracket was summed over the tokens. It is one number for each token: "
            "the sum over its experts, the last axis, kept there so that it lines up.",
            wrong=_met_by_all,
            hint=3,
        ),
        Misconception(
            "even_bracket",
            "The plain mean of f, 1/E, was taken off. What counts is the load that the token meets: the "
            "mean of f weighed by its own p.",
            wrong=lambda z, ids: (
                z.softmax(dim=-1) * (_no_softmax(z, ids) - _no_softmax(z, ids).mean(dim=-1, keepdim=True))
            ),
            hint=2,
        ),
        Misconception(
            "mean_outside",
            "The factor before the bracket is P, the average over all tokens, while the bracket is each "
            "token's own. Both come from the softmax of that one token: p, not P.",
            wrong=_mean_outside,
            hint=2,
        ),
        Misconception(
            "through_f",
            "This is the gradient of E · sum(P²): f was taken for P, and so got a gradient too. f is "
            "counted, a constant. Its value decides how hard each expert is pushed.",
            wrong=_through_both,
            hint=1,
        ),
        Misconception(
            "mean_softmax",
            "All tokens get the same row. The mean P went through the softmax's derivative, but each token "
            "has a softmax of its own.",
            wrong=_mean_softmax,
            hint=2,
        ),
        Misconception(
            "chosen_only",
            "The experts that a token did not choose get nothing. Their probabilities are in P too: the loss "
            "reaches all E logits of every token.",
            wrong=_chosen_only,
            hint=1,
        ),
        Misconception(
            "own_choice",
            "Each token is pushed away from the expert that it chose itself. The pressure comes from f, the "
            "load of the whole batch: a token at an empty expert is welcome there.",
            wrong=_own_choice,
            hint=1,
        ),
        Misconception(
            "no_mean",
            "The factor 1/T is missing: P is a *mean* over tokens.",
            wrong=_scaled(lambda n_tokens, n_experts, top_k: n_tokens),
            hint=3,
        ),
        Misconception(
            "no_E",
            "The factor E is missing.",
            wrong=_scaled(lambda n_tokens, n_experts, top_k: 1 / n_experts),
            hint=3,
        ),
        Misconception(
            "no_K",
            "f sums to K here: it was divided by T alone. It is a share of the T·K rows.",
            wrong=_scaled(lambda n_tokens, n_experts, top_k: top_k),
            hint=3,
        ),
        Misconception(
            "sign",
            "The sign is flipped. This is the direction in which gradient *descent* moves the logits; the "
            "gradient itself points uphill.",
            wrong=_scaled(lambda n_tokens, n_experts, top_k: -1),
            hint=2,
        ),
    ),
    hints=(
        "First step: how does the loss change with P_i? The answer has no P in it.",
        "Through a softmax p with incoming gradient s, logit j receives p_j (s_j - sum over i of p_i s_i). "
        "Here s is the same for all tokens, p is not.",
        "s_i = E f_i / T. Then two lines: the mean of s under each token's p, and p times (s minus that).",
    ),
    notice=(
        "An expert's logit is pushed down where its f is above the f that this token meets on average, "
        "which is not the same as above 1/E."
    ),
)
