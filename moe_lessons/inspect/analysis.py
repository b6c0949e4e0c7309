"""What a routing trace says, as plain numbers: for each layer, and where it can be told, beside chance."""

import math
from typing import Any

import torch
from torch import Tensor

from moe_lessons.accounting import expert_coverage
from moe_lessons.inspect.trace import LayerTrace, Trace
from moe_lessons.metrics import (
    coactivation,
    dead_experts,
    effective_experts,
    entropy,
    expected_coactivation,
    load_shares,
    locality,
    max_violation,
    mutual_information,
    tokens_per_expert,
    tokens_until_all,
)

POSITION_BINS = 8
SHUFFLES = 5
PAIRS, TOKENS = 5, 6  # pairs of experts and tokens of an expert that are listed
LEAST_WEIGHT = 0.01  # experts that together hold no more of all weight are named as candidates to prune


def findings(trace: Trace, seed: int = 0) -> dict[str, Any]:
    """Describe a trace in numbers that JSON can hold.

    Parameters
    ----------
    trace : Trace
    seed : int
        Of the shuffles and orders.

    Returns
    -------
    dict
        "layers" has one entry for each layer, in order: load, the experts' favourite tokens, pairs, the
        information that the choice shares with token, previous token, position and domain (bits, the share
        of the choice's own entropy, and what shuffled labels give), how often neighbours share their first
        expert, weight kept, candidates to prune, and the tokens until all experts have been touched.
        "untrained" in a layer holds information and neighbours for a copy with random weights.

    Examples
    --------
    >>> ids = torch.tensor([[0], [1], [0], [1]])
    >>> layer = LayerTrace("gate", 3, ids, torch.ones(4, 1))
    >>> domains = torch.zeros(4).long()
    >>> trace = Trace("toy", "", ids[:, 0], torch.arange(4), domains, list("abab"), ["t"], (layer,))
    >>> found = findings(trace)["layers"][0]
    >>> found["dead"], found["effective_experts"], found["information"]["token"]["share"]
    ([2], 2.0, 1.0)
    """
    generator = torch.Generator().manual_seed(seed)
    labels = _labels(trace)
    found = []
    for i, layer in enumerate(trace.layers):
        entry = _layer(layer, trace, labels, generator)
        if i < len(trace.untrained):
            copy = trace.untrained[i]
            entry["untrained"] = {
                "effective_experts": _round(effective_experts(_load(copy)).item()),
                "information": _information(copy, labels, generator),
                "neighbours": neighbours(copy, trace.positions_T),
            }
        found.append(entry)
    return {
        "model": trace.model,
        "family": trace.family,
        "tokens": trace.n_tokens,
        "distinct_tokens": len(trace.token_ids_T.unique()),
        "domains": [
            {"name": name, "tokens": int((trace.domains_T == i).sum())}
            for i, name in enumerate(trace.domains)
        ],
        "layers": found,
    }


def _labels(trace: Trace) -> dict[str, Tensor]:
    """What a choice may depend on, as small whole numbers."""
    longest = int(trace.positions_T.max()) + 1
    token_T = trace.token_ids_T.unique(return_inverse=True)[1]
    nothing_before = int(token_T.max()) + 1  # a label of its own where a piece of text begins
    labels = {
        "token": token_T,
        "previous": torch.where(trace.positions_T == 0, nothing_before, token_T.roll(1)),
        "position": trace.positions_T * POSITION_BINS // longest,
    }
    if len(trace.domains) > 1:
        labels["domain"] = trace.domains_T
    return labels


