"""A small decoder whose feed-forward blocks are Mixture-of-Experts layers, built like Mixtral.

If asked for, some of its layers are dense, as in GShard (every other one) or DeepSeek (the first).

Shapes: B sequences, L tokens in each, D model width, P head width, V vocabulary, T = B*L tokens.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.config import ModelConfig
from moe_lessons.layer import MoELayer
from moe_lessons.linear import FeedForward, Linear
from moe_lessons.model.attention import Attention, KVCache, rotary_tables
from moe_lessons.routing import Routing

IGNORED = -100  # the target of a token that does not count, as `cross_entropy` has it

__all__ = ["MoETransformer", "ModelConfig", "ModelOutput", "parameter_counts"]


class ModelOutput(NamedTuple):
    """What a forward pass returns.

    Attributes
    ----------
    logits_BLV : Tensor, shape (B, L, V)
    loss : Tensor or None
        Mean cross entropy in nats, at least float32; None without targets. Auxiliary losses are not in it.
    routings : tuple of Routing
        One per MoE layer, its tensors with T = B*L rows.
    """

    logits_BLV: Tensor
    loss: Tensor | None
    routings: tuple[Routing, ...]


class Block(nn.Module):
    """One layer: attention, then experts, each on a normalised input and added to the stream."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.attention = Attention(config)
        self.moe_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.moe = MoELayer(
            config.d_model,
            config.d_expert,
            config.n_experts,
            config.top_k,
            gate=config.gate,
            expert_bias=config.expert_bias,
            routed_scale=config.routed_scale,
            n_shared_experts=config.n_shared_experts,
            generator=generator,
        )

    def forward(
        self,
        stream_BLD: Tensor,
        cos_LP: Tensor,
        sin_LP: Tensor,
        cache: KVCache | None = None,
        mask_BL: Tensor | None = None,
    ) -> tuple[Tensor, Routing]:
        """Return the stream after both updates, shape (B, L, D), and the routing of its tokens."""
        stream_BLD = stream_BLD + self.attention(self.attention_norm(stream_BLD), cos_LP, sin_LP, cache)
        update_BLD, routing = self.moe(self.moe_norm(stream_BLD), mask_BL)
        return stream_BLD + update_BLD, routing


class DenseBlock(nn.Module):
    """One layer without a choice: attention, then one feed-forward network that every token passes."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.ffn = FeedForward(config.d_model, config.d_feed_forward, generator=generator)

    def forward(
        self,
        stream_BLD: Tensor,
        cos_LP: Tensor,
        sin_LP: Tensor,
        cache: KVCache | None = None,
        mask_BL: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Return the stream after both updates, shape (B, L, D); there is no routing."""
        stream_BLD = stream_BLD + self.attention(self.attention_norm(stream_BLD), cos_LP, sin_LP, cache)
        return stream_BLD + self.ffn(self.ffn_norm(stream_BLD)), None


class MoETransformer(nn.Module):
    """A decoder-only transformer with a Mixture-of-Experts layer in every block, or in those asked for.

    Parameters
    ----------
    config : ModelConfig
    generator : torch.Generator, optional
        Source of the initial weights.

    References
    ----------
    Jiang et al., "Mixtral of Experts", arXiv:2401.04088.

    Examples
    --------
    >>> config = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_kv_heads=1, d_expert=8)
    >>> output = MoETransformer(config)(torch.tensor([[77, 111, 69]]))
    >>> output.logits_BLV.shape, output.routings[0].topk_ids_TK.shape
    (torch.Size([1, 3, 256]), torch.Size([3, 2]))
    """

    cos_LP: Tensor
    sin_LP: Tensor

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(
            Block(config, generator) if config.has_experts(layer) else DenseBlock(config, generator)
            for layer in range(config.n_layers)
        )
        self.final_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.head = Linear(config.d_model, config.vocab_size)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        cos_LP, sin_LP = rotary_tables(config.context_length, config.d_head, config.rope_theta)
        self.register_buffer("cos_LP", cos_LP, persistent=False)
        self.register_buffer("sin_LP", sin_LP, persistent=False)
        self.initialize(generator)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw each matrix from a normal distribution of deviation ``sqrt(2 / (5 D))``; norms start at one.

        What writes to the stream is scaled by ``1 / sqrt(2 * n_layers)``, so that its variance at
        the start does not grow with depth (GPT-2).

        References
        ----------
        Nguyen and Salazar, "Transformers without Tears", arXiv:1910.05895, section 2.2 (SmallInit).
        """
        deviation = math.sqrt(2 / (5 * self.config.d_model))
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                writes = name.endswith(("o_proj.weight", "down_proj"))
                scale = 1 / math.sqrt(2 * self.config.n_layers) if writes else 1.0
                parameter.normal_(0.0, deviation * scale, generator=generator)

    @property
    def moe_layers(self) -> list[MoELayer]:
        """The blocks' MoE layers, first to last."""
        return [block.moe for block in self.blocks if isinstance(block, Block)]

    def new_caches(self, n_padding_B: Tensor | None = None) -> list[KVCache]:
        """Return an empty cache for each block, with room for ``context_length`` tokens."""
        return [KVCache(self.config.context_length, n_padding_B) for _ in self.blocks]

    def forward(
        self,
        tokens_BL: Tensor,
        targets_BL: Tensor | None = None,
        *,
        mask_BL: Tensor | None = None,
        caches: list[KVCache] | None = None,
    ) -> ModelOutput:
        """Predict each token's successor.

        Parameters
        ----------
        tokens_BL : Tensor, int64, shape (B, L)
            L at most ``config.context_length``, the tokens in the caches included.
        targets_BL : Tensor, int64, shape (B, L), optional
            The tokens that follow; -100 marks those that do not count.
        mask_BL : Tensor, bool, shape (B, L), optional
            False for padding, which is routed nowhere and whose targets do not count. Attention does not see
            the mask: put padding last, where no real token looks.
        caches : list of KVCache, optional
            From `new_caches`, then from call to call: `tokens_BL` are the tokens after those given
            before, and only they are computed.

        Returns
        -------
        ModelOutput

        Raises
        ------
        ValueError
            If `tokens_BL` is not (B, L) or empty, or there are more tokens than ``context_length``.
        """
        if tokens_BL.dim() != 2 or tokens_BL.numel() == 0:
            raise ValueError(f"tokens_BL has shape {tuple(tokens_BL.shape)}: give (B, L), at least one token")
        L = tokens_BL.shape[1]
        start = caches[0].length if caches else 0
        if (limit := self.config.context_length) < start + L:
            cached = f" after {start} cached" if start else ""
            raise ValueError(f"tokens_BL has L={L} tokens{cached}: give at most context_length={limit}")
        stream_BLD = self.embedding(tokens_BL)
        cos_LP, sin_LP = self.cos_LP[start : start + L], self.sin_LP[start : start + L]
        routings = []
        for layer, block in enumerate(self.blocks):
            cache = caches[layer] if caches else None
            stream_BLD, routing = block(stream_BLD, cos_LP, sin_LP, cache, mask_BL)
            if routing is not None:
                routings.append(routing)
        logits_BLV = self.head(self.final_norm(stream_BLD))
        loss = None
        if targets_BL is not None:
            if mask_BL is not None:
                targets_BL = targets_BL.masked_fill(~mask_BL, IGNORED)
            wide = torch.promote_types(logits_BLV.dtype, torch.float32)
            loss = F.cross_entropy(logits_BLV.to(wide).flatten(0, 1), targets_BL.flatten())
        return ModelOutput(logits_BLV, loss, tuple(routings))

    def extra_repr(self) -> str:
        """Sizes and parameter counts, for printing."""
        total, active = parameter_counts(self)
        config = self.config
        return (
            f"vocab_size={config.vocab_size}, context_length={config.context_length}, "
            f"layers={config.n_layers} ({config.n_moe_layers} with experts), "
            f"parameters={total:,}, active={active:,} per token"
        )


def parameter_counts(model: MoETransformer) -> tuple[int, int]:
    """Count all parameters, and those that one token meets.

    Returns
    -------
    total, active : int
        `active` leaves out the E - K routed experts of each layer that a token does not choose.

    Examples
    --------
    >>> config = ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, n_experts=4, top_k=1)
    >>> total, active = parameter_counts(MoETransformer(config))
    >>> total - active == 3 * (3 * 16 * 8)
    True
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    idle = 0
    for module in model.modules():
        if isinstance(module, MoELayer):
            layer_total, layer_active = module.n_parameters()
            idle += layer_total - layer_active
    return total, total - idle
