"""Cut each SwiGLU expert into slices that together compute what it did, and put slices together again."""

from typing import NamedTuple

import torch
from torch import Tensor


class Cut(NamedTuple):
    """All slices: gate_up_proj (EG, 2F/G, D), down_proj (EG, D, F/G), router_ED (EG, D), and a factor."""

    gate_up_proj: Tensor
    down_proj: Tensor
    router_ED: Tensor
    factor: float


def split_experts(gate_up_proj: Tensor, down_proj: Tensor, router_ED: Tensor, granularity: int) -> Cut:
    """Cut each expert along its hidden units into G slices that share one router row.

    An expert is a sum over its hidden units, so its slices add up to it. All slices of an expert have one
    logit: top-GK takes all of those of the former top-K. A gate whose weights sum to 1 gives each slice a
    G-th of its expert's weight, and `factor` makes up for that. Where each weight stands by itself, as with
    a sigmoid that is not renormalised, the factor is not needed.

    Parameters
    ----------
    gate_up_proj : Tensor of shape (E, 2F, D)
        Gate rows first, then up rows.
    down_proj : Tensor of shape (E, D, F)
    router_ED : Tensor of shape (E, D)
        The router's width may be another than the experts' (latent experts).
    granularity : int
        G, a divisor of F.

    Returns
    -------
    Cut
        Slice s of expert e is number e G + s.

    Raises
    ------
    ValueError
        If G does not divide F, or the shapes do not fit together.

    References
    ----------
    DeepSeekMoE, arXiv 2401.06066, section 3.1 (fine-grained segmentation).

    Examples
    --------
    >>> gate_up_proj = torch.tensor([[[1.0], [2.0], [30.0], [40.0]]])  # gate 1, 2 and up 30, 40
    >>> cut = split_experts(gate_up_proj, torch.ones(1, 1, 2), torch.ones(1, 1), 2)
    >>> cut.gate_up_proj.squeeze(-1), cut.factor
    (tensor([[ 1., 30.],
            [ 2., 40.]]), 2.0)
    """
    n_experts, n_rows, d_model = gate_up_proj.shape
    d_expert = n_rows // 2
    if down_proj.shape != (n_experts, d_model, d_expert) or len(router_ED) != n_experts:
        raise ValueError(
            f"down_proj has shape {tuple(down_proj.shape)} and router_ED {len(router_ED)} rows: with "
            f"gate_up_proj of shape {tuple(gate_up_proj.shape)} give {(n_experts, d_model, d_expert)} and "
            f"{n_experts}"
        )
    if granularity < 1 or d_expert % granularity:
        divisors = [g for g in range(2, d_expert + 1) if d_expert % g == 0]
        such = f", such as {divisors[0]}" if divisors else ""
        raise ValueError(f"granularity is {granularity}: choose a divisor of d_expert={d_expert}{such}")
    # Gate and up are cut apart first: a slice needs the same units of both.
    units = gate_up_proj.view(n_experts, 2, granularity, d_expert // granularity, d_model)
    slices = units.transpose(1, 2).reshape(n_experts * granularity, n_rows // granularity, d_model)
    down = down_proj.unflatten(2, (granularity, -1)).transpose(1, 2).flatten(0, 1)
    return Cut(slices, down, router_ED.repeat_interleave(granularity, dim=0), float(granularity))


def merge_slices(
    gate_up_proj: Tensor, down_proj: Tensor, router_ED: Tensor, granularity: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Put every G neighbours together to one expert: what `split_experts` undoes.

    Raises
    ------
    ValueError
        If G does not divide the number of slices, or neighbours differ in their router rows.

    Examples
    --------
    >>> whole = torch.randn(2, 8, 3), torch.randn(2, 3, 4), torch.randn(2, 3)
    >>> parts = merge_slices(*split_experts(*whole, 4)[:3], 4)
    >>> all(torch.equal(*pair) for pair in zip(parts, whole, strict=True))
    True
    """
    n_slices, n_rows, d_model = gate_up_proj.shape
    if granularity < 1 or n_slices % granularity:
        raise ValueError(f"granularity is {granularity}: choose a divisor of the {n_slices} slices")
    rows_EGD = router_ED.unflatten(0, (-1, granularity))
    if not torch.equal(rows_EGD, rows_EGD[:, :1].expand_as(rows_EGD)):
        raise ValueError("router_ED differs between slices of an expert: they can no longer be one expert")
    n_experts = n_slices // granularity
    units = gate_up_proj.view(n_experts, granularity, 2, n_rows // 2, d_model).transpose(1, 2)
    down = down_proj.unflatten(0, (-1, granularity)).transpose(1, 2).flatten(2)
    return units.reshape(n_experts, granularity * n_rows, d_model), down, rows_EGD[:, 0]
