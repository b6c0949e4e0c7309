"""Unseen wrong answers to lesson 09, written from the lesson's text alone; four for each kernel."""

import torch
import triton
import triton.language as tl

# 09.gather_rows


@triton.jit
def _gather_unmasked(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.load(slots_S + row) // TOP_K
    x = tl.load(hidden_TD + token * d_model + col, mask=col < d_model, other=0.0)
    tl.store(out_SD + row * d_model + col, x)


def gather_unmasked(hidden_TD, slots_S, out_SD, top_k):
    n_rows, d_model = out_SD.shape
    grid = (n_rows, triton.cdiv(d_model, 16))
    _gather_unmasked[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _gather_slot(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    p = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slots_S + p)
    token = slot % TOP_K
    x = tl.load(hidden_TD + token * d_model + d, mask=d < d_model)
    tl.store(out_SD + p * d_model + d, x, mask=d < d_model)


def gather_slot(hidden_TD, slots_S, out_SD, top_k):
    n_rows, d_model = out_SD.shape
    grid = (n_rows, triton.cdiv(d_model, 16))
    _gather_slot[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _gather_first_piece(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < d_model
    token = tl.load(slots_S + row) // TOP_K
    tl.store(out_SD + row * d_model + cols, tl.load(hidden_TD + token * d_model + cols, mask=mask), mask=mask)


def gather_first_piece(hidden_TD, slots_S, out_SD, top_k):
    n_rows, d_model = out_SD.shape
    grid = (n_rows, triton.cdiv(d_model, 16))
    _gather_first_piece[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _gather_padded(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    width = tl.num_programs(1) * BLOCK
    token = tl.load(slots_S + row) // TOP_K
    x = tl.load(hidden_TD + token * width + col, mask=col < d_model, other=0.0)
    tl.store(out_SD + row * width + col, x, mask=col < d_model)


def gather_padded(hidden_TD, slots_S, out_SD, top_k):
    n_rows, d_model = out_SD.shape
    grid = (n_rows, triton.cdiv(d_model, 16))
    _gather_padded[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)


# 09.block_map


def map_within(tokens_per_expert_E, block_rows, n_blocks):
    out = [[e, i] for e, n in enumerate(tokens_per_expert_E.tolist()) for i in range(0, n, block_rows)]
    out += [[-1, 0]] * (n_blocks - len(out))
    return torch.tensor(out)


def map_full_only(tokens_per_expert_E, block_rows, n_blocks):
    blocks, start = [], 0
    for e, n in enumerate(tokens_per_expert_E.tolist()):
        for i in range(n // block_rows):
            blocks.append((e, start + i * block_rows))
        start += n
    return torch.tensor((blocks + [(-1, 0)] * n_blocks)[:n_blocks])


def map_everyone(tokens_per_expert_E, block_rows, n_blocks):
    out = torch.zeros(n_blocks, 2, dtype=torch.long)
    out[:, 0] = -1
    b, start = 0, 0
    for e, n in enumerate(tokens_per_expert_E.tolist()):
        for i in range(n // block_rows + 1):
            if b < n_blocks:
                out[b, 0], out[b, 1] = e, start + i * block_rows
            b += 1
        start += n
    return out


def map_zeros(tokens_per_expert_E, block_rows, n_blocks):
    out = torch.zeros((n_blocks, 2), dtype=torch.int64)
    b = start = 0
    for e in range(len(tokens_per_expert_E)):
        n = int(tokens_per_expert_E[e])
        for first in range(start, start + n, block_rows):
            out[b] = torch.tensor([e, first])
            b += 1
        start += n
    return out


def map_straight(tokens_per_expert_E, block_rows, n_blocks):
    expert_S = torch.repeat_interleave(torch.arange(len(tokens_per_expert_E)), tokens_per_expert_E)
    out = [[int(expert_S[p]), p] for p in range(0, len(expert_S), block_rows)]
    return torch.tensor(out + [[-1, 0]] * (n_blocks - len(out))).reshape(n_blocks, 2)


def map_padded(tokens_per_expert_E, block_rows, n_blocks):
    n_E = (tokens_per_expert_E + block_rows - 1) // block_rows
    expert = torch.repeat_interleave(torch.arange(len(n_E)), n_E)
    first = torch.arange(len(expert)) * block_rows
    used = torch.stack([expert, first], dim=1)
    spare = torch.tensor([[-1, 0]]).expand(n_blocks - len(used), 2)
    return torch.cat([used, spare])


# 09.combine_rows


@triton.jit
def _combine_row_weight(
    results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + t * TOP_K + k)
        w = tl.load(weights_TK + row)
        acc += w * tl.load(results_SD + row * d_model + d, mask=d < d_model, other=0.0).to(tl.float32)
    tl.store(out_TD + t * d_model + d, acc, mask=d < d_model)


def combine_row_weight(results_SD, weights_TK, rows_S, out_TD):
    (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
    grid = (n_tokens, triton.cdiv(d_model, 16))
    _combine_row_weight[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _combine_in_order(
    results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for k in range(TOP_K):
        slot = t * TOP_K + k
        x = tl.load(results_SD + slot * d_model + d, mask=d < d_model, other=0.0)
        acc += x.to(tl.float32) * tl.load(weights_TK + slot)
    tl.store(out_TD + t * d_model + d, acc, mask=d < d_model)


def combine_in_order(results_SD, weights_TK, rows_S, out_TD):
    (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
    grid = (n_tokens, triton.cdiv(d_model, 16))
    _combine_in_order[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _combine_each_time(
    results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + t * TOP_K + k)
        x = tl.load(results_SD + row * d_model + d, mask=d < d_model, other=0.0)
        acc += x.to(tl.float32) * tl.load(weights_TK + t * TOP_K + k)
        tl.store(out_TD + t * d_model + d, acc, mask=d < d_model)


def combine_each_time(results_SD, weights_TK, rows_S, out_TD):
    (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
    grid = (n_tokens, triton.cdiv(d_model, 16))
    _combine_each_time[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)


@triton.jit
def _combine_slot_stride(
    results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + t * TOP_K + k)
        w = tl.load(weights_TK + t + k)
        acc += w * tl.load(results_SD + row * d_model + d, mask=d < d_model, other=0.0).to(tl.float32)
    tl.store(out_TD + t * d_model + d, acc, mask=d < d_model)


def combine_slot_stride(results_SD, weights_TK, rows_S, out_TD):
    (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
    grid = (n_tokens, triton.cdiv(d_model, 16))
    _combine_slot_stride[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)
