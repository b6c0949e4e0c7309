"""Answers to what lesson 10 asks after training: wrong ones by misconception, and right ones."""

import math
from collections import Counter

import numpy as np
import torch

# 10.expert_information


def contingency(a, b):
    out = torch.zeros(int(a.max()) + 1, int(b.max()) + 1)
    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        out[i, j] += 1
    return out


def from_joint(p, log=torch.log2):
    expected = torch.outer(p.sum(1), p.sum(0))
    mask = p > 0
    return (p[mask] * log(p[mask] / expected[mask])).sum().item()


def mi_table(a, b):
    return from_joint(contingency(a, b) / len(a))


def mi_counter(a, b):
    a, b = a.tolist(), b.tolist()
    n, pairs, left, right = len(a), Counter(zip(a, b, strict=True)), Counter(a), Counter(b)
    return sum(k / n * math.log2(k * n / (left[x] * right[y])) for (x, y), k in pairs.items())


def H(*columns):
    _, counts = np.unique(np.stack([c.numpy() for c in columns]), axis=1, return_counts=True)
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def mi_entropies(a, b):
    return H(a) + H(b) - H(a, b)


def both(measure):
    def answer(experts_N, labels_N, shuffles_RN):
        by_chance = [measure(experts_N, labels_N[order]) for order in shuffles_RN]
        return measure(experts_N, labels_N), float(np.mean(by_chance))

    return answer


def mi_nats(a, b):
    return from_joint(contingency(a, b) / len(a), log=torch.log)


def mi_nan(a, b):
    p = contingency(a, b) / len(a)
    return (p * torch.log2(p / (p.sum(1, keepdim=True) * p.sum(0, keepdim=True)))).sum().item()


def mi_smoothed(a, b):
    counts = contingency(a, b) + 1
    return from_joint(counts / counts.sum())


def mi_rows(a, b):
    counts = contingency(a, b)
    counts = counts[counts.sum(1) > 0]
    return from_joint(counts / counts.sum(1, keepdim=True))


def mi_score(a, b):
    return mi_entropies(a, b) / ((H(a) + H(b)) / 2)


def information_pairs(experts_N, labels_N, shuffles_RN):
    chance = [mi_table(experts_N[order], labels_N[order]) for order in shuffles_RN]
    return mi_table(experts_N, labels_N), sum(chance) / len(chance)


def information_other_shuffle(experts_N, labels_N, shuffles_RN):
    chance = []
    for order in shuffles_RN:
        mixed = torch.empty_like(labels_N)
        mixed[order] = labels_N
        chance.append(mi_table(experts_N, mixed))
    return mi_table(experts_N, labels_N), float(np.mean(chance))


def information_largest(experts_N, labels_N, shuffles_RN):
    best = 0.0
    for order in shuffles_RN:
        best = max(best, mi_counter(experts_N, labels_N[order]))
    return mi_counter(experts_N, labels_N), best


def information_less_chance(*args):
    found, chance = both(mi_entropies)(*args)
    return found - chance, chance


def information_of_one(pick):
    def answer(experts_N, labels_N, shuffles_RN):
        chance = [mi_counter(experts_N, labels_N[order]) for order in shuffles_RN]
        return mi_counter(experts_N, labels_N), pick(chance)

    return answer


def information_pooled(experts_N, labels_N, shuffles_RN):
    everyone = torch.stack([experts_N] * len(shuffles_RN)).flatten()
    return mi_table(experts_N, labels_N), mi_table(everyone, labels_N[shuffles_RN].flatten())


def mi_stride(a, b):
    n, m = int(a.max()) + 1, int(b.max()) + 1
    flat = torch.zeros(max(n, m) ** 2)
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        flat[x * n + y] += 1
    return from_joint(flat[: n * m].reshape(n, m) / len(a))


RIGHT = {
    "10.expert_information": [both(mi_table), both(mi_counter), both(mi_entropies)],
}
WRONG = {
    "10.expert_information": {
        "nats": both(mi_nats),
        "zero_cells": both(mi_nan),
        "add_one": both(mi_smoothed),
        "conditional": both(lambda a, b: H(a, b) - H(a)),
        "expert_entropy": both(lambda a, b: H(a)),
        "joint_entropy": both(lambda a, b: H(a, b)),
        "rows_normalised": both(mi_rows),
        "normalised": both(mi_score),
        "pairs_kept": information_pairs,
        "other_shuffle": information_other_shuffle,
        "largest": information_largest,
        "subtracted": information_less_chance,
        "pooled": information_pooled,
        "last_shuffle": information_of_one(lambda chance: chance[-1]),
        "first_shuffle": information_of_one(lambda chance: chance[0]),
        "added_up": information_of_one(sum),
        "wrong_stride": both(mi_stride),
        "negative": both(lambda a, b: H(a, b) - H(a) - H(b)),
    },
}
