"""A small dense model learns from a Mixture-of-Experts: from its weights, and from what it predicts."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus, training_batch
from moe_lessons.model import MoETransformer
from moe_lessons.steps import each
from moe_lessons.training.objective import make_optimizer
from moe_lessons.training.schedule import learning_rate_at


def student(
    teacher: MoETransformer,
    d_expert: int | None = None,
    *,
    inherit: bool = True,
    generator: torch.Generator | None = None,
) -> MoETransformer:
    """Make a dense model of a teacher's shape; what is not an expert it can have from the teacher.

    Parameters
    ----------
    teacher : MoETransformer
    d_expert : int, optional
        Hidden width of its feed-forward networks; by default as many weights as a token meets in the teacher.
    inherit : bool
        Whether attention, norms and embeddings start as the teacher's. The feed-forward networks are drawn.
    generator : torch.Generator, optional

    Returns
    -------
    MoETransformer
        With ``n_experts=1``.

    References
    ----------
    Fedus et al., "Switch Transformers", arXiv 2101.03961, section 4.2 (non-expert weights and soft targets).

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> teacher = MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8))
    >>> pupil = student(teacher)
    >>> pupil.config.n_experts, pupil.config.d_expert, bool((pupil.head.weight == teacher.head.weight).all())
    (1, 16, True)
    """
    old = teacher.config
    config = replace(
        old,
        n_experts=1,
        top_k=1,
        gate="topk_softmax",
        expert_bias=False,
        routed_scale=1.0,
        n_shared_experts=0,
        d_expert=d_expert or (old.top_k + old.n_shared_experts) * old.d_expert,
        d_dense=old.d_feed_forward,
    )
    made = MoETransformer(config, generator=generator)
    if inherit:
        own = made.state_dict()
        same = {
            name: tensor
            for name, tensor in teacher.state_dict().items()
            if ".moe." not in name and name in own and own[name].shape == tensor.shape
        }
        made.load_state_dict({**own, **same})
    return made.eval()


def distillation_loss(
    logits_BLV: Tensor, targets_BL: Tensor, teacher_BLV: Tensor, soft: float, temperature: float = 1.0
) -> Tensor:
    """Cross entropy with the text and with the teacher's distribution, mixed; in nats.

    Parameters
    ----------
    logits_BLV, teacher_BLV : Tensor of shape (B, L, V)
    targets_BL : Tensor of shape (B, L)
    soft : float
        Weight of the teacher, 0 to 1; the text has the rest.
    temperature : float
        Divides both models' logits in the soft part, which is multiplied by its square.

    Raises
    ------
    ValueError
        If `soft` is not 0 to 1, or the temperature is not positive.

    References
    ----------
    Hinton et al., arXiv 1503.02531, section 2.

    Examples
    --------
    >>> logits, targets = torch.zeros(1, 1, 4), torch.tensor([[2]])
    >>> distillation_loss(logits, targets, torch.tensor([[[9.0, 0.0, 0.0, 0.0]]]), soft=0.5)  # log 4 twice
    tensor(1.3863)
    """
    if not 0 <= soft <= 1:
        raise ValueError(f"soft is {soft}: choose 0 to 1")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: choose a positive number")
    hard = F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten())
    if not soft:
        return hard
    wanted = (teacher_BLV / temperature).softmax(dim=-1)
    softly = F.cross_entropy((logits_BLV / temperature).flatten(0, 1), wanted.flatten(0, 1))
    return (1 - soft) * hard + soft * temperature**2 * softly


def distil(
    pupil: MoETransformer,
    teacher: MoETransformer,
    corpus: Corpus,
    config: TrainConfig,
    *,
    soft: float = 0.5,
    temperature: float = 1.0,
) -> MoETransformer:
    """Train a dense model, in place, on a text and on a teacher's predictions of it.

    Parameters
    ----------
    pupil, teacher : MoETransformer
        With one vocabulary.
    corpus : Corpus
    config : TrainConfig
        Steps, batch, rates and seed.
    soft, temperature : float
        As in `distillation_loss`.

    Returns
    -------
    MoETransformer
        The pupil, in evaluation mode.

    Examples
    --------
    >>> from moe_lessons.inspect.learning import SMALL, three_kinds
    >>> teacher = MoETransformer(SMALL.model)
    >>> pupil = distil(student(teacher), teacher, three_kinds().corpus, SMALL.override(steps=1, batch_size=1))
    >>> pupil.config.n_experts
    1
    """
    teacher.eval()
    optimizer = make_optimizer(pupil, config)
    pupil.train()
    for step in each(range(config.steps), "step"):
        inputs_BL, targets_BL = training_batch(
            corpus.train_N,
            batch_size=config.batch_size,
            context_length=pupil.config.context_length,
            seed=config.seed,
            step=step,
        )
        with torch.no_grad():
            teacher_BLV = teacher(inputs_BL).logits_BLV
        logits_BLV = pupil(inputs_BL).logits_BLV
        distillation_loss(logits_BLV, targets_BL, teacher_BLV, soft, temperature).backward()
        torch.nn.utils.clip_grad_norm_(pupil.parameters(), config.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(config, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return pupil.eval()
