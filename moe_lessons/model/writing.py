"""Text to text: prompts in, what a model writes out, with a place to stop and a way to watch."""

from collections.abc import Callable, Sequence

import torch

from moe_lessons.data.saved import LibraryTokenizer
from moe_lessons.data.tokenizer import Tokenizer
from moe_lessons.model.generation import generate_batch
from moe_lessons.model.transformer import MoETransformer


def write_on(
    model: MoETransformer,
    tokenizer: Tokenizer,
    prompts: Sequence[bytes],
    n_tokens: int,
    *,
    temperature: float = 0.6,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: Sequence[bytes] = (),
    on_text: Callable[[int, bytes], None] | None = None,
) -> list[bytes]:
    """Let a model write on from each prompt.

    Parameters
    ----------
    model : MoETransformer
    tokenizer : Tokenizer
    prompts : sequence of bytes
    n_tokens : int
        At most so many for each.
    temperature, top_k, top_p
        See `generate_batch`.
    seed : int
        Row r draws with seed + r, so that it writes the same alone.
    stop : sequence of bytes
        What ends a text; it is left out of it, and what follows it too. The prompt does not count.
    on_text : callable, optional
        Called with the row and what it has written since, as soon as no `stop` can begin in it.

    Returns
    -------
    list of bytes
        Each prompt with what was added.

    Raises
    ------
    ValueError
        If a number is out of range, or a stop is empty.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> from moe_lessons.data import BYTES
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, context_length=8))
    >>> [len(text) for text in write_on(model, BYTES, [b"one", b"three"], 10)]
    [13, 15]
    """
    if any(not text for text in stop):
        raise ValueError("stop is empty: give the text that ends what is written")
    written = [bytearray() for _ in prompts]
    tokens: list[list[int]] = [[] for _ in prompts]
    shown = [0] * len(prompts)
    held_back = max((len(text) - 1 for text in stop), default=0)
    whole = isinstance(tokenizer, LibraryTokenizer)  # its tokens are not made of bytes

    def on_token(row: int, token: int) -> bool:
        tokens[row].append(token)
        before = len(written[row])
        if whole:
            written[row][:] = tokenizer.decode(torch.tensor(tokens[row]))
        else:
            written[row] += tokenizer.decode(torch.tensor([token]))
        look_from = 0 if whole else max(0, before - held_back)
        found = [place for text in stop if (place := written[row].find(text, look_from)) >= 0]
        if found:
            del written[row][min(found) :]
        sure = len(written[row]) if found else max(shown[row], len(written[row]) - held_back)
        if on_text is not None and sure > shown[row]:
            on_text(row, bytes(written[row][shown[row] : sure]))
            shown[row] = sure
        return bool(found)

    generate_batch(
        model,
        [tokenizer.encode(prompt) for prompt in prompts],
        n_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generators=[torch.Generator().manual_seed(seed + row) for row in range(len(prompts))],
        on_token=on_token,
    )
    if on_text is not None:
        for row, text in enumerate(written):
            if len(text) > shown[row]:
                on_text(row, bytes(text[shown[row] :]))
    return [prompt + bytes(text) for prompt, text in zip(prompts, written, strict=True)]
