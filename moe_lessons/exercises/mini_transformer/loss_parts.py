"""The parts of exercise 10.training_loss: each term, and what mistakes make of it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def next_byte(logits_BLV: Tensor, tokens_BL: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy of the logits at l with the byte at l + 1."""
    return F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten(), reduction=reduction)


def chosen(logits_NTE: Tensor, top_k: int) -> Tensor:
    """One where an expert was chosen, else zero."""
    ids_NTK = logits_NTE.topk(top_k, dim=-1).indices
    return torch.zeros_like(logits_NTE).scatter(-1, ids_NTK, 1.0)


def balance(logits_NTE: Tensor, top_k: int) -> Tensor:
    """E * sum of f P, one number per layer."""
    f_NE = chosen(logits_NTE, top_k).mean(dim=1) / top_k
    return logits_NTE.shape[-1] * (f_NE * logits_NTE.softmax(dim=-1).mean(dim=1)).sum(dim=-1)


def z(logits: Tensor) -> Tensor:
    """Squared log-sum-exp, averaged over tokens: one number per layer."""
    return logits.logsumexp(dim=-1).square().mean(dim=-1)


def reference(
    logits_BLV: Tensor, tokens_BL: Tensor, router_logits_NTE: Tensor, top_k: int, alpha: float, beta: float
) -> Tensor:
    """Cross entropy plus the two router losses, each summed over the layers."""
    balancing, z_losses = balance(router_logits_NTE, top_k).sum(), z(router_logits_NTE).sum()
    return next_byte(logits_BLV, tokens_BL) + alpha * balancing + beta * z_losses


def topk_probabilities(logits_NTE: Tensor, top_k: int) -> Tensor:
    """The load-balancing loss with P made of the chosen experts' weights, which leaves the others out."""
    kept_NTE = chosen(logits_NTE, top_k)
    weights_NTE = logits_NTE.masked_fill(kept_NTE == 0, -torch.inf).softmax(dim=-1)
    return logits_NTE.shape[-1] * (kept_NTE.mean(dim=1) / top_k * weights_NTE.mean(dim=1)).sum()


def soft_load(logits_NTE: Tensor) -> Tensor:
    """The load-balancing loss with P in the place of f."""
    return logits_NTE.shape[-1] * logits_NTE.softmax(dim=-1).mean(dim=1).square().sum()


def huggingface(logits_NTE: Tensor, top_k: int) -> Tensor:
    """What transformers computes: all layers in one list, the load apart for each of the K choices."""
    probs_ME = logits_NTE.flatten(0, 1).softmax(dim=-1)
    chosen_MKE = F.one_hot(probs_ME.topk(top_k, dim=-1).indices, probs_ME.shape[-1]).to(probs_ME.dtype)
    return probs_ME.shape[-1] * (chosen_MKE.mean(dim=0) * probs_ME.mean(dim=0)).sum()


def detached(logits_NTE: Tensor, top_k: int) -> Tensor:
    """The right numbers, with P cut off from the graph."""
    f_NE = chosen(logits_NTE, top_k).mean(dim=1) / top_k
    return logits_NTE.shape[-1] * (f_NE * logits_NTE.softmax(dim=-1).mean(dim=1).detach()).sum(dim=-1)


def with_balance(measure: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    """The whole loss, with another load-balancing loss in it."""
    return lambda x, t, r, k, a, b: next_byte(x, t) + a * measure(r, k).sum() + b * z(r).sum()


def with_z(measure: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """The whole loss, with another z-loss in it."""
    return lambda x, t, r, k, a, b: next_byte(x, t) + a * balance(r, k).sum() + b * measure(r).sum()


def wraps_around(
    logits_BLV: Tensor, tokens_BL: Tensor, router_logits_NTE: Tensor, top_k: int, alpha: float, beta: float
) -> Tensor:
    """The last place of a sequence is asked for the sequence's first byte."""
    crossed = F.cross_entropy(logits_BLV.flatten(0, 1), tokens_BL.roll(-1, dims=1).flatten())
    return crossed + alpha * balance(router_logits_NTE, top_k).sum() + beta * z(router_logits_NTE).sum()


def pooled(*, per_layer: bool = False, z_too: bool = False) -> Callable[..., Tensor]:
    """One load-balancing loss over the tokens of all layers; times their number, or the z-loss alike."""

    def loss(x: Tensor, t: Tensor, r: Tensor, k: int, a: float, b: float) -> Tensor:
        times = len(r) if per_layer else 1
        z_loss = z(r).mean() * times if z_too else z(r).sum()
        return next_byte(x, t) + a * times * balance(r.flatten(0, 1)[None], k).sum() + b * z_loss

    return loss
