"""Speculative decoding: a cheap draft guesses tokens, one pass of the model checks them all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from moe_lessons.model import MoETransformer


class Draft(Protocol):
    """What guesses: see `moe_lessons.serving.drafts`."""

    vocab_size: int

    def propose(
        self, tokens: Sequence[int], gamma: int, temperature: float, generator: torch.Generator | None
    ) -> tuple[list[int], Tensor]:
        """Guess up to `gamma` tokens after these; return them and the distributions drawn from, (G, V)."""


def distribution(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits (..., V) into the probabilities that tokens are drawn with; at 0 all goes to the likeliest.

    Examples
    --------
    >>> distribution(torch.tensor([0.0, 2.0]), 0.0)
    tensor([0., 1.])
    """
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    return (logits.float() / temperature).softmax(-1)


def accept(p_HV: Tensor, q_GV: Tensor, drafted_G: Sequence[int], u_H: Sequence[float]) -> list[int]:
    """Decide which drafted tokens stay, and draw the one after them, so that all are distributed as p.

    Token x stays if u q(x) < p(x). The first that does not is replaced by one drawn from the part of p that
    q lacks, (p - q)+ made a distribution; behind it, nothing stays. If all stay, p gives one more.

    Parameters
    ----------
    p_HV : Tensor of shape (G + 1, V)
        The model's distributions, at each drafted place and at the one after.
    q_GV : Tensor of shape (G, V)
        Those that the draft drew from.
    drafted_G : sequence of int
    u_H : sequence of float
        G + 1 numbers, spread evenly from 0 to below 1: one for each decision and the last for what is drawn.

    Returns
    -------
    list of int
        1 to G + 1 tokens.

    Raises
    ------
    ValueError
        If shapes do not fit, or the draft has another vocabulary.

    References
    ----------
    Leviathan et al., arXiv:2211.17192, algorithm 1; Chen et al., arXiv:2302.01318, algorithm 2.

    Examples
    --------
    >>> p_HV, q_GV = torch.tensor([[0.2, 0.8], [1.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    >>> accept(p_HV, q_GV, [0], [0.1, 0.5]), accept(p_HV, q_GV, [0], [0.7, 0.5])
    ([0, 0], [1])
    """
    G, V = len(drafted_G), p_HV.shape[-1]
    if p_HV.shape != (G + 1, V) or q_GV.shape != (G, V) or len(u_H) != G + 1:
        raise ValueError(
            f"p is {tuple(p_HV.shape)}, q is {tuple(q_GV.shape)}, with {G} drafted tokens and {len(u_H)} "
            f"chances: give ({G + 1}, V), ({G}, V) and {G + 1}, of one vocabulary"
        )
    for place, token in enumerate(drafted_G):
        p_V, q_V = p_HV[place], q_GV[place]
        if u_H[place] * float(q_V[token]) >= float(p_V[token]):
            missing_V = (p_V - q_V).clamp_min(0)
            # Where p and q are equal but for rounding, nothing is missing, and p itself is as right.
            return [*drafted_G[:place], _draw(missing_V if missing_V.sum() > 0 else p_V, u_H[-1])]
    return [*drafted_G, _draw(p_HV[-1], u_H[-1])]


def _draw(weights_V: Tensor, u: float) -> int:
    """The token at which the running sum passes a share u of it all."""
    sums_V = weights_V.double().cumsum(0)
    place = int(torch.searchsorted(sums_V, u * float(sums_V[-1]), right=True))
    return min(place, int(weights_V.nonzero()[-1]))


