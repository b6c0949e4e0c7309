"""SparseMixer as it runs in evaluation: each expert chosen in turn, and weighed against its rivals alone."""

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, checked_logits


def sparse_mixer_topk(logits_TE: Tensor, top_k: int = 2, *, jitter: float = 0.01) -> Routing:
    """Take the best expert, weigh it by a softmax over those near it; leave it out and do so again.

    Near the best logit m of those left are the experts e with (m - z_e) / max(|z_e|, m) <= 2 jitter. As
    each choice has a softmax of its own, the weights do not sum to 1: with a clear winner each is 1.
    Used by PhiMoE (Phi-3.5-MoE), with K = 2. In training it samples and corrects the gradient (Heun's
    method), which this function does not do: that it can be read is the point here.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    jitter : float
        `router_jitter_noise`.

    References
    ----------
    Liu et al., SparseMixer, arXiv 2310.00811; GRIN, arXiv 2409.12136, section 2.2; transformers,
    models/phimoe, `sparsemixer`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[4.0, 4.0, 1.0]])  # a tie for the first, no rival for the second
    >>> sparse_mixer_topk(logits_TE).topk_weights_TK
    tensor([[0.5000, 1.0000]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    left_TE, ids, weights = logits_TE, [], []
    for _ in range(top_k):
        best_T1, id_T1 = left_TE.detach().max(dim=-1, keepdim=True)
        size_TE = torch.maximum(logits_TE.detach().abs(), best_T1)
        far_TE = (best_T1 - logits_TE.detach()) / size_TE > 2 * jitter
        near_TE = left_TE.masked_fill(far_TE, -torch.inf)
        ids.append(id_T1)
        weights.append(near_TE.softmax(dim=-1).gather(1, id_T1))
        left_TE = left_TE.scatter(1, id_T1, -torch.inf)
    return Routing(logits_TE, torch.cat(ids, dim=1), torch.cat(weights, dim=1))
