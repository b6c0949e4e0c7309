"""Unseen wrong answers to lesson 09's two products, written from the lesson's text alone."""

import triton
import triton.language as tl

# 09.grouped_product


def _product(kernel):
    def grouped_product(rows_SF, down_EDF, blocks_G2, ends_E, out_SD):
        _, d_model, d_expert = down_EDF.shape
        grid = (blocks_G2.shape[0], triton.cdiv(d_model, 16))
        kernel[grid](rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK=16)

    return grouped_product


@triton.jit
def _product_next_rows(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    g = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * g)
    if e < 0:
        return
    p = tl.load(blocks_G2 + 2 * g + 1) + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    last = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k0 in range(0, d_expert, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        x_mask = (p[:, None] <= last) & (k[None, :] < d_expert)
        x = tl.load(rows_SF + p[:, None] * d_expert + k[None, :], mask=x_mask, other=0.0)
        w_mask = (k[:, None] < d_expert) & (n[None, :] < d_model)
        w = tl.load(down_EDF + (e * d_model + n[None, :]) * d_expert + k[:, None], mask=w_mask, other=0.0)
        acc = tl.dot(x, w, acc)
    mask = (p[:, None] <= last) & (n[None, :] < d_model)
    tl.store(out_SD + p[:, None] * d_model + n[None, :], acc.to(tl.float16), mask=mask)


@triton.jit
def _product_turned(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    g = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * g)
    if e < 0:
        return
    p = tl.load(blocks_G2 + 2 * g + 1) + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    in_p = p < tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k0 in range(0, d_expert, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        x = tl.load(
            rows_SF + p[:, None] * d_expert + k[None, :],
            mask=in_p[:, None] & (k[None, :] < d_expert),
            other=0.0,
        )
        w = tl.load(
            down_EDF + e * d_model * d_expert + k[:, None] * d_model + n[None, :],
            mask=(k[:, None] < d_expert) & (n[None, :] < d_model),
            other=0.0,
        )
        acc += tl.dot(x, w)
    tl.store(
        out_SD + p[:, None] * d_model + n[None, :],
        acc.to(tl.float16),
        mask=in_p[:, None] & (n[None, :] < d_model),
    )


@triton.jit
def _product_narrow(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    g = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * g)
    if e < 0:
        return
    p = tl.load(blocks_G2 + 2 * g + 1) + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    in_p = p < tl.load(ends_E + e)
    in_n = n < d_model
    acc = tl.zeros((BLOCK, BLOCK), tl.float16)
    for k0 in range(0, d_expert, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        in_k = k < d_expert
        x = tl.load(
            rows_SF + p[:, None] * d_expert + k[None, :], mask=in_p[:, None] & in_k[None, :], other=0.0
        )
        w = tl.load(
            down_EDF + (e * d_model + n[None, :]) * d_expert + k[:, None],
            mask=in_k[:, None] & in_n[None, :],
            other=0.0,
        )
        acc += tl.dot(x, w).to(tl.float16)
    tl.store(out_SD + p[:, None] * d_model + n[None, :], acc, mask=in_p[:, None] & in_n[None, :])


@triton.jit
def _product_long_k(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    g = tl.program_id(0)
    e = tl.load(blocks_G2 + 2 * g)
    if e < 0:
        return
    p = tl.load(blocks_G2 + 2 * g + 1) + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    end = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k0 in range(0, d_expert, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        x = tl.load(rows_SF + p[:, None] * d_expert + k[None, :], mask=p[:, None] < end, other=0.0)
        w = tl.load(
            down_EDF + (e * d_model + n[None, :]) * d_expert + k[:, None],
            mask=n[None, :] < d_model,
            other=0.0,
        )
        acc = tl.dot(x, w, acc)
    tl.store(
        out_SD + p[:, None] * d_model + n[None, :],
        acc.to(tl.float16),
        mask=(p[:, None] < end) & (n[None, :] < d_model),
    )


product_next_rows = _product(_product_next_rows)
product_turned = _product(_product_turned)
product_narrow = _product(_product_narrow)
product_long_k = _product(_product_long_k)

# 09.down_gradient


def _gradient(kernel):
    def down_gradient(grad_SD, act_SF, ends_E, d_down_EDF):
        n_experts, d_model, d_expert = d_down_EDF.shape
        grid = (n_experts, triton.cdiv(d_model, 16), triton.cdiv(d_expert, 16))
        kernel[grid](grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK=16)

    return down_gradient


@triton.jit
def _gradient_idle(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    end = tl.load(ends_E + e)
    start = tl.load(ends_E + e - 1, mask=e > 0, other=0)
    if start == end:
        return
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for p0 in range(start, end, BLOCK):
        p = p0 + tl.arange(0, BLOCK)
        g = tl.load(
            grad_SD + p[None, :] * d_model + d[:, None],
            mask=(p[None, :] < end) & (d[:, None] < d_model),
            other=0.0,
        )
        a = tl.load(
            act_SF + p[:, None] * d_expert + f[None, :],
            mask=(p[:, None] < end) & (f[None, :] < d_expert),
            other=0.0,
        )
        acc = tl.dot(g, a, acc)
    out = d_down_EDF + e * d_model * d_expert + d[:, None] * d_expert + f[None, :]
    tl.store(out, acc.to(tl.float16), mask=(d[:, None] < d_model) & (f[None, :] < d_expert))


@triton.jit
def _gradient_from_zero(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    end = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for p0 in range(0, end, BLOCK):
        p = p0 + tl.arange(0, BLOCK)
        g_mask = (p[None, :] < end) & (d[:, None] < d_model)
        g = tl.load(grad_SD + p[None, :] * d_model + d[:, None], mask=g_mask, other=0.0)
        a_mask = (p[:, None] < end) & (f[None, :] < d_expert)
        a = tl.load(act_SF + p[:, None] * d_expert + f[None, :], mask=a_mask, other=0.0)
        acc += tl.dot(g, a)
    out = d_down_EDF + (e * d_model + d[:, None]) * d_expert + f[None, :]
    tl.store(out, acc.to(tl.float16), mask=(d[:, None] < d_model) & (f[None, :] < d_expert))


@triton.jit
def _gradient_neighbours(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    start = 0
    if e > 0:
        start = tl.load(ends_E + e - 1)
    end = tl.load(ends_E + e)
    n_rows = tl.load(ends_E + tl.num_programs(0) - 1)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for p0 in range(start, end, BLOCK):
        p = p0 + tl.arange(0, BLOCK)
        g_mask = (p[None, :] < n_rows) & (d[:, None] < d_model)
        g = tl.load(grad_SD + p[None, :] * d_model + d[:, None], mask=g_mask, other=0.0)
        a_mask = (p[:, None] < n_rows) & (f[None, :] < d_expert)
        a = tl.load(act_SF + p[:, None] * d_expert + f[None, :], mask=a_mask, other=0.0)
        acc = tl.dot(g, a, acc)
    out = d_down_EDF + (e * d_model + d[:, None]) * d_expert + f[None, :]
    tl.store(out, acc.to(tl.float16), mask=(d[:, None] < d_model) & (f[None, :] < d_expert))


@triton.jit
def _gradient_turned(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    start = tl.load(ends_E + e - 1, mask=e > 0, other=0)
    end = tl.load(ends_E + e)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for p0 in range(start, end, BLOCK):
        p = p0 + tl.arange(0, BLOCK)
        g_mask = (p[None, :] < end) & (d[:, None] < d_model)
        g = tl.load(grad_SD + p[None, :] * d_model + d[:, None], mask=g_mask, other=0.0)
        a_mask = (p[:, None] < end) & (f[None, :] < d_expert)
        a = tl.load(act_SF + p[:, None] * d_expert + f[None, :], mask=a_mask, other=0.0)
        acc = tl.dot(g, a, acc)
    out = d_down_EDF + e * d_model * d_expert + f[None, :] * d_model + d[:, None]
    tl.store(out, acc.to(tl.float16), mask=(d[:, None] < d_model) & (f[None, :] < d_expert))


gradient_idle = _gradient(_gradient_idle)
gradient_from_zero = _gradient(_gradient_from_zero)
gradient_neighbours = _gradient(_gradient_neighbours)
gradient_turned = _gradient(_gradient_turned)
