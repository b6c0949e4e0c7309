"""``moe-lessons train``; it imports what it needs when it runs."""

import dataclasses
import io
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from moe_lessons.commands.train_options import setting_options
from moe_lessons.config import PRESETS, ModelConfig, TrainConfig, preset, read_toml, to_toml


def _list_presets(context: click.Context, _: Any, wanted: bool) -> None:
    if wanted:
        from moe_lessons.commands.preset_table import preset_table

        click.echo(preset_table())
        context.exit()


@click.command()
@click.option("--preset", "preset_name", metavar="NAME", help=f"One of {', '.join(PRESETS)}.  [cpu-tiny]")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_presets,
    help="Describe the presets, and exit.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Settings from a TOML file; options override them.",
)
@click.option("--print-config", is_flag=True, help="Print the settings as such a file, and exit.")
@setting_options
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the run.  [runs/PRESET]")
@click.option(
    "--init-from",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Begin with the weights of a run, or of a Mixtral folder of Hugging Face's, and a fresh optimizer.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[PATH]",
    help="Go on with a run: its directory, one of its checkpoints, or nothing for the last run.",
)
@click.option(
    "--extend",
    type=click.Choice(["floor", "rewarm"]),
    help="With --resume and other --steps: stay at the rate where the schedule ended, or begin it anew.  "
    "[floor]",
)
@click.option(
    "--change-schedule",
    is_flag=True,
    help="With --resume, take another learning rate, schedule, weight decay, betas or clip from here on.",
)
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write curves and settings to this JSON file.",
)
@click.option(
    "--log-to",
    multiple=True,
    type=click.Choice(["tensorboard", "wandb"]),
    help="Also send what log.csv holds there; may be given twice.",
)
@click.option("--tensorboard", is_flag=True, help="The same as --log-to tensorboard.")
@click.option("--ignore-memory", is_flag=True, help="Try a run that is predicted not to fit into memory.")
def train(
    preset_name: str | None,
    config_file: Path | None,
    print_config: bool,
    out: Path | None,
    init_from: Path | None,
    resume: str | None,
    extend: str | None,
    change_schedule: bool,
    result: Path | None,
    log_to: tuple[str, ...],
    tensorboard: bool,
    ignore_memory: bool,
    **overrides: Any,
) -> None:
    """Train a mini MoE transformer and compare it with simple baselines.

    \b
    Examples:
      moe-lessons train                                 the cpu-tiny preset
      moe-lessons train --n-experts 16 --top-k 1 --gate softmax_topk --steps 200
      moe-lessons train --corpus my_text.txt --corpus notes/ --out runs/mine
      moe-lessons train --resume                        go on after Ctrl-C
      moe-lessons train --resume runs/mine --steps 3000 go on for longer
      moe-lessons train --init-from my-model --corpus my_text.txt --learning-rate 3e-4
      moe-lessons train --preset lesson --print-config > run.toml
      moe-lessons train --config run.toml --steps 100
      moe-lessons train --list                          what the presets are
      torchrun --nproc-per-node 2 -m moe_lessons train  on two GPUs, or two CPU processes

    Several processes share each batch; --batch-size is that of all together. They make the same steps as one.
    In brackets: the defaults, those of the preset cpu-tiny. The run's folder records all settings (run.toml).

    Exit codes: 0 trained; 2 wrong input; 3 diverged; 4 not enough memory; 5 the disk refuses; 6 another
    process of the run ended; 129, 130, 143 stopped by SIGHUP, Ctrl-C or SIGTERM, after saving.
    """
    overrides["corpus"] = _corpora(overrides["corpus"])
    if init_from is not None and resume is not None:
        raise ValueError("--init-from with --resume: choose new weights, or a run to go on with")
    if extend is not None and (resume is None or overrides["steps"] is None):
        raise ValueError(
            "--extend: say with --resume which run, and with --steps how many steps it is to have"
        )
    checkpoint = _checkpoint(resume)
    if checkpoint is not None and preset_name is None and config_file is None:
        from moe_lessons.training.checkpoint import read_state

        config = TrainConfig.from_dict(read_state(checkpoint)["config"])
    else:
        config = _settings(preset_name, config_file)
    start = None
    if init_from is not None:
        from moe_lessons.interop.starting import starting_point

        start = starting_point(init_from)
        config = _with_model(config, start.model, start.tokenizer, overrides, init_from)
    else:
        config = config.override(**overrides)
    if print_config:
        click.echo(to_toml(config), nl=False)
        return
    if out is None and checkpoint is None:
        out = _free_directory(Path("runs") / config.name)
    if checkpoint is not None and overrides["steps"] is not None:
        extend = extend or "floor"
    where = {
        "out": out,
        "resume": checkpoint,
        "extend": extend,
        "change_schedule": change_schedule,
        "weights": start.fill if start else None,
        "origin": start.origin if start else "",
        "check_memory": not ignore_memory,
    }
    run_dir = out if out is not None or checkpoint is None else checkpoint.parent
    _run(config, where, run_dir, [*log_to, *(["tensorboard"] if tensorboard else [])], result)


