"""Exercise 05.counterexample: logits with uneven loads and a loss below the balanced value."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

TARGET, LEAD = 0.95, 0.01


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Whole numbers only: the learner chooses the logits."""
    # From 40 tokens on, rounding them to whole numbers moves the loss by less than a hundredth.
    sizes = [(40, 2), (int(rng.integers(40, 60)), 3), (int(rng.integers(60, 90)), 8)]
    return [Case(f"T={t}, E={e}", {"n_tokens": t, "n_experts": e}) for t, e in sizes]


def reference(n_tokens: int, n_experts: int) -> Tensor:
    """Most tokens go to expert 0 and hardly mean it; the rest are sure of one of the other experts."""
    logits_TE = torch.zeros(n_tokens, n_experts)
    n_unsure = round((n_experts + 1) / (2 * n_experts) * n_tokens)
    logits_TE[:n_unsure, 0] = 2 * LEAD
    sure = torch.arange(n_unsure, n_tokens)
    logits_TE[sure, 1 + sure % (n_experts - 1)] = 20.0
    return logits_TE


def measured(logits_TE: np.ndarray) -> tuple[float, np.ndarray]:
    """E times the sum of f P at K = 1, and f."""
    probs_TE = np.exp(logits_TE - logits_TE.max(axis=-1, keepdims=True))
    probs_TE /= probs_TE.sum(axis=-1, keepdims=True)
    n_tokens, n_experts = logits_TE.shape
    f_E = np.bincount(logits_TE.argmax(axis=-1), minlength=n_experts) / n_tokens
    return float(n_experts * (f_E * probs_TE.mean(axis=0)).sum()), f_E


def _lead(logits_TE: np.ndarray) -> float:
    """By how much the largest logit of a row leads, in the row where it leads least."""
    highest = np.sort(logits_TE, axis=-1)
    return float((highest[:, -1] - highest[:, -2]).min())


def _one_winner(case: Case, got: Outputs, want: Outputs) -> str | None:
    lead = _lead(got["logits_TE"])
    if lead < LEAD - 1e-4:
        return f"in some row the largest logit leads by {lead:.2g} only"
    return None


def _below(case: Case, got: Outputs, want: Outputs) -> str | None:
    loss, f_E = measured(got["logits_TE"])
    if loss > TARGET:
        return f"the loss is {loss:.3f}, with loads of {', '.join(f'{100 * f:.0f} %' for f in f_E)}"
    return None


