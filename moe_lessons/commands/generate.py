"""``moe-lessons generate``; it imports what it needs when it runs."""

from pathlib import Path

import click


@click.command()
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

    if abs(seed) >= 2**63:
        raise ValueError(f"seed={seed}: choose a number below 2**63")
    from moe_lessons.data import saved_tokenizer
    from moe_lessons.model import generate as write_on
    from moe_lessons.training.checkpoint import last_run, latest_checkpoint, load_model

    checkpoint = latest_checkpoint(checkpoint or last_run())
    model, state = load_model(checkpoint)
    tokenizer = saved_tokenizer(
        checkpoint.parent, vocab_size=model.config.vocab_size, sha256=state.get("tokenizer_sha256")
    )
    written = write_on(
        model,
        tokenizer.encode(prompt.encode(errors="surrogateescape")),  # any bytes will do
        tokens,
        temperature=temperature,
        top_k=top_k,
        generator=torch.Generator().manual_seed(seed),
    )
    click.echo(tokenizer.decode(written).decode(errors="replace"))
