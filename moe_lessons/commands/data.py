"""``moe-lessons data``: which corpora there are, and how a larger one is fetched, once."""

from pathlib import Path

import click


@click.group("data")
def data_command() -> None:
    """List corpora, and fetch larger ones."""


@data_command.command("list")
def list_command() -> None:
    """Say which corpora there are, what of them is here, and where."""
    from moe_lessons.data.cache import cache_dir
    from moe_lessons.data.corpora import CORPORA
    from moe_lessons.data.fetching import manifest_of
    from moe_lessons.data.sources import SOURCES

    width = max(map(len, (*CORPORA, *SOURCES)))
    for name in CORPORA:
        click.echo(f"{name:<{width}}  comes with the course: of Python 3.11.7; licence: PSF-2.0")
    for name, source in SOURCES.items():
        manifest = manifest_of(name)
        if manifest is None:
            state = "not fetched"
        elif not manifest["complete"]:
            state = f"fetched in part: {sum(part['bytes'] for part in manifest['parts']):,} bytes"
        else:
            digest = f"sha256 {manifest['sha256'][:16]}... ({manifest['checked']})"
            state = f"{manifest['bytes']:,} bytes, {digest}"
        click.echo(f"{name:<{width}}  {state}; {source.what}; licence: {source.licence}")
    click.echo(f"\ncache: {cache_dir()}")
    for folder in sorted((cache_dir() / "tokens").glob("*")):
        n_bytes = sum(path.stat().st_size for path in folder.glob("*.bin"))
        click.echo(f"  tokens/{folder.name}  {n_bytes:,} bytes")


@data_command.command("prepare")
@click.argument("name")
@click.option("--tokenizer", default="bytes", show_default=True, help="bytes, bpe or a tokenizer.json.")
@click.option("--vocab-size", type=int, help="Tokens of bpe.  [4096]")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='A file to take it from: .jsonl with "text", or text with a line <|endoftext|> between documents.',
)
@click.option("--again", is_flag=True, help="Fetch anew what is there, which may be damaged.")
@click.option("--accept", is_flag=True, help="Trust a text other than the one that was fetched first.")
def prepare_command(
    name: str, tokenizer: str, vocab_size: int | None, file: Path | None, again: bool, accept: bool
) -> None:
    """Fetch a corpus and turn it into tokens; interrupted, the same command goes on.

    \b
    Examples:
      moe-lessons data prepare tiny-shakespeare
      moe-lessons data prepare tinystories --tokenizer bpe --vocab-size 8192
      moe-lessons data prepare tinystories --from TinyStoriesV2-GPT4-valid.txt
      moe-lessons train --corpus tinystories --tokenizer bpe --vocab-size 8192
    """
    from moe_lessons.config import nearest
    from moe_lessons.data.corpora import CORPORA
    from moe_lessons.data.fetching import fetch
    from moe_lessons.data.loading import load_corpus
    from moe_lessons.data.sources import SOURCES

    if name in SOURCES:
        click.echo(f"fetching {name}: {SOURCES[name].what}", err=True)
        fetch(
            SOURCES[name],
            file=file,
            again=again,
            accept=accept,
            on_part=lambda n_bytes: click.echo(f"fetched {n_bytes:,} bytes", err=True),
        )
    elif name not in CORPORA and not Path(name).exists():
        raise ValueError(f"unknown corpus {name!r}: {nearest(name, [*CORPORA, *SOURCES])}")
    corpus = load_corpus(
        name,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        on_part=lambda number: click.echo(f"tokenised part {number}", err=True),
    )
    settings = f"--corpus {name}"
    if tokenizer != "bytes":
        settings += f" --tokenizer {tokenizer} --vocab-size {corpus.tokenizer.vocab_size}"
    click.echo(
        f"{corpus.name}: {len(corpus.train_N):,} tokens to train on, {len(corpus.validation_M):,} held out, "
        f"{corpus.bytes_per_token:.2f} bytes each; next: moe-lessons train {settings}"
    )
