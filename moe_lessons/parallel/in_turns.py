"""Training on several ranks within one process: they take turns, and what would travel is handed over.

`rehearsal` does the same on real processes. Here the two steps that are easily got wrong, adding up gradients
and clipping them, are functions that the caller gives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe_lessons.balancing import z_loss
from moe_lessons.data import Corpus, training_batch
from moe_lessons.model import MoETransformer
from moe_lessons.parallel.rehearsal import Rehearsal, Rehearsed

Reduce = Callable[[Tensor, Tensor, int], Any]
"""Of dense gradients (W, P), experts' gradients (W, Q) and shards a replica; returns both, as they came."""
Clip = Callable[[Tensor, Tensor, float], Any]
"""Of a dense gradient (P,), experts' gradients (G, Q) and the largest norm; returns norm and factor."""


@dataclass(frozen=True)
class _Rank:
    """A rank's copy of the model; of the experts it trains those from `first` to `last`."""

    model: MoETransformer
    dense: list[torch.nn.Parameter]
    experts: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    replica: range
    first: int
    last: int

    def shards(self, experts: list[torch.nn.Parameter]) -> list[Tensor]:
        """This rank's part of each bank of some rank's gradients."""
        return [p.grad[self.first : self.last] for p in experts if p.grad is not None]

    def set_gradients(self, dense_P: Tensor, expert_Q: Tensor) -> None:
        """Put flat gradients where they belong; experts of other ranks get 0."""
        for p, part in zip(self.dense, dense_P.split([p.numel() for p in self.dense]), strict=True):
            p.grad = part.view_as(p).clone()
        mine = [p[self.first : self.last] for p in self.experts]
        for p, own, part in zip(
            self.experts, mine, expert_Q.split([own.numel() for own in mine]), strict=True
        ):
            p.grad = torch.zeros_like(p)
            p.grad[self.first : self.last] = part.view_as(own)


def in_turns(
    plan: Rehearsal,
    corpus: Corpus,
    n_ranks: int,
    n_ep: int,
    *,
    reduce: Reduce,
    clip: Clip | None = None,
    own_norm: bool = False,
) -> Rehearsed:
    """Train as W ranks would: R replicas of `n_ep` ranks, each with its tokens and its share of the experts.

    Parameters
    ----------
    plan : Rehearsal
        Without a balancing loss (it counts loads over all ranks) and without a mistake.
    corpus : Corpus
    n_ranks, n_ep : int
        W, and the ranks that share the experts; `n_ep` divides both W and the number of experts.
    reduce : callable
        Turns what each rank has after `backward` into what it should hold.
    clip : callable, optional
        Says norm and factor; nothing is clipped without it. ``plan.max_norm`` is the limit.
    own_norm : bool
        Let each rank's clip see its own experts only, as if nobody had added up.

    Returns
    -------
    Rehearsed

    Raises
    ------
    ValueError
        If something does not divide, or the plan has a balancing loss or a mistake.

    Examples
    --------
    >>> tokens_N = torch.arange(2000) % 250
    >>> corpus = Corpus("counting", tokens_N, tokens_N, "")
    >>> plan = Rehearsal(steps=2, alpha=0.0, max_norm=None)
    >>> def mean(dense_WP, expert_WQ, n_ep):  # with one replica of one rank
    ...     return dense_WP, expert_WQ
    >>> len(in_turns(plan, corpus, 1, 1, reduce=mean).losses)
    2
    """
    if plan.alpha or plan.mistake:
        raise ValueError(f"alpha={plan.alpha}, mistake={plan.mistake!r}: give 0 and none")
    for name, count in (
        ("n_ranks", n_ranks),
        ("n_experts", plan.model.n_experts),
        ("batch_size", plan.batch_size),
    ):
        divisor = n_ranks if name == "batch_size" else n_ep
        if divisor < 1 or count % divisor:
            raise ValueError(f"{divisor} does not divide {name}={count}: choose a divisor")
    ranks = [_rank(plan, rank, n_ep) for rank in range(n_ranks)]
    losses, norms = [], []
    for step in range(plan.steps):
        losses.append(_backward(ranks, plan, corpus, step))
        dense_WP = torch.stack([_flat([p.grad for p in rank.dense]) for rank in ranks])
        # The exchanges' backward: whatever a replica's ranks have to say about a shard is with its owner.
        expert_WQ = torch.stack([_heard(rank, ranks) for rank in ranks])
        dense_WP, expert_WQ = (torch.as_tensor(g) for g in reduce(dense_WP, expert_WQ, n_ep))
        for w, rank in enumerate(ranks):
            factor = 1.0
            if clip is not None:
                seen = [w] if own_norm else list(rank.replica)
                limit = float("inf") if plan.max_norm is None else plan.max_norm
                norm, told = clip(dense_WP[w], expert_WQ[seen], limit)
                factor = float(told)
                norms += [float(norm)] if w == 0 else []
            rank.set_gradients(factor * dense_WP[w], factor * expert_WQ[w])
            rank.optimizer.step()
        _hand_over(ranks)
    heads = [rank.model.head.weight.detach() for rank in ranks]
    return Rehearsed(losses, norms, max(float((head - heads[0]).abs().max()) for head in heads))


def _rank(plan: Rehearsal, number: int, n_ep: int) -> _Rank:
    model = MoETransformer(plan.model, generator=torch.Generator().manual_seed(plan.seed))
    dense = [p for name, p in model.named_parameters() if ".experts." not in name]
    experts = [p for name, p in model.named_parameters() if ".experts." in name]
    if plan.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=plan.learning_rate)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.95))
    each, shard = plan.model.n_experts // n_ep, number % n_ep
    replica = range(number - shard, number - shard + n_ep)
    return _Rank(model, dense, experts, optimizer, replica, shard * each, (shard + 1) * each)


def _backward(ranks: list[_Rank], plan: Rehearsal, corpus: Corpus, step: int) -> float:
    """Every rank's gradients of the mean loss of its own tokens; return the mean of these losses."""
    batch = training_batch(
        corpus.train_N,
        batch_size=plan.batch_size,
        context_length=plan.model.context_length,
        seed=plan.seed,
        step=step,
    )
    total = 0.0
    parts = zip(ranks, *(part.long().chunk(len(ranks)) for part in batch), strict=True)
    for rank, inputs_BL, targets_BL in parts:
        rank.model.zero_grad(set_to_none=True)
        output = rank.model(inputs_BL, targets_BL)
        assert output.loss is not None
        z = sum(z_loss(routing.logits_TE) for routing in output.routings)
        (output.loss + plan.z_weight * z).backward()
        total += output.loss.item() / len(ranks)
    return total


@torch.no_grad()
def _hand_over(ranks: list[_Rank]) -> None:
    """Bring every replica's experts to its other ranks, whose tokens they will see in the next step."""
    for rank in ranks:
        for v in rank.replica:
            for mine, theirs in zip(rank.experts, ranks[v].experts, strict=True):
                mine[ranks[v].first : ranks[v].last] = theirs[ranks[v].first : ranks[v].last]


def _heard(rank: _Rank, ranks: list[_Rank]) -> Tensor:
    """What all ranks of a replica have to say about one's experts, added up."""
    return torch.stack([_flat(rank.shards(ranks[v].experts)) for v in rank.replica]).sum(dim=0)


def _flat(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([part.flatten() for part in parts if part is not None])
