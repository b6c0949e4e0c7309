"""A dense model becomes one with experts: copies of its feed-forward networks, whole or cut into slices."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from moe_lessons.adaptation.rebuilding import with_weights
from moe_lessons.config import ModelConfig
from moe_lessons.experts.cutting import Cut, split_experts
from moe_lessons.model import MoETransformer

ROUTERS = ("random", "zero", "free")
ROUTER_STD = 0.02
BANK = ("gate_up_proj", "down_proj")


def upcycled_bank(
    gate_up_2FD: Tensor,
    down_DF: Tensor,
    n_experts: int,
    *,
    granularity: int = 1,
    noise: float = 0.0,
    router: str = "random",
    router_std: float = ROUTER_STD,
    generator: torch.Generator | None = None,
) -> Cut:
    """Turn one feed-forward network into a bank of experts with a router.

    There are E / G copies of G slices each. The slices of a copy share their router row, so that a token
    that chooses one chooses all of them: a virtual group.

    Parameters
    ----------
    gate_up_2FD : Tensor of shape (2F, D)
        Gate rows first, then up rows.
    down_DF : Tensor of shape (D, F)
    n_experts : int
        E, a multiple of `granularity`.
    granularity : int
        G, a divisor of F; 1 for whole copies.
    noise : float
        Normal noise on the experts' weights, in units of their standard deviation.
    router : str
        "random": a normal row for each copy. "zero": no copy is better than another, at first for all tokens
        alike. "free": a row for each slice, which tears the groups apart if G > 1.
    router_std : float
        Standard deviation of the router's rows.
    generator : torch.Generator, optional

    Returns
    -------
    Cut
        Bank, router and the factor G that weights which sum to 1 have to be multiplied by.

    Raises
    ------
    ValueError
        If sizes do not fit together, `router` is unknown, or `noise` is below 0.

    References
    ----------
    Komatsuzaki et al., "Sparse Upcycling", arXiv 2212.05055; virtual groups: He et al., arXiv 2410.07524.

    Examples
    --------
    >>> bank = upcycled_bank(torch.randn(8, 3), torch.randn(3, 4), 6, granularity=2)
    >>> bank.gate_up_proj.shape, bank.router_ED.shape, bank.factor
    (torch.Size([6, 4, 3]), torch.Size([6, 3]), 2.0)
    >>> bool((bank.router_ED[0] == bank.router_ED[1]).all())  # two slices of one copy
    True
    """
    check_upcycling(n_experts, granularity, noise, router)
    rows = n_experts if router == "free" else n_experts // granularity
    rows_RD = torch.zeros(rows, gate_up_2FD.shape[1])
    if router != "zero":
        rows_RD.normal_(std=router_std, generator=generator)
    rows_RD = rows_RD.to(gate_up_2FD.device)
    n_copies = n_experts // granularity
    bank = split_experts(
        gate_up_2FD.expand(n_copies, -1, -1).contiguous(),
        down_DF.expand(n_copies, -1, -1).contiguous(),
        rows_RD[:n_copies],
        granularity,
    )
    if router == "free":
        bank = bank._replace(router_ED=rows_RD)
    return bank._replace(
        gate_up_proj=noisy(bank.gate_up_proj, noise, generator),
        down_proj=noisy(bank.down_proj, noise, generator),
    )


def noisy(weight: Tensor, noise: float, generator: torch.Generator | None = None) -> Tensor:
    """Add normal noise, measured in the weight's own standard deviation.

    Examples
    --------
    >>> weight = torch.tensor([1.0, -1.0])
    >>> noisy(weight, 0.0) is weight
    True
    """
    if not noise:
        return weight
    drawn = torch.randn(weight.shape, generator=generator).to(weight)
    return weight + noise * weight.float().std(correction=0).to(weight.dtype) * drawn


def check_upcycling(n_experts: int, granularity: int, noise: float, router: str) -> None:
    """Refuse settings that make no bank.

    Examples
    --------
    >>> check_upcycling(7, 2, 0.0, "random")
    Traceback (most recent call last):
    ValueError: n_experts is 7: choose a multiple of granularity=2, such as 8
    """
    if granularity < 1:
        raise ValueError(f"granularity is {granularity}: choose 1 or more")
    if n_experts < 1 or n_experts % granularity:
        such = max(1, -(-n_experts // granularity)) * granularity
        raise ValueError(
            f"n_experts is {n_experts}: choose a multiple of granularity={granularity}, such as {such}"
        )
    if router not in ROUTERS:
        raise ValueError(f"router is {router!r}: choose one of {', '.join(ROUTERS)}")
    if router == "zero" and granularity > 1:
        raise ValueError(
            "router is 'zero' with slices: which of them a token gets would be left to ties, choose 'random'"
        )
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise is {noise}: choose 0 or more")


def check_top_k(top_k: int, n_experts: int, granularity: int) -> None:
    """Refuse a K with which a token would get parts of a copy.

    Examples
    --------
    >>> check_top_k(3, 8, 2)
    Traceback (most recent call last):
    ValueError: top_k is 3: choose a multiple of granularity=2, so that a token gets all slices of a copy
    """
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k is {top_k}: choose 1 to n_experts={n_experts}")
    if top_k % granularity:
        raise ValueError(
            f"top_k is {top_k}: choose a multiple of granularity={granularity}, "
            "so that a token gets all slices of a copy"
        )


def upcycle(
    dense: MoETransformer,
    n_experts: int,
    *,
    top_k: int = 2,
    granularity: int = 1,
    noise: float = 0.0,
    router: str = "random",
    router_std: float = ROUTER_STD,
    gate: str = "topk_softmax",
    generator: torch.Generator | None = None,
) -> MoETransformer:
    """Make a Mixture-of-Experts out of a dense model; without noise its logits are the dense model's.

    Exact as long as the experts are alike and the gate's weights sum to 1: then it does not matter who is
    chosen. It follows that the task's loss gives the router no gradient at first; the experts part because
    they see different tokens.

    Parameters
    ----------
    dense : MoETransformer
        With ``n_experts=1``: one feed-forward network in each layer.
    n_experts, top_k : int
        E and K of the new model, counted in slices: with G slices a copy, a token gets K / G copies.
    granularity, noise, router, router_std
        As in `upcycled_bank`.
    gate : str
        Of the new model. One whose weights do not sum to 1, such as "softmax_topk", changes the function.
    generator : torch.Generator, optional

    Returns
    -------
    MoETransformer
        In evaluation mode. Its ``routed_scale`` is G times the dense model's.

    Raises
    ------
    ValueError
        If the model is not dense, or the sizes do not fit together.

    References
    ----------
    Komatsuzaki et al., "Sparse Upcycling", arXiv 2212.05055; virtual groups: He et al., arXiv 2410.07524.

    Examples
    --------
    >>> from moe_lessons.adaptation.rebuilding import logit_gap
    >>> config = ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, n_experts=1, top_k=1)
    >>> dense = MoETransformer(config)
    >>> sparse = upcycle(dense, 8, top_k=4, granularity=2)
    >>> sparse.config.n_experts, sparse.config.d_expert, sparse.config.routed_scale
    (8, 4, 2.0)
    >>> logit_gap(dense, sparse, torch.tensor([[77, 111, 69]])) < 1e-5
    True
    """
    old = dense.config
    if old.n_experts != 1 or old.gate == "topk_sigmoid":
        what = f"n_experts={old.n_experts}" if old.n_experts != 1 else f"gate={old.gate!r}"
        raise ValueError(f"dense has {what}: give a model with n_experts=1 whose one expert has weight 1")
    check_upcycling(n_experts, granularity, noise, router)
    check_top_k(top_k, n_experts, granularity)
    config = replace(
        old,
        n_experts=n_experts,
        top_k=top_k,
        d_expert=_sliced(old.d_expert, granularity),
        gate=gate,
        routed_scale=old.routed_scale * granularity,
        d_dense=old.d_feed_forward,  # layers that are to stay dense keep their width
        n_shared_experts=old.n_shared_experts * granularity,
    )
    bank = partial(
        upcycled_bank,
        n_experts=n_experts,
        granularity=granularity,
        noise=noise,
        router=router,
        router_std=router_std,
        generator=generator,
    )

    return with_weights(config, _upcycled(dense.state_dict(), old, bank))


def _sliced(d_expert: int, granularity: int) -> int:
    if d_expert % granularity:
        raise ValueError(f"granularity is {granularity}: choose a divisor of d_expert={d_expert}")
    return d_expert // granularity


def _upcycled(
    state: Mapping[str, Tensor], config: ModelConfig, bank: Callable[[Tensor, Tensor], Cut]
) -> dict[str, Tensor]:
    new = dict(state)
    for layer in filter(config.has_experts, range(config.n_layers)):
        moe = f"blocks.{layer}.moe."
        gate_up, down = (state[f"{moe}experts.{name}"][0] for name in BANK)
        made = bank(gate_up, down)
        new[f"{moe}experts.gate_up_proj"], new[f"{moe}experts.down_proj"] = made.gate_up_proj, made.down_proj
        new[f"{moe}router.weight"] = made.router_ED
        bias = f"{moe}router.expert_bias_E"
        if bias in state:
            new[bias] = state[bias].expand(len(made.router_ED))
    return new


def fold_scale(model: MoETransformer) -> MoETransformer:
    """Move `routed_scale` into the experts' last matrix, for a format that has no such factor.

    Examples
    --------
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8, routed_scale=2.0)
    >>> model = MoETransformer(config)
    >>> folded = fold_scale(model)
    >>> folded.config.routed_scale, bool(torch.equal(folded(torch.tensor([[5]])).logits_BLV.round(decimals=4),
    ...     model(torch.tensor([[5]])).logits_BLV.round(decimals=4)))
    (1.0, True)
    """
    scale = model.config.routed_scale
    state = {
        name: tensor * scale if name.endswith("moe.experts.down_proj") else tensor
        for name, tensor in model.state_dict().items()
    }
    return with_weights(replace(model.config, routed_scale=1.0), state)
