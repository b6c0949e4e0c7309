"""Rules for the toy that balance without a loss, made of the routers of `moe_lessons.routing`.

While `training` is True a rule decides about all tokens of a batch at once, as in training. False is how a
language model would have to use it when it writes: every token is decided about alone.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.balancing import sign_update
from moe_lessons.routing import (
    base_assignment,
    empty_slots,
    expert_choice,
    fill_slots,
    group_limited_topk,
    hash_topk,
    random_table,
    sinkhorn_topk,
    soft_slots,
    softmax_topk,
    topk_softmax,
)
from moe_lessons.routing.dense import Decision as OneSeed
from moe_lessons.routing.dense import dense_assignment, dense_weights
from moe_lessons.toy.rules import Decision, Rule, TopK
from moe_lessons.toy.run import Toy, ToyRun
from moe_lessons.toy.world import Batch


class SelectionBias(TopK):
    """Sigmoid top-k with a bias for the choice alone, moved by the sign rule after every step.

    References
    ----------
    Wang et al., arXiv 2408.15664, algorithm 1.

    Examples
    --------
    >>> rule = SelectionBias(1, rate=0.125)
    >>> rule.after_step(rule(torch.tensor([[[9.0, 0.0], [9.0, 0.0]]]), None))
    >>> rule.bias_SE
    tensor([[-0.1250,  0.1250]])
    """

    def __init__(self, top_k: int, *, rate: float) -> None:
        super().__init__(top_k, score="sigmoid", renormalize=True)
        self.rate = rate

    def after_step(self, decision: Decision) -> None:
        """Move the bias by the loads of the step that is over."""
        load_SE = decision.load_SE
        bias_SE = torch.zeros(load_SE.shape) if self.bias_SE is None else self.bias_SE
        self.bias_SE = sign_update(bias_SE, load_SE, self.rate)


class Zoo(Rule):
    """A router of `moe_lessons.routing`, seed by seed; a subclass says in `route` what it does for one."""

    training = True

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Decide about the T tokens of one seed."""
        raise NotImplementedError

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Route each seed's tokens and lay the weights out over the experts."""
        routed = [self.route(logits_TE, batch, s) for s, logits_TE in enumerate(logits_STE)]
        chosen_STE = torch.stack([dense_assignment(each) for each in routed])
        return Decision(logits_STE, chosen_STE, torch.stack([dense_weights(each) for each in routed]))


