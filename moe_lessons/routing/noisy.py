"""Noise on the router while it trains: on the logits (noisy top-k), or on what the router reads (jitter)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.routing.base import Routing, checked_logits
from moe_lessons.routing.gates import topk_softmax


class NoisyRouting(NamedTuple):
    """A routing by noisy logits, `routing.logits_TE`, and what the noise was added to and scaled by.

    From these three the chance that a new draw would put expert i among token t's top k can be computed: the
    distance from `clean_logits_TE` to the k-th best of the *other* noisy logits, in units of `noise_std_TE`.
    """

    routing: Routing
    clean_logits_TE: Tensor
    noise_std_TE: Tensor


def noisy_topk(
    logits_TE: Tensor,
    noise_scale_logits_TE: Tensor,
    top_k: int,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> NoisyRouting:
    """Add Gaussian noise of a learned size to each logit, then top-k, then softmax; silent in evaluation.

    H = x W_gate + eps * softplus(x W_noise), with a fresh eps ~ N(0, 1) for every token and expert.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
        x W_gate, the clean logits.
    noise_scale_logits_TE : Tensor of shape (T, E)
        x W_noise, from a second linear map; its softplus is the noise's standard deviation.
    top_k : int, 1 to E
    training : bool
        False leaves the noise out: the same token then always goes to the same experts.
    generator : torch.Generator, optional

    Returns
    -------
    NoisyRouting
        `routing`, whose logits are the noisy ones; the clean logits; the standard deviations.

    Raises
    ------
    ValueError
        As `topk_softmax`; also if the two logits differ in shape or the second holds NaN.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 3-5; appendix A for the load estimate.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0, 2.0]]).log()
    >>> noisy_topk(logits_TE, torch.zeros(1, 3), 2, training=False).routing.topk_weights_TK
    tensor([[0.6000, 0.4000]])
    >>> noisy_topk(logits_TE, torch.full((1, 3), 2.0).expm1().log(), 2, training=True).noise_std_TE
    tensor([[2., 2., 2.]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    if noise_scale_logits_TE.shape != logits_TE.shape:
        shapes = f"{tuple(noise_scale_logits_TE.shape)} but logits_TE {tuple(logits_TE.shape)}"
        raise ValueError(f"noise_scale_logits_TE has shape {shapes}: give one scale per logit")
    noise_std_TE = F.softplus(checked_logits(noise_scale_logits_TE, top_k, "noise_scale_logits_TE"))
    noisy_TE = logits_TE
    if training:
        eps_TE = torch.randn(
            logits_TE.shape, generator=generator, dtype=logits_TE.dtype, device=logits_TE.device
        )
        noisy_TE = logits_TE + eps_TE * noise_std_TE
    return NoisyRouting(topk_softmax(noisy_TE, top_k), logits_TE, noise_std_TE)


def jitter(
    hidden_TD: Tensor, epsilon: float, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Multiply what the router reads by uniform noise from 1 - epsilon to 1 + epsilon; silent in evaluation.

    Only the router reads the result: the experts compute on the hidden states as they were.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    epsilon : float, 0 to 1
        Switch uses 0.01.
    training : bool
    generator : torch.Generator, optional

    Returns
    -------
    Tensor of shape (T, D), dtype of `hidden_TD`
        Rounded to it: for noise finer than bf16's steps of 0.4 to 0.8 % give fp32, as Switch does.

    Raises
    ------
    ValueError
        If `epsilon` is outside 0..1.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, appendix C and figure 15; 0.01 is the default of its code.

    Examples
    --------
    >>> hidden_TD = torch.full((2, 3), 100.0)
    >>> noisy_TD = jitter(hidden_TD, 0.01, training=True)
    >>> bool(((noisy_TD >= 99) & (noisy_TD <= 101)).all())
    True
    >>> jitter(hidden_TD, 0.01, training=False) is hidden_TD
    True
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}: choose 0 to 1, Switch uses 0.01")
    if not training:
        return hidden_TD
    # bf16 has no number between 1 and 1.0078: noise drawn in it is coarse, and on average below 1.
    wide = torch.promote_types(hidden_TD.dtype, torch.float32)
    noise_TD = torch.empty_like(hidden_TD, dtype=wide).uniform_(1 - epsilon, 1 + epsilon, generator=generator)
    return (hidden_TD * noise_TD).to(hidden_TD.dtype)
