"""Exercise 03.swiglu_moe_params: how many parameters one MoE block holds."""

from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Mixtral's block, a fine-grained one with a shared expert, and two drawn ones; all sizes different."""
    sizes = [(4096, 14336, 8, 0), (2048, 1408, 64, 2816)]
    for n_experts in (6, 40):
        d_model, d_expert = 8 * int(rng.integers(10, 60)), 8 * int(rng.integers(70, 130))
        sizes.append((d_model, d_expert, n_experts, d_expert + 8 * int(rng.integers(1, 9))))
    return [
        Case(
            f"D={d}, F={f}, E={e}, shared width {s}",
            {"d_model": d, "d_expert": f, "n_experts": e, "d_shared": s},
        )
        for d, f, e, s in sizes
    ]


def reference(d_model: int, d_expert: int, n_experts: int, d_shared: int) -> int:
    """Three matrices for each routed expert and for the shared one, and a router row per routed expert."""
    return n_experts * 3 * d_model * d_expert + n_experts * d_model + 3 * d_model * d_shared


def _with(change: Callable[[int, int, int, int], int]) -> Callable[[int, int, int, int], int]:
    """The right number plus what a mistake adds or leaves out."""
    return lambda d, f, e, s: reference(d, f, e, s) + change(d, f, e, s)


SWIGLU_MOE_PARAMS = Exercise(
    id="03.swiglu_moe_params",
    title="Parameters of one MoE block",
    task=(
        "Return the number of parameters of a SwiGLU MoE block without biases: `n_experts` routed experts of "
        "hidden width `d_expert`, their linear router, and one shared expert of hidden width `d_shared` "
        "that every token passes without being routed to it (0: there is none)."
    ),
    entry="swiglu_moe_params",
    points=2,
    minutes=6,
    difficulty=1,
    outputs=(Output("parameters", kind="int"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "two_matrices",
            "Every expert is counted with two matrices. That is the old FFN with ReLU or GELU. SwiGLU "
            "multiplies two projections up, so it has one more.",
            wrong=_with(lambda d, f, e, s: -e * d * f - d * s),
        ),
        Misconception(
            "router_forgotten",
            "The router is missing. It is small, and it is a matrix of the block all the same.",
            wrong=_with(lambda d, f, e, s: -e * d),
            hint=2,
        ),
        Misconception(
            "shared_forgotten",
            "The shared expert is missing. No router leads to it, but its weights have to be held too.",
            wrong=_with(lambda d, f, e, s: -3 * d * s),
        ),
        Misconception(
            "experts_only",
            "Only the routed experts are counted. The block has a router too, and a shared expert where "
            "`d_shared` is not 0.",
            wrong=_with(lambda d, f, e, s: -e * d - 3 * d * s),
            hint=3,
        ),
        Misconception(
            "shared_per_expert",
            "The shared expert is counted once for every routed expert, or its width was added to theirs, "
            "which comes to the same. There is one of it per block.",
            wrong=_with(lambda d, f, e, s: (e - 1) * 3 * d * s),
        ),
        Misconception(
            "one_expert",
            "One routed expert is counted. All E of them are held, whichever a token chooses.",
            wrong=_with(lambda d, f, e, s: -(e - 1) * 3 * d * f),
        ),
        Misconception(
            "router_per_expert",
            "A whole router is counted for every expert. The block has one router, with one row of D for "
            "each expert.",
            wrong=_with(lambda d, f, e, s: (e - 1) * e * d),
            hint=2,
        ),
        Misconception(
            "router_reads_expert_width",
            "The router is given rows of width F. It reads the hidden state, before any expert has widened "
            "it.",
            wrong=_with(lambda d, f, e, s: e * (f - d)),
            hint=2,
        ),
        Misconception(
            "one_matrix",
            "Each expert is counted as one matrix. SwiGLU has three: gate, up and down.",
            wrong=_with(lambda d, f, e, s: -2 * e * d * f - 2 * d * s),
        ),
        Misconception(
            "shared_two_matrices",
            "The shared expert is counted with two matrices. It is a SwiGLU like the others and has three.",
            wrong=_with(lambda d, f, e, s: -d * s),
        ),
        Misconception(
            "routed_two_matrices",
            "The routed experts are counted with two matrices, the shared one with three. All are SwiGLU "
            "and have three.",
            wrong=_with(lambda d, f, e, s: -e * d * f),
            hint=1,
        ),
        Misconception(
            "shared_like_routed",
            "The shared expert is given the width of a routed one. It has a width of its own, `d_shared`.",
            wrong=_with(lambda d, f, e, s: 3 * d * (f - s) if s else 0),
            hint=3,
        ),
        Misconception(
            "shared_as_count",
            "`d_shared` is taken for a number of shared experts. It is the hidden width of one.",
            wrong=_with(lambda d, f, e, s: 3 * s * d * f - 3 * d * s),
            hint=3,
        ),
        Misconception(
            "router_bias",
            "The router is given a bias, one number for each expert. This block has no biases.",
            wrong=_with(lambda d, f, e, s: e),
            hint=2,
        ),
        Misconception(
            "biases",
            "Biases are counted: F, F and D for each expert. This block has none, like most of today's "
            "models (gpt-oss is an exception).",
            wrong=_with(lambda d, f, e, s: e * (2 * f + d) + (2 * s + d) * (s > 0)),
        ),
        Misconception(
            "shared_is_routed",
            "D parameters too many where there is a shared expert: a router row for it, or a gate as in "
            "Qwen2-MoE. Here nothing decides about the shared expert: every token passes it.",
            wrong=_with(lambda d, f, e, s: d * (s > 0)),
            hint=2,
        ),
    ),
    hints=(
        "Write SwiGLU down: `down(silu(gate(x)) * up(x))`. How many matrices is that, of which shapes?",
        "The router returns one number per routed expert from a hidden state of width D.",
        "Three terms, each with a factor `d_model`: routed experts, router, shared expert.",
    ),
    notice=(
        "The router is the small term: it has E·D numbers and one expert 3·D·F, so that it is smaller "
        "than a single expert wherever E is below 3F."
    ),
)
