"""Biases that steer who is chosen: rules that turn the load of past tokens into a bias for the next ones.

The bias is added to the gate's *scores* for selection only (`sigmoid_topk`, `expert_bias_E`). A bias made of
the tokens that it routes would let later tokens decide about earlier ones: update it after the step.

All rules return a new bias, without gradient, in the shape and dtype of the old one.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from moe_lessons.routing.base import biased, checked_logits


def load_error(tokens_per_expert_E: Tensor) -> Tensor:
    """How far each expert falls short of the mean load, as a fraction of it: -(E - 1) to 1.

    Where no token was routed the error is 0.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Examples
    --------
    >>> load_error(torch.tensor([6, 2, 1, 3]))  # the mean is 3
    tensor([-1.0000,  0.3333,  0.6667,  0.0000])
    """
    load_E = tokens_per_expert_E.to(torch.promote_types(tokens_per_expert_E.dtype, torch.float32))
    mean = load_E.mean(dim=-1, keepdim=True)
    return torch.where(mean > 0, (mean - load_E) / mean.clamp_min(1e-20), 0.0)


@torch.no_grad()
def sign_update(
    expert_bias_E: Tensor, tokens_per_expert_E: Tensor, rate: float, *, recenter: bool = False
) -> Tensor:
    """One fixed step up for each expert below the mean load, down for each above: b + rate * sign(error).

    Parameters
    ----------
    expert_bias_E : Tensor of shape (..., E)
        Leading axes, layers for instance, are independent.
    tokens_per_expert_E : Tensor of shape (..., E)
        Rows routed in the steps since the last update, over all ranks.
    rate : float
        In units of the score; DeepSeek-V3 used 1e-3, and 0 at the end.
    recenter : bool
        Take the mean off each step, as torchtitan does: a bias common to all experts changes no choice.

    Raises
    ------
    ValueError
        If `rate` is negative or the shapes differ.

    References
    ----------
    Wang et al., arXiv 2408.15664, algorithm 1; pytorch/torchtitan, load balancing of its MoE models.

    Examples
    --------
    >>> sign_update(torch.zeros(3), torch.tensor([9, 0, 3]), 0.125)  # the mean is 4
    tensor([-0.1250,  0.1250,  0.1250])
    >>> sign_update(torch.zeros(4), torch.tensor([9, 1, 1, 1]), 0.5, recenter=True)
    tensor([-0.7500,  0.2500,  0.2500,  0.2500])
    """
    _check(expert_bias_E, tokens_per_expert_E, rate=rate)
    step_E = rate * load_error(tokens_per_expert_E).sign().to(expert_bias_E.dtype)
    if recenter:
        step_E = step_E - step_E.mean(dim=-1, keepdim=True)
    return expert_bias_E + step_E


@torch.no_grad()
def proportional_update(expert_bias_E: Tensor, tokens_per_expert_E: Tensor, rate: float) -> Tensor:
    """A step as large as the error: b + rate * error, the error as a fraction of the mean load.

    It sums up past errors (an integral controller), so an even load is its only resting place. Wang et al.
    use it for softmax gates, and measured no gain in perplexity over the sign.

    Parameters
    ----------
    expert_bias_E, tokens_per_expert_E, rate
        As in `sign_update`.

    References
    ----------
    Wang et al., arXiv 2408.15664, table 3 and appendix C.

    Examples
    --------
    >>> proportional_update(torch.zeros(3), torch.tensor([10, 0, 5]), 0.5)  # errors -1, 1, 0
    tensor([-0.5000,  0.5000,  0.0000])
    """
    _check(expert_bias_E, tokens_per_expert_E, rate=rate)
    return expert_bias_E + rate * load_error(tokens_per_expert_E).to(expert_bias_E.dtype)


@torch.no_grad()
def ema_update(
    expert_bias_E: Tensor, tokens_per_expert_E: Tensor, gain: float, *, decay: float = 0.99
) -> Tensor:
    """A moving average of the error, times a gain: what the bias rule is often, wrongly, said to be.

    b becomes decay * b + (1 - decay) * gain * error: `proportional_update` with a leak. A bias that lasts
    needs an error that lasts (a proportional controller), so the load comes to rest off balance.

    Parameters
    ----------
    expert_bias_E, tokens_per_expert_E
        As in `sign_update`.
    gain : float
        Bias per unit of error.
    decay : float, 0 to below 1

    Raises
    ------
    ValueError
        Also if `decay` is outside 0..1 or 1.

    Examples
    --------
    >>> ema_update(torch.tensor([0.5, 0.0]), torch.tensor([3, 1]), 1.0, decay=0.5)  # errors -1/2, 1/2
    tensor([0.0000, 0.2500])
    """
    _check(expert_bias_E, tokens_per_expert_E, gain=gain)
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}: choose 0 to below 1")
    error_E = load_error(tokens_per_expert_E).to(expert_bias_E.dtype)
    return decay * expert_bias_E + (1 - decay) * gain * error_E


@torch.no_grad()
def quantile_bias(
    scores_TE: Tensor, top_k: int, *, expert_bias_E: Tensor | None = None, iterations: int = 8
) -> Tensor:
    """The bias with which top-k shares these very tokens out evenly; there is no rate to choose.

    Sharing out T tokens so that each expert gets T * K / E of them with the highest total score is a linear
    programme. Its dual prices are found in turn: each token's price lies between its k-th and (k+1)-th
    best biased score; then an expert's bias is what lifts just T * K / E tokens over theirs, a quantile.
    Without ties, the fixed point is balanced to within a token or so per expert.

    Parameters
    ----------
    scores_TE : Tensor of shape (T, E)
        Scores of past tokens, as the gate makes them (sigmoid, say); the bias is for the tokens that follow.
    top_k : int, 1 to E
    expert_bias_E : Tensor of shape (E,), optional
        Where to start: in training the bias of the step before, which needs one iteration a step.
    iterations : int, at least 1

    Returns
    -------
    Tensor of shape (E,), with mean 0

    Raises
    ------
    ValueError
        If `scores_TE` is not (T, E), holds NaN (looked for on CPU only), `top_k` is outside 1..E or
        `iterations` below 1.

    References
    ----------
    Su, MoE Odyssey 6, kexue.fm/archives/11619 (quantile balancing).

    Examples
    --------
    >>> scores_TE = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.7, 0.4], [0.6, 0.5]])  # all prefer expert 0
    >>> bias_E = quantile_bias(scores_TE, 1)
    >>> (scores_TE + bias_E).argmax(1)
    tensor([0, 0, 1, 1])
    """
    scores_TE = checked_logits(scores_TE, top_k, "scores_TE")
    n_tokens, n_experts = scores_TE.shape
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}: give at least 1")
    bias_E = scores_TE.new_zeros(n_experts) if expert_bias_E is None else expert_bias_E.to(scores_TE.dtype)
    if top_k == n_experts or n_tokens == 0:
        return torch.zeros_like(bias_E)
    for _ in range(iterations):
        highest = biased(scores_TE, bias_E).topk(top_k + 1, dim=-1).values
        price_T1 = (highest[:, top_k - 1 : top_k] + highest[:, top_k:]) / 2
        bias_E = -torch.quantile(scores_TE - price_T1, 1 - top_k / n_experts, dim=0)
        bias_E = bias_E - bias_E.mean()
    return bias_E


UPDATES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "sign": sign_update,
    "proportional": proportional_update,
    "ema": ema_update,
}


def _check(expert_bias_E: Tensor, tokens_per_expert_E: Tensor, **rate: float) -> None:
    ((name, value),) = rate.items()
    if not value >= 0:
        raise ValueError(f"{name} is {value}: choose 0 or more; a negative one feeds the fullest expert")
    if expert_bias_E.shape != tokens_per_expert_E.shape:
        raise ValueError(
            f"tokens_per_expert_E has shape {tuple(tokens_per_expert_E.shape)}: give that of expert_bias_E, "
            f"{tuple(expert_bias_E.shape)}"
        )
