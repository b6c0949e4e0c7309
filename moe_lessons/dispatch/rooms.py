"""Rooms: the rows that each expert gets in the sorted buffer, and the pieces they are worked through in."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.plan import Plan

# A piece's rows, pre-activations and results stay in the cache from one product to the next. Between 1 and
# 4 MB made no difference on a core with 1 MB of L2 and 16 MB of L3; without a limit the same work took 2 to
# 20 % longer.
PIECE_BYTES = 4 * 2**20


class Piece(NamedTuple):
    """Neighbouring experts that are worked on together: their ids, and the sizes and place of their rooms."""

    experts: list[int]
    sizes: list[int]
    rows: slice
    slots: slice  # the sorted slots that live in these rows


class Rooms(NamedTuple):
    """A buffer of R rows in which each expert owns a room, and every sorted slot a row of its expert's room.

    Tight rooms hold exactly an expert's rows, R = S. Equal rooms all have as many rows as the busiest expert
    needs, R = E * max load: unused rows are zero, and one batched product serves all experts.

    Row r holds the sorted slots `bag_starts_R1[r]` up to `bag_starts_R1[r + 1]`, excluded: one slot or none.
    The result of slot (t, k) is in row `rows_TK[t, k]`.
    """

    equal: bool
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


def tight_rooms(plan: Plan, topk_ids_TK: Tensor, row_bytes: int) -> Rooms:
    """Give each expert as many rows as it has; idle experts get no room and cost nothing.

    Parameters
    ----------
    plan : Plan
    topk_ids_TK : integer Tensor of shape (T, K)
    row_bytes : int
        Memory that one row takes on its way through an expert; pieces hold about `PIECE_BYTES`.

    Examples
    --------
    >>> from moe_lessons.dispatch import permutation_plan
    >>> ids_TK = torch.tensor([[2], [0], [2]])
    >>> rooms = tight_rooms(permutation_plan(ids_TK, 3), ids_TK, row_bytes=1)
    >>> rooms.pieces, rooms.idle_experts, rooms.rows_TK.flatten().tolist()
    ([Piece(experts=[0, 2], sizes=[1, 2], rows=slice(0, 3, None), slots=slice(0, 3, None))], [1], [1, 0, 2])
    """
    counts = plan.tokens_per_expert_E.tolist()
    n_slots = topk_ids_TK.numel()
    pieces = [
        Piece(experts, [counts[e] for e in experts], rows, rows)
        for experts, rows in _cut([e for e, count in enumerate(counts) if count], counts, row_bytes)
    ]
    return Rooms(
        equal=False,
        n_rows=n_slots,
        token_ids_S=plan.token_ids_S,
        row_ids_S=plan.row_ids_S,
        bag_starts_R1=torch.arange(n_slots + 1, device=topk_ids_TK.device),
        rows_TK=plan.inverse_S.view(topk_ids_TK.shape),
        pieces=pieces,
        idle_experts=[e for e, count in enumerate(counts) if not count],
    )


def equal_rooms(plan: Plan, topk_ids_TK: Tensor, row_bytes: int) -> Rooms:
    """Give every expert as many rows as the busiest one needs.

    Parameters and pieces are those of `tight_rooms`.

    Examples
    --------
    >>> from moe_lessons.dispatch import permutation_plan
    >>> ids_TK = torch.tensor([[2], [0], [2]])
    >>> rooms = equal_rooms(permutation_plan(ids_TK, 3), ids_TK, row_bytes=1)
    >>> rooms.n_rows, rooms.rows_TK.flatten().tolist()  # rooms of two rows: 0-1, 2-3, 4-5
    (6, [4, 0, 5])
    >>> rooms.gather(torch.tensor([[7.0], [8.0], [9.0]]), rooms.pieces[0]).flatten()
    tensor([8., 0., 0., 0., 7., 9.])
    """
    counts_E = plan.tokens_per_expert_E
    n_experts, largest = len(counts_E), int(counts_E.max())
    ends_E = counts_E.cumsum(0)
    starts_E = ends_E - counts_E
    places = torch.arange(largest, device=counts_E.device)
    bag_starts_EC = starts_E.unsqueeze(1) + torch.minimum(places, counts_E.unsqueeze(1))
    shift_E = torch.arange(n_experts, device=counts_E.device) * largest - starts_E
    ends = ends_E.tolist()
    pieces = []
    for experts, rows in _cut(list(range(n_experts)), [largest] * n_experts, row_bytes):
        first, last = experts[0], experts[-1]
        slots = slice(ends[first - 1] if first else 0, ends[last])
        pieces.append(Piece(experts, [largest] * len(experts), rows, slots))
    return Rooms(
        equal=True,
        n_rows=n_experts * largest,
        token_ids_S=plan.token_ids_S,
        row_ids_S=plan.row_ids_S,
        bag_starts_R1=torch.cat([bag_starts_EC.flatten(), ends_E[-1:]]),
        rows_TK=plan.inverse_S.view(topk_ids_TK.shape) + shift_E[topk_ids_TK],
        pieces=pieces,
        idle_experts=[],
    )


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
