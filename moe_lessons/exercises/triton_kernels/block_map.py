"""Exercise 09.block_map: which expert, and which rows, each program gets. Plain torch, no kernel."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Uneven loads with empty experts first, last and between; full blocks; all on one expert; no row."""
    given = [
        ([0, 5, 16, 0, 19, 1, 0], 16),
        ([8, 4, 12], 4),
        ([0, 0, 23, 0], 5),
        ([0, 0], 8),
        (rng.integers(1, 30, 6).tolist(), 8),
    ]
    cases = []
    for counts, block_rows in given:
        n_rows = sum(counts)
        args: dict[str, Plain] = {
            "tokens_per_expert_E": np.array(counts),
            "block_rows": block_rows,
            # Two spare blocks where there is no row: an empty list makes a tensor of floats.
            "n_blocks": max(2, n_rows // block_rows + min(len(counts), n_rows)),
        }
        cases.append(Case(f"rows per expert {counts}, {block_rows} in a block", args))
    return cases


def reference(tokens_per_expert_E: Tensor, block_rows: int, n_blocks: int) -> Tensor:
    """Cut each expert's rows into blocks, in order; fill up with spare blocks."""
    return _cut(tokens_per_expert_E, block_rows, n_blocks)


def _cut(
    counts_E: Tensor,
    block_rows: int,
    n_blocks: int,
    *,
    blocks: str = "ceil",
    begin: str = "start",
    spare: int = -1,
    spare_row: int = 0,
) -> Tensor:
    found: list[tuple[int, int]] = []
    start = 0
    for expert, count in enumerate(counts_E.tolist()):
        number = {
            "ceil": -(-count // block_rows),
            "floor": count // block_rows,
            "one more": count // block_rows + 1,
            "at least one": max(1, -(-count // block_rows)),
        }[blocks]
        for i in range(number):
            first = {
                "start": start + i * block_rows,
                "end": start + count + i * block_rows,
                "own": i * block_rows,
                "padded": len(found) * block_rows,
                "number": i,
            }[begin]
            found.append((expert, first))
        start += count
    found += [(spare, spare_row)] * (n_blocks - len(found))
    return torch.tensor(found[:n_blocks], dtype=torch.int64).reshape(-1, 2)


def _swapped(blocks_G2: Tensor) -> Tensor:
    return torch.cat([blocks_G2[blocks_G2[:, 0] >= 0].flip(1), blocks_G2[blocks_G2[:, 0] < 0]])


def _without_spare(blocks_G2: Tensor) -> Tensor:
    return blocks_G2[blocks_G2[:, 0] >= 0]


def _straddling(tokens_per_expert_E: Tensor, block_rows: int, n_blocks: int) -> Tensor:
    ends_E = tokens_per_expert_E.cumsum(0)
    firsts = torch.arange(0, int(ends_E[-1]), block_rows)
    found = torch.stack([torch.searchsorted(ends_E, firsts, right=True), firsts], dim=1)
    spare = torch.tensor([[-1, 0]]).expand(n_blocks - len(firsts), 2)
    return torch.cat([found, spare])


def _rows_covered(case: Case, got: Outputs, want: Outputs) -> str | None:
    counts_E, block_rows = (np.asarray(case.args[name]) for name in ("tokens_per_expert_E", "block_rows"))
    ends_E = counts_E.cumsum()
    owner_S = np.repeat(np.arange(len(counts_E)), counts_E)
    blocks_S = np.zeros(len(owner_S), int)
    for expert, first in got["blocks_G2"].tolist():
        if 0 <= expert < len(ends_E) and first >= 0:
            rows = slice(first, min(first + int(block_rows), int(ends_E[expert])))
            blocks_S[rows] += owner_S[rows] == expert
    wrong = np.flatnonzero(blocks_S != 1)
    if not len(wrong):
        return None
    p = int(wrong[0])
    return f"row {p}, which is expert {owner_S[p]}'s, lies in {blocks_S[p]} blocks of that expert"


BLOCK_MAP = Exercise(
    id="09.block_map",
    title="Who works on what",
    task=(
        "Rows are sorted by expert. Cut each expert's rows into blocks of `block_rows`; its last block may "
        "be partly empty, and no block holds rows of two experts. Return `blocks_G2` `[n_blocks, 2]`, whole "
        "numbers: for each block its expert, and its first row *counted over all rows*. Blocks come in the "
        "order of the rows. There may be more blocks than needed: a spare one is (-1, 0), at the end. Plain "
        "torch, no kernel; a loop is fine."
    ),
    entry="block_map",
    points=3,
    minutes=12,
    difficulty=2,
    outputs=(Output("blocks_G2", "G2", kind="int"),),
    draw=draw,
    reference=reference,
    properties=(Property("each row lies in one block of its own expert", _rows_covered),),
    misconceptions=(
        Misconception(
            "floor",
            "The number of blocks was rounded down, so the rows after an expert's last full block get no "
            "program, and experts with few rows get none at all. The last block may be partly empty: round "
            "up.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, blocks="floor"),
            hint=2,
        ),
        Misconception(
            "one_more",
            "`count // block_rows + 1` rounds up only where something is left over. An expert whose rows "
            "fill their blocks exactly, or who has none, got a block too many.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, blocks="one more"),
            hint=2,
        ),
        Misconception(
            "empty_gets_one",
            "An expert without rows was given a block. It has nothing to compute; its program would be "
            "started for nothing, and the spare places run out.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, blocks="at least one"),
            hint=2,
        ),
        Misconception(
            "straddling",
            "The rows were cut every `block_rows` rows, whoever they belong to. A block that holds the end "
            "of one expert and the beginning of the next would multiply both by the first one's matrix. "
            "Each expert's first block begins at that expert's first row.",
            wrong=_straddling,
            hint=1,
        ),
        Misconception(
            "own_rows",
            "The first rows are counted within each expert, from 0. A program that reads such a pair would "
            "start in the first expert's rows. Add where the expert's rows begin.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, begin="own"),
            hint=3,
        ),
        Misconception(
            "from_the_end",
            "An expert's blocks begin where its rows *end*. `cumsum` gives the ends; the start of an expert "
            "is the end of the one before it.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, begin="end"),
            hint=3,
        ),
        Misconception(
            "padded_rows",
            "Block g was put at row g * `block_rows`. That would be true if each expert's rows were padded "
            "to whole blocks in memory. Here they lie one after another without gaps.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, begin="padded"),
            hint=1,
        ),
        Misconception(
            "block_numbers",
            "The second number counts an expert's blocks: 0, 1, 2. Asked is the first *row* of each, "
            "counted over all rows.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, begin="number"),
            hint=3,
        ),
        Misconception(
            "columns_swapped",
            "The two numbers of each pair are exchanged: first the expert, then the row.",
            wrong=lambda counts_E, block_rows, n: _swapped(_cut(counts_E, block_rows, n)),
        ),
        Misconception(
            "no_spare",
            "The spare blocks are missing. The grid was fixed before anybody knew the counts: there are "
            "`n_blocks` pairs in any case, and those without work say (-1, 0).",
            wrong=lambda counts_E, block_rows, n: _without_spare(_cut(counts_E, block_rows, n)),
            hint=1,
        ),
        Misconception(
            "spare_row",
            "Spare blocks say (-1, -1). The expert is -1; the row is asked to be 0.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, spare_row=-1),
        ),
        Misconception(
            "spare_is_zero",
            "Spare blocks say expert 0, row 0. Their programs would compute expert 0's first block again, "
            "and write it at the same time as its owner. Something that is no expert must stand there: -1.",
            wrong=lambda counts_E, block_rows, n: _cut(counts_E, block_rows, n, spare=0),
            hint=1,
        ),
    ),
    hints=(
        "Draw the rows of three experts with 5, 0 and 3 rows, and blocks of 4. How many blocks has each, and "
        "at which row does each begin? What is left over?",
        "The number of blocks of an expert is its count divided by `block_rows`, rounded up: "
        "`(count + block_rows - 1) // block_rows`. For a count of 0 that is 0, as it should be.",
        "Go through the experts with a running `start`: block i of an expert begins at "
        "`start + i * block_rows`; after each expert, `start += count`.",
    ),
    notice=(
        "No block holds rows of two experts, so that a program needs one matrix; this course's own "
        "kernels make the map on the device, and spare blocks let the host launch without knowing the "
        "counts."
    ),
)
