"""Experts averaged into one. Hidden units have no order, so the units of one are first put in the other's."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.adaptation.calibration import layer_inputs
from moe_lessons.adaptation.rebuilding import with_weights
from moe_lessons.experts import swiglu
from moe_lessons.experts.feed_forward import swiglu_activation
from moe_lessons.model import MoETransformer

ALIGNMENTS = ("none", "weights", "activations")
MOST_TOKENS = 2048  # of a layer's input, in comparisons of experts with each other


def align(
    gate_up_a_2FD: Tensor,
    down_a_DF: Tensor,
    gate_up_b_2FD: Tensor,
    down_b_DF: Tensor,
    hidden_TD: Tensor | None = None,
) -> Tensor:
    """Say which hidden unit of expert b belongs to which of expert a.

    Of all permutations the one whose matched units have the largest total inner product: of their gate, up
    and down weights, or of their activations on hidden states if those are given.

    Parameters
    ----------
    gate_up_a_2FD, gate_up_b_2FD : Tensor of shape (2F, D)
        Gate rows first, then up rows.
    down_a_DF, down_b_DF : Tensor of shape (D, F)
    hidden_TD : Tensor of shape (T, D), optional
        Inputs of the layer.

    Returns
    -------
    Tensor of shape (F,), int64
        ``order[i]`` is b's unit for a's unit i.

    Raises
    ------
    ValueError
        If the experts have different shapes.

    References
    ----------
    Ainsworth et al., "Git Re-Basin", arXiv 2209.04836, sections 3.1 (activations) and 3.2 (weights).

    Examples
    --------
    >>> gate_up, down = torch.randn(6, 4), torch.randn(4, 3)
    >>> align(gate_up, down, *permuted(gate_up, down, torch.tensor([2, 0, 1])))
    tensor([1, 2, 0])
    """
    shapes = [tuple(t.shape) for t in (gate_up_a_2FD, down_a_DF, gate_up_b_2FD, down_b_DF)]
    if shapes[:2] != shapes[2:]:
        raise ValueError(f"the experts have shapes {shapes[:2]} and {shapes[2:]}: align experts of one size")
    from scipy.optimize import linear_sum_assignment  # takes a moment to load, and few need it

    if hidden_TD is None:
        gate_a, up_a = gate_up_a_2FD.chunk(2)
        gate_b, up_b = gate_up_b_2FD.chunk(2)
        likeness_FF = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    else:
        units_a_TF, units_b_TF = (
            swiglu_activation(F.linear(hidden_TD, gate_up)) for gate_up in (gate_up_a_2FD, gate_up_b_2FD)
        )
        likeness_FF = units_a_TF.T @ units_b_TF
    _, order = linear_sum_assignment(likeness_FF.detach().double().cpu().numpy(), maximize=True)
    return torch.as_tensor(order, device=down_a_DF.device)


def permuted(gate_up_2FD: Tensor, down_DF: Tensor, order_F: Tensor) -> tuple[Tensor, Tensor]:
    """Put an expert's hidden units in another order; what it computes stays the same.

    Examples
    --------
    >>> gate_up, down, hidden = torch.randn(6, 4), torch.randn(4, 3), torch.randn(5, 4)
    >>> other = permuted(gate_up, down, torch.tensor([2, 0, 1]))
    >>> bool(torch.allclose(swiglu(hidden, *other), swiglu(hidden, gate_up, down), atol=1e-5))
    True
    """
    gate_FD, up_FD = gate_up_2FD.chunk(2)
    return torch.cat([gate_FD[order_F], up_FD[order_F]]), down_DF[:, order_F]


def merged_experts(
    gate_up_E2FD: Tensor,
    down_EDF: Tensor,
    weights_E: Tensor,
    *,
    alignment: str = "weights",
    hidden_TD: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Average experts into one: each with its units in the order of the heaviest, by their weights.

    Parameters
    ----------
    gate_up_E2FD : Tensor of shape (E, 2F, D)
    down_EDF : Tensor of shape (E, D, F)
    weights_E : Tensor of shape (E,)
        How much each counts, such as how many tokens it gets; all 0 counts as equal.
    alignment : str
        "none": unit i with unit i. "weights", "activations": as in `align`.
    hidden_TD : Tensor of shape (T, D), optional
        For "activations".

    Returns
    -------
    gate_up_2FD, down_DF : Tensor

    Raises
    ------
    ValueError
        If `alignment` is unknown, or needs hidden states that are not given.

    Examples
    --------
    >>> gate_up, down = torch.randn(2, 6, 4), torch.randn(2, 4, 3)
    >>> alone = merged_experts(gate_up, down, torch.tensor([0.0, 7.0]))
    >>> bool(torch.equal(alone[0], gate_up[1]))
    True
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"alignment is {alignment!r}: choose one of {', '.join(ALIGNMENTS)}")
    if alignment == "activations" and hidden_TD is None:
        raise ValueError("alignment is 'activations' without hidden_TD: give inputs of the layer")
    shares_E = weights_E.to(gate_up_E2FD)
    total = shares_E.sum()
    shares_E = shares_E / total if total > 0 else torch.full_like(shares_E, 1 / len(shares_E))
    model = int(shares_E.argmax())
    hidden_TD = hidden_TD if alignment == "activations" else None
    gate_up, down = torch.zeros_like(gate_up_E2FD[0]), torch.zeros_like(down_EDF[0])
    for expert, share in enumerate(shares_E):
        mine = gate_up_E2FD[expert], down_EDF[expert]
        if alignment != "none" and expert != model:
            order_F = align(gate_up_E2FD[model], down_EDF[model], *mine, hidden_TD)
            mine = permuted(*mine, order_F)
        gate_up, down = gate_up + share * mine[0], down + share * mine[1]
    return gate_up, down


@torch.no_grad()
def likeness(model: MoETransformer, tokens_BL: Tensor) -> Tensor:
    """Cosine between what any two experts of a layer answer to the same tokens.

    Returns
    -------
    Tensor of shape (layers, E, E)

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8, n_experts=4))
    >>> likeness(model, torch.tensor([[1, 2, 3]])).shape
    torch.Size([2, 4, 4])
    """
    found = []
    for layer, caught in zip(model.moe_layers, layer_inputs(model, tokens_BL), strict=True):
        hidden_TD, bank = caught.hidden_TD[:MOST_TOKENS], layer.experts
        answers = [
            swiglu(hidden_TD, *expert) for expert in zip(bank.gate_up_proj, bank.down_proj, strict=True)
        ]
        unit_EX = F.normalize(torch.stack(answers).flatten(1), dim=1)
        found.append(unit_EX @ unit_EX.T)
    return torch.stack(found)


def grouped(likeness_LEE: Tensor, n_groups: int) -> list[list[list[int]]]:
    """Put like experts into groups: always the two groups next whose members are most alike on average.

    Parameters
    ----------
    likeness_LEE : Tensor of shape (layers, E, E)
    n_groups : int
        Of each layer.

    Returns
    -------
    list of list of list of int
        For each layer, its groups, each in order of the experts' numbers.

    Raises
    ------
    ValueError
        If `n_groups` is not 1 to E.

    Examples
    --------
    >>> alike = torch.eye(3)
    >>> alike[0, 2] = alike[2, 0] = 0.9
    >>> grouped(alike[None], 2)
    [[[0, 2], [1]]]
    """
    n_experts = likeness_LEE.shape[1]
    if not 1 <= n_groups <= n_experts:
        raise ValueError(f"n_groups is {n_groups} with {n_experts} experts: choose 1 to {n_experts}")
    return [_grouped(likeness_EE, n_groups) for likeness_EE in likeness_LEE]


def _grouped(likeness_EE: Tensor, n_groups: int) -> list[list[int]]:
    groups = [[expert] for expert in range(len(likeness_EE))]
    while len(groups) > n_groups:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        i, j = max(pairs, key=lambda pair: likeness_EE[groups[pair[0]]][:, groups[pair[1]]].mean().item())
        groups[i] = sorted(groups[i] + groups.pop(j))
    return groups


@torch.no_grad()
def merge(
    model: MoETransformer,
    groups: Sequence[Sequence[Sequence[int]]],
    weights_LE: Tensor | None = None,
    *,
    alignment: str = "weights",
    tokens_BL: Tensor | None = None,
) -> MoETransformer:
    """Replace the experts of each group by one mean of them.

    The router keeps a row for each of the old experts: whoever chose one gets the mean of its group, and
    whoever chose two of a group gets it with both weights. The mean is written into every member's place, so
    that the model keeps its shape; stored once, it would take a group's place only.

    Parameters
    ----------
    model : MoETransformer
    groups : for each layer, lists of experts
        From `grouped`, or your own: each expert in one of them.
    weights_LE : Tensor of shape (layers, E), optional
        How much each expert counts in the mean, such as `saliency` by "frequency"; equal by default.
    alignment : str
        As in `merged_experts`.
    tokens_BL : Tensor of shape (B, L), int64, optional
        A text, for alignment on activations.

    Returns
    -------
    MoETransformer
        In evaluation mode.

    Raises
    ------
    ValueError
        If the groups do not hold each expert once, or "activations" lacks its text.

    References
    ----------
    Li et al., "Merge, Then Compress" (MC-SMoE), arXiv 2310.01334, which aligns before it merges.

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8, n_experts=4))
    >>> merged = merge(model, [[[0, 3], [1], [2]]])
    >>> bank = merged.moe_layers[0].experts.down_proj
    >>> bool(torch.equal(bank[0], bank[3])), bool(torch.equal(bank[0], bank[1]))
    (True, False)
    """
    config = model.config
    if len(groups) != config.n_moe_layers:
        raise ValueError(f"groups lists {len(groups)} layers: give {config.n_moe_layers}")
    if alignment == "activations" and tokens_BL is None:
        raise ValueError("alignment is 'activations' without tokens_BL: give a text")
    inputs: list[Tensor | None] = [None] * len(groups)
    if alignment == "activations" and tokens_BL is not None:
        inputs = [caught.hidden_TD[:MOST_TOKENS] for caught in layer_inputs(model, tokens_BL)]
    state = dict(model.state_dict())
    layers = list(filter(config.has_experts, range(config.n_layers)))
    for place, layer in enumerate(layers):
        if sorted(expert for group in groups[place] for expert in group) != list(range(config.n_experts)):
            raise ValueError(
                f"groups of layer {place} are {groups[place]}: name each of {config.n_experts} experts once"
            )
        names = [f"blocks.{layer}.moe.experts.{part}" for part in ("gate_up_proj", "down_proj")]
        gate_up, down = (state[name].clone() for name in names)
        for group in map(list, groups[place]):
            weights_E = torch.ones(len(group)) if weights_LE is None else weights_LE[place][group]
            gate_up[group], down[group] = merged_experts(
                gate_up[group], down[group], weights_E, alignment=alignment, hidden_TD=inputs[place]
            )
        state.update(zip(names, (gate_up, down), strict=True))
    return with_weights(config, state)
