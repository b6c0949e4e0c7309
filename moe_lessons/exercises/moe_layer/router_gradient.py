"""Exercise 02.router_gradient: the router's gradient by hand, and why K = 1 renormalised has none."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both gates, at K = 1 and above; the ids are the top-k of logits that are far from a tie."""
    cases = []
    for n_tokens, n_experts, top_k, d_model, renormalize in [
        (5, 4, 1, 3, False),
        (5, 4, 1, 3, True),
        (4, 5, 2, 6, True),
        (6, 5, 3, 2, False),
    ]:
        ranks = np.array([rng.permutation(n_experts) for _ in range(n_tokens)])
        logits_TE = (0.6 * ranks + rng.uniform(0, 0.3, ranks.shape)).astype(np.float32)
        args: dict[str, Plain] = {
            "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "logits_TE": logits_TE,
            "topk_ids_TK": np.argsort(-logits_TE, axis=-1)[:, :top_k].copy(),
            "results_TKD": rng.standard_normal((n_tokens, top_k, d_model)).astype(np.float32),
            "upstream_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "renormalize": renormalize,
        }
        name = f"T={n_tokens}, E={n_experts}, K={top_k}, D={d_model}, renormalize={renormalize}"
        cases.append(Case(name, args))
    return cases


def reference(
    hidden_TD: Tensor,
    logits_TE: Tensor,
    topk_ids_TK: Tensor,
    results_TKD: Tensor,
    upstream_TD: Tensor,
    renormalize: bool,
) -> Tensor:
    """Chain rule: output to weights, softmax to logits, logits to the router's matrix."""
    score_TK = torch.einsum("td,tkd->tk", upstream_TD, results_TKD)
    return _router(_logits(logits_TE, topk_ids_TK, score_TK, renormalize), hidden_TD)


def _logits(logits_TE: Tensor, ids_TK: Tensor, score_TK: Tensor, renormalize: bool) -> Tensor:
    """Gradient with respect to the logits, [T, E], from that with respect to the weights."""
    weights_TE = _gate(logits_TE, ids_TK, renormalize)
    score_TE = torch.zeros_like(logits_TE).scatter(1, ids_TK, score_TK)
    return weights_TE * (score_TE - (weights_TE * score_TE).sum(dim=1, keepdim=True))


def _gate(logits_TE: Tensor, ids_TK: Tensor, renormalize: bool) -> Tensor:
    """The softmax that the weights come from, zero where an expert takes no part in it."""
    if not renormalize:
        return logits_TE.softmax(dim=-1)
    kept_TK = logits_TE.gather(1, ids_TK).softmax(dim=-1)
    return torch.zeros_like(logits_TE).scatter(1, ids_TK, kept_TK)


def _router(grad_logits_TE: Tensor, hidden_TD: Tensor) -> Tensor:
    return grad_logits_TE.T @ hidden_TD


def _score(results_TKD: Tensor, upstream_TD: Tensor) -> Tensor:
    return torch.einsum("td,tkd->tk", upstream_TD, results_TKD)


