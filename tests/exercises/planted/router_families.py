"""Answers to 01.gate_family as learners write them; `router` lists which is which."""

import torch
import torch.nn.functional as F


def _close(a, b):
    return torch.allclose(a, b, atol=1e-4)


def family_nearest(logits_TE, topk_ids_TK, topk_weights_TK):
    """The candidate with the smallest error; the scale is fitted by the sums."""
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK

    def rescaled(s):
        return s / s.sum(1, keepdim=True) * w.sum(1, keepdim=True)

    candidates = {
        "softmax_topk_renorm": z.softmax(1),
        "softmax_topk": logits_TE.softmax(1).gather(1, topk_ids_TK),
        "topk_sigmoid": z.sigmoid(),
        "sigmoid": rescaled(z.sigmoid()),
        "sqrt_softplus": rescaled(F.softplus(z) ** 0.5),
    }
    # A bare sigmoid also fits its rescaled twin, up to rounding: the earlier candidate wins.
    errors = {name: round(float((c - w).abs().max()), 4) for name, c in candidates.items()}
    return min(errors, key=errors.get)


def family_inverted(logits_TE, topk_ids_TK, topk_weights_TK):
    """Undo each score: the ratio of two weights says what the logits' difference did."""
    z, w = logits_TE.gather(1, topk_ids_TK), topk_weights_TK
    dz, ratio = z - z[:, :1], w / w[:, :1]
    if _close(ratio.log(), dz):
        sums = w.sum(1)
        return "topk_softmax" if _close(sums, torch.ones_like(sums)) else "softmax_topk"
    if _close(ratio, z.sigmoid() / z.sigmoid()[:, :1]):
        return "topk_sigmoid" if _close(torch.logit(w.clamp(1e-6, 1 - 1e-6)), z) else "sigmoid"
    return "sqrt_softplus"


def family_by_sum(logits_TE, topk_ids_TK, topk_weights_TK):
    sums = topk_weights_TK.sum(-1)
    if _close(sums, torch.ones_like(sums)):
        return "softmax_topk_renorm"
    return family_nearest(logits_TE, topk_ids_TK, topk_weights_TK)


def family_scale_one(logits_TE, topk_ids_TK, topk_weights_TK):
    z, w = logits_TE.gather(1, topk_ids_TK), topk_weights_TK
    r = F.softplus(z).sqrt()
    if _close(w, z.softmax(1)):
        return "topk_softmax"
    if _close(w, z.sigmoid()):
        return "topk_sigmoid"
    if _close(w, z.sigmoid() / z.sigmoid().sum(1, keepdim=True)):
        return "sigmoid"
    if _close(w, r / r.sum(1, keepdim=True)):
        return "sqrt_softplus"
    return "softmax_topk"


def family_own_topk(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.topk(topk_ids_TK.shape[1]).values
    r = F.softplus(z).sqrt()
    shares = topk_weights_TK / topk_weights_TK.sum(1, keepdim=True)
    if _close(topk_weights_TK, z.softmax(1)):
        return "topk_softmax"
    if _close(topk_weights_TK, z.sigmoid()):
        return "topk_sigmoid"
    if _close(shares, z.sigmoid() / z.sigmoid().sum(1, keepdim=True)):
        return "sigmoid"
    if _close(shares, r / r.sum(1, keepdim=True)):
        return "sqrt_softplus"
    return "softmax_topk"


def family_shares_first(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(1, keepdim=True)
    if _close(shares, z.sigmoid() / z.sigmoid().sum(1, keepdim=True)):
        return "sigmoid"
    return family_nearest(logits_TE, topk_ids_TK, topk_weights_TK)


def family_no_root(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    s = F.softplus(z)
    shares = topk_weights_TK / topk_weights_TK.sum(1, keepdim=True)
    if _close(shares, s / s.sum(1, keepdim=True)):
        return "sqrt_softplus"
    found = family_nearest(logits_TE, topk_ids_TK, topk_weights_TK)
    return "unknown" if found == "sqrt_softplus" else found


def family_always_divided(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(1, keepdim=True)
    if _close(shares, z.softmax(1)):
        return "topk_softmax"
    return family_nearest(logits_TE, topk_ids_TK, topk_weights_TK)


def family_misnamed(logits_TE, topk_ids_TK, topk_weights_TK):
    found = family_inverted(logits_TE, topk_ids_TK, topk_weights_TK)
    return {"topk_softmax": "softmax_topk", "softmax_topk": "topk_softmax"}.get(found, found)


def family_columns(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(1, keepdim=True)
    if _close(topk_weights_TK, z.softmax(0)):
        return "topk_softmax"
    if _close(topk_weights_TK, logits_TE.softmax(0).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if _close(topk_weights_TK, z.sigmoid()):
        return "topk_sigmoid"
    return "sigmoid" if _close(shares, z.sigmoid() / z.sigmoid().sum(1, keepdim=True)) else "sqrt_softplus"
