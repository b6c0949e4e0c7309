"""Answers to lesson 08 as learners write them: the plan and its inverse."""

import torch
from planted import more_late, more_tenth
from planted.dispatch_products import MORE as MORE_PRODUCTS
from planted.dispatch_products import RIGHT as RIGHT_PRODUCTS
from planted.dispatch_products import WRONG as WRONG_PRODUCTS
from planted.dispatch_traffic import MORE as MORE_TRAFFIC
from planted.dispatch_traffic import RIGHT as RIGHT_TRAFFIC
from planted.dispatch_traffic import WRONG as WRONG_TRAFFIC

# 08.permutation_plan


def plan_sorted(ids, n_experts):
    order = torch.sort(ids.reshape(-1), stable=True).indices
    ends = torch.bincount(ids.reshape(-1), minlength=n_experts).cumsum(0)
    return order, order.div(ids.shape[1], rounding_mode="floor"), ends


def plan_by_counting(ids, n_experts):
    """No sort at all: a place is how many smaller ids there are, plus how many equal ones came before."""
    flat = ids.flatten()
    mask = torch.nn.functional.one_hot(flat, n_experts)
    ends = mask.sum(0).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    place = (starts + mask.cumsum(0) - 1).gather(1, flat[:, None])[:, 0]
    order = torch.zeros_like(flat)
    order[place] = torch.arange(len(flat))
    tokens = torch.arange(ids.shape[0]).repeat_interleave(ids.shape[1])
    return order, tokens[order], ends


def plan_by_expert(ids, n_experts):
    K = ids.shape[1]
    slots, tokens, ends, seen = [], [], [], 0
    for e in range(n_experts):
        t, k = torch.where(ids == e)
        slots.append(t * K + k)
        tokens.append(t)
        seen += len(t)
        ends.append(seen)
    return torch.cat(slots), torch.cat(tokens), torch.tensor(ends)


def plan_with(order_of=None, tokens_of=None, ends_of=None):
    def answer(ids, n_experts):
        flat = ids.reshape(-1)
        order = order_of(ids) if order_of else torch.argsort(flat, stable=True)
        tokens = tokens_of(order, ids) if tokens_of else order // ids.shape[1]
        counts = torch.tensor([int((flat == e).sum()) for e in range(n_experts)])
        ends = ends_of(counts) if ends_of else torch.cumsum(counts, 0)
        return order, tokens, ends

    return answer


def plan_sorted_ids(ids, n_experts):
    values, order = torch.sort(ids.flatten(), stable=True)
    return values, order // ids.shape[1], torch.bincount(values, minlength=n_experts).cumsum(0)


def plan_position_tokens(ids, n_experts):
    order, _, ends = plan_sorted(ids, n_experts)
    return order, torch.arange(ids.shape[0]).repeat_interleave(ids.shape[1]), ends


def plan_per_column(ids, n_experts):
    order = ids.argsort(dim=0, stable=True).reshape(-1)
    return order, order // ids.shape[1], plan_sorted(ids, n_experts)[2]


def plan_sizes(ids, n_experts):
    order, tokens, _ = plan_sorted(ids, n_experts)
    return order, tokens, torch.bincount(ids.flatten(), minlength=n_experts)


def plan_bincount(ids, n_experts):
    order, tokens, _ = plan_sorted(ids, n_experts)
    return order, tokens, ids.flatten().bincount().cumsum(0)


def plan_per_token(ids, n_experts):
    order = ids.argsort(dim=-1, stable=True).reshape(-1)
    return order, order // ids.shape[1], plan_sorted(ids, n_experts)[2]


def order_reversed_ties(ids):
    """Largest first, then turned round: the ties are turned round too."""
    return ids.flatten().argsort(descending=True, stable=True).flip(0)


# 08.undo_sort


