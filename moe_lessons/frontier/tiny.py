"""A small decoder of exchangeable parts, and the loop that trains it: what lesson 16's ideas are put into.

Shapes: B sequences, L positions, D width, H heads, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.layer import MoELayer
from moe_lessons.steps import each

Batch = Callable[[int], tuple[Tensor, Tensor]]


class CausalAttention(nn.Module):
    """Attention in which every position sees itself and the earlier ones, or only some of the earlier ones.

    Examples
    --------
    >>> CausalAttention(8, n_heads=2)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, hidden_BLD: Tensor, seen_BL: Tensor | None = None) -> Tensor:
        """Mix positions; of the earlier ones only those that `seen_BL` marks, if it is given."""
        B, L, D = hidden_BLD.shape
        q, k, v = self.qkv(hidden_BLD).view(B, L, 3, self.n_heads, D // self.n_heads).permute(2, 0, 3, 1, 4)
        mask = torch.ones(L, L, dtype=torch.bool).tril()
        if seen_BL is not None:
            mask = mask & (seen_BL[:, None, None, :] | torch.eye(L, dtype=torch.bool))
        mixed_BHLP = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed_BHLP.transpose(1, 2).reshape(B, L, D))


class Balanced(nn.Module):
    """A MoE layer that returns its output and a hundredth of its load-balancing loss.

    Examples
    --------
    >>> hidden, loss = Balanced(MoELayer(8, 4, n_experts=4, top_k=2))(torch.zeros(1, 3, 8))
    >>> hidden.shape, loss.ndim
    (torch.Size([1, 3, 8]), 0)
    """

    def __init__(self, layer: MoELayer, weight: float = 0.01) -> None:
        super().__init__()
        self.layer, self.weight = layer, weight

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's output for (..., D), and what is added to the training loss."""
        output = self.layer(hidden)
        return output.hidden, self.weight * self.layer.aux_loss(output)


class Block(nn.Module):
    """Two updates of the stream: `mixer` lets positions see each other, `feed_forward` works on each.

    Parameters
    ----------
    d_model : int
    mixer : Module
        From (B, L, D) to (B, L, D).
    feed_forward : Module
        The same; may return a pair, whose second part is added to the training loss.
    """

    def __init__(self, d_model: int, mixer: nn.Module, feed_forward: nn.Module) -> None:
        super().__init__()
        self.mixer_norm, self.mixer = nn.RMSNorm(d_model), mixer
        self.feed_forward_norm, self.feed_forward = nn.RMSNorm(d_model), feed_forward

    def update(self, stream_BLD: Tensor, *seen_BL: Tensor) -> tuple[Tensor, Any]:
        """Return what this block would add to the stream, and to the training loss."""
        mixed_BLD = self.mixer(self.mixer_norm(stream_BLD), *seen_BL)
        worked = self.feed_forward(self.feed_forward_norm(stream_BLD + mixed_BLD))
        worked_BLD, extra = worked if isinstance(worked, tuple) else (worked, 0.0)
        return mixed_BLD + worked_BLD, extra

    def forward(self, stream_BLD: Tensor) -> tuple[Tensor, Any]:
        """Return the stream after both updates, and what is added to the training loss."""
        update_BLD, extra = self.update(stream_BLD)
        return stream_BLD + update_BLD, extra


def mlp(d_model: int, d_hidden: int) -> nn.Sequential:
    """Return a plain feed-forward network with one hidden layer.

    Examples
    --------
    >>> mlp(8, 16)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """
    return nn.Sequential(nn.Linear(d_model, d_hidden), nn.SiLU(), nn.Linear(d_hidden, d_model))


