"""Exercise 16.selective_scan: a state that forgets as the input says."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

SHAPES = ((7, 3, 4), (12, 2, 3), (5, 4, 2))
Scan = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three shapes; the state loses between a twentieth and three quarters at a step."""
    cases = []
    for length, width, n_state in SHAPES:
        args = {
            "x_LP": rng.normal(size=(length, width)).astype(np.float32),
            "b_LN": rng.normal(size=(length, n_state)).astype(np.float32),
            "c_LN": rng.normal(size=(length, n_state)).astype(np.float32),
            "log_decay_L": -rng.uniform(0.05, 1.4, length).astype(np.float32),
        }
        cases.append(Case(f"L={length}, P={width}, N={n_state}", args))
    return cases


def _masked(x_LP: Tensor, b_LN: Tensor, c_LN: Tensor, left_LL: Tensor) -> Tensor:
    return ((c_LN @ b_LN.T) * left_LL) @ x_LP


def _between(log_decay_L: Tensor) -> Tensor:
    past_L = log_decay_L.cumsum(0)
    return past_L.unsqueeze(1) - past_L.unsqueeze(0)


def _below(left_LL: Tensor, diagonal: int = 0) -> Tensor:
    """Nothing of what comes later."""
    return left_LL.tril(diagonal)


def reference(x_LP: Tensor, b_LN: Tensor, c_LN: Tensor, log_decay_L: Tensor) -> Tensor:
    """The matrix form: what is left of s at t is exp of the log decays after s, up to t."""
    later = torch.ones(len(x_LP), len(x_LP), dtype=torch.bool).triu(1)
    left_LL = _between(log_decay_L).masked_fill(later, -torch.inf).exp()
    return _masked(x_LP, b_LN, c_LN, left_LL)


def _loop(
    decay: Callable[[Tensor, int], Tensor] = lambda a, t: a[t].exp(),
    *,
    read_first: bool = False,
    write_first: bool = False,
    reset: int = 0,
    detached: bool = False,
    average: bool = False,
) -> Scan:
    """The recurrence; the mistakes are its variants."""

    def scan(x_LP: Tensor, b_LN: Tensor, c_LN: Tensor, log_decay_L: Tensor) -> Tensor:
        state_NP = x_LP.new_zeros(b_LN.shape[1], x_LP.shape[1])
        read = []
        for t in range(len(x_LP)):
            if reset and t % reset == 0:
                state_NP = torch.zeros_like(state_NP)
            state_NP = state_NP.detach() if detached else state_NP
            written_NP, left = torch.outer(b_LN[t], x_LP[t]), decay(log_decay_L, t)
            if read_first:
                read.append(c_LN[t] @ state_NP)
            if average:
                written_NP = (1 - left) * written_NP
            state_NP = (state_NP + written_NP) * left if write_first else state_NP * left + written_NP
            if not read_first:
                read.append(c_LN[t] @ state_NP)
        return torch.stack(read)

    return scan


def _by_matrix(left: Callable[[Tensor], Tensor]) -> Scan:
    return lambda x, b, c, a: _masked(x, b, c, left(a))


def _normalised(x_LP: Tensor, b_LN: Tensor, c_LN: Tensor, log_decay_L: Tensor) -> Tensor:
    left_LL = _below(_between(log_decay_L).clamp_max(0).exp())
    return _masked(x_LP, b_LN, c_LN, left_LL) / left_LL.sum(1, keepdim=True)


def _softmaxed(x_LP: Tensor, b_LN: Tensor, c_LN: Tensor, log_decay_L: Tensor) -> Tensor:
    later = torch.ones(len(x_LP), len(x_LP), dtype=torch.bool).triu(1)
    scores_LL = c_LN @ b_LN.T + _between(log_decay_L)
    return scores_LL.masked_fill(later, -torch.inf).softmax(-1) @ x_LP


def _step_alone(log_decay_L: Tensor, after: bool) -> Tensor:
    """One step's decay instead of all that lie between."""
    decays_L = log_decay_L.exp()
    each_LL = decays_L.unsqueeze(1 if after else 0).expand(len(decays_L), len(decays_L))
    return _below(each_LL, -1) + torch.eye(len(decays_L))


def _first_position(case: Case, got: Outputs, want: Outputs) -> str | None:
    x_LP, b_LN, c_LN = (np.asarray(case.args[name], dtype=float) for name in ("x_LP", "b_LN", "c_LN"))
    gap = float(np.abs(np.asarray(got["y_LP"])[0] - (c_LN[0] @ b_LN[0]) * x_LP[0]).max())
    if gap > 1e-3:
        return f"position 0 reads the state right after its own write: (c · b) x; it is off by {gap:.3g}"
    return None


def _no_decay_of_the_first(case: Case, got: Outputs, want: Outputs) -> str | None:
    """At the start the state is empty: the first log decay multiplies nothing."""
    first = abs(float(np.asarray(got["d_log_decay_L"])[0]))
    return None if first < 1e-4 else "the state before position 0 is empty, so its decay can change nothing"


Y, INPUTS = "y_LP", ("x_LP", "b_LN", "c_LN", "log_decay_L")

