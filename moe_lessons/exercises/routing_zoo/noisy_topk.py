"""Exercise 06.noisy_topk: noise with a learned scale on the logits, in training only."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.router.draws import SWAPPED_RETURN, by_expert, spaced_logits
from moe_lessons.exercises.routing_zoo.weights import WEIGHTS_SUM_TO_ONE
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

Gates = tuple[Tensor, Tensor]
SHAPES = ((6, 8, 2, True), (5, 6, 3, True), (6, 8, 2, False), (4, 5, 1, True), (5, 7, 3, False))


def _add(logits_TE: Tensor, noise_logits_TE: Tensor, noise_TE: Tensor) -> Tensor:
    return logits_TE + noise_TE * F.softplus(noise_logits_TE)


def _kept(ranked_TE: Tensor, weighed_TE: Tensor, top_k: int) -> Gates:
    ids_TK = ranked_TE.topk(top_k, dim=-1).indices
    return ids_TK, weighed_TE.gather(-1, ids_TK).softmax(dim=-1)


def _filled_with_zero(noisy_TE: Tensor, top_k: int) -> Gates:
    values_TK, ids_TK = noisy_TE.topk(top_k, dim=-1)
    row_TE = torch.zeros_like(noisy_TE).scatter(-1, ids_TK, values_TK)
    return ids_TK, row_TE.softmax(dim=-1).gather(-1, ids_TK)


def _over_all(noisy_TE: Tensor, top_k: int) -> Gates:
    weights_TK, ids_TK = noisy_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids_TK, weights_TK


def _variant(
    noisy: Callable[[Tensor, Tensor, Tensor], Tensor] = _add,
    active: Callable[[bool], bool] = lambda training: training,
    gates: Callable[[Tensor, Tensor, int], Gates] = lambda clean, noisy, k: _kept(noisy, noisy, k),
) -> Callable[..., Gates]:
    """The right gate, with one of its parts replaced."""

    def gate(
        logits_TE: Tensor, noise_logits_TE: Tensor, noise_TE: Tensor, top_k: int, training: bool
    ) -> Gates:
        noisy_TE = noisy(logits_TE, noise_logits_TE, noise_TE) if active(training) else logits_TE
        return gates(logits_TE, noisy_TE, top_k)

    return gate


reference = _variant()
NOISES = (
    _add,
    lambda z, s, e: z + e * s,
    lambda z, s, e: z + e * s.exp(),
    lambda z, s, e: z + e,
    lambda z, s, e: z,
)
"""The right noise and the mistaken ones; in training each must choose differently from the right one."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Training and evaluation in several shapes, K = 1 among them."""
    cases = []
    for n_tokens, n_experts, top_k, training in SHAPES:
        while True:
            args: dict[str, Any] = {
                "logits_TE": spaced_logits(rng, n_tokens, n_experts, spread=1.5),
                "noise_logits_TE": rng.uniform(-1.5, 1.5, (n_tokens, n_experts)).astype(np.float32),
                "noise_TE": rng.standard_normal((n_tokens, n_experts)).astype(np.float32),
            }
            if _decisive([torch.from_numpy(a) for a in args.values()], top_k):
                break
        args |= {"top_k": top_k, "training": training}
        mode = "training" if training else "evaluation"
        cases.append(Case(f"{mode}, T={n_tokens}, E={n_experts}, K={top_k}", args))
    return cases


def _decisive(tensors: list[Tensor], top_k: int) -> bool:
    chosen = []
    for noise in NOISES:
        values = noise(*tensors).sort(dim=-1, descending=True)
        if (values.values[:, top_k - 1] - values.values[:, top_k]).min() < 1e-3:
            return False
        chosen.append(values.indices[:, :top_k].sort(dim=-1).values)
    return all(not torch.equal(chosen[0], other) for other in chosen[1:])


