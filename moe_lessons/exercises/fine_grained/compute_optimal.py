"""Exercise 11.compute_optimal: the best granularity for a budget, by the law of Krajewski et al."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moe_lessons.exercises.fine_grained.more_laws import LAW_MISTAKES, PAPERS_ROW
from moe_lessons.exercises.fine_grained.more_terms import term_mistakes
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

Optimum = tuple[int, float, float, float]
GRAINS = (1, 2, 4, 8, 16, 32, 64, 128)
MOE = (18.1, 0.115, 30.8, 0.147, 2.1, 0.58, 0.47)
DENSE = (16.3, 0.126, 26.7, 0.127, 0.0, 0.58, 0.47)
ACTIVE_RTOL = 0.05
"""So flat is the loss at its lowest that a few hundred sizes of n do."""
N_BLOCKS = np.exp(np.linspace(np.log(2), np.log(400), 3001))


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """A row of the paper's table 2, and budgets at which the best granularity is clearly ahead.

    The last budget is small, and its best n far from a whole number: rounded, it is twice the tolerance off.
    """
    cases = [Case("6.46e21 FLOPs, expansion 64", _args(PAPERS_ROW, 64))]
    while len(cases) < 6:
        last = len(cases) == 5
        flops = float(f"{10 ** rng.uniform(18, 18.7 if last else 25):.3g}")
        expansion = int(rng.choice([16, 64]))
        _, active, tokens, _ = _best(flops, expansion, GRAINS)
        n = _blocks(active)
        if last and abs((round(n) / n) ** 3 - 1) < 2 * ACTIVE_RTOL:
            continue
        if 0.75 < tokens / active / 20 < 1.33:
            continue  # here the rule of thumb would be as good as right
        losses = sorted((_best(flops, expansion, [g])[3], g) for g in GRAINS)
        if losses[1][0] - losses[0][0] > 6e-4 and losses[0][1] not in (GRAINS[0], GRAINS[-1]):
            args = _args(flops, expansion, rng.permutation(GRAINS))
            cases.append(Case(f"{flops:.2e} FLOPs, expansion {expansion}", args))
    return cases


def _args(flops: float, expansion: int, grains_N: Sequence[int] | np.ndarray = GRAINS) -> dict[str, Any]:
    return {"flops": flops, "expansion": expansion, "granularities_N": np.array(grains_N)}


def _best(
    flops: float,
    expansion: int,
    granularities: Sequence[int],
    *,
    router_flops: float = 14,
    routed: int | None = None,
    constants: tuple[float, ...] = MOE,
    total_of: Callable[[np.ndarray, int], np.ndarray] | None = None,
    all_compute: bool = False,
    router_once: bool = False,
    gain: bool = True,
    tokens_per_parameter: float | None = None,
) -> Optimum:
    """The best point on a fine grid of sizes; the mistakes are its variants."""
    a, alpha, b, beta, g, gamma, c = constants
    best: Optimum | None = None
    for granularity in granularities:
        n = N_BLOCKS
        d = 64 * n
        active = 12 * d**2 * n
        total = (8 * expansion + 4) * d**2 * n if total_of is None else total_of(active, expansion)
        matrices = (8 * expansion + 4 if all_compute else 12) * d**2 * 6
        router = d * (expansion if routed is None else routed) * granularity * router_flops
        per_token = matrices * n + router * (1 if router_once else n)
        tokens = flops / per_token
        loss = c + ((g / granularity**gamma if gain else g) + a) / total**alpha + b / tokens**beta
        if tokens_per_parameter is not None:  # then the budget leaves one size
            i = int(np.abs(np.log(tokens / (tokens_per_parameter * active))).argmin())
            loss = np.where(np.arange(len(n)) == i, loss, np.inf)
        i = int(np.argmin(loss))
        if best is None or loss[i] < best[3] - 1e-12:
            best = int(granularity), float(active[i]), float(tokens[i]), float(loss[i])
    assert best is not None
    return best


def reference(flops: float, expansion: int, granularities_N: Any) -> Optimum:
    """Eq. 9 and 10 of arXiv 2402.07871 with the constants of its table 1."""
    return _best(flops, expansion, granularities_N.tolist())


def _with(**how: Any) -> Callable[..., Optimum]:
    return lambda flops, expansion, granularities_N: _best(flops, expansion, granularities_N.tolist(), **how)


def _floorless(*args: Any) -> Optimum:
    granularity, active, tokens, loss = reference(*args)
    return granularity, active, tokens, loss - MOE[-1]


def _total_for_active(*args: Any) -> Optimum:
    granularity, active, tokens, loss = reference(*args)
    return granularity, active * (8 * args[1] + 4) / 12, tokens, loss


def _blocks(active: float) -> float:
    """n, of the active parameters."""
    return (active / 12 / 64**2) ** (1 / 3)


def _whole_blocks(case: Case, got: Outputs, want: Outputs) -> bool:
    """A whole number of blocks, beside the best one: which of the two, depends on the sizes tried."""
    n = _blocks(float(got["active"]))
    return abs(n - round(n)) < 1e-6 and abs(n - _blocks(float(want["active"]))) < 1


COMPUTE_OPTIMAL = Exercise(
    id="11.compute_optimal",
    title="The best cut for a budget",
    task=(
        "By the law of Krajewski et al. (arXiv 2402.07871, eq. 9) a model ends at the loss `c + (g / G^γ + "
        "a) / N^α + b / D^β`, with table 1's a = 18.1, α = 0.115, b = 30.8, β = 0.147, g = 2.1, γ = 0.58, c "
        "= 0.47. A model of n blocks has width d = 64 n, `12 d² n` active parameters and `N = (8 E + 4) d² "
        "n` in all, where E is `expansion`; training on D tokens takes `(12 d² · 6 + d · E · G · 14) · D · "
        "n` FLOPs (eq. 10). All of `flops` is spent. Return the granularity (among those given), active "
        "parameters and tokens with the lowest loss, and that loss. n may be any real number from 2 to 400."
    ),
    entry="compute_optimal",
    points=4,
    minutes=20,
    difficulty=4,
    outputs=(
        Output("granularity", kind="int"),
        Output("active", rtol=ACTIVE_RTOL),
        Output("tokens", rtol=ACTIVE_RTOL),
        Output("loss", rtol=2e-4),
    ),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "routing_is_free",
            "The router costs nothing here, and so the finest cut always wins. In this law the router's "
            "FLOPs are all that speaks against cutting further: the second term of eq. 10.",
            wrong=_with(router_flops=0),
            hint=2,
        ),
        Misconception(
            "router_of_one",
            "The router is charged for G experts. It scores all E·G of them for every token.",
            wrong=_with(routed=1),
            hint=2,
        ),
        Misconception(
            "router_as_cheap",
            "The router is charged 6 FLOPs for each weight, like a matrix. Eq. 10 gives it 14: what "
            "surrounds the product (softmax, top-k, dispatch) counts with it.",
            wrong=_with(router_flops=6),
            hint=2,
        ),
        Misconception(
            "router_once",
            "The router's FLOPs are counted once for the whole model. Each of the n blocks has a router: "
            "both terms of eq. 10 are multiplied by n.",
            wrong=_with(router_once=True),
            hint=2,
        ),
        Misconception(
            "active_in_the_loss",
            "The loss is computed with the *active* parameters. N of eq. 9 is all of them: that is why more "
            "experts help in this law.",
            wrong=_with(total_of=lambda active, expansion: active),
            hint=3,
        ),
        Misconception(
            "experts_without_the_rest",
            "N holds the experts only, `8 E d² n`. Attention has 4 d² in each block beside them.",
            wrong=_with(total_of=lambda active, expansion: active * 8 * expansion / 12),
            hint=3,
        ),
        Misconception(
            "active_times_expansion",
            "N is E times the active parameters. Attention is not multiplied, only the feed-forward network "
            "is: `(8 E + 4) d² n`.",
            wrong=_with(total_of=lambda active, expansion: active * expansion),
            hint=3,
        ),
        Misconception(
            "all_experts_compute",
            "The FLOPs are those of all experts. A token passes G of the E·G slices: `12 d²` a block.",
            wrong=_with(all_compute=True),
            hint=2,
        ),
        Misconception(
            "granularity_without_gain",
            "The coarsest cut always wins here: either the loss does not depend on G, or grows with it, or "
            "no other G was tried. In eq. 9 a finer cut lowers the term g / G^γ.",
            wrong=_with(gain=False),
            hint=1,
        ),
        Misconception(
            "dense_coefficients",
            "These are the constants of the dense row of table 1. The row for MoE is in the task.",
            wrong=_with(constants=DENSE),
            hint=1,
        ),
        Misconception(
            "twenty_tokens",
            "The tokens are 20 for each active parameter: Chinchilla's rule for dense models. Here the "
            "balance of size and tokens is what is to be found: the budget ties them together.",
            wrong=_with(tokens_per_parameter=20.0),
            hint=2,
        ),
        Misconception(
            "last_granularity",
            "The last granularity was returned, or the first, or its size and tokens. Keep the best of all.",
            wrong=lambda flops, expansion, grains: _best(flops, expansion, grains.tolist()[-1:]),
            also=(lambda flops, expansion, grains: _best(flops, expansion, grains.tolist()[:1]),),
            hint=1,
        ),
        Misconception(
            "without_the_floor",
            "The constant c is missing from the loss: what no model of any size could predict.",
            wrong=_floorless,
            hint=1,
        ),
        Misconception(
            "total_returned",
            "The parameters returned are all of them. Asked are the active ones, `12 d² n`.",
            wrong=_total_for_active,
            hint=3,
        ),
        Misconception(
            "n_rounded",
            "n was rounded, or only whole numbers were tried. The task lets n be any real number; in a small "
            "model half a block is a good part of the parameters.",
            detects=_whole_blocks,
            hint=3,
        ),
        *LAW_MISTAKES,
        *term_mistakes(reference),
    ),
    hints=(
        "With d = 64 n only two things are free: n and G. For each G, which n is best? And then, which G?",
        "For given n and G the tokens follow from the budget: flops over what one token costs, both terms of "
        "it.",
        "Try a few thousand n, evenly spaced in log n, from 2 to 400. N in the loss is *all* parameters, "
        "`(8 E + 4) d² n`; what you return is `12 d² n`.",
    ),
    notice=(
        "Near the optimum the loss is so flat that twice the model on half the tokens hardly shows, so that "
        "the law is surer of the loss than of the size it recommends."
    ),
)
