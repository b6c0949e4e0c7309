"""Answers to lesson 09; the kernels lie beside this module."""

import torch
from planted.triton_combine import COMBINE_RIGHT, COMBINE_WRONG
from planted.triton_gather import GATHER_RIGHT, GATHER_WRONG
from planted.triton_gradient import GRADIENT_RIGHT, GRADIENT_WRONG
from planted.triton_product import PRODUCT_RIGHT, PRODUCT_WRONG


def map_with(number, place=lambda start, i, b, count, found: start + i * b, spare=(-1, 0)):
    def block_map(counts, b, n):
        found = []
        start = 0
        for e in range(len(counts)):
            count = int(counts[e])
            for i in range(number(count, b)):
                found.append((e, place(start, i, b, count, len(found))))
            start += count
        found += [spare] * (n - len(found))
        return torch.tensor(found[:n], dtype=torch.long).view(n, 2)

    return block_map


def ceil(count, b):
    return (count + b - 1) // b


def straddling(counts, b, n):
    owner = torch.arange(len(counts)).repeat_interleave(counts)
    pairs = [(int(owner[first]), first) for first in range(0, len(owner), b)]
    return torch.tensor(pairs + [(-1, 0)] * (n - len(pairs)), dtype=torch.long).reshape(n, 2)


def map_by_cumsum(counts, b, n):
    blocks = (counts + b - 1) // b
    after = blocks.cumsum(0)
    g = torch.arange(n)
    e = torch.searchsorted(after, g, right=True)
    used = e < len(counts)
    e = e.clamp(max=len(counts) - 1)
    first = (counts.cumsum(0) - counts)[e] + (g - (after - blocks)[e]) * b
    return torch.stack([torch.where(used, e, -1), torch.where(used, first, 0)], dim=1)


def map_by_repeat(counts, b, n):
    out = torch.tensor([-1, 0]).repeat(n, 1)
    start = counts.cumsum(0) - counts
    e = torch.repeat_interleave(torch.arange(len(counts)), -(-counts // b))
    within = torch.cat([torch.arange(0, int(count), b) for count in counts]) if len(e) else e
    out[: len(e), 0] = e
    out[: len(e), 1] = start[e] + within
    return out


def map_swapped(counts, b, n):
    out = map_by_repeat(counts, b, n)
    used = out[:, 0] >= 0
    out[used] = out[used].flip(1)
    return out


WRONG = {
    "09.gather_rows": GATHER_WRONG,
    "09.block_map": {
        "floor": map_with(lambda count, b: count // b),
        "one_more": map_with(lambda count, b: count // b + 1),
        "empty_gets_one": map_with(lambda count, b: max(ceil(count, b), 1)),
        "straddling": straddling,
        "own_rows": map_with(ceil, lambda start, i, b, count, found: i * b),
        "from_the_end": map_with(ceil, lambda start, i, b, count, found: start + count + i * b),
        "padded_rows": map_with(ceil, lambda start, i, b, count, found: found * b),
        "spare_is_zero": map_with(ceil, spare=(0, 0)),
        "spare_row": map_with(ceil, spare=(-1, -1)),
        "block_numbers": map_with(ceil, lambda start, i, b, count, found: i),
        "columns_swapped": map_swapped,
        "no_spare": lambda counts, b, n: map_by_repeat(counts, b, n)[map_by_repeat(counts, b, n)[:, 0] >= 0],
    },
    "09.grouped_product": PRODUCT_WRONG,
    "09.combine_rows": COMBINE_WRONG,
    "09.down_gradient": GRADIENT_WRONG,
}

RIGHT = {
    "09.gather_rows": GATHER_RIGHT,
    "09.block_map": [map_by_cumsum, map_by_repeat, map_with(ceil)],
    "09.grouped_product": PRODUCT_RIGHT,
    "09.combine_rows": COMBINE_RIGHT,
    "09.down_gradient": GRADIENT_RIGHT,
}
