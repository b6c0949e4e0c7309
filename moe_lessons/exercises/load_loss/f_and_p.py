"""Exercise 05.f_and_p: the two factors of the load-balancing loss, one counted, one differentiable."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.load_loss.draws import best_ids, kept_weights, lopsided_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Pair = tuple[Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K from 1 to 3; in the last case nobody chooses the last expert."""
    cases = []
    for n_tokens, n_experts, top_k, lean in [(9, 4, 2, 1.0), (7, 3, 1, 0.5), (11, 6, 3, 1.5), (5, 4, 1, -50)]:
        logits_TE = lopsided_logits(rng, n_tokens, n_experts, lean=lean)
        args = {"logits_TE": logits_TE, "topk_ids_TK": best_ids(logits_TE, top_k)}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}", args))
    return cases


def _counts(ids_TK: Tensor, n_experts: int) -> Tensor:
    return torch.bincount(ids_TK.flatten(), minlength=n_experts).float()


def shares(logits_TE: Tensor, ids_TK: Tensor) -> Tensor:
    """Each expert's share of the T * K routed rows."""
    return _counts(ids_TK, logits_TE.shape[1]) / ids_TK.numel()


def mean_probability(logits_TE: Tensor) -> Tensor:
    """Mean over tokens of the softmax over all experts."""
    return logits_TE.softmax(dim=-1).mean(dim=0)


def reference(logits_TE: Tensor, topk_ids_TK: Tensor) -> Pair:
    """Count, and average."""
    return shares(logits_TE, topk_ids_TK), mean_probability(logits_TE)


def _variant(
    f: Callable[[Tensor, Tensor], Tensor] = shares,
    P: Callable[[Tensor, Tensor], Tensor] = lambda logits_TE, ids_TK: mean_probability(logits_TE),
) -> Callable[[Tensor, Tensor], Pair]:
    return lambda logits_TE, ids_TK: (f(logits_TE, ids_TK), P(logits_TE, ids_TK))


def _kept(logits_TE: Tensor, ids_TK: Tensor) -> Tensor:
    return kept_weights(logits_TE, ids_TK.shape[1]).mean(dim=0)


def _masked(logits_TE: Tensor, ids_TK: Tensor) -> Tensor:
    probs_TE = logits_TE.softmax(dim=-1)
    return torch.zeros_like(probs_TE).scatter(1, ids_TK, probs_TE.gather(1, ids_TK)).mean(dim=0)


def _sum_is(name: str, meaning: str) -> Property:
    def test(case: Case, got: Outputs, want: Outputs) -> str | None:
        total = float(np.sum(got[name]))
        return None if abs(total - 1) < 1e-4 else f"{name} sums to {total:.4g} over the experts"

    return Property(f"{name} sums to 1: {meaning}", test)


F_AND_P = Exercise(
    id="05.f_and_p",
    title="f and P",
    task=(
        "Return `f_E`, the share of the T·K routed rows that each expert gets, and `P_E`, the mean over "
        "tokens of the softmax over *all* E logits. Both sum to 1."
    ),
    entry="f_and_p",
    points=2,
    minutes=7,
    difficulty=1,
    outputs=(Output("f_E", "E"), Output("P_E", "E")),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(_sum_is("f_E", "a share of all rows"), _sum_is("P_E", "a mean of distributions")),
    misconceptions=(
        Misconception(
            "swapped_return",
            "f and P are the wrong way round: f is the counted one and comes first.",
            wrong=lambda z, ids: reference(z, ids)[::-1],
        ),
        Misconception(
            "log_probabilities",
            "P is a mean of logarithms: `log_softmax`. Its values are below 0 and do not sum to 1. "
            "Probabilities come from `softmax`.",
            wrong=_variant(P=lambda z, ids: z.log_softmax(dim=-1).mean(dim=0)),
            hint=3,
        ),
        Misconception(
            "f_per_token",
            "f is a fraction of the *tokens*: it sums to K, so the balanced loss would be K instead of 1. "
            "Some codes do it like this, but here f is a share of the T·K routed rows.",
            wrong=_variant(f=lambda z, ids: _counts(ids, z.shape[1]) / len(z)),
            hint=1,
        ),
        Misconception(
            "counts",
            "f is a count of rows. A share is a count over the number of all rows, T·K; without that the "
            "loss grows with the batch.",
            wrong=_variant(f=lambda z, ids: _counts(ids, z.shape[1])),
            hint=2,
        ),
        Misconception(
            "soft_f",
            "f is made of probabilities. f is what really happened: count how often each id was chosen. An "
            "expert may have a fair probability for every token and be chosen by none.",
            wrong=_variant(f=lambda z, ids: mean_probability(z)),
            hint=1,
        ),
        Misconception(
            "first_choice",
            "f counts only each token's first choice. GShard's loss does that; this f counts all K.",
            wrong=_variant(f=lambda z, ids: _counts(ids[:, :1], z.shape[1]) / len(ids)),
            hint=2,
        ),
        Misconception(
            "renormalized_P",
            "P is made of the gate's weights, which were renormalised over the chosen K. An expert that "
            "nobody chose then has P = 0 and a gradient of 0, and can never be called back. P takes the "
            "softmax over all E.",
            wrong=_variant(P=_kept),
            hint=1,
        ),
        Misconception(
            "masked_P",
            "P adds up only the probabilities of the chosen experts. Every expert's probability counts, "
            "chosen or not: through the others the loss can call an expert back.",
            wrong=_variant(P=_masked),
            hint=1,
        ),
        Misconception(
            "summed_P",
            "P is a sum over tokens. Take the mean, or the loss grows with the batch.",
            wrong=_variant(P=lambda z, ids: z.softmax(dim=-1).sum(dim=0)),
            hint=3,
        ),
        Misconception(
            "softmax_over_tokens",
            "The softmax ran over the tokens. Each token shares out its probability among the experts: the "
            "last axis.",
            wrong=_variant(P=lambda z, ids: z.softmax(dim=0).mean(dim=0)),
            hint=3,
        ),
        Misconception(
            "softmax_of_mean",
            "P is the softmax of the mean logits. The mean comes last: first each token's probabilities, "
            "then their mean.",
            wrong=_variant(P=lambda z, ids: z.mean(dim=0).softmax(dim=-1)),
            hint=3,
        ),
        Misconception(
            "short_count",
            "Where the last expert is chosen by nobody, f is too short. `bincount` and `one_hot` end at the "
            "largest id they see, unless they are told how many experts there are.",
            wrong=_variant(f=lambda z, ids: torch.bincount(ids.flatten()) / ids.numel()),
            hint=2,
        ),
    ),
    hints=(
        "f is counted from the ids and knows no logits. P is averaged from the logits and knows no ids.",
        "`torch.bincount(ids.flatten(), minlength=E)` counts. How many rows are there in all?",
        "`logits_TE.softmax(dim=-1)` is [T, E]; its mean over dim 0 is [E].",
    ),
    notice=(
        "f is counted and has no gradient, P is a mean of probabilities and has one: a loss made of the "
        "two can push through P alone."
    ),
)
