"""Exercise 07.assignment: first come, first served against the best assignment there is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Answer = tuple[Tensor, float, float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Just enough places, too few, plenty; experts of unequal appeal; scores above 0. No mistake passes."""
    while True:
        cases = [_case(rng, *sizes) for sizes in [(12, 3, 4), (11, 4, 2), (6, 3, 6), (15, 5, 3)]]
        if all(any(_shows(wrong, case) for case in cases) for wrong in _NEARLY):
            return cases


def _case(rng: np.random.Generator, n_tokens: int, n_experts: int, capacity: int) -> Case:
    appeal_E = 1.6 ** -np.arange(n_experts)
    appeal_E[:-1] = rng.permutation(appeal_E[:-1])  # the last expert, where an index of -1 leads, is last
    scores_TE = rng.uniform(0.1, 1.0, (n_tokens, n_experts)) * appeal_E
    if capacity * n_experts <= n_tokens:  # the last tokens find their favourite full
        favourite = int(scores_TE.max(axis=0).argmax())
        scores_TE[: capacity + 3, favourite] += 0.5
    scores_TE[1] += 1.0  # a token that several experts score highest
    args: dict[str, Plain] = {"scores_TE": scores_TE.astype(np.float32), "capacity": capacity}
    return Case(f"T={n_tokens}, E={n_experts}, C={capacity}", args)


def _shows(wrong: Callable[..., Answer], case: Case) -> bool:
    """Whether a mistake is off here, by more than rounding."""
    scores_TE, capacity = torch.as_tensor(case.args["scores_TE"]), int(str(case.args["capacity"]))
    got, want = wrong(scores_TE, capacity), reference(scores_TE, capacity)
    return not torch.equal(got[0], want[0]) or any(
        abs(a - b) > 1e-2 for a, b in zip(got[1:], want[1:], strict=True)
    )


def reference(scores_TE: Tensor, capacity: int) -> Answer:
    """Greedy in token order, drops included; then an optimal assignment with C columns per expert."""
    ids_T = _greedy(scores_TE, capacity, range(len(scores_TE)))
    return ids_T, _total(scores_TE, ids_T), _best(scores_TE.repeat_interleave(capacity, dim=1))


def _greedy(scores_TE: Tensor, capacity: int, order: Any, falls_back: bool = False) -> Tensor:
    free, ids = [capacity] * scores_TE.shape[1], [-1] * len(scores_TE)
    for t in order:
        wishes = scores_TE[int(t)].argsort(descending=True).tolist()
        for expert in wishes if falls_back else wishes[:1]:
            if free[expert]:
                free[expert] -= 1
                ids[int(t)] = expert
                break
    return torch.tensor(ids)


def _total(scores_TE: Tensor, ids_T: Tensor) -> float:
    served_T = ids_T >= 0
    return float(scores_TE[served_T, ids_T[served_T]].sum())


def _best(scores_TX: Tensor, maximize: bool = True) -> float:
    from scipy.optimize import linear_sum_assignment  # large, and no other exercise needs it

    rows, columns = linear_sum_assignment(scores_TX.numpy(), maximize=maximize)
    return float(scores_TX.numpy()[rows, columns].sum())


def _column_modulo(scores_TE: Tensor, capacity: int) -> Answer:
    from scipy.optimize import linear_sum_assignment

    ids_T, total, _ = reference(scores_TE, capacity)
    wide_TX = scores_TE.repeat_interleave(capacity, dim=1).numpy()
    rows, columns = linear_sum_assignment(wide_TX, maximize=True)
    return ids_T, total, float(scores_TE[rows, columns % scores_TE.shape[1]].sum())


