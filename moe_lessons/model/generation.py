"""Write on from prompts, one token at a time."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from moe_lessons.model.transformer import MoETransformer

COLDEST = 1e-30  # colder, only the likeliest token is left, and the divided logits would overflow


def generate(
    model: MoETransformer,
    prompt_tokens: Tensor,
    n_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    on_token: Callable[[int, int], bool | None] | None = None,
) -> Tensor:
    """Continue a prompt token by token; `generate_batch` with one row.

    Parameters
    ----------
    model : MoETransformer
    prompt_tokens : Tensor, int64, shape (L,)
        At least one token; the model sees the last ``context_length`` of them.
    n_tokens, temperature, top_k, top_p, use_cache, on_token
        See `generate_batch`.
    generator : torch.Generator, optional
        Source of the draws; a generator of the CPU on any device.

    Returns
    -------
    Tensor, int64, shape (L + n_tokens,), or shorter if `on_token` ended it

    Raises
    ------
    ValueError
        If the prompt is empty, or n_tokens, temperature, top_k or top_p is out of range.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, context_length=8))
    >>> prompt = torch.tensor([77, 111, 69])
    >>> both = [generate(model, prompt, 9, temperature=0, use_cache=use) for use in (True, False)]
    >>> torch.equal(*both), len(both[0])
    (True, 12)
    """
    return generate_batch(
        model,
        [prompt_tokens],
        n_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generators=[generator],
        use_cache=use_cache,
        on_token=on_token,
    )[0]


@torch.no_grad()
def generate_batch(
    model: MoETransformer,
    prompts: Sequence[Tensor],
    n_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    generators: Sequence[torch.Generator | None] | None = None,
    use_cache: bool = True,
    on_token: Callable[[int, int], bool | None] | None = None,
) -> list[Tensor]:
    """Continue several prompts at once; each as it would be alone, up to rounding.

    Shorter prompts get padding on their left, which no token sees. Attention with rotary positions depends
    on distances only, so padding changes nothing.

    With a cache, the prompts are run once (prefill) and then only the newest tokens (decode). A window of
    ``context_length`` tokens is full at some point. Then its older half is forgotten at once, the younger
    half is run again at its new positions, and decoding goes on: a token sees between half a context and a
    whole one. (To forget one token at a time would make everything cached invalid at every step.) Without a
    cache the windows are the same, and run whole for every token.

    Parameters
    ----------
    model : MoETransformer
    prompts : sequence of Tensor, int64, each of shape (L,)
        Each at least one token; of the longest, the model sees the last ``context_length``.
    n_tokens : int
        How many to add to each.
    temperature : float
        Divides the logits; 0 takes the likeliest token.
    top_k : int, optional
        Draw among so many likeliest tokens only. Unrelated to the experts' K.
    top_p : float, optional
        Draw among the likeliest tokens that have this much probability together, at the temperature.
    generators : sequence of torch.Generator, optional
        Source of each row's draws.
    use_cache : bool
        False runs the whole window for every token: the slow twin, with the same logits up to rounding.
    on_token : callable, optional
        Called with the row and its new token; a row ends where it returns True.

    Returns
    -------
    list of Tensor, int64
        Prompt and what was added.

    Raises
    ------
    ValueError
        If a prompt is empty, or a number is out of range.

    References
    ----------
    Holtzman et al., "The Curious Case of Neural Text Degeneration", arXiv:1904.09751, section 3.1 (top-p).
    """
    _check(model, prompts, n_tokens, temperature, top_k, top_p)
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    tokens_BN = torch.zeros(len(prompts), longest, dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        tokens_BN[row, padding[row] :] = prompt.to(device)
    context = model.config.context_length
    first_B = torch.tensor([max(before, longest - context) for before in padding])  # that a row still sees
    caches = None
    ends = [longest] * len(prompts)
    running = set(range(len(prompts)))
    for _ in range(n_tokens):
        full_B = tokens_BN.shape[1] - first_B > context
        if full_B.any():
            first_B[full_B] += max(1, context // 2)
        if caches is None or full_B.any() or not use_cache:
            begin = int(first_B.min())
            hidden_B = first_B - begin
            caches = model.new_caches(hidden_B.to(device) if hidden_B.any() else None)
        window_BL = tokens_BN[:, begin + caches[0].length :]
        logits_BV = model(window_BL, caches=caches).logits_BLV[:, -1].float().cpu()
        chosen_B = torch.zeros(len(prompts), dtype=torch.long)
        for row in sorted(running):
            generator = generators[row] if generators is not None else None
            chosen_B[row] = draw(logits_BV[row], temperature, top_k, top_p, generator)
            ends[row] += 1
            if on_token is not None and on_token(row, int(chosen_B[row])):
                running.discard(row)
        tokens_BN = torch.cat((tokens_BN, chosen_B[:, None].to(device)), dim=1)
        if not running:
            break
    model.train(was_training)
    return [tokens_BN[row, padding[row] : ends[row]] for row in range(len(prompts))]


def draw(
    logits_V: Tensor,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """Draw one token: temperature first, then the likeliest K, then those that make up P.

    Examples
    --------
    >>> logits_V = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> {draw(logits_V, 1.0, top_p=0.6) for _ in range(100)} == {0, 1}  # 0.5 is not yet 0.6, with 0.3 it is
    True
    """
    if temperature < COLDEST:
        return int(logits_V.argmax())
    logits_V = logits_V.clone()
    if top_k is not None:
        logits_V[logits_V < logits_V.topk(top_k).values[-1]] = -math.inf
    p_V = (logits_V / temperature).softmax(-1)
    if top_p is not None:
        sorted_V, order_V = p_V.sort(descending=True, stable=True)
        before_V = sorted_V.cumsum(-1) - sorted_V
        p_V[order_V[before_V >= top_p]] = 0.0
    return int(torch.multinomial(p_V, 1, generator=generator))


def _check(
    model: MoETransformer,
    prompts: Sequence[Tensor],
    n_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    if not len(prompts):
        raise ValueError("prompts is empty: give at least one")
    for prompt in prompts:
        if prompt.ndim != 1 or prompt.numel() == 0:
            raise ValueError("prompt_tokens is empty or not a vector: give at least one token")
    if n_tokens < 0:
        raise ValueError(f"n_tokens={n_tokens}: choose 0 or more")
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"temperature={temperature}: choose 0 (likeliest token) or more, and a finite number"
        )
    if top_k is not None and not 1 <= top_k <= model.config.vocab_size:
        raise ValueError(f"top_k={top_k}: choose 1 to vocab_size={model.config.vocab_size}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}: choose above 0 and at most 1")
