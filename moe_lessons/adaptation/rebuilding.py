"""A model of other sizes around weights that are there already, and what two models make of one text."""

from collections.abc import Mapping

import torch
from torch import Tensor

from moe_lessons.config import ModelConfig
from moe_lessons.interop.names import skeleton
from moe_lessons.model import MoETransformer
from moe_lessons.model.attention import rotary_tables


def with_weights(config: ModelConfig, state: Mapping[str, Tensor]) -> MoETransformer:
    """Build a model around copies of weights; no random number is drawn.

    Parameters
    ----------
    config : ModelConfig
    state : dict of str to Tensor
        A tensor for each name of the model's `state_dict`, all on one device.

    Returns
    -------
    MoETransformer
        In evaluation mode, where the weights are.

    Raises
    ------
    RuntimeError
        If a name or a shape does not fit.

    Examples
    --------
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8)
    >>> model = MoETransformer(config)
    >>> copy = with_weights(config, model.state_dict())
    >>> bool(torch.equal(copy.head.weight, model.head.weight)), copy.head.weight is model.head.weight
    (True, False)
    """
    model = skeleton(config)
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    model.load_state_dict(copies, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    cos_LP, sin_LP = rotary_tables(config.context_length, config.d_head, config.rope_theta)
    like = model.embedding.weight
    model.cos_LP, model.sin_LP = cos_LP.to(like), sin_LP.to(like)
    return model.eval()


@torch.no_grad()
def logit_gap(model: MoETransformer, other: MoETransformer, tokens_BL: Tensor) -> float:
    """Return the largest difference between two models' logits on a text.

    Parameters
    ----------
    model, other : MoETransformer
    tokens_BL : Tensor of shape (B, L), int64

    Examples
    --------
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8))
    >>> logit_gap(model, model, torch.tensor([[1, 2, 3]]))
    0.0
    """
    gap_BLV = model(tokens_BL).logits_BLV.double() - other(tokens_BL).logits_BLV.double()
    return gap_BLV.abs().max().item()
