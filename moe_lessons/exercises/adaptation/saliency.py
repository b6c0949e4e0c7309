"""Exercise 13.saliency: how much an expert adds where it is used (REAP)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

SHAPES = ((14, 2, 5, 3), (20, 3, 7, 4), (24, 2, 4, 5), (6, 1, 3, 2))  # T, K, E, D


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Uneven loads, outputs of very different sizes, and one expert that nobody chose."""
    cases = []
    for n_tokens, top_k, n_experts, d_model in SHAPES:
        idle = int(rng.integers(n_experts))
        used = np.delete(np.arange(n_experts), idle)
        likely = rng.dirichlet(np.full(len(used), 3.0)) * 0.7 + 0.3 / len(used)
        ids_TK = np.stack([rng.choice(used, top_k, replace=False, p=likely) for _ in range(n_tokens)])
        ids_TK[: len(used), 0] = used  # every other one is used, and no token has one twice
        for t in range(len(used)):
            rest = np.delete(used, t)
            ids_TK[t, 1:] = rng.choice(rest, top_k - 1, replace=False)
        weights_TK = rng.dirichlet(np.full(top_k, 2.0), n_tokens) * rng.uniform(0.4, 1.6, (n_tokens, 1))
        size_E = rng.permutation(np.geomspace(0.4, 3.0, n_experts))
        outputs_TKD = rng.standard_normal((n_tokens, top_k, d_model)) * size_E[ids_TK][:, :, None]
        cases.append(
            Case(
                f"T={n_tokens}, K={top_k}, E={n_experts}",
                {
                    "topk_ids_TK": ids_TK.astype(np.int64),
                    "topk_weights_TK": weights_TK.astype(np.float32),
                    "outputs_TKD": outputs_TKD.astype(np.float32),
                    "n_experts": n_experts,
                },
                edge=top_k == 1,
            )
        )
    return cases


def _sums(ids: Tensor, values: Tensor, n_experts: int) -> Tensor:
    return torch.zeros(n_experts).index_add(0, ids.flatten(), values.flatten().float())


def _counts(ids: Tensor, n_experts: int) -> Tensor:
    return torch.bincount(ids.flatten(), minlength=n_experts).float()


def _means(ids: Tensor, values: Tensor, n_experts: int) -> Tensor:
    """The mean of each expert's values, 0 where it has none."""
    return _sums(ids, values, n_experts) / _counts(ids, n_experts).clamp(min=1)


def reference(topk_ids_TK: Tensor, topk_weights_TK: Tensor, outputs_TKD: Tensor, n_experts: int) -> Tensor:
    """Weight times length, averaged over the tokens that an expert got."""
    return _means(topk_ids_TK, topk_weights_TK * outputs_TKD.norm(dim=-1), n_experts)


Wrong = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def _mean_of(values: Callable[[Tensor, Tensor], Tensor]) -> Wrong:
    """The mean over an expert's tokens of something else."""
    return lambda i, w, o, n: _means(i, values(w, o), n)


def _norm_of_mean(ids: Tensor, weights: Tensor, outputs: Tensor, n_experts: int) -> Tensor:
    added = torch.zeros(n_experts, outputs.shape[-1])
    added.index_add_(0, ids.flatten(), (weights.unsqueeze(-1) * outputs).flatten(0, 1))
    return added.norm(dim=-1) / _counts(ids, n_experts).clamp(min=1)


def _per_mass(ids: Tensor, weights: Tensor, outputs: Tensor, n_experts: int) -> Tensor:
    mass = _sums(ids, weights, n_experts)
    return _sums(ids, weights * outputs.norm(dim=-1), n_experts) / mass.where(mass > 0, torch.ones(()))


def _product_of_means(ids: Tensor, weights: Tensor, outputs: Tensor, n_experts: int) -> Tensor:
    return _means(ids, weights, n_experts) * _means(ids, outputs.norm(dim=-1), n_experts)


def _whole_layer(weights: Tensor, outputs: Tensor) -> Tensor:
    return (weights.unsqueeze(-1) * outputs).sum(1).norm(dim=-1, keepdim=True).expand_as(weights)


