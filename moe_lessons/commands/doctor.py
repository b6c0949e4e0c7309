"""``moe-lessons doctor``; what it looks at is in `diagnosis`."""

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what is installed, which path will run and why, and how to get what is missing."""
    from moe_lessons.commands.diagnosis import describe, diagnose

    found = diagnose()
    click.echo(json.dumps(found, indent=1) if as_json else describe(found))
    if any(item["essential"] for item in found["missing"]):
        context.exit(1)
