"""A gate put together from its parts: what the gates of models in use are made of, one field each.

`gates` has the named gates, whose code is shorter to read. This one is what they have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.routing.base import TINY, Routing, biased, checked_logits
from moe_lessons.routing.gates import sqrt_softplus
from moe_lessons.routing.groups import limit_to_groups

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits_TE: logits_TE.softmax(dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrt_softplus": sqrt_softplus,
}


@dataclass(frozen=True)
class Gate:
    """Logits z -> capped -> scores s -> choice by s + bias, within groups -> weights -> times `scale`.

    Parameters
    ----------
    score : str
        A key of `SCORES`: s = softmax(z) over all experts, sigmoid(z), or sqrt(softplus(z))
        (`scoring_func`).
    renormalize : bool
        The chosen scores are divided by their sum (`norm_topk_prob`).
    eps : float
        Added to that sum: 1e-20 in DeepSeek's code, 1e-6 in LFM2, 0 in many.
    least_sum : float
        The sum counts as at least this: ERNIE's `moe_norm_min`.
    norm : float
        What is divided by is (sum of s^norm)^(1 / norm): DBRX's `moe_normalize_expert_weights`.
    scale : float
        Multiplies the weights at the end (`routed_scaling_factor`).
    bias_on : str
        What a selection bias is added to, for the choice alone: "scores", or "logits" as in Kolibri-1. They
        differ in the bias's unit, and in which total (of scores, of logits) a balanced choice makes largest.
    n_groups, topk_groups : int
        Each token keeps its best groups (`n_group`, `topk_group`). One group is no limit.
    group_best : int
        A group counts by the sum of its so many best (biased) scores: 2 in DeepSeek-V3, 1 in V2.
    outside : float
        What the scores of other groups count as: -inf, or 0 in AXK2, where a bias below 0 lets an expert of
        a group left out come before one of a group kept.
    logit_scale : float
        z is multiplied by it first (Muse Spark's `output_multiplier`).
    softcap : float, optional
        z becomes c tanh(z / c) (Laguna's `moe_router_logit_softcapping`).
    n_always : int
        The last so many experts are chosen by every token, beside the K: Inkling's shared experts, whose
        weights are renormalised together with the others.
    on_input : bool
        Whether the weight scales the expert's input, as in Llama-4.

    Raises
    ------
    ValueError
        If `score` or `bias_on` is unknown; when called, as `sigmoid_topk` and `group_limited_topk`.

    References
    ----------
    DeepSeek-V3, arXiv 2412.19437, eq. 12-16, with which most fields came.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0, 0.5]]).log()  # sigmoid(log x) = x / (1 + x)
    >>> Gate("sigmoid", scale=2.0)(logits_TE, 2).topk_weights_TK
    tensor([[1.5000, 1.0000]])
    >>> Gate("softmax", renormalize=True)(logits_TE, 2).topk_weights_TK  # 3/4 and 1/4
    tensor([[0.7500, 0.2500]])
    """

    score: str = "softmax"
    renormalize: bool = False
    eps: float = 0.0
    least_sum: float = 0.0
    norm: float = 1.0
    scale: float = 1.0
    bias_on: str = "scores"
    n_groups: int = 1
    topk_groups: int = 1
    group_best: int = 2
    outside: float = float("-inf")
    logit_scale: float = 1.0
    softcap: float | None = None
    n_always: int = 0
    on_input: bool = False

    def __post_init__(self) -> None:
        for name, known in (("score", tuple(SCORES)), ("bias_on", ("scores", "logits"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")

    @property
    def always_one(self) -> bool:
        """Whether with K = 1 every token's weight is the same, so that no gradient reaches the logits."""
        return self.renormalize and not self.n_always and not self.on_input

    def __call__(self, logits_TE: Tensor, top_k: int, *, expert_bias_E: Tensor | None = None) -> Routing:
        """Choose and weigh; the logits that `Routing` holds are the capped ones."""
        logits_TE = checked_logits(logits_TE, top_k) * self.logit_scale
        if self.softcap is not None:
            logits_TE = self.softcap * torch.tanh(logits_TE / self.softcap)
        scores_TE = SCORES[self.score](logits_TE)
        topk_ids_TK = self._choose(logits_TE, scores_TE, top_k, expert_bias_E)
        return Routing(logits_TE, topk_ids_TK, self._weigh(logits_TE, scores_TE, topk_ids_TK))

    def _choose(
        self, logits_TE: Tensor, scores_TE: Tensor, top_k: int, expert_bias_E: Tensor | None
    ) -> Tensor:
        n_experts = logits_TE.shape[1]
        # Scores underflow and saturate, logits do neither: they choose where they rank as the scores do.
        by_logit = self.bias_on == "logits" or (expert_bias_E is None and self.group_best == 1)
        by_logit = by_logit or (expert_bias_E is None and self.n_groups == 1)
        selection_TE = biased(logits_TE if by_logit else scores_TE, expert_bias_E)
        if self.n_always:
            selection_TE = selection_TE[:, : -self.n_always]
        if self.n_groups > 1:
            limits = self.n_groups, self.topk_groups
            outside = float("-inf") if by_logit else self.outside
            selection_TE = limit_to_groups(
                selection_TE, top_k, *limits, best=self.group_best, outside=outside
            )
        topk_ids_TK = selection_TE.topk(top_k, dim=-1).indices
        if not self.n_always:
            return topk_ids_TK
        always_A = torch.arange(n_experts - self.n_always, n_experts, device=topk_ids_TK.device)
        return torch.cat([topk_ids_TK, always_A.expand(len(topk_ids_TK), -1)], dim=1)

    def _weigh(self, logits_TE: Tensor, scores_TE: Tensor, topk_ids_TK: Tensor) -> Tensor:
        if not self.renormalize:
            return scores_TE.gather(1, topk_ids_TK) * self.scale
        exact = not self.eps and not self.least_sum and self.norm == 1
        if exact and self.score in ("softmax", "sigmoid"):
            # The chosen scores over their sum, in logarithms: a softmax, which cannot underflow to 0 / 0.
            log_scores_TE = logits_TE if self.score == "softmax" else F.logsigmoid(logits_TE)
            return log_scores_TE.gather(1, topk_ids_TK).softmax(dim=-1) * self.scale
        weights_TK = scores_TE.gather(1, topk_ids_TK)
        total_T1 = weights_TK.sum(dim=-1, keepdim=True)
        if self.norm != 1:
            total_T1 = torch.linalg.vector_norm(weights_TK, self.norm, dim=-1, keepdim=True)
        total_T1 = (total_T1 + self.eps).clamp_min(max(self.least_sum, TINY))
        return weights_TK / total_T1 * self.scale

    def describe(self) -> str:
        """Say in a few words what kind of gate this is.

        Examples
        --------
        >>> Gate("sigmoid", renormalize=True, scale=2.5, n_groups=8, topk_groups=4).describe()
        'sigmoid, renormalised, times 2.5, 4 of 8 groups by their 2 best'
        >>> Gate("sigmoid", on_input=True).describe(), Gate(scale=16.0).describe()
        ('sigmoid on the input', 'softmax, times 16')
        """
        words = [self.score + (" on the input" if self.on_input else "")]
        if self.renormalize:
            words.append("renormalised" + ("" if self.norm == 1 else f" by the {self.norm:g}-norm"))
        if self.scale != 1:
            words.append(f"times {self.scale:g}")
        if self.bias_on == "logits":
            words.append("bias on the logits")
        if self.n_groups > 1:
            best = "best" if self.group_best == 1 else f"{self.group_best} best"
            words.append(f"{self.topk_groups} of {self.n_groups} groups by their {best}")
        if self.softcap is not None:
            words.append(f"logits softcapped at {self.softcap:g}")
        if self.logit_scale != 1:
            words.append(f"logits times {self.logit_scale:.3g}")
        if self.n_always:
            words.append(f"{self.n_always} always chosen")
        return ", ".join(words)
