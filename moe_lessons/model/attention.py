"""Causal self-attention with rotary positions and grouped queries, as Mixtral has it.

Shapes: B sequences, L tokens in each, D model width, H query heads, G key-value heads, P head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.config import ModelConfig
from moe_lessons.linear import Linear


def rotary_tables(context_length: int, d_head: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotation angles, position times ``theta ** (-2 i / P)``.

    Returns
    -------
    cos_LP, sin_LP : Tensor, float32, shape (L, P)
        The second half of the last axis repeats the first.

    References
    ----------
    Su et al., "RoFormer", arXiv:2104.09864, equation 15.

    Examples
    --------
    >>> cos_LP, _ = rotary_tables(2, 4, 100.0)
    >>> [round(angle, 3) for angle in cos_LP[1].acos().tolist()]
    [1.0, 0.1, 1.0, 0.1]
    """
    inverse_frequencies = theta ** -(torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
    angles = torch.outer(torch.arange(context_length, dtype=torch.float32), inverse_frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(heads_BHLP: Tensor, cos_LP: Tensor, sin_LP: Tensor) -> Tensor:
    """Turn each pair (i, i + P/2) of a head by the angle of its position.

    Mixtral's checkpoints pair the two halves of a head; the paper pairs neighbours.

    Parameters
    ----------
    heads_BHLP : Tensor, shape (B, H, L, P)
    cos_LP, sin_LP : Tensor, shape (L, P)

    Returns
    -------
    Tensor, shape (B, H, L, P)

    Examples
    --------
    >>> quarter_turn = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> rotate(torch.tensor([[[[1.0, 0.0]]]]), *quarter_turn).flatten().tolist()
    [0.0, 1.0]
    """
    first, second = heads_BHLP.chunk(2, dim=-1)
    return heads_BHLP * cos_LP + torch.cat((-second, first), dim=-1) * sin_LP


class KVCache:
    """Keys and values of the tokens that one attention layer has seen, so that none is computed twice.

    Parameters
    ----------
    capacity : int
        How many tokens it has room for; the room is taken when the first ones come.
    n_padding_B : Tensor, int64, shape (B,), optional
        How many of each sequence's first tokens are padding, which no other token sees.

    Attributes
    ----------
    length : int
        How many it holds.

    Examples
    --------
    >>> cache = KVCache(capacity=8)
    >>> for n_tokens in (3, 1):  # a prompt, then one more
    ...     k_BGLP, v_BGLP = cache.append(torch.zeros(1, 2, n_tokens, 4), torch.zeros(1, 2, n_tokens, 4))
    >>> k_BGLP.shape, cache
    (torch.Size([1, 2, 4, 4]), KVCache(length=4, capacity=8))
    """

    def __init__(self, capacity: int, n_padding_B: Tensor | None = None) -> None:
        self.capacity, self.length, self.n_padding_B = capacity, 0, n_padding_B
        self.k_BGCP: Tensor | None = None
        self.v_BGCP: Tensor | None = None

    def append(self, k_BGLP: Tensor, v_BGLP: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of L more tokens, and return those of all tokens so far.

        Raises
        ------
        ValueError
            If they do not fit.
        """
        B, G, L, P = k_BGLP.shape
        end = self.length + L
        if end > self.capacity:
            raise ValueError(f"capacity is {self.capacity}: a cache of {end} tokens needs more")
        if self.k_BGCP is None or self.v_BGCP is None:
            self.k_BGCP = k_BGLP.new_empty(B, G, self.capacity, P)
            self.v_BGCP = v_BGLP.new_empty(B, G, self.capacity, P)
        self.k_BGCP[:, :, self.length : end] = k_BGLP
        self.v_BGCP[:, :, self.length : end] = v_BGLP
        self.length = end
        return self.k_BGCP[:, :, :end], self.v_BGCP[:, :, :end]

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens, so that others can take the place of the rest.

        Raises
        ------
        ValueError
            If it holds fewer.

        Examples
        --------
        >>> cache = KVCache(capacity=8)
        >>> both = cache.append(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))
        >>> cache.cut(3)  # two guessed tokens were wrong
        >>> cache
        KVCache(length=3, capacity=8)
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"length={length}: choose 0 to {self.length}, what the cache holds")
        self.length = length

    def mask(self, L: int) -> Tensor | None:
        """Say which of all tokens so far the last L may see; None where that is plain: causal, or all.

        Returns
        -------
        Tensor, bool, shape (L, S) or with padding (B, 1, L, S), or None
        """
        S = self.length
        if self.n_padding_B is None:
            # `is_causal` takes the first query to be the first token; here S - L tokens precede it.
            return torch.ones(L, S, dtype=torch.bool).tril(S - L) if S > L > 1 else None
        place_S = torch.arange(S, device=self.n_padding_B.device)
        place_L1 = place_S[S - L :, None]
        real_B1S = place_S >= self.n_padding_B[:, None, None]
        # Padding sees itself: a query that sees nothing has no softmax.
        mask_BLS = (real_B1S & (place_S <= place_L1)) | (place_S == place_L1)
        return mask_BLS[:, None]

    def __repr__(self) -> str:
        return f"KVCache(length={self.length}, capacity={self.capacity})"


class Attention(nn.Module):
    """Causal self-attention with rotary positions; key-value heads may serve several query heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = config.n_heads, config.n_kv_heads, config.d_head
        kv_width = self.n_kv_heads * self.d_head
        self.q_proj = Linear(config.d_model, config.d_model)
        self.k_proj = Linear(config.d_model, kv_width)
        self.v_proj = Linear(config.d_model, kv_width)
        self.o_proj = Linear(config.d_model, config.d_model)

    def forward(
        self, hidden_BLD: Tensor, cos_LP: Tensor, sin_LP: Tensor, cache: KVCache | None = None
    ) -> Tensor:
        """Mix each token with those before it.

        Parameters
        ----------
        hidden_BLD : Tensor, shape (B, L, D)
        cos_LP, sin_LP : Tensor, shape (L, P)
            Of these tokens' own positions.
        cache : KVCache, optional
            Holds the tokens before these, and afterwards these too.

        Returns
        -------
        Tensor, shape (B, L, D)
        """
        B, L, _ = hidden_BLD.shape
        q_BHLP = self.q_proj(hidden_BLD).view(B, L, self.n_heads, self.d_head).transpose(1, 2)
        k_BGLP = self.k_proj(hidden_BLD).view(B, L, self.n_kv_heads, self.d_head).transpose(1, 2)
        v_BGLP = self.v_proj(hidden_BLD).view(B, L, self.n_kv_heads, self.d_head).transpose(1, 2)
        q_BHLP = rotate(q_BHLP, cos_LP, sin_LP).to(v_BGLP.dtype)
        k_BGLP = rotate(k_BGLP, cos_LP, sin_LP).to(v_BGLP.dtype)
        mask = None
        if cache is not None:
            # Keys are kept as they were rotated: a score depends on the distance of two positions only.
            k_BGLP, v_BGLP = cache.append(k_BGLP, v_BGLP)
            mask = cache.mask(L)
        mixed_BHLP = F.scaled_dot_product_attention(
            q_BHLP,
            k_BGLP,
            v_BGLP,
            attn_mask=mask if mask is None else mask.to(q_BHLP.device),
            # One token after others sees them all: it needs no mask.
            is_causal=mask is None and k_BGLP.shape[2] == L,
            enable_gqa=self.n_kv_heads < self.n_heads,
        )
        return self.o_proj(mixed_BHLP.transpose(1, 2).reshape(B, L, -1))

    def extra_repr(self) -> str:
        """Heads, their width and the parameter count, for printing."""
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return (
            f"n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}, d_head={self.d_head}, "
            f"parameters={parameters:,}"
        )
