"""Exercise 16.null_experts: choices that do nothing, and the bias that holds their number."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Choice = tuple[Tensor, Tensor, Any]
# T, E, Z, K, target, bias; whether real experts are above the target, and whether null ones are.
SHAPES = (
    (24, 6, 4, 3, 1.6, -0.06, True, False),
    (30, 4, 8, 4, 1.8, 0.06, False, True),
    (20, 8, 6, 4, 2.9, 0.04, False, False),
    (18, 4, 5, 2, 0.6, -0.03, True, True),
)
RATE = 0.01


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Biases of both signs, means above and below the target; no choice and no mean on a hair."""
    cases = []
    for n_tokens, n_real, n_null, top_k, target, bias, above, null_above in SHAPES:
        while True:
            logits_TC = (rng.normal(size=(n_tokens, n_real + n_null)) * 1.5).astype(np.float32)
            logits, scores_TC = torch.from_numpy(logits_TC), torch.from_numpy(logits_TC).softmax(-1)
            plain, on_logits = (_used(z, n_real, top_k) for z in (logits, _moved(logits, bias, n_real)))
            scores_TC = _moved(scores_TC, bias, n_real)
            ranked_TC = scores_TC.sort(-1, descending=True).values
            used_T = _used(scores_TC, n_real, top_k)
            mean = float(used_T.double().mean())
            apart = (ranked_TC[:, top_k - 1] - ranked_TC[:, top_k]).min() > 1e-4
            sides = mean > target + 0.05, top_k - mean > target + 0.05
            clear = min(abs(mean - target), abs(top_k - mean - target)) > 0.05
            # With no bias, and with one on the logits, some tokens choose otherwise.
            differ = all(
                (a != b).any() for a, b in ((used_T, plain), (used_T, on_logits), (plain, on_logits))
            )
            if apart and clear and sides == (above, null_above) and differ:
                break
        args: dict[str, Any] = {
            "logits_TC": logits_TC,
            "null_bias": bias,
            "n_real": n_real,
            "top_k": top_k,
            "target": target,
            "rate": RATE,
        }
        cases.append(Case(f"T={n_tokens}, {n_real} real, {n_null} null, K={top_k}, bias {bias}", args))
    return cases


def _used(scores_TC: Tensor, n_real: int, top_k: int) -> Tensor:
    return (scores_TC.topk(top_k).indices < n_real).sum(1)


def _choose(
    logits_TC: Tensor,
    null_bias: float,
    n_real: int,
    top_k: int,
    target: float,
    rate: float,
    *,
    steer: Callable[[Tensor, float, int], Tensor] | None = None,
    weigh: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None,
    step: Callable[[Tensor, float, float], float] | None = None,
    count: Callable[[Tensor, int], Tensor] | None = None,
) -> Choice:
    """The right choice; the mistakes are its variants.

    `weigh` gets scores of all, scores of the chosen, those with the bias, and which are real.
    """
    scores_TC = logits_TC.softmax(-1)
    steered_TC = (steer or _moved)(scores_TC, null_bias, n_real)
    ids_TK = steered_TC.topk(top_k).indices
    real_TK = ids_TK < n_real
    chosen_TK = scores_TC.gather(1, ids_TK)
    if weigh is None:
        weights_TK = chosen_TK / chosen_TK.sum(-1, keepdim=True)
    else:
        weights_TK = weigh(scores_TC, chosen_TK, steered_TC.gather(1, ids_TK), real_TK)
    weights_TC = torch.zeros_like(scores_TC).scatter(1, ids_TK, weights_TK)
    used_T = real_TK.sum(1)
    move = (step or _sign)(used_T.double(), target, float(top_k))
    return weights_TC[:, :n_real], used_T if count is None else count(used_T, top_k), null_bias + rate * move


def _moved(scores_TC: Tensor, bias: float, n_real: int) -> Tensor:
    return torch.cat([scores_TC[:, :n_real], scores_TC[:, n_real:] + bias], dim=1)


def _sign(used_T: Tensor, target: float, top_k: float) -> float:
    return float(torch.sign(used_T.mean() - target))


