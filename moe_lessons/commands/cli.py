"""The command line. Commands import what they need when they run, so that `--help` is instant."""

import contextlib
import errno
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import click

import moe_lessons
from moe_lessons.commands.bench import bench
from moe_lessons.commands.count import count
from moe_lessons.commands.data import data_command
from moe_lessons.commands.doctor import doctor
from moe_lessons.commands.ep_check import ep_check
from moe_lessons.commands.export_import import export_command, import_command
from moe_lessons.commands.generate import generate
from moe_lessons.commands.grade import grade, merge
from moe_lessons.commands.inspect import inspect
from moe_lessons.commands.train import is_first, train
from moe_lessons.commands.upcycle_prune import prune, upcycle

USER_ERROR, NO_MEMORY, DISK, INTERRUPTED = 2, 4, 5, 130
DISK_ERRORS = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO")} - {None}
SECONDS_TO_BE_FIRST = 3.0


class Interrupted(click.ClickException):
    """Ctrl-C or another signal, with what the command says about it."""

    def __init__(self, message: str, code: int = INTERRUPTED) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # of its kind, for click; of this signal, for us


class Commands(click.Group):
    """A group of commands whose expected errors are one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        """Keep what an interrupted command has to say; click alone would forget it."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _one_line(warnings.showwarning)
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            code = getattr(error, "exit_code", INTERRUPTED)
            raise Interrupted(str(error) or "interrupted", code) from error

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit with one of the codes that `main` lists."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help() if error.ctx else "")
            code = USER_ERROR
        except click.UsageError as error:
            code = _fail(_with_help(error))
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
                full = getattr(error, "errno", None) in DISK_ERRORS
                code = _fail(_described(error), getattr(error, "exit_code", DISK if full else USER_ERROR))
        except (MemoryError, RuntimeError) as error:
            # PyTorch reports exhausted memory as a RuntimeError of several lines.
            if "memory" not in str(error).lower() or os.environ.get("MOE_LESSONS_DEBUG"):
                raise
            code = _fail("out of memory: choose a smaller model, batch or context", NO_MEMORY)
        code = code if isinstance(code, int) else 0
        if "WORLD_SIZE" in os.environ:
            # Threads of gloo or NCCL can turn the orderly way out into an abort, or wait for a lost rank.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)


def _one_line(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Say a warning to users once, without the file and line that it comes from."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category is not UserWarning:
            otherwise(message, category, *where, **more)
        elif is_first():
            click.echo(f"note: {message}", err=True)
            warnings.filterwarnings("ignore", re.escape(str(message)))  # whoever else would say it

    return show


def _with_help(error: click.UsageError) -> str:
    """What click says about a wrong call, in common words, and the command that lists the right ones."""
    said = re.sub(r"\bvalid (integer|float) range\b", r"valid \1", error.format_message())
    return f"{said} See {error.ctx.command_path if error.ctx else 'moe-lessons'} --help."


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"  # what Python says begins with a number
    return str(error)


def _fail(message: str, code: int = USER_ERROR) -> int:
    if not is_first():
        if code > 128:
            return code
        # What is wrong on every rank, the first one says, and torchrun then ends the others while they wait.
        time.sleep(SECONDS_TO_BE_FIRST)
    with contextlib.suppress(OSError):  # the terminal may be gone
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

    Exit codes: 0 all is well; 1 doctor found something essential missing; 2 wrong input; 3 training
    diverged; 4 not enough memory; 5 the disk refuses, as when it is full; 6 another process of a run ended;
    130 interrupted by Ctrl-C, 129 by a terminal that closed (SIGHUP), 143 by SIGTERM.
    MOE_LESSONS_DEBUG=1 shows where an error came from.
    """


for command in (
    bench,
    count,
    data_command,
    doctor,
    ep_check,
    export_command,
    generate,
    grade,
    import_command,
    inspect,
    merge,
    prune,
    train,
    upcycle,
):
    main.add_command(command)
