"""Answers to 09.grouped_product."""

try:
    import triton
    import triton.language as tl
except ImportError:  # not on Linux: nothing here is called
    from unittest.mock import MagicMock

    triton = tl = MagicMock()


@triton.jit
def one_tile(x_ptr, w_ptr, blocks, ends, out, F, D, B: tl.constexpr, WRONG: tl.constexpr):
    g = tl.program_id(0)
    p = tl.program_id(1)
    if WRONG == "axes_swapped":
        g = tl.program_id(1)
        p = tl.program_id(0)
    e = tl.load(blocks + 2 * g)
    if WRONG != "spare_computed" and e < 0:
        return
    if WRONG == "row_from_block_number":
        rows = g * B + tl.arange(0, B)
    else:
        rows = tl.load(blocks + 2 * g + 1) + tl.arange(0, B)
    if WRONG == "begins_at_zero":
        rows = tl.arange(0, B)
    mine = rows < tl.load(ends + e)
    if WRONG == "last_row_lost":
        mine = rows < tl.load(ends + e) - 1
    if WRONG == "one_row_too_many":
        mine = rows <= tl.load(ends + e)
    if WRONG == "rows_without_end":
        mine = rows >= 0
    n = p * B + tl.arange(0, B)
    acc = tl.zeros((B, B), tl.float32)
    if WRONG == "half_accumulator":
        acc = tl.zeros((B, B), tl.float16)
    elif WRONG == "accumulator_is_a_number":
        acc = 0.0
    last = F
    if WRONG == "one_step":
        last = B
    for first in range(0, last, B):
        if WRONG == "only_python" and first >= last:
            break
        k = first + tl.arange(0, B)
        xs = x_ptr + rows[:, None] * F + k[None, :]
        ws = w_ptr + e * D * F + n[None, :] * F + k[:, None]
        if WRONG == "one_matrix_for_all":
            ws = w_ptr + n[None, :] * F + k[:, None]
        elif WRONG == "transposed":
            ws = w_ptr + e * D * F + k[:, None] * D + n[None, :]
        elif WRONG == "expert_stride":
            ws = w_ptr + e * F + n[None, :] * F + k[:, None]
        if WRONG == "tile_not_turned":
            ws = w_ptr + e * D * F + n[:, None] * F + k[None, :]
            x = tl.load(xs, mask=mine[:, None] & (k < F)[None, :], other=0.0)
            w = tl.load(ws, mask=(n < D)[:, None] & (k < F)[None, :], other=0.0)
        elif WRONG == "rows_unmasked_along_f":
            x = tl.load(xs, mask=mine[:, None], other=0.0)
            w = tl.load(ws, mask=(k < F)[:, None] & (n < D)[None, :], other=0.0)
        elif WRONG == "matrix_unmasked_along_d":
            x = tl.load(xs, mask=mine[:, None] & (k < F)[None, :], other=0.0)
            w = tl.load(ws, mask=(k < F)[:, None], other=0.0)
        elif WRONG == "no_f_mask":
            x = tl.load(xs, mask=mine[:, None], other=0.0)
            w = tl.load(ws, mask=(n < D)[None, :], other=0.0)
        elif WRONG == "no_other":
            x = tl.load(xs, mask=mine[:, None] & (k < F)[None, :])
            w = tl.load(ws, mask=(k < F)[:, None] & (n < D)[None, :])
        else:
            x = tl.load(xs, mask=mine[:, None] & (k < F)[None, :], other=0.0)
            w = tl.load(ws, mask=(k < F)[:, None] & (n < D)[None, :], other=0.0)
        if WRONG == "half_accumulator":
            acc += tl.dot(x, w).to(tl.float16)
        elif WRONG == "accumulator_is_a_number":
            acc += tl.dot(x, w)
        elif WRONG == "last_step_only":
            acc = tl.dot(x, w)
        else:
            acc = tl.dot(x, w, acc)
    keep = mine[:, None] & (n < D)[None, :]
    if WRONG == "no_column_mask":
        keep = mine[:, None] & (n >= 0)[None, :]
    if WRONG == "no_row_mask":
        keep = (rows >= 0)[:, None] & (n < D)[None, :]
    tl.store(out + rows[:, None] * D + n[None, :], acc.to(tl.float16), mask=keep)


def wrong(name):
    def grouped_product(rows, down, blocks, ends, out):
        D, F = down.shape[1:]
        grid = (blocks.shape[0], triton.cdiv(D, 16))
        one_tile[grid](rows, down, blocks, ends, out, F, D, B=16, WRONG=name)

    return grouped_product


PRODUCT_WRONG = {
    name: wrong(name)
    for name in (
        "no_f_mask",
        "no_other",
        "one_matrix_for_all",
        "no_row_mask",
        "half_accumulator",
        "transposed",
        "tile_not_turned",
        "one_step",
        "last_step_only",
        "row_from_block_number",
        "axes_swapped",
        "spare_computed",
        "expert_stride",
        "begins_at_zero",
        "last_row_lost",
        "one_row_too_many",
        "rows_without_end",
        "rows_unmasked_along_f",
        "matrix_unmasked_along_d",
        "no_column_mask",
        "accumulator_is_a_number",
        "only_python",
    )
}


@triton.jit
def by_expert(x_ptr, w_ptr, ends, out, F, D, B: tl.constexpr):
    """No block map: one program per expert and piece walks over all rows of its expert."""
    e = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * B + tl.arange(0, B)
    start = tl.load(ends + e - 1, mask=e > 0, other=0)
    end = tl.load(ends + e)
    for first in range(start, end, B):
        rows = first + tl.arange(0, B)
        acc = tl.zeros((B, B), dtype=tl.float32)
        for begin in range(0, F, B):
            k = begin + tl.arange(0, B)
            x = tl.load(x_ptr + rows[:, None] * F + k, mask=(rows < end)[:, None] & (k < F), other=0)
            w = tl.load(w_ptr + (e * D + n)[:, None] * F + k, mask=(n < D)[:, None] & (k < F), other=0)
            acc += tl.dot(x, tl.trans(w))
        tl.store(out + rows[:, None] * D + n, acc, mask=(rows < end)[:, None] & (n < D))


def without_a_map(rows, down, blocks, ends, out):
    E, D, F = down.shape
    by_expert[(triton.cdiv(D, 16), E)](rows, down, ends, out, F, D, B=16)


@triton.jit
def by_row(x_ptr, w_ptr, ends, out, E, F, D, B: tl.constexpr, W: tl.constexpr):
    """One program per row: finds its expert by counting ends, multiplies without `tl.dot`."""
    row = tl.program_id(0)
    e = 0
    for other in range(E):
        e += (tl.load(ends + other) <= row).to(tl.int32)
    n = tl.arange(0, B)
    acc = tl.zeros((B,), tl.float32)
    for k in range(F):
        x = tl.load(x_ptr + row * F + k).to(tl.float32)
        acc += x * tl.load(w_ptr + (e * D + n) * F + k, mask=n < D, other=0.0).to(tl.float32)
    tl.store(out + row * D + n, acc.to(tl.float16), mask=n < D)


def row_by_row(rows, down, blocks, ends, out):
    E, D, F = down.shape
    by_row[(rows.shape[0],)](rows, down, ends, out, E, F, D, B=triton.next_power_of_2(D), W=1)


PRODUCT_RIGHT = [without_a_map, row_by_row]
