"""``moe-lessons ep-check``: is expert parallelism right here, and how fast is the exchange?"""

import os
from typing import Any

import click


@click.command("ep-check")
@click.option(
    "--nproc", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes to start here."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    help="Seconds for all of it.",
)
def ep_check(nproc: int, timeout_s: float) -> int:
    """Hold an expert-parallel layer against one process: outputs and all gradients, uneven and empty ranks.

    \b
    Examples:
      moe-lessons ep-check --nproc 4
      torchrun --nnodes 2 --nproc-per-node 8 ... -m moe_lessons ep-check

    Under torchrun its processes are used, on GPUs if each has one; otherwise the command starts some here.
    Exit code 1 if a check fails.
    """
    if "WORLD_SIZE" in os.environ:
        from moe_lessons.parallel.checking import main

        found = main()
    else:
        from moe_lessons.parallel.launch import RanksFailed, can_start, run_ranks

        if reason := can_start():
            raise click.ClickException(f"processes cannot meet here: {reason}")
        try:
            found = run_ranks(nproc, "moe_lessons.parallel.checking", timeout_s=timeout_s)
        except RanksFailed as error:
            raise click.ClickException(str(error)) from error
    return int(found is not None and not _show(found))


def _show(found: dict[str, Any]) -> bool:
    click.echo(f"{found['ranks']} processes, {found['device']}; largest relative errors against one process")
    failed = 0
    for layout in found["layouts"]:
        click.echo(f"\n{layout['replicas']} x {layout['ep']} (replicas x ranks that share the experts)")
        for line in layout["checks"]:
            failed += not line["ok"]
            sign = ">" if line["limit"] > 1e-3 else "<"
            verdict = "ok" if line["ok"] else "FAILED"
            click.echo(f"  {verdict:6}  {line['error']:8.1e} {sign} {line['limit']:g}  {line['what']}")
        if network := layout["network"]:
            click.echo(
                f"  exchange: {network['latency_us']:.0f} us + bytes / {network['gigabytes_per_s']:.2f} GB/s "
                f"(worst point of the fit: {100 * network['worst']:.0f} % off)"
            )
    click.echo("\nall is well" if not failed else f"\n{failed} checks failed")
    return not failed
