"""Which experts will the next layer want? Guesses that could be fetched while this layer is at work."""

from collections.abc import Iterator

import torch
from torch import Tensor

from moe_lessons.model import MoETransformer
from moe_lessons.model.transformer import Block
from moe_lessons.serving.traces import windows

PLACES = ("before attention", "before experts", "after experts")


@torch.no_grad()
def guess_next(model: MoETransformer, tokens: Tensor, where: str, n_guesses: int | None = None) -> Tensor:
    """Let the next layer's router read the stream too early: where this layer has only come so far.

    Parameters
    ----------
    model : MoETransformer
        With experts in every layer.
    tokens : Tensor of shape (N,)
    where : str
        Of `PLACES`, in this layer: the earlier, the more time there is to fetch.
    n_guesses : int, optional
        K by default; more are more often right, and more is fetched in vain.

    Returns
    -------
    Tensor of shape (L - 1, N, n_guesses), int64
        Row l guesses what layer l + 1 chooses: ``routing_trace(model, tokens).ids_LNK[1:]``.

    Raises
    ------
    ValueError
        If the place is unknown, there are more guesses than experts, or a layer has no experts.

    References
    ----------
    Eliseev and Mazur, arXiv:2312.17238, section 3.2.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=3, d_model=16, n_heads=2, d_expert=8))
    >>> guess_next(model, torch.arange(20), "before experts", n_guesses=4).shape
    torch.Size([2, 20, 4])
    """
    if where not in PLACES:
        raise ValueError(f"where={where!r}: choose one of {', '.join(PLACES)}")
    if len(model.moe_layers) < len(model.blocks) or len(model.blocks) < 2:
        raise ValueError(
            "model has a layer without experts, or a single layer: guesses need two with experts"
        )
    n_experts = model.moe_layers[0].spec.n_experts
    n = model.config.top_k if n_guesses is None else n_guesses
    if not 1 <= n <= n_experts:
        raise ValueError(f"n_guesses={n}: choose 1 to n_experts={n_experts}")
    was_training = model.training
    model.eval()
    found: list[list[Tensor]] = [[] for _ in range(len(model.blocks) - 1)]
    for part_WL in windows(tokens, model.config.context_length):
        streams = [places[PLACES.index(where)] for places in _streams(model, part_WL)]
        for layer, stream_BLD in enumerate(streams[:-1]):
            following = model.blocks[layer + 1]
            assert isinstance(following, Block)
            logits_TE = following.moe.router(following.moe_norm(stream_BLD).flatten(0, 1))
            found[layer].append(logits_TE.topk(n).indices.cpu())
    model.train(was_training)
    return torch.stack([torch.cat(parts) for parts in found])


def _streams(model: MoETransformer, tokens_WL: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each block, the stream before attention, before the experts and after them."""
    L = tokens_WL.shape[1]
    cos_LP, sin_LP = model.cos_LP[:L], model.sin_LP[:L]
    stream_BLD = model.embedding(tokens_WL.to(model.embedding.weight.device))
    for block in model.blocks:
        assert isinstance(block, Block)
        before_BLD = stream_BLD
        stream_BLD = stream_BLD + block.attention(block.attention_norm(stream_BLD), cos_LP, sin_LP)
        between_BLD = stream_BLD
        stream_BLD = stream_BLD + block.moe(block.moe_norm(stream_BLD)).hidden
        yield before_BLD, between_BLD, stream_BLD


def count_successors(ids_NK: Tensor, next_NK: Tensor, n_experts: int) -> Tensor:
    """Count how often an expert of one layer and one of the next serve the same token.

    Returns
    -------
    Tensor of shape (E, E), int64
        Row: this layer's expert; column: the next layer's.

    Examples
    --------
    >>> count_successors(torch.tensor([[0], [0]]), torch.tensor([[1], [2]]), 3)
    tensor([[0, 1, 1],
            [0, 0, 0],
            [0, 0, 0]])
    """
    if len(ids_NK) != len(next_NK):
        raise ValueError(f"ids have {len(ids_NK)} tokens and the next layer's {len(next_NK)}: give the same")
    pairs_N = (ids_NK[:, :, None] * n_experts + next_NK[:, None, :]).flatten()
    return torch.bincount(pairs_N, minlength=n_experts**2).view(n_experts, n_experts)


def guess_from_counts(counts_EE: Tensor, ids_NK: Tensor, n_guesses: int) -> Tensor:
    """Guess the next layer's experts from this layer's, by what `count_successors` counted in another text.

    Each of the K experts votes with the shares of what came after it.

    Returns
    -------
    Tensor of shape (N, n_guesses), int64

    Examples
    --------
    >>> guess_from_counts(torch.tensor([[0, 3, 1], [2, 0, 0], [0, 0, 0]]), torch.tensor([[0], [1]]), 1)
    tensor([[1],
            [0]])
    """
    shares_EE = counts_EE / counts_EE.sum(1, keepdim=True).clamp_min(1)
    return shares_EE[ids_NK].sum(1).topk(n_guesses).indices


def recall(guess_NG: Tensor, truth_NK: Tensor) -> float:
    """Share of the experts that were wanted which had been guessed.

    Examples
    --------
    >>> recall(torch.tensor([[0, 1, 2]]), torch.tensor([[2, 5]]))
    0.5
    """
    if guess_NG.shape[:-1] != truth_NK.shape[:-1]:
        raise ValueError(
            f"guess is {tuple(guess_NG.shape)} and truth {tuple(truth_NK.shape)}: give the same N"
        )
    return float((truth_NK.unsqueeze(-1) == guess_NG.unsqueeze(-2)).any(-1).float().mean())
