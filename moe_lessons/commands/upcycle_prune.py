"""``moe-lessons upcycle`` and ``prune``; they import what they need when they run."""

from pathlib import Path
from typing import Any

import click


@click.command(no_args_is_help=True)
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--experts", required=True, type=int, help="Of each layer.")
@click.option("--top-k", default=2, show_default=True, type=int, help="Experts that a token gets.")
@click.option(
    "--granularity",
    default=1,
    show_default=True,
    type=int,
    help="Cut each copy into so many experts; --experts and --top-k count the slices.",
)
@click.option(
    "--noise", default=0.0, show_default=True, help="On the experts, in standard deviations of their weights."
)
@click.option(
    "--router",
    default="random",
    show_default=True,
    type=click.Choice(["random", "zero", "free"]),
    help="Its rows: drawn for each copy; zero; drawn for each slice, which is not exact.",
)
@click.option("--router-std", default=0.02, show_default=True, type=click.FloatRange(0), help="Of its rows.")
@click.option("--seed", default=0, show_default=True, help="Of router and noise.")
def upcycle(
    source: Path,
    target: Path,
    experts: int,
    top_k: int,
    granularity: int,
    noise: float,
    router: str,
    router_std: float,
    seed: int,
) -> None:
    """Make a Mixtral out of a dense model: each expert is a copy of its feed-forward network.

    SRC is a folder of Hugging Face's of type llama or mistral (config.json and safetensors), or a run of
    `moe-lessons train` with one expert. DST is a new folder, which transformers loads. Without noise its
    logits are those of SRC; train it, and the experts part.

    \b
    Examples:
      moe-lessons upcycle path/to/llama my-moe --experts 8 --top-k 2
      moe-lessons upcycle path/to/llama my-moe --experts 16 --top-k 4 --granularity 2
      moe-lessons upcycle runs/dense my-moe --experts 8 --noise 0.01
    """
    from moe_lessons.adaptation.upcycled_folders import upcycle_folder

    made = upcycle_folder(
        source,
        target,
        experts,
        top_k=top_k,
        granularity=granularity,
        noise=noise,
        router=router,
        router_std=router_std,
        seed=seed,
    )
    exact = not noise and (router != "free" or granularity == 1)
    _say(made)
    click.echo(f"logits: {'those of' if exact else 'not quite those of'} the dense model, until you train it")


@click.command(no_args_is_help=True)
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--keep", required=True, type=click.IntRange(1), help="Experts that each layer keeps; at least K."
)
@click.option(
    "--by",
    default="frequency",
    show_default=True,
    type=click.Choice(["frequency", "weight", "reap", "norm", "loss", "random"]),
    help="What makes an expert important on the text.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File to count on: it decides whose knowledge stays.  [the language reference]",
)
@click.option("--tokens", default=8192, show_default=True, type=click.IntRange(2), help="Of it, at most.")
@click.option("--seed", default=0, show_default=True, help="Of --by random.")
def prune(source: Path, target: Path, keep: int, by: str, text: Path | None, tokens: int, seed: int) -> None:
    """Take experts out of a Mixtral, with their rows of the router.

    SRC is a Mixtral folder (config.json and safetensors), or a run of `moe-lessons train`. DST is a new
    folder, which transformers loads. --by says what counts: how often an expert is chosen (frequency), the
    sum of its weights (weight), the mean of weight times norm of its answer (reap), the mean norm (norm), by
    how much the loss rises without it (loss), or a number drawn (random). Nothing is trained afterwards.

    \b
    Examples:
      moe-lessons prune my-moe smaller --keep 6 --by reap --text my-text.txt
      moe-lessons prune runs/cpu-tiny smaller --keep 4 --by random --seed 1
    """
    from moe_lessons.adaptation.pruned_folders import prune_folder
    from moe_lessons.data import language_reference

    sample = b"" if by == "random" else language_reference() if text is None else text.read_bytes()
    made = prune_folder(source, target, keep, by=by, text=sample, n_tokens=tokens, seed=seed)
    _say(made)


def _say(made: Any) -> None:
    click.echo(
        f'{made.folder}: load it with transformers.AutoModelForCausalLM.from_pretrained("{made.folder}")'
    )
    click.echo(f"parameters: {made.before:,} before, {made.after:,} now; a token meets {made.active:,}")
