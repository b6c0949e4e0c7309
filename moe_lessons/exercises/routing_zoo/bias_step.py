"""Exercise 06.bias_step: route one batch with a selection bias, then update the bias by the sign rule."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.router.draws import by_expert, spaced_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Step = tuple[Tensor, Tensor, Tensor]
SHAPES = ((12, 6, 2, 0.1), (10, 5, 1, 0.15), (15, 8, 3, 0.1), (14, 7, 2, 0.2))


def _score_and_bias(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    return logits_TE.sigmoid() + bias_E


def _biased_logits(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    return (logits_TE + bias_E).sigmoid()


def _unbiased(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    return logits_TE.sigmoid()


def _count(ids_TK: Tensor, scores_TE: Tensor) -> Tensor:
    return torch.bincount(ids_TK.flatten(), minlength=scores_TE.shape[1]).float()


def _sign_step(bias_E: Tensor, load_E: Tensor, rate: float, n_tokens: int) -> Tensor:
    return bias_E + rate * (load_E.mean() - load_E).sign()


def _variant(
    rank: Callable[[Tensor, Tensor], Tensor] = _score_and_bias,
    load: Callable[[Tensor, Tensor], Tensor] = _count,
    update: Callable[[Tensor, Tensor, float, int], Tensor] = _sign_step,
    biased_weights: bool = False,
    update_first: bool = False,
) -> Callable[..., Step]:
    """The right step, with one of its parts replaced."""

    def step(logits_TE: Tensor, expert_bias_E: Tensor, top_k: int, rate: float) -> Step:
        scores_TE = logits_TE.sigmoid()
        ids_TK = rank(logits_TE, expert_bias_E).topk(top_k, dim=-1).indices
        new_bias_E = update(expert_bias_E, load(ids_TK, scores_TE), rate, len(logits_TE))
        if update_first:
            ids_TK = rank(logits_TE, new_bias_E).topk(top_k, dim=-1).indices
        weights_TK = (scores_TE + expert_bias_E if biased_weights else scores_TE).gather(-1, ids_TK)
        return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True), new_bias_E

    return step


reference = _variant()


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes; among the experts of each some that are above, below and exactly at the mean."""
    cases = []
    for n_tokens, n_experts, top_k, rate in SHAPES:
        while True:
            logits_TE = spaced_logits(rng, n_tokens, n_experts) + rng.normal(0, 0.8, n_experts)
            bias_E = rng.permutation(np.linspace(-0.2, 0.25, n_experts))
            args: dict[str, Any] = {
                "logits_TE": logits_TE.astype(np.float32),
                "expert_bias_E": bias_E.astype(np.float32),
                "top_k": top_k,
                "rate": rate,
            }
            if _decisive(args):
                break
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, rate={rate}", args))
    return cases


def _decisive(args: dict[str, Any]) -> bool:
    """No near tie under any rule in question, and no two of the rules choose the same experts."""
    logits_TE, bias_E = torch.from_numpy(args["logits_TE"]), torch.from_numpy(args["expert_bias_E"])
    top_k, rate = args["top_k"], args["rate"]
    right_TK, _, new_bias_E = reference(logits_TE, bias_E, top_k, rate)
    rankings = (
        _score_and_bias(logits_TE, bias_E),
        _score_and_bias(logits_TE, new_bias_E),
        _biased_logits(logits_TE, bias_E),
        _unbiased(logits_TE, bias_E),
    )
    if any(_smallest_gap(values_TE, top_k) < 1e-3 for values_TE in rankings):
        return False
    chosen = [values_TE.topk(top_k, dim=-1).indices.sort().values for values_TE in rankings]
    if any(torch.equal(a_TK, b_TK) for a_TK, b_TK in itertools.combinations(chosen, 2)):
        return False
    load_E = _count(right_TK, logits_TE)
    mean, soft_E = load_E.mean(), logits_TE.sigmoid().sum(dim=0)
    above, below, at_rest = load_E > mean, load_E < mean, load_E == mean
    telling = (
        above.any() and below.any(),
        ((load_E - mean) * (soft_E - soft_E.mean()) < -1).any(),
        top_k == 1 or (below & (load_E > mean / top_k)).any(),
        at_rest.any() or mean != mean.round(),
        # With loads along the old bias, a step along the error could not be told from a shrunken bias.
        torch.corrcoef(torch.stack([bias_E, load_E]))[0, 1].abs() < 0.99,
    )
    return all(bool(condition) for condition in telling)


