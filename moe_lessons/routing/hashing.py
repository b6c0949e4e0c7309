"""Hash routing: a fixed table says which experts each token id goes to. Nothing learned can collapse."""

import heapq

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, check_top_k, checked_logits, weigh
from moe_lessons.routing.gates import sqrt_softplus


def random_table(
    vocab_size: int, n_experts: int, top_k: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw K different experts for each token id, all sets of K being equally likely.

    Balanced over ids, not over text: a frequent id brings all its tokens to the same K experts.

    Parameters
    ----------
    vocab_size, n_experts, top_k : int
    generator : torch.Generator, optional

    Returns
    -------
    Tensor of shape (V, K), int64

    Raises
    ------
    ValueError
        If `top_k` is outside 1..E.

    References
    ----------
    Roller et al., arXiv 2106.04426, section 3 (random hash).

    Examples
    --------
    >>> random_table(5, 3, 3).sort(dim=1).values[0]
    tensor([0, 1, 2])
    """
    check_top_k(top_k, n_experts)
    return torch.rand(vocab_size, n_experts, generator=generator).topk(top_k, dim=-1).indices


def balanced_table(counts_V: Tensor, n_experts: int, top_k: int) -> Tensor:
    """Give each token id, the most frequent first, to the K experts that have the least so far.

    Balanced over text that has these counts, except where one id alone outweighs an expert's fair share.

    Parameters
    ----------
    counts_V : Tensor of shape (V,)
        How often each token id occurs, at least 0.
    n_experts, top_k : int

    Returns
    -------
    Tensor of shape (V, K), int64

    Raises
    ------
    ValueError
        If `top_k` is outside 1..E, or a count is negative or NaN.

    References
    ----------
    Roller et al., arXiv 2106.04426, section 3 (balanced assignment).

    Examples
    --------
    >>> balanced_table(torch.tensor([1, 9, 4, 4]), n_experts=2, top_k=1)  # 9 | 4 + 4 | and 1 to the lighter
    tensor([[1], [0], [1], [1]])
    """
    check_top_k(top_k, n_experts)
    if counts_V.dim() != 1 or not bool((counts_V >= 0).all()):
        raise ValueError(f"counts_V of shape {tuple(counts_V.shape)}: give (V,) counts of at least 0")
    counts = counts_V.tolist()
    table_VK = torch.empty(len(counts), top_k, dtype=torch.int64)
    lightest = [(0.0, expert) for expert in range(n_experts)]
    # Made once for a vocabulary, not once a batch: here a loop is fine.
    for token_id in sorted(range(len(counts)), key=lambda v: -counts[v]):
        taken = [heapq.heappop(lightest) for _ in range(top_k)]
        table_VK[token_id] = torch.tensor([expert for _, expert in taken])
        for load, expert in taken:
            heapq.heappush(lightest, (load + counts[token_id], expert))
    return table_VK


def hash_topk(token_ids_T: Tensor, table_VK: Tensor, n_experts: int) -> Routing:
    """Look the experts of each token id up; all K weigh the same, 1 / K.

    The experts of a token depend on its id alone, not on its context: causal, and blind to meaning.

    Parameters
    ----------
    token_ids_T : integer Tensor of shape (T,)
    table_VK : integer Tensor of shape (V, K)
    n_experts : int

    Returns
    -------
    Routing
        With logits of 0, there being no router.

    Raises
    ------
    ValueError
        If `token_ids_T` is not 1-D, or an id is outside 0..V-1 (looked for on the CPU only).

    References
    ----------
    Roller et al., arXiv 2106.04426, section 3.

    Examples
    --------
    >>> table_VK = torch.tensor([[0], [2], [1]])
    >>> hash_topk(torch.tensor([1, 0, 1]), table_VK, n_experts=3).topk_ids_TK.T
    tensor([[2, 0, 2]])
    """
    topk_ids_TK = _look_up(token_ids_T, table_VK, n_experts)
    weights_TK = torch.full(topk_ids_TK.shape, 1 / topk_ids_TK.shape[1], device=topk_ids_TK.device)
    logits_TE = torch.zeros(topk_ids_TK.shape[0], n_experts, device=topk_ids_TK.device)
    return Routing(logits_TE, topk_ids_TK, weights_TK)


def weighted_hash_topk(
    logits_TE: Tensor, token_ids_T: Tensor, table_VK: Tensor, *, scale: float = 1.0
) -> Routing:
    """Let the table choose and a learned router weigh: sqrt(softplus(logit)) over its sum, times `scale`.

    Used by the first MoE layers of DeepSeek-V4, whose table is called tid2eid.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    token_ids_T : integer Tensor of shape (T,)
    table_VK : integer Tensor of shape (V, K)
    scale : float

    Raises
    ------
    ValueError
        As `hash_topk`; also if there is not one token id per row of `logits_TE`.

    References
    ----------
    transformers, models/deepseek_v4, `DeepseekV4HashRouter`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[16.0, 1.0, 9.0]]).expm1().log()  # scores 4, 1, 3
    >>> weighted_hash_topk(logits_TE, torch.tensor([0]), torch.tensor([[1, 2]])).topk_weights_TK
    tensor([[0.2500, 0.7500]])
    """
    logits_TE = checked_logits(logits_TE, table_VK.shape[-1])
    topk_ids_TK = _look_up(token_ids_T, table_VK, logits_TE.shape[1])
    if topk_ids_TK.shape[0] != logits_TE.shape[0]:
        raise ValueError(
            f"token_ids_T has {topk_ids_TK.shape[0]} ids: logits_TE asks for {logits_TE.shape[0]}"
        )
    return weigh(logits_TE, sqrt_softplus(logits_TE), topk_ids_TK, renormalize=True, scale=scale)


def _look_up(token_ids_T: Tensor, table_VK: Tensor, n_experts: int) -> Tensor:
    if token_ids_T.dim() != 1:
        raise ValueError(f"token_ids_T has shape {tuple(token_ids_T.shape)}: flatten it to (T,)")
    if table_VK.dim() != 2:
        raise ValueError(f"table_VK has shape {tuple(table_VK.shape)}: give (V, K)")
    check_top_k(table_VK.shape[1], n_experts)
    for name, ids, count in (
        ("token_ids_T", token_ids_T, table_VK.shape[0]),
        ("table_VK", table_VK, n_experts),
    ):
        on_host = ids.device.type == "cpu" and not torch.compiler.is_compiling()
        if on_host and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < count:
            raise ValueError(
                f"{name} runs from {int(ids.min())} to {int(ids.max())}: keep ids in 0..{count - 1}"
            )
    return table_VK[token_ids_T.long()].long()
