"""Two passes over one text compared: which tokens went to other experts, and what became of probabilities."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing import Routing


def changed_sets(routings: Sequence[Routing], others: Sequence[Routing]) -> Tensor:
    """Mark the tokens whose set of experts differs, layer by layer; their order does not matter.

    Returns
    -------
    Tensor of shape (layers, T), bool

    Raises
    ------
    ValueError
        If layers or tokens differ in number.

    Examples
    --------
    >>> first = Routing(torch.zeros(2, 3), torch.tensor([[0, 1], [0, 2]]), torch.ones(2, 2))
    >>> changed_sets([first], [first._replace(topk_ids_TK=torch.tensor([[1, 0], [0, 1]]))])
    tensor([[False,  True]])
    """
    shapes = [[tuple(one.topk_ids_TK.shape) for one in each] for each in (routings, others)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"routings have shapes {shapes[0]} and {shapes[1]}: compare them on the same tokens")
    pairs = zip(routings, others, strict=True)
    return torch.stack(
        [(one.topk_ids_TK.sort(1).values != two.topk_ids_TK.sort(1).values).any(1) for one, two in pairs]
    )


def slip_sizes(logits_TE: Tensor, noise_TE: Tensor, top_k: int) -> Tensor:
    """Return by how much a noise must be multiplied, to change a token's set of experts.

    Whatever exceeds a token's size changes its set, and nothing below it does: to change places with a chosen
    expert, another one needs their difference of logits from the difference of their noise.

    Parameters
    ----------
    logits_TE, noise_TE : Tensor of shape (T, E)
        What is chosen by, and what is added to it, times a size.
    top_k : int

    Returns
    -------
    Tensor of shape (T,)
        Infinity where the noise moves no two experts towards each other.

    Raises
    ------
    ValueError
        If the shapes differ, or `top_k` leaves no expert out.

    Examples
    --------
    >>> slip_sizes(torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor([[0.0, 4.0], [1.0, 0.0]]), top_k=1)
    tensor([0.5000,    inf])
    """
    if logits_TE.shape != noise_TE.shape:
        shapes = f"{tuple(logits_TE.shape)} and {tuple(noise_TE.shape)}"
        raise ValueError(f"logits_TE and noise_TE have shapes {shapes}: give one noise for each logit")
    if not 0 < top_k < logits_TE.shape[1]:
        raise ValueError(f"top_k is {top_k} with {logits_TE.shape[1]} experts: leave some of them out")
    order_TE = logits_TE.argsort(dim=1, descending=True, stable=True)
    logits_TE, noise_TE = logits_TE.gather(1, order_TE), noise_TE.gather(1, order_TE)
    ahead_TKR = logits_TE[:, :top_k, None] - logits_TE[:, None, top_k:]
    closer_TKR = noise_TE[:, None, top_k:] - noise_TE[:, :top_k, None]
    return torch.where(closer_TKR > 0, ahead_TKR / closer_TKR, torch.inf).flatten(1).amin(dim=1)


class Mismatch(NamedTuple):
    """How far the probabilities of a training pass are from those that sampled.

    Attributes
    ----------
    kl : float
        Of rollout to training pass, mean over positions, in nats.
    log_ratio_99 : float
        99 % of the sampled tokens have an absolute log ratio below this.
    log_ratio_max : float
    outside : float
        Share of the sampled tokens whose ratio is outside [0.8, 1.2].
    """

    kl: float
    log_ratio_99: float
    log_ratio_max: float
    outside: float


@torch.no_grad()
def mismatch(rollout_BLV: Tensor, training_BLV: Tensor, tokens_BL: Tensor, clip: float = 0.2) -> Mismatch:
    """Compare the probabilities of two passes over one text.

    Parameters
    ----------
    rollout_BLV, training_BLV : Tensor of shape (B, L, V)
        Logits.
    tokens_BL : Tensor of shape (B, L)
        The text: position l predicts token l + 1.
    clip : float
        Half width of the range around 1 that counts as inside.

    Examples
    --------
    >>> logits = torch.zeros(1, 3, 4)
    >>> mismatch(logits, logits, torch.tensor([[0, 1, 2]]))
    Mismatch(kl=0.0, log_ratio_99=0.0, log_ratio_max=0.0, outside=0.0)
    """
    rollout_BLV, training_BLV = (
        logits[:, :-1].double().log_softmax(dim=-1) for logits in (rollout_BLV, training_BLV)
    )
    kl_BL = (rollout_BLV.exp() * (rollout_BLV - training_BLV)).sum(dim=-1)
    ratio_BLV = training_BLV - rollout_BLV
    sampled = ratio_BLV.gather(-1, tokens_BL[:, 1:, None])[..., 0].flatten()
    size = sampled.abs()
    outside = (sampled.exp() - 1).abs() > clip
    return Mismatch(
        kl_BL.mean().item(), size.quantile(0.99).item(), size.max().item(), outside.double().mean().item()
    )


def moved_choices(routings: Sequence[Routing], others: Sequence[Routing]) -> Tensor:
    """Share of the choices in `routings` that are not among a token's experts in `others`, by layer.

    Returns
    -------
    Tensor of shape (layers,), float64

    Examples
    --------
    >>> first = Routing(torch.zeros(2, 3), torch.tensor([[0, 1], [0, 2]]), torch.ones(2, 2))
    >>> moved_choices([first], [first._replace(topk_ids_TK=torch.tensor([[1, 0], [0, 1]]))])
    tensor([0.2500], dtype=torch.float64)
    """
    shares = []
    for one, other in zip(routings, others, strict=True):
        kept_TK = (one.topk_ids_TK.unsqueeze(2) == other.topk_ids_TK.unsqueeze(1)).any(dim=2)
        shares.append(1 - kept_TK.double().mean())
    return torch.stack(shares)
