"""``moe-lessons count``; imports what it needs when it runs."""

import json

import click

MAX_MODELS = 100


@click.command(no_args_is_help=True)
@click.argument("models", nargs=-1, metavar="CONFIG|NAME [NAME ...]")
@click.option(
    "--context", default=4096, show_default=True, type=click.IntRange(1, 10**9), help="Tokens in a text."
)
@click.option(
    "--batch",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10**9),
    help="Texts at once: what decode reads, what a training step keeps.",
)
@click.option(
    "--dtype",
    default="bf16",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "fp8", "mxfp4"]),
    help="Of the weights that decode reads; mxfp4 is for routed experts, the rest bf16.",
)
@click.option(
    "--cache-dtype",
    default="bf16",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "fp8"]),
    help="Of the KV cache.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object, or a list for several models.")
@click.option("--list", "as_list", is_flag=True, help="List the models that are known by name.")
@click.option("--families", is_flag=True, help="List the model types whose config.json can be read.")
def count(
    models: tuple[str, ...],
    context: int,
    batch: int,
    dtype: str,
    cache_dtype: str,
    as_json: bool,
    as_list: bool,
    families: bool,
) -> None:
    """Count what models cost: parameters in all and active, FLOPs, bytes.

    Each model is a published name or the path of a Hugging Face config.json; nothing is downloaded and no
    model is built. A FLOP count is two for each multiply-add; 1 GB is 10^9 bytes; training is mixed precision
    with AdamW, unsharded.

    \b
    Examples:
      moe-lessons count Mixtral-8x7B
      moe-lessons count Mixtral-8x7B Mistral-7B --context 32768 --batch 64
      moe-lessons count path/to/config.json --json
    """
    from moe_lessons.accounting.catalogue import published
    from moe_lessons.accounting.describing import describe
    from moe_lessons.accounting.reporting import Setting, report

    if families:
        from moe_lessons.accounting.families import FAMILIES, TEXT_OF

        names = sorted({*FAMILIES, *TEXT_OF})
        click.echo(json.dumps(names) if as_json else "\n".join(names))
        return
    if as_list:
        click.echo(json.dumps(list(published())) if as_json else "\n".join(published()))
        return
    if len(models) > MAX_MODELS:
        raise ValueError(f"{len(models)} models: count at most {MAX_MODELS} at once")
    setting = Setting(context, batch, dtype, cache_dtype)
    reports = []
    for model in models:
        try:
            reports.append(report(describe(model), setting))
        except ValueError as error:
            raise ValueError(f"{model[:80]}: {error}" if len(models) > 1 else str(error)) from error
    if as_json:
        click.echo(json.dumps(reports if len(reports) > 1 else reports[0], indent=1))
        return
    from moe_lessons.accounting.tables import show

    show(reports)
