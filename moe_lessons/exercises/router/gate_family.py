"""Exercise 01.gate_family: tell from a gate's outputs which family it belongs to."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.router.draws import spaced_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

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
    one_token: bool = False


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """The gates in an order of their own; one token; a first or last token that misleads."""
    scales = [float(scale) for scale in rng.permutation(SCALES) * rng.uniform(0.9, 1.1, len(SCALES))]
    made = [
        *(Gate(family) for family in ("topk_softmax", "softmax_topk", "topk_sigmoid") * 2),
        *(Gate(family, 1.0, biased) for family in SCORES for biased in (False, True)),
        *(Gate(family, scales.pop(), biased) for family, biased in itertools.product(SCORES, (False, True))),
        *(Gate("sigmoid", matched=token) for token in (0, -1)),
        *(Gate(family, one_token=True) for family in ("softmax_topk", "topk_sigmoid")),
    ]
    cases = []
    for i, place in enumerate(rng.permutation(len(made))):
        sizes = ONE_TOKEN if made[place].one_token else SIZES[i % len(SIZES)]
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
            weights_TK = scale * _shares(scores_TK)
        others = _candidates(logits_TE, ids_TK, weights_TK)
        own = {gate.family, "sigmoid"} if gate.family == "topk_sigmoid" else {gate.family}
        apart = [float((others[name] - weights_TK).abs().max()) for name in others.keys() - own]
        if min(apart) > 0.01:
            ids, weights = ids_TK.numpy(), weights_TK.numpy()
            return {"logits_TE": array_TE, "topk_ids_TK": ids, "topk_weights_TK": weights}


def _candidates(
    logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The weights that each family would have given, with the given sums where a scale is free."""
    chosen_TK = logits_TE.gather(-1, topk_ids_TK)
    sums_T1 = topk_weights_TK.sum(dim=-1, keepdim=True)
    return {
        "softmax_topk": logits_TE.softmax(dim=-1).gather(-1, topk_ids_TK),
        "topk_softmax": chosen_TK.softmax(dim=-1),
        "topk_sigmoid": chosen_TK.sigmoid(),
        **{family: sums_T1 * _shares(score(chosen_TK)) for family, score in SCORES.items()},
    }


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-3, atol=1e-4))


def _shares(values_TK: torch.Tensor) -> torch.Tensor:
    return values_TK / values_TK.sum(dim=-1, keepdim=True)