def reference(
    logits_TC: Tensor, null_bias: float, n_real: int, top_k: int, target: float, rate: float
) -> Choice:
    """The bias on the null ones' scores, for the choice alone."""
    return _choose(logits_TC, null_bias, n_real, top_k, target, rate)


def _but(**how: Any) -> Callable[..., Choice]:
    return lambda *given: _choose(*given, **how)


def _on_logits(logits_too: bool) -> Callable[..., Choice]:
    """The bias on the logits: for the choice, and if asked for the weights as well."""

    def wrong(
        logits_TC: Tensor, null_bias: float, n_real: int, top_k: int, target: float, rate: float
    ) -> Choice:
        moved_TC = _moved(logits_TC, null_bias, n_real)
        if logits_too:
            weights_TE, used_T, step = _choose(moved_TC, 0.0, n_real, top_k, target, rate)
            return weights_TE, used_T, null_bias + step
        return _choose(logits_TC, null_bias, n_real, top_k, target, rate, steer=lambda p, bias, n: moved_TC)

    return wrong


def _rest_for(weights_TK: Tensor, real_TK: Tensor) -> Tensor:
    """Weights over the real ones alone; none where no real one was chosen."""
    real = weights_TK * real_TK
    return real / real.sum(-1, keepdim=True).clamp_min(1e-9)


def _whole_softmax(
    logits_TC: Tensor, null_bias: float, n_real: int, top_k: int, target: float, rate: float
) -> Choice:
    """Real experts compete among themselves in a softmax of their own."""
    weights_TE, used_T, bias = reference(logits_TC, null_bias, n_real, top_k, target, rate)
    alone_TE = logits_TC[:, :n_real].softmax(-1) * (weights_TE > 0)
    return alone_TE, used_T, bias


