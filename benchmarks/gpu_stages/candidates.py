"""The short list: tiles that may be better than today's on a Hopper GPU, and why. Nothing here was measured.

What is expected, so that a measurement can prove it wrong:

- *Larger pieces* (`m`, `n`) read rows and weights less often from the cache; the registers end that. Today's
  are the largest of 8 warps. Half as large with 4 warps, two programs fit on a multiprocessor, and one stores
  while the other multiplies: better where the epilogue is long (`up`, `pre_gradient`), else a little worse.
- *More stages* hide more of the memory's delay until shared memory is full; no change where the matrix unit
  is busy already.
- *Larger k* has fewer rounds of the loop, each with a barrier; needs shared memory as stages do.
- `group` has programs that run together share weights. `reads` below counts what they read: where the weights
  that one wave of programs touches exceed the cache (Mixtral's size) many times less, else about the same.
- `tma`: no addresses in registers and one thread that asks for a whole block. The least registers and the
  fewest instructions per product; some percent where the loop is bound by issuing, and room for larger
  pieces. Filling in descriptors costs the host microseconds for each call: a loss for small decode steps.
- `persistent`: saves the start of programs and of spare blocks, and the last wave is no emptier than it must
  be. A few percent where a program's loop is short (small D), nothing where it is long.
- Few rows (decode): the weights' way from memory is the time; wide loads in flight count (`k`, stages), not
  the matrix unit.
"""

from moe_lessons.kernels.tiles import DECODE, HOPPER, TILE_OF_STEP, Tile, Tiles, tiles_for

SHAPES = {  # T, D, F, E, K
    "reference": (8192, 1024, 2048, 64, 8),
    "Qwen3-30B": (8192, 2048, 768, 128, 8),
    "Mixtral": (4096, 4096, 14336, 8, 2),
    "decode": (64, 2048, 768, 128, 8),
}
FORWARD_ONLY = ("decode",)
MULTIPROCESSORS = 132  # of an H100 or H200

# Each list begins with today's choice. All but the last field share their m: each m has to come in all four.
MANY_ROWS: dict[str, list[Tile]] = {
    "up": [
        HOPPER.up,
        Tile(128, 128, 64, 8, 4),
        Tile(128, 128, 32, 8, 4),
        Tile(128, 64, 64, 8, 3),
        Tile(128, 64, 64, 4, 4),
        Tile(128, 64, 128, 8, 3),
        Tile(64, 128, 64, 4, 3),
        Tile(64, 128, 64, 8, 4),
        Tile(128, 128, 64, 8, 3, group=8),
        Tile(128, 128, 64, 8, 3, tma=True),
        Tile(128, 128, 64, 8, 4, group=8, tma=True),
        Tile(128, 128, 64, 8, 3, persistent=1),
        Tile(128, 128, 64, 8, 4, tma=True, persistent=1),
        Tile(128, 128, 64, 8, 4, group=8, tma=True, persistent=1),
        Tile(128, 64, 64, 4, 4, group=8, tma=True, persistent=2),
        Tile(64, 128, 64, 4, 4, group=8, tma=True),
    ],
    "down": [
        HOPPER.down,
        Tile(128, 256, 64, 8, 4),
        Tile(128, 128, 64, 8, 4),
        Tile(128, 128, 64, 4, 3),
        Tile(128, 128, 128, 8, 3),
        Tile(64, 256, 64, 8, 4),
        Tile(64, 256, 64, 4, 3),
        Tile(64, 128, 64, 4, 4),
        Tile(128, 256, 64, 8, 3, group=8),
        Tile(128, 256, 64, 8, 3, tma=True),
        Tile(128, 256, 64, 8, 4, group=8, tma=True),
        Tile(128, 256, 128, 8, 2, group=8, tma=True),
        Tile(128, 128, 64, 4, 4, group=8, tma=True),
        Tile(64, 256, 64, 4, 4, group=8, tma=True),
    ],
    "pre_gradient": [
        HOPPER.pre_gradient,
        Tile(128, 128, 64, 8, 4),
        Tile(128, 128, 64, 4, 3),
        Tile(128, 64, 64, 8, 4),
        Tile(128, 64, 64, 4, 4),
        Tile(128, 256, 64, 8, 3),
        Tile(64, 128, 64, 4, 3),
        Tile(64, 128, 64, 8, 4),
        Tile(64, 64, 64, 4, 4),
        Tile(128, 128, 64, 8, 3, group=8),
        Tile(64, 128, 64, 4, 3, group=8),
    ],
    "weight_gradient": [
        HOPPER.weight_gradient,
        Tile(128, 256, 64, 8, 4),
        Tile(256, 128, 64, 8, 5),
        Tile(128, 128, 64, 8, 5),
        Tile(128, 128, 64, 4, 4),
        Tile(128, 128, 128, 8, 4),
        Tile(128, 256, 32, 8, 6),
        Tile(64, 256, 64, 8, 5),
    ],
}
MANY_ROWS["hidden_gradient"] = [HOPPER.hidden_gradient, *MANY_ROWS["down"][1:]]
FEW_ROWS: dict[str, list[Tile]] = {
    "up": [
        DECODE.up,
        Tile(16, 64, 128, 4, 4),
        Tile(16, 32, 128, 4, 5),
        Tile(16, 32, 256, 4, 3),
        Tile(16, 128, 64, 4, 4),
        Tile(16, 64, 64, 4, 6),
        Tile(16, 64, 128, 4, 4, tma=True),
        Tile(16, 64, 128, 4, 4, tma=True, persistent=2),
        Tile(16, 64, 128, 4, 4, persistent=2),
    ],
    "down": [
        DECODE.down,
        Tile(16, 64, 128, 4, 4),
        Tile(16, 128, 64, 4, 4),
        Tile(16, 128, 128, 4, 4),
        Tile(16, 64, 256, 4, 3),
        Tile(16, 64, 64, 4, 6),
        Tile(16, 64, 128, 4, 4, tma=True),
        Tile(16, 128, 128, 4, 4, tma=True),
    ],
}


