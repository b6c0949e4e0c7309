"""A small serving engine: requests share the model's steps, and each writes what it would write alone."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.model import MoETransformer
from moe_lessons.model.generation import draw
from moe_lessons.model.transformer import Block
from moe_lessons.serving.quantise import Bits
from moe_lessons.serving.slots import SlotCache
from moe_lessons.serving.store import ExpertStore, Key, offloaded


@dataclass
class Ticket:
    """One request, and what has been written for it.

    Attributes
    ----------
    number : int
    tokens : list of int
        Prompt and what was added.
    n_tokens : int
        How many are to be added.
    """

    number: int
    tokens: list[int]
    n_prompt: int
    n_tokens: int
    temperature: float
    generator: torch.Generator | None = field(repr=False)
    slot: int = -1

    @property
    def done(self) -> bool:
        """Whether all has been written."""
        return len(self.tokens) - self.n_prompt >= self.n_tokens


class Pass(NamedTuple):
    """One pass of the model, as the engine counted it.

    Attributes
    ----------
    rows, tokens : int
        Requests in it, and tokens: a prompt is one row of many tokens, a step of decoding one token a row.
    touched : tuple of int
        Different experts that they chose, layer by layer.
    """

    rows: int
    tokens: int
    touched: tuple[int, ...]


class Engine:
    """Serves many requests with one model: continuous batching over slots with key-value caches.

    A request gets the first free slot; its prompt is read alone and at once; from then on it writes a
    token in each step, together with all others. It writes what `moe_lessons.model.generate` writes for it
    alone, except where two logits are equal but for rounding: products of several rows may add up in
    another order.

    Parameters
    ----------
    model : MoETransformer
        On the CPU.
    slots : int
        Requests that are served at once.
    limit_bytes : int, optional
        Keep at most so many bytes of experts in memory and read the others from a file when they are wanted.
        The model that is given has its experts still, for as long as somebody holds it.
    policy : str
        What makes room: see `moe_lessons.serving.ExpertStore`.
    bits : int or nested list of int of shape (L, E), optional
        4 or 8: experts are kept in codes and scales, and turned into weights when they are used.
    keep : iterable of (layer, expert)
        What is in memory at the beginning.

    Attributes
    ----------
    passes : list of Pass
    store : ExpertStore or None
        None where neither a limit nor bits are given.

    Raises
    ------
    ValueError
        If there is no slot, the limit is smaller than one layer's experts, or the model is not on the CPU.

    References
    ----------
    Yu et al., "Orca", OSDI 2022 (iteration-level scheduling).

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> from moe_lessons.model import generate
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, context_length=32))
    >>> engine = Engine(model, slots=2)
    >>> prompts = [torch.arange(n) for n in (3, 1, 6)]
    >>> for prompt in prompts:
    ...     number = engine.submit(prompt, n_tokens=5)
    >>> texts = engine.drain()
    >>> [torch.equal(text, generate(model, prompt, 5, temperature=0)) for text, prompt in zip(texts, prompts)]
    [True, True, True]
    """

    def __init__(
        self,
        model: MoETransformer,
        slots: int,
        *,
        limit_bytes: int | None = None,
        policy: str = "lru",
        bits: Bits | None = None,
        keep: Iterable[Key] = (),
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots={slots}: choose 1 or more")
        if (device := model.embedding.weight.device).type != "cpu":
            raise ValueError(f"model is on {device}: the engine runs on the CPU, give model.cpu()")
        self.store = None
        if limit_bytes is not None or bits is not None:
            stored_bits = 32 if bits is None else bits
            self.store = ExpertStore(model, limit_bytes, policy=policy, bits=stored_bits, keep=keep)
            model = offloaded(model, self.store)
        self.model = model
        self.passes: list[Pass] = []
        self._caches = [SlotCache(slots, model.config.context_length) for _ in model.blocks]
        self._free = list(range(slots))
        self._waiting: deque[Ticket] = deque()
        self._active: list[Ticket] = []
        self._finished: list[Ticket] = []
        self._submitted = 0

    def submit(
        self,
        prompt: Tensor,
        n_tokens: int,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> int:
        """Put a request into the queue.

        Parameters
        ----------
        prompt : Tensor of shape (L,), int64
        n_tokens : int
            How many to add; with the prompt, at most the model's context.
        temperature : float
            0 takes the likeliest token.
        generator : torch.Generator, optional
            Source of this request's draws, so that it writes the same in any company.

        Returns
        -------
        int
            The request's number, counted from 0.

        Raises
        ------
        ValueError
            If the prompt is empty or holds no tokens of the model, the request does not fit into the
            context, or a number is negative.
        """
        config = self.model.config
        if prompt.dim() != 1 or not len(prompt):
            raise ValueError("prompt is empty or not a vector: give at least one token")
        if not 0 <= int(prompt.min()) <= int(prompt.max()) < config.vocab_size:
            raise ValueError(f"prompt holds a token outside 0 to {config.vocab_size - 1}, the vocabulary")
        if n_tokens < 0 or not 0 <= temperature < float("inf"):
            raise ValueError(f"n_tokens={n_tokens}, temperature={temperature}: choose 0 or more of each")
        if len(prompt) + n_tokens > config.context_length:
            raise ValueError(
                f"prompt has {len(prompt)} tokens and n_tokens={n_tokens}: together at most "
                f"context_length={config.context_length}"
            )
        ticket = Ticket(self._submitted, prompt.tolist(), len(prompt), n_tokens, temperature, generator)
        self._submitted += 1
        (self._finished if ticket.done else self._waiting).append(ticket)
        return ticket.number

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nobody writes."""
        return not self._waiting and not self._active

    @torch.no_grad()
    def step(self) -> dict[int, int]:
        """Let every request that is in a slot write a token, and read the prompts of those that get one.

        Returns
        -------
        dict of int to int
            The new token of each request, by its number; empty where there is nothing to do.
        """
        new: dict[int, int] = {}
        if self._active:
            last_B1 = torch.tensor([ticket.tokens[-1:] for ticket in self._active])
            self._run(self._active, last_B1, new)
        while self._waiting and self._free:
            ticket = self._waiting.popleft()
            ticket.slot = self._free.pop(0)
            self._active.append(ticket)
            self._run([ticket], torch.tensor([ticket.tokens]), new)
        for ticket in [ticket for ticket in self._active if ticket.done]:
            self._active.remove(ticket)
            self._free.append(ticket.slot)
            self._finished.append(ticket)
        self._free.sort()
        return new

    def drain(self) -> list[Tensor]:
        """Serve until nobody is left.

        Returns
        -------
        list of Tensor, int64
            Prompt and what was added, of all requests that have finished since the last call, in the order
            in which they were submitted.
        """
        while not self.idle:
            self.step()
        finished = sorted(self._finished, key=lambda ticket: ticket.number)
        self._finished = []
        return [torch.tensor(ticket.tokens) for ticket in finished]

    def _run(self, tickets: list[Ticket], tokens_BL: Tensor, new: dict[int, int]) -> None:
        """Pass tokens through the model, and give each request the token that follows its last."""
        B, L = tokens_BL.shape
        logits_BV = self._logits(tickets, tokens_BL)
        for ticket, logits_V in zip(tickets, logits_BV, strict=True):
            token = draw(logits_V, ticket.temperature, generator=ticket.generator)
            ticket.tokens.append(token)
            new[ticket.number] = token
        self.passes.append(Pass(B, B * L, tuple(self._touched)))

    def _logits(self, tickets: list[Ticket], tokens_BL: Tensor) -> Tensor:
        model, L = self.model, tokens_BL.shape[1]
        slot_B = torch.tensor([ticket.slot for ticket in tickets])
        start_B = torch.tensor([len(ticket.tokens) - L for ticket in tickets])
        place_BL = start_B[:, None] + torch.arange(L)
        cos_B1LP, sin_B1LP = model.cos_LP[place_BL][:, None], model.sin_LP[place_BL][:, None]
        stream_BLD = model.embedding(tokens_BL)
        self._touched: list[int] = []
        for block, cache in zip(model.blocks, self._caches, strict=True):
            rows = cache.rows(slot_B, start_B)
            stream_BLD, routing = block(stream_BLD, cos_B1LP, sin_B1LP, rows)
            if isinstance(block, Block):
                self._touched.append(len(routing.topk_ids_TK.unique()))
        return model.head(model.final_norm(stream_BLD[:, -1])).float()
