"""Put what a GPU day measured of the layer where the lessons read it.

    python benchmarks/gpu_day_results.py [DIR]

Reads DIR/layer.json (`benchmarks/results/gpu_day` unless said otherwise) and writes
`moe_lessons/results/layer_cuda.json`, which lesson 09 shows. What a dry run wrote is refused. The winners of
the stage `tiles` go into `moe_lessons/kernels/tiles.py` by hand, as it prints them; the training's curve
stays where it is, because the text it was trained on is not the preset's.
"""

import json
from pathlib import Path
from typing import Any

import click
from gpu_stages.stage import read

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "moe_lessons" / "results" / "layer_cuda.json"


def of_layer(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the result that lessons read: rows of shapes that were measured, and with what.

    Raises
    ------
    ValueError
        If the rows are of a dry run, or there is none.
    """
    if stored["about"].get("dry", True):
        raise ValueError("these rows are of a dry run: nothing in them was measured on a GPU")
    rows = [row for row in stored["rows"] if "ours_ms" in row]
    if not rows:
        raise ValueError("no shape was measured; run benchmarks/gpu_day.py --only layer")
    ceilings = next((row for row in stored["rows"] if row.get("name") == "ceilings"), None)
    return {"about": {**stored["about"], "ceilings": ceilings}, "rows": rows}


@click.command()
@click.argument(
    "folder", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results" / "gpu_day"
)
def main(folder: Path) -> None:
    """Write the layer's times where the lessons read them."""
    try:
        result = of_layer(read(folder / "layer.json"))
    except ValueError as problem:
        raise click.ClickException(f"{folder / 'layer.json'}: {problem}") from None
    LAYER.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(f"{len(result['rows'])} rows in {LAYER}")


if __name__ == "__main__":
    main()
