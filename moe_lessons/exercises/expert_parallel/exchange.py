"""Exercise 14.exchange: what an all-to-all with uneven splits leaves on every rank."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Two to four ranks; one that sends nothing, one that gets nothing, and both at once."""

    def case(G: int, D: int, silent: int | None = None, idle: int | None = None, edge: bool = False) -> Case:
        splits_GG = rng.integers(1, 5, (G, G))
        splits_GG[0, -1] += 3  # far from symmetric
        if G > 2:
            splits_GG[1, 0] = 0
        note = ""
        if silent is not None:
            splits_GG[silent] = 0
            note += f", rank {silent} sends nothing"
        if idle is not None:
            splits_GG[:, idle] = 0
            note += f", rank {idle} gets nothing"
        rows_SD = rng.normal(size=(int(splits_GG.sum()), D)).astype(np.float32)
        args: dict[str, Plain] = {"rows_SD": rows_SD, "splits_GG": splits_GG.astype(np.int64)}
        return Case(f"G={G}, S={len(rows_SD)}, D={D}{note}", args, edge=edge)

    return [
        case(3, 4),
        case(2, 5),
        case(4, 3, silent=2),
        case(3, 2, idle=0),
        case(4, 2, silent=0, idle=3, edge=True),
    ]


def blocks_of(rows_SD: Tensor, splits_GG: Tensor) -> list[Tensor]:
    """All G * G blocks, as they lie before the exchange."""
    return list(rows_SD.split(splits_GG.flatten().tolist()))