def reference(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
    """Compute what each family would return for the chosen experts, and see which one it is."""
    candidates = _candidates(logits_TE, topk_ids_TK, topk_weights_TK)
    # In this order: a bare sigmoid also has the shares of a rescaled one.
    return next((name for name, like in candidates.items() if _alike(topk_weights_TK, like)), "sqrt_softplus")


def one_name(values: dict[str, Any]) -> dict[str, Any]:
    """Two of the six names are one function, so either is right."""
    same = {"softmax_topk_renorm": "topk_softmax"}
    return {"family": same.get(values["family"], values["family"])}


def _sums_only(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
    if _alike(topk_weights_TK.sum(dim=-1), torch.ones(len(topk_weights_TK))):
        return "topk_softmax"
    return reference(logits_TE, topk_ids_TK, topk_weights_TK)


def _renamed(names: dict[str, str]) -> Callable[..., str]:
    """The right family, but some names stand for others."""

    def classify(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
        family = reference(logits_TE, topk_ids_TK, topk_weights_TK)
        return names.get(family, family)

    return classify


def _wrong_exactly(where: Callable[[Case, str], bool]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether an answer is wrong on just those cases, whatever it says there."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        return (got["family"] != want["family"]) == where(case, want["family"]) and not _misspelt(got)

    return detects


def _misspelt(got: Outputs) -> bool:
    """Whether a name is meant and missed, such as "softplus_sqrt" (and not "unknown", say)."""
    found = str(got["family"])
    return found not in NAMES and any(part in found.lower() for part in ("soft", "sig", "sqrt", "topk"))


def _is_a_name(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["family"] in NAMES:
        return None
    return f"{got['family']!r} is none of the six; expected {want['family']!r}"


def _biased(case: Case, family: str) -> bool:
    """Whether some token's choice is not that of the largest logits."""
    logits_TE, ids_TK = np.asarray(case.args["logits_TE"]), np.asarray(case.args["topk_ids_TK"])
    best_TK = np.argsort(-logits_TE, axis=-1)[:, : ids_TK.shape[1]]
    return bool((np.sort(best_TK) != np.sort(ids_TK)).any())


def _scaled(case: Case, family: str) -> bool:
    sums_T = np.asarray(case.args["topk_weights_TK"]).sum(axis=-1)
    return family in SCORES and bool(np.abs(sums_T - 1).max() > 1e-3)


def _never_a_softmax(case: Case, got: Outputs, want: Outputs) -> bool:
    names = ("softmax_topk", "topk_softmax")
    known = got["family"] not in names and (want["family"] in names or got["family"] == want["family"])
    return known and not _misspelt(got)


GATE_FAMILY = Exercise(
    id="01.gate_family",
    title="Which gate made these weights?",
    task=(
        "Given the logits `[T, E]` and a gate's ids and weights `[T, K]`, return the name of its family: "
        "`topk_softmax`, `softmax_topk_renorm`, `softmax_topk`, `sigmoid`, `sqrt_softplus` or "
        "`topk_sigmoid`. K is at least 2. `sigmoid` and `sqrt_softplus` rescale their scores to sum to 1 "
        "and may multiply them by a scale that you are not told; a bias that you are not told may have "
        "chosen their experts. `softmax_topk` and `topk_sigmoid` do not rescale. Two of the six names are "
        "one function: return either."
    ),
    entry="gate_family",
    points=5,
    minutes=15,
    difficulty=4,
    outputs=(Output("family", kind="text"),),
    draw=draw,
    reference=reference,
    canonical=one_name,
    properties=(Property("one of the six names", _is_a_name),),
    misconceptions=(
        Misconception(
            "sums_only",
            "Every gate whose weights sum to 1 is called a softmax. Sigmoid and sqrt-softplus gates that "
            "renormalise sum to 1 as well. The sum says whether a gate rescales, not what it scores with: "
            "look at the ratios between the weights.",
            wrong=_sums_only,
            hint=1,
        ),
        Misconception(
            "scale_assumed",
            "Right wherever the scale is 1, wrong on every gate that has another. The scale is not told, so "
            "compare what it cannot change: each token's weights divided by their sum.",
            detects=_wrong_exactly(_scaled),
            hint=3,
        ),
        Misconception(
            "choice_recomputed",
            "Right unless a bias chose the experts. Then the chosen ones are not those with the largest "
            "logits. Take the ids as given and gather the logits there; do not run a top-k again.",
            detects=_wrong_exactly(_biased),
            hint=2,
        ),
        Misconception(
            "sigmoid_merged",
            "`topk_sigmoid` is called `sigmoid`: after dividing by the sums the two look the same. Before "
            "that they do not, since one of them never divides. Test for the bare sigmoid first.",
            wrong=_renamed({"topk_sigmoid": "sigmoid"}),
            hint=3,
        ),
        Misconception(
            "root_forgotten",
            "Only `sqrt_softplus` is never recognised. Its score is the square root of softplus(logit), "
            "and the root changes the ratios.",
            detects=_wrong_exactly(lambda case, family: family == "sqrt_softplus"),
            hint=2,
        ),
        Misconception(
            "softmax_over_chosen",
            "`softmax_topk` is called `topk_softmax`. The first keeps probabilities among all E experts, "
            "which sum to less than 1; do not divide by the sum before you look at that.",
            wrong=_renamed({"softmax_topk": "topk_softmax"}),
            hint=3,
        ),
        Misconception(
            "names_swapped",
            "`topk_softmax` and `softmax_topk` are swapped. The names tell the order: *topk_softmax* "
            "chooses and then takes the softmax of the chosen, so its weights sum to 1.",
            wrong=_renamed({"softmax_topk": "topk_softmax", "topk_softmax": "softmax_topk"}),
            hint=1,
        ),
        Misconception(
            "softmax_axis",
            "The softmax gates are never recognised, the others always. Along which axis does your softmax "
            "run, and where is it read? `gather` needs the ids along the expert axis.",
            detects=_never_a_softmax,
            hint=2,
        ),
    ),
    hints=(
        "You know the logits of the chosen experts. What would each family have made of them? "
        "Which of these candidates are the weights you were given?",
        "`logits_TE.gather(-1, topk_ids_TK)` are the chosen logits; `torch.allclose` compares floats. "
        "The scores: `softmax`, `sigmoid`, `F.softplus(...).sqrt()`.",
        "First compare the weights as they are with the two gates that never rescale and with the softmax "
        "over the chosen. For the other two compare `weights / weights.sum(-1, keepdim=True)` with the "
        "scores divided in the same way.",
    ),
)