def _other_squashing(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right in evaluation; in training as if one of these had stood in the place of softplus."""
    given: list[Any] = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in case.args.values()]
    for f in (torch.sigmoid, torch.relu, torch.abs):
        values = by_expert(
            dict(
                zip(
                    want,
                    (x.numpy() for x in _variant(noisy=lambda z, s, e, f=f: z + e * f(s))(*given)),  # type: ignore[misc]
                    strict=True,
                )
            )
        )
        if all(np.allclose(got[n], values[n], rtol=1e-4, atol=1e-5) for n in want):
            return True
    return False


NOISY_TOPK = Exercise(
    id="06.noisy_topk",
    title="Noisy top-k",
    task=(
        "In training, add noise to each logit: `noise_TE` (drawn for you, standard normal) times a standard "
        "deviation of its own, the softplus of `noise_logits_TE`. Keep the K largest of the noisy logits; "
        "the weights are the softmax over those K (arXiv 1701.06538, eq. 3-5). In evaluation there is no "
        "noise."
    ),
    entry="noisy_topk",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("topk_ids_TK", "TK", kind="int"), Output("topk_weights_TK", "TK")),
    draw=draw,
    reference=reference,
    canonical=by_expert,
    properties=(WEIGHTS_SUM_TO_ONE,),
    misconceptions=(
        SWAPPED_RETURN,
        Misconception(
            "noise_in_evaluation",
            "The noise is on in evaluation too. Then one and the same text gets another answer, and another "
            "loss, each time it is read. Noise is for training.",
            wrong=_variant(active=lambda training: True),
            hint=1,
        ),
        Misconception(
            "flag_swapped",
            "There is noise in evaluation and none in training: the flag is read the wrong way round.",
            wrong=_variant(active=lambda training: not training),
            hint=1,
        ),
        Misconception(
            "no_softplus",
            "The noise was multiplied by the noise logits themselves. They may be negative or large; "
            "softplus turns them into a standard deviation, which is positive.",
            wrong=_variant(noisy=NOISES[1]),
            hint=2,
        ),
        Misconception(
            "exp_for_softplus",
            "The noise logits went through `exp`. Softplus is log(1 + exp(x)): for large x it grows like x, "
            "not like exp(x).",
            wrong=_variant(noisy=NOISES[2]),
            hint=2,
        ),
        Misconception(
            "softplus_of_product",
            "The softplus was taken of noise times noise logit. Then nothing is ever made smaller, and "
            "what the noise logit means depends on the draw. Only the noise logit goes through it: that is "
            "the size, and the noise is multiplied by it.",
            wrong=_variant(noisy=lambda z, s, e: z + F.softplus(e * s)),
            hint=2,
        ),
        Misconception(
            "variance",
            "The softplus was taken for the variance, and its root for the deviation. In the paper it is the "
            "standard deviation itself.",
            wrong=_variant(noisy=lambda z, s, e: z + e * F.softplus(s).sqrt()),
            hint=2,
        ),
        Misconception(
            "softplus_plus_a_bit",
            "A small number was added to the softplus, as some published code does so that the noise is "
            "never 0. Here the standard deviation is the softplus itself.",
            wrong=_variant(noisy=lambda z, s, e: z + e * (F.softplus(s) + 1e-2)),
            also=(_variant(noisy=lambda z, s, e: z + e * (F.softplus(s) + 1e-3)),),
            hint=2,
        ),
        Misconception(
            "other_squashing",
            "The noise logits went through another function that makes them positive, such as a sigmoid, a "
            "ReLU or an absolute value. The task asks for softplus: it is never 0 and has no upper end.",
            detects=_other_squashing,
            hint=2,
        ),
        Misconception(
            "no_noise_drawn",
            "The softplus was added to the logits and the noise not used: the same sum each time. It is the "
            "size of the noise. Multiply `noise_TE` by it.",
            wrong=_variant(noisy=lambda z, s, e: z + F.softplus(s)),
            hint=2,
        ),
        Misconception(
            "times_the_logit",
            "The logit was multiplied by the noise. Then an expert with a logit near 0 gets none, which is "
            "where a change would matter most. Add it.",
            wrong=_variant(noisy=lambda z, s, e: z * (1 + e * F.softplus(s))),
            hint=2,
        ),
        Misconception(
            "all_added",
            "Noise and softplus were both added to the logits. The second is the *size* of the first: "
            "multiply the two, then add.",
            wrong=_variant(noisy=lambda z, s, e: z + e + F.softplus(s)),
            hint=2,
        ),
        Misconception(
            "unscaled_noise",
            "Every logit got noise of the same size. Its standard deviation is learned, for each token and "
            "expert: the softplus of `noise_logits_TE`.",
            wrong=_variant(noisy=NOISES[3]),
            hint=2,
        ),
        Misconception(
            "own_noise",
            "The noise was drawn inside the function. `noise_TE` is that noise, drawn for you: a function "
            "that draws its own cannot be tested, nor a run repeated. Multiply what was given.",
            wrong=_variant(noisy=lambda z, s, e: z + torch.randn_like(z) * F.softplus(s)),
            also=(_variant(noisy=lambda z, s, e: z + torch.rand_like(z) * F.softplus(s)),),
            hint=2,
        ),
        Misconception(
            "noise_after_topk",
            "The choice was made before the noise was added. Such noise shakes the weights of the same "
            "experts and never lets another one try. Add it before the top-k.",
            wrong=_variant(gates=lambda clean, noisy, k: _kept(clean, noisy, k)),
            hint=1,
        ),
        Misconception(
            "clean_weights",
            "The choice saw the noise and the weights did not. In the paper both come from the noisy logits: "
            "the softmax goes over what top-k kept.",
            wrong=_variant(gates=lambda clean, noisy, k: _kept(noisy, clean, k)),
            hint=3,
        ),
        Misconception(
            "softmax_over_all",
            "The softmax went over all E experts before K of them were kept, so the weights do not sum to 1. "
            "Here top-k comes first.",
            wrong=_variant(gates=lambda clean, noisy, k: _over_all(noisy, k)),
            hint=3,
        ),
        Misconception(
            "masked_with_zero",
            "The logits that were not kept were set to 0 before the softmax. exp(0) is 1: they still take a "
            "share. Set them to minus infinity, or leave them out.",
            wrong=_variant(gates=lambda clean, noisy, k: _filled_with_zero(noisy, k)),
            hint=3,
        ),
    ),
    hints=(
        "Which of the three steps, scoring, choosing, weighing, happens with noise? And when is there none?",
        "`F.softplus(noise_logits_TE)` is the standard deviation. Multiply it by `noise_TE`.",
        "`values_TK, ids_TK = noisy_TE.topk(top_k, dim=-1)`, then a softmax over `values_TK` alone.",
    ),
    notice=(
        "Ranking and weights both come from the noisy logits, and softplus keeps the size of the noise "
        "above 0 with a slope everywhere, so that it can be learned."
    ),
)
