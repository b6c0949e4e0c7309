"""Small Mixture-of-Experts models whose experts can be cut, shared or narrowed; S of them side by side."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe_lessons.steps import each
from moe_lessons.toy.skills import Sample, Source

LAST = 50
"""Steps at the end of a training over which errors and loads are averaged."""


@dataclass(frozen=True)
class Fine:
    """A model and its training: E experts of F units, K a token, each expert cut into G slices.

    Whatever `granularity` is, a model has the same expert parameters, and a token meets as many of them. The
    gate is a sigmoid that is not renormalised: for every K the same gate.

    Raises
    ------
    ValueError
        If a size is below 1, `granularity` does not divide `d_expert`, or `top_k` exceeds `n_experts`.

    Examples
    --------
    >>> Fine(granularity=4).sizes  # experts, experts of a token, units
    (32, 4, 4)
    """

    n_experts: int = 8  # E
    top_k: int = 1  # K
    d_expert: int = 16  # F
    granularity: int = 1  # G
    n_shared: int = 0  # experts that every token meets, with weight 1
    d_latent: int | None = None  # width that the experts work in; None: that of the token
    down_std: float | None = None  # of the initial down matrices; None: 1 / sqrt(F), whatever G is
    learning_rate: float = 1e-2  # at the start; it falls to 0 along a cosine
    alpha: float = 0.01  # weight of the load-balancing loss
    steps: int = 400
    n_tokens: int = 128  # T, fresh ones each step
    n_seeds: int = 16  # S
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_experts", "top_k", "d_expert", "granularity", "steps", "n_tokens", "n_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: choose 1 or more")
        if self.d_expert % self.granularity:
            raise ValueError(
                f"granularity is {self.granularity}: choose a divisor of d_expert={self.d_expert}"
            )
        if self.top_k > self.n_experts:
            raise ValueError(f"top_k is {self.top_k}: choose at most n_experts={self.n_experts}")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Routed experts after the cut, how many of them a token meets, and the hidden units of each."""
        return (
            self.n_experts * self.granularity,
            self.top_k * self.granularity,
            self.d_expert // self.granularity,
        )


class FineRun:
    """S models of one kind in training on one kind of data.

    The world, the initial weights and the tokens come from three generators of one seed: models of any shape
    meet the same world and the same tokens, so that they can be compared seed by seed.

    Parameters
    ----------
    draw : callable
        (n_seeds, generator) to a `Source`, such as `functools.partial(Skills.draw, at_once=4)`.
    settings : Fine

    Attributes
    ----------
    error_NS : Tensor of shape (N, S)
        Mean squared error on every step's tokens, new to the model, over the targets' mean square: 1 is what
        the answer 0 would get.
    seen_NSE : Tensor of shape (N, S, E)
        The share of the tokens that each routed expert saw.

    Examples
    --------
    >>> from functools import partial
    >>> from moe_lessons.toy.skills import Skills
    >>> run = FineRun(partial(Skills.draw, at_once=2), Fine(n_seeds=3, steps=60, granularity=2)).train()
    >>> run.error_S.shape, bool((run.error_S < 1).all())
    (torch.Size([3]), True)
    """

    def __init__(self, draw: Callable[[int, torch.Generator], Source], settings: Fine) -> None:
        self.settings = settings
        world, weights, self.tokens = (torch.Generator().manual_seed(3 * settings.seed + i) for i in range(3))
        self.source = draw(settings.n_seeds, world)
        n_routed, _, d_slice = settings.sizes
        n_units = n_routed * d_slice + settings.n_shared * settings.d_expert
        wide, read = self.source.n_inputs, self.source.rank
        inner = settings.d_latent or wide
        out = settings.d_latent or self.source.n_targets
        down_std = settings.down_std or settings.d_expert**-0.5

        def drawn(n_in: int, n_out: int, std: float) -> Tensor:
            noise = torch.randn(settings.n_seeds, n_in, n_out, generator=weights)
            return (std * noise).requires_grad_()

        self.up_SDU = drawn(inner, n_units, (settings.d_latent or read) ** -0.5)
        self.down_SUD = drawn(n_units, out, down_std)
        self.router_SDE = drawn(wide, n_routed, read**-0.5)
        self.around: tuple[Tensor, ...] = ()
        if settings.d_latent:
            self.around = drawn(wide, inner, read**-0.5), drawn(inner, self.source.n_targets, inner**-0.5)
        self.error_NS = torch.empty(0, settings.n_seeds)
        self.seen_NSE = torch.empty(0, settings.n_seeds, n_routed)

    def train(self) -> "FineRun":
        """Train for all steps of the settings; returns the run itself."""
        s = self.settings
        trained = [self.up_SDU, self.down_SUD, self.router_SDE, *self.around]
        optimizer = torch.optim.Adam(trained, lr=s.learning_rate)
        errors, seen = torch.empty(s.steps, s.n_seeds), torch.empty(s.steps, s.n_seeds, s.sizes[0])
        for step in each(range(s.steps), "step"):
            optimizer.param_groups[0]["lr"] = s.learning_rate * (1 + math.cos(math.pi * step / s.steps)) / 2
            sample = self.source.batch(s.n_tokens, self.tokens)
            logits_STE = sample.inputs_STD @ self.router_SDE
            chosen_STE = self._chosen(logits_STE)
            error_S = self._error(sample, logits_STE, chosen_STE)
            seen_SE = chosen_STE.mean(dim=1)
            P_SE = logits_STE.softmax(dim=-1).mean(dim=1)
            balance_S = s.sizes[0] * (seen_SE / s.sizes[1] * P_SE).sum(dim=-1)
            optimizer.zero_grad()
            # The seeds share no parameter, so one backward through the sum serves them all.
            (error_S + s.alpha * balance_S).sum().backward()
            optimizer.step()
            errors[step], seen[step] = error_S.detach(), seen_SE
        self.error_NS, self.seen_NSE = errors, seen
        return self

    @property
    def error_S(self) -> Tensor:
        """Error at the end of training."""
        return self.error_NS[-LAST:].mean(dim=0)

    @property
    def fullest_S(self) -> Tensor:
        """The share of the tokens that the fullest routed expert sees at the end of training."""
        return self.seen_NSE[-LAST:].mean(dim=0).amax(dim=-1)

    @torch.no_grad()
    def without(self, part: str, n_batches: int = 4) -> Tensor:
        """Error on fresh tokens with a part switched off, nothing trained again.

        Parameters
        ----------
        part : str
            "shared": what every token meets; "fullest": each model's fullest routed expert; "nothing".
        n_batches : int

        Returns
        -------
        Tensor of shape (S,)

        Raises
        ------
        ValueError
            If the part is unknown, or there is no shared expert.
        """
        s = self.settings
        if part not in ("shared", "fullest", "nothing") or (part == "shared" and not s.n_shared):
            raise ValueError(f"part is {part!r}: choose 'fullest', 'nothing', or 'shared' where there is one")
        kept_S1E = torch.ones(s.n_seeds, 1, s.sizes[0])
        if part == "fullest":
            fullest_S = self.seen_NSE[-LAST:].mean(dim=0).argmax(dim=-1)
            kept_S1E[torch.arange(s.n_seeds), 0, fullest_S] = 0.0
        errors = []
        for _ in range(n_batches):
            sample = self.source.batch(s.n_tokens, self.tokens)
            logits_STE = sample.inputs_STD @ self.router_SDE
            chosen_STE = self._chosen(logits_STE) * kept_S1E
            errors.append(self._error(sample, logits_STE, chosen_STE, shared=float(part != "shared")))
        return torch.stack(errors).mean(dim=0)

    def _chosen(self, logits_STE: Tensor) -> Tensor:
        ids_STK = logits_STE.topk(self.settings.sizes[1], dim=-1).indices
        return torch.zeros_like(logits_STE).scatter(-1, ids_STK, 1.0)

    def _error(self, sample: Sample, logits_STE: Tensor, chosen_STE: Tensor, shared: float = 1.0) -> Tensor:
        s = self.settings
        rows_STD = sample.inputs_STD @ self.around[0] if self.around else sample.inputs_STD
        hidden_STU = (rows_STD @ self.up_SDU).relu()
        weights_STE = logits_STE.sigmoid() * chosen_STE
        weights_STU = weights_STE.repeat_interleave(s.sizes[2], dim=-1)
        if s.n_shared:
            always_STU = weights_STU.new_full((*weights_STU.shape[:2], s.n_shared * s.d_expert), shared)
            weights_STU = torch.cat([weights_STU, always_STU], dim=-1)
        output_STD = (hidden_STU * weights_STU) @ self.down_SUD
        output_STD = output_STD @ self.around[1] if self.around else output_STD
        square = (output_STD - sample.targets_STD).square().mean(dim=(1, 2))
        return square / sample.targets_STD.square().mean(dim=(1, 2))


def at_best_rate(
    draw: Callable[[int, torch.Generator], Source], settings: Fine, rates: tuple[float, ...]
) -> FineRun:
    """Train at several learning rates and return the run with the lowest mean error.

    Examples
    --------
    >>> from functools import partial
    >>> from moe_lessons.toy.skills import Clusters
    >>> draw = partial(Clusters.with_common, common=0.5)
    >>> at_best_rate(draw, Fine(n_seeds=2, steps=60), (1e-4, 1e-2)).settings.learning_rate
    0.01
    """
    runs = [FineRun(draw, replace(settings, learning_rate=rate)).train() for rate in rates]
    return min(runs, key=lambda run: float(run.error_S.mean()))
