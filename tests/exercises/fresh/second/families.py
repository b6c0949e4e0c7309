"""The second set, written from the learner's notebooks alone: `01.gate_family`."""

import torch
import torch.nn.functional as F

# 01.gate_family


def fam_equal(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK
    if torch.equal(w, z.softmax(-1)):
        return "topk_softmax"
    if torch.equal(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if torch.equal(w, z.sigmoid()):
        return "topk_sigmoid"
    s = z.sigmoid()
    n = w / w.sum(-1, keepdim=True)
    if torch.equal(n, s / s.sum(-1, keepdim=True)):
        return "sigmoid"
    return "sqrt_softplus"


def fam_ratio(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    ratio = topk_weights_TK[:, 0] / topk_weights_TK[:, 1]
    if torch.allclose(ratio, torch.exp(z[:, 0] - z[:, 1]), rtol=1e-3):
        return "topk_softmax"
    s = torch.sigmoid(z)
    if torch.allclose(ratio, s[:, 0] / s[:, 1], rtol=1e-3):
        return "sigmoid"
    return "sqrt_softplus"


def fam_raw_scores(logits_TE, topk_ids_TK, topk_weights_TK):
    z = torch.gather(logits_TE, 1, topk_ids_TK)
    w = topk_weights_TK
    candidates = {
        "topk_softmax": torch.softmax(z, 1),
        "softmax_topk": torch.gather(torch.softmax(logits_TE, 1), 1, topk_ids_TK),
        "topk_sigmoid": torch.sigmoid(z),
    }
    for name, c in candidates.items():
        if torch.allclose(w, c, atol=1e-4):
            return name
    sig, sp = torch.sigmoid(z), torch.sqrt(F.softplus(z))
    a = (w - sig).abs().mean()
    b = (w - sp).abs().mean()
    return "sigmoid" if a < b else "sqrt_softplus"


def fam_own_ids(logits_TE, topk_ids_TK, topk_weights_TK):
    k = topk_ids_TK.shape[1]
    z = logits_TE.topk(k, dim=-1).values
    w = topk_weights_TK.sort(dim=-1, descending=True).values

    def close(a, b):
        return bool(((a - b).abs() < 1e-3).all())

    if close(w, z.softmax(-1)):
        return "softmax_topk_renorm"
    if close(w, logits_TE.softmax(-1).topk(k).values):
        return "softmax_topk"
    if close(w, z.sigmoid()):
        return "topk_sigmoid"
    n = w / w.sum(-1, keepdim=True)
    s = z.sigmoid()
    return "sigmoid" if close(n, s / s.sum(-1, keepdim=True)) else "sqrt_softplus"


def fam_sums(logits_TE, topk_ids_TK, topk_weights_TK):
    sums = topk_weights_TK.sum(dim=1)
    if torch.allclose(sums, torch.ones_like(sums)):
        return "topk_softmax"
    if (sums < 1).all():
        return "softmax_topk"
    if torch.allclose(sums, sums[0].expand_as(sums)):
        return "sigmoid"
    return "topk_sigmoid"


def fam_ones_only(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    s = z.sigmoid()
    q = F.softplus(z).sqrt()
    options = {
        "softmax_topk_renorm": z.softmax(-1),
        "softmax_topk": logits_TE.softmax(-1).gather(1, topk_ids_TK),
        "sigmoid": s / s.sum(-1, keepdim=True),
        "sqrt_softplus": q / q.sum(-1, keepdim=True),
        "topk_sigmoid": s,
    }
    errors = {name: (topk_weights_TK - o).abs().max().item() for name, o in options.items()}
    return min(errors, key=errors.get)


FRESH = {
    "01.gate_family": [
        ("equality to the last bit", fam_equal, set()),
        ("ratios alone", fam_ratio, {"ratios_only"}),
        ("raw scores, the nearer one", fam_raw_scores, {"nearest_raw"}),
        ("ids of its own", fam_own_ids, {"choice_recomputed"}),
        ("sums alone", fam_sums, set()),
        ("no scale", fam_ones_only, {"scale_assumed"}),
    ],
}