@dataclass
class Counts:
    """What speculation did.

    Attributes
    ----------
    drafted, accepted, written : int
        Tokens.
    touched : list of float
        Of each check, the different experts that its tokens chose, averaged over layers.
    """

    drafted: int = 0
    accepted: int = 0
    written: int = 0
    touched: list[float] = field(default_factory=list)

    @property
    def checks(self) -> int:
        """How often the model ran."""
        return len(self.touched)

    @property
    def tokens_per_check(self) -> float:
        """Tokens for one pass of the model; 1 without a draft."""
        return self.written / max(1, self.checks)

    @property
    def experts_per_check(self) -> float:
        """Experts of a layer that a pass reads."""
        return sum(self.touched) / max(1, self.checks)

    @property
    def experts_per_token(self) -> float:
        """Experts of a layer that are read for each token; K without a draft."""
        return sum(self.touched) / max(1, self.written)


@torch.no_grad()
def speculative_generate(
    model: MoETransformer,
    draft: Draft,
    prompt: Tensor,
    n: int,
    gamma: int,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Counts]:
    """Continue a prompt with a draft's help: distributed as without, and at temperature 0 the same tokens.

    "The same" holds where no two logits are equal but for rounding: a check multiplies several tokens at
    once, plain generation one, and sums may be taken in another order.

    Parameters
    ----------
    model : MoETransformer
    draft : Draft
        From `moe_lessons.serving.drafts`.
    prompt : Tensor of shape (L,), int64
    n : int
        Tokens to add; with the prompt, at most the model's context.
    gamma : int
        Tokens that the draft guesses; fewer where fewer are wanted.
    temperature : float
        0 takes the likeliest token.
    generator : torch.Generator, optional

    Returns
    -------
    tokens : Tensor of shape (L + n,), int64
    counts : Counts
        Without the reading of the prompt.

    Raises
    ------
    ValueError
        If the prompt is empty, all does not fit into the context, gamma is negative, or the draft has another
        vocabulary.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> from moe_lessons.serving import fewer_experts
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8))
    >>> tokens, counts = speculative_generate(model, fewer_experts(model, 1), torch.tensor([77]), 9, gamma=3)
    >>> len(tokens), counts.checks <= 9
    (10, True)
    """
    _check(model, draft, prompt, n, gamma)
    was_training = model.training
    model.eval()
    tokens: list[int] = prompt.tolist()
    device = model.embedding.weight.device
    caches, counts = model.new_caches(), Counts()
    if len(tokens) > 1:
        model(prompt[None, :-1].to(device), caches=caches)
    while (left := len(prompt) + n - len(tokens)) > 0:
        ahead = min(gamma, left - 1)
        drafted, q_GV = draft.propose(tokens, ahead, temperature, generator)
        read = caches[0].length
        output = model(torch.tensor([tokens[read:] + drafted], device=device), caches=caches)
        p_HV = distribution(output.logits_BLV[0, -len(drafted) - 1 :].cpu(), temperature)
        u_H = torch.rand(len(drafted) + 1, generator=generator).tolist()
        new = accept(p_HV, q_GV, drafted, u_H)
        tokens += new
        # What was computed for rejected tokens goes; the last token is not in the caches yet.
        for cache in caches:
            cache.cut(len(tokens) - 1)
        counts.drafted += len(drafted)
        counts.accepted += len(new) - 1
        counts.written += len(new)
        distinct = [len(routing.topk_ids_TK.unique()) for routing in output.routings]
        counts.touched.append(sum(distinct) / max(1, len(distinct)))
    model.train(was_training)
    return torch.tensor(tokens), counts


def _check(model: MoETransformer, draft: Draft, prompt: Tensor, n: int, gamma: int) -> None:
    if prompt.dim() != 1 or not len(prompt):
        raise ValueError("prompt is empty or not a vector: give at least one token")
    if n < 0 or gamma < 0:
        raise ValueError(f"n={n}, gamma={gamma}: choose 0 or more of each")
    context = model.config.context_length
    if len(prompt) + n > context:
        raise ValueError(
            f"prompt has {len(prompt)} tokens and n={n}: together at most context_length={context}"
        )
    if draft.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"draft has a vocabulary of {draft.vocab_size}: give one that knows the model's "
            f"{model.config.vocab_size} tokens"
        )
