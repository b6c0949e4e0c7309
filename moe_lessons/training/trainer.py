"""Train a `MoETransformer` on text: one loop for a laptop CPU and a GPU, resumable at any step."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from moe_lessons.config import PRESETS, TOKENIZERS, TrainConfig, preset
from moe_lessons.data import Corpus, load_corpus, whole_path
from moe_lessons.model import MoETransformer
from moe_lessons.training.baselines import bigram_bits_per_byte, unigram_bits_per_byte
from moe_lessons.training.checkpoint import check_resumable, latest_checkpoint, read_state
from moe_lessons.training.distributed import check_same, meet
from moe_lessons.training.objective import evaluate
from moe_lessons.training.outlook import look_ahead
from moe_lessons.training.resuming import check_same_run, plan
from moe_lessons.training.run import Run, TrainingDiverged, TrainingInterrupted
from moe_lessons.training.runlog import StepRecord
from moe_lessons.training.shards import gathered

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
    initial_bits_per_byte : float
        Before the first step, if the weights came from elsewhere; else not a number.
    best : (float, int) or None
        The best of the evaluations, in held-out bits per byte, and its step.
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
    initial_bits_per_byte: float = math.nan
    best: tuple[float, int] | None = None

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
    on_note: Callable[[str], None] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    extend: str | None = None,
    change_schedule: bool = False,
    weights: Callable[[MoETransformer], None] | None = None,
    origin: str = "elsewhere",
    corpus: Corpus | None = None,
    check_memory: bool = True,
) -> TrainResult:
    """Train from scratch or from given weights, or go on from a checkpoint as if the run had never stopped.

    Under torchrun every process calls this; see `moe_lessons.training.distributed`. Only the first one calls
    `on_step`, writes, and returns a model that is whole whatever `parallel` is.

    Parameters
    ----------
    config : TrainConfig
    on_step : callable, optional
        Called with a `StepRecord` every `log_every` steps, for a progress bar or a live plot.
    on_note : callable, optional
        Called with lines on what the run will be, and what a resume changes.
    out : path, optional
        Directory for checkpoints, `run.toml`, `log.jsonl` and `log.csv`; without it nothing is written.
    resume : path, optional
        A run's directory or one of its checkpoints. Unless `out` says otherwise, new checkpoints go
        to the same run.
    extend : str, optional
        With `resume`, other `steps` are allowed: "floor" or "rewarm", see `training.schedule.extended`.
    change_schedule : bool
        With `resume`, another learning rate, schedule or AdamW setting is taken from here on.
    weights : callable, optional
        Fills a fresh model, as `moe_lessons.interop.starting` does; the optimizer begins anew.
    origin : str
        Where they are from, for the record.
    corpus : Corpus, optional
        One that is already loaded, instead of `config.corpus`; for several runs on the same text.
    check_memory : bool
        Refuse what cannot fit, before anything is allocated.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        If the corpus is too short, the device is not here, or `out` already holds a run.
    DoesNotFit
        If the run needs more memory than there is.
    CheckpointError
        If a checkpoint is damaged, belongs to another configuration, or cannot be written.
    TrainingDiverged
        If loss or gradient is not finite.
    RankLost
        If another process of the run ends while this one needs it.
    TrainingInterrupted
        After Ctrl-C, SIGTERM or SIGHUP, once the current step is finished and saved.
    """
    going_on = None
    if resume is not None:
        resume = latest_checkpoint(Path(resume))
        check_resumable(resume)
        going_on = plan(config, resume, extend=extend, change_schedule=change_schedule)
        config = going_on.config
    notes = going_on.notes if going_on else []
    with meet(config) as ranks:
        say = on_note if on_note is not None and ranks.first else lambda line: None
        if corpus is None:
            config = from_the_root(config)
            with ranks.in_turn():
                corpus = load_corpus(
                    config.corpus,
                    context_length=config.model.context_length,
                    tokenizer=config.tokenizer,
                    vocab_size=config.model.vocab_size,
                    held_out=config.held_out or None,
                    held_out_share=config.held_out_share,
                    repeats=config.repeats,
                )
        if ranks.size > 1:
            check_same(ranks, {"text": corpus.sha256, "tokenizer": corpus.tokenizer.sha256})
        if going_on is not None and resume is not None:  # before anything is said about the run
            check_same_run(resume, read_state(resume), config, corpus, going_on.free)
        ahead = look_ahead(config, corpus, ranks, step=going_on.step if going_on else 0)
        for line in (*corpus.notes, *ahead.lines(), *notes):
            say(line)
        if check_memory:
            ahead.check()
        gpus = [torch.cuda.current_device()] if ranks.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.manual_seed(config.seed)
            run = Run(config, corpus, ranks, fill=weights, say=say)
            new_from = origin if weights is not None and resume is None else None
            run.open(out, resume, changes=notes, origin=new_from)
            run.loop(on_step)
            model = gathered(run.model, ranks)
    best = run.best if run.best["step"] is not None else None
    return TrainResult(
        model=model.eval(),
        config=config,
        history=run.log.records,
        corpus=corpus,
        validation_bits_per_byte=run.validation_bits_per_byte,
        tokens_per_second=run.step * config.tokens_per_step / max(run.training_s, 1e-9),
        seconds=run.elapsed_s,
        checkpoint=run.checkpoint,
        initial_bits_per_byte=run.initial_bits_per_byte,
        best=(best["bits_per_byte"], best["step"]) if best else None,
    )


def from_the_root(config: TrainConfig) -> TrainConfig:
    """Write the paths of texts and tokenizer from the root, so that a resume finds them from anywhere.

    Examples
    --------
    >>> from_the_root(TrainConfig(corpus="language-reference")).corpus
    'language-reference'
    """
    corpus = config.corpus
    whole = whole_path(corpus) if isinstance(corpus, str) else tuple(map(whole_path, corpus))
    tokenizer = config.tokenizer if config.tokenizer in TOKENIZERS else whole_path(config.tokenizer)
    held_out = whole_path(config.held_out) if config.held_out else ""
    return dataclasses.replace(config, corpus=whole, tokenizer=tokenizer, held_out=held_out)
