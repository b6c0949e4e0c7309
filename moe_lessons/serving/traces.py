"""Which experts a model chooses for a text, token by token: what caches, drafts and batches are judged on."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.model import MoETransformer

AT_ONCE = 32  # windows in one forward pass


class Trace(NamedTuple):
    """The choices of L layers for N tokens, K each.

    Attributes
    ----------
    ids_LNK : Tensor of shape (L, N, K), int64
        The best expert first.
    logits_LNE : Tensor of shape (L, N, E), float32
        The router's.
    """

    ids_LNK: Tensor
    logits_LNE: Tensor


def windows(tokens_N: Tensor, length: int) -> Iterator[Tensor]:
    """Cut a text into windows, several at once; a shorter rest comes last.

    Yields
    ------
    Tensor of shape (W, L), int64

    Raises
    ------
    ValueError
        If there is no token.

    Examples
    --------
    >>> [part.shape for part in windows(torch.arange(10), 4)]
    [torch.Size([2, 4]), torch.Size([1, 2])]
    """
    if tokens_N.dim() != 1 or not len(tokens_N):
        raise ValueError(f"tokens has shape {tuple(tokens_N.shape)}: give (N,), one token at least")
    whole = len(tokens_N) // length * length
    yield from tokens_N[:whole].long().view(-1, length).split(AT_ONCE) if whole else ()
    if whole < len(tokens_N):
        yield tokens_N[whole:].long()[None]


@torch.no_grad()
def routing_trace(model: MoETransformer, tokens: Tensor, layer: int | None = None) -> Trace:
    """Route a text through a model, a window of its context after the other.

    Parameters
    ----------
    model : MoETransformer
    tokens : Tensor of shape (N,)
    layer : int, optional
        One of the layers with experts, counted from 0, alone; all of them by default.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        If there is no token, or no such layer.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, context_length=8))
    >>> trace = routing_trace(model, torch.arange(20))
    >>> trace.ids_LNK.shape, trace.logits_LNE.shape
    (torch.Size([2, 20, 2]), torch.Size([2, 20, 8]))
    """
    n_layers = len(model.moe_layers)
    if layer is not None and not 0 <= layer < n_layers:
        raise ValueError(f"layer={layer}: choose 0 to {n_layers - 1}, a layer with experts")
    wanted = range(n_layers) if layer is None else [layer]
    ids: list[list[Tensor]] = [[] for _ in wanted]
    logits: list[list[Tensor]] = [[] for _ in wanted]
    was_training = model.training
    model.eval()
    for part_WL in windows(tokens, model.config.context_length):
        routings = model(part_WL.to(model.embedding.weight.device)).routings
        for place, number in enumerate(wanted):
            ids[place].append(routings[number].topk_ids_TK.cpu())
            logits[place].append(routings[number].logits_TE.float().cpu())
    model.train(was_training)
    return Trace(*(torch.stack([torch.cat(parts) for parts in layers]) for layers in (ids, logits)))


def popular(ids_NK: Tensor, n: int, n_experts: int) -> list[int]:
    """Return the n experts that a trace chooses most often, the most popular first.

    Examples
    --------
    >>> popular(torch.tensor([[0, 3], [3, 1], [1, 3]]), 2, n_experts=4)
    [3, 1]
    """
    if not 0 <= n <= n_experts:
        raise ValueError(f"n={n}: choose 0 to n_experts={n_experts}")
    count_E = torch.bincount(ids_NK.flatten(), minlength=n_experts)
    order: list[int] = count_E.sort(descending=True, stable=True).indices[:n].tolist()
    return order


def strangers(n_tokens: int, batch: int, draws: int, generator: torch.Generator) -> Tensor:
    """Draw batches of tokens that have nothing to do with each other: shape (draws, batch).

    Examples
    --------
    >>> strangers(100, 4, 3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 4])
    """
    return torch.randint(n_tokens, (draws, batch), generator=generator)


def neighbours(n_tokens: int, batch: int, draws: int, generator: torch.Generator) -> Tensor:
    """Draw batches of consecutive tokens of one text: shape (draws, batch).

    Examples
    --------
    >>> neighbours(100, 3, 1, torch.Generator().manual_seed(0)).diff().tolist()
    [[1, 1]]
    """
    if batch > n_tokens:
        raise ValueError(f"batch={batch}: the text has {n_tokens} tokens")
    start_R = torch.randint(n_tokens - batch + 1, (draws,), generator=generator)
    return start_R[:, None] + torch.arange(batch)


def touched(ids_NK: Tensor, rows_RB: Tensor, n_experts: int) -> Tensor:
    """Count the different experts that batches of tokens choose.

    Parameters
    ----------
    ids_NK : Tensor of shape (N, K)
    rows_RB : Tensor of shape (R, B)
        R batches of B tokens each, such as `strangers` draws.
    n_experts : int

    Returns
    -------
    Tensor of shape (R,), int64

    Examples
    --------
    >>> touched(torch.tensor([[0, 1], [1, 2], [0, 1]]), torch.tensor([[0, 1], [0, 2]]), 4)
    tensor([3, 2])
    """
    chosen_RE = torch.zeros(len(rows_RB), n_experts, dtype=torch.bool)
    return chosen_RE.scatter_(1, ids_NK[rows_RB].flatten(1), True).sum(1)


def touched_by_popularity(ids_NK: Tensor, batch: int, n_experts: int) -> float:
    """Expect so many different experts of a batch whose tokens choose alike but independently.

    With p_e the share of tokens that choose expert e, the sum over e of 1 - (1 - p_e)^B. Even shares give
    `moe_lessons.accounting.expert_coverage`.

    Examples
    --------
    >>> touched_by_popularity(torch.tensor([[0, 1], [2, 3]]), batch=2, n_experts=4)  # 4 (1 - 1/4)
    3.0
    """
    share_E = torch.bincount(ids_NK.flatten(), minlength=n_experts).double() / len(ids_NK)
    return float((1 - (1 - share_E) ** batch).sum())
