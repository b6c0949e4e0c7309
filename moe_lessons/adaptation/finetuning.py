"""Training on from weights that are there: on another text, with parts frozen, and what that moves."""

from dataclasses import replace

import torch
from torch import Tensor

from moe_lessons.adaptation.comparing import moved_choices
from moe_lessons.adaptation.freezing import frozen
from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus
from moe_lessons.model import MoETransformer
from moe_lessons.steps import each
from moe_lessons.training.run import Run


def fine_tune(
    model: MoETransformer, corpus: Corpus, config: TrainConfig, *, plan: str = "all"
) -> MoETransformer:
    """Train a copy of a model on a corpus; the model itself stays as it is.

    Parameters
    ----------
    model : MoETransformer
    corpus : Corpus
    config : TrainConfig
        Steps, rates, balancing and its weight; the sizes of the model are the model's own.
    plan : str
        A key of `moe_lessons.adaptation.PLANS`: what is trained.

    Returns
    -------
    MoETransformer
        In evaluation mode.

    Raises
    ------
    ValueError
        If the plan is unknown or finds nothing to freeze, or the settings do not fit the model.
    TrainingDiverged
        If a step's numbers are not finite.

    Examples
    --------
    >>> from moe_lessons.inspect.learning import SMALL, three_kinds
    >>> model = MoETransformer(SMALL.model)
    >>> config = SMALL.override(steps=1, batch_size=1)
    >>> tuned = fine_tune(model, three_kinds().corpus, config, plan="only router")
    >>> bool(torch.equal(tuned.head.weight, model.head.weight))
    True
    """
    settings = replace(config, model=model.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        device = model.embedding.weight.device
        run = Run(settings, corpus, device, fill=lambda fresh: _filled(fresh, model))
        run.model.train()
        with frozen(run.model, plan):
            for _ in each(range(settings.steps), "step"):
                run.advance()
    return run.model.eval()


def _filled(fresh: MoETransformer, model: MoETransformer) -> None:
    fresh.load_state_dict(model.state_dict())


@torch.no_grad()
def routing_drift(model: MoETransformer, tuned: MoETransformer, tokens_BL: Tensor) -> Tensor:
    """Share of the (token, slot) choices that another training changed, layer by layer.

    A choice counts as kept if the expert is still among the token's K, in whatever place.

    Returns
    -------
    Tensor of shape (layers,), float64

    Examples
    --------
    >>> from moe_lessons.model import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8))
    >>> routing_drift(model, model, torch.tensor([[1, 2, 3]]))
    tensor([0., 0.], dtype=torch.float64)
    """
    return moved_choices(model(tokens_BL).routings, tuned(tokens_BL).routings)