def _overwritten(ids: Tensor, weights: Tensor, outputs: Tensor, n_experts: int) -> Tensor:
    """`scores[ids] += values`: of several values for one expert a single one is added."""
    values = (weights * outputs.norm(dim=-1)).flatten()
    last = torch.zeros(n_experts)
    for e, value in zip(ids.flatten().tolist(), values, strict=True):
        last[e] = value
    return last / _counts(ids, n_experts).clamp(min=1)


def _overwritten_by_place(ids: Tensor, weights: Tensor, outputs: Tensor, n_experts: int) -> Tensor:
    """The same, for all first choices, then for all second ones."""
    places = range(ids.shape[1])
    kept = [
        _overwritten(ids[:, k : k + 1], weights[:, k : k + 1], outputs[:, k : k + 1], n_experts)
        for k in places
    ]
    counts = [_counts(ids[:, k], n_experts).clamp(min=1) for k in places]
    added = sum(one * count for one, count in zip(kept, counts, strict=True))
    return torch.as_tensor(added) / _counts(ids, n_experts).clamp(min=1)


def _nothing_for_idle(case: Case, got: Outputs, want: Outputs) -> str | None:
    ids_TK = np.asarray(case.args["topk_ids_TK"])
    n_experts = int(case.args["n_experts"])  # type: ignore[arg-type]
    scores_E = np.asarray(got["saliency_E"])
    for e in set(range(n_experts)) - set(ids_TK.flatten().tolist()):
        if scores_E.shape == (n_experts,) and scores_E[e] != 0:
            return f"expert {e} got no token and has the score {scores_E[e]:.3g}, which should be 0"
    return None


