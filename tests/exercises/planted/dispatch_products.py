"""Answers to lesson 08 as learners write them: the grouped product and the combine."""

import contextlib

import numpy as np
import torch

# 08.grouped_product


def product_split(rows, matrices, ends):
    sizes = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
    owned, rest = rows[: sum(sizes)], rows[sum(sizes) :]
    parts = [group @ m for group, m in zip(owned.split(sizes), matrices.unbind(0), strict=True)]
    return torch.cat([*parts, rest.new_zeros(len(rest), matrices.shape[-1])])


def product_loop(rows, matrices, ends):
    out = torch.zeros(rows.shape[0], matrices.shape[2])
    start = 0
    for e in range(matrices.shape[0]):
        end = int(ends[e])
        out[start:end] = torch.matmul(rows[start:end], matrices[e])
        start = end
    return out


def product_gathered(rows, matrices, ends):
    """One matrix for each row, nobody's rows made zeros first: right, and dear."""
    owner = torch.searchsorted(ends, torch.arange(len(rows)), right=True)
    padded = torch.cat([matrices, torch.zeros_like(matrices[:1])])
    owned = torch.where((owner < len(matrices))[:, None], rows, 0.0)
    return torch.einsum("sd,sdf->sf", owned, padded[owner])


def product_zero_matrix(rows, matrices, ends):
    """A matrix of zeros for what nobody owns: 0 times NaN."""
    owner = torch.searchsorted(ends, torch.arange(len(rows)), right=True)
    padded = torch.cat([matrices, torch.zeros_like(matrices[:1])])
    return torch.einsum("sd,sdf->sf", rows, padded[owner])


@contextlib.contextmanager
def unwritten_is_nan():
    """What nobody writes is NaN, rather than whatever was in memory before."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def product_unwritten(rows, matrices, ends):
    with unwritten_is_nan():
        return torch.nn.functional.grouped_mm(rows, matrices, offs=ends.to(torch.int32))


def product_new_empty(rows, matrices, ends):
    with unwritten_is_nan():
        out, start = rows.new_empty(len(rows), matrices.shape[2]), 0
    for m, end in zip(matrices, ends.tolist(), strict=True):
        out[start:end] = rows[start:end] @ m
        start = end
    return out


def product_ends_as_starts(rows, matrices, ends):
    parts = [rows[: ends[0]].new_zeros(int(ends[0]), matrices.shape[2])]
    stops = [*ends[1:].tolist(), len(rows)]
    parts += [rows[a:b] @ m for a, b, m in zip(ends.tolist(), stops, matrices, strict=True)]
    return torch.cat(parts)


def product_masked(rows, matrices, ends):
    """All rows through every matrix, the wrong ones masked behind it: NaN comes back into the matrices."""
    place = torch.arange(rows.shape[0])
    out, start = 0, 0
    for m, end in zip(matrices, ends, strict=True):
        mine = (place >= start) & (place < end)
        out = out + torch.where(mine[:, None], rows @ m, 0.0)
        start = end
    return out


def product_cut(rows, matrices, ends):
    """Nobody's rows are cut off before PyTorch's own grouped product, and zeros come back in their place."""
    owned = rows[: int(ends[-1])]
    out = (
        torch.nn.functional.grouped_mm(owned, matrices, offs=ends.int())
        if len(owned)
        else owned @ matrices[0]
    )
    return torch.nn.functional.pad(out, (0, 0, 0, len(rows) - len(owned)))


def product_never_advanced(rows, matrices, ends):
    out, start = rows.new_zeros(len(rows), matrices.shape[2]), 0
    for m, end in zip(matrices, ends.tolist(), strict=True):
        out[start:end] = rows[start:end] @ m
    return out


def product_numpy(rows, matrices, ends):
    """What PyTorch's own message recommends to someone who calls `.numpy()`."""
    out, start = np.zeros((len(rows), matrices.shape[2]), dtype=np.float32), 0
    for m, end in zip(matrices.detach().numpy(), ends.tolist(), strict=True):
        out[start:end] = rows.detach().numpy()[start:end] @ m
        start = end
    return torch.from_numpy(out)


def product_ranges(ranges, transpose=False):
    """A loop over (first, last + 1, matrix) with the ranges computed in another way."""

    def answer(rows, matrices, ends):
        out = rows.new_zeros(len(rows), matrices.shape[2])
        for start, end, e in ranges(ends.tolist(), len(rows)):
            m = matrices[e].t() if transpose else matrices[e]
            out[start:end] = rows[start:end] @ m
        return out

    return answer


def right_ranges(ends, S):
    return [(start, end, e) for e, (start, end) in enumerate(zip([0, *ends], ends, strict=False))]


def from_ends(ends, S):
    return [(start, end, e) for e, (start, end) in enumerate(zip(ends, [*ends[1:], S], strict=True))]


def minus_one(ends, S):
    return [(start, end - 1, e) for start, end, e in right_ranges(ends, S)]


def inclusive(ends, S):
    ranges, start = [], 0
    for e, end in enumerate(ends):
        ranges.append((start, max(start, end + 1), e))
        start = max(start, end + 1)
    return ranges


def busy_only(ends, S):
    busy = [(start, end) for start, end, _ in right_ranges(ends, S) if end > start]
    return [(start, end, e) for e, (start, end) in enumerate(busy)]


