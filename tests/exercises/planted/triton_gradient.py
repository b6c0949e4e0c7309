"""Answers to 09.down_gradient."""

try:
    import triton
    import triton.language as tl
except ImportError:  # not on Linux: nothing here is called
    from unittest.mock import MagicMock

    triton = tl = MagicMock()


@triton.jit
def one_tile(grad, act, ends, out, D, F, B: tl.constexpr, WRONG: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * B + tl.arange(0, B)
    f = tl.program_id(2) * B + tl.arange(0, B)
    if WRONG == "axes_swapped":
        d = tl.program_id(2) * B + tl.arange(0, B)
        f = tl.program_id(1) * B + tl.arange(0, B)
    end = tl.load(ends + e)
    if WRONG == "before_the_first":
        start = tl.load(ends + e - 1)
    elif WRONG == "start_without_other":
        start = tl.load(ends + e - 1, mask=e > 0)
    elif WRONG == "all_rows_before":
        start = end * 0
    elif WRONG == "begins_at_its_end":
        start = end
    else:
        start = tl.load(ends + e - 1, mask=e > 0, other=0)
    if WRONG == "empty_not_written" and start == end:
        return
    first_row = start
    if WRONG == "counted_from_zero":
        first_row = start * 0
    acc = tl.zeros((B, B), tl.float32)
    if WRONG == "half_accumulator":
        acc = tl.zeros((B, B), tl.float16)
    elif WRONG == "accumulator_is_a_number":
        acc = 0.0
    for first in range(first_row, end - start + first_row, B):
        if WRONG == "only_python" and first >= end:
            break
        row = first + tl.arange(0, B)
        in_g = (d < D)[:, None] & (row < end)[None, :]
        in_a = (row < end)[:, None] & (f < F)[None, :]
        if WRONG == "no_row_mask":
            in_g = (d < D)[:, None] & (row >= 0)[None, :]
            in_a = (row >= 0)[:, None] & (f < F)[None, :]
        if WRONG == "no_row_mask:of all rows":
            n_rows = tl.load(ends + tl.num_programs(0) - 1)
            in_g = (d < D)[:, None] & (row < n_rows)[None, :]
            in_a = (row < n_rows)[:, None] & (f < F)[None, :]
        gs = grad + row[None, :] * D + d[:, None]
        as_ = act + row[:, None] * F + f[None, :]
        if WRONG == "tile_not_turned":
            gs = grad + row[:, None] * D + d[None, :]
            in_g = (row < end)[:, None] & (d < D)[None, :]
        if WRONG == "activations_unmasked":
            in_a = (row < end)[:, None] & (f >= 0)[None, :]
        if WRONG == "no_other":
            g = tl.load(gs, mask=in_g)
            a = tl.load(as_, mask=in_a)
        else:
            g = tl.load(gs, mask=in_g, other=0.0)
            a = tl.load(as_, mask=in_a, other=0.0)
        if WRONG == "last_step_only":
            acc = tl.dot(g, a)
        elif WRONG == "half_accumulator":
            acc += tl.dot(g, a).to(tl.float16)
        elif WRONG == "accumulator_is_a_number":
            acc += tl.dot(g, a)
        else:
            acc = tl.dot(g, a, acc)
    if WRONG == "mean":
        acc = acc / tl.maximum(end - start, 1).to(tl.float32)
    place = out + e * D * F + d[:, None] * F + f[None, :]
    if WRONG == "transposed":
        place = out + e * D * F + d[:, None] + f[None, :] * D
    if WRONG == "no_store_mask":
        tl.store(place, acc.to(tl.float16))
    else:
        tl.store(place, acc.to(tl.float16), mask=(d < D)[:, None] & (f < F)[None, :])


def wrong(name):
    def down_gradient(grad, act, ends, out):
        E, D, F = out.shape
        grid = (E, triton.cdiv(D, 16), triton.cdiv(F, 16))
        one_tile[grid](grad, act, ends, out, D, F, B=16, WRONG=name)

    return down_gradient


GRADIENT_WRONG = {
    name: wrong(name)
    for name in (
        "empty_not_written",
        "before_the_first",
        "start_without_other",
        "all_rows_before",
        "no_row_mask",
        "no_row_mask:of all rows",
        "no_other",
        "transposed",
        "tile_not_turned",
        "last_step_only",
        "mean",
        "half_accumulator",
        "axes_swapped",
        "no_store_mask",
        "begins_at_its_end",
        "counted_from_zero",
        "activations_unmasked",
        "accumulator_is_a_number",
        "only_python",
    )
}


@triton.jit
def outer_products(grad, act, ends, out, D, F, B: tl.constexpr, C: tl.constexpr):
    """One program per expert, one row at a time, without `tl.dot`."""
    e = tl.program_id(0)
    d, f = tl.arange(0, B), tl.arange(0, C)
    start = tl.load(ends + e - 1, mask=e > 0, other=0)
    acc = tl.zeros((B, C), tl.float32)
    for row in range(start, tl.load(ends + e)):
        g = tl.load(grad + row * D + d, mask=d < D, other=0.0).to(tl.float32)
        a = tl.load(act + row * F + f, mask=f < F, other=0.0).to(tl.float32)
        acc += g[:, None] * a[None, :]
    inside = (d < D)[:, None] & (f < F)[None, :]
    tl.store(out + (e * D + d[:, None]) * F + f[None, :], acc, mask=inside)


def row_after_row(grad, act, ends, out):
    E, D, F = out.shape
    sizes = {"B": triton.next_power_of_2(D), "C": triton.next_power_of_2(F)}
    outer_products[(E,)](grad, act, ends, out, D, F, **sizes)


@triton.jit
def transposed_tile(grad, act, ends, out, E, D, F, B: tl.constexpr):
    """A flat grid; computes the tile of the transpose, and turns it before it is stored."""
    f_pieces = tl.cdiv(F, B)
    d_pieces = tl.cdiv(D, B)
    f = tl.program_id(0) % f_pieces * B + tl.arange(0, B)
    d = tl.program_id(0) // f_pieces % d_pieces * B + tl.arange(0, B)
    e = tl.program_id(0) // (f_pieces * d_pieces)
    start = 0
    if e > 0:
        start = tl.load(ends + e - 1)
    end = tl.load(ends + e)
    acc = tl.zeros((B, B), tl.float32)
    for first in range(start, end, B):
        row = first + tl.arange(0, B)
        a = tl.load(act + row[:, None] * F + f, mask=(row < end)[:, None] & (f < F), other=0.0)
        g = tl.load(grad + row[:, None] * D + d, mask=(row < end)[:, None] & (d < D), other=0.0)
        acc += tl.dot(tl.trans(a), g)
    inside = (d < D)[:, None] & (f < F)[None, :]
    tl.store(out + (e * D + d)[:, None] * F + f[None, :], tl.trans(acc), mask=inside)


def turned(grad, act, ends, out):
    E, D, F = out.shape
    grid = (E * triton.cdiv(D, 16) * triton.cdiv(F, 16),)
    transposed_tile[grid](grad, act, ends, out, E, D, F, B=16)


GRADIENT_RIGHT = [row_after_row, turned]
