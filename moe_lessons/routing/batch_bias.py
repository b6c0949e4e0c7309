"""The leak in a bias: balancing a batch by the loads of that same batch. Here to be caught."""

from torch import Tensor

from moe_lessons.routing.base import Routing, tokens_per_expert
from moe_lessons.routing.gates import sigmoid_topk


def current_batch_bias_topk(logits_TE: Tensor, top_k: int, *, step: float = 0.1) -> Routing:
    """Route once, lower the bias of the overloaded experts by `step`, raise the others', and route again.

    Not causal: the loads count the tokens to come. A bias must be computed from batches that are past, with
    `sigmoid_topk(..., expert_bias_E=...)`.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    step : float
        On the scale of the scores, which are sigmoids.

    References
    ----------
    Wang et al., arXiv 2408.15664, section 3: the bias comes from historical loads, or future tokens leak.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 2.0], [3.0, 2.0]]).log()  # scores .75 and .67: all go to expert 0
    >>> current_batch_bias_topk(logits_TE, 1).topk_ids_TK.T  # biased to .65 and .77: all go to expert 1
    tensor([[1, 1]])
    """
    first_ids_TK = sigmoid_topk(logits_TE, top_k).topk_ids_TK
    loads_E = tokens_per_expert(first_ids_TK, logits_TE.shape[1]).double()
    bias_E = step * (loads_E.mean() - loads_E).sign()
    return sigmoid_topk(logits_TE, top_k, expert_bias_E=bias_E.to(logits_TE.dtype))