def _best_pair_first(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, n_experts = _greedy(scores_TE, capacity, range(len(scores_TE))), scores_TE.shape[1]
    free, served, total = [capacity] * n_experts, set(), 0.0
    for pair in scores_TE.flatten().argsort(descending=True).tolist():
        token, expert = divmod(pair, n_experts)
        if free[expert] and token not in served:
            free[expert] -= 1
            served.add(token)
            total += float(scores_TE[token, expert])
    return ids_T, _total(scores_TE, ids_T), total


def _with_greedy(scores_TE: Tensor, capacity: int, ids_T: Tensor) -> Answer:
    return ids_T, _total(scores_TE, ids_T), _best(scores_TE.repeat_interleave(capacity, dim=1))


def _by_score(scores_TE: Tensor, capacity: int) -> Answer:
    order = scores_TE.amax(dim=1).argsort(descending=True)
    return _with_greedy(scores_TE, capacity, _greedy(scores_TE, capacity, order))


def _falls_back(scores_TE: Tensor, capacity: int) -> Answer:
    greedy_T = _greedy(scores_TE, capacity, range(len(scores_TE)), falls_back=True)
    return _with_greedy(scores_TE, capacity, greedy_T)


def _dropped_counted(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, _, best = reference(scores_TE, capacity)
    return ids_T, float(scores_TE.amax(dim=1).sum()), best


def _minus_one_reads(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, _, best = reference(scores_TE, capacity)
    return ids_T, float(scores_TE[torch.arange(len(ids_T)), ids_T].sum()), best


def _unconstrained(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, greedy, _ = reference(scores_TE, capacity)
    return ids_T, greedy, float(scores_TE.amax(dim=1).sum())


def _minimised(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, greedy, _ = reference(scores_TE, capacity)
    return ids_T, greedy, _best(scores_TE.repeat_interleave(capacity, dim=1), maximize=False)


def _one_place(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, greedy, _ = reference(scores_TE, capacity)
    return ids_T, greedy, _best(scores_TE)


def _tokens_repeated(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T, greedy, _ = reference(scores_TE, capacity)
    return ids_T, greedy, _best(scores_TE.repeat_interleave(capacity, dim=0))


def _one_too_many(scores_TE: Tensor, capacity: int) -> Answer:
    ids_T = _greedy(scores_TE, capacity + 1, range(len(scores_TE)))
    return _with_greedy(scores_TE, capacity, ids_T)


def _within_capacity(case: Case, got: Outputs, want: Outputs) -> str | None:
    n_experts = np.asarray(case.args["scores_TE"]).shape[1]
    ids = got["greedy_ids_T"][got["greedy_ids_T"] >= 0]
    if (ids >= n_experts).any():  # before they are counted: NumPy's bincount writes astray for 2**63 - 1
        return f"an expert's id is {int(ids.max())}, and the last one is {n_experts - 1}"
    most = int(np.bincount(ids).max()) if len(ids) else 0
    capacity = int(case.args["capacity"])  # type: ignore[arg-type]
    return None if most <= capacity else f"an expert with {capacity} places got {most} tokens"


def _not_below_greedy(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["best_total"] < got["greedy_total"] - 1e-4:
        return f"the best total, {got['best_total']:.4g}, is below the greedy one, {got['greedy_total']:.4g}"
    return None


_NEARLY = (_best_pair_first, _by_score, _falls_back, _dropped_counted, _minus_one_reads, _one_too_many)
"""Mistakes that a draw may hide."""

ASSIGNMENT = Exercise(
    id="07.assignment",
    title="First come, first served, against the best there is",
    task=(
        "Every token wants one expert, K = 1, and an expert takes at most C tokens. Scores are above 0. "
        "*Greedy*: tokens come in order, each asks its best expert only, and is dropped if that is full. "
        "*Best*: the assignment with the largest total score, at most one expert per token and C tokens per "
        "expert. Return the greedy expert of each token `[T]` with -1 for dropped, the total score of the "
        "tokens that greedy served, and the best total. `scipy.optimize.linear_sum_assignment` is allowed."
    ),
    entry="assignment",
    points=4,
    minutes=20,
    difficulty=4,
    outputs=(Output("greedy_ids_T", "T", kind="int"), Output("greedy_total"), Output("best_total")),
    draw=draw,
    reference=reference,
    properties=(
        Property("greedy keeps to the capacity", _within_capacity),
        Property("the best total is no less than the greedy one", _not_below_greedy),
    ),
    misconceptions=(
        Misconception(
            "minimised",
            "The assignment with the *smallest* total was taken: the solver treats its matrix as costs "
            "unless it is told to maximise.",
            wrong=_minimised,
            hint=3,
        ),
        Misconception(
            "one_place",
            "Each expert got one token in the best assignment: a matrix with one column per expert says so. "
            "An expert has C places, and every place needs a column.",
            wrong=_one_place,
            hint=2,
        ),
        Misconception(
            "column_modulo",
            "The solver's columns are turned into experts with `% E`. After `repeat_interleave` an expert's "
            "C columns stand side by side, so column c is expert c // C's.",
            wrong=_column_modulo,
            hint=3,
        ),
        Misconception(
            "tokens_repeated",
            "The tokens were repeated, not the experts: each token may then sit in C experts, and an expert "
            "takes one. The places belong to the experts, the columns.",
            wrong=_tokens_repeated,
            hint=2,
        ),
        Misconception(
            "unconstrained",
            "The best total ignores the capacity: it gives every token its favourite. That is an upper bound "
            "which no assignment within the places need reach.",
            wrong=_unconstrained,
            hint=2,
        ),
        Misconception(
            "best_pair_first",
            "The best total was put together greedily: the highest score first, then the highest that is "
            "still possible. That comes close and is not the best: a token's favourite may be the only good "
            "place of another. A solver looks at all pairs at once.",
            wrong=_best_pair_first,
            hint=2,
        ),
        Misconception(
            "falls_back",
            "The greedy tokens went to their next expert when the first was full. That is a fallback rule of "
            "its own; here a refused token is dropped.",
            wrong=_falls_back,
            hint=1,
        ),
        Misconception(
            "by_score",
            "The greedy tokens were served by score, the best first. That is batch-prioritised routing; "
            "asked for is the order of the tokens.",
            wrong=_by_score,
            hint=1,
        ),
        Misconception(
            "dropped_counted",
            "The greedy total includes the tokens that were dropped. They are served by nobody and add "
            "nothing.",
            wrong=_dropped_counted,
            hint=1,
        ),
        Misconception(
            "minus_one_reads",
            "The greedy total includes the dropped tokens' scores at the *last* expert: as an index, -1 is "
            "the last column. Leave the dropped tokens out before you look scores up.",
            wrong=_minus_one_reads,
            hint=1,
        ),
        Misconception(
            "one_too_many",
            "Greedy admits one token too many to each expert: C places, not C + 1.",
            wrong=_one_too_many,
            hint=1,
        ),
    ),
    hints=(
        "Go through the tokens in order with a list of free places per expert. What happens to a token whose "
        "favourite has none left?",
        "`linear_sum_assignment` gives each row one column and each column one row. How must the matrix look "
        "if an expert may take C rows?",
        "`scores_TE.repeat_interleave(capacity, dim=1)` gives each expert C columns; solve with "
        "`maximize=True` and add up the chosen entries.",
    ),
    notice=(
        "Each expert stands there C times, as C columns: so a problem with places becomes a plain "
        "assignment, which `linear_sum_assignment` solves exactly."
    ),
)
