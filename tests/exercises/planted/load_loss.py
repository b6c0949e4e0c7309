"""Answers to lesson 05 as learners write them: wrong ones by misconception, and right ones."""

import numpy as np
import torch
import torch.nn.functional as F
from planted import load_loss_model as model
from planted import load_loss_scope as scope
from planted import load_loss_theory as theory
from planted import more_load_loss, more_tenth

# f_and_p


def fp_onehot(logits_TE, topk_ids_TK):
    E = logits_TE.size(1)
    f = F.one_hot(topk_ids_TK, E).float().mean(dim=(0, 1))
    return f, F.softmax(logits_TE, dim=1).sum(0) / logits_TE.size(0)


def fp_loop(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    f, P = [0.0] * E, [0.0] * E
    for t in range(T):
        for e in topk_ids_TK[t].tolist():
            f[e] += 1 / topk_ids_TK.numel()
        exps = np.exp(logits_TE[t].numpy())
        for e in range(E):
            P[e] += exps[e] / exps.sum() / T
    return np.array(f), np.array(P)


def fp_swapped(logits_TE, topk_ids_TK):
    f, P = fp_onehot(logits_TE, topk_ids_TK)
    return P, f


def fp_per_token(logits_TE, topk_ids_TK):
    f = F.one_hot(topk_ids_TK, logits_TE.shape[-1]).sum(dim=1).float().mean(dim=0)
    return f, logits_TE.softmax(-1).mean(0)


def fp_soft(logits_TE, topk_ids_TK):
    probs = logits_TE.softmax(-1)
    return probs.mean(0), probs.mean(0)


def fp_first(logits_TE, topk_ids_TK):
    f = F.one_hot(logits_TE.argmax(-1), logits_TE.shape[-1]).float().mean(0)
    return f, logits_TE.softmax(-1).mean(0)


def fp_gate_weights(logits_TE, topk_ids_TK):
    """As in several small code bases: the gate's weights are at hand, so they are averaged."""
    w = logits_TE.gather(1, topk_ids_TK).softmax(dim=-1)
    P = torch.zeros(logits_TE.shape[1]).index_add_(0, topk_ids_TK.flatten(), w.flatten()) / len(logits_TE)
    return fp_onehot(logits_TE, topk_ids_TK)[0], P


def fp_kept_mass(logits_TE, topk_ids_TK):
    keep = torch.zeros_like(logits_TE).scatter_(1, topk_ids_TK, 1)
    return keep.mean(0) / topk_ids_TK.shape[1], (logits_TE.softmax(-1) * keep).mean(0)


def fp_summed(logits_TE, topk_ids_TK):
    f, P = fp_onehot(logits_TE, topk_ids_TK)
    return f, P * len(logits_TE)


def fp_columns(logits_TE, topk_ids_TK):
    return fp_onehot(logits_TE, topk_ids_TK)[0], F.softmax(logits_TE, dim=0).mean(0)


def fp_mean_logits(logits_TE, topk_ids_TK):
    return fp_onehot(logits_TE, topk_ids_TK)[0], F.softmax(logits_TE.mean(0), dim=0)


def fp_short(logits_TE, topk_ids_TK):
    counts = torch.bincount(topk_ids_TK.reshape(-1)).float()
    return counts / counts.sum(), logits_TE.softmax(-1).mean(0)


# loss_gradient


def gradient_entry_by_entry(logits_TE, topk_ids_TK):
    """One logit at a time: its own probability gains, all others of the token lose."""
    T, E = logits_TE.shape
    counts = [0] * E
    for e in topk_ids_TK.flatten().tolist():
        counts[e] += 1
    f = [c / topk_ids_TK.numel() for c in counts]
    gradient = torch.zeros(T, E)
    for t, p in enumerate(logits_TE.softmax(-1).tolist()):
        for j in range(E):
            gradient[t, j] = sum(f[i] * p[i] * ((i == j) - p[j]) for i in range(E)) * E / T
    return gradient


def gradient_jacobian(logits_TE, topk_ids_TK):
    """The softmax's full Jacobian, token by token."""
    T, E = logits_TE.shape
    f = F.one_hot(topk_ids_TK, E).float().mean((0, 1))
    rows = []
    for p in logits_TE.softmax(-1):
        rows.append((torch.diag(p) - torch.outer(p, p)) @ f * E / T)
    return torch.stack(rows)


def _pieces(logits_TE, topk_ids_TK):
    T, E = logits_TE.shape
    p = logits_TE.softmax(-1)
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / topk_ids_TK.numel()
    return T, E, p, f


def gradient_of_P(logits_TE, topk_ids_TK):
    T, E, _p, f = _pieces(logits_TE, topk_ids_TK)
    return (E * f / T).repeat(T, 1)


def gradient_diagonal(logits_TE, topk_ids_TK):
    T, E, p, f = _pieces(logits_TE, topk_ids_TK)
    return E / T * f * (p - p**2)


def gradient_squares(logits_TE, topk_ids_TK):
    T, E, p, _f = _pieces(logits_TE, topk_ids_TK)
    P = p.mean(0)
    return 2 * E / T * p * (P - (p * P).sum(-1, keepdim=True))


def gradient_of_mean(logits_TE, topk_ids_TK):
    T, E, p, f = _pieces(logits_TE, topk_ids_TK)
    P = p.mean(0)
    return (E / T * P * (f - f @ P)).repeat(T, 1)


def gradient_chosen(logits_TE, topk_ids_TK):
    mask = F.one_hot(topk_ids_TK, logits_TE.shape[1]).sum(1)
    return gradient_jacobian(logits_TE, topk_ids_TK) * mask


def gradient_own(logits_TE, topk_ids_TK):
    T, E, p, _f = _pieces(logits_TE, topk_ids_TK)
    own = F.one_hot(topk_ids_TK, E).float().mean(1)
    return E / T * (p * own - p * (p * own).sum(1, keepdim=True))


def gradient_summed(logits_TE, topk_ids_TK):
    _T, E, p, f = _pieces(logits_TE, topk_ids_TK)
    return E * p * (f - (p @ f)[:, None])


def gradient_no_E(logits_TE, topk_ids_TK):
    T, _E, p, f = _pieces(logits_TE, topk_ids_TK)
    return p * (f - (p @ f)[:, None]) / T


def gradient_no_K(logits_TE, topk_ids_TK):
    T, E, p, _ = _pieces(logits_TE, topk_ids_TK)
    f = torch.bincount(topk_ids_TK.flatten(), minlength=E) / T
    return E / T * p * (f - (p @ f)[:, None])


def gradient_downhill(logits_TE, topk_ids_TK):
    T, E, p, f = _pieces(logits_TE, topk_ids_TK)
    return E / T * p * ((p @ f)[:, None] - f)


# z_loss


def z_by_hand(logits_TE):
    top = logits_TE.max(dim=-1, keepdim=True).values.detach()
    lse = (logits_TE - top).exp().sum(-1).log() + top[:, 0]
    return torch.mean(lse**2)


def z_loop(logits_TE):
    total = 0.0
    for row in logits_TE:
        total = total + torch.logsumexp(row, 0) ** 2
    return total / len(logits_TE)


def z_shifted(logits_TE):
    top = logits_TE.max(dim=-1, keepdim=True).values
    return ((logits_TE - top).exp().sum(dim=-1).log() ** 2).mean()


def z_softmax_denominator(logits_TE):
    """The logsumexp is the logit minus its log-probability."""
    lse = (logits_TE - F.log_softmax(logits_TE, dim=-1))[:, 0]
    return lse.pow(2).mean()


RIGHT = {
    "05.f_and_p": [fp_onehot, fp_loop],
    "05.balancing_loss": [model.loss_loop, model.loss_einsum, model.loss_switch_form],
    "05.loss_gradient": [gradient_entry_by_entry, gradient_jacobian],
    "05.chebyshev": theory.CHEBYSHEV_RIGHT,
    "05.counterexample": theory.COUNTEREXAMPLE_RIGHT,
    "05.z_loss": [z_by_hand, z_loop, z_softmax_denominator],
    "05.scope": scope.RIGHT,
}
WRONG = {
    "05.f_and_p": {
        "swapped_return": fp_swapped,
        "f_per_token": fp_per_token,
        "soft_f": fp_soft,
        "first_choice": fp_first,
        "renormalized_P": fp_gate_weights,
        "masked_P": fp_kept_mass,
        "summed_P": fp_summed,
        "softmax_over_tokens": fp_columns,
        "softmax_of_mean": fp_mean_logits,
        "short_count": fp_short,
    },
    "05.balancing_loss": {
        "pooled": model.loss_pooled,
        "transformers": model.loss_of_mixtral,
        "renormalized_P": model.loss_gates,
        "soft_f": model.loss_squares,
        "first_choice": model.loss_gshard,
        "padding_everywhere": model.loss_unmasked,
        "padding_in_f": model.loss_f_unmasked,
        "padding_in_P": model.loss_P_unmasked,
        "divided_by_all": model.loss_zeroed,
        "mask_inverted": model.loss_of_padding,
        "logits_overwritten": model.loss_filled,
        "no_E": model.loss_no_E,
        "no_K": model.loss_huggingface,
        "summed_layers": model.loss_added_up,
        "detached": model.loss_no_grad,
    },
    "05.loss_gradient": {
        "no_softmax": gradient_of_P,
        "diagonal": gradient_diagonal,
        "through_f": gradient_squares,
        "mean_softmax": gradient_of_mean,
        "chosen_only": gradient_chosen,
        "own_choice": gradient_own,
        "no_mean": gradient_summed,
        "no_E": gradient_no_E,
        "no_K": gradient_no_K,
        "sign": gradient_downhill,
    },
    "05.chebyshev": theory.CHEBYSHEV_WRONG,
    "05.counterexample": theory.COUNTEREXAMPLE_WRONG,
    "05.z_loss": {
        "square_of_mean": lambda z: torch.logsumexp(z, 1).mean() ** 2,
        "not_squared": lambda z: torch.logsumexp(z, 1).sum() / z.size(0),
        "absolute": lambda z: torch.stack([torch.logsumexp(row, 0) for row in z]).abs().mean(),
        "detached": lambda z: (torch.logsumexp(z.detach(), 1) ** 2).mean(),
        "bare_exp": lambda z: torch.log(torch.exp(z).sum(1)).pow(2).mean(),
        "max_not_added": z_shifted,
        "after_softmax": lambda z: torch.logsumexp(F.softmax(z, 1), 1).pow(2).mean(),
        "log_softmax": lambda z: (F.log_softmax(z, 1) ** 2).mean(),
        "squared_logits": lambda z: torch.mean(z**2),
        "max_only": lambda z: z.max(1).values.pow(2).mean(),
        "over_tokens": lambda z: (torch.logsumexp(z, 0) ** 2).mean(),
        "summed": lambda z: (torch.logsumexp(z, -1) ** 2).sum(),
    },
    "05.scope": scope.WRONG,
}


for exercise, answers in more_load_loss.WRONG.items():
    WRONG[exercise] = {**WRONG[exercise], **answers}
more_tenth.add_to(WRONG)
