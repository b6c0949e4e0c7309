"""Exercise 02.moe_sorted: the MoE layer with one call per expert: sort the rows, split, put them back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.moe_layer.inputs import routed_case
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Parts = tuple[Tensor, Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Experts that nobody chooses, K up to 3, all tokens on one expert, and no token at all."""
    return [
        routed_case(rng, 7, 3, 2, 5, 2),
        routed_case(rng, 6, 4, 3, 6, 3),
        routed_case(rng, 4, 2, 3, 5, 1, only_expert=3),
        routed_case(rng, 0, 3, 2, 4, 2),
    ]


def reference(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    """Stable sort by expert, one product per expert, scatter-add with each row's own weight."""
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    results_SD = _results(x, token_ids_S, counts_E, gate_up, down)
    return _added(x, token_ids_S, results_SD * w.flatten()[order_S, None]), token_ids_S, counts_E


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Any order of an expert's own rows is right: sort the token ids within each expert."""
    counts, token_ids = values["tokens_per_expert_E"], values["token_ids_S"]
    if np.ndim(token_ids) == 1 and np.ndim(counts) == 1 and np.sum(counts) == len(token_ids):
        groups = np.split(token_ids, np.cumsum(counts)[:-1].astype(int))
        values["token_ids_S"] = np.concatenate([np.sort(group) for group in groups])
    return values


def _plan(ids: Tensor, n_experts: int) -> Parts:
    order_S = ids.flatten().argsort(stable=True)
    return order_S, order_S // ids.shape[1], torch.bincount(ids.flatten(), minlength=n_experts)


def _results(x: Tensor, token_ids_S: Tensor, counts_E: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    groups = x[token_ids_S].split(counts_E.tolist())
    return torch.cat([_expert(rows, g, d) for rows, g, d in zip(groups, gate_up, down, strict=False)])


def _expert(rows_ND: Tensor, gate_up_2FD: Tensor, down_DF: Tensor) -> Tensor:
    gate_NF, up_NF = (rows_ND @ gate_up_2FD.T).chunk(2, dim=-1)
    return (F.silu(gate_NF) * up_NF) @ down_DF.T


def _added(x: Tensor, token_ids_S: Tensor, rows_SD: Tensor) -> Tensor:
    return torch.zeros_like(x).index_add(0, token_ids_S, rows_SD)


def _weights_unsorted(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    _, token_ids_S, counts_E = _plan(ids, len(down))
    rows_SD = _results(x, token_ids_S, counts_E, gate_up, down) * w.flatten()[:, None]
    return _added(x, token_ids_S, rows_SD), token_ids_S, counts_E


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
    return reference(x, ids, torch.ones_like(w), gate_up, down)


def _empty_skipped(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    order_S, token_ids_S, counts_E = _plan(ids, len(down))
    used = counts_E[counts_E > 0]
    if len(used) == 0:
        return torch.zeros_like(x), token_ids_S, counts_E
    results_SD = _results(x, token_ids_S, used, gate_up, down)
    return _added(x, token_ids_S, results_SD * w.flatten()[order_S, None]), token_ids_S, counts_E


def _slots(case: Case, got: Outputs, want: Outputs) -> bool:
    top_k = np.asarray(case.args["topk_ids_TK"]).shape[1]
    tokens = dict(got) | {"token_ids_S": np.asarray(got["token_ids_S"]) // top_k}
    right = np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5)
    return bool(right) and np.array_equal(canonical(tokens)["token_ids_S"], want["token_ids_S"])


def _by_expert(case: Case, got: Outputs, want: Outputs) -> str | None:
    starts = np.cumsum(want["tokens_per_expert_E"]) - want["tokens_per_expert_E"]
    for e, (start, count) in enumerate(zip(starts, want["tokens_per_expert_E"], strict=True)):
        rows = slice(int(start), int(start + count))
        there, expected = sorted(got["token_ids_S"][rows]), sorted(want["token_ids_S"][rows])
        if there != expected:
            return (
                f"expert {e} owns positions {start} to {start + count - 1}; "
                f"tokens {_listed(there)} stand there, expected {_listed(expected)}"
            )
    return None


def _listed(token_ids: Any) -> str:
    return ", ".join(str(int(t)) for t in token_ids)


MOE_SORTED = Exercise(
    id="02.moe_sorted",
    title="Sort, one product per expert, scatter-add",
    task=(
        "The same layer without a loop over tokens. There are S = T * K (token, choice) slots. Sort them by "
        "expert, run each expert *once* on its own rows, and add every result, times its own weight, to its "
        "token. Return three things: the output `[T, D]`; the token of each row in sorted order `[S]` (one "
        "expert's rows in any order); how many rows each expert got `[E]`. Some experts get none, and T may "
        "be 0."
    ),
    entry="moe_sorted",
    points=4,
    minutes=20,
    difficulty=4,
    outputs=(
        Output("output_TD", "TD"),
        Output("token_ids_S", "S", kind="int"),
        Output("tokens_per_expert_E", "E", kind="int"),
    ),
    draw=draw,
    reference=reference,
    canonical=canonical,
    properties=(Property("rows of one expert stand together, experts in order", _by_expert),),
    misconceptions=(
        Misconception(
            "weights_unsorted",
            "The rows are sorted by expert, but the weights are still in token order, so most rows get the "
            "weight of another slot. The weights must go through the same sort.",
            wrong=_weights_unsorted,
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
            detects=_slots,
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
    ),
    hints=(
        "`topk_ids_TK.flatten()` lists the slots: token 0's K choices, then token 1's. Given a slot's "
        "number, how do you find its token?",
        "`argsort(stable=True)` orders the slots, `torch.bincount(..., minlength=E)` sizes the groups "
        "(zeros included), and `rows.split(sizes)` cuts them. Index the flat weights with the same order.",
        "`out_TD.index_add(0, token_ids_S, weighted_rows_SD)` adds where tokens repeat. The inverse of a "
        "permutation is its own `argsort`.",
    ),
)
