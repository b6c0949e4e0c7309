"""What goes wrong in 02.moe_sorted, by name."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.moe_layer.sorted_beside import (
    experts,
    in_token_order,
    only_used,
    short_counts,
    slots,
)
from moe_lessons.exercises.spec import Case, Crash, Misconception, Outputs

Parts = tuple[Tensor, Tensor, Tensor]
Put = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def sorted_layer(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    """Stable sort by expert, one product per expert, scatter-add with each row's own weight."""
    return _put(x, ids, w, gate_up, down)


def _put(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor, put: Put | None = None) -> Parts:
    """The layer; ``put`` makes the output of weighted rows, of ids, the order and the tokens of the rows."""
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[order_S, None]
    output_TD = put(rows_SD, ids, order_S, token_ids_S) if put else _added(x, token_ids_S, rows_SD)
    return output_TD, token_ids_S, counts_E


def _plan(ids: Tensor, n_experts: int, *, stable: bool = True) -> Parts:
    order_S = ids.flatten().argsort(stable=stable)
    return order_S, order_S // ids.shape[1], torch.bincount(ids.flatten(), minlength=n_experts)


def _results(x: Tensor, token_ids_S: Tensor, counts_E: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    groups = x[token_ids_S].split(counts_E.tolist())
    return torch.cat([_expert(rows, g, d) for rows, g, d in zip(groups, gate_up, down, strict=False)])


def _expert(rows_ND: Tensor, gate_up_2FD: Tensor, down_DF: Tensor) -> Tensor:
    gate_NF, up_NF = (rows_ND @ gate_up_2FD.T).chunk(2, dim=-1)
    return (F.silu(gate_NF) * up_NF) @ down_DF.T


def _added(x: Tensor, token_ids_S: Tensor, rows_SD: Tensor) -> Tensor:
    return torch.zeros_like(x).index_add(0, token_ids_S, rows_SD)


def _weights_unsorted(
    x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor, *, stable: bool = True
) -> Parts:
    _, token_ids_S, counts_E = _plan(ids, len(down), stable=stable)
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[:, None]
    return _added(x, token_ids_S, rows_SD), token_ids_S, counts_E


def _unsorted_by_any_sort(case: Case, got: Outputs, want: Outputs) -> bool:
    """Which row meets which weight depends on how the sort orders rows of one expert."""
    args = [torch.as_tensor(np.asarray(arg)) for arg in case.args.values()]
    made = [_weights_unsorted(*args, stable=stable)[0].numpy() for stable in (True, False)]
    others = all(np.array_equal(got[name], want[name]) for name in ("token_ids_S", "tokens_per_expert_E"))
    return others and any(np.allclose(got["output_TD"], one, rtol=1e-4, atol=1e-5) for one in made)


def _overwritten(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[order_S, None]
    out_TD = torch.zeros_like(x)
    for row_D, t in zip(rows_SD, token_ids_S, strict=True):
        out_TD[t] = row_D
    return out_TD, token_ids_S, counts_E


def _not_put_back(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    _, token_ids_S, counts_E = _plan(ids, len(down))
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[:, None]
    return rows_SD.view(*ids.shape, x.shape[1]).sum(dim=1), token_ids_S, counts_E


def _order_as_inverse(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down)[order_S] * w.flatten()[:, None]
    return rows_SD.view(*ids.shape, x.shape[1]).sum(dim=1), token_ids_S, counts_E


def _modulo(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, _, counts_E = _plan(ids, len(down))
    token_ids_S = order_S % max(len(ids), 1)
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[order_S, None]
    return _added(x, token_ids_S, rows_SD), token_ids_S, counts_E


def _no_weights(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    return sorted_layer(x, ids, torch.ones_like(w), gate_up, down)


def _empty_skipped(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    used = counts_E[counts_E > 0]
    if len(used) == 0:
        return torch.zeros_like(x), token_ids_S, counts_E
    results_SD = _results(x, token_ids_S, used, gate_up, down)
    return _added(x, token_ids_S, results_SD * w.flatten()[order_S, None]), token_ids_S, counts_E


def _summed(rows_SD: Tensor, ids: Tensor) -> Tensor:
    return rows_SD.view(*ids.shape, rows_SD.shape[1]).sum(dim=1)


def _first_weight(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    return sorted_layer(x, ids, w[:, :1].expand_as(w), gate_up, down)


def _modulo_k(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, _, counts_E = _plan(ids, len(down))
    token_ids_S = order_S % ids.shape[1]
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[order_S, None]
    return _added(x, token_ids_S, rows_SD), token_ids_S, counts_E


MISTAKES = (
    Misconception(
        "weights_unsorted",
        "The rows are sorted by expert, but the weights are still in token order, so most rows get the "
        "weight of another slot. The weights must go through the same sort.",
        detects=_unsorted_by_any_sort,
        hint=2,
    ),
    Misconception(
        "overwritten",
        "A token appears once per choice among the rows, and only its last row survived: `out[ids] = "
        "rows` writes, and does not add. Use an operation that accumulates.",
        wrong=_overwritten,
        hint=3,
    ),
    Misconception(
        "not_put_back",
        "The results were reshaped to [T, K, D] while still sorted by expert. Undo the sort first, or "
        "add each row to the token it came from.",
        wrong=_not_put_back,
        hint=3,
    ),
    Misconception(
        "order_as_inverse",
        "The sort was undone with the sorting order itself. `order` says which slot sits at a position; "
        "you need the inverse, which says at which position a slot sits.",
        wrong=_order_as_inverse,
        hint=3,
    ),
    Misconception(
        "modulo",
        "Tokens were found with `% T`. Slots are numbered t * K + k, choices of one token side by side, "
        "so the token of a slot is the slot's number divided by K, rounded down.",
        wrong=_modulo,
        hint=1,
    ),
    Misconception(
        "slots_not_tokens",
        "The output is right. What is returned beside it are the sorted *slots*, 0 to T * K - 1, not the "
        "tokens that they belong to: return what you took the rows of `hidden_TD` with.",
        detects=slots,
        hint=1,
    ),
    Misconception(
        "no_weights",
        "The experts' answers are added as they are. Multiply each row by its routing weight.",
        wrong=_no_weights,
        hint=2,
    ),
    Misconception(
        "empty_skipped",
        "Where an expert gets no token, every later group goes to the wrong expert: groups were counted "
        "among the experts that occur. An empty expert needs an empty group.",
        wrong=_empty_skipped,
        hint=2,
    ),
    Misconception(
        "weighted_not_put_back",
        "Each row has its own weight, but then the rows were reshaped to [T, K, D] while still sorted by "
        "expert, so that rows of different tokens are added. Undo the sort first, or add each row to the "
        "token it came from.",
        wrong=lambda x, ids, w, gate_up, down: _put(
            x, ids, w, gate_up, down, lambda rows, ids, order, tokens: _summed(rows, ids)
        ),
        hint=3,
    ),
    Misconception(
        "weighted_order_as_inverse",
        "Each row has its own weight, but the sort was undone with the sorting order itself. `order` says "
        "which slot sits at a position; you need the inverse, which says at which position a slot sits.",
        wrong=lambda x, ids, w, gate_up, down: _put(
            x, ids, w, gate_up, down, lambda rows, ids, order, tokens: _summed(rows[order], ids)
        ),
        hint=3,
    ),
    Misconception(
        "first_weight",
        "Every row of a token got the weight of its first choice. A token has K weights, and each belongs "
        "to one slot: flatten the weights like the ids, and sort them with the same order.",
        wrong=_first_weight,
        hint=2,
    ),
    Misconception(
        "modulo_k",
        "Tokens were found with `% K`. That is which of a token's choices a slot is. The token is the slot's "
        "number divided by K, rounded down.",
        wrong=_modulo_k,
        hint=1,
    ),
    Misconception(
        "experts_not_tokens",
        "The output is right. What is returned beside it are the *experts* of the sorted rows; asked for is "
        "which token each row belongs to.",
        detects=experts,
        hint=1,
    ),
    Misconception(
        "tokens_unsorted",
        "The output is right. What is returned beside it are the tokens in their own order, 0, 0, 1, 1, ...; "
        "asked for is the token of each row *after* the sort.",
        detects=in_token_order,
        hint=1,
    ),
    Misconception(
        "short_counts",
        "The counts stop at the last expert that somebody chose: `bincount` cannot know that there are more. "
        "Tell it the number of experts with `minlength`.",
        detects=short_counts,
        hint=2,
    ),
    Misconception(
        "only_used",
        "Experts that nobody chose are missing from the counts. `unique` sees only what occurs; `bincount` "
        "with `minlength` counts the zeros too.",
        detects=only_used,
        hint=2,
    ),
)

CRASHES = (
    Crash(
        "slots_read_tokens",
        "The order lists *slots*, 0 to T * K - 1, and it reads rows of `hidden_TD`, of which there are only "
        "T. Which token does a slot belong to?{sizes}",
        pattern=r"index \d+ is out of bounds for dimension 0",
        line=r"hidden|x\[",
        edge=False,
        hint=1,
    ),
    Crash(
        "weights_not_flat",
        "The weights are [T, K], and the order lists T * K slots. Flatten the weights as you flattened the "
        "ids, then sort them with the same order.{sizes}",
        pattern=r"index \d+ is out of bounds for dimension 0",
        line=r"weights|\bw\[",
        edge=False,
        hint=2,
    ),
)
