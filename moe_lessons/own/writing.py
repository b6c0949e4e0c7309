"""Let a model of one's own parts write."""

import torch

from moe_lessons.data import as_tokens
from moe_lessons.model.generation import draw
from moe_lessons.own.model import OwnTransformer


@torch.no_grad()
def write_own(
    model: OwnTransformer, prompt: bytes, n_bytes: int, *, temperature: float = 0.6, seed: int = 0
) -> bytes:
    """Write on from a prompt, a byte at a time. Nothing is kept from byte to byte: each sees its window anew.

    Parameters
    ----------
    model : OwnTransformer
    prompt : bytes
        At least one.
    n_bytes : int
    temperature : float
    seed : int

    Returns
    -------
    bytes
        The prompt, and what was added.

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> from moe_lessons.own import Parts
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, d_expert=8, context_length=4)
    >>> len(write_own(OwnTransformer(Parts.published(), config), b"MoE", 5))
    8
    """
    draws = torch.Generator().manual_seed(seed)
    text_N = as_tokens(prompt)
    for _ in range(n_bytes):
        window_BL = text_N[None, -model.config.context_length :]
        logits_V = model(window_BL, "write").logits_BLV[0, -1]
        text_N = torch.cat((text_N, torch.tensor([draw(logits_V, temperature, generator=draws)])))
    return bytes(text_N.tolist())
