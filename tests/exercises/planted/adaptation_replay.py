"""Answers to lesson 13 as learners write them: replay."""

import torch
import torch.nn.functional as F

# Right


def replay_mask(logits, ids, old):
    keep = torch.full_like(logits, float("-inf")).scatter(1, ids, 0.0)
    return (logits + keep).softmax(-1).gather(1, ids)


def replay_exp(logits, ids, old):
    rows = torch.arange(len(ids))[:, None]
    e = (logits[rows, ids] - logits.max()).exp()
    return e / e.sum(1, keepdim=True)


def replay_renormalised(logits, ids, old):
    p = torch.gather(F.softmax(logits, dim=-1), 1, ids)
    return p / p.sum(dim=-1, keepdim=True)


# Wrong


def replay_own(logits, ids, old):
    best, _ = logits.topk(ids.shape[1])
    return F.softmax(best, dim=-1)


def replay_sorted(logits, ids, old):
    return torch.sort(logits.gather(1, ids), dim=1, descending=True)[0].softmax(-1)


def replay_by_id(logits, ids, old):
    ids = ids.sort(dim=-1)[0]
    return torch.stack([row[i].softmax(0) for row, i in zip(logits, ids, strict=True)])


def replay_old(logits, ids, old):
    return old * 1.0


def replay_detached(logits, ids, old):
    with torch.no_grad():
        return logits.gather(1, ids).softmax(-1)


def replay_straight(logits, ids, old):
    new = replay_exp(logits, ids, old)
    return (old - new).detach() + new


def replay_all(logits, ids, old):
    return F.softmax(logits, dim=-1).gather(-1, ids)


def replay_sum_detached(logits, ids, old):
    p = replay_all(logits, ids, old)
    with torch.no_grad():
        total = p.sum(1, keepdim=True)
    return p / total


def replay_zeros(logits, ids, old):
    mask = torch.zeros(logits.shape)
    mask[torch.arange(len(ids))[:, None], ids] = 1
    return torch.softmax(logits * mask, -1).gather(1, ids)


def replay_down(logits, ids, old):
    return F.softmax(logits.gather(1, ids), dim=0)


def replay_flat(logits, ids, old):
    e = logits.gather(1, ids).exp()
    return e / e.sum()


def replay_sigmoid(logits, ids, old):
    s = torch.sigmoid(logits).gather(1, ids)
    return s / s.sum(-1, keepdim=True)


def replay_logits(logits, ids, old):
    return torch.stack([row[i] for row, i in zip(logits, ids, strict=True)])


def replay_ratio(logits, ids, old):
    return replay_exp(logits, ids, old) / old


def replay_whole(logits, ids, old):
    keep = torch.full_like(logits, float("-inf")).scatter(1, ids, 0.0)
    return (logits + keep).softmax(-1)


RIGHT = {"13.replay": [replay_mask, replay_exp, replay_renormalised]}
WRONG = {
    "13.replay": {
        "own_choice": replay_own,
        "own_choice_in_order": replay_sorted,
        "sorted_ids": replay_by_id,
        "rollout_weights": replay_old,
        "detached": replay_detached,
        "straight_through": replay_straight,
        "softmax_over_all": replay_all,
        "sum_detached": replay_sum_detached,
        "masked_by_zero": replay_zeros,
        "over_the_tokens": replay_down,
        "over_everything": replay_flat,
        "sigmoid": replay_sigmoid,
        "logits_alone": replay_logits,
        "ratio": replay_ratio,
        "whole_weights": replay_whole,
    },
}