class TinyModel(nn.Module):
    """A decoder: embeddings of tokens and positions, the given blocks, a norm, and a head.

    Parameters
    ----------
    blocks : callable
        Returns the list of blocks; called after `seed` was set, so that a seed determines all weights.
    d_model, vocab_size, context_length : int
    seed : int
    position_std : float
        Of the positions' first embeddings; those of the tokens begin with 1.
    memory : callable, optional
        Returns a module that takes the stream and the tokens; what it returns is added before block 1.

    Examples
    --------
    >>> model = TinyModel(lambda: [Block(8, CausalAttention(8, 2), mlp(8, 16))], 8, 256, context_length=4)
    >>> logits_BLV, extra = model(torch.zeros(1, 4, dtype=torch.int64))
    >>> logits_BLV.shape, extra
    (torch.Size([1, 4, 256]), 0.0)
    """

    def __init__(
        self,
        blocks: Callable[[], Sequence[nn.Module]],
        d_model: int,
        vocab_size: int,
        context_length: int,
        *,
        seed: int = 0,
        position_std: float = 1.0,
        memory: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = nn.Embedding(vocab_size, d_model)
            self.positions = nn.Embedding(context_length, d_model)
            self.blocks = nn.ModuleList(blocks())
            self.norm, self.head = nn.RMSNorm(d_model), nn.Linear(d_model, vocab_size)
            self.positions.weight.data.mul_(position_std)
            self.memory = memory() if memory else None

    def forward(self, tokens_BL: Tensor) -> tuple[Tensor, Any]:
        """Return logits (B, L, V), and what is added to the training loss."""
        stream_BLD = self.tokens(tokens_BL) + self.positions.weight[: tokens_BL.shape[1]]
        total: Any = 0.0
        for i, block in enumerate(self.blocks):
            if i == 1 and self.memory is not None:
                stream_BLD = stream_BLD + self.memory(stream_BLD, tokens_BL)
            stream_BLD, extra = block(stream_BLD)
            total = total + extra
        return self.head(self.norm(stream_BLD)), total


def fit(
    model: nn.Module,
    batch: Batch,
    steps: int,
    *,
    lr: float,
    warmup: int = 0,
    weight_decay: float = 0.0,
    after: Callable[[int], None] | None = None,
) -> list[float]:
    """Train with AdamW, gradients clipped at 1, a warm-up, and a rate that falls to 0 along a line.

    Parameters
    ----------
    model : Module
        Returns logits (B, L, V), and what is added to the loss.
    batch : callable
        From the step's number to inputs and targets, both (B, L); a target of -100 does not count.
    steps : int
    lr : float
        The highest rate.
    warmup : int
        Steps until then.
    weight_decay : float
    after : callable, optional
        Called with the step's number after each.

    Returns
    -------
    list of float
        Each step's loss in bits, without what is added.

    Examples
    --------
    >>> model = TinyModel(lambda: [Block(8, CausalAttention(8, 2), mlp(8, 16))], 8, 2, context_length=4)
    >>> ones = torch.ones(16, 4, dtype=torch.int64)
    >>> losses = fit(model, lambda step: (ones, ones), 30, lr=0.01)
    >>> losses[-1] < 0.5 < losses[0]
    True
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    losses = []
    for step in each(range(steps), "step"):
        rate = lr * (step + 1) / warmup if step < warmup else lr * (steps - step) / (steps - warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs_BL, targets_BL = batch(step)
        logits_BLV, extra = model(inputs_BL)
        loss = F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten())
        losses.append(loss.item() / math.log(2))
        optimizer.zero_grad()
        (loss + extra).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if after:
            after(step)
    return losses


@torch.no_grad()
def bits(model: nn.Module, inputs_NL: Tensor, targets_NL: Tensor, batch_size: int = 512) -> float:
    """Return the mean loss of a model in bits, in evaluation mode.

    Examples
    --------
    >>> model = TinyModel(lambda: [], 8, 2, context_length=4)
    >>> _ = [p.data.zero_() for p in model.head.parameters()]
    >>> round(bits(model, torch.zeros(3, 4, dtype=torch.int64), torch.ones(3, 4, dtype=torch.int64)), 6)
    1.0
    """
    was_training = model.training
    model.eval()
    total = 0.0
    for inputs_BL, targets_BL in zip(inputs_NL.split(batch_size), targets_NL.split(batch_size), strict=True):
        logits_BLV, _ = model(inputs_BL)
        total += F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten(), reduction="sum").item()
    model.train(was_training)
    return total / targets_NL.numel() / math.log(2)
