"""``moe-lessons inspect``; imports what it needs when it runs."""

from pathlib import Path

import click


@click.command(no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="")
@click.option(
    "--text",
    "texts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE...",
    help="Text to route; several files are several domains.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the trace and the page.  [inspect/MODEL]"
)
@click.option(
    "--tokens", default=4096, show_default=True, type=click.IntRange(1, 10**7), help="Of each file, at most."
)
@click.option("--length", type=click.IntRange(1, 10**6), help="Tokens read at once.  [1024, or the model's]")
@click.option(
    "--dtype",
    default="bf16",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Of the weights of a Hugging Face model.",
)
@click.option("--device", help="cpu, cuda.  [cuda where there is one]")
@click.option("--download", is_flag=True, help="Fetch what is missing from the Hugging Face hub.")
@click.option("--no-untrained", is_flag=True, help="Route no copy with random weights for comparison.")
@click.option("--no-logits", is_flag=True, help="Leave the E logits of each token out of the trace.")
@click.option("--seed", default=0, show_default=True, help="Of the untrained copy, and of what is shuffled.")
def inspect(
    model: str,
    more: tuple[Path, ...],
    texts: tuple[Path, ...],
    out: Path | None,
    tokens: int,
    length: int | None,
    dtype: str,
    device: str | None,
    download: bool,
    no_untrained: bool,
    no_logits: bool,
    seed: int,
) -> None:
    """Look at what the routers of a model do with a text.

    MODEL is the folder of a Hugging Face model, a name on its hub, or a run of `moe-lessons train`. Nothing
    is downloaded unless you say so. Written are a trace (trace.safetensors, trace.json), its numbers
    (findings.json) and a page (report.html).

    \b
    Examples:
      moe-lessons inspect runs/cpu-tiny --text README.md
      moe-lessons inspect path/to/OLMoE-1B-7B --text prose.txt code.py
      moe-lessons inspect allenai/OLMoE-1B-7B-0924 --download --text prose.txt
    """
    from moe_lessons.inspect.running import Settings, run

    settings = Settings(
        tokens=tokens,
        length=length,
        dtype=dtype,
        device=device,
        download=download,
        untrained=not no_untrained,
        logits=not no_logits,
        seed=seed,
    )
    run(model, [*texts, *more], out, settings, say=lambda line: click.echo(line, err=True))
