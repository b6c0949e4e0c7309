"""Who is admitted to which expert, by queue position or, if refused, by falling back on the next expert."""

from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.capacity.positions import positions_sorted
from moe_lessons.capacity.priority import PRIORITIES
from moe_lessons.routing.base import check_ids, check_top_k


class Admission(NamedTuple):
    """Where each slot stands: its expert, its position there counted from 0, and whether it got a place.

    Ids and positions are int64, `kept_TK` is bool. A slot that was not kept has no cell in the buffer; its
    position says how far back it stood.
    """

    expert_ids_TK: Tensor
    positions_TK: Tensor
    kept_TK: Tensor
    capacity: int


def admit(
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    *,
    n_experts: int,
    capacity: int | None,
    priority: str = "token",
    mask_T: Tensor | None = None,
) -> Admission:
    """Queue every slot at its expert and admit the first `capacity` of each queue.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
    topk_weights_TK : Tensor of shape (T, K)
        Decides the order under the priorities "batch" and "weight".
    n_experts : int
    capacity : int or None
        Places per expert, from `expert_capacity`. None admits everybody: all experts have as many places as
        the fullest needs, and the buffer's shape depends on the data.
    priority : str
        A key of `PRIORITIES`. Only "token" never lets a later token push out an earlier one.
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens. Padding is never admitted and takes nobody's place.

    Raises
    ------
    ValueError
        If shapes disagree, K is outside 1..E, `capacity` is negative or not whole, `priority` is unknown, or
        an id is outside 0..E-1 (looked for in CPU tensors only: on a GPU the question would stop the host).

    References
    ----------
    Switch Transformer, arXiv 2101.03961, section 2.2; GShard, arXiv 2006.16668, algorithm 1.

    Examples
    --------
    >>> ids_TK = torch.tensor([[0, 1], [0, 2], [0, 1]])
    >>> admission = admit(ids_TK, torch.ones(3, 2), n_experts=3, capacity=2)
    >>> admission.positions_TK.tolist()
    [[0, 0], [1, 0], [2, 1]]
    >>> admission.kept_TK.tolist()  # token 2 finds expert 0 full
    [[True, True], [True, True], [False, True]]
    """
    _check(topk_ids_TK, topk_weights_TK, n_experts, mask_T)
    if capacity is not None and capacity % 1:
        raise ValueError(f"capacity is {capacity}: give a whole number, as expert_capacity does")
    if capacity is not None and capacity < 0:
        raise ValueError(f"capacity is {capacity}: give 0 or more places, or None for no limit")
    if priority not in PRIORITIES:
        raise ValueError(f"priority is {priority!r}: choose one of {', '.join(PRIORITIES)}")
    ids_TK, queues = topk_ids_TK.long(), n_experts
    if mask_T is not None:  # padding waits at a queue of its own
        ids_TK, queues = ids_TK.masked_fill(~mask_T.unsqueeze(1), n_experts), n_experts + 1
    order_S = PRIORITIES[priority](topk_weights_TK.detach())
    positions_S = torch.empty_like(order_S)
    positions_S[order_S] = positions_sorted(ids_TK.reshape(-1)[order_S], queues)
    positions_TK = positions_S.view(topk_ids_TK.shape)
    real_TK = ids_TK < n_experts
    if capacity is None:
        longest = positions_TK.masked_fill(~real_TK, -1).max() if positions_TK.numel() else -1
        capacity = int(longest) + 1
    return Admission(topk_ids_TK.long(), positions_TK, real_TK & (positions_TK < capacity), capacity)


