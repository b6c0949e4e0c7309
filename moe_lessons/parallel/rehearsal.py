"""A short training with experts on several ranks, right or with a mistake in what is done to the gradients.

`moe_lessons.training` trains; this rehearses what can go wrong there, in the fewest lines, on the same model
and batches as one process. Every mistake has been made in a published framework, and each of them trains.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.config import ModelConfig
from moe_lessons.data import Corpus, training_batch
from moe_lessons.model import MoETransformer
from moe_lessons.parallel.experts import ep_of, local, shard_experts
from moe_lessons.parallel.gradients import clip, dense_parameters, expert_parameters, reduce_experts
from moe_lessons.parallel.mesh import REPLICA

MISTAKES = {
    "experts_averaged": "experts' gradients are averaged over all ranks, as if all held the same ones",
    "not_divided": "experts' gradients are not divided",
    "divided_by_replicas": "experts' gradients are divided by the number of replicas only",
    "own_norm": "each rank clips by the norm of what it holds",
    "dense_counted_per_rank": "the norm counts the dense part once for each rank",
}


@dataclass(frozen=True)
class Rehearsal:
    """What is trained, and how.

    Attributes
    ----------
    steps, batch_size, seed : int
    optimizer : str
        "adamw" or "sgd".
    learning_rate : float
    max_norm : float or None
        Of the clipped gradient; None clips nothing.
    alpha, z_weight : float
        Weights of the balancing loss, with loads counted over all ranks, and of the z-loss.
    mistake : str
        A key of `MISTAKES`, or none.
    model : ModelConfig
    """

    steps: int = 40
    batch_size: int = 8
    seed: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    max_norm: float | None = 1.0
    alpha: float = 0.01
    z_weight: float = 1e-3
    mistake: str = ""
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            n_layers=2,
            d_model=32,
            n_heads=2,
            n_kv_heads=1,
            d_expert=32,
            n_experts=8,
            top_k=2,
            context_length=32,
        )
    )


@dataclass(frozen=True)
class Rehearsed:
    """What came of it, the same on every rank.

    Attributes
    ----------
    losses : list of float
        Text loss of each step in nats, over all ranks' tokens.
    norms : list of float
        Of the gradients, as the first rank saw them.
    drift : float
        Largest difference of a weight of the head between a rank and the first, at the end; 0 if all is well.
    """

    losses: list[float]
    norms: list[float]
    drift: float


def rehearse(plan: Rehearsal, corpus: Corpus, mesh: DeviceMesh | None = None) -> Rehearsed:
    """Train for a few steps; every rank of the mesh calls this.

    Parameters
    ----------
    plan : Rehearsal
    corpus : Corpus
    mesh : DeviceMesh, optional
        As `expert_mesh` makes it; without one, this process trains alone.

    Returns
    -------
    Rehearsed

    Examples
    --------
    >>> tokens_N = torch.arange(2000) % 250
    >>> corpus = Corpus("counting", tokens_N, tokens_N, "")
    >>> losses = rehearse(Rehearsal(steps=3), corpus).losses
    >>> len(losses), losses[-1] < losses[0]
    (3, True)
    """
    model = MoETransformer(plan.model, generator=torch.Generator().manual_seed(plan.seed))
    rank, n_ranks = (distributed.get_rank(), mesh.size()) if mesh is not None else (0, 1)
    if mesh is not None:
        shard_experts(model, mesh)
    optimizers = _optimizers(model, plan)
    losses, norms = [], []
    for step in range(plan.steps):
        inputs_BL, targets_BL = (
            batch.long().chunk(n_ranks)[rank]
            for batch in training_batch(
                corpus.train_N,
                batch_size=plan.batch_size,
                context_length=plan.model.context_length,
                seed=plan.seed,
                step=step,
            )
        )
        output = model(inputs_BL, targets_BL)
        assert output.loss is not None
        balancing = sum(
            load_balancing_loss(routing.logits_TE, routing.topk_ids_TK, scope="global_batch")
            for routing in output.routings
        )
        z = sum(z_loss(routing.logits_TE) for routing in output.routings)
        model.zero_grad(set_to_none=True)
        (output.loss + plan.alpha * balancing + plan.z_weight * z).backward()
        norms.append(_gradients(model, plan, mesh))
        for optimizer in optimizers:
            optimizer.step()
        losses.append(_mean(output.loss, n_ranks))
    drift = 0.0
    if mesh is not None:
        head, first = model.head.weight.detach(), model.head.weight.detach().clone()
        distributed.broadcast(first, 0)
        drift = _most((head - first).abs().max())
    return Rehearsed(losses, norms, drift)


def _gradients(model: MoETransformer, plan: Rehearsal, mesh: DeviceMesh | None) -> float:
    """Finish the gradients, right or not, and clip them; return the norm that this rank took."""
    limit = float("inf") if plan.max_norm is None else plan.max_norm
    if mesh is None:
        return float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
    for parameter in dense_parameters(model):
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= mesh.size()
    reduce_experts(model, mesh)
    n_replicas, n_ep = mesh[REPLICA].size(), ep_of(mesh).size()
    experts = [local(parameter.grad) for parameter in expert_parameters(model)]
    for gradient in experts:
        if plan.mistake == "experts_averaged":
            gradient *= n_ep
            distributed.all_reduce(gradient, group=ep_of(mesh).get_group())
            gradient /= n_ep
        elif plan.mistake == "not_divided":
            gradient *= n_replicas * n_ep
        elif plan.mistake == "divided_by_replicas":
            gradient *= n_ep
    if plan.mistake not in ("own_norm", "dense_counted_per_rank"):
        return float(clip(model, limit, mesh))
    dense = [p.grad for p in dense_parameters(model) if p.grad is not None]
    dense_square = torch.nn.utils.get_total_norm(dense).square()
    square = torch.nn.utils.get_total_norm(experts).square()
    if plan.mistake == "dense_counted_per_rank":
        square = square + dense_square
        distributed.all_reduce(square, group=ep_of(mesh).get_group())
    else:
        square = square + dense_square
    norm = square.sqrt()
    for gradient in (*dense, *experts):
        gradient *= min(1.0, limit / (float(norm) + 1e-6))
    return float(norm)


def _optimizers(model: MoETransformer, plan: Rehearsal) -> list[torch.optim.Optimizer]:
    """One for the dense weights and one for the experts: shards and plain tensors don't mix."""
    kinds = [part for part in (dense_parameters(model), expert_parameters(model)) if part]
    if plan.optimizer == "sgd":
        return [torch.optim.SGD(part, lr=plan.learning_rate) for part in kinds]
    return [torch.optim.AdamW(part, lr=plan.learning_rate, betas=(0.9, 0.95)) for part in kinds]


def _mean(loss: Tensor, n_ranks: int) -> float:
    total = loss.detach().double()
    if n_ranks > 1:
        total = total.clone()
        distributed.all_reduce(total)
    return total.item() / n_ranks


def _most(value: Tensor) -> float:
    value = value.double()
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
    return value.item()
