"""How a run ends early, and what it says then."""

import signal

import torch

from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus, window_starts
from moe_lessons.training.distributed import Ranks

MOST_NAMED = 8


class TrainingInterrupted(KeyboardInterrupt):
    """The run was stopped by a signal, such as Ctrl-C; the message says where its last checkpoint is."""

    def __init__(self, message: str = "", signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum  # as shells count


class TrainingDiverged(ValueError):
    """The loss or its gradient is no longer a number; the weights are those of the step before."""

    exit_code = 3


def name_windows(
    corpus: Corpus,
    config: TrainConfig,
    step: int,
    *,
    micro_batch: int | None = None,
    ranks: Ranks | None = None,
) -> str:
    """Say which part of the corpus a step saw, so that one can look at it.

    Parameters
    ----------
    corpus : Corpus
    config : TrainConfig
    step : int
        Counted from 0, as for `training_batch`.
    micro_batch : int, optional
        Only this one of the step's, counted from 0.
    ranks : Ranks, optional
        Only this rank's share; by default there is one rank.

    Examples
    --------
    >>> tokens_N = torch.arange(100)
    >>> corpus = Corpus("counting", tokens_N, tokens_N, "")
    >>> config = TrainConfig(batch_size=2).override(context_length=4)
    >>> name_windows(corpus, config, 7)
    'windows of 4 tokens that start at 37, 33 of the training part of counting'
    """
    length = config.model.context_length
    starts_B = window_starts(
        len(corpus.train_N),
        batch_size=config.batch_size,
        context_length=length,
        seed=config.seed,
        step=step,
    )
    starts_B = (ranks or Ranks()).rows(starts_B, config.accumulation_steps)
    if micro_batch is not None:
        starts_B = starts_B.chunk(config.accumulation_steps)[micro_batch]
    named = ", ".join(map(str, starts_B[:MOST_NAMED].tolist()))
    more = f" and {len(starts_B) - MOST_NAMED} more places" if len(starts_B) > MOST_NAMED else ""
    which = (
        f"micro-batch {micro_batch + 1} of {config.accumulation_steps}, " if micro_batch is not None else ""
    )
    return (
        f"{which}windows of {length} tokens that start at {named}{more} of the training part of {corpus.name}"
    )


def first_bad(loss_M: torch.Tensor) -> int | None:
    """Return the first micro-batch whose loss is not finite; None if all are, or if there is only one.

    Examples
    --------
    >>> first_bad(torch.tensor([1.0, float("nan")])), first_bad(torch.tensor([1.0, 2.0]))
    (1, None)
    """
    bad = (~loss_M.isfinite()).nonzero().flatten().tolist()
    return bad[0] if bad and len(loss_M) > 1 else None
