"""Experts that do nothing: a token may spend some of its K choices on them, and then costs less.

Shapes: T tokens, E real experts, Z null ones, C = E + Z columns of the router, K choices.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moe_lessons.layer import LayerSpec, MoELayer


class NullChoice(NamedTuple):
    """What `null_experts` decides.

    Attributes
    ----------
    weights_TE : Tensor of shape (T, E)
        Of the real experts; 0 where one was not chosen. Rows sum to 1 less what went to null experts.
    n_real_T : int64 Tensor of shape (T,)
        How many real experts each token uses.
    bias : float
        The null experts' bias after this batch.
    """

    weights_TE: Tensor
    n_real_T: Tensor
    bias: float


def null_experts(
    logits_TC: Tensor, null_bias: float, n_real: int, top_k: int, target: float, rate: float
) -> NullChoice:
    """Choose K of E real and Z null experts, and move the bias that holds the mean number of real ones.

    The bias is added to the null experts' *scores* (softmax over all C) for the choice, and to nothing else.
    Weights are the chosen scores without it, divided by the sum of all K. If tokens used more real experts
    than `target` on average, null ones become a step of `rate` cheaper, and the other way round.

    Parameters
    ----------
    logits_TC : Tensor of shape (T, E + Z)
        The null experts' columns are the last ones.
    null_bias : float
    n_real : int
        E.
    top_k : int
    target : float
        Real experts a token, on average.
    rate : float

    Returns
    -------
    NullChoice

    Raises
    ------
    ValueError
        If `n_real` leaves no null expert, K is out of range, or the target is more than K.

    References
    ----------
    Jin et al., "MoE++", arXiv:2410.07348, section 3.1; the bias: LongCat-Flash, arXiv:2509.01322, section 2.

    Examples
    --------
    >>> logits_TC = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])  # two real experts, one null
    >>> choice = null_experts(logits_TC, 0.0, n_real=2, top_k=1, target=1.0, rate=0.01)
    >>> choice.n_real_T.tolist(), choice.bias  # too few real ones: the null one loses a step
    ([1, 0], -0.01)
    """
    n_columns = logits_TC.shape[1]
    if not 1 <= n_real < n_columns:
        raise ValueError(f"n_real is {n_real} with {n_columns} columns: choose 1 to {n_columns - 1}")
    if not 1 <= top_k <= n_columns:
        raise ValueError(f"top_k is {top_k} with {n_columns} experts: choose 1 to {n_columns}")
    if not 0 <= target <= top_k:
        raise ValueError(f"target is {target}: choose 0 to top_k={top_k}")
    scores_TC = logits_TC.softmax(-1)
    steered_TC = torch.cat([scores_TC[:, :n_real], scores_TC[:, n_real:] + null_bias], dim=1)
    ids_TK = steered_TC.topk(top_k).indices
    weights_TK = scores_TC.gather(1, ids_TK)
    weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True)
    weights_TC = torch.zeros_like(scores_TC).scatter(1, ids_TK, weights_TK)
    n_real_T = (ids_TK < n_real).sum(-1)
    return NullChoice(weights_TC[:, :n_real], n_real_T, stepped(null_bias, n_real_T, target, rate))


def stepped(null_bias: float, n_real_T: Tensor, target: float, rate: float) -> float:
    """Return the bias after a step of `rate` up if too many real experts were used, down if too few.

    Examples
    --------
    >>> stepped(0.0, torch.tensor([2, 2, 1]), target=1.0, rate=0.5)
    0.5
    """
    over = float(n_real_T.double().mean()) - target
    return null_bias + rate * ((over > 0) - (over < 0))


def null_experts_loop(
    logits_TC: Tensor, null_bias: float, n_real: int, top_k: int, target: float, rate: float
) -> NullChoice:
    """Compute what `null_experts` does, token by token.

    Examples
    --------
    >>> null_experts_loop(torch.tensor([[2.0, 0.0, 1.0]]), 0.0, 2, 1, 0.5, 0.01).bias
    0.01
    """
    weights_TE, n_real_T = torch.zeros(len(logits_TC), n_real), []
    for t, scores in enumerate(logits_TC.softmax(-1).tolist()):
        steered = [score + null_bias * (c >= n_real) for c, score in enumerate(scores)]
        chosen = sorted(range(len(scores)), key=lambda c: -steered[c])[:top_k]
        real = [c for c in chosen if c < n_real]
        for c in real:
            weights_TE[t, c] = scores[c] / sum(scores[c] for c in chosen)
        n_real_T.append(len(real))
    counts_T = torch.tensor(n_real_T)
    return NullChoice(weights_TE, counts_T, stepped(null_bias, counts_T, target, rate))


class NullExperts(nn.Module):
    """A MoE layer with null experts beside the real ones, held at a mean number of real ones by a bias.

    Parameters
    ----------
    d_model, d_expert, n_experts, n_null, top_k : int
        D, F, E, Z and K.
    target : float
        Real experts a token, on average.
    rate : float
        How far the bias moves after a batch of training.

    Attributes
    ----------
    n_real_T : int64 Tensor
        How many real experts each token of the last call used.

    Examples
    --------
    >>> layer = NullExperts(8, 4, n_experts=4, n_null=4, top_k=2, target=1.0)
    >>> hidden, loss = layer(torch.randn(1, 6, 8))
    >>> hidden.shape, len(layer.n_real_T)
    (torch.Size([1, 6, 8]), 6)
    """

    def __init__(
        self,
        d_model: int,
        d_expert: int,
        n_experts: int,
        n_null: int,
        top_k: int,
        target: float,
        rate: float = 0.005,
    ) -> None:
        super().__init__()
        self.layer = MoELayer.of(
            LayerSpec(
                d_model,
                d_expert,
                n_experts,
                top_k,
                gate="softmax_topk_renorm",
                expert_bias=True,
                n_null_experts=n_null,
                null="zero",
            )
        )
        self.target, self.rate = target, rate
        self.n_real_T = torch.zeros(0, dtype=torch.int64)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output for (..., D), and a hundredth of the real experts' balancing loss."""
        output, n_experts = self.layer(hidden), self.layer.spec.n_experts
        logits_TC, ids_TK, _ = output.routing
        self.n_real_T = (ids_TK < n_experts).sum(-1)
        bias_C = self.layer.router.expert_bias_E
        if self.training and bias_C is not None:
            with torch.no_grad():
                before = float(bias_C[-1])
                bias_C[n_experts:] = stepped(before, self.n_real_T, self.target, self.rate)
        # The real experts are balanced among themselves: how often null ones are taken is the bias's affair.
        load_E = ids_TK.flatten().bincount(minlength=logits_TC.shape[1])[:n_experts].to(logits_TC.dtype)
        mean_E = logits_TC.softmax(-1)[:, :n_experts].mean(0)
        shares_E = load_E / load_E.sum().clamp_min(1)
        return output.hidden, 0.01 * n_experts * (shares_E * mean_E / mean_E.sum()).sum()