SELECTIVE_SCAN = Exercise(
    id="16.selective_scan",
    title="A state that forgets",
    task=(
        "A state S of N x P numbers begins at 0. At each position t it is first multiplied by "
        "`exp(log_decay_L[t])`, then `b_LN[t]` (N numbers) times `x_LP[t]` (P numbers) is added as an outer "
        "product, and then it is read: `y[t] = c_LN[t] @ S`. Return all y, `[L, P]`. A loop over positions "
        "is fine, and so is one matrix for all of them. Gradients to all four inputs are compared, too."
    ),
    entry="selective_scan",
    points=4,
    minutes=25,
    difficulty=4,
    outputs=(
        Output(Y, "LP", rtol=1e-3, atol=1e-4),
        *(Output(f"d_{name}", name.split("_")[-1], rtol=1e-3, atol=1e-4) for name in INPUTS),
    ),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0, 1, 2, 3]},
    properties=(
        Property("the first position reads what it wrote itself", _first_position),
        Property("the first decay changes nothing", _no_decay_of_the_first),
    ),
    misconceptions=(
        Misconception(
            "input_decays_at_once",
            "What position t writes decays before it is read at t. The decay is for what was there *before*: "
            "first decay, then write, then read.",
            wrong=_loop(write_first=True),
            hint=1,
        ),
        Misconception(
            "read_before_written",
            "The state is read before position t has written. A position sees itself: the read comes last.",
            wrong=_loop(read_first=True),
            also=(_by_matrix(lambda a: _below(_between(a).clamp_max(0).exp(), -1)),),
            hint=1,
        ),
        Misconception(
            "decay_one_late",
            "Position t applies the decay of position t - 1. What a token says about forgetting takes effect "
            "with that token.",
            wrong=_loop(lambda a, t: (a[t - 1] if t else 0 * a[0]).exp()),
            hint=1,
        ),
        Misconception(
            "no_decay",
            "Nothing decays: this is a running sum, linear attention. Multiply the state by "
            "`exp(log_decay)` before every write.",
            wrong=_loop(lambda a, t: 0 * a[t] + 1),
            hint=2,
        ),
        Misconception(
            "sees_the_future",
            "Positions read what is written *after* them, too. The matrix needs its lower triangle only.",
            wrong=_by_matrix(lambda a: (-_between(a).abs()).exp()),
            also=(_by_matrix(lambda a: _between(a).exp()),),
            hint=2,
        ),
        Misconception(
            "roles_of_b_and_c_swapped",
            "b and c have changed places: b says where a position writes, c where it reads.",
            wrong=lambda x, b, c, a: reference(x, c, b, a),
            hint=1,
        ),
        Misconception(
            "decay_not_exponential",
            "The state is multiplied by `1 + log_decay`, the first two terms of the exponential. For small "
            "steps that is close; here it can even be negative.",
            wrong=_loop(lambda a, t: 1 + a[t]),
            hint=3,
        ),
        Misconception(
            "log_not_undone",
            "The state is multiplied by the *logarithm* of the decay, a negative number. Take `exp` of it.",
            wrong=_loop(lambda a, t: a[t]),
            hint=3,
        ),
        Misconception(
            "decay_inverted",
            "The state grows: it is multiplied by `exp(-log_decay)`, or the difference of the two sums has "
            "the wrong sign. What is left of s at t is `exp(a_{s+1} + ... + a_t)`, at most 1.",
            wrong=_loop(lambda a, t: (-a[t]).exp()),
            hint=2,
        ),
        Misconception(
            "decay_not_accumulated",
            "Between s and t only one step's decay is applied. All of them act: with logarithms they add "
            "up, which is what `cumsum` is for.",
            wrong=_by_matrix(lambda a: _step_alone(a, after=True)),
            also=(_by_matrix(lambda a: _step_alone(a, after=False)),),
            hint=2,
        ),
        Misconception(
            "since_the_start",
            "What was written at s decays as if it had been written at position 0. Take off what had passed "
            "by then: the difference of two cumulative sums.",
            wrong=_by_matrix(lambda a: _below(a.cumsum(0).exp().unsqueeze(1).expand(len(a), len(a)))),
            also=(_by_matrix(lambda a: _below(a.cumsum(0).exp().unsqueeze(0).expand(len(a), len(a)))),),
            hint=2,
        ),
        Misconception(
            "weighted_average",
            "The write is weighted with 1 - decay, as in a moving average. Here it is added in full.",
            wrong=_loop(average=True),
            hint=1,
        ),
        Misconception(
            "normalised",
            "The sum is divided by what the decays add up to. A state is a sum, not an average.",
            wrong=_normalised,
            hint=1,
        ),
        Misconception(
            "softmaxed",
            "A softmax makes the weights. This is attention with a bias for distance; a state can only add, "
            "so that weights are `c · b` times the decay.",
            wrong=_softmaxed,
            hint=1,
        ),
        Misconception(
            "scaled",
            "The result is divided by the root of N, as attention does. Nothing of the kind is asked.",
            wrong=lambda x, b, c, a: reference(x, b, c, a) / b.shape[1] ** 0.5,
            hint=1,
        ),
        Misconception(
            "state_reset",
            "The state begins anew every few positions. What a chunk leaves behind is handed to the next.",
            wrong=_loop(reset=4),
            also=(_loop(reset=2), _loop(reset=3), _loop(reset=8)),
            hint=2,
        ),
        Misconception(
            "state_detached",
            "The values are right, and the gradients end at the previous position: the state was detached. "
            "Earlier tokens then never learn what later ones needed.",
            wrong=_loop(detached=True),
            hint=2,
        ),
    ),
    hints=(
        "Does the input of step t decay before it is read at t? Does a position see itself?",
        "The state is `[N, P]`, and a loop does it. Or all at once: `cumsum` of the log decays, the "
        "difference of every two, the lower triangle, `exp`.",
        "`S = S * log_decay_L[t].exp() + torch.outer(b_LN[t], x_LP[t])`, and then `c_LN[t] @ S`, "
        "collected in a list.",
    ),
    notice=(
        "The loop keeps N · P numbers however long the text is, the matrix L · L: training takes chunks of "
        "the second, joined by the first."
    ),
)