def _layer(
    layer: LayerTrace, trace: Trace, labels: dict[str, Tensor], generator: torch.Generator
) -> dict[str, Any]:
    load_E = _load(layer)
    n_experts, top_k = layer.n_experts, layer.top_k
    weight_E = weight_shares(layer)
    score = score_function(layer)
    pruned = prunable(weight_E)
    return {
        "name": layer.name,
        "n_experts": n_experts,
        "top_k": top_k,
        "load": load_E.tolist(),
        "load_shares": [_round(x) for x in load_shares(load_E).tolist()],
        "weight_shares": [_round(x) for x in weight_E.tolist()],
        "effective_experts": _round(effective_experts(load_E).item()),
        "max_violation": _round(max_violation(load_E).item()),
        "dead": (load_E == 0).nonzero().flatten().tolist(),
        "n_dead": int(dead_experts(load_E)),
        "score_function": score,
        "kept": kept_mass(layer, score),
        "information": _information(layer, labels, generator),
        "neighbours": neighbours(layer, trace.positions_T),
        "pairs": pairs(layer),
        "reads": [reads(layer, trace, expert) for expert in range(n_experts)],
        "prunable": pruned,
        "prunable_weight": _round(float(weight_E[pruned].sum())) if pruned else 0.0,
        "tokens_until_all_used": _round(tokens_until_all(layer.topk_ids_TK, generator)),
        "tokens_until_all_even": tokens_for_coverage(n_experts, top_k),
    }


def _load(layer: LayerTrace) -> Tensor:
    return tokens_per_expert(layer.topk_ids_TK, layer.n_experts)


def weight_shares(layer: LayerTrace) -> Tensor:
    """Each expert's share of all routing weight: float64, shape (E,)."""
    total_E = torch.zeros(layer.n_experts, dtype=torch.float64)
    weights = layer.topk_weights_TK.double().abs().flatten()
    total_E.index_add_(0, layer.topk_ids_TK.flatten(), weights)
    return total_E / total_E.sum().clamp_min(1e-300)


def _information(
    layer: LayerTrace, labels: dict[str, Tensor], generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """Bits that a choice shares with each label; each of a token's K choices counts as one."""
    experts_N = layer.topk_ids_TK.flatten()
    bits = entropy(_load(layer)).item() / math.log(2)
    found = {}
    for name, labels_T in labels.items():
        labels_N = labels_T.repeat_interleave(layer.top_k)
        shared = mutual_information(experts_N, labels_N)
        # A token's K choices stay together, so labels are dealt out token by token.
        chance = sum(
            mutual_information(
                experts_N,
                labels_T[torch.randperm(len(labels_T), generator=generator)].repeat_interleave(layer.top_k),
            )
            for _ in range(SHUFFLES)
        )
        found[name] = {
            "bits": _round(shared),
            "chance_bits": _round(chance / SHUFFLES),
            "share": _round(shared / bits) if bits > 0 else 0.0,
            "chance_share": _round(chance / SHUFFLES / bits) if bits > 0 else 0.0,
        }
    return found


def neighbours(layer: LayerTrace, positions_T: Tensor) -> dict[str, float] | None:
    """How often a token's heaviest expert is that of the token before it, beside chance at these loads.

    None where no piece of text has two tokens.

    Examples
    --------
    >>> ids = torch.tensor([[0], [0], [1], [1]])
    >>> neighbours(LayerTrace("", 2, ids, torch.ones(4, 1)), torch.tensor([0, 1, 2, 0]))
    {'share': 0.5, 'chance_share': 0.5}
    """
    heaviest_T1 = layer.topk_weights_TK.argmax(dim=1, keepdim=True)
    first_T = layer.topk_ids_TK.gather(1, heaviest_T1).flatten()
    starts = (positions_T == 0).nonzero().flatten()
    pieces = first_T.tensor_split(starts[starts > 0])
    lengths_W = torch.tensor([len(piece) for piece in pieces])
    if int(lengths_W.max()) < 2:
        return None
    found = locality(torch.nn.utils.rnn.pad_sequence(list(pieces), batch_first=True), lengths_W)
    return {"share": _round(found.found), "chance_share": _round(found.by_chance)}


def score_function(layer: LayerTrace) -> str:
    """Whether the weights of a layer follow a softmax or a sigmoid of its logits, or neither.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 1.0, -1.0], [0.5, 3.0, 1.0]])
    >>> weights, ids = logits.sigmoid().topk(2)
    >>> score_function(LayerTrace("", 3, ids, 2.5 * weights, logits))
    'sigmoid'
    """
    if layer.logits_TE is None:
        return "unknown"
    weights_TK = layer.topk_weights_TK.double()
    best, least = "unknown", 0.02
    for name, scores_TE in _scores(layer.logits_TE.double()).items():
        chosen_TK = scores_TE.gather(1, layer.topk_ids_TK)
        for a_TK, b_TK in ((chosen_TK, weights_TK), (_normed(chosen_TK), _normed(weights_TK))):
            if layer.top_k == 1 and torch.allclose(b_TK, torch.ones_like(b_TK)):
                continue  # a weight that is always 1 says nothing
            scale = (a_TK * b_TK).sum() / (a_TK * a_TK).sum().clamp_min(1e-300)
            error = ((scale * a_TK - b_TK).norm() / b_TK.norm().clamp_min(1e-300)).item()
            if error < least:
                best, least = name, error
    return best


def _scores(logits_TE: Tensor) -> dict[str, Tensor]:
    return {"softmax": logits_TE.softmax(dim=-1), "sigmoid": logits_TE.sigmoid()}


def _normed(values_TK: Tensor) -> Tensor:
    return values_TK / values_TK.sum(dim=-1, keepdim=True).clamp_min(1e-300)


def kept_mass(layer: LayerTrace, score: str) -> float | None:
    """Share of all E experts' scores that the chosen K hold, averaged over tokens; None without logits."""
    if layer.logits_TE is None:
        return None
    scores_TE = _scores(layer.logits_TE.double())["sigmoid" if score == "sigmoid" else "softmax"]
    kept_T = scores_TE.gather(1, layer.topk_ids_TK).sum(dim=-1) / scores_TE.sum(dim=-1)
    return _round(kept_T.mean().item())


def pairs(layer: LayerTrace) -> list[dict[str, Any]]:
    """Pairs of experts that are chosen together most above what their loads give, strongest first."""
    if layer.top_k < 2:
        return []
    seen_EE = coactivation(layer.topk_ids_TK, layer.n_experts).double()
    expected_EE = expected_coactivation(layer.topk_ids_TK, layer.n_experts)
    above = torch.triu((seen_EE - expected_EE) / expected_EE.sqrt().clamp_min(1e-9), diagonal=1)
    above[expected_EE < 1] = 0  # fewer than one expected: too rare to tell
    order = above.flatten().argsort(descending=True)[:PAIRS].tolist()
    found = []
    for flat in order:
        a, b = divmod(flat, layer.n_experts)
        if above[a, b] > 0:
            together, expected = int(seen_EE[a, b]), expected_EE[a, b].item()
            found.append({"experts": [a, b], "together": together, "expected": _round(expected)})
    return found


def reads(layer: LayerTrace, trace: Trace, expert: int) -> list[dict[str, Any]]:
    """The tokens that an expert reads most, each with how many of the token's occurrences those are."""
    mine_T = (layer.topk_ids_TK == expert).any(dim=-1)
    ids, counts = trace.token_ids_T[mine_T].unique(return_counts=True)
    found = []
    for place in counts.argsort(descending=True, stable=True)[:TOKENS].tolist():
        everywhere_T = trace.token_ids_T == ids[place]
        first = int(everywhere_T.nonzero()[0])
        found.append(
            {"token": trace.tokens[first], "read": int(counts[place]), "of": int(everywhere_T.sum())}
        )
    return found


def prunable(weight_E: Tensor) -> list[int]:
    """The experts of least weight that together hold at most 1 % of it, least first.

    Examples
    --------
    >>> prunable(torch.tensor([0.5, 0.004, 0.49, 0.006]))
    [1, 3]
    """
    order = weight_E.argsort(stable=True)
    fits = weight_E[order].cumsum(0) <= LEAST_WEIGHT + 1e-12
    return order[fits].tolist()


def tokens_for_coverage(n_experts: int, top_k: int) -> int:
    """The smallest batch that touches all but half an expert on average, if all are equally likely.

    Examples
    --------
    >>> tokens_for_coverage(8, 2)  # 8 (3/4)^B < 1/2
    10
    """
    batch = 1
    while expert_coverage(n_experts, top_k, batch) <= n_experts - 0.5:
        batch += 1
    return batch


def _round(value: float) -> float:
    return round(value, 4)
