"""How large a piece of the result one program computes: a small table, by GPU, dtype and rows per expert.

No entry was measured on a GPU yet: they were chosen by compiling. The Hopper entries are as large as fits the
registers of 8 warps with an inner loop that spills none; the others fit the 99 KiB of shared memory that any
GPU has since compute capability 8.0. `benchmarks/compile_kernels.py` records what each uses.

A tile has three levers besides, which no entry of the table pulls as long as nothing was measured. What each
should bring, and what candidates cost in registers, `benchmarks/gpu_stages/candidates.py` says; its stage
`tiles` times them.
"""

from typing import NamedTuple


class Tile(NamedTuple):
    """One program's share: an m by n piece of the result, summed k at a time, by this many warps.

    The levers: `group` blocks of rows take turns at a piece of columns, and so share the weights that are in
    the cache (1: all pieces of a block first). With `tma` the copy engine of a Hopper GPU brings the weights,
    and in `product` the rows, by descriptors instead of pointers. `persistent` programs for each
    multiprocessor walk over all pieces (0: a program for each piece). Not every kernel has every lever.
    """

    m: int
    n: int
    k: int
    warps: int
    stages: int  # loads kept in flight ahead of the arithmetic
    group: int = 1
    tma: bool = False
    persistent: int = 0

    @property
    def levers(self) -> dict[str, int]:
        """The levers that are pulled, by name."""
        return {name: getattr(self, name) for name, off in _OFF.items() if getattr(self, name) != off}

    def refuse_levers_but(self, *known: str) -> None:
        """Raise ValueError if a lever is pulled that the kernel lacks: it would be timed without it."""
        for name, value in self.levers.items():
            if name not in known:
                has = ", ".join(known) or "no levers"
                raise ValueError(f"tile.{name}={value}: this kernel has {has}; leave {name}={_OFF[name]!r}")

    @property
    def meta(self) -> dict[str, int]:
        """The keyword arguments of a kernel launch, levers aside."""
        return {
            "BLOCK_M": self.m,
            "BLOCK_N": self.n,
            "BLOCK_K": self.k,
            "num_warps": self.warps,
            "num_stages": self.stages,
        }


_OFF = {"group": 1, "tma": False, "persistent": 0}


class Tiles(NamedTuple):
    """The tiles of one call. All but `weight_gradient` walk the same blocks of rows: their m is equal."""

    up: Tile
    down: Tile
    pre_gradient: Tile
    hidden_gradient: Tile
    weight_gradient: Tile

    @property
    def rows(self) -> int:
        """Rows of one block, which holds rows of one expert only."""
        return self.up.m


TILE_OF_STEP = {  # which field each matrix kernel of a pass takes
    "up": "up",
    "down": "down",
    "pre_gradient": "pre_gradient",
    "hidden_gradient": "hidden_gradient",
    "gate_up_gradient": "weight_gradient",
    "down_gradient": "weight_gradient",
}


def _everywhere(tile: Tile) -> Tiles:
    return Tiles(*[tile] * len(Tiles._fields))


INTERPRETER = _everywhere(Tile(16, 16, 16, 4, 1))
# Rows that do not start on 16 bytes are loaded element by element, and each load's address takes registers.
UNALIGNED = _everywhere(Tile(64, 32, 32, 4, 3))
# Few rows per expert: the weights' way from memory is what counts, and padding an expert would waste work.
DECODE = _everywhere(Tile(16, 64, 64, 4, 3))._replace(weight_gradient=Tile(64, 64, 32, 4, 3))
FP32 = _everywhere(Tile(64, 64, 32, 4, 3))._replace(up=Tile(64, 32, 32, 4, 3))
SAFE = Tiles(
    up=Tile(64, 64, 32, 4, 3),
    down=Tile(64, 128, 32, 4, 3),
    pre_gradient=Tile(64, 64, 32, 4, 3),
    hidden_gradient=Tile(64, 128, 32, 4, 3),
    weight_gradient=Tile(128, 128, 32, 8, 5),
)
# weight_gradient loads the row's token before the token: of 5 stages, that takes two.
HOPPER = Tiles(
    up=Tile(128, 128, 64, 8, 3),
    down=Tile(128, 256, 64, 8, 3),
    pre_gradient=Tile(128, 128, 64, 8, 3),
    hidden_gradient=Tile(128, 256, 64, 8, 3),
    weight_gradient=Tile(128, 256, 64, 8, 5),
)
BY_MAJOR = {9: HOPPER}


def tiles_for(
    capability: tuple[int, int] | None, itemsize: int, rows_per_expert: float, aligned: bool = True
) -> Tiles:
    """Choose the tiles of a call from what the host knows without asking the GPU.

    Parameters
    ----------
    capability : (int, int) or None
        Compute capability of the GPU; None is Triton's interpreter.
    itemsize : int
        Bytes of one element of the activations: 2 or 4.
    rows_per_expert : float
        S / E, the mean; the true counts stay on the device.
    aligned : bool
        Whether every row, of D or of F elements, starts on a multiple of 16 bytes.

    Returns
    -------
    Tiles

    Examples
    --------
    >>> tiles_for((9, 0), itemsize=2, rows_per_expert=1024).rows
    128
    >>> tiles_for((9, 0), itemsize=2, rows_per_expert=4).rows
    16
    """
    if capability is None:
        return INTERPRETER
    if not aligned:
        return UNALIGNED
    if rows_per_expert <= 16:
        return DECODE
    if itemsize == 4:
        return FP32
    if rows_per_expert < 64:
        return SAFE
    return BY_MAJOR.get(capability[0], SAFE)