SALIENCY = Exercise(
    id="13.saliency",
    title="Who would be missed?",
    task=(
        "Score each expert by what it adds where it is used: over the tokens that chose it, the *mean* of "
        "its weight times the length (Euclidean norm) of its output. `outputs_TKD[t, k]` is the output of "
        "expert `topk_ids_TK[t, k]` for token t, before weighting. An expert that no token chose scores 0."
    ),
    entry="saliency",
    points=3,
    minutes=12,
    difficulty=2,
    gradient="ignored",
    outputs=(Output("saliency_E", "E"),),
    draw=draw,
    reference=reference,
    properties=(Property("an expert without tokens scores 0", _nothing_for_idle, early=True),),
    misconceptions=(
        Misconception(
            "frequency",
            "This counts how often an expert is chosen. A popular expert may add next to nothing, and a rare "
            "one a lot: the outputs have to come in.",
            wrong=lambda i, w, o, n: _counts(i, n),
            also=(
                lambda i, w, o, n: _counts(i, n) / i.numel(),
                lambda i, w, o, n: _counts(i, n) / len(i),
            ),
            hint=1,
        ),
        Misconception(
            "sum_not_mean",
            "These are sums. An expert with twice the tokens then scores twice as high, whatever it does for "
            "each; asked is what it adds to a token that chose it.",
            wrong=lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n),
            hint=1,
        ),
        Misconception(
            "over_all_tokens",
            "The sum is divided by the number of *all* tokens, so that rare experts score low for being "
            "rare. Divide by the tokens that the expert got.",
            wrong=lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n) / len(i),
            also=(
                lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n) / i.numel(),
                lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n) / n,
            ),
            hint=1,
        ),
        Misconception(
            "no_weight",
            "The length of the outputs alone is averaged. What arrives in the stream is the output times its "
            "weight.",
            wrong=_mean_of(lambda w, o: o.norm(dim=-1)),
            hint=2,
        ),
        Misconception(
            "weights_alone",
            "Only the weights are averaged. A large weight on a short output adds little.",
            wrong=_mean_of(lambda w, o: w),
            also=(lambda i, w, o, n: _sums(i, w, n),),
            hint=2,
        ),
        Misconception(
            "weighted_mean",
            "The sum is divided by the sum of the weights, so that the weights cancel out: an expert that "
            "always has a small weight looks like one with a large one. Divide by the number of tokens.",
            wrong=_per_mass,
            hint=2,
        ),
        Misconception(
            "product_of_means",
            "Weight and length are averaged apart and then multiplied. They go together: outputs may be long "
            "just where the weight is small. Multiply first, token by token.",
            wrong=_product_of_means,
            hint=2,
        ),
        Misconception(
            "squared_length",
            "The square of the length is averaged. A few long outputs then outweigh all others; take the "
            "root.",
            wrong=_mean_of(lambda w, o: w * o.pow(2).sum(dim=-1)),
            also=(_mean_of(lambda w, o: (w.unsqueeze(-1) * o).pow(2).sum(dim=-1)),),
            hint=3,
        ),
        Misconception(
            "other_norm",
            "This is another length: a sum of absolute values, a mean over the axis, or the largest entry. "
            "Asked is the Euclidean norm.",
            wrong=_mean_of(lambda w, o: w * o.abs().sum(dim=-1)),
            also=(
                _mean_of(lambda w, o: w * o.abs().mean(dim=-1)),
                _mean_of(lambda w, o: w * o.abs().amax(dim=-1)),
                _mean_of(lambda w, o: w * o.pow(2).mean(dim=-1).sqrt()),
                _mean_of(lambda w, o: w * o.sum(dim=-1)),
                _mean_of(lambda w, o: w * o.mean(dim=-1)),
            ),
            hint=3,
        ),
        Misconception(
            "length_of_the_mean",
            "The outputs are averaged before their length is taken. Outputs that point in opposite "
            "directions then cancel out, though each moves its token.",
            wrong=_norm_of_mean,
            hint=2,
        ),
        Misconception(
            "first_choice_alone",
            "Only first choices are counted. An expert that mostly comes second has scores to average, too.",
            wrong=lambda i, w, o, n: reference(i[:, :1], w[:, :1], o[:, :1], n),
            hint=1,
        ),
        Misconception(
            "whole_layer",
            "Each expert gets the length of the *token's* whole output. That is what all of its experts have "
            "added, this one or not.",
            wrong=_mean_of(lambda w, o: w * _whole_layer(w, o)),
            also=(_mean_of(_whole_layer),),
            hint=2,
        ),
        Misconception(
            "last_token_alone",
            "`scores[ids] += values` with repeated ids adds one of the values and drops the others. "
            "`index_add_`, or a loop, adds them all.",
            wrong=_overwritten,
            also=(_overwritten_by_place,),
            hint=2,
        ),
        Misconception(
            "nan_for_idle",
            "An expert without a token is divided by 0 and gets NaN. `topk` sorts NaN in front of all, "
            "so the expert that nobody uses would be kept first.",
            wrong=lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n) / _counts(i, n),
            hint=3,
        ),
        Misconception(
            "plus_one",
            "Each count is one too high, to avoid a division by 0. That takes from every expert, most from "
            "rare ones. `clamp(min=1)` only touches the idle ones.",
            wrong=lambda i, w, o, n: _sums(i, w * o.norm(dim=-1), n) / (_counts(i, n) + 1),
            hint=3,
        ),
        Misconception(
            "normalised",
            "The scores were divided by their sum, or by the largest. Asked are the means as they are, so "
            "that layers can be compared.",
            wrong=lambda i, w, o, n: reference(i, w, o, n) / reference(i, w, o, n).sum(),
            also=(
                lambda i, w, o, n: reference(i, w, o, n) / reference(i, w, o, n).max(),
                lambda i, w, o, n: reference(i, w, o, n).softmax(0),
            ),
            hint=1,
        ),
    ),
    hints=(
        "Two numbers for each expert: what all of its tokens get from it, and how many they are. Which of "
        "the two grows with its popularity?",
        "`topk_weights_TK * outputs_TKD.norm(dim=-1)` has one value for each choice. Add them up by expert: "
        "`zeros(E).index_add(0, ids.flatten(), values.flatten())`, or a mask `topk_ids_TK == e` in a loop.",
        "Divide by `torch.bincount(topk_ids_TK.flatten(), minlength=E).clamp(min=1)`.",
    ),
    notice=(
        "REAP prunes by this number, which knows the router and the experts, and nothing of what the rest of "
        "the model would do without one of them."
    ),
)
