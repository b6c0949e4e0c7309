"""What 06.bias_step routes by: the step with parts to exchange, and draws that tell the mistakes apart."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.router.draws import spaced_logits
from moe_lessons.exercises.spec import Case

Step = tuple[Tensor, Tensor, Tensor]
IDLE_AT = 7
"""The number of experts at which nobody chooses the last one."""
SHAPES = ((12, 6, 2, 0.1), (10, 5, 1, 0.15), (15, 8, 3, 0.1), (14, 7, 2, 0.2))


def score_and_bias(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    """Rank by sigmoid score plus bias: the rule asked for."""
    return logits_TE.sigmoid() + bias_E


def biased_logits(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    """Add the bias before the sigmoid."""
    return (logits_TE + bias_E).sigmoid()


def unbiased(logits_TE: Tensor, bias_E: Tensor) -> Tensor:
    """Sigmoid scores alone."""
    return logits_TE.sigmoid()


def count(ids_TK: Tensor, scores_TE: Tensor) -> Tensor:
    """Tokens that each expert got."""
    return torch.bincount(ids_TK.flatten(), minlength=scores_TE.shape[1]).float()


def _sign_step(bias_E: Tensor, load_E: Tensor, rate: float, n_tokens: int) -> Tensor:
    return bias_E + rate * (load_E.mean() - load_E).sign()


def variant(
    rank: Callable[[Tensor, Tensor], Tensor] = score_and_bias,
    load: Callable[[Tensor, Tensor], Tensor] = count,
    update: Callable[[Tensor, Tensor, float, int], Tensor] = _sign_step,
    weigh: Callable[[Tensor, Tensor], Tensor] = unbiased,
    update_first: bool = False,
) -> Callable[..., Step]:
    """The right step, with one of its parts replaced."""

    def step(logits_TE: Tensor, expert_bias_E: Tensor, top_k: int, rate: float) -> Step:
        scores_TE = logits_TE.sigmoid()
        ids_TK = rank(logits_TE, expert_bias_E).topk(top_k, dim=-1).indices
        new_bias_E = update(expert_bias_E, load(ids_TK, scores_TE), rate, len(logits_TE))
        if update_first:
            ids_TK = rank(logits_TE, new_bias_E).topk(top_k, dim=-1).indices
        weights_TK = weigh(logits_TE, expert_bias_E).gather(-1, ids_TK)
        return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True), new_bias_E

    return step


reference = variant()


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes; in each some experts are above, below and at the mean, or at its whole neighbours."""
    cases = []
    for n_tokens, n_experts, top_k, rate in SHAPES:
        while True:
            logits_TE = spaced_logits(rng, n_tokens, n_experts) + rng.normal(0, 0.8, n_experts)
            if n_experts == IDLE_AT:
                logits_TE[:, -1] -= 6
            bias_E = rng.permutation(np.linspace(-0.2, 0.25, n_experts))
            args: dict[str, Any] = {
                "logits_TE": logits_TE.astype(np.float32),
                "expert_bias_E": bias_E.astype(np.float32),
                "top_k": top_k,
                "rate": rate,
            }
            if _decisive(args) and (n_experts != IDLE_AT or _last_is_idle(args)):
                break
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, rate={rate}", args))
    return cases


def _last_is_idle(args: dict[str, Any]) -> bool:
    given = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in args.values()]
    return int(reference(*given)[0].max()) < given[0].shape[1] - 1


def _decisive(args: dict[str, Any]) -> bool:
    """No near tie under any rule in question, and no two of the rules choose the same experts."""
    logits_TE, bias_E = torch.from_numpy(args["logits_TE"]), torch.from_numpy(args["expert_bias_E"])
    top_k, rate = args["top_k"], args["rate"]
    right_TK, _, new_bias_E = reference(logits_TE, bias_E, top_k, rate)
    rankings = (
        score_and_bias(logits_TE, bias_E),
        score_and_bias(logits_TE, new_bias_E),
        biased_logits(logits_TE, bias_E),
        unbiased(logits_TE, bias_E),
    )
    if any(_smallest_gap(values_TE, top_k) < 1e-3 for values_TE in rankings):
        return False
    chosen = [values_TE.topk(top_k, dim=-1).indices.sort().values for values_TE in rankings]
    if any(torch.equal(a_TK, b_TK) for a_TK, b_TK in itertools.combinations(chosen, 2)):
        return False
    load_E = count(right_TK, logits_TE)
    mean, soft_E = load_E.mean(), logits_TE.sigmoid().sum(dim=0)
    above, below = load_E > mean, load_E < mean
    telling = (
        above.any() and below.any(),
        ((load_E - mean) * (soft_E - soft_E.mean()) < -1).any(),
        top_k == 1 or (below & (load_E > mean / top_k)).any(),
        # Somebody is at the mean; where that is no whole number, somebody is just below and just above it.
        (load_E == mean.floor()).any() and (load_E == mean.ceil()).any(),
        # With loads along the old bias, a step along the error could not be told from a shrunken bias.
        torch.corrcoef(torch.stack([bias_E, load_E]))[0, 1].abs() < 0.99,
    )
    return all(bool(condition) for condition in telling)


def _smallest_gap(values_TE: Tensor, top_k: int) -> float:
    sorted_TE = values_TE.sort(dim=-1, descending=True).values
    return float((sorted_TE[:, top_k - 1] - sorted_TE[:, top_k]).min())
