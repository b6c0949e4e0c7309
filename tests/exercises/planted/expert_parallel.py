"""Answers to lesson 14 as learners write them: the exchange, and rows sorted for the experts."""

import numpy as np
import torch
from planted import expert_parallel_balance as balance
from planted import expert_parallel_gradients as gradients
from planted import more_last

# Exchange: right


def exchange_split(rows_SD, splits_GG):
    G = splits_GG.shape[0]
    blocks = torch.split(rows_SD, splits_GG.reshape(-1).tolist())
    return torch.cat([blocks[g * G + h] for h in range(G) for g in range(G)], dim=0)


def exchange_sorted(rows_SD, splits_GG):
    """Say for each row where it goes, and sort."""
    G = len(splits_GG)
    receiver_S = torch.arange(G).repeat(G).repeat_interleave(splits_GG.flatten())
    return rows_SD[torch.sort(receiver_S, stable=True).indices]


def exchange_loops(rows_SD, splits_GG):
    starts = [0]
    for n in splits_GG.flatten().tolist():
        starts.append(starts[-1] + n)
    G, out = len(splits_GG), []
    for h in range(G):
        for g in range(G):
            for s in range(starts[g * G + h], starts[g * G + h + 1]):
                out.append(rows_SD[s])
    return torch.stack(out)


def exchange_inboxes(rows_SD, splits_GG):
    inbox = [[] for _ in splits_GG]
    for mine, sizes in zip(rows_SD.split(splits_GG.sum(1).tolist()), splits_GG.tolist(), strict=True):
        for h, part in enumerate(mine.split(sizes)):
            inbox[h].append(part)
    return torch.cat([torch.cat(box) for box in inbox])


# Exchange: wrong


def _blocks(rows, splits):
    G = len(splits)
    parts = rows.split(splits.flatten().tolist())
    return [[parts[g * G + h] for h in range(G)] for g in range(G)]


def exchange_stays(rows, splits):
    return torch.cat([part for row in _blocks(rows, splits) for part in row])


def exchange_across(rows, splits):
    G = len(splits)
    parts = rows.split(splits.T.flatten().tolist())
    return torch.cat([parts[g * G + h] for h in range(G) for g in range(G)])


def exchange_reversed(rows, splits):
    table = _blocks(rows, splits)[::-1]
    return torch.cat([row[h] for h in range(len(splits)) for row in table])


def exchange_receivers_reversed(rows, splits):
    table = _blocks(rows, splits)
    return torch.cat([row[h] for h in range(len(splits) - 1, -1, -1) for row in table])


def exchange_own_first(rows, splits):
    table, out = _blocks(rows, splits), []
    for h in range(len(splits)):
        out.append(table[h][h])
        out += [table[g][h] for g in range(len(splits)) if g != h]
    return torch.cat(out)


def exchange_own_dropped(rows, splits):
    table = _blocks(rows, splits)
    return torch.cat([table[g][h] for h in range(len(table)) for g in range(len(table)) if g != h])


def exchange_equal(rows, splits):
    G, out = len(splits), []
    mine = rows.split(splits.sum(dim=1).tolist())
    for h in range(G):
        out += [torch.tensor_split(m, G)[h] for m in mine]
    return torch.cat(out)


def exchange_rotated(rows, splits):
    mine = list(rows.split(splits.sum(dim=1).tolist()))
    return torch.cat(mine[1:] + mine[:1])


def exchange_rank0(rows, splits):
    return torch.cat([row[0] for row in _blocks(rows, splits)])


def exchange_no_base(rows, splits):
    out = []
    for h in range(len(splits)):
        for g in range(len(splits)):
            start = int(splits[g, :h].sum())
            out.append(rows[start : start + int(splits[g, h])])
    return torch.cat(out)


def exchange_detached(rows, splits):
    return exchange_split(rows.detach(), splits).requires_grad_()


class _Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, splits):
        ctx.save_for_backward(splits)
        return exchange_split(rows, splits)

    @staticmethod
    def backward(ctx, grad):
        return exchange_split(grad, ctx.saved_tensors[0]), None


class _Straight(_Again):
    @staticmethod
    def backward(ctx, grad):
        return grad + 0, None


# Expert major: right


def major_sorted(arriving_GL):
    G, L = arriving_GL.shape
    ids = torch.arange(L).repeat(G).repeat_interleave(arriving_GL.flatten())
    return torch.sort(ids, stable=True)[1], torch.cumsum(arriving_GL.sum(0), 0)


