"""Exercise 06.bias_step: route one batch with a selection bias, then update the bias by the sign rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.router.draws import SWAPPED_RETURN, by_expert
from moe_lessons.exercises.routing_zoo.bias_draws import (
    biased_logits,
    draw,
    reference,
    score_and_bias,
    unbiased,
    variant,
)
from moe_lessons.exercises.routing_zoo.weights import WEIGHTS_SUM_TO_ONE
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs


def same_choice(values: dict[str, Any]) -> dict[str, Any]:
    """One order of the chosen; and a bias up to a constant, which changes no choice (some codes recentre).

    The median is taken off: unlike the mean it hardly moves if one expert's bias is wrong, so that the card
    shows that one alone.
    """
    bias_E = values["new_bias_E"]
    return {**by_expert(values), "new_bias_E": bias_E - np.median(bias_E)}


def _centred(bias_E: np.ndarray) -> np.ndarray:
    return np.asarray(bias_E - bias_E.mean())


def _proportional(case: Case, got: Outputs, want: Outputs) -> bool:
    """Everything else right, and the step along the error rather than along its sign."""
    old_E = np.asarray(case.args["expert_bias_E"], dtype=np.float64)
    load_E = np.bincount(want["topk_ids_TK"].ravel(), minlength=old_E.size)
    error_E = load_E.mean() - load_E
    step_E = _centred(got["new_bias_E"]) - _centred(old_E)
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
        parts_E2, new_E = np.stack([_centred(old_E), _centred(step_E)], axis=1), _centred(got["new_bias_E"])
        (kept, gain), *_ = np.linalg.lstsq(parts_E2, new_E, rcond=None)
        fits = np.allclose(parts_E2 @ (kept, gain), new_E, atol=1e-5)
        if right and fits and 0.01 < kept < 0.9999 and abs(gain) > 1e-6:
            return True
    return False


def _steps(*directions: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Everything else right, and steps of `rate` in one of these directions, made from load minus mean."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        old_E, rate = np.asarray(case.args["expert_bias_E"], dtype=np.float64), case.args["rate"]
        load_E = np.bincount(want["topk_ids_TK"].ravel(), minlength=old_E.size)
        news = [old_E + rate * step(load_E - load_E.mean()) for step in directions]  # type: ignore[operator]
        right = all(np.allclose(got[n], want[n], atol=1e-5) for n in ("topk_ids_TK", "topk_weights_TK"))
        return right and any(
            np.allclose(_centred(got["new_bias_E"]), _centred(new_E), atol=1e-5) for new_E in news
        )

    return detects


def _softmax_and_bias(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    return logits_TE.softmax(dim=-1) + bias_E


def _softmax(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    return logits_TE.softmax(dim=-1)


def _raw_softmax(logits_TE: Tensor, expert_bias_E: Tensor, top_k: int, rate: float) -> tuple[Tensor, ...]:
    ids_TK, _, new_bias_E = reference(logits_TE, expert_bias_E, top_k, rate)
    return ids_TK, logits_TE.softmax(dim=-1).gather(-1, ids_TK), new_bias_E


def _not_rescaled(logits_TE: Tensor, expert_bias_E: Tensor, top_k: int, rate: float) -> tuple[Tensor, ...]:
    ids_TK, _, new_bias_E = reference(logits_TE, expert_bias_E, top_k, rate)
    return ids_TK, logits_TE.sigmoid().gather(-1, ids_TK), new_bias_E


BIAS_STEP = Exercise(
    id="06.bias_step",
    title="One training step of loss-free balancing",
    task=(
        "Route a batch as DeepSeek-V3 does: choose K experts by sigmoid score *plus bias*, weigh them by the "
        "scores *without* it, rescaled to sum to 1. Then prepare the bias for the *next* batch: count the "
        "tokens that each expert got, and move the bias by `rate`, up where the count is below the mean, "
        "down where it is above (arXiv 2408.15664, algorithm 1). At the mean it stays. (A constant added to "
        "all biases changes no choice: they are compared with their median taken off.)"
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
    gradient="ignored",
    canonical=same_choice,
    properties=(WEIGHTS_SUM_TO_ONE,),
    misconceptions=(
        SWAPPED_RETURN,
        Misconception(
            "bias_in_weight",
            "The bias leaked into the weights. An expert that is in short supply would now also speak "
            "louder, and the layer computes something else each time the bias moves. The bias decides who "
            "is chosen; the weights come from the scores alone.",
            wrong=variant(weigh=score_and_bias),
            hint=1,
        ),
        Misconception(
            "bias_on_logits",
            "The bias was added to the logits. That would balance too, with a step of another scale, but it "
            "is another rule and here it chooses other experts. The task asks for DeepSeek-V3's: score plus "
            "bias.",
            wrong=variant(rank=biased_logits),
            hint=1,
        ),
        Misconception(
            "bias_before_all",
            "The bias was added to the logits, and everything after that saw it, the weights too. It is for "
            "the choice alone: add it where the K experts are chosen, here to the scores, and nowhere else.",
            wrong=variant(rank=biased_logits, weigh=biased_logits),
            hint=1,
        ),
        Misconception(
            "softmax_scores",
            "The scores are a softmax. In a softmax experts compete: one that rises pulls the others down, "
            "and with many experts a bias is soon larger than all scores. Here each has its own sigmoid.",
            wrong=variant(rank=_softmax_and_bias, weigh=_softmax),
            hint=1,
        ),
        Misconception(
            "softmax_weights",
            "Who is chosen is right, and the weights are a softmax of the chosen logits. Here they are the "
            "chosen *scores*, each a sigmoid of its own, divided by their sum.",
            wrong=variant(weigh=_softmax),
            also=(_raw_softmax,),
            hint=1,
        ),
        Misconception(
            "update_first",
            "This batch was routed with the bias that it made itself. Its last token then has a say in where "
            "its first one goes, and in a language model that is the future. Route with the old bias, and "
            "return the new one for the next batch.",
            wrong=variant(update_first=True),
            hint=1,
        ),
        Misconception(
            "sign_flipped",
            "The step goes the wrong way: experts that are too full become even more attractive. Within a "
            "few hundred batches they would have everything. Who has less than the mean goes up.",
            wrong=variant(update=lambda b, n, u, t: b - u * (n.mean() - n).sign()),
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
            wrong=variant(update=lambda b, n, u, t: b + u * (t / n.numel() - n).sign()),
            hint=2,
        ),
        Misconception(
            "not_accumulated",
            "The new bias is only this batch's step. What earlier batches have built up is gone, so the bias "
            "can never be larger than `rate`. Add the step to the old bias.",
            wrong=variant(update=lambda b, n, u, t: u * (n.mean() - n).sign()),
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
            wrong=variant(rank=unbiased),
            hint=1,
        ),
        Misconception(
            "not_rescaled",
            "The weights are the plain scores of the chosen experts. Divide each token's by their sum.",
            wrong=_not_rescaled,
            hint=1,
        ),
        Misconception(
            "no_minlength",
            "Where nobody chose the last expert the count is too short: `bincount` ends at the largest id "
            "that it sees. The expert that nobody chose needs its bias raised most; `minlength` keeps its "
            "place.",
            wrong=variant(load=lambda ids_TK, scores_TE: torch.bincount(ids_TK.flatten()).float()),
            hint=2,
        ),
        Misconception(
            "one_sided",
            "Only some of the experts move. Both sides must: those above the mean down, those below it up.",
            detects=_steps(lambda above_E: -1.0 * (above_E > 0), lambda above_E: 1.0 * (above_E < 0)),
            hint=3,
        ),
        Misconception(
            "moved_at_rest",
            "An expert whose count is exactly the mean was moved as well. With `sign` it would rest: the "
            "sign of 0 is 0. A two-way comparison has no third case.",
            detects=_steps(
                lambda above_E: np.where(above_E < 0, 1.0, -1.0),
                lambda above_E: np.where(above_E > 0, -1.0, 1.0),
            ),
            hint=3,
        ),
        Misconception(
            "rounded_mean",
            "The mean count was rounded to a whole number, perhaps by `//`. Where T * K / E is none, an "
            "expert just beside it then rests instead of moving.",
            wrong=variant(update=lambda b, n, u, t: b + u * (n.mean().floor() - n).sign()),
            hint=2,
        ),
        Misconception(
            "scores_for_load",
            "The load was taken from the scores of all experts. What has to be balanced is work, and an "
            "expert works for those tokens that *chose* it. Count the ids.",
            wrong=variant(load=lambda ids_TK, scores_TE: scores_TE.sum(dim=0)),
            hint=2,
        ),
    ),
    hints=(
        "Three things see a bias or not: the choice, the weights, the next batch. Which of them see which?",
        "`torch.bincount(ids_TK.flatten(), minlength=E)` counts. What is the mean of these counts?",
        "`expert_bias_E + rate * torch.sign(load_E.mean() - load_E)`, with `load_E` as floats.",
    ),
    notice=(
        "The new bias is made of this batch's counts and used in the next: within a batch it is fixed, so "
        "that no token's choice depends on the tokens beside it."
    ),
)
