"""Causal self-attention with rotary positions and grouped queries, as Mixtral has it.

Shapes: B sequences, L tokens in each, D model width, H query heads, G key-value heads, P head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.config import ModelConfig


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


class Attention(nn.Module):
    """Causal self-attention with rotary positions; key-value heads may serve several query heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = config.n_heads, config.n_kv_heads, config.d_head
        kv_width = self.n_kv_heads * self.d_head
        self.q_proj = nn.Linear(config.d_model, config.d_model, bias=False)
        self.k_proj = nn.Linear(config.d_model, kv_width, bias=False)
        self.v_proj = nn.Linear(config.d_model, kv_width, bias=False)
        self.o_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, hidden_BLD: Tensor, cos_LP: Tensor, sin_LP: Tensor) -> Tensor:
        """Mix each token with those before it.

        Parameters
        ----------
        hidden_BLD : Tensor, shape (B, L, D)
        cos_LP, sin_LP : Tensor, shape (L, P)

        Returns
        -------
        Tensor, shape (B, L, D)
        """
        B, L, _ = hidden_BLD.shape
        q_BHLP = self.q_proj(hidden_BLD).view(B, L, self.n_heads, self.d_head).transpose(1, 2)
        k_BGLP = self.k_proj(hidden_BLD).view(B, L, self.n_kv_heads, self.d_head).transpose(1, 2)
        v_BGLP = self.v_proj(hidden_BLD).view(B, L, self.n_kv_heads, self.d_head).transpose(1, 2)
        mixed_BHLP = F.scaled_dot_product_attention(
            rotate(q_BHLP, cos_LP, sin_LP).to(v_BGLP.dtype),
            rotate(k_BGLP, cos_LP, sin_LP).to(v_BGLP.dtype),
            v_BGLP,
            is_causal=True,
            enable_gqa=self.n_kv_heads < self.n_heads,
        )
        return self.o_proj(mixed_BHLP.transpose(1, 2).reshape(B, L, -1))

    def extra_repr(self) -> str:
        """Heads and their width, for printing."""
        return f"n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}, d_head={self.d_head}"
