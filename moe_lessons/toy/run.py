"""Train S toy models side by side and keep what happened to their loads."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe_lessons.routing.own import name_of
from moe_lessons.steps import each
from moe_lessons.toy.rules import Decision, Rule
from moe_lessons.toy.world import World


@dataclass(frozen=True)
class Toy:
    """What determines a toy run besides its rule and loss.

    The same `seed` draws the same world, the same initial weights and the same tokens whatever the other
    settings, except those that change a size: two rules can be compared seed by seed.

    With a large `mu` a random router sends most tokens to one or two experts before any training, because the
    shared vector adds the same to every token's logits. To see what training does, take that out of the
    initial router: with `even_start` every `mu` begins with the same router and nearly the same even load.

    Raises
    ------
    ValueError
        If a size or the learning rate is not positive.
    """

    n_seeds: int = 16  # S, models trained side by side
    n_experts: int = 8  # E
    mu: float = 0.0  # how much all tokens have in common, against a cluster's spread of 1.5
    router_scale: float = 1.0  # of the initial router; 1 gives logits the size of a token's entries
    even_start: bool = False  # begin with a router that does not see what all tokens have in common
    learning_rate: float = 3e-3
    n_tokens: int = 256  # T, fresh ones each step
    n_clusters: int = 16  # C
    width: int = 16  # D
    d_expert: int = 16  # F
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_seeds", "n_experts", "learning_rate", "n_tokens", "n_clusters", "width", "d_expert"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: choose a positive number")


class ToyRun:
    """S models in training; `advance` takes it further.

    A model is a router and E experts with one ReLU layer and no biases. Its loss is the mean squared error
    plus `alpha` times `loss`.

    Parameters
    ----------
    settings : Toy
    rule : Rule
    loss : callable, optional
        A `Decision` to one number per seed, (S,), such as `load_balancing`, or to one number for all, their
        mean: `decision.logits_STE` reads like the logits of S layers.
    alpha : float
        The weight of `loss`.
    optimizer : callable, optional
        Builds an optimizer for a list of parameters. It must treat each number by itself, as Adam and SGD do,
        or the seeds are no longer independent. Adam by default.

    Attributes
    ----------
    router_SDE, up_SDEF, down_SEFD : Tensor
        The parameters.
    optimizer : torch.optim.Optimizer
    shares_NSE : Tensor of shape (N, S, E)
        Each expert's share of the routed rows, in every step so far.
    error_NS : Tensor of shape (N, S)
        Mean squared error on every step's tokens, which no step had seen before.

    Examples
    --------
    >>> from moe_lessons.toy import TopK
    >>> run = ToyRun(Toy(n_seeds=2), TopK(1)).advance(3)
    >>> run.shares_NSE.shape, run.error_NS.shape
    (torch.Size([3, 2, 8]), torch.Size([3, 2]))
    """

    def __init__(
        self,
        settings: Toy,
        rule: Rule,
        *,
        loss: Callable[[Decision], Tensor] | None = None,
        alpha: float = 0.0,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer] | None = None,
    ) -> None:
        self.settings, self.rule, self.loss, self.alpha = settings, rule, loss, alpha
        self.generator = torch.Generator().manual_seed(settings.seed)
        n_seeds, n_experts = settings.n_seeds, settings.n_experts
        width, d_expert = settings.width, settings.d_expert
        self.world = World.draw(
            n_seeds, self.generator, n_clusters=settings.n_clusters, width=width, mu=settings.mu
        )
        self.router_SDE = settings.router_scale * self._randn(n_seeds, width, n_experts) / width**0.5
        if settings.even_start:
            seen_SE = torch.einsum("sd,sde->se", self.world.direction_SD, self.router_SDE)
            self.router_SDE -= self.world.direction_SD.unsqueeze(-1) * seen_SE.unsqueeze(1)
        self.up_SDEF = self._randn(n_seeds, width, n_experts, d_expert) / width**0.5
        self.down_SEFD = self._randn(n_seeds, n_experts, d_expert, width) / d_expert**0.5
        for parameter in self._parameters():
            parameter.requires_grad_()
        self._make = optimizer or (lambda trained: torch.optim.Adam(trained, lr=settings.learning_rate))
        self.optimizer = self._make([*self._parameters(), *rule.parameters()])
        self._steps = 0
        # One block for all steps: small tensors kept between large ones would hold the memory of those.
        self._shares_NSE = torch.empty(0, n_seeds, n_experts)
        self._error_NS = torch.empty(0, n_seeds)

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    @property
    def shares_NSE(self) -> Tensor:
        """Load shares so far."""
        return self._shares_NSE[: self._steps]

    @property
    def error_NS(self) -> Tensor:
        """Mean squared errors so far."""
        return self._error_NS[: self._steps]

    def advance(self, steps: int) -> "ToyRun":
        """Train for some more steps; returns the run itself."""
        room = max(0, self._steps + steps - len(self._error_NS))
        if room:
            self._shares_NSE, self._error_NS = (
                torch.cat([kept, torch.empty(room, *kept.shape[1:])])
                for kept in (self._shares_NSE, self._error_NS)
            )
        for _ in each(range(steps), "step"):
            self._step()
        return self

    def fork(self) -> "ToyRun":
        """Return a second run in the same state, which goes on to meet the same tokens.

        What happens to one no longer touches the other: for interventions and their controls.

        Examples
        --------
        >>> from moe_lessons.toy import TopK
        >>> run = ToyRun(Toy(n_seeds=2), TopK(1)).advance(2)
        >>> twin = run.fork().advance(1)
        >>> torch.equal(twin.error_NS, run.advance(1).error_NS)
        True
        """
        rule = copy.deepcopy(self.rule)
        twin = ToyRun(self.settings, rule, loss=self.loss, alpha=self.alpha, optimizer=self._make)
        with torch.no_grad():
            for mine, theirs in zip(twin._parameters(), self._parameters(), strict=True):
                mine.copy_(theirs)
        twin.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        twin.generator.set_state(self.generator.get_state())
        twin._steps = self._steps
        twin._shares_NSE, twin._error_NS = self._shares_NSE.clone(), self._error_NS.clone()
        return twin

    def _parameters(self) -> list[Tensor]:
        return [self.router_SDE, self.up_SDEF, self.down_SEFD]

    def experts(self, inputs_STD: Tensor, weights_STE: Tensor) -> Tensor:
        """Add up the experts' answers to S batches of tokens, each times its weight; (S, T, D)."""
        hidden_STF = (inputs_STD @ self.up_SDEF.flatten(2)).relu()
        hidden_STEF = hidden_STF.unflatten(-1, (self.settings.n_experts, -1)) * weights_STE.unsqueeze(-1)
        return hidden_STEF.flatten(2) @ self.down_SEFD.flatten(1, 2)

    def _loss_of(self, decision: Decision) -> Tensor:
        assert self.loss is not None
        loss_S = self.loss(decision)
        if loss_S.shape not in ((), (self.settings.n_seeds,)):
            raise ValueError(
                f"loss {name_of(self.loss)} returned shape {tuple(loss_S.shape)}: give one number per seed, "
                f"({self.settings.n_seeds},), or their mean"
            )
        return loss_S

    def _step(self) -> None:
        batch = self.world.batch(self.settings.n_tokens, self.generator)
        decision = self.rule(batch.inputs_STD @ self.router_SDE, batch)
        output_STD = self.experts(batch.inputs_STD, decision.weights_STE)
        error_S = (output_STD - batch.targets_STD).square().mean(dim=(1, 2))
        total_S = error_S
        if self.loss is not None and self.alpha:
            total_S = error_S + self.alpha * self._loss_of(decision)
        # The seeds share no parameter, so one backward through the sum serves them all.
        self.optimizer.zero_grad()
        total_S.sum().backward()
        self.optimizer.step()
        self.rule.after_step(decision)
        load_SE = decision.load_SE
        self._shares_NSE[self._steps] = load_SE / load_SE.sum(dim=-1, keepdim=True)
        self._error_NS[self._steps] = error_S.detach()
        self._steps += 1
