"""Answers to lesson 08 as learners write them: the bytes that each stage moves."""

import torch

# 08.bytes_moved


def bytes_listed(ids, E, D, F, size):
    S, T = ids.numel(), ids.shape[0]
    busy = ids.unique().numel()
    gather = 2 * S * D
    up = S * D + busy * 2 * F * D + S * 2 * F
    act = S * 2 * F + S * F
    down = S * F + busy * D * F + S * D
    comb = S * D + T * D
    return torch.tensor([gather, up, act, down, comb]) * size


def bytes_by_width(ids, E, D, F, size):
    """Widths in, widths out, and what is read besides, as three lists."""
    T, K = ids.shape
    S = T * K
    busy = int((torch.bincount(ids.reshape(-1), minlength=E) > 0).sum())
    ins = torch.tensor([D, D, 2 * F, F, D])
    outs = torch.tensor([D, 2 * F, F, D, 0])
    matrices = torch.tensor([0, 2 * F * D, 0, F * D, 0])
    total = S * (ins + outs) + busy * matrices
    total[4] += T * D
    return total * size


def bytes_of_tensors(ids, E, D, F, size):
    """Makes tensors of the right shapes, without any memory behind them, and asks them."""
    T, S = len(ids), ids.numel()
    e = len(set(ids.flatten().tolist()))
    made = [(e, 2 * F, D), (e, D, F), (S, D), (S, 2 * F), (S, F), (S, D), (T, D)]
    gate_up, down, x, h, a, y, out = (torch.empty(shape, device="meta") for shape in made)
    stages = [(x, x), (x, gate_up, h), (h, a), (a, down, y), (y, out)]
    return torch.tensor([size * sum(t.numel() for t in stage) for stage in stages])


def bytes_in_python(ids, E, D, F, size):
    """A list of plain whole numbers."""
    return [int(count) for count in bytes_listed(ids, E, D, F, size)]


def bytes_as_doubles(ids, E, D, F, size):
    """Whole numbers all the same: fp64 holds them to 2**53."""
    return bytes_listed(ids, E, D, F, size).double()


def bytes_but(stage, change, before=None):
    """Right but for one stage; or counted in a dtype that is too narrow."""

    def answer(ids, E, D, F, size):
        found = bytes_listed(ids, E, D, F, size)
        if stage is None:
            return (found // size).to(before) * size if change else found.to(before)
        found[stage] = change(len(ids), ids.numel(), len(ids.unique()), D, F) * size
        return found

    return answer


def bytes_with(size=None, S=None, busy=None, width=2, T=None, sides=(1, 1)):
    """One loop over the stages, with one thing counted wrongly."""

    def answer(ids, E, D, F, itemsize):
        rows = S(ids) if S else ids.numel()
        experts = busy(ids, E) if busy else len(ids.unique())
        tokens = T(ids) if T else ids.shape[0]
        each = size(itemsize) if size else itemsize
        stages = (
            (rows * D, rows * D),
            (rows * D + experts * width * F * D, rows * width * F),
            (rows * width * F, rows * F),
            (rows * F + experts * F * D, rows * D),
            (rows * D, tokens * D),
        )
        return torch.tensor([each * (sides[0] * a + sides[1] * b) for a, b in stages])

    return answer


WRONG = {
    "08.bytes_moved": {
        "elements": bytes_with(size=lambda itemsize: 1),
        "bits": bytes_with(size=lambda itemsize: 8 * itemsize),
        "tokens_for_rows": bytes_with(S=lambda ids: ids.shape[0]),
        "writes_forgotten": bytes_with(sides=(1, 0)),
        "reads_forgotten": bytes_with(sides=(0, 1)),
        "all_experts": bytes_with(busy=lambda ids, E: E),
        "matrices_forgotten": bytes_with(busy=lambda ids, E: 0),
        "matrices_per_row": bytes_with(busy=lambda ids, E: ids.numel()),
        "gate_forgotten": bytes_with(width=1),
        "combine_writes_slots": bytes_with(T=lambda ids: ids.numel()),
        "gather_reads_tokens": bytes_but(0, lambda T, S, busy, D, F: T * D + S * D),
        "one_up_matrix": bytes_but(1, lambda T, S, busy, D, F: S * D + busy * F * D + 2 * S * F),
        "one_of_gate_and_up_written": bytes_but(1, lambda T, S, busy, D, F: S * D + 2 * busy * F * D + S * F),
        "activation_reads_one": bytes_but(2, lambda T, S, busy, D, F: 2 * S * F),
        "activation_writes_both": bytes_but(2, lambda T, S, busy, D, F: 4 * S * F),
        "too_large_for_32_bits": bytes_but(None, False, torch.int32),
        "rounded": bytes_but(None, False, torch.float32),
    }
}

RIGHT = {
    "08.bytes_moved": [bytes_listed, bytes_by_width, bytes_of_tensors, bytes_in_python, bytes_as_doubles]
}

MORE = {"08.bytes_moved": [("too_large_for_32_bits", bytes_but(None, True, torch.int32))]}
