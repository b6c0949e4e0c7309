"""What a run will be, before it begins: how large, how long, and whether it fits into memory."""

import dataclasses
import os
from dataclasses import dataclass

import torch

from moe_lessons.accounting import Parameters, count
from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus
from moe_lessons.device import available_bytes
from moe_lessons.training.distributed import EXPERT_PARALLEL, Ranks
from moe_lessons.training.footprint import predicted
from moe_lessons.training.utilisation import describe_model
from moe_lessons.training.wrapping import BYTES_PER_PARAMETER


class DoesNotFit(ValueError):
    """A run needs more memory than there is."""

    exit_code = 4


@dataclass(frozen=True)
class Outlook:
    """What a run will be.

    Attributes
    ----------
    name, device : str
    n_parameters, n_active : int
        In all, and those that one token meets.
    steps_left, tokens_per_step : int
    epochs : float
        Passes of the whole run over the training part.
    corpus : str
        Its name and sizes.
    needed_bytes : int
        Predicted for this process.
    what : str
        What that is made of.
    available_bytes : int or None
        Memory that this process may still take; None where the system does not say.
    limit : str
        What says so.
    """

    name: str
    device: str
    n_parameters: int
    n_active: int
    steps_left: int
    tokens_per_step: int
    epochs: float
    corpus: str
    needed_bytes: int
    what: str
    available_bytes: int | None
    limit: str

    def check(self) -> None:
        """Refuse a run that does not fit.

        Raises
        ------
        DoesNotFit
            With what it needs and what there is.
        """
        if self.available_bytes is None or self.needed_bytes <= self.available_bytes:
            return
        raise DoesNotFit(
            f"not enough memory: this run needs about {size(self.needed_bytes)} ({self.what}), "
            f"{size(max(0, self.available_bytes))} are {self.limit}: choose a smaller model, a smaller "
            "context, or more micro-batches (--accumulation-steps); --ignore-memory tries anyway"
        )

    def lines(self) -> list[str]:
        """Say it in three lines."""
        tokens = self.steps_left * self.tokens_per_step
        epochs = f"{self.epochs:.1f}" if self.epochs >= 0.1 else f"{self.epochs:.2g}"
        there = ""
        if self.available_bytes is not None:
            there = f"; {size(max(0, self.available_bytes))} are {self.limit}"
        return [
            f"{self.name} on {self.device}: {self.n_parameters:,} parameters, "
            f"{self.n_active:,} active per token",
            f"{self.corpus}; {self.steps_left:,} steps of {self.tokens_per_step:,} tokens: "
            f"{tokens:,} tokens, {epochs} epochs in all",
            f"memory: about {size(self.needed_bytes)} ({self.what}){there}",
        ]


def look_ahead(config: TrainConfig, corpus: Corpus, ranks: Ranks, *, step: int = 0) -> Outlook:
    """Predict a run without building its model.

    On a CPU all of a process' memory is predicted, see `footprint`. On a GPU only what is certain: weights,
    gradients and AdamW's two moments in fp32, divided by the ranks if they may share them.

    Parameters
    ----------
    config : TrainConfig
    corpus : Corpus
    ranks : Ranks
    step : int
        Where it begins.

    Examples
    --------
    >>> tokens_N = torch.zeros(10_000, dtype=torch.int64)
    >>> ahead = look_ahead(TrainConfig(), Corpus("zeros", tokens_N, tokens_N, ""), Ranks())
    >>> ahead.n_parameters, ahead.epochs
    (1840256, 174.08)
    """
    parameters = count(describe_model(config.model))
    if ranks.device.type == "cuda":
        needed = round(BYTES_PER_PARAMETER * parameters.total * kept_share(config, parameters, ranks))
        what = "weights, gradients and optimizer; activations come on top"
        found: tuple[int, str] | None = (torch.cuda.mem_get_info(ranks.device)[0], "free on the GPU")
    else:
        # The batch is shared by the ranks, and the machine's memory by those of them that it runs.
        own = config.override(batch_size=config.batch_size // ranks.size)
        parts = predicted(own, corpus)
        if config.parallel in EXPERT_PARALLEL and ranks.size > 1:
            share = kept_share(config, parameters, ranks)
            cut = ("weights", "gradients", "optimizer")
            kept = {name: round(getattr(parts, name) * share) for name in cut}
            parts = dataclasses.replace(parts, **kept)
        needed = parts.total
        peak = max(parts.gradients, parts.activations + parts.workspace)
        rest = needed - parts.weights - parts.optimizer - peak
        what = (
            f"weights {size(parts.weights)}, optimizer {size(parts.optimizer)}, gradients or activations "
            f"{size(peak)}, the rest {size(rest)}"
        )
        found = available_bytes()
        if found is not None and ranks.size > 1:
            found = found[0] // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size)), found[1]
    available, limit = found or (None, "")
    held_out = f"{corpus.validation_bytes:,} held out"
    return Outlook(
        name=config.name,
        device=str(ranks.device) if ranks.size == 1 else f"{ranks.size} processes, {ranks.device.type}",
        n_parameters=parameters.total,
        n_active=parameters.active,
        steps_left=max(0, config.steps - step),
        tokens_per_step=config.tokens_per_step,
        epochs=config.steps * config.tokens_per_step / len(corpus.train_N),
        corpus=f"{corpus.name}: {corpus.train_bytes:,} bytes to train on, {held_out}",
        needed_bytes=needed,
        what=what,
        available_bytes=available,
        limit=limit,
    )


def kept_share(config: TrainConfig, parameters: Parameters, ranks: Ranks) -> float:
    """Which share of all parameters, gradients and moments one rank keeps.

    With "auto", as if they were cut: it takes that where they would not fit otherwise.

    Examples
    --------
    >>> config = TrainConfig(parallel="ep")
    >>> parameters = count(describe_model(config.model))
    >>> round(kept_share(config, parameters, Ranks(0, 4)), 3)  # a quarter of the experts, and all else
    0.359
    """
    cut = 1 / ranks.size
    if config.parallel not in EXPERT_PARALLEL or ranks.size == 1:
        return 1.0 if config.parallel == "ddp" else cut
    experts = parameters.components["routed_experts"] / parameters.total
    dense = 1.0 if config.parallel == "ep" else cut
    return experts / (config.ep_size or ranks.size) + dense * (1 - experts)


def size(n_bytes: int) -> str:
    """Write bytes in the unit that suits them.

    Examples
    --------
    >>> size(75_400_000), size(51_200_000_000)
    ('75 MB', '51.2 GB')
    """
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