def undo_by_writing(results, row_ids, top_k):
    S, D = results.shape
    inverse = torch.empty_like(row_ids)
    inverse[row_ids] = torch.arange(S)
    out = torch.empty_like(results)
    out[row_ids] = results
    return inverse.reshape(S // top_k, top_k), out.reshape(S // top_k, top_k, D)


def undo_by_argsort(results, row_ids, top_k):
    inverse = row_ids.argsort()
    back = results.index_select(0, inverse)
    return inverse.unflatten(0, (-1, top_k)), back.unflatten(0, (-1, top_k))


def undo_with(told, used, fold=None):
    def answer(results, row_ids, top_k):
        S, D = results.shape
        rows = results[used(row_ids)]
        if fold:
            return fold(told(row_ids), rows, top_k)
        return told(row_ids).view(S // top_k, top_k), rows.view(S // top_k, top_k, D)

    return answer


def fold_by_choice(inverse, rows, top_k):
    T = len(inverse) // top_k
    per_choice = rows.reshape(top_k, T, rows.shape[1])
    return inverse.reshape(top_k, T).t(), per_choice.permute(1, 0, 2)


def tokens_as_positions(results, row_ids, top_k):
    back = results[row_ids.argsort()].unflatten(0, (-1, top_k)) if len(results) else results.view(0, top_k, 4)
    return (row_ids // top_k).view(-1, top_k), back


def undo_in_place(results, row_ids, top_k):
    inverse = row_ids.argsort()
    results[:] = results[inverse]
    return inverse.view(-1, top_k), results.view(-1, top_k, results.shape[1])


def undo_detached(results, row_ids, top_k):
    inverse = row_ids.argsort()
    return inverse.view(-1, top_k), results.detach()[inverse].view(-1, top_k, results.shape[1])


def same(order):
    return order


def backwards(order):
    return order.flip(0)


def in_place(order):
    return torch.arange(order.numel())


def downwards(order):
    return torch.argsort(order, descending=True)


WRONG = {
    "08.permutation_plan": {
        "ties_shuffled": plan_with(order_of=order_reversed_ties),
        "descending": plan_with(order_of=lambda ids: ids.flatten().sort(descending=True)[1]),
        "positions": plan_with(order_of=lambda ids: ids.flatten().argsort(stable=True).argsort()),
        "choice_major": plan_with(
            order_of=lambda ids: ids.t().reshape(-1).argsort(stable=True),
            tokens_of=lambda order, ids: order % len(ids) if len(ids) else order,
        ),
        "modulo_k": plan_with(tokens_of=lambda order, ids: order.remainder(ids.shape[1])),
        "sizes": plan_with(ends_of=lambda counts: counts),
        "starts": plan_with(ends_of=lambda counts: torch.cumsum(counts, 0) - counts),
        "last_positions": plan_with(ends_of=lambda counts: counts.cumsum(0) - 1),
        "only_used": plan_with(ends_of=lambda counts: counts[counts > 0].cumsum(0)),
        "over_experts": lambda ids, n_experts: (
            plan_sorted(ids, n_experts)[0],
            plan_sorted(ids, n_experts)[0].div(n_experts, rounding_mode="floor"),
            plan_sorted(ids, n_experts)[2],
        ),
        "sorted_ids": plan_sorted_ids,
        "tokens_of_positions": plan_position_tokens,
        "with_zero": plan_with(ends_of=lambda counts: torch.nn.functional.pad(counts.cumsum(0), (1, 0))),
        "not_flattened": plan_per_column,
        "within_tokens": plan_per_token,
        "no_minlength": plan_bincount,
    },
    "08.undo_sort": {
        "order_twice": undo_with(same, lambda order: order.argsort().argsort()),
        "rows_by_order": undo_with(torch.argsort, same),
        "told_order": undo_with(same, torch.argsort),
        "not_moved": undo_with(torch.argsort, in_place),
        "reversed": undo_with(backwards, backwards),
        "choice_major": undo_with(torch.argsort, torch.argsort, fold_by_choice),
        "descending": undo_with(downwards, downwards),
        "flat": lambda results, row_ids, top_k: (row_ids.argsort(), results[row_ids.argsort()]),
        "summed": lambda results, row_ids, top_k: (
            row_ids.argsort().reshape(-1, top_k),
            results[row_ids.argsort()].reshape(-1, top_k, results.shape[1]).sum(1),
        ),
        "tokens_for_positions": tokens_as_positions,
        "arguments_changed": undo_in_place,
        "gradient_lost": undo_detached,
    },
    **WRONG_PRODUCTS,
    **WRONG_TRAFFIC,
}

RIGHT = {
    "08.permutation_plan": [plan_sorted, plan_by_counting, plan_by_expert],
    "08.undo_sort": [undo_by_writing, undo_by_argsort],
    **RIGHT_PRODUCTS,
    **RIGHT_TRAFFIC,
}

MORE = {"08.permutation_plan": [("sizes", plan_sizes)], **MORE_PRODUCTS, **MORE_TRAFFIC}
more_late.add_to(WRONG)
more_tenth.add_to(WRONG)
