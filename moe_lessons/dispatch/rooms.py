"""Rooms: the rows that each expert gets in the sorted buffer, and the pieces they are worked through in."""

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.plan import Plan

# A piece's rows, pre-activations and results stay in the cache from one product to the next. Between 1 and
# 4 MB made no difference on a core with 1 MB of L2 and 16 MB of L3; without a limit the same work took 2 to
# 20 % longer.
PIECE_BYTES = 4 * 2**20

# oneDNN prepares code for each size that it has not met lately, in 0.1 to 0.25 ms. Loads differ at every
# step; whole blocks come in few sizes. Of 16, 32 and 64 rows none was better than 16.
BLOCK_ROWS = 16


class Piece(NamedTuple):
    """Neighbouring experts that are worked on together: their ids, and the sizes and place of their rooms."""

    experts: list[int]
    sizes: list[int]
    rows: slice
    slots: slice  # the sorted slots that live in these rows


class Rooms(NamedTuple):
    """A buffer of R rows in which each expert owns a room, and every sorted slot a row of its expert's room.

    A room may have more rows than its expert has slots: the others are zero and change no result.
    Row r holds the sorted slots `bag_starts_R1[r]` up to `bag_starts_R1[r + 1]`, excluded: one slot or none.
    The result of slot (t, k) is in row `rows_TK[t, k]`.
    """

    batched: bool
    n_rows: int
    token_ids_S: Tensor
    row_ids_S: Tensor
    bag_starts_R1: Tensor
    rows_TK: Tensor
    pieces: list[Piece]
    idle_experts: list[int]

    def gather(self, hidden_TD: Tensor, piece: Piece, topk_weights_TK: Tensor | None = None) -> Tensor:
        """Copy tokens into the piece's rows, multiplied by their routing weights if those are given."""
        weights_S = None
        if topk_weights_TK is not None:
            weights_S = topk_weights_TK.reshape(-1).index_select(0, self.row_ids_S[piece.slots])
        starts = self.bag_starts_R1[piece.rows.start : piece.rows.stop + 1] - piece.slots.start
        token_ids = self.token_ids_S[piece.slots]
        # A sum over bags of one row is a copy, over empty bags it is zero; weights come at no extra pass.
        return F.embedding_bag(
            token_ids, hidden_TD, starts, mode="sum", per_sample_weights=weights_S, include_last_offset=True
        )


def make_rooms(
    plan: Plan, topk_ids_TK: Tensor, room_sizes_E: Tensor, row_bytes: int, *, batched: bool = False
) -> Rooms:
    """Lay out the rooms one after the other, each sorted slot in the next free row of its expert's room.

    Parameters
    ----------
    plan : Plan
    topk_ids_TK : integer Tensor of shape (T, K)
    room_sizes_E : integer Tensor of shape (E,)
        Rows of each room, at least as many as the expert has slots. See `tight`, `in_blocks` and `equal`.
    row_bytes : int
        Memory that one row takes on its way through an expert; pieces hold about `PIECE_BYTES`.
    batched : bool
        Whether one product is to serve all experts of a piece; sizes must be equal then.

    Examples
    --------
    >>> from moe_lessons.dispatch import permutation_plan
    >>> ids_TK = torch.tensor([[2], [0], [2]])
    >>> rooms = make_rooms(permutation_plan(ids_TK, 3), ids_TK, torch.tensor([2, 0, 3]), row_bytes=1)
    >>> rooms.n_rows, rooms.rows_TK.flatten().tolist()  # expert 0 has rows 0 and 1, expert 2 has 2 to 4
    (5, [2, 0, 3])
    >>> rooms.gather(torch.tensor([[7.0], [8.0], [9.0]]), rooms.pieces[0]).flatten()
    tensor([8., 0., 7., 9., 0.])
    """
    counts_E = plan.tokens_per_expert_E
    first_slot_E = counts_E.cumsum(0) - counts_E
    first_row_E = room_sizes_E.cumsum(0) - room_sizes_E
    sizes, slots = room_sizes_E.tolist(), [0, *accumulate(counts_E.tolist())]
    n_rows = sum(sizes)
    rows_TK = plan.inverse_S.view(topk_ids_TK.shape) + (first_row_E - first_slot_E)[topk_ids_TK.long()]
    # A row's bag starts after as many slots as rows before it that hold one.
    holds_slot_R1 = counts_E.new_zeros(n_rows + 1).index_fill_(0, rows_TK.flatten() + 1, 1)
    pieces = [
        Piece(experts, [sizes[e] for e in experts], rows, slice(slots[experts[0]], slots[experts[-1] + 1]))
        for experts, rows in _cut([e for e, size in enumerate(sizes) if size], sizes, row_bytes)
    ]
    return Rooms(
        batched=batched,
        n_rows=n_rows,
        token_ids_S=plan.token_ids_S,
        row_ids_S=plan.row_ids_S,
        bag_starts_R1=holds_slot_R1.cumsum(0),
        rows_TK=rows_TK,
        pieces=pieces,
        idle_experts=[e for e, size in enumerate(sizes) if not size],
    )


def tight(counts_E: Tensor) -> Tensor:
    """Give each expert as many rows as it has slots; an idle expert gets no room and costs nothing."""
    return counts_E


def in_blocks(counts_E: Tensor) -> Tensor:
    """Round rooms up to whole blocks of `BLOCK_ROWS`, except those smaller than one block.

    Examples
    --------
    >>> in_blocks(torch.tensor([0, 3, 16, 17]))
    tensor([ 0,  3, 16, 32])
    """
    rounded_E = (counts_E + BLOCK_ROWS - 1) // BLOCK_ROWS * BLOCK_ROWS
    return torch.where(counts_E < BLOCK_ROWS, counts_E, rounded_E)


def equal(counts_E: Tensor) -> Tensor:
    """Give every expert as many rows as the busiest one needs.

    Examples
    --------
    >>> equal(torch.tensor([0, 3, 2]))
    tensor([3, 3, 3])
    """
    return counts_E.max().expand_as(counts_E)


def _cut(experts: list[int], sizes: list[int], row_bytes: int) -> list[tuple[list[int], slice]]:
    """Cut experts, in their order, into groups of at most `PIECE_BYTES`, or of a single larger expert."""
    most_rows = PIECE_BYTES // row_bytes
    groups: list[tuple[list[int], slice]] = []
    end = 0
    for expert in experts:
        start, end = end, end + sizes[expert]
        if groups and end - groups[-1][1].start <= most_rows:
            groups[-1] = ([*groups[-1][0], expert], slice(groups[-1][1].start, end))
        else:
            groups.append(([expert], slice(start, end)))
    return groups
