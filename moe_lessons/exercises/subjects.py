"""Functions that a learner's function is tried on, where the answer to write is itself a test.

A case names one by text; the driver "subject" hands over the function. A sandboxed worker holds this module,
so it says how each subject works and nothing about which verdict is expected.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CAPACITY = 3
"""Tokens that an expert takes, and others like it; fixed: a shorter sequence changes nothing by itself."""


def plain(logits_TE: Tensor) -> Tensor:
    """Give each token its best two experts.

    Examples
    --------
    >>> plain(torch.tensor([[3.0, 1.0, 2.0]]).log())
    tensor([[0.6000, 0.0000, 0.4000]])
    """
    return _top_two(logits_TE, logits_TE)


def fixed_bias(logits_TE: Tensor) -> Tensor:
    """Give each token its best two by logit plus a bias that earlier batches have set."""
    return _top_two(logits_TE, logits_TE + torch.linspace(-1, 1, logits_TE.shape[1]))


def running_bias(logits_TE: Tensor) -> Tensor:
    """Lower an expert's chances by half a logit for each earlier token of the sequence that chose it."""
    bias_E = torch.zeros(logits_TE.shape[1])
    rows = []
    for logits_E in logits_TE:
        weights_1E = _top_two(logits_E.unsqueeze(0), (logits_E + bias_E).unsqueeze(0))
        bias_E = bias_E - 0.5 * (weights_1E[0] > 0)
        rows.append(weights_1E)
    return torch.cat(rows)


def batch_bias(logits_TE: Tensor) -> Tensor:
    """Lower an expert's chances by half a logit for each token of this very batch that wants it."""
    load_E = (_top_two(logits_TE, logits_TE) > 0).sum(dim=0)
    return _top_two(logits_TE, logits_TE - 0.5 * load_E)


def first_come(logits_TE: Tensor) -> Tensor:
    """Serve tokens in their order; an expert that is full drops the rest."""
    return _serve(logits_TE, torch.arange(len(logits_TE)))


def most_certain_first(logits_TE: Tensor) -> Tensor:
    """Serve the tokens that are surest of their choice first; an expert that is full drops the rest."""
    return _serve(logits_TE, logits_TE.softmax(dim=-1).amax(dim=-1).argsort(descending=True))


def expert_choice(logits_TE: Tensor) -> Tensor:
    """Let each expert take the tokens that give it the highest probability."""
    probs_TE = logits_TE.softmax(dim=-1)
    ids_CE = probs_TE.topk(min(CAPACITY, len(logits_TE)), dim=0).indices
    return probs_TE * torch.zeros_like(probs_TE).scatter_(0, ids_CE, 1.0)


def chunked_choice(logits_TE: Tensor) -> Tensor:
    """Let each expert take its best token of every three neighbours."""
    probs_TE = logits_TE.softmax(dim=-1)
    rows = []
    for chunk_CE in probs_TE.split(CAPACITY):
        ids_1E = chunk_CE.argmax(dim=0, keepdim=True)
        rows.append(chunk_CE * torch.zeros_like(chunk_CE).scatter_(0, ids_1E, 1.0))
    return torch.cat(rows)


def closed_when_full(logits_TE: Tensor) -> Tensor:
    """Close the most wanted expert to all tokens if three more want it than want the least wanted."""
    wanted_E = torch.bincount(logits_TE.argmax(dim=-1), minlength=logits_TE.shape[1])
    ranked_TE = logits_TE.clone()
    if wanted_E.max() - wanted_E.min() >= CAPACITY:
        ranked_TE[:, wanted_E.argmax()] = -torch.inf
    return _top_two(logits_TE, ranked_TE)


def sinkhorn(logits_TE: Tensor) -> Tensor:
    """Scale rows and columns in turn until the experts' loads are equal."""
    plan_TE = logits_TE
    for _ in range(30):
        plan_TE = plan_TE - plan_TE.logsumexp(dim=0)
        plan_TE = plan_TE - plan_TE.logsumexp(dim=1, keepdim=True)
    return plan_TE.exp()


def scaled_by_mean(logits_TE: Tensor) -> Tensor:
    """Choose as `plain` does, then divide each expert's weights by their mean over the batch."""
    weights_TE = _top_two(logits_TE, logits_TE)
    return weights_TE / weights_TE.mean(dim=0).clamp_min(1e-3)


def there_and_back(logits_TE: Tensor) -> Tensor:
    """Divide a softmax by a number that the whole batch makes, and multiply it by the same number again.

    That cancels but for rounding, at most 2e-7 of a weight whatever the logits are: no token learns anything.
    """
    weights_TE = logits_TE.softmax(dim=-1)
    scale = weights_TE.nan_to_num().square().sum()  # a NaN in one token must not reach the others
    return weights_TE / scale * scale


def batch_temperature(logits_TE: Tensor) -> Tensor:
    """Take a softmax of the logits in units of the batch's spread: the order of a token's experts stays."""
    return (logits_TE / logits_TE.std()).softmax(dim=-1)


def shifted_by_one(logits_TE: Tensor) -> Tensor:
    """Route every token by the logits of the next one; the last keeps its own."""
    return torch.cat([logits_TE[1:], logits_TE[-1:]]).softmax(dim=-1)


SUBJECTS: dict[str, Callable[[Tensor], Tensor]] = {
    f.__name__: f
    for f in (
        plain,
        fixed_bias,
        running_bias,
        batch_bias,
        first_come,
        most_certain_first,
        expert_choice,
        chunked_choice,
        closed_when_full,
        sinkhorn,
        scaled_by_mean,
        there_and_back,
        batch_temperature,
        shifted_by_one,
    )
}


def _top_two(logits_TE: Tensor, ranked_TE: Tensor) -> Tensor:
    """Choose two by rank, weigh them by the softmax of their logits."""
    ids_TK = ranked_TE.topk(2, dim=-1).indices
    return torch.zeros_like(logits_TE).scatter(-1, ids_TK, logits_TE.gather(-1, ids_TK).softmax(dim=-1))


def _serve(logits_TE: Tensor, order_T: Tensor) -> Tensor:
    """One expert per token, at most CAPACITY tokens per expert, in the order given."""
    weights_TE = torch.zeros_like(logits_TE)
    left = [CAPACITY] * logits_TE.shape[1]
    for t in order_T.tolist():
        e = int(logits_TE[t].argmax())
        if left[e]:
            left[e] -= 1
            weights_TE[t, e] = logits_TE[t].softmax(dim=-1)[e]
    return weights_TE
