"""Train the toy under every way to share out tokens, and say with error bars what each costs."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from moe_lessons.metrics import dead_experts, effective_experts, max_violation
from moe_lessons.toy.rules import TopK, load_balancing
from moe_lessons.toy.run import Toy, ToyRun
from moe_lessons.toy.zoo import (
    Base,
    ExpertChoice,
    Groups,
    Hash,
    Noisy,
    SelectionBias,
    Sinkhorn,
    Soft,
    SoftRun,
    fresh_error,
)

MU = 2.0
"""How much all tokens have in common: enough that without balancing some experts get little."""
LATE = 100
"""Steps at the end over which loads are averaged."""

# Two-sided 95 % quantiles of Student's t, by degrees of freedom.
_T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 7: 2.36, 9: 2.26, 11: 2.20, 15: 2.13, 31: 2.04}


def _sigmoid() -> TopK:
    return TopK(2, score="sigmoid", renormalize=True)


def _penalised(alpha: float) -> Callable[[Toy], ToyRun]:
    return lambda settings: ToyRun(settings, _sigmoid(), loss=load_balancing, alpha=alpha)


METHODS: dict[str, tuple[Callable[[Toy], ToyRun], str]] = {
    "none": (lambda s: ToyRun(s, _sigmoid()), "sigmoid"),
    "none, softmax": (lambda s: ToyRun(s, TopK(2, renormalize=True)), "topk_softmax"),
    "none, K = 1": (lambda s: ToyRun(s, TopK(1)), "softmax_topk"),
    "aux loss, 0.1": (_penalised(0.1), "sigmoid"),
    "aux loss, 1": (_penalised(1.0), "sigmoid"),
    "bias, 0.001": (lambda s: ToyRun(s, SelectionBias(2, rate=1e-3)), "past_bias"),
    "bias, 0.01": (lambda s: ToyRun(s, SelectionBias(2, rate=1e-2)), "past_bias"),
    "noisy top-k": (lambda s: ToyRun(s, Noisy(2, s)), "noisy"),
    "groups": (lambda s: ToyRun(s, Groups(2)), "group_limited"),
    "groups, bias 0.01": (lambda s: ToyRun(s, Groups(2, rate=1e-2)), "group_limited"),
    "hash": (lambda s: ToyRun(s, Hash(2, s)), "hash"),
    "expert choice": (lambda s: ToyRun(s, ExpertChoice(2)), "expert_choice"),
    "Sinkhorn": (lambda s: ToyRun(s, Sinkhorn(2)), "sinkhorn"),
    "BASE, K = 1": (lambda s: ToyRun(s, Base()), "base"),
    "Soft MoE": (lambda s: SoftRun(s, Soft(2, s)), "soft_moe"),
}
"""What is compared, and the name in `moe_lessons.routing.ROUTERS` that says whether it is causal."""


def interval(values_S: Tensor) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95 % confidence interval (Student's t).

    Examples
    --------
    >>> import torch
    >>> interval(torch.tensor([1.0, 3.0]))  # 12.71 * sqrt(2) / sqrt(2)
    (2.0, 12.71)
    """
    n = values_S.numel()
    if n < 2:
        raise ValueError(f"values_S has {n} value: an interval needs at least 2 seeds")
    t = _T95[max(df for df in _T95 if df <= n - 1)]
    return round(values_S.mean().item(), 4), round(t * values_S.std().item() / math.sqrt(n), 4)


def measure(name: str, settings: Toy, steps: int) -> dict[str, Tensor]:
    """Train one method; error on fresh tokens, MaxVio of a batch, effective and dead experts, per seed.

    ``error`` decides about a batch of tokens together, as in training; ``error_alone`` about each alone.

    Examples
    --------
    >>> sorted(measure("none", Toy(n_seeds=2), 3))
    ['dead', 'effective', 'error', 'error_alone', 'max_violation']
    """
    if name not in METHODS:
        raise ValueError(f"name is {name!r}: choose one of {', '.join(METHODS)}")
    run = METHODS[name][0](settings).advance(steps)
    late_NSE = run.shares_NSE[-LATE:]
    return {
        "error": fresh_error(run, alone=False),
        "error_alone": fresh_error(run, alone=True),
        "max_violation": max_violation(late_NSE).mean(dim=0),
        "effective": effective_experts(late_NSE.mean(dim=0)),
        "dead": dead_experts((late_NSE.mean(dim=0) > 0.01).long()).float(),
    }


def compare(
    *,
    n_seeds: int,
    steps: int,
    names: tuple[str, ...] = tuple(METHODS),
    say: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Train all methods from the same initial models on the same tokens.

    Each number is (mean, half the width of its 95 % interval). ``against_none`` is the error minus that
    without balancing, seed by seed (BASE: with K = 1); ``alone_against_none`` the same for the error alone;
    ``lost_alone`` the error alone minus the error.
    """
    settings = Toy(n_seeds=n_seeds, mu=MU, even_start=True)
    found: dict[str, dict[str, Tensor]] = {}
    rows = []
    for name in names:
        found[name] = measure(name, settings, steps)
        base = found["none, K = 1" if name == "BASE, K = 1" else "none"]
        differences = {
            "against_none": found[name]["error"] - base["error"],
            "alone_against_none": found[name]["error_alone"] - base["error"],
            "lost_alone": found[name]["error_alone"] - found[name]["error"],
        }
        numbers = {key: interval(value_S) for key, value_S in {**found[name], **differences}.items()}
        rows.append({"name": name, "router": METHODS[name][1], **numbers})
        say(f"{name:20s} {numbers}")
    return {"settings": {"mu": MU, "n_seeds": n_seeds, "steps": steps, "late": LATE}, "rows": rows}
