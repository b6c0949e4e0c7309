"""Gates: router logits -> the ids and weights of each token's K experts.

The gates differ in the order of top-k and normalisation. All of them return a `Routing` and refuse the same
bad arguments, which `topk_softmax` lists.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from moe_lessons.routing.base import TINY, Routing, biased, checked_logits, weigh


def topk_softmax(logits_TE: Tensor, top_k: int) -> Routing:
    """Choose the top-k logits, then softmax over those k: the weights sum to 1.

    Used by Mixtral, MiniMax-01, gpt-oss, Granite, JetMoE, Aria, Gemma-4 and the 2017 layer, and, written as
    softmax over all, top-k, renormalise, by Qwen3, Qwen3.5 and Hunyuan-A13B: it is the same function. With
    k = 1 the weight is always 1, so the task loss gives the router no gradient.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E

    Raises
    ------
    ValueError
        If `logits_TE` is not 2-D or holds NaN, or `top_k` is outside 1..E. NaN is looked for in CPU tensors
        only: on a GPU the question would stop the host until the answer is back.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 3-5; Mixtral, arXiv 2401.04088, section 2.1.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0, 2.0]]).log()
    >>> topk_softmax(logits_TE, 2).topk_weights_TK  # 3/(3+2) and 2/(3+2)
    tensor([[0.6000, 0.4000]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    topk_logits_TK, topk_ids_TK = logits_TE.topk(top_k, dim=-1)
    return Routing(logits_TE, topk_ids_TK, topk_logits_TK.softmax(dim=-1))


def softmax_topk(
    logits_TE: Tensor, top_k: int, *, renormalize: bool, expert_bias_E: Tensor | None = None
) -> Routing:
    """Softmax over all experts, then keep the top-k probabilities, as they are or rescaled to sum to 1.

    Without renormalising: Switch, Grok-1, OLMoE, Jamba, Qwen1.5-MoE and Qwen2-MoE, LongCat (with a bias),
    DeepSeek-V2 (times 16). With it: GShard, Qwen3, DBRX, and with a bias ERNIE-4.5.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    renormalize : bool
        Divide by the sum of the kept probabilities. With k = 1 the weight is then always 1.
    expert_bias_E : Tensor of shape (E,), optional
        Added to the probabilities for selection only, as in `sigmoid_topk`.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, eq. 1-2; GShard, arXiv 2006.16668, algorithm 1; the bias: Wang et
    al., arXiv 2408.15664, appendix C.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0, 2.0]]).log()
    >>> softmax_topk(logits_TE, 2, renormalize=False).topk_weights_TK  # 3/6 and 2/6
    tensor([[0.5000, 0.3333]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    if expert_bias_E is not None:
        return _score_topk(logits_TE, logits_TE.softmax(dim=-1), top_k, expert_bias_E, renormalize, 1.0)
    # Selecting by logit rather than by probability: far-off logits all underflow to probability 0.
    topk_ids_TK = logits_TE.topk(top_k, dim=-1).indices
    weights_TK = logits_TE.softmax(dim=-1).gather(-1, topk_ids_TK)
    if renormalize:
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
    return Routing(logits_TE, topk_ids_TK, weights_TK)


def sigmoid_topk(
    logits_TE: Tensor,
    top_k: int,
    *,
    expert_bias_E: Tensor | None = None,
    renormalize: bool = True,
    scale: float = 1.0,
) -> Routing:
    """Score each expert by a sigmoid of its own; a bias may steer who is chosen, never the weight.

    Used by DeepSeek-V3 (scale 2.5), Kimi-K2 (2.827), GLM-4.5 and GLM-5 (2.5), MiniMax-M2, MiMo-V2,
    Nemotron-3, K-EXAONE and Hunyuan-3: by most of the model types that transformers got in 2026, as
    `moe_lessons.interop.recipes.scores` counts. DeepSeek-V3 also limits a token to a few groups of experts:
    `group_limited_topk`. Kolibri-1 adds the bias to the logits instead, for the choice only:
    `Gate("sigmoid", bias_on="logits")`.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    expert_bias_E : Tensor of shape (E,), optional
        Added to the scores for selection only; it receives no gradient.
    renormalize : bool
        Rescale the k weights to sum to 1, before `scale` multiplies them.
    scale : float

    Raises
    ------
    ValueError
        Also if `expert_bias_E` does not have shape (E,).

    References
    ----------
    DeepSeek-V3, arXiv 2412.19437, eq. 12-16.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0, 0.5]]).log()  # sigmoid(log x) = x / (1 + x)
    >>> sigmoid_topk(logits_TE, 2, renormalize=False).topk_weights_TK
    tensor([[0.7500, 0.5000]])
    >>> bias_E = torch.tensor([0.0, 0.0, 1.0])  # expert 2 now comes first, its weight is still 1/3
    >>> sigmoid_topk(logits_TE, 2, expert_bias_E=bias_E, renormalize=False).topk_weights_TK
    tensor([[0.3333, 0.7500]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    return _score_topk(logits_TE, logits_TE.sigmoid(), top_k, expert_bias_E, renormalize, scale)


def sqrt_softplus_topk(
    logits_TE: Tensor,
    top_k: int,
    *,
    expert_bias_E: Tensor | None = None,
    renormalize: bool = True,
    scale: float = 1.0,
) -> Routing:
    """Score each expert by sqrt(softplus(logit)): like `sigmoid_topk`, but the score has no upper bound.

    Used by DeepSeek-V4, alone among the recipes.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    expert_bias_E, renormalize, scale
        As in `sigmoid_topk`.

    References
    ----------
    transformers, models/deepseek_v4, `DeepseekV4TopKRouter` (scoring function "sqrtsoftplus").

    Examples
    --------
    >>> logits_TE = torch.tensor([[16.0, 1.0, 9.0]]).expm1().log()  # softplus gives 16, 1, 9 back
    >>> sqrt_softplus_topk(logits_TE, 2, renormalize=False).topk_weights_TK
    tensor([[4., 3.]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    return _score_topk(logits_TE, sqrt_softplus(logits_TE), top_k, expert_bias_E, renormalize, scale)


def topk_sigmoid(logits_TE: Tensor, top_k: int) -> Routing:
    """Choose the top-k logits, then a sigmoid of each: the weight scales the expert's *input*.

    Used by Llama-4 (k = 1 and a shared expert). An expert is not linear, so scaling its input is not scaling
    its output: whoever applies these weights must do it before the expert, as `MoELayer` does.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E

    References
    ----------
    meta-llama/llama-models, models/llama4/moe.py; transformers, models/llama4, `Llama4TextMoe`.

    Examples
    --------
    >>> topk_sigmoid(torch.tensor([[3.0, 1.0, 2.0]]).log(), 1).topk_weights_TK  # 3 / (1 + 3)
    tensor([[0.7500]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    topk_logits_TK, topk_ids_TK = logits_TE.topk(top_k, dim=-1)
    return Routing(logits_TE, topk_ids_TK, topk_logits_TK.sigmoid())


GATES: dict[str, Callable[..., Routing]] = {
    "topk_softmax": topk_softmax,
    "softmax_topk": partial(softmax_topk, renormalize=False),
    "softmax_topk_renorm": partial(softmax_topk, renormalize=True),
    "sigmoid": sigmoid_topk,
    "sqrt_softplus": sqrt_softplus_topk,
    "topk_sigmoid": topk_sigmoid,
}


def sqrt_softplus(logits_TE: Tensor) -> Tensor:
    """Return sqrt(log(1 + exp(logit))), with a finite slope everywhere."""
    # softplus underflows to 0 near -100 in fp32, where the square root's slope is infinite.
    return F.softplus(logits_TE).clamp_min(TINY).sqrt()


def _score_topk(
    logits_TE: Tensor,
    scores_TE: Tensor,
    top_k: int,
    expert_bias_E: Tensor | None,
    renormalize: bool,
    scale: float,
) -> Routing:
    topk_ids_TK = biased(scores_TE, expert_bias_E).topk(top_k, dim=-1).indices
    return weigh(logits_TE, scores_TE, topk_ids_TK, renormalize, scale)
