"""Write on from a prompt, one token at a time."""

import math

import torch
from torch import Tensor

from moe_lessons.model import MoETransformer


@torch.no_grad()
def generate(
    model: MoETransformer,
    prompt_tokens: Tensor,
    n_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue a prompt token by token, running the whole context again for each.

    Parameters
    ----------
    model : MoETransformer
    prompt_tokens : Tensor, int64, shape (L,)
        At least one token; the model sees the last ``context_length`` of them.
    n_tokens : int
        How many to add.
    temperature : float
        Divides the logits; 0 takes the likeliest token.
    top_k : int, optional
        Draw among so many likeliest tokens only. Unrelated to the experts' K.
    generator : torch.Generator, optional
        Source of the draws; a generator of the CPU on any device.

    Returns
    -------
    Tensor, int64, shape (L + n_tokens,)

    Raises
    ------
    ValueError
        If the prompt is empty, or temperature or top_k is out of range.
    """
    if prompt_tokens.ndim != 1 or prompt_tokens.numel() == 0:
        raise ValueError("prompt_tokens is empty or not a vector: give at least one token")
    if temperature < 0:
        raise ValueError(f"temperature={temperature}: choose 0 (likeliest token) or more")
    if top_k is not None and not 1 <= top_k <= model.config.vocab_size:
        raise ValueError(f"top_k={top_k}: choose 1 to vocab_size={model.config.vocab_size}")
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    tokens = prompt_tokens.to(device)
    for _ in range(n_tokens):
        logits_V = model(tokens[None, -model.config.context_length :]).logits_BLV[0, -1].float().cpu()
        if top_k is not None:
            logits_V[logits_V < logits_V.topk(top_k).values[-1]] = -math.inf
        if temperature == 0:
            chosen = logits_V.argmax(keepdim=True)
        else:
            chosen = torch.multinomial((logits_V / temperature).softmax(-1), 1, generator=generator)
        tokens = torch.cat((tokens, chosen.to(device)))
    model.train(was_training)
    return tokens
