"""Lesson 09: three for each kernel and for the block map."""

import torch
import triton
import triton.language as tl

# 09.gather_rows


@triton.jit
def _slot_for_token(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < d_model
    token = tl.load(slots_S + row)
    x = tl.load(hidden_TD + token * d_model + column, mask=mask)
    tl.store(out_SD + row * d_model + column, x, mask=mask)


@triton.jit
def _no_mask(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.load(slots_S + row) // TOP_K
    x = tl.load(hidden_TD + token * d_model + column)
    tl.store(out_SD + row * d_model + column, x)


@triton.jit
def _first_piece_only(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < d_model
    token = tl.load(slots_S + row) // TOP_K
    x = tl.load(hidden_TD + token * d_model + column, mask=mask)
    tl.store(out_SD + row * d_model + column, x, mask=mask)


def gather_with(kernel):
    def gather_rows(hidden_TD, slots_S, out_SD, top_k):
        n_rows, d_model = out_SD.shape
        grid = (n_rows, triton.cdiv(d_model, 16))
        kernel[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)

    return gather_rows


# 09.block_map


def first_row_within_the_expert(tokens_per_expert_E, block_rows, n_blocks):
    blocks = []
    for e, count in enumerate(tokens_per_expert_E.tolist()):
        blocks += [(e, i) for i in range(0, count, block_rows)]
    return torch.tensor(blocks + [(-1, 0)] * (n_blocks - len(blocks))).reshape(n_blocks, 2)


def last_block_left_out(tokens_per_expert_E, block_rows, n_blocks):
    blocks, start = [], 0
    for e, count in enumerate(tokens_per_expert_E.tolist()):
        blocks += [(e, start + i * block_rows) for i in range(count // block_rows)]
        start += count
    return torch.tensor(blocks + [(-1, 0)] * (n_blocks - len(blocks))).reshape(n_blocks, 2)


def starts_at_whole_blocks(tokens_per_expert_E, block_rows, n_blocks):
    blocks, start = [], 0
    for e, count in enumerate(tokens_per_expert_E.tolist()):
        for _ in range((count + block_rows - 1) // block_rows):
            blocks.append((e, start))
            start += block_rows
    return torch.tensor(blocks + [(-1, 0)] * (n_blocks - len(blocks))).reshape(n_blocks, 2)


# 09.grouped_product


@triton.jit
def _expert_has_no_end(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * block)
    if e < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1) + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(0, d_expert, BLOCK):
        k = first + tl.arange(0, BLOCK)
        x = tl.load(rows_SF + row[:, None] * d_expert + k[None, :], mask=k[None, :] < d_expert, other=0.0)
        w = tl.load(
            down_EDF + (e * d_model + column[None, :]) * d_expert + k[:, None],
            mask=(column[None, :] < d_model) & (k[:, None] < d_expert),
            other=0.0,
        )
        acc = tl.dot(x, w, acc)
    tl.store(
        out_SD + row[:, None] * d_model + column[None, :], acc.to(tl.float16), mask=column[None, :] < d_model
    )


@triton.jit
def _matrix_as_it_lies(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * block)
    if e < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1) + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = row[:, None] < tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(0, d_expert, BLOCK):
        k = first + tl.arange(0, BLOCK)
        x = tl.load(
            rows_SF + row[:, None] * d_expert + k[None, :], mask=mine & (k[None, :] < d_expert), other=0.0
        )
        w = tl.load(
            down_EDF + e * d_model * d_expert + k[:, None] * d_model + column[None, :],
            mask=(column[None, :] < d_model) & (k[:, None] < d_expert),
            other=0.0,
        )
        acc = tl.dot(x, w, acc)
    tl.store(
        out_SD + row[:, None] * d_model + column[None, :],
        acc.to(tl.float16),
        mask=mine & (column[None, :] < d_model),
    )


@triton.jit
def _inner_unmasked(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * block)
    if e < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1) + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = row[:, None] < tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(0, d_expert, BLOCK):
        k = first + tl.arange(0, BLOCK)
        x = tl.load(rows_SF + row[:, None] * d_expert + k[None, :], mask=mine, other=0.0)
        w = tl.load(
            down_EDF + (e * d_model + column[None, :]) * d_expert + k[:, None],
            mask=column[None, :] < d_model,
            other=0.0,
        )
        acc = tl.dot(x, w, acc)
    tl.store(
        out_SD + row[:, None] * d_model + column[None, :],
        acc.to(tl.float16),
        mask=mine & (column[None, :] < d_model),
    )


def product_with(kernel):
    def grouped_product(rows_SF, down_EDF, blocks_G2, ends_E, out_SD):
        _, d_model, d_expert = down_EDF.shape
        grid = (blocks_G2.shape[0], triton.cdiv(d_model, 16))
        kernel[grid](rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK=16)

    return grouped_product


# 09.combine_rows


@triton.jit
def _slot_for_row(results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < d_model
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(TOP_K):
        slot = token * TOP_K + k
        x = tl.load(results_SD + slot * d_model + column, mask=mask, other=0.0).to(tl.float32)
        acc += tl.load(weights_TK + slot) * x
    tl.store(out_TD + token * d_model + column, acc, mask=mask)


@triton.jit
def _weight_of_the_row(
    results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    token = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < d_model
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + token * TOP_K + k)
        x = tl.load(results_SD + row * d_model + column, mask=mask, other=0.0).to(tl.float32)
        acc += tl.load(weights_TK + row) * x
    tl.store(out_TD + token * d_model + column, acc, mask=mask)


@triton.jit
def _unweighted(results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < d_model
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + token * TOP_K + k)
        acc += tl.load(results_SD + row * d_model + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_TD + token * d_model + column, acc, mask=mask)


def combine_with(kernel):
    def combine_rows(results_SD, weights_TK, rows_S, out_TD):
        (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
        grid = (n_tokens, triton.cdiv(d_model, 16))
        kernel[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)

    return combine_rows


# 09.down_gradient


@triton.jit
def _from_row_0(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    end = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(0, end, BLOCK):
        row = first + tl.arange(0, BLOCK)
        grad = tl.load(
            grad_SD + row[None, :] * d_model + d[:, None],
            mask=(row[None, :] < end) & (d[:, None] < d_model),
            other=0.0,
        )
        act = tl.load(
            act_SF + row[:, None] * d_expert + f[None, :],
            mask=(row[:, None] < end) & (f[None, :] < d_expert),
            other=0.0,
        )
        acc = tl.dot(grad, act, acc)
    tl.store(
        d_down_EDF + (e * d_model + d[:, None]) * d_expert + f[None, :],
        acc.to(tl.float16),
        mask=(d[:, None] < d_model) & (f[None, :] < d_expert),
    )


@triton.jit
def _neighbours_rows_too(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    start = tl.load(ends_E + e - 1, mask=e > 0, other=0)
    end = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(start, end, BLOCK):
        row = first + tl.arange(0, BLOCK)
        grad = tl.load(grad_SD + row[None, :] * d_model + d[:, None], mask=d[:, None] < d_model, other=0.0)
        act = tl.load(act_SF + row[:, None] * d_expert + f[None, :], mask=f[None, :] < d_expert, other=0.0)
        acc = tl.dot(grad, act, acc)
    tl.store(
        d_down_EDF + (e * d_model + d[:, None]) * d_expert + f[None, :],
        acc.to(tl.float16),
        mask=(d[:, None] < d_model) & (f[None, :] < d_expert),
    )


@triton.jit
def _nothing_for_the_empty(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    start = tl.load(ends_E + e - 1, mask=e > 0, other=0)
    end = tl.load(ends_E + e)
    if start == end:
        return
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(start, end, BLOCK):
        row = first + tl.arange(0, BLOCK)
        grad = tl.load(
            grad_SD + row[None, :] * d_model + d[:, None],
            mask=(row[None, :] < end) & (d[:, None] < d_model),
            other=0.0,
        )
        act = tl.load(
            act_SF + row[:, None] * d_expert + f[None, :],
            mask=(row[:, None] < end) & (f[None, :] < d_expert),
            other=0.0,
        )
        acc = tl.dot(grad, act, acc)
    tl.store(
        d_down_EDF + (e * d_model + d[:, None]) * d_expert + f[None, :],
        acc.to(tl.float16),
        mask=(d[:, None] < d_model) & (f[None, :] < d_expert),
    )


def gradient_with(kernel):
    def down_gradient(grad_SD, act_SF, ends_E, d_down_EDF):
        n_experts, d_model, d_expert = d_down_EDF.shape
        grid = (n_experts, triton.cdiv(d_model, 16), triton.cdiv(d_expert, 16))
        kernel[grid](grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK=16)

    return down_gradient


FRESH = {
    "09.gather_rows": [
        ("the slot for the token", gather_with(_slot_for_token), {"forgot_top_k"}),
        ("no mask", gather_with(_no_mask), {"no_masks"}),
        ("each program copies the first piece", gather_with(_first_piece_only), {"first_piece_only"}),
    ],
    "09.block_map": [
        ("first row within the expert", first_row_within_the_expert, {"own_rows"}),
        ("no block for the rest", last_block_left_out, {"floor"}),
        ("experts start at whole blocks", starts_at_whole_blocks, {"padded_rows"}),
    ],
    "09.grouped_product": [
        ("rows of the next expert too", product_with(_expert_has_no_end), set()),
        ("the matrix not transposed", product_with(_matrix_as_it_lies), {"transposed"}),
        ("F not masked", product_with(_inner_unmasked), {"no_f_mask"}),
    ],
    "09.combine_rows": [
        ("the slot for the row", combine_with(_slot_for_row), {"rows_not_looked_up"}),
        ("the weight of the row", combine_with(_weight_of_the_row), {"weight_of_the_row"}),
        ("no weights", combine_with(_unweighted), {"no_weights"}),
    ],
    "09.down_gradient": [
        ("from row 0", gradient_with(_from_row_0), {"all_rows_before"}),
        ("no mask along the rows", gradient_with(_neighbours_rows_too), {"no_row_mask"}),
        ("an empty expert is not written", gradient_with(_nothing_for_the_empty), {"empty_not_written"}),
    ],
}