def _looks_like(
    test: Callable[[np.ndarray, float, np.ndarray], bool],
) -> Callable[[Case, Outputs, Outputs], bool]:
    """A misconception by what came out: finite logits with clear winners that satisfy ``test``."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        logits_TE = got["logits_TE"]
        if logits_TE.shape != want["logits_TE"].shape or not np.isfinite(logits_TE).all():
            return False
        if _is_distribution(logits_TE) or _lead(logits_TE) < LEAD - 1e-4:
            return False
        loss, f_E = measured(logits_TE)
        return loss > TARGET and test(logits_TE, loss, f_E)

    return detects


def _is_distribution(logits_TE: np.ndarray) -> bool:
    # A row of zeros with a single 1 is a natural choice of logits.
    one_hot = bool(((logits_TE > 0).sum(axis=-1) == 1).all())
    shares = bool((logits_TE >= 0).all()) and np.allclose(logits_TE.sum(axis=-1), 1, atol=1e-3)
    return shares and not one_hot


def _tied(case: Case, got: Outputs, want: Outputs) -> bool:
    finite = bool(np.isfinite(got["logits_TE"]).all()) and got["logits_TE"].shape == want["logits_TE"].shape
    return finite and not _is_distribution(got["logits_TE"]) and _lead(got["logits_TE"]) < LEAD - 1e-4


def _low_where(right: Callable[[int], bool]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Low enough with these numbers of experts and with no other, by logits with clear winners."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        logits_TE = got["logits_TE"]
        if logits_TE.shape != want["logits_TE"].shape or not np.isfinite(logits_TE).all():
            return False
        if _lead(logits_TE) < LEAD - 1e-4 or _probabilities(logits_TE):
            return False
        return (measured(logits_TE)[0] <= TARGET) == right(logits_TE.shape[1])

    return detects


def _probabilities(logits_TE: np.ndarray) -> bool:
    """Rows that sum to 1: a mistake that has a name of its own."""
    return bool((logits_TE >= 0).all() and np.allclose(logits_TE.sum(axis=1), 1, atol=1e-4))


def _half_and_half(logits_TE: np.ndarray, loss: float, f_E: np.ndarray) -> bool:
    """Two experts share all tokens, as evenly as a whole number lets them."""
    return bool(np.sort(f_E)[-2:].min() >= 0.5 - 1.5 / len(logits_TE))


def _hardly_anyone(logits_TE: np.ndarray, loss: float, f_E: np.ndarray) -> bool:
    """A crowd of nearly all, and somebody else."""
    return bool(0.9 < f_E.max() < 1)


COUNTEREXAMPLE = Exercise(
    id="05.counterexample",
    title="Below the balanced value",
    task=(
        "Return router logits `[T, E]` for which, at K = 1, the loss `E · sum(f · P)` is at most 0.95, "
        "although the balanced value is 1. In each row one logit must lead by at least 0.01, so that nobody "
        "can say it hangs on ties. Any such logits pass; T is 40 or more."
    ),
    entry="counterexample",
    points=4,
    minutes=15,
    difficulty=4,
    # Any answer with the properties is right: the values themselves are not compared.
    outputs=(Output("logits_TE", "TE", atol=float("inf")),),
    draw=draw,
    reference=reference,
    properties=(
        Property("in each row one logit leads by at least 0.01", _one_winner),
        Property("the loss is at most 0.95", _below),
    ),
    misconceptions=(
        Misconception(
            "probabilities",
            "These rows are probabilities. Logits were asked for, and they will go through a softmax: after "
            "a second one, nothing is certain any more.",
            detects=lambda case, got, want: _is_distribution(got["logits_TE"]),
            hint=3,
        ),
        Misconception(
            "infinite",
            "Infinite logits: no router returns them, and they turn a softmax into NaN sooner or later. A "
            "difference of 20 is certainty enough.",
            detects=lambda case, got, want: bool(np.isinf(got["logits_TE"]).any()),
            hint=3,
        ),
        Misconception(
            "ties",
            "In some row two logits tie, or nearly. Then it depends on the implementation who wins. Give "
            "each token one favourite, if only by a little.",
            detects=_tied,
            hint=3,
        ),
        Misconception(
            "balanced",
            "The load is even. Then the loss is 1 for *every* P: you can neither lose nor win. You need an "
            "uneven load.",
            detects=_looks_like(lambda z, loss, f: bool(np.ptp(f) <= 1.5 / len(z))),
            hint=1,
        ),
        Misconception(
            "sure_crowd",
            "Everybody wants one expert, and means it: the loss is far above 1. Let the crowd be less sure.",
            detects=_looks_like(lambda z, loss, f: f.max() == 1 and loss > 1.1),
            hint=2,
        ),
        Misconception(
            "lukewarm_crowd",
            "Everybody goes to one expert by a hair. A good half of the idea: the crowd gives it hardly more "
            "than 1/E, and the loss sits at 1. To get below, somebody else has to pull that expert's mean "
            "probability under 1/E.",
            detects=_looks_like(lambda z, loss, f: f.max() == 1 and loss <= 1.1),
            hint=2,
        ),
        Misconception(
            "two_experts_only",
            "Right with two experts, and not with more. If the sure ones all sit at *one* expert, that one "
            "is well filled and has a large P as well. Spread them over all the others, and look again at "
            "how large the crowd has to be.",
            detects=_low_where(lambda n_experts: n_experts == 2),
            hint=3,
        ),
        Misconception(
            "not_with_two",
            "Right with three experts and more, and not with two. There the loss is 1 + (2f - 1)(2P - 1): a "
            "crowd of about half is an even load, and 2f - 1 hardly more than 0. With two experts the crowd "
            "has to be much larger than the rest.",
            detects=_low_where(lambda n_experts: n_experts > 2),
            hint=3,
        ),
        Misconception(
            "half_and_half",
            "Two experts share the tokens half and half. Between two, such a load is even, and then the loss "
            "is 1 for every P; among more, the two halves are both well filled. The undecided have to be "
            "more than the decided, and these spread over all the other experts.",
            detects=_looks_like(_half_and_half),
            hint=2,
        ),
        Misconception(
            "too_few_sure",
            "Nearly all tokens stand in the crowd. The few sure ones hardly move the mean probability, which "
            "stays with the crowd. A quarter to nearly a half of the tokens have to be sure.",
            detects=_looks_like(_hardly_anyone),
            hint=3,
        ),
        Misconception(
            "sure_majority",
            "The loss is above 1: on the whole, fuller experts have the larger P too. Who has to be sure for "
            "the opposite, and who must not be?",
            detects=_looks_like(
                lambda z, loss, f: f.max() < 1 and np.ptp(f) > 1.5 / len(z) and loss > 1 + 1e-6
            ),
            hint=2,
        ),
        Misconception(
            "not_far_enough",
            "Below 1, so f and P are not co-sorted any more. But not by 0.05 yet. Make the undecided even "
            "less decided, the decided more, or move the split: with two experts, 75 to 25 goes furthest.",
            detects=_looks_like(
                lambda z, loss, f: f.max() <= 0.9 and np.ptp(f) > 1.5 / len(z) and loss <= 1 + 1e-6
            ),
            hint=3,
        ),
    ),
    hints=(
        "With two experts the loss is 1 + (2f - 1)(2P - 1). One factor must be positive and the other "
        "negative: an expert with most of the tokens and less than half of the probability.",
        "Whoever goes to the full expert should hardly mean it. Whoever goes elsewhere should mean it "
        "with all their might. With more than two experts, spread the sure ones over all the others.",
        "A little more than half of the rows: expert 0 leads by a hair. (With two experts, three quarters.) "
        "In each of the others, one of the experts 1 to E-1 in turn leads by 20. Zeros elsewhere.",
    ),
    notice=(
        "A crowd that hardly means it, and a few that are sure: f counts heads, P adds up convictions, "
        "and the loss sees their product only."
    ),
)
