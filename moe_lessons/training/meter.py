"""Collects training steps and turns them into records."""

from collections.abc import Sequence

import torch

from moe_lessons.metrics import LoadRecorder, routing_entropy
from moe_lessons.routing import Routing
from moe_lessons.training.accumulation import StepLosses
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.objective import bits_per_byte
from moe_lessons.training.runlog import StepRecord
from moe_lessons.training.utilisation import utilisation


class IntervalMeter:
    """Collects steps and turns them into a `StepRecord`; tensors stay on the device until then."""

    def __init__(self, n_layers: int, n_experts: int, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Ranks()
        self.load = LoadRecorder(n_layers, n_experts, all_ranks=self.ranks.size > 1)
        self.reset()

    def reset(self) -> None:
        """Start a new interval."""
        self.n_steps, self.n_tokens, self.seconds = 0, 0, 0.0
        self.sums_4: torch.Tensor | float = 0.0
        self.load.reset()
        self.n_skipped = 0
        self.routings: tuple[Routing, ...] = ()

    @torch.no_grad()
    def add(
        self, step: StepLosses, gradient_norm: torch.Tensor, seconds: float, *, skipped: bool = False
    ) -> None:
        """Count one training step; of one that was skipped, the gradient's norm counts as 0."""
        n_layers = len(step.routings)
        norm = torch.zeros_like(gradient_norm) if skipped else gradient_norm
        self.sums_4 = self.sums_4 + torch.stack(
            [step.loss_M.mean(), step.router.load_balancing / n_layers, step.router.z / n_layers, norm]
        )
        self.load.add([routing.topk_ids_TK for routing in step.routings])
        self.n_steps += 1
        self.n_skipped += skipped
        self.n_tokens += len(step.routings[0].topk_ids_TK)
        self.seconds += seconds
        self.routings = step.routings

    @torch.no_grad()
    def record(
        self,
        *,
        step: int,
        tokens: int,
        learning_rate: float,
        validation: float | None,
        elapsed_s: float,
        expert_biases: Sequence[torch.Tensor | None] = (),
        flops_per_token: float = 0.0,
        peak_flops: float | None = None,
        loss_scale: float | None = None,
        bytes_per_token: float = 1.0,
    ) -> StepRecord:
        """Return the interval's record and start the next one."""
        assert isinstance(self.sums_4, torch.Tensor)
        tokens_per_second = self.n_tokens / max(self.seconds, 1e-9)  # of this rank
        entropy_L = torch.stack([routing_entropy(routing.logits_TE) for routing in self.routings])
        means = self.ranks.mean(torch.cat([self.sums_4 / self.n_steps, entropy_L])).tolist()
        loss, load_balancing, z, gradient_norm = means[:4]
        load = self.load.record()
        record = StepRecord(
            step=step,
            tokens=tokens,
            learning_rate=learning_rate,
            train_bits_per_byte=bits_per_byte(loss, bytes_per_token=bytes_per_token),
            validation_bits_per_byte=validation,
            load_balancing_loss=load_balancing,
            z_loss=z,
            gradient_norm=gradient_norm,
            load_shares_by_layer=load["load_shares_by_layer"],
            effective_experts_by_layer=load["effective_experts_by_layer"],
            router_entropy_nats_by_layer=means[4:],
            tokens_per_second=self.ranks.size * tokens_per_second,
            elapsed_s=elapsed_s,
            max_violation_by_layer=load["max_violation_by_layer"],
            batch_max_violation_by_layer=load["batch_max_violation_by_layer"],
            dead_experts_by_layer=load["dead_experts_by_layer"],
            expert_bias_by_layer=[bias_E.tolist() for bias_E in expert_biases if bias_E is not None],
            drop_rate_by_layer=load["drop_rate_by_layer"],
            model_flops_utilisation=utilisation(flops_per_token, tokens_per_second, peak_flops),
            skipped_steps=self.n_skipped,
            loss_scale=loss_scale,
        )
        self.reset()
        return record
