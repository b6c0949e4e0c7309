"""Answers to 09.combine_rows."""

try:
    import triton
    import triton.language as tl
except ImportError:  # not on Linux: nothing here is called
    from unittest.mock import MagicMock

    triton = tl = MagicMock()


@triton.jit
def one_piece(y, weights, rows, out, D, K: tl.constexpr, B: tl.constexpr, WRONG: tl.constexpr):
    t = tl.program_id(0)
    d = tl.program_id(1) * B + tl.arange(0, B)
    ok = d < D
    acc = tl.zeros((B,), tl.float32)
    if WRONG == "half_accumulator":
        acc = tl.zeros((B,), out.dtype.element_ty)
    elif WRONG == "accumulator_is_a_number":
        acc = 0.0
    for k in range(K - 1 if WRONG == "last_choice_missing" else K):
        slot = t * K + k
        if WRONG == "another_order":
            slot = t * K + K - 1 - k
        elif WRONG == "choice_major":
            slot = k * tl.num_programs(0) + t
        elif WRONG == "only_python" and k >= K:
            break
        row = tl.load(rows + slot)
        weight = tl.load(weights + slot)
        if WRONG == "rows_not_looked_up":
            row = slot
        elif WRONG == "token_for_slot":
            row = tl.load(rows + t + k)
        elif WRONG == "weight_of_token":
            weight = tl.load(weights + t + k)
        elif WRONG == "weight_of_the_row":
            weight = tl.load(weights + row)
        elif WRONG == "one_weight_for_all":
            weight = tl.load(weights + t * K)
        if WRONG == "no_load_mask" or WRONG == "no_masks":
            value = tl.load(y + row * D + d)
        else:
            value = tl.load(y + row * D + d, mask=ok, other=0.0)
        if WRONG == "no_weights":
            acc += value
        elif WRONG == "last_choice_only":
            acc = weight * value
        elif WRONG == "half_accumulator":
            acc += (weight * value).to(out.dtype.element_ty)
        else:
            acc += weight * value.to(tl.float32)
    if WRONG == "mean":
        acc = acc / K
    if WRONG == "no_store_mask" or WRONG == "no_masks":
        tl.store(out + t * D + d, acc)
    else:
        tl.store(out + t * D + d, acc, mask=ok)


@triton.jit
def add_one_row(y, weights, rows, out, D, K, B: tl.constexpr):
    slot = tl.program_id(0)
    d = tl.program_id(1) * B + tl.arange(0, B)
    place = out + slot // K * D + d
    value = tl.load(weights + slot) * tl.load(y + tl.load(rows + slot) * D + d, mask=d < D, other=0.0)
    tl.store(place, tl.load(place, mask=d < D, other=0.0) + value, mask=d < D)


def wrong(name):
    def combine_rows(results, weights, rows, out):
        (T, D), K = out.shape, weights.shape[1]
        if name == "added_in_place":
            out.zero_()
            add_one_row[(T * K, triton.cdiv(D, 16))](results, weights, rows, out, D, K, B=16)
        else:
            grid = (T, triton.cdiv(D, 16))
            one_piece[grid](results, weights, rows, out, D, K=K, B=16, WRONG=name)

    return combine_rows


COMBINE_WRONG = {
    name: wrong(name)
    for name in (
        "no_weights",
        "rows_not_looked_up",
        "weight_of_the_row",
        "one_weight_for_all",
        "last_choice_only",
        "half_accumulator",
        "another_order",
        "token_for_slot",
        "weight_of_token",
        "choice_major",
        "mean",
        "last_choice_missing",
        "accumulator_is_a_number",
        "only_python",
        "added_in_place",
        "no_load_mask",
        "no_store_mask",
        "no_masks",
    )
}


@triton.jit
def all_choices_at_once(y, weights, rows, out, D, K, B: tl.constexpr, C: tl.constexpr):
    """A tile of choices by columns, summed along the choices."""
    t = tl.program_id(0)
    k, d = tl.arange(0, C), tl.arange(0, B)
    row = tl.load(rows + t * K + k, mask=k < K, other=0)
    weight = tl.load(weights + t * K + k, mask=k < K, other=0.0)
    ok = (k < K)[:, None] & (d < D)[None, :]
    value = tl.load(y + row[:, None] * D + d[None, :], mask=ok, other=0.0).to(tl.float32)
    tl.store(out + t * D + d, tl.sum(weight[:, None] * value, axis=0), mask=d < D)


def summed_tile(results, weights, rows, out):
    (T, D), K = out.shape, weights.shape[1]
    sizes = {"B": triton.next_power_of_2(D), "C": triton.next_power_of_2(K)}
    all_choices_at_once[(T,)](results, weights, rows, out, D, K, **sizes)


@triton.jit
def element_by_element(y, weights, rows, out, n, D, K, B: tl.constexpr):
    """A flat grid over all output elements, which takes them as one long line."""
    place = tl.program_id(0) * B + tl.arange(0, B)
    ok = place < n
    t = place // D
    total = tl.zeros((B,), tl.float32)
    for k in range(K):
        row = tl.load(rows + t * K + k, mask=ok, other=0)
        value = tl.load(y + row * D + place % D, mask=ok, other=0.0).to(tl.float32)
        total += tl.load(weights + t * K + k, mask=ok, other=0.0) * value
    tl.store(out + place, total, mask=ok)


def flat(results, weights, rows, out):
    grid = (triton.cdiv(out.numel(), 32),)
    element_by_element[grid](results, weights, rows, out, out.numel(), out.shape[1], weights.shape[1], B=32)


COMBINE_RIGHT = [summed_tile, flat]
