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


# 10.mixtral_keys


def begin(router, layer, name="gate"):
    return {f"model.layers.{layer}.block_sparse_moe.{name}.weight": router.clone()}


def keys_by_rows(router_ED, gate_up_proj, down_proj, layer):
    state, half = begin(router_ED, layer), down_proj.shape[-1]
    for e in range(len(router_ED)):
        key = f"model.layers.{layer}.block_sparse_moe.experts.{e}"
        state[f"{key}.w1.weight"] = gate_up_proj[e, :half].clone()
        state[f"{key}.w2.weight"] = down_proj[e].clone()
        state[f"{key}.w3.weight"] = gate_up_proj[e, half:].clone()
    return state


def keys_by_linear(router_ED, gate_up_proj, down_proj, layer):
    """Fill modules that are built as Mixtral's are, and ask them for their state."""
    root = torch.nn.Module()
    root.gate = torch.nn.Linear(router_ED.shape[1], len(router_ED), bias=False)
    root.experts = torch.nn.ModuleList()
    root.gate.weight.data.copy_(router_ED)
    gates, ups = gate_up_proj.chunk(2, dim=1)
    for gate, up, down in zip(gates, ups, down_proj, strict=True):
        expert = torch.nn.Module()
        for name, weight in {"w3": up, "w1": gate, "w2": down}.items():
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight.data.copy_(weight)
            setattr(expert, name, linear)
        root.experts.append(expert)
    return root.state_dict(prefix=f"model.layers.{layer}.block_sparse_moe.")


def keys_rebuilt(router_ED, gate_up_proj, down_proj, layer):
    stem = f"model.layers.{layer}.block_sparse_moe."
    gate_EFD, up_EFD = gate_up_proj.unflatten(1, (2, -1)).unbind(1)
    banks = {"w1": gate_EFD, "w2": down_proj, "w3": up_EFD}
    flat = {
        f"{stem}experts.{e}.{name}.weight": torch.tensor(bank[e].tolist())
        for name, bank in banks.items()
        for e in range(bank.shape[0])
    }
    return flat | {stem + "gate.weight": torch.tensor(router_ED.tolist())}


def each_expert(place, start=0, router="gate"):
    def answer(router_ED, gate_up_proj, down_proj, layer):
        state = begin(router_ED, layer, router)
        for e, (gate_up, down) in enumerate(zip(gate_up_proj, down_proj, strict=True), start):
            for number, weight in enumerate(place(gate_up, down), 1):
                state[f"model.layers.{layer}.block_sparse_moe.experts.{e}.w{number}.weight"] = weight
        return state

    return answer


def halves(gate_up):
    half = gate_up.shape[0] // 2
    return gate_up[:half].clone(), gate_up[half:].clone()


def place_in_order(gate_up, down):
    return *halves(gate_up), down.clone()


def place_right(gate_up, down):
    gate, up = halves(gate_up)
    return gate, down.clone(), up


def place_views(gate_up, down):
    gate, up = gate_up.chunk(2)
    return gate, down, up


def place_swapped(gate_up, down):
    gate, up = halves(gate_up)
    return up, down.clone(), gate


def place_transposed(gate_up, down):
    return tuple(weight.T.contiguous() for weight in place_right(gate_up, down))


def place_down_transposed(gate_up, down):
    gate, up = halves(gate_up)
    return gate, down.t(), up


def place_interleaved(gate_up, down):
    gate, up = gate_up.unflatten(0, (-1, 2)).unbind(1)
    return gate.contiguous(), down.clone(), up.contiguous()


def place_columns(gate_up, down):
    half = gate_up.shape[1] // 2
    return gate_up[:, :half].contiguous(), down.clone(), gate_up[:, half:].contiguous()


def keys_fused(router_ED, gate_up_proj, down_proj, layer):
    stem = f"model.layers.{layer}.block_sparse_moe.experts."
    return begin(router_ED, layer) | {stem + "gate_up_proj": gate_up_proj, stem + "down_proj": down_proj}


def keys_bare(*args):
    return {name.removesuffix(".weight"): weight for name, weight in keys_by_rows(*args).items()}


RIGHT = {
    "10.expert_information": [both(mi_table), both(mi_counter), both(mi_entropies)],
    "10.mixtral_keys": [keys_by_rows, keys_by_linear, keys_rebuilt],
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
    },
    "10.mixtral_keys": {
        "in_order": each_expert(place_in_order),
        "halves_swapped": each_expert(place_swapped),
        "transposed": each_expert(place_transposed),
        "down_transposed": each_expert(place_down_transposed),
        "interleaved": each_expert(place_interleaved),
        "split_inputs": each_expert(place_columns),
        "views": each_expert(place_views),
        "router_misnamed": each_expert(place_right, router="router"),
        "no_suffix": keys_bare,
        "fused": keys_fused,
        "from_one": each_expert(place_right, start=1),
    },
}
