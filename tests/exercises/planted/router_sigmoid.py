"""Answers to 01.sigmoid_gates as learners write them; `router` lists which is which."""

import numpy as np
import torch
import torch.nn.functional as F


def by_sorting(logits_TE, expert_bias_E, top_k, scale):
    s = 1 / (1 + torch.exp(-logits_TE))
    ids = (s + expert_bias_E[None, :]).argsort(dim=-1, descending=True)[:, :top_k]
    w = torch.take_along_dim(s, ids, dim=-1)
    return ids, scale * (w / w.sum(dim=-1, keepdim=True))


def in_numpy(logits_TE, expert_bias_E, top_k, scale):
    s = 1 / (1 + np.exp(-logits_TE.numpy()))
    ids = np.argpartition(-(s + expert_bias_E.numpy()), top_k - 1, axis=1)[:, :top_k]
    w = np.take_along_axis(s, ids, axis=1)
    return ids, w / (w.sum(1, keepdims=True) + 1e-20) * scale


def deepseek(logits_TE, expert_bias_E, top_k, scale):
    """Keep the originals, add the bias, gather, divide, scale: the order of DeepSeek's own code."""
    scores = logits_TE.sigmoid()
    original = scores
    scores = scores + expert_bias_E
    ids = torch.topk(scores, top_k, dim=-1)[1]
    weights = original.gather(1, ids)
    weights /= weights.sum(dim=-1, keepdim=True)
    weights *= scale
    return ids, weights


def values_first(logits_TE, expert_bias_E, top_k, scale):
    ids, w = deepseek(logits_TE, expert_bias_E, top_k, scale)
    return w, ids


def biased_weight(logits_TE, expert_bias_E, top_k, scale):
    scores = torch.sigmoid(logits_TE) + expert_bias_E
    w, ids = scores.topk(top_k, dim=-1)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def unbiased(logits_TE, expert_bias_E, top_k, scale):
    w, ids = torch.sigmoid(logits_TE).topk(top_k, dim=-1)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def biased_logits(logits_TE, expert_bias_E, top_k, scale):
    ids = torch.sigmoid(logits_TE + expert_bias_E).topk(top_k, dim=-1).indices
    w = torch.sigmoid(logits_TE).gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def softmaxed(logits_TE, expert_bias_E, top_k, scale):
    s = F.softmax(logits_TE, dim=-1)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def after_softmax(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(F.softmax(logits_TE, dim=-1))
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def bare(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, s.gather(1, ids) * scale


def over_everything(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    s = s / s.sum(dim=-1, keepdim=True)
    return ids, s.gather(1, ids) * scale


def scaled_first(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids) * scale
    return ids, w / w.sum(dim=-1, keepdim=True)


def then_softmax(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, F.softmax(s.gather(1, ids), dim=-1) * scale


def linear_bias(logits_TE, expert_bias_E, top_k, scale):
    w, ids = torch.topk(torch.sigmoid(logits_TE + expert_bias_E), top_k, dim=-1)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def two_topks(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    _, ids = torch.topk(s + expert_bias_E, top_k)
    w, _ = torch.topk(s, top_k)
    return ids, scale * w / w.sum(-1, keepdim=True)