def _at_most_one(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = np.asarray(got["weights_TE"], dtype=float).sum(1)
    return f"a token's weights sum to {sums_T.max():.3f}" if sums_T.max() > 1 + 1e-3 else None


def _one_step(case: Case, got: Outputs, want: Outputs) -> str | None:
    moved = float(got["bias"]) - float(case.args["null_bias"])  # type: ignore[arg-type]
    rate = float(case.args["rate"])  # type: ignore[arg-type]
    if abs(abs(moved) - rate) > 1e-5 * max(1.0, abs(moved)):
        return f"the bias went from {case.args['null_bias']} to {float(got['bias']):.4g}; a step is {rate}"
    return None


NULL_EXPERTS = Exercise(
    id="16.null_experts",
    title="Experts that do nothing",
    task=(
        "Of the router's columns the first `n_real` are experts, the others are *null* experts that do "
        "nothing. Scores are a softmax over all columns. A token takes the `top_k` highest of the scores, to "
        "which `null_bias` was added in the null columns. The weights are the chosen scores *without* the "
        "bias, divided by the sum of all K. Return the real experts' weights `[T, E]` (0 where not chosen), "
        "how many real experts each token uses, and the new bias: a step of `rate` up if that number is "
        "above `target` on average, down if it is below."
    ),
    entry="null_experts",
    points=3,
    minutes=20,
    difficulty=3,
    outputs=(
        Output("weights_TE", "TE"),
        Output("used_T", "T", kind="int"),
        Output("bias"),
    ),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(
        Property("a token's weights sum to at most 1", _at_most_one),
        Property("the bias moves by one step", _one_step),
    ),
    misconceptions=(
        Misconception(
            "weights_of_the_real_ones_alone",
            "The real experts' weights are made to sum to 1 again. Then a token that spends half of its "
            "choices on nothing gets a full answer all the same, and its router learns nothing from it.",
            wrong=_but(weigh=lambda p, w, s, real: _rest_for(w, real)),
            hint=1,
        ),
        Misconception(
            "softmax_of_the_real_ones",
            "The weights come from a softmax over the real experts alone. Null experts take part in the "
            "softmax: what they get is missing from the others.",
            wrong=_whole_softmax,
            hint=1,
        ),
        Misconception(
            "bias_in_the_weight",
            "The bias is in the weights, too. It is to steer who is chosen, not how much anybody counts.",
            wrong=_but(weigh=lambda p, w, s, real: s / s.sum(-1, keepdim=True)),
            hint=1,
        ),
        Misconception(
            "bias_on_the_logit",
            "The bias is added to the logits. It belongs to the scores, after the softmax.",
            wrong=_on_logits(False),
            also=(_on_logits(True),),
            hint=1,
        ),
        Misconception(
            "bias_on_the_real_ones",
            "A higher bias makes null experts *rarer* here: it is added to the real ones, or taken off the "
            "null ones. It is added to the null ones' scores.",
            wrong=_but(steer=lambda p, bias, n: torch.cat([p[:, :n] + bias, p[:, n:]], dim=1)),
            hint=1,
        ),
        Misconception(
            "bias_without_effect",
            "The bias has no effect on the choice: added to all columns, or to none, it changes no order.",
            wrong=_but(steer=lambda p, bias, n: p),
            hint=1,
        ),
        Misconception(
            "bias_runs_away",
            "The step goes the wrong way. Too many real experts: null ones must become more attractive, so "
            "their bias rises. As it is, the mean runs away from its target.",
            wrong=_but(step=lambda used, target, k: -_sign(used, target, k)),
            hint=3,
        ),
        Misconception(
            "step_proportional",
            "The step is proportional to the difference. Asked is a step of `rate`, whatever the distance.",
            wrong=_but(step=lambda used, target, k: float(used.mean() - target)),
            also=(_but(step=lambda used, target, k: float(target - used.mean())),),
            hint=3,
        ),
        Misconception(
            "null_ones_compared",
            "The *null* experts' mean number is compared with the target. The target is for the real ones.",
            wrong=_but(step=lambda used, target, k: _sign(k - used, target, k)),
            also=(_but(step=lambda used, target, k: -_sign(k - used, target, k)),),
            hint=3,
        ),
        Misconception(
            "step_alone",
            "This is the step, not the new bias. Add it to the old one.",
            wrong=lambda *g: (*reference(*g)[:2], reference(*g)[2] - g[1]),
            hint=3,
        ),
        Misconception(
            "not_normalised",
            "The weights are the bare scores. They are divided by the sum of all K chosen ones, the null "
            "experts' included.",
            wrong=_but(weigh=lambda p, w, s, real: w),
            hint=3,
        ),
        Misconception(
            "equal_weights",
            "Each chosen expert has the same weight. The weights are the scores over the sum of all K.",
            wrong=_but(weigh=lambda p, w, s, real: torch.full_like(w, 1 / w.shape[1])),
            hint=3,
        ),
        Misconception(
            "null_ones_counted",
            "Every token is said to use K experts. Those that do nothing do not count.",
            wrong=_but(count=lambda used, k: torch.full_like(used, k)),
            also=(_but(count=lambda used, k: k - used),),
            hint=2,
        ),
        Misconception(
            "largest_not_mean",
            "The most, or the sum, of real experts is compared with the target. Asked is the mean over "
            "tokens.",
            wrong=_but(step=lambda used, target, k: float(torch.sign(used.max() - target))),
            also=(_but(step=lambda used, target, k: float(torch.sign(used.sum() - target))),),
            hint=3,
        ),
        Misconception(
            "null_ones_first",
            "The first columns are taken for null experts. They are the last ones: the real ones are columns "
            "0 to `n_real - 1`.",
            wrong=lambda lg, b, n, k, t, r: _choose(
                torch.cat([lg[:, lg.shape[1] - n :], lg[:, : lg.shape[1] - n]], dim=1), b, n, k, t, r
            ),
            hint=2,
        ),
    ),
    hints=(
        "Where may the bias act, and where not? What should a token's weights add up to if half of its "
        "choices do nothing?",
        "Add the bias to the last columns of a copy of the scores, `topk` on that, and `gather` the weights "
        "from the scores as they were. `ids < n_real` says which are real.",
        "`w = p.gather(1, ids)`, then `w / w.sum(1, keepdim=True)`, then scatter and drop the null columns. "
        "The new bias is `null_bias + rate * sign(mean - target)`.",
    ),
    notice=(
        "Tokens of one text differ in what they cost, and the mean does not: a bias that moves by a fixed "
        "step holds it, whatever the router does."
    ),
)
