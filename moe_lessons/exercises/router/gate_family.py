"""Exercise 01.gate_family: tell from a gate's outputs which family it belongs to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.router.family_draws import NAMES, SCORES, candidates, draw
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-3, atol=1e-4))


def reference(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
    """Compute what each family would return for the chosen experts, and see which one it is."""
    made = candidates(logits_TE, topk_ids_TK, topk_weights_TK)
    # In this order: a bare sigmoid also has the shares of a rescaled one.
    return next((name for name, like in made.items() if _alike(topk_weights_TK, like)), "sqrt_softplus")


def one_name(values: dict[str, Any]) -> dict[str, Any]:
    """Two of the six names are one function, so either is right."""
    same = {"softmax_topk_renorm": "topk_softmax"}
    return {"family": same.get(values["family"], values["family"])}


def _sums_only(case: Case, got: Outputs, want: Outputs) -> bool:
    """Every sum of 1 is a softmax; what has another sum may be told in any way."""
    sums_T = np.asarray(case.args["topk_weights_TK"]).sum(axis=-1)
    is_softmax = got["family"] == "topk_softmax"
    return not _misspelt(got) and (is_softmax if np.allclose(sums_T, 1, atol=1e-3) else not is_softmax)


def _renamed(names: dict[str, str]) -> Callable[..., str]:
    """The right family, but some names stand for others."""

    def classify(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
        family = reference(logits_TE, topk_ids_TK, topk_weights_TK)
        return names.get(family, family)

    return classify


def _nearest_raw(logits_TE: torch.Tensor, topk_ids_TK: torch.Tensor, topk_weights_TK: torch.Tensor) -> str:
    """Scores that were never divided by their sum; the nearer one is taken."""
    family = reference(logits_TE, topk_ids_TK, topk_weights_TK)
    if family not in SCORES:
        return family
    chosen_TK = logits_TE.gather(-1, topk_ids_TK)
    apart = {name: float((score(chosen_TK) - topk_weights_TK).abs().mean()) for name, score in SCORES.items()}
    return min(apart, key=lambda name: apart[name])


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


def _misled(case: Case, family: str) -> bool:
    """Whether some token's weights, though not all, are the bare sigmoids."""
    if family != "sigmoid":
        return False
    logits_TE, ids_TK, weights_TK = (np.asarray(arg) for arg in case.args.values())
    bare_TK = 1 / (1 + np.exp(-np.take_along_axis(logits_TE, ids_TK, axis=-1)))
    return bool(np.isclose(bare_TK, weights_TK, atol=1e-3).all(axis=-1).any())


def _one_token(case: Case, family: str) -> bool:
    return len(np.asarray(case.args["logits_TE"])) == 1


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
            detects=_sums_only,
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
            "one_token_decides",
            "One token decides here. A sigmoid gate whose scale happens to be the sum of one token's scores "
            "looks there as if it did not rescale; the other tokens tell. Compare the whole tensors.",
            detects=_wrong_exactly(_misled),
            hint=1,
        ),
        Misconception(
            "sums_compared",
            "Right unless there is a single token. Whether a gate rescales is read from the sums of "
            "several tokens being equal, and one sum is always equal to itself. Compare the weights with "
            "what each gate would have given instead.",
            detects=_wrong_exactly(_one_token),
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
            "and the root changes the ratios; and like the sigmoid's, its scores are divided by their sum.",
            detects=_wrong_exactly(lambda case, family: family == "sqrt_softplus"),
            hint=2,
        ),
        Misconception(
            "nearest_raw",
            "`sigmoid` and `sqrt_softplus` are taken for one another. Their weights were compared with the "
            "bare scores, and the nearer one was taken. Both gates divide by the sum of the chosen scores "
            "and may multiply: compare shares with shares.",
            wrong=_nearest_raw,
            hint=3,
        ),
        Misconception(
            "ratios_only",
            "Families that rescale and families that do not are taken for one another: `softmax_topk` and "
            "`topk_softmax`, `topk_sigmoid` and `sigmoid`. The ratios of the weights are the same in both; "
            "their sums are not.",
            wrong=_renamed({"softmax_topk": "topk_softmax", "topk_sigmoid": "sigmoid"}),
            also=(
                _renamed({"topk_softmax": "softmax_topk", "topk_sigmoid": "sigmoid"}),
                _renamed({"softmax_topk": "topk_softmax", "sigmoid": "topk_sigmoid"}),
                _renamed({"topk_softmax": "softmax_topk", "sigmoid": "topk_sigmoid"}),
            ),
            hint=3,
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
        "The scores: `softmax`, `sigmoid`, `F.softplus(...).sqrt()`. Three of the families leave nothing "
        "open: write down their weights and compare.",
        "In `sigmoid` and `sqrt_softplus` the scale is open. What can a scale not change about a token's "
        "weights? Compare that. And mind the order of the comparisons: which of the families would pass "
        "another one's test?",
    ),
    notice=(
        "The order of the questions matters: a bare sigmoid passes the test for a rescaled one too, so "
        "`topk_sigmoid` is asked about first."
    ),
)
