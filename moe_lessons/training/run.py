"""One training run: the state that a checkpoint holds, and the loop that advances it."""

import math
import signal
import time
from collections.abc import Callable

import torch

from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus, training_batch
from moe_lessons.model import MoETransformer
from moe_lessons.steps import Place
from moe_lessons.training.accumulation import MicroBatchError, StepLosses, accumulate_gradients
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.failures import TrainingDiverged, TrainingInterrupted, first_bad, name_windows
from moe_lessons.training.interrupt import deferred_interrupt
from moe_lessons.training.kept import KeptRun
from moe_lessons.training.meter import IntervalMeter
from moe_lessons.training.objective import evaluate, make_optimizer, update_expert_bias
from moe_lessons.training.precision import LossScaler, resolve
from moe_lessons.training.rundir import (
    SaveError,
)
from moe_lessons.training.runlog import StepRecord
from moe_lessons.training.schedule import learning_rate_at
from moe_lessons.training.utilisation import device_peak, flops_per_token
from moe_lessons.training.wrapping import clip_gradients, wrap

EVALUATED_AT_ONCE = 1024  # tokens, at least; more than in training would need more memory than training


class Run(KeptRun):
    """The state of a run: what a checkpoint holds, and the loop that advances it.

    Parameters
    ----------
    config : TrainConfig
    corpus : Corpus
    where : Ranks or torch.device
        The processes that train together, or the device that trains alone.
    fill : callable, optional
        Puts weights from elsewhere into the fresh model.
    say : callable, optional
        Told, in a line each, what one would like to know before and while it trains.
    """

    def __init__(
        self,
        config: TrainConfig,
        corpus: Corpus,
        where: Ranks | torch.device,
        *,
        fill: Callable[[MoETransformer], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.ranks = ranks = where if isinstance(where, Ranks) else Ranks(device=where)
        self.config, self.corpus, self.device = config, corpus, ranks.device
        generator = torch.Generator().manual_seed(config.seed)
        self.model = MoETransformer(config.model, generator=generator)
        if fill is not None:
            fill(self.model)
        self.model.to(self.device)
        self.say = say if say is not None and ranks.first else lambda line: None
        self.forward = wrap(self.model, ranks, config.parallel, config.ep_size)
        if config.compile:
            self.forward = torch.compile(self.forward)
        self.optimizer = make_optimizer(self.model, config)
        self.precision = resolve(config.precision, self.device)
        self.scaler = LossScaler(self.precision, self.device)
        if self.precision == "fp16" and any(hasattr(p, "full_tensor") for p in self.model.parameters()):
            raise ValueError(
                f"precision='fp16' with parallel={config.parallel!r}: an overflow would change the loss "
                "scale of the rank whose shard it is in, and of no other; choose ddp (--parallel ddp) or bf16"
            )
        self.meter = IntervalMeter(config.model.n_moe_layers, config.model.n_experts, ranks)
        self.peak_flops = device_peak(self.device, self.precision)
        self.validation_bits_per_byte = math.nan

    def loop(self, on_step: Callable[[StepRecord], None] | None) -> None:
        """Train to the last step, reporting, evaluating and saving when due."""
        config = self.config
        self.model.train()
        with deferred_interrupt() as interrupt, Place("step", config.steps) as place:
            if config.compile and self.step < config.steps:
                self.say("compiling: the first step, and the first held-out one, can take minutes")
            while self.step < config.steps:
                self.advance()
                place.number = self.step
                if config.compile and self.meter.n_steps == 1 and not self.log.records:
                    self.say(f"the first step took {self.training_s:.0f} s, with compiling")
                last = self.step == config.steps
                due = last or self.step % config.evaluate_every == 0
                validation = self.evaluate() if due else None
                if due or self.step % config.log_every == 0:
                    record = self.record(validation)
                    if on_step is not None and self.ranks.first:
                        on_step(record)
                improved = validation is not None and validation < self.best["bits_per_byte"]
                if improved:
                    self.best = {"step": self.step, "bits_per_byte": validation}
                stop = self.ranks.any(interrupt.requested)
                if last or stop or improved or self.step % config.checkpoint_every == 0:
                    self.save(best=improved)
                if stop and not last:
                    self.ranks.wait()  # for the first to write: whoever ends early can bring down the others
                    raise TrainingInterrupted(
                        f"stopped at step {self.step} of {config.steps}; {self.whereabouts()}",
                        interrupt.signum or signal.SIGINT,
                    )
        if math.isnan(self.validation_bits_per_byte):
            self.validation_bits_per_byte = self.evaluate()

    def evaluate(self) -> float:
        """Bits per byte on the held-out part, with as many tokens at once as in training."""
        in_training = self.config.tokens_per_step // self.config.accumulation_steps
        return evaluate(
            self.model,
            self.corpus.validation_M,
            tokens_per_batch=max(EVALUATED_AT_ONCE, in_training),
            ranks=self.ranks,
            precision=self.config.precision,
            byte_lengths_V=self.corpus.tokenizer.byte_lengths_V,
        )

    def advance(self) -> None:
        """Do one step of the optimizer."""
        started = time.perf_counter()
        config = self.config
        inputs_BL, targets_BL = training_batch(
            self.corpus.train_N,
            batch_size=config.batch_size,
            context_length=config.model.context_length,
            seed=config.seed,
            step=self.step,
        )
        inputs_BL, targets_BL = (
            self.ranks.rows(batch, config.accumulation_steps).to(self.device)
            for batch in (inputs_BL, targets_BL)
        )
        try:
            losses = accumulate_gradients(
                self.forward, inputs_BL, targets_BL, config, self.scaler, self.ranks
            )
        except MicroBatchError as error:
            raise self.diverged(str(error), error.micro_batch, self.ranks) from error
        self.scaler.unscale(self.optimizer)
        gradient_norm = clip_gradients(self.model, config, self.ranks)
        skipped = not math.isfinite(gradient_norm.item())
        if skipped:
            self.check_skip(losses, gradient_norm.item())
            self.scaler.skip()
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate_at(config, self.step)
            self.scaler.step(self.optimizer)
            update_expert_bias(self.model, losses.routings, config)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        seconds = time.perf_counter() - started
        self.training_s += seconds
        self.meter.add(losses, gradient_norm, seconds, skipped=skipped)

    def check_skip(self, losses: StepLosses, gradient_norm: float) -> None:
        """Let a step be skipped for its gradients only where the loss scale can be the reason."""
        loss = losses.loss_M.mean().item()
        # All ranks come here or none: their gradients are the same, their losses are not.
        if self.scaler.may_skip and not self.ranks.any(not math.isfinite(loss)):
            return
        what = f"loss {loss:.4g}, gradient norm {gradient_norm:.4g}"
        if self.scaler.skipped_in_a_row:
            what += f", after {self.scaler.skipped_in_a_row} skipped steps in a row"
        # If this loss is finite, another rank's is not: the first rank, which reports, names all windows.
        ranks = None if math.isfinite(loss) else self.ranks
        raise self.diverged(what, first_bad(losses.loss_M), ranks)

    def record(self, validation: float | None) -> StepRecord:
        """Close the interval and write it down."""
        if validation is not None:
            self.validation_bits_per_byte = validation
        record = self.meter.record(
            step=self.step,
            tokens=self.step * self.config.tokens_per_step,
            learning_rate=learning_rate_at(self.config, self.step - 1),
            validation=validation,
            elapsed_s=self.elapsed_s,
            expert_biases=[moe.router.expert_bias_E for moe in self.model.moe_layers],
            flops_per_token=flops_per_token(self.config.model),
            peak_flops=self.peak_flops,
            loss_scale=self.scaler.current,
            bytes_per_token=self.corpus.bytes_per_token,
        )
        try:
            self.log.append(record)
        except OSError as error:
            raise SaveError(f"cannot write the log: {error.strerror}; {self.whereabouts()}") from error
        return record

    def diverged(self, what: str, micro_batch: int | None, ranks: Ranks | None) -> TrainingDiverged:
        """Build the error for a step whose numbers are not finite."""
        if self.config.accumulation_steps == 1:
            micro_batch = None
        where = name_windows(self.corpus, self.config, self.step, micro_batch=micro_batch, ranks=ranks)
        return TrainingDiverged(
            f"training diverged in step {self.step + 1}: {what}; it saw {where}; "
            f"try a smaller learning rate; {self.whereabouts()}"
        )
