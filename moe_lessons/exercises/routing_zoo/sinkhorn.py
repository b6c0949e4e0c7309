"""Exercise 06.sinkhorn: scale rows and columns until every expert has the same load."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from moe_lessons.exercises.drivers import Failure, Request
from moe_lessons.exercises.own_replies import own_reply
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

MANY = 200
SHAPES = ((8, 4, 1), (9, 6, 2), (12, 5, MANY))
"""Tokens, experts and rounds: with one or two the order and the number of scalings still show."""


def reference(logits_TE: Tensor, rounds: int) -> Tensor:
    """Alternate in the log domain: columns to T / E, rows to 1."""
    n_tokens, n_experts = logits_TE.shape
    log_TE = logits_TE
    for _ in range(rounds):
        log_TE = log_TE - log_TE.logsumexp(dim=0) + np.log(n_tokens / n_experts)
        log_TE = log_TE - log_TE.logsumexp(dim=1, keepdim=True)
    return log_TE.exp()


def _once(logits_TE: Tensor, columns_first: bool) -> Tensor:
    n_tokens, n_experts = logits_TE.shape
    if columns_first:
        plan_TE = logits_TE.softmax(dim=0)
        return plan_TE / plan_TE.sum(dim=1, keepdim=True)
    plan_TE = logits_TE.softmax(dim=1)
    return plan_TE / plan_TE.sum(dim=0) * n_tokens / n_experts


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Moderate logits; then the same with a collapsed router: two experts far above all others."""
    cases = []
    for n_tokens, n_experts, rounds in SHAPES:
        logits_TE = rng.uniform(-1.5, 1.5, (n_tokens, n_experts)).astype(np.float32)
        logits_TE[:, 0] += 1.5
        cases.append(_case(f"T={n_tokens}, E={n_experts}, rounds={rounds}", logits_TE, rounds))
    logits_TE = logits_TE.copy()
    logits_TE[:, rng.permutation(n_experts)[:2]] += 150
    return [*cases, _case(f"T={n_tokens}, E={n_experts}, two experts with logits near 150", logits_TE, MANY)]


def _case(name: str, logits_TE: np.ndarray, rounds: int) -> Case:
    args: dict[str, Any] = {"logits_TE": logits_TE, "rounds": rounds}
    return Case(name, args)


