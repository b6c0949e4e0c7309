"""Expert choice: each expert picks its tokens. Its load is exact; a token may get any number of experts."""

from typing import NamedTuple

from torch import Tensor

from moe_lessons.routing.base import checked_logits


class ExpertChoice(NamedTuple):
    """What E experts picked: logits (T, E), token ids (E, C), weights (E, C), each expert's best first."""

    logits_TE: Tensor
    token_ids_EC: Tensor
    weights_EC: Tensor


def expert_choice(logits_TE: Tensor, capacity: int) -> ExpertChoice:
    """Softmax over experts per token, then each expert takes the `capacity` tokens that score it highest.

    S = softmax(x W), shape (T, E); weights, ids = top-C of each row of S transposed.
    Every expert gets exactly C tokens. A token gets 0 to E experts, and its weights sum to at most 1.

    Not causal: whether a token is picked depends on every other token in the batch, later ones included. In a
    language model this shows each position something of the text it is to predict.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    capacity : int, 0 to T
        C, tokens per expert. For K experts per token on average, T * K / E.

    Raises
    ------
    ValueError
        If `logits_TE` is not 2-D or holds NaN (looked for on the CPU only), or `capacity` is outside 0..T.

    References
    ----------
    Zhou et al., arXiv 2202.09368, section 3.2; section 6 says that it is not causal.

    Examples
    --------
    >>> logits_TE = torch.tensor([[9.0, 1.0], [8.0, 2.0], [7.0, 3.0]]).log()
    >>> expert_choice(logits_TE, 1)  # token 0 goes to expert 0, token 2 to expert 1, token 1 nowhere
    ExpertChoice(logits_TE=..., token_ids_EC=tensor([[0], [2]]), weights_EC=tensor([[0.9000], [0.3000]]))
    """
    logits_TE = checked_logits(logits_TE)
    if not 0 <= capacity <= logits_TE.shape[0]:
        raise ValueError(
            f"capacity is {capacity} with {logits_TE.shape[0]} tokens: choose 0 to {logits_TE.shape[0]}"
        )
    # Picking by log-probability: probabilities of far-off logits all underflow to 0, and would tie.
    log_probs_ET = logits_TE.log_softmax(dim=-1).T
    picked = log_probs_ET.topk(capacity, dim=-1)
    return ExpertChoice(logits_TE, picked.indices, picked.values.exp())
