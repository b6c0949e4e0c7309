"""Mixture-of-depths: a block that only a share of the positions passes, and who decides which.

Shapes: B sequences, L positions, D width.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.frontier.tiny import Block

Decide = str | Callable[[Tensor], Tensor]
DECIDE = ("topk", "predictor", "running")
ROUNDING = 1e-6  # 0.6 * 5 is a little more than 3 in floating point: it counts as 3


def _check(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}: choose a number above 0, and at most 1")


def sequence_topk(scores_BL: Tensor, share: float) -> Tensor:
    """Let the best ``ceil(share * L)`` positions of each *whole* sequence pass.

    Whether a position is among them depends on the later ones: this looks into the future.

    Parameters
    ----------
    scores_BL : Tensor of shape (B, L)
    share : float
        Above 0, at most 1.

    Returns
    -------
    bool Tensor of shape (B, L)

    Raises
    ------
    ValueError
        If the share is out of range.

    References
    ----------
    Raposo et al., "Mixture-of-Depths", arXiv:2404.02258, section 3.

    Examples
    --------
    >>> sequence_topk(torch.tensor([[1.0, 3.0, 2.0, 4.0]]), 0.5)
    tensor([[False,  True, False,  True]])
    """
    _check(share)
    best_BK = scores_BL.topk(math.ceil(share * scores_BL.shape[1] - ROUNDING), dim=1).indices
    return torch.zeros_like(scores_BL, dtype=torch.bool).scatter(1, best_BK, True)


def causal_depth(scores_BL: Tensor, share: float) -> Tensor:
    """Let a position pass if it is among the ``ceil(share * (t + 1))`` best of positions 0 to t.

    No later position has a say. The first one always passes.

    Parameters
    ----------
    scores_BL : Tensor of shape (B, L)
    share : float
        Above 0, at most 1.

    Returns
    -------
    bool Tensor of shape (B, L)

    Raises
    ------
    ValueError
        If the share is out of range.

    Examples
    --------
    >>> causal_depth(torch.tensor([[1.0, 3.0, 2.0, 4.0]]), 0.5)
    tensor([[True, True, True, True]])
    >>> causal_depth(torch.tensor([[4.0, 1.0, 3.0, 2.0]]), 0.5)
    tensor([[ True, False,  True, False]])
    """
    _check(share)
    beaten_BL = (scores_BL.unsqueeze(1) > scores_BL.unsqueeze(2)).tril().sum(-1)
    return beaten_BL < torch.ceil(share * torch.arange(1, scores_BL.shape[1] + 1) - ROUNDING)


def causal_depth_loop(scores_BL: Tensor, share: float) -> Tensor:
    """Compute what `causal_depth` does, one prefix after the other.

    Examples
    --------
    >>> causal_depth_loop(torch.tensor([[4.0, 1.0, 3.0, 2.0]]), 0.5)
    tensor([[ True, False,  True, False]])
    """
    _check(share)
    passes_BL = torch.zeros_like(scores_BL, dtype=torch.bool)
    for t in range(scores_BL.shape[1]):
        passes_BL[:, t] = sequence_topk(scores_BL[:, : t + 1], share)[:, t]
    return passes_BL


class MoDBlock(Block):
    """A block that a share of the positions passes; the others keep their stream as it is.

    Positions that do not pass are not seen by the others' attention either, as if they were absent. All of
    them are computed here and then masked, so this shows what the idea does to the loss, not what it saves.

    Parameters
    ----------
    d_model : int
    mixer : Module
        Takes (B, L, D), and which positions are seen.
    feed_forward : Module
    share : float
        Above 0, at most 1.
    decide : str or callable
        "topk": the best of the whole sequence, as the paper trains; it leaks the future. "predictor": a
        small network that sees one position and is trained to say what top-k would. "running":
        `causal_depth`. Or a function from scores (B, L) to a bool mask.

    Attributes
    ----------
    passed_BL : bool Tensor
        Who passed in the last call.

    Raises
    ------
    ValueError
        If `decide` is unknown or the share out of range.

    References
    ----------
    Raposo et al., "Mixture-of-Depths", arXiv:2404.02258, sections 3 and 3.5.

    Examples
    --------
    >>> from moe_lessons.frontier.tiny import CausalAttention, mlp
    >>> block = MoDBlock(8, CausalAttention(8, 2), mlp(8, 16), share=0.5)
    >>> stream_BLD, _ = block(torch.randn(1, 4, 8))
    >>> int(block.passed_BL.sum())
    2
    """

    def __init__(
        self,
        d_model: int,
        mixer: nn.Module,
        feed_forward: nn.Module,
        share: float,
        decide: Decide = "topk",
    ) -> None:
        super().__init__(d_model, mixer, feed_forward)
        _check(share)
        if isinstance(decide, str) and decide not in DECIDE:
            raise ValueError(f"decide is {decide!r}: choose one of {', '.join(DECIDE)}, or give a function")
        self.share, self.decide = share, decide
        self.router = nn.Linear(d_model, 1)
        self.predictor = nn.Sequential(nn.Linear(d_model, 16), nn.SiLU(), nn.Linear(16, 1))
        self.passed_BL = torch.zeros(0, 0, dtype=torch.bool)

    def forward(self, stream_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stream, and a tenth of the predictor's loss."""
        scores_BL = self.router(stream_BLD).squeeze(-1)
        best_BL = sequence_topk(scores_BL, self.share)
        # The predictor learns from the stream and does not change it.
        guess_BL = self.predictor(stream_BLD.detach()).squeeze(-1)
        if callable(self.decide):
            self.passed_BL = self.decide(scores_BL)
        elif self.decide == "running":
            self.passed_BL = causal_depth(scores_BL, self.share)
        else:
            self.passed_BL = best_BL if self.decide == "topk" else guess_BL > 0
        update_BLD, extra = self.update(stream_BLD, self.passed_BL)
        gate_BL = self.passed_BL * scores_BL.sigmoid()  # the router's gradient comes through the gate
        loss = F.binary_cross_entropy_with_logits(guess_BL, best_BL.to(guess_BL.dtype))
        return stream_BLD + gate_BL.unsqueeze(-1) * update_BLD, extra + 0.1 * loss


def decide_by(model: nn.Module, decide: Decide) -> nn.Module:
    """Let all of a model's mixture-of-depths blocks decide in another way, with the weights they have.

    Examples
    --------
    >>> from moe_lessons.frontier.tiny import CausalAttention, mlp
    >>> block = MoDBlock(8, CausalAttention(8, 2), mlp(8, 16), share=0.5)
    >>> decide_by(block, "running").decide
    'running'
    """
    for block in model.modules():
        if isinstance(block, MoDBlock):
            block.decide = decide
    return model
