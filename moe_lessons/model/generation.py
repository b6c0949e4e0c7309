"""Write on from a prompt, one token at a time."""

import math

import torch
from torch import Tensor

from moe_lessons.model.transformer import MoETransformer

COLDEST = 1e-30  # colder, only the likeliest token is left, and the divided logits would overflow


@torch.no_grad()
def generate(
    model: MoETransformer,
    prompt_tokens: Tensor,
    n_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Tensor:
    """Continue a prompt token by token.

    With a cache, the prompt is run once (prefill) and then only the newest token (decode). Past
    ``context_length`` the window slides: each token moves to an earlier position and loses the one
    before the window, so that nothing cached is valid any more, and the whole window is run again for
    every token, as it always is without a cache.

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
    use_cache : bool
        False runs the whole window for every token: the slow twin, with the same logits up to rounding.

    Returns
    -------
    Tensor, int64, shape (L + n_tokens,)

    Raises
    ------
    ValueError
        If the prompt is empty, or n_tokens, temperature or top_k is out of range.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, context_length=8))
    >>> prompt = torch.tensor([77, 111, 69])
    >>> both = [generate(model, prompt, 4, temperature=0, use_cache=use) for use in (True, False)]
    >>> torch.equal(*both), len(both[0])
    (True, 7)
    """
    if prompt_tokens.ndim != 1 or prompt_tokens.numel() == 0:
        raise ValueError("prompt_tokens is empty or not a vector: give at least one token")
    if n_tokens < 0:
        raise ValueError(f"n_tokens={n_tokens}: choose 0 or more")
    if not temperature >= 0:
        raise ValueError(f"temperature={temperature}: choose 0 (likeliest token) or more")
    if top_k is not None and not 1 <= top_k <= model.config.vocab_size:
        raise ValueError(f"top_k={top_k}: choose 1 to vocab_size={model.config.vocab_size}")
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    tokens = prompt_tokens.to(device)
    caches = model.new_caches() if use_cache else None
    for _ in range(n_tokens):
        if len(tokens) > model.config.context_length:
            caches = None
        seen = caches[0].length if caches else 0
        window = tokens[seen:][-model.config.context_length :]
        logits_V = model(window[None], caches=caches).logits_BLV[0, -1].float().cpu()
        if top_k is not None:
            logits_V[logits_V < logits_V.topk(top_k).values[-1]] = -math.inf
        if temperature < COLDEST:
            chosen = logits_V.argmax(keepdim=True)
        else:
            chosen = torch.multinomial((logits_V / temperature).softmax(-1), 1, generator=generator)
        tokens = torch.cat((tokens, chosen.to(device)))
    model.train(was_training)
    return tokens
