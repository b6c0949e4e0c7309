"""Answers to lesson 00 as learners write them: wrong ones by misconception, and right ones."""

import math

import torch
import torch.nn.functional as F


def mix_by_hand(logits_E, outputs_ED):
    ranked = sorted(range(len(logits_E)), key=lambda e: -float(logits_E[e]))
    first, second = ranked[0], ranked[1]
    share = 1 / (1 + math.exp(float(logits_E[second] - logits_E[first])))
    return share * outputs_ED[first] + (1 - share) * outputs_ED[second]


def mix_by_mask(logits, outputs):
    threshold = logits.sort(descending=True).values[1]
    masked = torch.where(logits >= threshold, logits, torch.tensor(float("-inf")))
    return (F.softmax(masked, dim=0)[:, None] * outputs).sum(dim=0)


def mix_renormalised(logits_E, outputs_ED):
    p, i = F.softmax(logits_E, dim=0).topk(2)
    p = p / p.sum()
    return p[0] * outputs_ED[i[0]] + p[1] * outputs_ED[i[1]]


def mix_all(logits_E, outputs_ED):
    p = F.softmax(logits_E, dim=0)
    return (p[:, None] * outputs_ED).sum(0)


def mix_leaky(logits_E, outputs_ED):
    p = F.softmax(logits_E, dim=0)
    best = p.argsort(descending=True)[:2]
    return sum(p[e] * outputs_ED[e] for e in best)


def mix_halves(logits_E, outputs_ED):
    a, b = torch.argsort(logits_E)[-2:]
    return (outputs_ED[a] + outputs_ED[b]) / 2


def mix_logits(logits_E, outputs_ED):
    best = torch.argsort(logits_E, descending=True)[:2]
    return torch.einsum("k,kd->d", logits_E[best], outputs_ED[best])


def mix_worst(logits_E, outputs_ED):
    values, ids = torch.topk(logits_E, 2, largest=False)
    return F.softmax(values, dim=0) @ outputs_ED[ids]


def mix_first_two(logits_E, outputs_ED):
    values, _ = torch.sort(logits_E, descending=True)
    w = F.softmax(values[:2], dim=0)
    return w[0] * outputs_ED[0] + w[1] * outputs_ED[1]


def mix_crossed(logits_E, outputs_ED):
    weights = F.softmax(torch.topk(logits_E, 2).values, dim=0)
    ids = logits_E.argsort()[-2:]  # rising order, while topk falls
    return weights @ outputs_ED[ids]


def mix_winner(logits_E, outputs_ED):
    return outputs_ED[int(torch.topk(logits_E, 1).indices)]


def mix_exp(logits_E, outputs_ED):
    values, ids = torch.topk(logits_E, 2)
    e = torch.exp(values)
    return (e / e.sum()) @ outputs_ED[ids]


def mix_flattened(logits_E, outputs_ED):
    p, i = torch.topk(F.softmax(logits_E, dim=-1), k=2)
    p = F.softmax(p, dim=-1)
    return p[0] * outputs_ED[i[0]] + p[1] * outputs_ED[i[1]]


def mix_zero_mask(logits_E, outputs_ED):
    mask = torch.zeros(len(logits_E))
    mask[torch.argsort(logits_E)[-2:]] = 1
    return F.softmax(logits_E * mask, dim=0) @ outputs_ED


def mix_unsummed(logits_E, outputs_ED):
    values, ids = torch.topk(logits_E, 2)
    return F.softmax(values, dim=0).unsqueeze(1) * outputs_ED[ids]


def mix_divided(logits_E, outputs_ED):
    best = torch.topk(logits_E, 2)
    shares = best.values / best.values.sum()
    return shares[0] * outputs_ED[best.indices[0]] + shares[1] * outputs_ED[best.indices[1]]


def mix_sigmoids(logits_E, outputs_ED):
    ids = logits_E.argsort(descending=True)[:2]
    return torch.sigmoid(logits_E[ids]) @ outputs_ED[ids]


def mix_ids(logits_E, outputs_ED):
    _, ids = torch.topk(logits_E, 2)
    return F.softmax(ids.to(torch.float32), dim=0) @ outputs_ED[ids]


def mix_weights(logits_E, outputs_ED):
    return F.softmax(torch.topk(logits_E, 2).values, dim=0)


def mix_lined_up(logits_E, outputs_ED):
    values, ids = torch.topk(logits_E, 2)
    return (F.softmax(values, dim=0) * outputs_ED[ids]).sum(0)


def mix_runner_up(logits_E, outputs_ED):
    """The second best is looked for among logits in which the best counts 0."""
    best = torch.argmax(logits_E)
    rest = torch.where(torch.arange(len(logits_E)) == best, torch.zeros(()), logits_E)
    pair = torch.stack([best, rest.argmax()])
    return F.softmax(logits_E[pair], 0) @ outputs_ED[pair]


def mix_switch(logits_E, outputs_ED):
    weight, expert = torch.softmax(logits_E, 0).max(0)
    return weight * outputs_ED[expert]


RIGHT = {"00.top2_mix": [mix_by_hand, mix_by_mask, mix_renormalised]}
WRONG = {
    "00.top2_mix": {
        "everyone": mix_all,
        "not_renormalised": mix_leaky,
        "average": mix_halves,
        "raw_logits": mix_logits,
        "smallest": mix_worst,
        "first_rows": mix_first_two,
        "swapped": mix_crossed,
        "only_the_best": mix_winner,
        "overflow": mix_exp,
        "softmax_twice": mix_flattened,
        "masked_with_zero": mix_zero_mask,
        "not_summed": mix_unsummed,
        "divided_logits": mix_divided,
        "halved": lambda logits_E, outputs_ED: mix_by_hand(logits_E, outputs_ED) * 0.5,
        "sigmoid": mix_sigmoids,
        "softmax_of_ids": mix_ids,
        "weights_only": mix_weights,
        "no_unsqueeze": mix_lined_up,
        "second_by_zero": mix_runner_up,
        "best_alone_weighted": mix_switch,
    }
}
