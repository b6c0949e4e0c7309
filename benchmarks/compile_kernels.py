"""What every Triton kernel uses on GPUs that are not here: registers, spills, shared memory, instructions.

    python benchmarks/compile_kernels.py

Compiles the launches of one forward and backward pass for an A100 (sm_80) and an H100 (sm_90), with the tiles
that the package would choose there, reads the machine code, and writes
`moe_lessons/results/kernels_compiled.json`. Needs Linux and Triton, and no GPU: nothing here measures speed.
"""

import json
import platform
import subprocess
from pathlib import Path

import torch
import triton

from moe_lessons.kernels.compiled import (
    SHARED_LIMIT_BYTES,
    compile_launch,
    moe_launches,
    read_machine_code,
)
from moe_lessons.kernels.tiles import TILE_OF_STEP, tiles_for

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "moe_lessons" / "results" / "kernels_compiled.json"
GPUS = {"A100": (8, 0), "H100": (9, 0)}
LAYERS = {  # T, D, F, E, K
    "training": (8192, 1024, 2048, 64, 8),
    "few rows per expert": (256, 1024, 2048, 64, 8),
    "decoding": (8, 1024, 2048, 64, 8),
    "odd widths": (1000, 101, 203, 7, 3),
}
CASES = [  # layer, dtype, torch.set_float32_matmul_precision
    ("training", torch.bfloat16, "highest"),
    ("training", torch.float16, "highest"),
    ("training", torch.float32, "highest"),
    ("training", torch.float32, "high"),
    ("few rows per expert", torch.bfloat16, "highest"),
    ("decoding", torch.bfloat16, "highest"),
    ("odd widths", torch.bfloat16, "highest"),
]


def chosen_tiles(capability: tuple[int, int], layer: str, dtype: torch.dtype):
    n_tokens, d_model, d_expert, n_experts, top_k = LAYERS[layer]
    aligned = all(width * dtype.itemsize % 16 == 0 for width in (d_model, d_expert))
    return tiles_for(capability, dtype.itemsize, n_tokens * top_k / n_experts, aligned)


def measure(gpu: str, layer: str, dtype: torch.dtype, precision: str) -> list[dict]:
    """Compile the kernels of one pass; one row each."""
    torch.set_float32_matmul_precision(precision)
    capability = GPUS[gpu]
    number = 10 * capability[0] + capability[1]
    rows = []
    tiles = chosen_tiles(capability, layer, dtype)
    for step, launch in moe_launches(*LAYERS[layer], dtype, tiles).items():
        machine = read_machine_code(compile_launch(launch, number))
        tile = [launch.arguments.get(f"BLOCK_{axis}") for axis in "MNK"]
        levers = getattr(tiles, TILE_OF_STEP[step]).levers if step in TILE_OF_STEP else {}
        row = {
            "gpu": gpu,
            "layer": layer,
            "dtype": str(dtype).removeprefix("torch."),
            "fp32_products": {"highest": "ieee", "high": "tf32"}[precision],
            "kernel": step,
            "tile": None if None in tile else tile,
            "warps": launch.options.get("num_warps", 4),
            "stages": launch.options.get("num_stages"),
            "levers": levers,
            "programs": launch.grid[0],
            **machine._asdict(),
        }
        fits = machine.shared_bytes <= SHARED_LIMIT_BYTES[number] and machine.atomics == 0
        print(json.dumps(row), "" if fits else "DOES NOT FIT", flush=True)
        rows.append(row)
    return rows


def main() -> None:
    rows = [row for gpu in GPUS for case in CASES for row in measure(gpu, *case)]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    about = {
        "what": "compiled without a GPU; registers per thread, bytes per program, counts of instructions",
        "measured_on_a_gpu": False,
        "triton": triton.__version__,
        "torch": torch.__version__.partition("+")[0],
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "layers_TDFEK": LAYERS,
    }
    RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
