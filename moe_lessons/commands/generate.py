"""``moe-lessons generate``; it imports what it needs when it runs."""

import codecs
from pathlib import Path

import click

MOST_TOKENS = 1_000_000


@click.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A run or one of its checkpoints.  [the last trained]",
)
@click.option("--prompt", multiple=True, help="Text to continue; may be given several times.  [The ]")
@click.option(
    "--tokens",
    default=400,
    show_default=True,
    type=click.IntRange(min=1, max=MOST_TOKENS),
    help="Tokens to add, at most.",
)
@click.option("--temperature", default=0.6, show_default=True, help="0 takes the likeliest token.")
@click.option("--top-k", type=int, help="Draw among so many likeliest tokens only.")
@click.option("--top-p", type=float, help="Draw among the likeliest tokens with this probability together.")
@click.option("--stop", multiple=True, help="Text that ends what is written; may be given several times.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option("--stream", is_flag=True, help="Show the text while it is written; for one prompt.")
def generate(
    checkpoint: Path | None,
    prompt: tuple[str, ...],
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: tuple[str, ...],
    seed: int,
    stream: bool,
) -> None:
    """Let a trained model write on from a prompt.

    It continues texts of the kind that it was trained on. It is no assistant: it was never taught to answer,
    and does not know what it writes about.

    Beyond its context length a model forgets the older half of what it has seen, at once, whenever the
    context is full.

    \b
    Examples:
      moe-lessons generate --prompt "The for statement"
      moe-lessons generate --checkpoint runs/mine --temperature 0 --tokens 200
      moe-lessons generate --prompt "A list" --prompt "A set" --top-p 0.9 --stop "."
    """
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed={seed}: choose 0 or more, and a number below 2**62")
    prompts = [text.encode(errors="surrogateescape") for text in prompt or ("The ",)]  # any bytes will do
    if stream and len(prompts) > 1:
        raise ValueError(f"--stream with {len(prompts)} prompts: choose one of the two")
    from moe_lessons.data import saved_tokenizer
    from moe_lessons.model.writing import write_on
    from moe_lessons.training.checkpoint import last_run, latest_checkpoint, load_model

    checkpoint = latest_checkpoint(checkpoint or last_run())
    model, state = load_model(checkpoint)
    tokenizer = saved_tokenizer(
        checkpoint.parent, vocab_size=model.config.vocab_size, sha256=state.get("tokenizer_sha256")
    )
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def show(row: int, text: bytes) -> None:
        click.echo(decoder.decode(text), nl=False)

    if stream:
        show(0, prompts[0])
    written = write_on(
        model,
        tokenizer,
        prompts,
        tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=[text.encode(errors="surrogateescape") for text in stop],
        on_text=show if stream else None,
    )
    if stream:
        click.echo(decoder.decode(b"", final=True))
        return
    for number, text in enumerate(written):
        if len(written) > 1:
            click.echo(f"{'' if number == 0 else chr(10)}--- {number + 1} of {len(written)}")
        click.echo(text.decode(errors="replace"))