def today(sizes: tuple[int, ...], capability: tuple[int, int] | None) -> Tiles:
    """Return what the package chooses now, for T, D, F, E and K in bf16."""
    n_tokens, d_model, d_expert, n_experts, top_k = sizes
    aligned = d_model % 8 == 0 == d_expert % 8
    return tiles_for(capability, 2, n_tokens * top_k / n_experts, aligned)


def candidates(shape: str) -> list[tuple[str, Tile]]:
    """Return the steps of a shape, each with each tile of its list, today's choice first.

    Examples
    --------
    >>> candidates("decode")[0]
    ('up', Tile(m=16, n=64, k=64, warps=4, stages=3, group=1, tma=False, persistent=0))
    """
    lists = FEW_ROWS if shape in FORWARD_ONLY else MANY_ROWS
    return [(step, tile) for step, field in TILE_OF_STEP.items() for tile in lists.get(field, [])]


def reads(shape: str, step: str, tile: Tile) -> float:
    """Return the gigabytes that `up` or `down` reads if programs share only with those that run beside them.

    Programs start in order, one on each multiprocessor, with equally many rows for each expert. In truth the
    cache keeps some of it from wave to wave; so this is what grouping can save at most.

    Parameters
    ----------
    shape, step : str
    tile : Tile
    """
    n_tokens, d_model, d_expert, n_experts, top_k = SHAPES[shape]
    n_out, n_in, matrices = (d_expert, d_model, 2) if step == "up" else (d_model, d_expert, 1)
    blocks_each = -(-n_tokens * top_k // (n_experts * tile.m))
    n_pieces = -(-n_out // tile.n)
    tasks = [
        (block, piece)
        for first in range(0, n_experts * blocks_each, tile.group)
        for piece in range(n_pieces)
        for block in range(first, min(first + tile.group, n_experts * blocks_each))
    ]
    n_bytes = 0
    for start in range(0, len(tasks), MULTIPROCESSORS):
        wave = tasks[start : start + MULTIPROCESSORS]
        blocks = {block for block, _ in wave}
        weights = {(block // blocks_each, piece) for block, piece in wave}
        n_bytes += 2 * n_in * (len(blocks) * tile.m + matrices * len(weights) * tile.n)
    return n_bytes / 1e9