def admit_with_fallback(
    scores_TE: Tensor, top_k: int, *, capacity: int, n_tries: int | None = None
) -> Admission:
    """Let a refused token ask its next-best expert, round by round, until it has K places or gives up.

    In round r every token that still lacks a place asks its r-th best expert; earlier tokens go first. Rounds
    come one after the other, so a later token's first choice goes before an earlier token's fallback: not
    causal. With `n_tries = top_k` nobody falls back, and it is choice-major admission. A token that could not
    be placed K times has slots that were not kept; the weights are the caller's to gather at `expert_ids_TK`.

    Parameters
    ----------
    scores_TE : Tensor of shape (T, E)
        The higher, the sooner asked: logits or probabilities.
    top_k : int
    capacity : int
    n_tries : int, optional
        Rounds, K to E; E by default. With it, every slot finds a place if E * C >= T * K and K = 1.

    Raises
    ------
    ValueError
        If `scores_TE` is not 2-D or holds NaN, or `top_k`, `capacity` or `n_tries` is out of range.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, appendix B (no-token-left-behind, which brought no gain there).

    Examples
    --------
    >>> scores_TE = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    >>> admission = admit_with_fallback(scores_TE, 1, capacity=1)  # token 1 takes its second best
    >>> admission.expert_ids_TK.flatten(), admission.kept_TK.flatten()
    (tensor([0, 1]), tensor([True, True]))
    """
    if scores_TE.dim() != 2:
        raise ValueError(f"scores_TE has shape {tuple(scores_TE.shape)}: give (T, E)")
    if scores_TE.device.type == "cpu" and bool(scores_TE.isnan().any()):
        raise ValueError("scores_TE holds NaN: look for a diverged loss or bad inputs before the router")
    n_tokens, n_experts = scores_TE.shape
    check_top_k(top_k, n_experts)
    n_tries = n_experts if n_tries is None else n_tries
    if not top_k <= n_tries <= n_experts or capacity < 0:
        raise ValueError(
            f"capacity {capacity}, n_tries {n_tries}: give 0 or more places, {top_k} to {n_experts} tries"
        )
    ranked_TE = scores_TE.sort(dim=1, descending=True, stable=True).indices
    placed_T, filled_E = ranked_TE.new_zeros(n_tokens), ranked_TE.new_zeros(n_experts)
    positions, got = [], []
    for wish_T in ranked_TE[:, :n_tries].unbind(1):  # rounds, at most E of them; never a loop over tokens
        asking_T = placed_T < top_k
        queue_T = wish_T.masked_fill(~asking_T, n_experts)
        positions.append(positions_sorted(queue_T, n_experts + 1) + filled_E[wish_T])
        got.append(asking_T & (positions[-1] < capacity))
        filled_E.scatter_add_(0, wish_T, got[-1].long())
        placed_T += got[-1]
    kept_TR = torch.stack(got, dim=1)
    # Of each token's tries, those that found a place come first, in the order in which they were made.
    best_TK = (~kept_TR).byte().sort(dim=1, stable=True).indices[:, :top_k]
    tables = ranked_TE, torch.stack(positions, dim=1), kept_TR
    ids_TK, positions_TK, kept_TK = (table.gather(1, best_TK) for table in tables)
    return Admission(ids_TK, positions_TK, kept_TK, capacity)


def drop_rate(kept_TK: Tensor, mask_T: Tensor | None = None) -> Tensor:
    """Share of the routed slots, T * K of them, that found no place; NaN where nothing was routed.

    Examples
    --------
    >>> drop_rate(torch.tensor([[True, False], [True, True]]))
    tensor(0.2500)
    """
    # .bool(): numbers would be taken as row numbers where a mask is meant, and ~1 is -2.
    dropped_TK = ~(kept_TK if mask_T is None else kept_TK[mask_T.bool()]).bool()
    return dropped_TK.float().mean()


def padding_fraction(kept_TK: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Share of the E * C places that nobody took; NaN where there is no place.

    Examples
    --------
    >>> padding_fraction(torch.tensor([[True, False], [True, True]]), n_experts=2, capacity=3)
    tensor(0.5000)
    """
    return 1 - kept_TK.sum() / (n_experts * capacity)


def _check(topk_ids_TK: Tensor, topk_weights_TK: Tensor, n_experts: int, mask_T: Tensor | None) -> None:
    shape = tuple(topk_ids_TK.shape)
    if len(shape) != 2 or tuple(topk_weights_TK.shape) != shape:
        raise ValueError(
            f"topk_ids_TK has shape {shape}, topk_weights_TK {tuple(topk_weights_TK.shape)}: give both (T, K)"
        )
    check_top_k(shape[1], n_experts)
    if mask_T is not None and (tuple(mask_T.shape) != shape[:1] or mask_T.dtype != torch.bool):
        raise ValueError(f"mask_T is {mask_T.dtype} {tuple(mask_T.shape)}: give bool of shape ({shape[0]},)")
    check_ids(topk_ids_TK, n_experts)
