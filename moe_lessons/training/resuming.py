"""What a resumed run may change, and what it says about that."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from moe_lessons.config import TrainConfig, difference
from moe_lessons.data import Corpus
from moe_lessons.training.checkpoint import read_state
from moe_lessons.training.rundir import CheckpointError, latest_checkpoint
from moe_lessons.training.schedule import SCHEDULE_SETTINGS, extended, learning_rate_at

# These may change at any resume: they don't touch the weights. Texts and tokenizers have their checksums.
FREE_SETTINGS = (
    "name",
    "corpus",
    "held_out",
    "repeats",
    "tokenizer",
    "device",
    "parallel",
    "ep_size",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep",
)
EXTENSION = ("steps", "schedule_start", "schedule_steps")


class Resumption(NamedTuple):
    """How a run goes on.

    Attributes
    ----------
    config : TrainConfig
    step : int
        From which one.
    free : frozenset of str
        Settings that may differ from those of before.
    notes : list of str
        What does, to be printed and recorded.
    """

    config: TrainConfig
    step: int
    free: frozenset[str]
    notes: list[str]


def plan(
    config: TrainConfig, resume: str | Path, *, extend: str | None = None, change_schedule: bool = False
) -> Resumption:
    """Decide how a run goes on.

    Parameters
    ----------
    config : TrainConfig
        What is wanted.
    resume : path
        A run's directory or one of its checkpoints.
    extend : str, optional
        "floor" or "rewarm": other `steps` are allowed; see `moe_lessons.training.schedule.extended`.
    change_schedule : bool
        Other values of `SCHEDULE_SETTINGS` are allowed, from here on.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, or it is damaged.
    ValueError
        If the run has as many steps already.
    """
    state = read_state(latest_checkpoint(Path(resume)))
    before, step = TrainConfig.from_dict(state["config"]), state["step"]
    free, notes = set(FREE_SETTINGS), []
    if "repeats" not in state["config"]:  # from before texts were looked through for them
        config = dataclasses.replace(config, repeats="keep")
    if extend is not None and config.steps != before.steps:
        steps = config.steps
        config, rule = extended(dataclasses.replace(config, steps=before.steps), step, steps, extend)
        free |= {*EXTENSION}
        notes.append(rule)
    if change_schedule:
        free |= {*SCHEDULE_SETTINGS}
        ours, theirs = ({name: getattr(c, name) for name in SCHEDULE_SETTINGS} for c in (config, before))
        hidden = EXTENSION if extend is not None else ()
        changes = [line for line in difference(ours, theirs) if line.partition(":")[0] not in hidden]
        if changes:
            rate = learning_rate_at(config, step)
            what = f"changed from step {step} on: {', '.join(changes)}"
            notes.append(f"{what}; the next step has the rate {rate:.4g}")
    return Resumption(config, step, frozenset(free), notes)


def check_same_run(
    checkpoint: Path, state: dict[str, Any], config: TrainConfig, corpus: Corpus, free: frozenset[str]
) -> None:
    """Refuse to go on with a checkpoint of another run.

    Raises
    ------
    CheckpointError
        With each difference, and what to do about it.
    """
    ours = _plain(config)
    theirs = _plain(TrainConfig.from_dict(state["config"]))
    same_tokenizer = state.get("tokenizer_sha256") == corpus.tokenizer.sha256
    for name in {*FREE_SETTINGS, *free} - (set() if same_tokenizer else {"tokenizer"}):
        theirs.pop(name)
        ours.pop(name)
    theirs["corpus_sha256"], ours["corpus_sha256"] = state["corpus_sha256"], corpus.sha256
    theirs["tokenizer_sha256"] = state.get("tokenizer_sha256")
    ours["tokenizer_sha256"] = corpus.tokenizer.sha256
    changes = difference(ours, theirs)
    if not changes:
        return
    names = {line.partition(":")[0] for line in changes}
    remedy = "resume without these changes or start a new run"
    if names == {"steps"}:
        remedy = "say how the schedule goes on: extend='floor' or 'rewarm' (--extend)"
    elif names <= {*SCHEDULE_SETTINGS}:
        remedy = "to go on with these from here, add --change-schedule"
    elif names == {"corpus_sha256"}:
        remedy = "the text has changed since: give the one of then, or start a new run from these weights "
        remedy += f"(--init-from {checkpoint.parent})"
    raise CheckpointError(
        f"{checkpoint} belongs to another run; there -> here: {', '.join(changes)}; {remedy}"
    )


def _plain(config: TrainConfig) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict()))
