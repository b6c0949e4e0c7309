"""The command line. Commands import what they need when they run, so that `--help` is instant."""

import errno
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

import moe_lessons
from moe_lessons.accounting.command import count
from moe_lessons.bench.command import bench
from moe_lessons.config import BALANCING, BALANCING_SCOPES, PARALLEL, PRESETS, preset
from moe_lessons.grade.command import grade, merge
from moe_lessons.interop.command import export_command, import_command

USER_ERROR, INTERRUPTED = 2, 130
SECONDS_TO_BE_FIRST = 3.0

# Threads that wait by spinning take the cores from whoever they wait for: beside another busy process,
# training was measured ten times slower. Read when torch loads, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Interrupted(click.ClickException):
    """Ctrl-C, with what the command says about it."""

    exit_code = INTERRUPTED


class Commands(click.Group):
    """A group of commands whose expected errors are one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        """Keep what an interrupted command has to say; click alone would forget it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(str(error) or "interrupted") from error

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit: 0 well, 1 not well (doctor), 2 wrong input, 130 interrupted."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help() if error.ctx else "")
            code = USER_ERROR
        except click.ClickException as error:
            # click's own exit codes for wrong input are 1 and 2.
            code = _fail(error.format_message(), max(error.exit_code, USER_ERROR))
        except click.Abort:
            code = _fail("interrupted", INTERRUPTED)
        except (ValueError, OSError) as error:
            if os.environ.get("MOE_LESSONS_DEBUG"):
                raise
            if getattr(error, "errno", None) == errno.EPIPE:
                # The reader has gone, as in `| head`; nothing more can be said on stdout.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 1
            else:
                code = _fail(str(error))
        except (MemoryError, RuntimeError) as error:
            # PyTorch reports exhausted memory as a RuntimeError of several lines.
            if "memory" not in str(error).lower() or os.environ.get("MOE_LESSONS_DEBUG"):
                raise
            code = _fail("out of memory: choose a smaller model, batch or context")
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = USER_ERROR) -> int:
    if not _first():
        if code == INTERRUPTED:
            return code
        # What is wrong on every rank, the first one says, and torchrun then ends the others while they wait.
        time.sleep(SECONDS_TO_BE_FIRST)
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(moe_lessons.__version__, prog_name="moe-lessons")
def main() -> None:
    """Mixture-of-Experts lessons: look at this machine, train a small model, let it write, grade a class.

    \b
    Examples:
      moe-lessons doctor
      moe-lessons train --preset cpu-tiny
      moe-lessons generate --prompt "The "
      moe-lessons grade submissions --out grades

    Exit codes: 0 all is well, 1 doctor found something essential missing, 2 wrong input or a full
    disk, 130 interrupted. MOE_LESSONS_DEBUG=1 shows where an error came from.
    """


main.add_command(bench)
main.add_command(count)
main.add_command(export_command)
main.add_command(grade)
main.add_command(import_command)
main.add_command(merge)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what is installed, which path will run and why, and how to get what is missing."""
    from moe_lessons.doctor import describe, diagnose

    found = diagnose()
    click.echo(json.dumps(found, indent=1) if as_json else describe(found))
    if any(item["essential"] for item in found["missing"]):
        context.exit(1)


OVERRIDES = {
    "steps": "Optimizer steps.",
    "batch_size": "Windows in a batch.",
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
}


def _override_options(command: Any) -> Any:
    defaults = {**PRESETS["cpu-tiny"].to_dict(), **PRESETS["cpu-tiny"].to_dict()["model"]}
    for name, text in reversed(OVERRIDES.items()):
        option = click.option(f"--{name.replace('_', '-')}", name, type=type(defaults[name]), help=text)
        command = option(command)
    return command


@main.command()
@click.option("--preset", "preset_name", metavar="NAME", help=f"One of {', '.join(PRESETS)}.  [cpu-tiny]")
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
    "--result", type=click.Path(path_type=Path), help="Write curves and settings to this JSON file."
)
def train(
    preset_name: str | None, out: Path | None, resume: str | None, result: Path | None, **overrides: Any
) -> None:
    """Train a mini MoE transformer on bytes and compare it with simple baselines.

    \b
    Examples:
      moe-lessons train                                 the cpu-tiny preset
      moe-lessons train --n-experts 16 --top-k 1 --steps 200
      moe-lessons train --corpus my_text.txt --out runs/mine
      moe-lessons train --resume                        go on after Ctrl-C
      torchrun --nproc-per-node 2 -m moe_lessons train  on two GPUs, or two CPU processes

    Several processes share each batch; --batch-size is that of all together. They make the same steps as one.
    """
    from moe_lessons.checkpoint import last_run, latest_checkpoint, read_state
    from moe_lessons.config import TrainConfig
    from moe_lessons.progress import Progress, summary
    from moe_lessons.report import write_report
    from moe_lessons.train import train as run

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
    with Progress(config, None if _first() else io.StringIO()) as progress:
        trained = run(config, on_step=progress, out=out, resume=checkpoint)
    if not _first():
        return
    if result is not None:
        write_report(trained, result)
    click.echo(summary(trained))


def _first() -> bool:
    """Whether this process speaks: under torchrun, the first of several."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def _free_directory(wanted: Path) -> Path:
    candidate, number = wanted, 1
    while any(candidate.glob("step-*")):
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate


@main.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A run or one of its checkpoints.  [the last trained]",
)
@click.option("--prompt", default="The ", show_default=True, help="Text to continue.")
@click.option("--tokens", default=400, show_default=True, type=click.IntRange(min=1), help="Tokens to add.")
@click.option("--temperature", default=0.6, show_default=True, help="0 takes the likeliest token.")
@click.option("--top-k", type=int, help="Draw among so many likeliest tokens only.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
def generate(
    checkpoint: Path | None, prompt: str, tokens: int, temperature: float, top_k: int | None, seed: int
) -> None:
    """Let a trained model write on from a prompt.

    \b
    Examples:
      moe-lessons generate --prompt "The for statement"
      moe-lessons generate --checkpoint runs/mine --temperature 0 --tokens 200
    """
    import torch

    from moe_lessons.checkpoint import last_run, latest_checkpoint, load_model
    from moe_lessons.data import saved_tokenizer
    from moe_lessons.generate import generate as write_on

    checkpoint = latest_checkpoint(checkpoint or last_run())
    model, state = load_model(checkpoint)
    tokenizer = saved_tokenizer(
        checkpoint.parent, vocab_size=model.config.vocab_size, sha256=state.get("tokenizer_sha256")
    )
    written = write_on(
        model,
        tokenizer.encode(prompt.encode()),
        tokens,
        temperature=temperature,
        top_k=top_k,
        generator=torch.Generator().manual_seed(seed),
    )
    click.echo(tokenizer.decode(written).decode(errors="replace"))