class Noisy(Zoo):
    """Top-k of logits with noise of a learned size, silent when not training (arXiv 1701.06538, eq. 3-5)."""

    def __init__(self, top_k: int, settings: Toy) -> None:
        self.top_k = top_k
        self.generator = torch.Generator().manual_seed(settings.seed + 1)
        self.noise_SDE = torch.zeros(settings.n_seeds, settings.width, settings.n_experts).requires_grad_()

    def parameters(self) -> list[Tensor]:
        """The second linear map, which makes the noise's size."""
        return [self.noise_SDE]

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Add noise, then top-k, then softmax."""
        if self.training:
            std_TE = F.softplus(batch.inputs_STD[seed] @ self.noise_SDE[seed])
            logits_TE = logits_TE + std_TE * torch.randn(std_TE.shape, generator=self.generator)
        return topk_softmax(logits_TE, self.top_k)


class ExpertChoice(Zoo):
    """Each expert takes T * K / E tokens (arXiv 2202.09368); alone, a token takes its own best K."""

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Let the experts choose, or the token."""
        if self.training:
            return expert_choice(logits_TE, logits_TE.shape[0] * self.top_k // logits_TE.shape[1])
        return softmax_topk(logits_TE, self.top_k, renormalize=False)


class Hash(Zoo):
    """A random table over the clusters, which stand for token ids (arXiv 2106.04426)."""

    def __init__(self, top_k: int, settings: Toy) -> None:
        generator = torch.Generator().manual_seed(settings.seed + 1)
        n_experts = settings.n_experts
        self.tables = [
            random_table(settings.n_clusters, n_experts, top_k, generator=generator)
            for _ in range(settings.n_seeds)
        ]

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Look the cluster up."""
        return hash_topk(batch.clusters_ST[seed], self.tables[seed], logits_TE.shape[1])


class Base(Zoo):
    """The best even assignment, one expert per token (arXiv 2103.16716); alone, a token takes its best."""

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Solve the assignment."""
        return base_assignment(logits_TE, training=self.training)


class Sinkhorn(Zoo):
    """Top-k of the Sinkhorn plan (as Megatron-LM); alone, top-k of the logits."""

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Scale, then choose."""
        return sinkhorn_topk(logits_TE, self.top_k, training=self.training, n_iterations=20)


class Groups(Zoo):
    """Group-limited sigmoid top-k, two groups of four per token (arXiv 2412.19437); a bias if `rate` > 0."""

    def __init__(self, top_k: int, *, rate: float = 0.0) -> None:
        self.top_k, self.rate = top_k, rate
        self.bias_SE: Tensor | None = None

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Choose groups, then experts in them."""
        bias_E = None if self.bias_SE is None else self.bias_SE[seed]
        return group_limited_topk(logits_TE, self.top_k, n_groups=4, topk_groups=2, expert_bias_E=bias_E)

    def after_step(self, decision: Decision) -> None:
        """Move the bias by the sign rule."""
        if self.rate:
            bias_SE = torch.zeros(decision.load_SE.shape) if self.bias_SE is None else self.bias_SE
            self.bias_SE = sign_update(bias_SE, decision.load_SE, self.rate)


class Soft(Zoo):
    """Soft MoE (arXiv 2308.00951) with as many slots as a top-K router has places; needs a `SoftRun`."""

    def __init__(self, top_k: int, settings: Toy) -> None:
        n_slots = settings.n_tokens * top_k // settings.n_experts
        shape = (settings.n_seeds, settings.width, settings.n_experts, n_slots)
        generator = torch.Generator().manual_seed(settings.seed + 1)
        self.slots_SDEP = (torch.randn(*shape, generator=generator) / settings.width**0.5).requires_grad_()

    def parameters(self) -> list[Tensor]:
        """One vector for each slot."""
        return [self.slots_SDEP]

    def route(self, logits_TE: Tensor, batch: Batch, seed: int) -> OneSeed:
        """Fill all slots of all experts with mixtures of all tokens."""
        return soft_slots(torch.einsum("td,dep->tep", batch.inputs_STD[seed], self.slots_SDEP[seed]))


class SoftRun(ToyRun):
    """A toy whose experts work on slots; alone, a token is all that its slots hold."""

    rule: Soft

    def experts(self, inputs_STD: Tensor, weights_STE: Tensor) -> Tensor:
        """Mix tokens into slots, compute, mix the results back."""
        if not self.rule.training:
            return super().experts(inputs_STD, weights_STE)
        outputs = []
        for s, inputs_TD in enumerate(inputs_STD):
            slots = soft_slots(torch.einsum("td,dep->tep", inputs_TD, self.rule.slots_SDEP[s]))
            slots_EPD = fill_slots(inputs_TD, slots)
            hidden_EPF = (slots_EPD @ self.up_SDEF[s].transpose(0, 1)).relu()
            outputs.append(empty_slots(hidden_EPF @ self.down_SEFD[s], slots))
        return torch.stack(outputs)


@torch.no_grad()
def fresh_error(run: ToyRun, *, alone: bool, n_batches: int = 8) -> Tensor:
    """Mean squared error on fresh tokens, the same whatever `alone` is.

    Parameters
    ----------
    run : ToyRun
        Trained; what it is now is what is measured.
    alone : bool
        Decide about every token alone, as a language model must when it writes, rather than about all
        tokens of a batch together as in training.
    n_batches : int
        Each as large as in training.

    Returns
    -------
    Tensor of shape (S,)

    Examples
    --------
    >>> run = ToyRun(Toy(n_seeds=2), TopK(2))  # a token's choice is its own: nothing changes
    >>> fresh_error(run, alone=True).equal(fresh_error(run, alone=False))
    True
    >>> run = ToyRun(Toy(n_seeds=2), ExpertChoice(2))
    >>> fresh_error(run, alone=True).equal(fresh_error(run, alone=False))
    False
    """
    generator = torch.Generator().manual_seed(run.settings.seed + 2)
    zoo = run.rule if isinstance(run.rule, Zoo) else None
    if zoo:
        zoo.training = not alone
    errors = []
    for _ in range(n_batches):
        batch = run.world.batch(run.settings.n_tokens, generator)
        decision = run.rule(batch.inputs_STD @ run.router_SDE, batch)
        output_STD = run.experts(batch.inputs_STD, decision.weights_STE)
        errors.append((output_STD - batch.targets_STD).square().mean(dim=(1, 2)))
    if zoo:
        zoo.training = True
    return torch.stack(errors).mean(dim=0)