def to_the_end(ends, S):
    return [(start, end if e + 1 < len(ends) else S, e) for start, end, e in right_ranges(ends, S)]


def ends_are_sizes(ends, S):
    ranges, start = [], 0
    for e, size in enumerate(ends):
        ranges.append((start, start + size, e))
        start += size
    return ranges


# 08.combine


def combine_gather(results, weights, row_ids):
    T, K = weights.shape
    inverse = row_ids.argsort()
    back = results.float()[inverse].reshape(T, K, results.shape[1])
    return (back * weights.unsqueeze(-1)).sum(dim=1)


def combine_bmm(results, weights, row_ids):
    T, K = weights.shape
    back = torch.empty(results.shape, dtype=torch.float32)
    back[row_ids] = results.float()
    return (weights.unsqueeze(1) @ back.view(T, K, -1) if T else back.view(0, 1, back.shape[1])).squeeze(1)


def combine_slot_order(results, weights, row_ids):
    """Adds where the tokens are, but in the order of the slots."""
    T, K = weights.shape
    back = results[torch.argsort(row_ids)].float() * weights.flatten()[:, None]
    out = torch.zeros(T, results.shape[1])
    return out.index_add(0, torch.arange(T).repeat_interleave(K), back)


def combine_added(results, weights, row_ids):
    T, K = weights.shape
    weighted = results.float() * weights.flatten()[row_ids].unsqueeze(-1)
    return torch.zeros(T, results.shape[1]).index_add_(0, row_ids // K, weighted)


def combine_rows(weigh):
    """Weights the sorted rows, then folds and sums."""

    def answer(results, weights, row_ids):
        rows = results.float() * weigh(weights.reshape(-1), row_ids).unsqueeze(-1)
        back = torch.zeros_like(rows)
        back[row_ids] = rows
        return back.view(*weights.shape, rows.shape[1]).sum(1)

    return answer


def combine_slots(place):
    def answer(results, weights, row_ids):
        back = results.float()[place(row_ids)].view(*weights.shape, results.shape[1])
        return torch.einsum("tk,tkd->td", weights, back)

    return answer


def combine_wrong_fold(results, weights, row_ids):
    T, K = weights.shape
    rows = results.float()[row_ids.argsort()] * weights.reshape(-1, 1)
    return rows.reshape(K, T, rows.shape[1]).sum(0)


def combine_plain_sum(results, weights, row_ids):
    return results[row_ids.argsort()].float().view(*weights.shape, results.shape[1]).sum(1)


def combine_added_once(results, weights, row_ids):
    """`+=` through an index that holds a token K times adds one of its rows."""
    T, K = weights.shape
    out = torch.zeros(T, results.shape[1])
    out[torch.arange(T).repeat_interleave(K)] += results.float()[row_ids.argsort()] * weights.view(-1, 1)
    return out


def combine_in_bf16(results, weights, row_ids):
    back = results[row_ids.argsort()].view(*weights.shape, results.shape[1])
    return (back * weights.to(results.dtype).unsqueeze(-1)).sum(dim=1).float()


WRONG = {
    "08.grouped_product": {
        "ends_as_starts": product_ranges(from_ends),
        "last_row_lost": product_ranges(minus_one),
        "one_too_many": product_ranges(inclusive),
        "idle_forgotten": product_ranges(busy_only),
        "tail_to_last": product_ranges(to_the_end),
        "ends_as_sizes": product_ranges(ends_are_sizes),
        "transposed": product_ranges(right_ranges, transpose=True),
        "detached": product_numpy,
        "tail_not_zero": product_zero_matrix,
        "masked_gradient": product_masked,
        "all_rows_before": product_never_advanced,
        "owned_only": lambda rows, matrices, ends: product_split(rows, matrices, ends)[: int(ends[-1])],
        "first_matrix_for_all": lambda rows, matrices, ends: product_split(
            rows, matrices[:1].expand_as(matrices), ends
        ),
    },
    "08.combine": {
        "added_as_sorted": combine_added,
        "weights_unsorted": combine_rows(lambda flat, row_ids: flat),
        "weights_by_inverse": combine_rows(lambda flat, row_ids: flat[row_ids.argsort()]),
        "not_put_back": combine_slots(lambda row_ids: slice(None)),
        "order_as_inverse": combine_slots(lambda row_ids: row_ids),
        "wrong_fold": combine_wrong_fold,
        "no_weights": combine_plain_sum,
        "mean": lambda results, weights, row_ids: (
            combine_gather(results, weights, row_ids) / weights.shape[1]
        ),
        "renormalised": lambda results, weights, row_ids: combine_gather(
            results, weights / weights.sum(-1, keepdim=True), row_ids
        ),
        "first_weight": lambda results, weights, row_ids: (
            combine_plain_sum(results, weights, row_ids) * weights[:, :1]
        ),
        "gradient_lost": lambda results, weights, row_ids: combine_gather(
            results.detach(), weights.detach(), row_ids
        ),
        "overwritten": combine_added_once,
        "bf16_sum": combine_in_bf16,
    },
}

RIGHT = {
    "08.grouped_product": [product_split, product_loop, product_gathered, product_cut],
    "08.combine": [combine_gather, combine_bmm, combine_slot_order],
}

MORE = {
    "08.grouped_product": [
        ("tail_not_zero", product_unwritten),
        ("tail_not_zero", product_new_empty),
        ("ends_as_starts", product_ends_as_starts),
    ]
}