def reference(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    """Transpose the blocks: receiver by receiver, from each sender in order."""
    return _laid(lambda n: [(g, h) for h in range(n) for g in range(n)])(rows_SD, splits_GG)


def _laid(order: Callable[[int], list[tuple[int, int]]]) -> Callable[[Tensor, Tensor], Tensor]:
    """The blocks (sender, receiver) in another order."""

    def answer(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
        n_ranks, blocks = len(splits_GG), blocks_of(rows_SD, splits_GG)
        return torch.cat([blocks[g * n_ranks + h] for g, h in order(n_ranks)])

    return answer


def _round(start: int, step: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Senders in a ring, from a rank itself or a neighbour."""
    return _laid(lambda n: [((h + start + step * i) % n, h) for h in range(n) for i in range(n)])


def _transposed(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    return reference(rows_SD, splits_GG.T.contiguous())


def _own_block(n: int, h: int, place: str) -> list[tuple[int, int]]:
    others = [(g, h) for g in range(n) if g != h]
    return {"first": [(h, h), *others], "last": [*others, (h, h)], "dropped": others}[place]


def _own(place: str) -> Callable[[Tensor, Tensor], Tensor]:
    return _laid(lambda n: [pair for h in range(n) for pair in _own_block(n, h, place)])


def _equal(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    """Each rank's rows cut into G equal parts, as the call without split sizes does."""
    blocks = [rank.tensor_split(len(splits_GG)) for rank in rows_SD.split(splits_GG.sum(1).tolist())]
    return torch.cat([blocks[g][h] for h in range(len(splits_GG)) for g in range(len(splits_GG))])


def _all_equal(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    """All rows cut into G * G equal parts."""
    n = len(splits_GG)
    blocks = rows_SD.tensor_split(n * n)
    return torch.cat([blocks[g * n + h] for h in range(n) for g in range(n)])


def _ring(step: int) -> Callable[[Tensor, Tensor], Tensor]:
    def answer(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
        n = len(splits_GG)
        ranks = rows_SD.split(splits_GG.sum(dim=1).tolist())
        return torch.cat([ranks[(h + step) % n] for h in range(n)])

    return answer


class _SameSplits(torch.autograd.Function):
    """Forward as it should be; the gradient goes through the same exchange once more."""

    @staticmethod
    def forward(ctx: Any, rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
        ctx.splits_GG = splits_GG
        return reference(rows_SD, splits_GG)

    @staticmethod
    def backward(ctx: Any, gradient_SD: Tensor) -> tuple[Tensor, None]:
        return reference(gradient_SD, ctx.splits_GG), None


class _Unmoved(_SameSplits):
    """Forward as it should be; the gradient stays where it lies."""

    @staticmethod
    def backward(ctx: Any, gradient_SD: Tensor) -> tuple[Tensor, None]:
        return gradient_SD.clone(), None


def _without_base(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    """Places counted within a rank, and looked up as if all rows were rank 0's."""
    first_GG = splits_GG.cumsum(dim=1) - splits_GG
    n = len(splits_GG)
    pairs = [(g, h) for h in range(n) for g in range(n)]
    return torch.cat([rows_SD[int(first_GG[p]) : int(first_GG[p] + splits_GG[p])] for p in pairs])


def _received_starts(clipped: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Each rank's rows looked for behind what the ranks before it *receive*."""

    def answer(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
        n, arriving_G = len(splits_GG), splits_GG.sum(dim=0)
        first_GG = (arriving_G.cumsum(0) - arriving_G)[:, None] + splits_GG.cumsum(dim=1) - splits_GG
        pairs = [(g, h) for h in range(n) for g in range(n)]
        at_S = torch.cat([first_GG[p] + torch.arange(int(splits_GG[p])) for p in pairs])
        return rows_SD[at_S.clamp(max=len(rows_SD) - 1) if clipped else at_S[at_S < len(rows_SD)]]

    return answer


def _at_home(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    n, blocks = len(splits_GG), blocks_of(rows_SD, splits_GG)
    return torch.cat([blocks[g * n + g] for g in range(n)])


def _first_rank(rows_SD: Tensor, splits_GG: Tensor) -> Tensor:
    n, blocks = len(splits_GG), blocks_of(rows_SD, splits_GG)
    return torch.cat([blocks[g * n] for g in range(n)])


def _nothing_lost(case: Case, got: Outputs, want: Outputs) -> str | None:
    sent_SD = np.asarray(case.args["rows_SD"])
    came, sent = (np.sort(rows.sum(axis=1)) for rows in (got["arrived_RD"], sent_SD))
    if not np.allclose(came, sent, rtol=1e-4, atol=1e-5):
        return "arrived_RD does not hold each of the rows that were sent exactly once"
    return None


EXCHANGE = Exercise(
    id="14.exchange",
    title="All to all",
    task=(
        "`rows_SD` holds what G ranks are about to send: the rows of rank 0 first, then those of rank 1, and "
        "so on. On each rank they lie sorted by receiver, and `splits_GG[g, h]` of them go from rank g to "
        "rank h (g may be h). Return all rows as they lie *afterwards*: what rank 0 has received first, then "
        "what rank 1 has, and so on; on each rank sorted by sender. A gradient must find its way back."
    ),
    entry="exchange",
    points=3,
    minutes=15,
    difficulty=2,
    driver="gradient",
    options={"wrt": [0]},
    outputs=(Output("arrived_RD", "RD"), Output("gradient_SD", "SD")),
    draw=draw,
    reference=reference,
    properties=(Property("no row is lost, none comes twice", _nothing_lost),),
    misconceptions=(
        Misconception(
            "not_exchanged",
            "Nothing has moved: the rows still lie sender by sender. Afterwards those *for* rank 0 come "
            "first, whoever sent them.",
            wrong=_laid(lambda n: [(g, h) for g in range(n) for h in range(n)]),
            hint=1,
        ),
        Misconception(
            "splits_read_across",
            "`splits_GG[g, h]` was read as what g *receives* from h. The rows were then cut in the wrong "
            "places, and a block holds rows for two ranks. The first index sends.",
            wrong=_transposed,
            hint=1,
        ),
        Misconception(
            "senders_reversed",
            "The right rows are on the right rank, with the last sender first. Everyone who counts by sender "
            "from now on takes rank 0's rows for another's.",
            wrong=_laid(lambda n: [(g, h) for h in range(n) for g in reversed(range(n))]),
            hint=1,
        ),
        Misconception(
            "receivers_reversed",
            "The last receiver's rows come first. Rank 0 would work on what was meant for the last rank.",
            wrong=_laid(lambda n: [(g, h) for h in reversed(range(n)) for g in range(n)]),
            also=(_laid(lambda n: [(g, h) for h in reversed(range(n)) for g in reversed(range(n))]),),
            hint=1,
        ),
        Misconception(
            "own_block_moved",
            "Each rank's rows to itself stand before or behind all others. It is a sender like any other: "
            "its block stands where its number says.",
            wrong=_own("first"),
            also=(_own("last"),),
            hint=3,
        ),
        Misconception(
            "own_block_dropped",
            "The rows that a rank sends to itself are missing. They need no network, and their experts need "
            "them all the same.",
            wrong=_own("dropped"),
            hint=3,
        ),
        Misconception(
            "received_in_a_ring",
            "Each rank's rows begin with its own, or with its neighbour's, and go round from there. That is "
            "a usual order to *send* in; what has arrived is sorted by sender, from rank 0 to the last.",
            wrong=_round(0, 1),
            also=(_round(0, -1), _round(1, 1), _round(-1, -1)),
            hint=1,
        ),
        Misconception(
            "equal_splits",
            "The rows were cut into equal parts. That is what a collective does if it is given no sizes; "
            "here each pair of ranks has its own, `splits_GG`.",
            wrong=_equal,
            also=(_all_equal,),
            hint=2,
        ),
        Misconception(
            "whole_ranks_moved",
            "Each rank's rows moved on to a neighbour as a whole. A rank's rows have up to G different "
            "receivers: cut them first.",
            wrong=_ring(1),
            also=(_ring(-1),),
            hint=2,
        ),
        Misconception(
            "without_the_ranks_start",
            "The places are counted within a rank, and not from where that rank's rows begin. Everything is "
            "then read from the first rank's part of `rows_SD`.",
            wrong=_without_base,
            hint=2,
        ),
        Misconception(
            "starts_of_receivers",
            "Where a rank's rows begin was worked out from what the ranks before it *receive*, the columns "
            "of `splits_GG`. `rows_SD` holds what is sent: add up rows of the table.",
            wrong=_received_starts(clipped=True),
            also=(_received_starts(clipped=False),),
            hint=2,
        ),
        Misconception(
            "first_rank_only",
            "These are the rows that rank 0 receives, or those that never leave their rank. Return what all "
            "ranks receive, one behind the other.",
            wrong=_first_rank,
            also=(_at_home,),
            hint=3,
        ),
        Misconception(
            "gradient_not_returned",
            "Forward is right. The gradient went through the same exchange *once more*, with the same "
            "splits. It has to go back the way the rows came: whoever received now sends.",
            wrong=lambda rows_SD, splits_GG: _SameSplits.apply(rows_SD, splits_GG),
            hint=2,
        ),
        Misconception(
            "gradient_unmoved",
            "Forward is right, and the gradient stays where it is: row i gets the gradient of whatever came "
            "to lie in place i. It has to go back to the row that it belongs to.",
            wrong=lambda rows_SD, splits_GG: _Unmoved.apply(rows_SD, splits_GG),
            hint=2,
        ),
    ),
    hints=(
        "Whose rows stand first in the result, and from whom do they come, in which order? Draw the G x G "
        "blocks as a table: a row is a sender. How do you read the table before, and how afterwards?",
        "`rows_SD.split(splits_GG.flatten().tolist())` cuts the buffer into its G x G blocks. If you only "
        "cut and join, autograd knows the way back.",
        "`torch.cat([blocks[g * G + h] for h in range(G) for g in range(G)])`: receivers outside, senders "
        "inside.",
    ),
    notice=(
        "The backward of an exchange is an exchange with the splits transposed, which is why a training step "
        "has four of them for every MoE layer."
    ),
)
