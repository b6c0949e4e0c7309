"""``moe-lessons export`` and ``import``; they import what they need when they run."""

from pathlib import Path

import click


@click.command("export")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Of the stored weights.",
)
def export_command(run: Path | None, folder: Path, dtype: str) -> None:
    """Write a trained model as a Mixtral folder that Hugging Face transformers loads.

    RUN is a run or one of its checkpoints; without it, the last trained.

    \b
    Examples:
      moe-lessons export --to my-model
      moe-lessons export runs/mine --to my-model --dtype bfloat16
    """
    from moe_lessons.interop.exporting import export_checkpoint
    from moe_lessons.training.checkpoint import last_run

    export_checkpoint(run or last_run(), folder, dtype=dtype)
    click.echo(f'{folder}: load it with transformers.AutoModelForCausalLM.from_pretrained("{folder}")')


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", "run", required=True, type=click.Path(path_type=Path), help="A new run's folder.")
def import_command(folder: Path, run: Path) -> None:
    """Take over a Mixtral folder (config.json and safetensors) as a run.

    \b
    Examples:
      moe-lessons import my-model --to runs/imported
      moe-lessons generate --checkpoint runs/imported
    """
    from moe_lessons.interop.importing import import_folder

    import_folder(folder, run)
    click.echo(f"{run}: let it write with moe-lessons generate --checkpoint {run}")