def _run(
    config: TrainConfig, where: dict[str, Any], run_dir: Path | None, loggers: list[str], result: Path | None
) -> None:
    from moe_lessons.commands.progress import Progress, summary
    from moe_lessons.training import train as run
    from moe_lessons.training.loggers import open_loggers
    from moe_lessons.training.report import write_report
    from moe_lessons.training.runlog import StepRecord

    with ExitStack() as stack:
        progress = stack.enter_context(Progress(config, None if is_first() else io.StringIO()))
        watching: list[Any] = [progress]
        if is_first() and run_dir is not None:
            watching += [
                stack.enter_context(logger)
                for logger in open_loggers(dict.fromkeys(loggers), run_dir, config)
            ]

        def show(record: StepRecord) -> None:
            for watch in watching:
                watch(record)

        trained = run(config, on_step=show, on_note=progress.say, **where)
    if not is_first():
        return
    progress.say(summary(trained))
    if result is not None:
        write_report(trained, result)


def _settings(preset_name: str | None, config_file: Path | None) -> TrainConfig:
    if config_file is None:
        return preset(preset_name or "cpu-tiny")
    if preset_name is not None:
        raise ValueError(
            '--preset with --config: name the preset in the file instead, as in preset = "lesson"'
        )
    from moe_lessons.data import CORPORA, SOURCES

    config = read_toml(config_file)

    def beside(name: str) -> str:
        known = name in CORPORA or name in SOURCES or name in ("", "bytes", "bpe")
        return name if known else os.path.abspath(config_file.parent / Path(name).expanduser())

    corpus = config.corpus
    return dataclasses.replace(
        config,
        corpus=beside(corpus) if isinstance(corpus, str) else tuple(map(beside, corpus)),
        held_out=beside(config.held_out),
        tokenizer=beside(config.tokenizer),
    )


def _with_model(
    config: TrainConfig, model: ModelConfig, tokenizer: str, overrides: dict[str, Any], folder: Path
) -> TrainConfig:
    """Give a configuration the model that is there already; its context may become shorter."""
    sizes = {item.name for item in dataclasses.fields(ModelConfig)}
    for name in sizes & overrides.keys():
        asked, there = overrides[name], getattr(model, name)
        shorter = name == "context_length" and asked is not None and asked <= there
        if asked not in (None, there) and not shorter:
            raise ValueError(
                f"--{name.replace('_', '-')} {asked}: the model in {folder} has {name}={there}; leave it out"
            )
    if overrides["context_length"] is not None:
        model = dataclasses.replace(model, context_length=overrides["context_length"])
    if overrides["tokenizer"] is None:
        overrides["tokenizer"] = tokenizer
    training = {name: value for name, value in overrides.items() if name not in sizes and value is not None}
    name = "tuned" if config.name in PRESETS else config.name
    return dataclasses.replace(config, model=model, **{"name": name, **training})


def _checkpoint(resume: str | None) -> Path | None:
    if resume is None:
        return None
    from moe_lessons.training.rundir import last_run, latest_checkpoint

    return latest_checkpoint(last_run() if resume == "last" else Path(resume))


def _corpora(given: tuple[str, ...]) -> str | tuple[str, ...] | None:
    if len(given) > 1:
        return given
    return given[0] if given else None


def is_first() -> bool:
    """Whether this process speaks: under torchrun, the first of several."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def _free_directory(wanted: Path) -> Path:
    candidate, number = wanted, 1
    while any(candidate.glob("step-*")):
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate
