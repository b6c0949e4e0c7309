"""Answers to lesson 13 as learners write them: what trains, and saliency."""

import numpy as np
import torch
import torch.nn.functional as F
from planted import adaptation_experts as experts
from planted import adaptation_pruning as pruning
from planted import adaptation_replay as replays

# What trains: right


def trains_endings(names, plan):
    out = []
    for name in names.split("\n"):
        dotted = "." + name + "."
        router = ".gate." in dotted or ".router." in dotted
        expert = ".experts." in dotted
        if plan == "all":
            out.append(True)
        elif plan == "router frozen":
            out.append(not router)
        elif plan == "experts frozen":
            out.append(not expert)
        elif plan == "only experts":
            out.append(expert)
        elif plan == "only router":
            out.append(router)
        else:
            out.append(not router and not expert)
    return torch.tensor(out)


def trains_kinds(names, plan):
    def kind(name):
        parts = name.split(".")
        if "experts" in parts:
            return "experts"
        return "router" if "gate" in parts or "router" in parts else "rest"

    kinds = np.array([kind(name) for name in names.splitlines()])
    if plan == "all":
        return [True] * len(kinds)
    if plan.startswith("only"):
        return (kinds == plan.split()[-1]).tolist()
    return (kinds != plan.split()[0]).tolist()


# What trains: wrong


def _trains(router=None, expert=None):
    router = router or (lambda n: any(p in ("gate", "router") for p in n.split(".")))
    expert = expert or (lambda n: any(p == "experts" for p in n.split(".")))

    def answer(names, plan):
        rows = []
        for n in names.splitlines():
            table = {"all": True, "router frozen": not router(n), "experts frozen": not expert(n)}
            table |= {"only experts": expert(n), "only router": router(n)}
            table["only the rest"] = not router(n) and not expert(n)
            rows.append(table[plan])
        return torch.tensor(rows)

    return answer


def _plans(change):
    def answer(names, plan):
        kinds = [
            "expert" if ".experts." in n else "router" if {"gate", "router"} & set(n.split(".")) else "rest"
            for n in names.splitlines()
        ]
        every = {"expert", "router", "rest"}
        trained = {
            "all": every,
            "router frozen": every - {"router"},
            "experts frozen": every - {"expert"},
            "only experts": {"expert"},
            "only router": {"router"},
            "only the rest": {"rest"},
        } | change
        return torch.tensor([k in trained[plan] for k in kinds])

    return answer


def trains_elif(names, plan):
    """Letters, and an expert is asked for before a router."""
    rows = []
    for n in names.splitlines():
        kind = "expert" if "experts" in n else "router" if "gate" in n or "router" in n else "rest"
        rows.append(
            plan == "all"
            or (plan.endswith("frozen") and not plan.startswith(kind))
            or (plan.startswith("only") and kind in plan)
        )
    return rows


def trains_frozen(names, plan):
    return ~torch.tensor(trains_kinds(names, plan))


# Saliency: right


def saliency_loop(ids, weights, outputs, n_experts):
    scores = []
    for e in range(n_experts):
        hit = ids == e
        values = weights[hit] * outputs[hit].norm(dim=1)
        scores.append(values.mean() if len(values) else torch.tensor(0.0))
    return torch.stack(scores)


def saliency_onehot(ids, weights, outputs, n_experts):
    choice = F.one_hot(ids, n_experts).float()
    lengths = (weights.unsqueeze(-1) * outputs).square().sum(-1).sqrt()
    total = torch.einsum("tke,tk->e", choice, lengths)
    return torch.nan_to_num(total / choice.sum((0, 1)))


def saliency_numpy(ids, weights, outputs, n_experts):
    flat, values = ids.numpy().ravel(), (weights.numpy() * np.linalg.norm(outputs.numpy(), axis=-1)).ravel()
    sums = np.bincount(flat, weights=values, minlength=n_experts)
    return torch.from_numpy(sums / np.maximum(np.bincount(flat, minlength=n_experts), 1)).float()


# Saliency: wrong


def _saliency(values, reduce=None):
    def answer(ids, weights, outputs, n_experts):
        scores = torch.zeros(n_experts)
        for e in range(n_experts):
            t, k = torch.where(ids == e)
            if len(t) == 0:
                continue
            per_token = values(weights[t, k], outputs[t, k])
            scores[e] = reduce(per_token, weights[t, k], len(ids)) if reduce else per_token.mean()
        return scores

    return answer


def _length(w, o):
    return w * o.norm(dim=-1)


def saliency_first(ids, weights, outputs, n_experts):
    return saliency_loop(ids[:, 0], weights[:, 0], outputs[:, 0], n_experts)


def saliency_layer(ids, weights, outputs, n_experts):
    whole = (weights[..., None] * outputs).sum(dim=1).norm(dim=1)
    scores = torch.zeros(n_experts)
    for e in range(n_experts):
        t, k = torch.where(ids == e)
        if len(t):
            scores[e] = (weights[t, k] * whole[t]).mean()
    return scores


def saliency_plus_equals(ids, weights, outputs, n_experts):
    scores, counts = torch.zeros(n_experts), torch.bincount(ids.flatten(), minlength=n_experts)
    for value, e in zip(_length(weights, outputs).flatten(), ids.flatten(), strict=True):
        scores[e] = value
    return scores / counts.clamp(min=1)


def saliency_plus_equals_by_place(ids, weights, outputs, n_experts):
    scores, counts = torch.zeros(n_experts), torch.bincount(ids.flatten(), minlength=n_experts)
    for k in range(ids.shape[1]):
        last = dict(zip(ids[:, k].tolist(), _length(weights[:, k], outputs[:, k]), strict=True))
        for e, value in last.items():
            scores[e] += value
    return scores / counts.clamp(min=1)


def saliency_nan(ids, weights, outputs, n_experts):
    return torch.stack([_length(weights[ids == e], outputs[ids == e]).mean() for e in range(n_experts)])


def saliency_plus_one(ids, weights, outputs, n_experts):
    sums = torch.zeros(n_experts).scatter_add(0, ids.flatten(), _length(weights, outputs).flatten())
    return sums / (1 + torch.bincount(ids.flatten(), minlength=n_experts))


def saliency_share(ids, weights, outputs, n_experts):
    scores = saliency_loop(ids, weights, outputs, n_experts)
    return scores / scores.sum()


RIGHT = {
    "13.what_trains": [trains_endings, trains_kinds],
    "13.saliency": [saliency_loop, saliency_onehot, saliency_numpy],
    **experts.RIGHT,
    **pruning.RIGHT,
    **replays.RIGHT,
}
WRONG = {
    "13.what_trains": {
        "gate_substring": _trains(router=lambda n: "gate" in n or "router" in n),
        "gate_substring:experts, too": _trains(
            lambda n: n.find("gate") >= 0 or n.find("router") >= 0, lambda n: n.find("experts") >= 0
        ),
        "gate_substring:whichever comes first": trains_elif,
        "dot_before": _trains(
            lambda n: n.count(".gate.") + n.count(".router.") > 0, lambda n: n.count(".experts.") > 0
        ),
        "dot_before:experts alone": _trains(expert=lambda n: ".experts." in n),
        "gate_prefix": _trains(router=lambda n: any(p.startswith(("gate", "router")) for p in n.split("."))),
        "router_by_that_name": _trains(router=lambda n: ".router." in n),
        "router_called_gate": _trains(router=lambda n: ".gate." in n),
        "router_weight_alone": _trains(
            router=lambda n: n.split(".")[-2:] in (["gate", "weight"], ["router", "weight"])
        ),
        "innermost_module": _trains(
            router=lambda n: n.rpartition(".")[0].rpartition(".")[2] in {"gate", "router"}
        ),
        "innermost_module:of experts, too": _trains(
            lambda n: n.split(".")[-2:-1] in (["gate"], ["router"]),
            lambda n: n.split(".")[-2:-1] == ["experts"],
        ),
        "innermost_module:of experts alone": _trains(expert=lambda n: n.split(".")[-2] == "experts"),
        "shared_gate_is_router": _trains(
            router=lambda n: any(p.endswith(("gate", "router")) for p in n.split("."))
        ),
        "shared_are_experts": _trains(expert=lambda n: "expert" in n),
        "router_is_an_expert": _trains(
            expert=lambda n: not {"gate", "router", "experts"}.isdisjoint(n.split("."))
        ),
        "shared_plural": _trains(expert=lambda n: any(p.endswith("experts") for p in n.split("."))),
        "experts_by_number": _trains(
            expert=lambda n: (
                any(p.isdigit() for p in n.split(".experts.")[-1].split(".")) and ".experts." in n
            )
        ),
        "bank_biases_missed": _trains(expert=lambda n: ".experts." in n and not n.endswith("_bias")),
        "whole_mlp": _trains(expert=lambda n: ".mlp." in n or ".block_sparse_moe." in n or ".moe." in n),
        "inverted": trains_frozen,
        "everything": lambda names, plan: [True for name in names.splitlines()],
        "only_means_frozen": _plans({"only experts": {"router", "rest"}, "only router": {"expert", "rest"}}),
        "frozen_means_only": _plans({"experts frozen": {"expert"}, "router frozen": {"router"}}),
        "rest_frozen": _plans({"experts frozen": {"router"}, "router frozen": {"expert"}}),
        "rest_keeps_router": _plans({"only the rest": {"rest", "router"}}),
        "rest_keeps_experts": _plans({"only the rest": {"rest", "expert"}}),
        "freezes_the_layer": _plans({"experts frozen": {"rest"}, "router frozen": {"rest"}}),
        "trains_the_layer": _plans(
            {"only experts": {"expert", "router"}, "only router": {"expert", "router"}}
        ),
    },
    "13.saliency": {
        "frequency": lambda i, w, o, n: torch.bincount(i.view(-1), minlength=n) / i.numel(),
        "sum_not_mean": _saliency(_length, lambda v, w, n: v.sum()),
        "over_all_tokens": _saliency(_length, lambda v, w, n: v.sum() / n),
        "no_weight": _saliency(lambda w, o: o.norm(dim=1)),
        "weights_alone": _saliency(lambda w, o: w),
        "weighted_mean": _saliency(_length, lambda v, w, n: v.sum() / w.sum()),
        "product_of_means": _saliency(lambda w, o: w.mean() * o.norm(dim=1).mean()),
        "squared_length": _saliency(lambda w, o: w * (o**2).sum(-1)),
        "other_norm": _saliency(lambda w, o: w * o.abs().sum(-1)),
        "length_of_the_mean": _saliency(lambda w, o: (w[:, None] * o).mean(dim=0).norm()),
        "first_choice_alone": saliency_first,
        "whole_layer": saliency_layer,
        "last_token_alone": saliency_plus_equals,
        "last_token_alone:place by place": saliency_plus_equals_by_place,
        "nan_for_idle": saliency_nan,
        "plus_one": saliency_plus_one,
        "normalised": saliency_share,
    },
    **experts.WRONG,
    **pruning.WRONG,
    **replays.WRONG,
}