def _rows(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["plan_TE"].sum(axis=1)
    worst = int(np.abs(sums_T - 1).argmax())
    return f"token {worst}'s row sums to {sums_T[worst]:.4g}" if abs(sums_T[worst] - 1) > 1e-2 else None


def _columns(case: Case, got: Outputs, want: Outputs) -> str | None:
    if case.args["rounds"] != MANY:
        return None  # one round leaves the columns uneven
    n_tokens, n_experts = got["plan_TE"].shape
    sums_E, share = got["plan_TE"].sum(axis=0), n_tokens / n_experts
    worst = int(np.abs(sums_E - share).argmax())
    if abs(sums_E[worst] - share) > 1e-2 * share:
        return f"expert {worst}'s column sums to {sums_E[worst]:.4g}, its share is {share:.4g}"
    return None


def _large(case: Case) -> bool:
    return bool(np.abs(np.asarray(case.args["logits_TE"])).max() > 88)  # exp(89) overflows fp32


def _close(got: Any, want: Any) -> bool:
    return np.shape(got) == np.shape(want) and np.allclose(got, want, rtol=2e-4, atol=2e-5, equal_nan=True)


def _overflow(case: Case, got: Outputs, want: Outputs) -> bool:
    return _close(got["plan_TE"], want["plan_TE"]) != _large(case)


def _like(*wrong: Callable[[Tensor, int], Tensor]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether an answer is one of these where logits are moderate; on large ones it may overflow."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        if _large(case):
            return True
        replies = [own_reply(f, Request("call", case.args, case.casts, {})) for f in wrong]
        return any(not isinstance(r, Failure) and _close(got["plan_TE"], r[0].data) for r in replies)

    return detects


def _share(logits_TE: Tensor) -> float:
    return logits_TE.shape[0] / logits_TE.shape[1]


def _rows_first(logits_TE: Tensor, rounds: int) -> Tensor:
    n_tokens, n_experts = logits_TE.shape
    log_TE = logits_TE
    for _ in range(rounds):
        log_TE = log_TE.log_softmax(dim=1).log_softmax(dim=0) + np.log(n_tokens / n_experts)
    return log_TE.exp()


def _at_once(logits_TE: Tensor, rounds: int) -> Tensor:
    log_TE = logits_TE
    for _ in range(rounds):
        columns_E, rows_T1 = log_TE.logsumexp(dim=0), log_TE.logsumexp(dim=1, keepdim=True)
        log_TE = log_TE - columns_E - rows_T1 + np.log(_share(logits_TE))
    return log_TE.exp()


def _flattened(logits_TE: Tensor, rounds: int) -> Tensor:
    """Softmax of softmax, over and over."""
    plan_TE = logits_TE
    for _ in range(rounds):
        plan_TE = plan_TE.softmax(dim=0).softmax(dim=1)
    return plan_TE


SINKHORN = Exercise(
    id="06.sinkhorn",
    title="Sinkhorn's balanced softmax",
    task=(
        "Turn logits into a plan `[T, E]` in which every token's row sums to 1 *and* every expert's column "
        "sums to T / E. Start from the logits; scale all columns to their sum, then all rows to theirs, "
        "`rounds` times. Work with logarithms: logits may be large."
    ),
    entry="sinkhorn",
    points=4,
    minutes=12,
    difficulty=3,
    outputs=(Output("plan_TE", "TE", rtol=2e-4, atol=2e-5),),
    draw=draw,
    reference=reference,
    gradient="ignored",
    properties=(
        Property("each row sums to 1", _rows),
        Property("each column sums to T / E", _columns),
    ),
    misconceptions=(
        Misconception(
            "rows_only",
            "Only the rows were scaled: this is the plain softmax. Every token has handed out its 1, and the "
            "experts' loads are as uneven as before.",
            detects=_like(lambda z, n: z.softmax(dim=1)),
            hint=1,
        ),
        Misconception(
            "columns_only",
            "Only the columns were scaled. Every expert has the same load, but some tokens are handed out "
            "several times over and others hardly at all.",
            detects=_like(lambda z, n: z.softmax(dim=0) * _share(z), lambda z, n: z.softmax(dim=0)),
            hint=1,
        ),
        Misconception(
            "rounds_ignored",
            "The number of rounds plays no part: the plan is always scaled until nothing moves. The task "
            "says how often, and with few rounds the columns are not even yet.",
            detects=_like(lambda z, n: reference(z, MANY)),
            hint=1,
        ),
        Misconception(
            "rows_first",
            "The rows were scaled first and the columns last, so it is the rows that are a little off. The "
            "task scales columns, then rows: every token's weights sum to 1 exactly.",
            detects=_like(_rows_first),
            hint=1,
        ),
        Misconception(
            "one_round_more",
            "There is one round too many, or one too few. `range(rounds)`, and nothing before or after it.",
            detects=_like(lambda z, n: reference(z, n + 1), lambda z, n: reference(z, n - 1)),
            hint=3,
        ),
        Misconception(
            "one_round",
            "One round is not enough: scaling the second way disturbs what the first had put right. The "
            "disturbance shrinks from round to round, so repeat.",
            detects=_like(lambda z, n: _once(z, True), lambda z, n: _once(z, False)),
            hint=1,
        ),
        Misconception(
            "overflow",
            "Right for moderate logits, not for large ones: exp(150) is infinite in fp32. Subtracting each "
            "row's maximum does not help, since the other experts' numbers then vanish. Keep the logarithm "
            "of the plan, and take the exponential at the very end.",
            detects=_overflow,
            hint=2,
        ),
        Misconception(
            "columns_to_one",
            "The columns sum to 1, so each expert has the work of one token. T tokens hand out 1 each: that "
            "makes T / E for each expert. Rows and columns have to add up to the same total.",
            detects=_like(
                lambda z, n: reference(z, n) / _share(z), lambda z, n: _rows_first(z, n) / _share(z)
            ),
            hint=3,
        ),
        Misconception(
            "sums_to_one_in_all",
            "The whole plan sums to 1, as a joint distribution would. The balance is right; only the scale "
            "is not: each token's row should sum to 1.",
            detects=_like(lambda z, n: reference(z, n) / z.shape[0]),
            hint=3,
        ),
        Misconception(
            "product_of_softmaxes",
            "A softmax over the rows times a softmax over the columns is neither: its rows do not sum to 1, "
            "nor are its columns equal. The two scalings have to take turns.",
            detects=_like(
                lambda z, n: z.softmax(dim=0) * z.softmax(dim=1),
                lambda z, n: z.softmax(dim=0) * z.softmax(dim=1) * _share(z),
                lambda z, n: (z.softmax(dim=0) * z.softmax(dim=1)).sqrt(),
            ),
            hint=1,
        ),
        Misconception(
            "softmax_first",
            "The plan starts from a softmax over the experts. That scales the rows once before the first of "
            "the columns, and where `rounds` is small it shows; with large logits it also loses what is "
            "small. Start from the logits.",
            detects=_like(lambda z, n: reference(z.log_softmax(dim=1), n)),
            hint=2,
        ),
        Misconception(
            "both_sums_first",
            "Rows and columns were scaled at once, both by the sums of the plan before. When the columns "
            "have been scaled the rows have other sums: take theirs then.",
            detects=_like(_at_once),
            hint=1,
        ),
        Misconception(
            "softmax_again",
            "In each round a softmax was taken of probabilities, and so their exponentials were scaled, not "
            "they themselves. That flattens the plan until every token is spread evenly. Divide "
            "probabilities, or take `log_softmax` of logarithms.",
            detects=_like(_flattened),
            hint=2,
        ),
        Misconception(
            "still_logarithms",
            "This is the logarithm of the plan. The exponential at the end is missing.",
            detects=_like(lambda z, n: reference(z, n).log()),
            hint=3,
        ),
    ),
    hints=(
        "A row that is divided by its sum sums to 1. What does that do to the columns? What if you repeat?",
        "Dividing is subtracting in logarithms: `log_TE - log_TE.logsumexp(dim=...)` scales along that "
        "dimension to a sum of 1. Which keepdim is needed for which?",
        "Columns: `log_TE - log_TE.logsumexp(dim=0) + math.log(T / E)`. Then rows, with `dim=1, "
        "keepdim=True`. `exp()` after the loop.",
    ),
    notice=(
        "Rows are scaled last and are exact but for rounding, columns only nearly so; in logarithms each "
        "division is a subtraction, and `exp` comes once, at the end."
    ),
)
