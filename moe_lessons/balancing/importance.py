"""The two losses of the 2017 layer: CV² of the experts' importance, and CV² of their expected load."""

import torch
from torch import Tensor

from moe_lessons.balancing.groups import without_padding
from moe_lessons.routing.base import check_ids, checked_logits


def cv_squared(values_E: Tensor) -> Tensor:
    """Squared coefficient of variation: the variance (dividing by E) over the squared mean; 0 for zeros.

    tensor2tensor divides by E too; many ports to PyTorch call `var()`, which divides by E - 1.

    Parameters
    ----------
    values_E : Tensor of shape (E,)

    Examples
    --------
    >>> cv_squared(torch.tensor([3.0, 1.0]))  # (1 / 2)²
    tensor(0.2500)
    """
    values_E = values_E.to(torch.promote_types(values_E.dtype, torch.float32))
    mean = values_E.mean()
    square = torch.where(mean == 0, 1, mean.square())
    return values_E.var(correction=0) / square


def importance_loss(
    topk_weights_TK: Tensor, topk_ids_TK: Tensor, n_experts: int, *, mask_T: Tensor | None = None
) -> Tensor:
    """CV² of the importance: each expert's sum of gate weights over the tokens.

    It evens out the sums of weights, not the numbers of tokens: one token of weight 1 balances ten of 0.1.

    Parameters
    ----------
    topk_weights_TK : Tensor of shape (T, K)
    topk_ids_TK : integer Tensor of shape (T, K)
    n_experts : int
        E.
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens.

    Returns
    -------
    Tensor, scalar
        Without its weight; 0 when there is no token to count or one expert only.

    Raises
    ------
    ValueError
        If the shapes do not fit together, an id is outside 0..E-1 or a weight is NaN (seen on CPU only).

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 6-7.

    Examples
    --------
    >>> importance_loss(torch.tensor([[0.75, 0.25]]), torch.tensor([[1, 0]]), 2)  # (1/4 / 1/2)²
    tensor(0.2500)
    """
    if topk_weights_TK.shape != topk_ids_TK.shape or topk_ids_TK.dim() != 2:
        raise ValueError(
            f"topk_weights_TK has shape {tuple(topk_weights_TK.shape)}, topk_ids_TK "
            f"{tuple(topk_ids_TK.shape)}: give both as (T, K)"
        )
    weights_TK = topk_weights_TK.to(torch.promote_types(topk_weights_TK.dtype, torch.float32))
    if weights_TK.device.type == "cpu" and bool(weights_TK.isnan().any()):
        raise ValueError(
            "topk_weights_TK holds NaN: look for a diverged loss or bad inputs before the router"
        )
    check_ids(topk_ids_TK, n_experts)
    weights_TK = without_padding(weights_TK, mask_T)
    zeros_E = weights_TK.new_zeros(n_experts)
    return cv_squared(zeros_E.scatter_add(0, topk_ids_TK.reshape(-1).long(), weights_TK.reshape(-1)))


def selection_probability(
    logits_TE: Tensor, noisy_logits_TE: Tensor, noise_std_TE: Tensor, top_k: int
) -> Tensor:
    """Probability that an expert is among a token's top k if its own noise is drawn once more.

    The other experts' noise stays. The count of tokens has no gradient; the sum of these probabilities does.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
        Without noise.
    noisy_logits_TE : Tensor of shape (T, E)
        With the noise that routed these tokens.
    noise_std_TE : Tensor of shape (T, E), positive
        Its standard deviation; anything that broadcasts to (T, E).
    top_k : int, 1 to E

    Returns
    -------
    Tensor of shape (T, E)

    Raises
    ------
    ValueError
        If shapes differ, `top_k` is outside 1..E, logits hold NaN or a deviation is not positive (these two
        are looked for on CPU only).

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 8-9.

    Examples
    --------
    >>> logits_TE = torch.tensor([[0.0, 1.0]])  # expert 0 drew no noise and must beat 1, one deviation up
    >>> selection_probability(logits_TE, logits_TE, torch.tensor([[1.0, 1.0]]), 1)  # Phi(-1), Phi(1)
    tensor([[0.1587, 0.8413]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    noisy_logits_TE = checked_logits(noisy_logits_TE, top_k, "noisy_logits_TE")
    if logits_TE.shape != noisy_logits_TE.shape:
        raise ValueError(
            f"noisy_logits_TE has shape {tuple(noisy_logits_TE.shape)}: give that of logits_TE, "
            f"{tuple(logits_TE.shape)}"
        )
    if noise_std_TE.device.type == "cpu" and not bool((noise_std_TE > 0).all()):
        raise ValueError(f"noise_std_TE goes down to {float(noise_std_TE.min())}: give positive deviations")
    if top_k == logits_TE.shape[1]:
        return torch.ones_like(logits_TE)
    highest = noisy_logits_TE.topk(top_k + 1, dim=-1).values
    in_T1, next_T1 = highest[:, top_k - 1 : top_k], highest[:, top_k:]
    # The k-th highest of the *others*: for one that is in, that is the first one outside.
    threshold_TE = torch.where(noisy_logits_TE > next_T1, next_T1, in_T1)
    return torch.special.ndtr((logits_TE - threshold_TE) / noise_std_TE)


def load_loss(
    logits_TE: Tensor,
    noisy_logits_TE: Tensor,
    noise_std_TE: Tensor,
    top_k: int,
    *,
    mask_T: Tensor | None = None,
) -> Tensor:
    """CV² of the expected load: each expert's sum of `selection_probability` over the tokens.

    Parameters, errors and source are those of `selection_probability`.

    Parameters
    ----------
    logits_TE, noisy_logits_TE, noise_std_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens.

    Returns
    -------
    Tensor, scalar
        Without its weight; 0 when there is no token to count or K = E.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 10-11.

    Examples
    --------
    >>> logits_TE = torch.tensor([[0.0, 1.0]])
    >>> load_loss(logits_TE, logits_TE, torch.tensor(1.0), 1).sqrt()  # (0.8413 - 0.1587) / 2 over 1/2
    tensor(0.6827)
    """
    chances_TE = selection_probability(logits_TE, noisy_logits_TE, noise_std_TE, top_k)
    return cv_squared(without_padding(chances_TE, mask_T).sum(dim=0))