def _smallest_gap(values_TE: Tensor, top_k: int) -> float:
    sorted_TE = values_TE.sort(dim=-1, descending=True).values
    return float((sorted_TE[:, top_k - 1] - sorted_TE[:, top_k]).min())


def same_choice(values: dict[str, Any]) -> dict[str, Any]:
    """One order of the chosen; and a bias up to a constant, which changes no choice (some codes recentre)."""
    bias_E = values["new_bias_E"]
    return {**by_expert(values), "new_bias_E": bias_E - bias_E.mean()}


def _sums_to_one(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["topk_weights_TK"].sum(axis=-1)
    worst = int(np.abs(sums_T - 1).argmax())
    return f"token {worst}'s weights sum to {sums_T[worst]:.4g}" if abs(sums_T[worst] - 1) > 1e-3 else None


def _proportional(case: Case, got: Outputs, want: Outputs) -> bool:
    """Everything else right, and the step along the error rather than along its sign."""
    old_E = np.asarray(case.args["expert_bias_E"], dtype=np.float64)
    load_E = np.bincount(want["topk_ids_TK"].ravel(), minlength=old_E.size)
    error_E = load_E.mean() - load_E
    step_E = got["new_bias_E"] - (old_E - old_E.mean())
    factor = (step_E @ error_E) / (error_E @ error_E)
    right = all(np.allclose(got[n], want[n], atol=1e-5) for n in ("topk_ids_TK", "topk_weights_TK"))
    return right and factor > 1e-6 and np.allclose(step_E, factor * error_E, atol=1e-5)


def _averaged(case: Case, got: Outputs, want: Outputs) -> bool:
    """Everything else right, and the old bias shrunk before a step along the error or its sign is added."""
    old_E = np.asarray(case.args["expert_bias_E"], dtype=np.float64)
    load_E = np.bincount(want["topk_ids_TK"].ravel(), minlength=old_E.size)
    error_E = load_E.mean() - load_E
    right = all(np.allclose(got[n], want[n], atol=1e-5) for n in ("topk_ids_TK", "topk_weights_TK"))
    for step_E in (error_E, np.sign(error_E)):
        parts_E2 = np.stack([old_E - old_E.mean(), step_E - step_E.mean()], axis=1)
        (kept, gain), *_ = np.linalg.lstsq(parts_E2, got["new_bias_E"], rcond=None)
        fits = np.allclose(parts_E2 @ (kept, gain), got["new_bias_E"], atol=1e-5)
        if right and fits and 0.01 < kept < 0.9999 and abs(gain) > 1e-6:
            return True
    return False


def _moved_at_rest(bias_E: Tensor, load_E: Tensor, rate: float, n_tokens: int) -> Tensor:
    return torch.where(load_E < load_E.mean(), bias_E + rate, bias_E - rate)


BIAS_STEP = Exercise(
    id="06.bias_step",
    title="One training step of loss-free balancing",
    task=(
        "Route a batch as DeepSeek-V3 does: choose K experts by sigmoid score *plus bias*, weigh them by the "
        "scores *without* it, rescaled to sum to 1. Then prepare the bias for the *next* batch: count the "
        "tokens that each expert got, and move the bias by `rate`, up where the count is below the mean, "
        "down where it is above (arXiv 2408.15664, algorithm 1). At the mean it stays. (A constant added to "
        "all biases changes no choice: they are compared with their mean taken off.)"
    ),
    entry="bias_step",
    points=5,
    minutes=15,
    difficulty=3,
    outputs=(
        Output("topk_ids_TK", "TK", kind="int"),
        Output("topk_weights_TK", "TK"),
        Output("new_bias_E", "E"),
    ),
    draw=draw,
    reference=reference,
    canonical=same_choice,
    properties=(Property("each token's weights sum to 1", _sums_to_one),),
    misconceptions=(
        Misconception(
            "bias_in_weight",
            "The bias leaked into the weights. An expert that is in short supply would now also speak "
            "louder, and the layer computes something else each time the bias moves. The bias decides who "
            "is chosen; the weights come from the scores alone.",
            wrong=_variant(biased_weights=True),
            hint=1,
        ),
        Misconception(
            "bias_on_logits",
            "The bias was added to the logits. The sigmoid then squeezes it: much where an expert is "
            "undecided, hardly at all where it is sure. Add it to the scores.",
            wrong=_variant(rank=_biased_logits),
            hint=1,
        ),
        Misconception(
            "update_first",
            "This batch was routed with the bias that it made itself. Its last token then has a say in where "
            "its first one goes, and in a language model that is the future. Route with the old bias, and "
            "return the new one for the next batch.",
            wrong=_variant(update_first=True),
            hint=1,
        ),
        Misconception(
            "sign_flipped",
            "The step goes the wrong way: experts that are too full become even more attractive. Within a "
            "few hundred batches they would have everything. Who has less than the mean goes up.",
            wrong=_variant(update=lambda b, n, u, t: b - u * (n.mean() - n).sign()),
            hint=3,
        ),
        Misconception(
            "proportional",
            "The step grows with the error. That rule exists, and it balances too, but it is not the one "
            "asked for: here everyone moves by the same `rate`, however far from the mean. Only the "
            "direction counts.",
            detects=_proportional,
            hint=3,
        ),
        Misconception(
            "mean_without_k",
            "The counts were compared with T / E. Each token takes K places, so the mean count is T * K / E. "
            "With T / E nearly every expert seems too full.",
            wrong=_variant(update=lambda b, n, u, t: b + u * (t / n.numel() - n).sign()),
            hint=2,
        ),
        Misconception(
            "not_accumulated",
            "The new bias is only this batch's step. What earlier batches have built up is gone, so the bias "
            "can never be larger than `rate`. Add the step to the old bias.",
            wrong=_variant(update=lambda b, n, u, t: u * (n.mean() - n).sign()),
            hint=3,
        ),
        Misconception(
            "moving_average",
            "The old bias was shrunk before the step was added: a moving average. It forgets, so it needs an "
            "error that lasts, and it comes to rest before the load is even. Steps add up to the whole old "
            "bias.",
            detects=_averaged,
            hint=3,
        ),
        Misconception(
            "bias_unused",
            "The bias took no part in the choice. Then it may grow as it likes and steers nothing: K experts "
            "are chosen by score *plus* bias.",
            wrong=_variant(rank=_unbiased),
            hint=1,
        ),
        Misconception(
            "one_sided",
            "Only some of the experts move. Both sides must: those above the mean down, those below it up.",
            wrong=_variant(update=lambda b, n, u, t: b - u * (n > n.mean())),
            hint=3,
        ),
        Misconception(
            "moved_at_rest",
            "An expert whose count is exactly the mean was moved as well. With `sign` it would rest: the "
            "sign of 0 is 0. A two-way comparison has no third case.",
            wrong=_variant(update=_moved_at_rest),
            hint=3,
        ),
        Misconception(
            "scores_for_load",
            "The load was taken from the scores of all experts. What has to be balanced is work, and an "
            "expert works for those tokens that *chose* it. Count the ids.",
            wrong=_variant(load=lambda ids_TK, scores_TE: scores_TE.sum(dim=0)),
            hint=2,
        ),
    ),
    hints=(
        "Three things see a bias or not: the choice, the weights, the next batch. Which of them see which?",
        "`torch.bincount(ids_TK.flatten(), minlength=E)` counts. What is the mean of these counts?",
        "`expert_bias_E + rate * torch.sign(load_E.mean() - load_E)`, with `load_E` as floats.",
    ),
)
