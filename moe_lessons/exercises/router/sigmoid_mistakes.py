"""What goes wrong in 01.sigmoid_gates, by name."""

from collections.abc import Callable

import torch

from moe_lessons.exercises.router.draws import SWAPPED_RETURN
from moe_lessons.exercises.spec import Misconception

Gates = tuple[torch.Tensor, torch.Tensor]


def gates(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
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
    return gates(logits_TE + expert_bias_E, torch.zeros_like(expert_bias_E), top_k, scale)


def _scaled_choice(logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float) -> Gates:
    ids_TK, _ = gates(logits_TE, expert_bias_E / scale, top_k, scale)
    weights_TK = logits_TE.sigmoid().gather(-1, ids_TK)
    return ids_TK, scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def _softmax_of_logits(
    logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float
) -> Gates:
    ids_TK, _ = gates(logits_TE, expert_bias_E, top_k, scale)
    return ids_TK, scale * logits_TE.gather(-1, ids_TK).softmax(dim=-1)


def _logits_as_weights(
    logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float
) -> Gates:
    ids_TK, _ = gates(logits_TE, expert_bias_E, top_k, scale)
    weights_TK = logits_TE.gather(-1, ids_TK)
    return ids_TK, scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def _first_biases_off(
    logits_TE: torch.Tensor, expert_bias_E: torch.Tensor, top_k: int, scale: float
) -> Gates:
    biased_TK, ids_TK = (logits_TE.sigmoid() + expert_bias_E).topk(top_k, dim=-1)
    weights_TK = biased_TK - expert_bias_E[:top_k]
    return ids_TK, scale * weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def _softmax(logits_TE: torch.Tensor) -> torch.Tensor:
    return logits_TE.softmax(dim=-1)


MISTAKES = (
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
        "first_biases_off",
        "The bias was to be taken off the chosen scores again, and the biases of experts 0 to K - 1 were "
        "taken off, whoever was chosen. Each chosen expert has its own: `expert_bias_E[ids]`. Simpler: read "
        "the weights from the scores without the bias.",
        wrong=_first_biases_off,
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
        "The bias was added to the logits. A sigmoid keeps their order, so the experts with the largest "
        "logit plus bias were chosen, and these are not always the ones with the largest score plus bias. "
        "Add it to the scores.",
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
        "bias_subtracted",
        "The bias was subtracted. A bias above 0 is there to have an expert chosen more often: add it.",
        wrong=_variant(select=lambda z, s, b: s - b),
        hint=1,
    ),
    Misconception(
        "clamped",
        "Scores that the bias takes below 0 were raised to 0, and are all equal then. A biased score is for "
        "comparing only and may be negative: leave it as it is.",
        wrong=_variant(select=lambda z, s, b: (s + b).clamp(min=0)),
        hint=1,
    ),
    Misconception(
        "bias_in_weight_only",
        "The bias is on the wrong side: the experts were chosen without it, and it was added to their "
        "weights. It is the other way round.",
        wrong=_variant(select=lambda z, s, b: s, weigh=lambda s, b: s + b),
        hint=1,
    ),
    Misconception(
        "scaled_choice",
        "The scores were multiplied by `scale` before the bias was added, so the bias counts for less in the "
        "choice. Scale the weights, at the end.",
        wrong=_scaled_choice,
        hint=3,
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
        "sum_over_batch",
        "The weights were divided by one sum over the whole batch. Each token has a sum of its own: sum "
        "over the last axis.",
        wrong=_variant(finish=lambda w, s, scale: scale * w / w.sum()),
        hint=3,
    ),
    Misconception(
        "rescaled_before_choice",
        "The scores were divided by their sum before the bias was added, so the bias counts for more in "
        "the choice. Choose first, with plain sigmoids plus bias; divide afterwards.",
        wrong=_variant(score=lambda z: z.sigmoid() / z.sigmoid().sum(dim=-1, keepdim=True)),
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
        "scale_of_the_paper",
        "The weights sum to 2.5 in every case. That is DeepSeek-V3's scale; here it is an argument.",
        wrong=_variant(finish=lambda w, s, scale: 2.5 * w / w.sum(dim=-1, keepdim=True)),
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
        "The chosen scores went through a softmax instead of being divided by their sum. That flattens them.",
        wrong=_variant(finish=lambda w, s, scale: scale * w.softmax(dim=-1)),
        hint=3,
    ),
    Misconception(
        "softmax_of_logits",
        "The weights are a softmax over the chosen logits, as in the exercise before. Here each weight is "
        "the chosen expert's *sigmoid*, divided by the sum of the K sigmoids.",
        wrong=_softmax_of_logits,
        hint=2,
    ),
    Misconception(
        "logits_as_weights",
        "The chosen logits themselves were divided by their sum. A logit may be negative. Read the sigmoid "
        "scores at the chosen ids.",
        wrong=_logits_as_weights,
        hint=2,
    ),
)
