"""Drafts: the model itself with fewer experts or layers, and a table of what followed what."""

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moe_lessons.model import MoETransformer
from moe_lessons.serving.speculate import distribution

LARGEST_KEY = 2**62


def sharing(model: MoETransformer) -> MoETransformer:
    """Copy a model's modules and settings, but not its weights: both hold the same tensors.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8))
    >>> sharing(model).head.weight is model.head.weight
    True
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


class ModelDraft:
    """A model that guesses with its own likeliest next tokens, and keeps its own key-value caches.

    Parameters
    ----------
    model : MoETransformer
        With the same tokens as the model that checks, and at least its context.
    """

    def __init__(self, model: MoETransformer) -> None:
        self.model = model.eval()
        self.vocab_size = model.config.vocab_size
        self._caches = model.new_caches()
        self._read: list[int] = []

    @torch.no_grad()
    def propose(
        self,
        tokens: Sequence[int],
        gamma: int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[list[int], Tensor]:
        """Guess tokens one after the other; what the caches hold beyond the common beginning is cut."""
        if gamma == 0:
            return [], torch.zeros(0, self.vocab_size)
        pairs = zip(self._read, tokens, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self._read), len(tokens)))
        same = min(same, len(tokens) - 1)  # the last token must be read to know what follows
        for cache in self._caches:
            cache.cut(same)
        self._read = [*tokens]
        unread, guessed, chances = [*tokens[same:]], [], []
        for _ in range(gamma):
            unread_1L = torch.tensor([unread], device=self.model.embedding.weight.device)
            logits_V = self.model(unread_1L, caches=self._caches).logits_BLV[0, -1]
            chances.append(distribution(logits_V.cpu(), temperature))
            token = int(torch.multinomial(chances[-1], 1, generator=generator))
            guessed.append(token)
            unread = [token]
        self._read += guessed[:-1]  # the last guess has not been read
        return guessed, torch.stack(chances)


def fewer_experts(model: MoETransformer, k: int) -> ModelDraft:
    """Draft with the model itself, where each token takes only its best k experts.

    No weights are added, but a guess reads k experts, attention and head.

    Raises
    ------
    ValueError
        If k is not from 1 to the model's K.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8))
    >>> guessed, q_GV = fewer_experts(model, 1).propose([1, 2, 3], gamma=2)
    >>> len(guessed), q_GV.shape
    (2, torch.Size([2, 256]))
    """
    if not 1 <= k <= model.config.top_k:
        raise ValueError(f"k={k}: choose 1 to top_k={model.config.top_k}")
    smaller = sharing(model)
    for layer in smaller.moe_layers:
        layer.top_k = k
    return ModelDraft(smaller)


def early_exit(model: MoETransformer, n_layers: int) -> ModelDraft:
    """Draft with the model's first layers, and its last norm and head right after them.

    Raises
    ------
    ValueError
        If there are not so many layers.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=3, d_model=16, n_heads=2, d_expert=8))
    >>> len(early_exit(model, 2).model.blocks)
    2
    """
    if not 1 <= n_layers <= len(model.blocks):
        raise ValueError(f"n_layers={n_layers}: choose 1 to {len(model.blocks)}")
    smaller = sharing(model)
    smaller.blocks = nn.ModuleList(list(smaller.blocks)[:n_layers])
    smaller.config = dataclasses.replace(model.config, n_layers=n_layers)
    return ModelDraft(smaller)


class NGramDraft:
    """Guesses what followed the last n tokens in a text, or the last n - 1, and so on: it touches no expert.

    The chances of each order are mixed with those of the next shorter one, with weights c / (c + d), where c
    is how often the context was seen and d how many different tokens followed it (Witten and Bell).

    Parameters
    ----------
    tokens : Tensor of shape (N,)
        What it learns from.
    n : int
        The longest context.
    vocab_size : int

    Raises
    ------
    ValueError
        If the text is no longer than a context, or contexts are too many to number in 62 bits.

    References
    ----------
    Witten and Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37 (1991),
    doi:10.1109/18.87000 (method C).

    Examples
    --------
    >>> draft = NGramDraft(torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), n=2, vocab_size=3)
    >>> draft.propose([0, 1], gamma=4)[0]
    [2, 0, 1, 2]
    """

    def __init__(self, tokens: Tensor, n: int = 4, vocab_size: int = 256) -> None:
        if len(tokens) <= n or n < 0:
            raise ValueError(f"n={n} with {len(tokens)} tokens: choose 0 or more, and fewer than tokens")
        if vocab_size ** (n + 1) > LARGEST_KEY:
            raise ValueError(f"n={n} with vocab_size={vocab_size}: choose a shorter context")
        self.n, self.vocab_size = n, vocab_size
        ids_N = tokens.long()
        self._orders: list[tuple[Tensor, Tensor]] = []  # sorted keys of (context, next), and their counts
        for order in range(n + 1):
            keys_M = torch.zeros(len(ids_N) - order, dtype=torch.long)
            for back in range(order + 1):
                keys_M = keys_M * vocab_size + ids_N[back : len(ids_N) - order + back]
            keys, counts = keys_M.unique(return_counts=True)
            self._orders.append((keys, counts))

    def chances(self, tokens: Sequence[int]) -> Tensor:
        """Return the distribution of what follows these tokens, shape (V,)."""
        V = self.vocab_size
        p_V = torch.full((V,), 1 / V)
        for order, (keys, counts) in enumerate(self._orders):
            if order > len(tokens):
                break
            context = 0
            for token in tokens[len(tokens) - order :]:
                context = context * V + int(token)
            ends = torch.searchsorted(keys, torch.tensor([context * V, (context + 1) * V])).tolist()
            if ends[0] == ends[1]:
                break
            followers, seen = keys[ends[0] : ends[1]] - context * V, counts[ends[0] : ends[1]]
            p_V = p_V * len(seen)
            p_V[followers] += seen
            p_V /= seen.sum() + len(seen)
        return p_V

    def propose(
        self,
        tokens: Sequence[int],
        gamma: int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[list[int], Tensor]:
        """Guess tokens one after the other; see `Draft`."""
        guessed: list[int] = []
        q_GV = torch.zeros(gamma, self.vocab_size)
        for place in range(gamma):
            logits_V = self.chances([*tokens[-self.n :], *guessed][-self.n :] if self.n else []).log()
            q_GV[place] = distribution(logits_V, temperature)
            guessed.append(int(torch.multinomial(q_GV[place], 1, generator=generator)))
        return guessed, q_GV


def acceptance(p_NV: Tensor, q_NV: Tensor) -> float:
    """Share of drafted tokens that stay: the sum over tokens of min(p, q), averaged over places.

    References
    ----------
    Leviathan et al., arXiv:2211.17192, theorem 3.5.

    Examples
    --------
    >>> round(acceptance(torch.tensor([[0.2, 0.8]]), torch.tensor([[0.9, 0.1]])), 6)
    0.3
    """
    return float(torch.minimum(p_NV, q_NV).sum(-1).mean())