def _chosen_only(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    full_TE = _logits(logits, ids, _score(r, up), renormalize)
    chosen_TE = torch.zeros_like(full_TE).scatter(1, ids, 1.0)
    return _router(full_TE * chosen_TE, x)


def _diagonal(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    weights_TE = _gate(logits, ids, renormalize)
    score_TE = torch.zeros_like(logits).scatter(1, ids, _score(r, up))
    return _router(weights_TE * (1 - weights_TE) * score_TE, x)


def _first_term_only(
    x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool
) -> Tensor:
    score_TE = torch.zeros_like(logits).scatter(1, ids, _score(r, up))
    return _router(_gate(logits, ids, renormalize) * score_TE, x)


def _constant_sum(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    score_TK = _score(r, up)
    if renormalize:
        score_TK = score_TK / logits.softmax(dim=-1).gather(1, ids).sum(dim=1, keepdim=True)
    return _router(_logits(logits, ids, score_TK, renormalize=False), x)


def _no_softmax(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    return _router(torch.zeros_like(logits).scatter(1, ids, _score(r, up)), x)


def _no_upstream(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    return _router(_logits(logits, ids, r.sum(dim=-1), renormalize), x)


def _by_choice(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    in_order = torch.arange(ids.shape[1]).expand_as(ids)
    weights_TE = _gate(logits, ids, renormalize)
    score_TE = torch.zeros_like(logits).scatter(1, ids, _score(r, up))
    grad_TE = weights_TE * (score_TE - (weights_TE * score_TE).sum(dim=1, keepdim=True))
    return _router(torch.zeros_like(grad_TE).scatter(1, in_order, grad_TE.gather(1, ids)), x)


def _plain_mean(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    score_TE = torch.zeros_like(logits).scatter(1, ids, _score(r, up))
    return _router(_gate(logits, ids, renormalize) * (score_TE - score_TE.mean(dim=1, keepdim=True)), x)


def _weight_twice(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    weights_TK = _gate(logits, ids, renormalize).gather(1, ids)
    return _router(_logits(logits, ids, weights_TK * _score(r, up), renormalize), x)


def _mean(x: Tensor, logits: Tensor, ids: Tensor, r: Tensor, up: Tensor, renormalize: bool) -> Tensor:
    return reference(x, logits, ids, r, up, renormalize) / len(x)


def _dead(case: Case, got: Outputs, want: Outputs) -> str | None:
    """At K = 1 renormalised nothing reaches the router; otherwise something does."""
    silent = np.abs(got["grad_router_ED"]).max() < 1e-5
    if bool(case.args["renormalize"]) and np.asarray(case.args["topk_ids_TK"]).shape[1] == 1:
        return None if silent else "the weight is 1 whatever the logits are, yet the gradient is not zero"
    return "the gradient is zero everywhere" if silent else None


ROUTER_GRADIENT = Exercise(
    id="02.router_gradient",
    title="The router's gradient by hand",
    task=(
        "A layer returned `output_TD = (weights_TK.unsqueeze(-1) * results_TKD).sum(dim=1)`, and backward "
        "brought `upstream_TD`, the gradient with respect to that output. Return the gradient with respect "
        "to the router's matrix, `[E, D]`, where `logits_TE = hidden_TD @ router_ED.T`. With `renormalize` "
        "the weights are a softmax over the K chosen logits; without it, a softmax over all E logits of "
        "which the K chosen values are kept. Work it out on paper; autograd is a fair way to check it."
    ),
    entry="router_gradient",
    points=4,
    minutes=25,
    difficulty=5,
    outputs=(Output("grad_router_ED", "ED"),),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(Property("no gradient at K=1 renormalised, some everywhere else", _dead),),
    misconceptions=(
        Misconception(
            "always_renormalized",
            "`renormalize=False` is treated like True: the softmax ran over the chosen logits only. Without "
            "renormalising, the softmax runs over all E, and at K=1 the router does get a gradient.",
            wrong=lambda x, logits, ids, r, up, renormalize: reference(x, logits, ids, r, up, True),
            hint=2,
        ),
        Misconception(
            "never_renormalized",
            "`renormalize=True` is treated like False: the softmax ran over all E logits. Over the chosen "
            "ones only, a single weight is always 1, and a constant has no gradient.",
            wrong=lambda x, logits, ids, r, up, renormalize: reference(x, logits, ids, r, up, False),
            hint=2,
        ),
        Misconception(
            "chosen_only",
            "The logits of experts that were not chosen got no gradient. Without renormalising they stand "
            "in the softmax's denominator: raising one of them lowers the chosen weight.",
            wrong=_chosen_only,
            hint=2,
        ),
        Misconception(
            "diagonal",
            "Only the diagonal of the softmax's derivative was used, w (1 - w). A logit also changes the "
            "other weights: the derivative of weight i with respect to logit j is w_i (1[i=j] - w_j).",
            wrong=_diagonal,
            hint=2,
        ),
        Misconception(
            "first_term_only",
            "Half of the softmax's derivative: weight j times its own score. Raising a logit also lowers the "
            "other weights, so their scores, each times its weight, are subtracted.",
            wrong=_first_term_only,
            hint=2,
        ),
        Misconception(
            "constant_sum",
            "With `renormalize=True` the sum that the weights are divided by was taken for a constant. It "
            "depends on the logits too. At K=1 that is all there is: a number divided by itself.",
            wrong=_constant_sum,
            hint=2,
        ),
        Misconception(
            "no_softmax",
            "The gradient with respect to the weights was used as that of the logits. A softmax lies "
            "between them.",
            wrong=_no_softmax,
            hint=2,
        ),
        Misconception(
            "no_upstream",
            "`upstream_TD` is not used: the experts' answers were summed. A weight matters as far as its "
            "expert's answer points along the upstream gradient: take their inner product.",
            wrong=_no_upstream,
            hint=1,
        ),
        Misconception(
            "by_choice",
            "Choice k's gradient was put on row k. It belongs on the row of the expert that choice k stands "
            "for, `topk_ids_TK[t, k]`.",
            wrong=_by_choice,
            hint=3,
        ),
        Misconception(
            "flag_swapped",
            "The two gates are swapped: the softmax ran over the chosen logits where `renormalize` is "
            "False, and over all E where it is True.",
            wrong=lambda x, logits, ids, r, up, renormalize: reference(
                x, logits, ids, r, up, not renormalize
            ),
            hint=2,
        ),
        Misconception(
            "plain_mean",
            "The plain mean of the scores was subtracted from each. What a softmax subtracts is the mean "
            "*weighted by its own weights*: the sum over i of w_i s_i.",
            wrong=_plain_mean,
            hint=2,
        ),
        Misconception(
            "weight_twice",
            "The weight is in the incoming gradient too. Output = weight times result, so the gradient of "
            "the weight is upstream times result, without the weight. It comes in once, with the softmax.",
            wrong=_weight_twice,
            hint=1,
        ),
        Misconception(
            "sign",
            "Right but for the sign. This is the gradient itself; the minus belongs to the optimizer's step.",
            wrong=lambda x, logits, ids, r, up, renormalize: -reference(x, logits, ids, r, up, renormalize),
            hint=2,
        ),
        Misconception(
            "transposed",
            "The numbers are right, and lie on their side: [D, E] where [E, D] is asked for, the shape of "
            "the router's matrix.",
            wrong=lambda x, logits, ids, r, up, renormalize: reference(x, logits, ids, r, up, renormalize).T,
            hint=3,
        ),
        Misconception(
            "of_the_logits",
            "This is the gradient of the logits, [T, E], and right. One step is left: the logits are "
            "`hidden_TD @ router_ED.T`.",
            wrong=lambda x, logits, ids, r, up, renormalize: _logits(logits, ids, _score(r, up), renormalize),
            hint=3,
        ),
        Misconception(
            "mean",
            "The gradient was divided by the number of tokens. If the loss is a mean, that factor is in "
            "`upstream_TD` already: add the tokens up.",
            wrong=_mean,
            hint=3,
        ),
    ),
    hints=(
        "Go backwards one step at a time: output, weights, logits, router. First, if weight k of token t "
        "grows a little, the output grows along that expert's answer. How much does the loss change? That "
        "number, call it s, is an inner product.",
        "Next, from weights to logits. In a softmax, d w_i / d z_j is w_i (1[i=j] - w_j). Multiply by s_i "
        "and add over i: logit j receives w_j (s_j - sum over i of w_i s_i). Over which logits does the "
        "softmax run in each case, and what is s for an expert that was not chosen?",
        "`torch.zeros(T, E).scatter(1, topk_ids_TK, values_TK)` puts per-choice values on their experts; "
        "`grad_logits_TE.T @ hidden_TD` sums over tokens.",
    ),
    notice=(
        "At K = 1 renormalised the softmax has one term, 1, and the third step multiplies by score minus "
        "score: the zero is in the algebra, whatever the task's loss."
    ),
)
