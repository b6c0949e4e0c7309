"""Inputs of 01.gate_family: what six gates make of drawn logits, and some that mislead a hasty look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.router.draws import spaced_logits
from moe_lessons.exercises.spec import Case

SIZES = ((5, 8, 3), (4, 6, 2), (6, 9, 4))
ONE_TOKEN = (1, 7, 4)
SCALES = (0.7, 1.4, 1.9, 3.1)
"""Each moved by up to 10 %: nobody is to guess them."""


def _root(logits_TE: torch.Tensor) -> torch.Tensor:
    return F.softplus(logits_TE).sqrt()


NAMES = ("topk_softmax", "softmax_topk_renorm", "softmax_topk", "sigmoid", "sqrt_softplus", "topk_sigmoid")
SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"sigmoid": torch.sigmoid, "sqrt_softplus": _root}


@dataclass(frozen=True)
class Gate:
    """What made a case: the family, the scale and the bias of those that have them.

    ``matched`` names a token whose scores happen to sum to the scale: there a sigmoid that was rescaled looks
    like one that was not.
    """

    family: str
    scale: float = 1.0
    biased: bool = False
    matched: int | None = None
    sizes: tuple[int, int, int] | None = None


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """The gates in an order of their own; one token; a first or last token that misleads."""
    scales = [float(scale) for scale in rng.permutation(SCALES) * rng.uniform(0.9, 1.1, len(SCALES))]
    # The largest scale makes two sigmoids look more like the other score: who compares bare scores is told.
    largest = scales.pop(int(np.argmax(scales)))
    made = [
        *(Gate(family) for family in ("topk_softmax", "softmax_topk", "topk_sigmoid") * 2),
        *(Gate(family, 1.0, biased) for family in SCORES for biased in (False, True)),
        Gate("sigmoid", largest, sizes=SIZES[1]),
        *(Gate("sqrt_softplus", scales.pop(), biased) for biased in (False, True)),
        Gate("sigmoid", scales.pop(), biased=True),
        *(Gate("sigmoid", matched=token) for token in (0, -1)),
        *(Gate(family, sizes=ONE_TOKEN) for family in ("softmax_topk", "topk_sigmoid")),
    ]
    cases = []
    for i, place in enumerate(rng.permutation(len(made))):
        sizes = made[place].sizes or SIZES[i % len(SIZES)]
        args = _outputs(rng, made[place], *sizes)
        cases.append(Case(f"gate {i + 1}: T={sizes[0]}, E={sizes[1]}, K={sizes[2]}", args))
    return cases


def _outputs(
    rng: np.random.Generator, gate: Gate, n_tokens: int, n_experts: int, top_k: int
) -> dict[str, Any]:
    """Logits, and what the gate makes of them, drawn until no other family would make nearly the same."""
    while True:
        array_TE = spaced_logits(rng, n_tokens, n_experts, spread=3.0)
        logits_TE = torch.from_numpy(array_TE)
        selection_TE = logits_TE
        if gate.biased:
            # On the first token the bias must change the choice, or it would leave no trace.
            bias_E = torch.zeros(n_experts)
            bias_E[int(array_TE[0].argmin())] = 10.0
            selection_TE = SCORES[gate.family](logits_TE) + bias_E
        ids_TK = selection_TE.topk(top_k, dim=-1).indices
        chosen_TK = logits_TE.gather(-1, ids_TK)
        if gate.family == "topk_softmax":
            weights_TK = chosen_TK.softmax(dim=-1)
        elif gate.family == "softmax_topk":
            weights_TK = logits_TE.softmax(dim=-1).gather(-1, ids_TK)
        elif gate.family == "topk_sigmoid":
            weights_TK = chosen_TK.sigmoid()
        else:
            scores_TK = SCORES[gate.family](chosen_TK)
            scale = gate.scale if gate.matched is None else float(scores_TK[gate.matched].sum())
            weights_TK = scale * shares(scores_TK)
        others = candidates(logits_TE, ids_TK, weights_TK)
        own = {gate.family, "sigmoid"} if gate.family == "topk_sigmoid" else {gate.family}
        apart = [float((others[name] - weights_TK).abs().max()) for name in others.keys() - own]
        if min(apart) > 0.01:
            ids, weights = ids_TK.numpy(), weights_TK.numpy()
            return {"logits_TE": array_TE, "topk_ids_TK": ids, "topk_weights_TK": weights}


def candidates(
    logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The weights that each family would have given, with the given sums where a scale is free."""
    chosen_TK = logits_TE.gather(-1, topk_ids_TK)
    sums_T1 = topk_weights_TK.sum(dim=-1, keepdim=True)
    return {
        "softmax_topk": logits_TE.softmax(dim=-1).gather(-1, topk_ids_TK),
        "topk_softmax": chosen_TK.softmax(dim=-1),
        "topk_sigmoid": chosen_TK.sigmoid(),
        **{family: sums_T1 * shares(score(chosen_TK)) for family, score in SCORES.items()},
    }


def shares(values_TK: torch.Tensor) -> torch.Tensor:
    """Each token's values divided by their sum."""
    return values_TK / values_TK.sum(dim=-1, keepdim=True)
