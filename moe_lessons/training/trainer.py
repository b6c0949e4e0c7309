"""Train a `MoETransformer` on text: one loop for a laptop CPU and a GPU, resumable at any step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from moe_lessons.config import PRESETS, TrainConfig, preset
from moe_lessons.data import Corpus, load_corpus
from moe_lessons.model import MoETransformer
from moe_lessons.training.baselines import bigram_bits_per_byte, unigram_bits_per_byte
from moe_lessons.training.checkpoint import check_resumable, latest_checkpoint
from moe_lessons.training.distributed import gathered, meet
from moe_lessons.training.objective import evaluate
from moe_lessons.training.run import Run, TrainingDiverged, TrainingInterrupted
from moe_lessons.training.runlog import StepRecord

__all__ = [
    "PRESETS",
    "StepRecord",
    "TrainConfig",
    "TrainResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "evaluate",
    "preset",
    "train",
]


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves.

    Attributes
    ----------
    model : MoETransformer
        In evaluation mode.
    config : TrainConfig
    history : list of StepRecord
        One per `log_every` steps, those before a resume included if the run has a directory.
    corpus : Corpus
    unigram_bits_per_byte, bigram_bits_per_byte : float
        The baselines, fitted on the training part and measured on the same held-out bytes when first asked
        for.
    validation_bits_per_byte : float
    tokens_per_second : float
        Over the whole run, without evaluation and checkpoints.
    seconds : float
        Wall-clock time of the run, with them.
    checkpoint : Path or None
        The last one.
    """

    model: MoETransformer
    config: TrainConfig
    history: list[StepRecord]
    corpus: Corpus
    validation_bits_per_byte: float
    tokens_per_second: float
    seconds: float
    checkpoint: Path | None

    @cached_property
    def unigram_bits_per_byte(self) -> float:
        """What token frequencies alone reach."""
        return self._baseline(unigram_bits_per_byte)

    @cached_property
    def bigram_bits_per_byte(self) -> float:
        """What each token's predecessor alone reaches."""
        return self._baseline(bigram_bits_per_byte)

    def _baseline(self, fit: Callable[..., float]) -> float:
        corpus = self.corpus
        return fit(corpus.train_N, corpus.validation_M, byte_lengths_V=corpus.tokenizer.byte_lengths_V)


def train(
    config: TrainConfig,
    *,
    on_step: Callable[[StepRecord], None] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    corpus: Corpus | None = None,
) -> TrainResult:
    """Train from scratch, or go on from a checkpoint exactly as if the run had never stopped.

    Under torchrun every process calls this; see `moe_lessons.training.distributed`. Only the first one calls
    `on_step`, writes, and returns a model that is whole whatever `parallel` is.

    Parameters
    ----------
    config : TrainConfig
    on_step : callable, optional
        Called with a `StepRecord` every `log_every` steps, for a progress bar or a live plot.
    out : path, optional
        Directory for checkpoints, `log.jsonl` and `log.csv`; without it nothing is written.
    resume : path, optional
        A run's directory or one of its checkpoints. Unless `out` says otherwise, new checkpoints go
        to the same run.
    corpus : Corpus, optional
        One that is already loaded, instead of `config.corpus`; for several runs on the same text.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        If the corpus is too short, the device is not here, or `out` already holds a run.
    CheckpointError
        If a checkpoint is damaged, belongs to another configuration, or cannot be written.
    TrainingDiverged
        If loss or gradient is not finite.
    RankLost
        If another process of the run ends while this one needs it.
    TrainingInterrupted
        After Ctrl-C or SIGTERM, once the current step is finished and saved.
    """
    if resume is not None:
        check_resumable(latest_checkpoint(Path(resume)))
    with meet(config) as ranks:
        if corpus is None:
            with ranks.in_turn():
                corpus = load_corpus(
                    config.corpus,
                    context_length=config.model.context_length,
                    tokenizer=config.tokenizer,
                    vocab_size=config.model.vocab_size,
                )
        gpus = [torch.cuda.current_device()] if ranks.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.manual_seed(config.seed)
            run = Run(config, corpus, ranks)
            run.open(out, resume)
            run.loop(on_step)
            model = gathered(run.model, ranks)
    return TrainResult(
        model=model.eval(),
        config=config,
        history=run.log.records,
        corpus=corpus,
        validation_bits_per_byte=run.validation_bits_per_byte,
        tokens_per_second=run.step * config.tokens_per_step / max(run.training_s, 1e-9),
        seconds=run.elapsed_s,
        checkpoint=run.checkpoint,
    )
