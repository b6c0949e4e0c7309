"""Answers to 09.gather_rows: one kernel with a mistake to choose, and two that do it in other ways."""

try:
    import triton
    import triton.language as tl
except ImportError:  # not on Linux: nothing here is called
    from unittest.mock import MagicMock

    triton = tl = MagicMock()


@triton.jit
def one_piece(x, slots, out, n, K: tl.constexpr, B: tl.constexpr, WRONG: tl.constexpr):
    if WRONG == "axes_swapped":
        row, piece = tl.program_id(1), tl.program_id(0)
    else:
        row, piece = tl.program_id(0), tl.program_id(1)
    if WRONG == "first_piece_only":
        piece = 0
    col = piece * B + tl.arange(0, B)
    if WRONG == "pieces_overlap":
        col = piece + tl.arange(0, B)
    ok = col < n
    if WRONG == "one_column_too_many":
        ok = col <= n
    if WRONG == "only_python":
        (ok,) = [col < n for _ in range(1)]
    slot = tl.load(slots + row)
    if WRONG == "forgot_top_k":
        token = slot
    elif WRONG == "row_over_k":
        token = row // K
    elif WRONG == "slot_as_float":
        token = (slot / K).to(tl.int64)
    elif WRONG == "remainder":
        token = slot % K
    elif WRONG == "no_gather":
        token = row
    else:
        token = slot // K
    source = x + token * (B if WRONG == "wrong_stride" else n) + col
    width = n
    if WRONG == "padded_rows" or WRONG == "padded_rows:read":
        source = x + token * (tl.num_programs(1) * B) + col
    if WRONG == "padded_rows":
        width = tl.num_programs(1) * B
    if WRONG == "no_row_stride":
        source = x + token + col
    if WRONG == "scattered":
        source = x + row // K * n + col
        row = slot
    if WRONG == "no_load_mask" or WRONG == "no_masks":
        value = tl.load(source)
    else:
        value = tl.load(source, mask=ok, other=0.0)
    if WRONG == "no_store_mask" or WRONG == "no_masks":
        tl.store(out + row * n + col, value)
    else:
        tl.store(out + row * width + col, value, mask=ok)


def wrong(name):
    def gather_rows(hidden, slots, out, top_k):
        S, D = out.shape
        grid = (S, triton.cdiv(D, 16))
        one_piece[grid](hidden, slots, out, D, K=top_k, B=16, WRONG=name)

    return gather_rows


GATHER_WRONG = {
    name: wrong(name)
    for name in (
        "no_load_mask",
        "no_store_mask",
        "no_masks",
        "forgot_top_k",
        "remainder",
        "no_gather",
        "padded_rows",
        "padded_rows:read",
        "scattered",
        "axes_swapped",
        "wrong_stride",
        "first_piece_only",
        "slot_as_float",
        "one_column_too_many",
        "row_over_k",
        "no_row_stride",
        "pieces_overlap",
        "only_python",
    )
}


@triton.jit
def whole_row(x, slots, out, n, K, B: tl.constexpr):
    """One program per row, in a loop over its pieces."""
    row = tl.program_id(0)
    token = tl.load(slots + row) // K
    for start in range(0, n, B):
        col = start + tl.arange(0, B)
        tl.store(out + row * n + col, tl.load(x + token * n + col, mask=col < n, other=0), mask=col < n)


def rows_in_a_loop(hidden, slots, out, top_k):
    whole_row[(out.shape[0],)](hidden, slots, out, out.shape[1], top_k, B=32)


@triton.jit
def tile(x, slots, out, n_rows, n, K, R: tl.constexpr, B: tl.constexpr):
    """Four rows at a time, in two dimensions; leaves out `other`, which is right where nobody keeps it."""
    row = tl.program_id(1) * R + tl.arange(0, R)
    col = tl.program_id(0) * B + tl.arange(0, B)
    token = tl.load(slots + row, mask=row < n_rows, other=0) // K
    ok = (row < n_rows)[:, None] & (col < n)[None, :]
    value = tl.load(x + token[:, None] * n + col[None, :], mask=ok)
    tl.store(out + row[:, None] * n + col[None, :], value, mask=ok)


def tiles(hidden, slots, out, top_k):
    S, D = out.shape
    tile[(triton.cdiv(D, 8), triton.cdiv(S, 4))](hidden, slots, out, S, D, top_k, R=4, B=8)


GATHER_RIGHT = [rows_in_a_loop, tiles]
