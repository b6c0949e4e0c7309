"""``moe-lessons train``; it imports what it needs when it runs."""

import io
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from moe_lessons.config import BALANCING, BALANCING_SCOPES, PARALLEL, PRECISIONS, PRESETS, preset

OVERRIDES = {
    "steps": "Optimizer steps.",
    "batch_size": "Windows in a step.",
    "accumulation_steps": "Micro-batches that a step's windows are cut into, to save memory.",
    "seed": "Seed of weights and batches.",
    "learning_rate": "Peak learning rate.",
    "balancing": f"How experts are kept in use: {', '.join(BALANCING)}. A bias needs --gate sigmoid.",
    "alpha": "Weight of the load-balancing loss, with aux_loss.",
    "bias_rate": "Step of the expert bias, with bias_sign and the like.",
    "z_loss_weight": "Weight of the router z-loss.",
    "corpus": "language-reference, standard-library, one of `data list`, or the path of a text file.",
    "tokenizer": "bytes, bpe (byte pairs, learned from the training part) or a tokenizer.json.",
    "vocab_size": "Tokens, the 256 bytes among them; 4096 for bpe unless given.",
    "device": "auto, cpu or cuda.",
    "precision": f"Of the products: {', '.join(PRECISIONS)}. auto is bf16 on a GPU that has it, else fp32.",
    "compile": "Let torch.compile rewrite the forward pass.",
    "parallel": f"Under torchrun: {', '.join(PARALLEL)}. fsdp cuts weights and optimizer into shards.",
    "balancing_scope": f"Where aux_loss evens out loads: {', '.join(BALANCING_SCOPES)}.",
    "n_layers": "Layers.",
    "d_model": "D, width of the model.",
    "n_heads": "Attention heads.",
    "n_kv_heads": "Key-value heads; fewer than heads for grouped-query attention.",
    "d_expert": "F, hidden width of an expert.",
    "n_experts": "E, experts in a layer.",
    "top_k": "K, experts chosen per token.",
    "n_shared_experts": "Experts that every token passes.",
    "gate": "How router logits become weights.",
    "context_length": "Tokens in a window.",
    "log_every": "Steps between records.",
    "evaluate_every": "Steps between evaluations.",
    "checkpoint_every": "Steps between checkpoints.",
}


def _override_options(command: Any) -> Any:
    defaults = {**PRESETS["cpu-tiny"].to_dict(), **PRESETS["cpu-tiny"].to_dict()["model"]}
    for name, text in reversed(OVERRIDES.items()):
        kind, flag = type(defaults[name]), f"--{name.replace('_', '-')}"
        if kind is bool:
            option = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
        else:
            option = click.option(flag, name, type=kind, help=text)
        command = option(command)
    return command


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
@_override_options
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the run.  [runs/PRESET]")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[PATH]",
    help="Go on with a run: its directory, one of its checkpoints, or nothing for the last run.",
)
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write curves and settings to this JSON file.",
)
@click.option("--tensorboard", is_flag=True, help="Also write what log.csv holds for TensorBoard.")
def train(
    preset_name: str | None,
    out: Path | None,
    resume: str | None,
    result: Path | None,
    tensorboard: bool,
    **overrides: Any,
) -> None:
    """Train a mini MoE transformer and compare it with simple baselines.

    \b
    Examples:
      moe-lessons train                                 the cpu-tiny preset
      moe-lessons train --n-experts 16 --top-k 1 --gate softmax_topk --steps 200
      moe-lessons train --corpus my_text.txt --out runs/mine
      moe-lessons train --resume                        go on after Ctrl-C
      moe-lessons train --list                          what the presets are
      torchrun --nproc-per-node 2 -m moe_lessons train  on two GPUs, or two CPU processes

    Several processes share each batch; --batch-size is that of all together. They make the same steps as one.
    """
    from moe_lessons.commands.progress import Progress, summary
    from moe_lessons.config import TrainConfig
    from moe_lessons.training import train as run
    from moe_lessons.training.checkpoint import last_run, latest_checkpoint, read_state
    from moe_lessons.training.report import write_report
    from moe_lessons.training.runlog import StepRecord
    from moe_lessons.training.tensorboard import TensorBoard

    checkpoint = None
    if resume is not None:
        checkpoint = latest_checkpoint(last_run() if resume == "last" else Path(resume))
    if checkpoint is not None and preset_name is None:
        config = TrainConfig.from_dict(read_state(checkpoint)["config"])
    else:
        config = preset(preset_name or "cpu-tiny")
    config = config.override(**overrides)
    if out is None and checkpoint is None:
        out = _free_directory(Path("runs") / config.name)
    run_dir = out if out is not None or checkpoint is None else checkpoint.parent
    board = TensorBoard(run_dir) if tensorboard and run_dir is not None and is_first() else nullcontext()
    with Progress(config, None if is_first() else io.StringIO()) as progress, board as write:

        def show(record: StepRecord) -> None:
            progress(record)
            if write is not None:
                write(record)

        trained = run(config, on_step=show, out=out, resume=checkpoint)
    if not is_first():
        return
    click.echo(summary(trained))
    if result is not None:
        write_report(trained, result)


def is_first() -> bool:
    """Whether this process speaks: under torchrun, the first of several."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def _free_directory(wanted: Path) -> Path:
    candidate, number = wanted, 1
    while any(candidate.glob("step-*")):
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate
