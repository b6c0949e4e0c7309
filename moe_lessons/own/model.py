"""A decoder of one's own parts, on one screen.

Shapes: B sequences of L tokens, T = B * L; D width, H query and G key-value heads of width P, E experts, K of
them per token, N layers, V values of a token.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from moe_lessons.config import ModelConfig
from moe_lessons.model import Attention, Block, MoETransformer
from moe_lessons.model.attention import rotate
from moe_lessons.own.parts import Parts

Purpose = Literal["train", "evaluate", "write"]


class OwnOutput(NamedTuple):
    """Logits for each token's successor, and the routers' logits, except in evaluation, where nobody asks."""

    logits_BLV: Tensor
    router_logits_NTE: Tensor | None


class OwnTransformer(nn.Module):
    """A Mixture-of-Experts transformer whose arithmetic is `parts`.

    What no exercise asks for is the package's: the weights and their first values, the embedding, norms,
    rotary positions, the maps around attention. They lie in `frame`, a `MoETransformer` that computes the
    same by the package's own code.

    Parameters
    ----------
    parts : Parts
    config : ModelConfig
        With Mixtral's gate, experts in every layer, and none that every token passes.
    generator : torch.Generator, optional
        Source of the initial weights.

    Raises
    ------
    ValueError
        If the parts cannot compute such a model.

    Examples
    --------
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, d_expert=8)
    >>> model = OwnTransformer(Parts.published(), config)
    >>> tokens_BL = torch.tensor([[77, 111, 69]])
    >>> ours, theirs = (model(tokens_BL).logits_BLV, model.frame(tokens_BL).logits_BLV)
    >>> torch.allclose(ours, theirs, atol=1e-5)
    True
    """

    def __init__(
        self, parts: Parts, config: ModelConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if config.gate != "topk_softmax" or config.expert_bias or config.routed_scale != 1:
            raise ValueError(
                f"gate is {config.gate!r}, expert_bias {config.expert_bias}, routed_scale "
                f"{config.routed_scale}: "
                "the parts make Mixtral's gate; choose 'topk_softmax' without a bias or a scale"
            )
        if config.n_shared_experts or config.n_moe_layers < config.n_layers:
            raise ValueError(
                f"n_shared_experts is {config.n_shared_experts}, n_moe_layers {config.n_moe_layers} of "
                f"{config.n_layers}: the parts make routed experts; leave out shared experts and dense layers"
            )
        self.parts, self.config = parts, config
        self.frame = MoETransformer(config, generator=generator)

    @property
    def blocks(self) -> list[Block]:
        """The frame's blocks, first to last."""
        return [block for block in self.frame.blocks if isinstance(block, Block)]

    def forward(self, tokens_BL: Tensor, purpose: Purpose = "train") -> OwnOutput:
        """Predict each token's successor."""
        stream_BLD = self.frame.embedding(tokens_BL)
        seen: list[Tensor] = []
        for block in self.blocks:
            stream_BLD = stream_BLD + self.attend(block.attention, block.attention_norm(stream_BLD))
            stream_BLD = self.mix(block, stream_BLD.flatten(0, 1), purpose, seen).view_as(stream_BLD)
        logits_BLV = self.frame.head(self.frame.final_norm(stream_BLD))
        return OwnOutput(logits_BLV, torch.stack(seen) if seen else None)

    def attend(self, attention: Attention, hidden_BLD: Tensor) -> Tensor:
        """Let each token look at those before it."""
        B, L, _ = hidden_BLD.shape
        q_BHLP, k_BGLP, v_BGLP = (
            project(hidden_BLD).view(B, L, -1, self.config.d_head).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        turns = self.frame.cos_LP[:L], self.frame.sin_LP[:L]
        mixed_BHLP = self.parts.causal_attention(rotate(q_BHLP, *turns), rotate(k_BGLP, *turns), v_BGLP)
        return attention.o_proj(mixed_BHLP.transpose(1, 2).flatten(2))

    def mix(self, block: Block, stream_TD: Tensor, purpose: Purpose, seen: list[Tensor]) -> Tensor:
        """Let K experts add to each token; what the router said is added to `seen`."""
        parts, top_k, norm = self.parts, self.config.top_k, block.moe_norm
        router_ED = block.moe.router.weight
        gate_up, down = block.moe.experts.gate_up_proj, block.moe.experts.down_proj
        if purpose == "evaluate":  # nobody asks what the router said
            return parts.moe_block(stream_TD, norm.weight, router_ED, gate_up, down, top_k, norm.eps)
        normed_TD = norm(stream_TD)
        logits_TE = parts.router_logits(normed_TD, router_ED)
        ids_TK, weights_TK = parts.topk_gates(logits_TE, top_k, True)
        seen.append(logits_TE)
        if purpose == "train":
            return stream_TD + parts.moe_sorted(normed_TD, ids_TK, weights_TK, gate_up, down)[0]
        # A few tokens: all experts in three products cost less than sorting the rows.
        answers_ETD = parts.expert_bank(normed_TD, gate_up, down, False)
        chosen_TKD = answers_ETD[ids_TK, torch.arange(len(ids_TK))[:, None]]
        return stream_TD + (weights_TK[..., None] * chosen_TKD).sum(dim=1)