def major_loops(arriving_GL):
    table, G, L = arriving_GL.tolist(), len(arriving_GL), arriving_GL.shape[1]
    starts, at = [], 0
    for row in table:
        starts.append([])
        for n in row:
            starts[-1].append(at)
            at += n
    order, ends = [], []
    for e in range(L):
        for g in range(G):
            order += range(starts[g][e], starts[g][e] + table[g][e])
        ends.append(len(order))
    return order, ends


def major_split(arriving_GL):
    G, L = arriving_GL.shape
    parts = torch.arange(arriving_GL.sum()).split(arriving_GL.flatten().tolist())
    order = torch.cat([parts[g * L + e] for e in range(L) for g in range(G)])
    return order, torch.stack([arriving_GL[:, : e + 1].sum() for e in range(L)]).to(torch.int32)


def major_numpy(arriving_GL):
    counts = arriving_GL.numpy()
    ids = np.concatenate([np.repeat(np.arange(counts.shape[1]), row) for row in counts])
    return np.argsort(ids, kind="stable"), np.cumsum(counts.sum(axis=0))


# Expert major: wrong


def _order(make):
    return lambda a: (make(a), a.sum(0).cumsum(0))


def _ends(make):
    return lambda a: (major_sorted(a)[0], make(a))


def _row_ids(a):
    return torch.cat([torch.arange(a.shape[1]).repeat_interleave(row) for row in a])


def major_across(a):
    ids = torch.arange(a.shape[1]).repeat(a.shape[0]).repeat_interleave(a.T.flatten())
    return torch.argsort(ids, stable=True), a.sum(0).cumsum(0)


def major_senders_reversed(a):
    parts = torch.arange(int(a.sum())).split(a.flatten().tolist())
    L = a.shape[1]
    order = [parts[g * L + e] for e in range(L) for g in range(len(a) - 1, -1, -1)]
    return torch.cat(order), a.sum(0).cumsum(0)


def major_unstable(a):
    """Each expert's rows from the back."""
    ids = _row_ids(a)
    order = torch.cat([(ids == e).nonzero().flatten().flip(0) for e in range(a.shape[1])])
    return order, a.sum(0).cumsum(0)


def major_experts_reversed(a):
    return torch.argsort(_row_ids(a), descending=True, stable=True), a.sum(0).cumsum(0)


def major_no_base(a):
    order = []
    for e in range(a.shape[1]):
        for row in a.tolist():
            order += range(sum(row[:e]), sum(row[: e + 1]))
    return torch.tensor(order), a.sum(0).cumsum(0)


def major_by_sender(a):
    ends = a.sum(1).cumsum(0).tolist()
    return major_sorted(a)[0], torch.tensor((ends + [0] * a.shape[1])[: a.shape[1]])


RIGHT = {
    "14.exchange": [exchange_sorted, exchange_loops, exchange_inboxes],
    "14.expert_major": [major_sorted, major_loops, major_split, major_numpy],
    **gradients.RIGHT,
    **balance.RIGHT,
}
WRONG = {
    "14.exchange": {
        "not_exchanged": exchange_stays,
        "splits_read_across": exchange_across,
        "senders_reversed": exchange_reversed,
        "receivers_reversed": exchange_receivers_reversed,
        "own_block_moved": exchange_own_first,
        "own_block_dropped": exchange_own_dropped,
        "equal_splits": exchange_equal,
        "whole_ranks_moved": exchange_rotated,
        "without_the_ranks_start": exchange_no_base,
        "first_rank_only": exchange_rank0,
        "gradient_not_returned": lambda rows, splits: _Again.apply(rows, splits),
        "gradient_unmoved": lambda rows, splits: _Straight.apply(rows, splits),
        "gradient_lost:detached": exchange_detached,
    },
    "14.expert_major": {
        "not_sorted": _order(lambda a: torch.arange(a.sum())),
        "where_it_goes": _order(lambda a: torch.argsort(major_sorted(a)[0])),
        "counts_read_across": major_across,
        "senders_reversed": major_senders_reversed,
        "not_stable": major_unstable,
        "experts_reversed": major_experts_reversed,
        "ids_for_order": _order(_row_ids),
        "without_the_senders_start": major_no_base,
        "ends_by_sender": major_by_sender,
        "sizes_for_ends": _ends(lambda a: a.sum(dim=0)),
        "starts_for_ends": _ends(lambda a: torch.cat([torch.zeros(1).long(), a.sum(0)]).cumsum(0)[:-1]),
        "last_for_ends": _ends(lambda a: torch.cumsum(a.sum(0), 0) - 1),
        "sums_over_all": _ends(lambda a: torch.cumsum(a.reshape(-1), 0)[: a.shape[1]]),
    },
    **gradients.WRONG,
    **balance.WRONG,
}
more_last.add_to(WRONG)
