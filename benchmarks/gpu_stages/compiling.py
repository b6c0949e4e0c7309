"""Compile one kernel with one tile for a GPU, here or not, and judge it: `Worker("gpu_stages.compiling")`."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from triton import knobs

from gpu_stages.workers import serve
from moe_lessons.kernels.compiled import (
    Launch,
    compile_for_the_cache,
    moe_launches,
    read_machine_code,
    shortcomings,
)
from moe_lessons.kernels.tiles import TILE_OF_STEP, Tile, Tiles


@contextlib.contextmanager
def cache_hits() -> Iterator[list[bool]]:
    """Note for each kernel that is loaded whether Triton's cache had it."""
    hits: list[bool] = []
    knobs.compilation.listener = lambda **loaded: hits.append(loaded["cache_hit"])
    try:
        yield hits
    finally:
        knobs.compilation.listener = None


def launch(step: str, sizes: list[int], tile: Tile) -> Launch:
    """Return the launch of one step of a layer of T, D, F, E and K, in bf16, with this tile."""
    plain = tile._replace(group=1, tma=False, persistent=0)  # the others' does not matter, but their rows do
    tiles = Tiles(*[plain] * len(Tiles._fields))._replace(**{TILE_OF_STEP[step]: tile})
    return moe_launches(*sizes, torch.bfloat16, tiles)[step]


def judge(question: dict[str, Any]) -> dict[str, Any]:
    """Answer {"step", "sizes", "tile", "capability"} with what the kernel uses, and why it is dropped.

    It is in Triton's cache then; "compiled_before" says that it was already.
    """
    tile, capability, began = Tile(*question["tile"]), question["capability"], time.perf_counter()
    with cache_hits() as hits:
        compiled = compile_for_the_cache(launch(question["step"], question["sizes"], tile), capability)
    seconds = time.perf_counter() - began
    machine = read_machine_code(compiled)
    dropped = shortcomings(machine, tile, capability)
    about = {"compiled_before": all(hits), "compile_s": round(seconds, 2)}
    return {"dropped": dropped, **about, **machine._asdict()}


if __name__ == "__main__":
    serve(judge)
