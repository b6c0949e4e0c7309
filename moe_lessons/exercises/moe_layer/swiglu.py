"""Exercise 02.swiglu: one expert, three matrices."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three shapes with N, D and F all different, one token among them."""
    cases = []
    for n_tokens, d_model, d_hidden in [(5, 3, 4), (1, 6, 2), (7, 4, 9)]:
        args = {
            "hidden_ND": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "gate_FD": rng.standard_normal((d_hidden, d_model)).astype(np.float32),
            "up_FD": rng.standard_normal((d_hidden, d_model)).astype(np.float32),
            "down_DF": rng.standard_normal((d_model, d_hidden)).astype(np.float32),
        }
        cases.append(Case(f"N={n_tokens}, D={d_model}, F={d_hidden}", args))
    return cases


def reference(
    hidden_ND: torch.Tensor, gate_FD: torch.Tensor, up_FD: torch.Tensor, down_DF: torch.Tensor
) -> torch.Tensor:
    """Down (silu(gate x) * (up x)), arXiv 2002.05202, eq. 6."""
    return (F.silu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


SWIGLU = Exercise(
    id="02.swiglu",
    title="One expert: a SwiGLU network",
    task=(
        "Return `[N, D]`: each token goes through two matrices side by side, `gate_FD` and `up_FD`. The gate "
        "side passes through silu and multiplies the other side, element by element; `down_DF` brings the "
        "product back to width D."
    ),
    entry="swiglu",
    points=2,
    minutes=8,
    difficulty=1,
    outputs=(Output("output_ND", "ND"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "swapped",
            "silu sits on the wrong side: it was applied to the up projection and the gate was left linear. "
            "Silu belongs to the gate. With a trained checkpoint this mistake gives fluent-looking nonsense.",
            wrong=lambda x, gate, up, down: ((x @ gate.T) * F.silu(x @ up.T)) @ down.T,
            hint=1,
        ),
        Misconception(
            "no_silu",
            "The two sides are multiplied, but no silu is there: that layer is a plain product of two "
            "linear maps. Pass the gate side through silu first.",
            wrong=lambda x, gate, up, down: ((x @ gate.T) * (x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "sigmoid",
            "The gate side went through a sigmoid. That is the original GLU; silu is z times sigmoid(z).",
            wrong=lambda x, gate, up, down: (torch.sigmoid(x @ gate.T) * (x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "relu",
            "The gate side went through a ReLU (a variant called ReGLU). SwiGLU uses silu, which is smooth "
            "and lets small negative values through.",
            wrong=lambda x, gate, up, down: (torch.relu(x @ gate.T) * (x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "gelu",
            "The gate side went through a GELU (a variant called GEGLU). SwiGLU uses silu.",
            wrong=lambda x, gate, up, down: (F.gelu(x @ gate.T) * (x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "sum",
            "The two sides were added. They are multiplied: where the gate is near zero, the other side is "
            "shut off, and that is why it is called a gate.",
            wrong=lambda x, gate, up, down: (F.silu(x @ gate.T) + x @ up.T) @ down.T,
            hint=3,
        ),
        Misconception(
            "late_silu",
            "silu was applied to the product of both sides. It is applied to the gate side alone, before "
            "the product.",
            wrong=lambda x, gate, up, down: F.silu((x @ gate.T) * (x @ up.T)) @ down.T,
            hint=3,
        ),
        Misconception(
            "both_sides",
            "silu was applied to both sides. Only the gate side passes through it; the other side stays "
            "linear.",
            wrong=lambda x, gate, up, down: (F.silu(x @ gate.T) * F.silu(x @ up.T)) @ down.T,
            hint=1,
        ),
        Misconception(
            "sigmoid_of_up",
            "The gate side was multiplied by the sigmoid of the *other* side. silu(z) is z times sigmoid(z), "
            "both of the gate side; the up side stays as it is and multiplies the result.",
            wrong=lambda x, gate, up, down: ((x @ gate.T) * torch.sigmoid(x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "early_silu",
            "silu was applied to the token, before the gate's matrix. The matrix comes first; silu bends "
            "what it returns.",
            wrong=lambda x, gate, up, down: ((F.silu(x) @ gate.T) * (x @ up.T)) @ down.T,
            hint=3,
        ),
        Misconception(
            "silu_last",
            "silu was applied at the very end, after `down_DF`. It belongs on the gate side, before the two "
            "sides meet.",
            wrong=lambda x, gate, up, down: F.silu(((x @ gate.T) * (x @ up.T)) @ down.T),
            hint=3,
        ),
        Misconception(
            "tanh",
            "The gate side went through a tanh. SwiGLU uses silu, which keeps growing for large inputs.",
            wrong=lambda x, gate, up, down: (torch.tanh(x @ gate.T) * (x @ up.T)) @ down.T,
            hint=2,
        ),
        Misconception(
            "gate_twice",
            "Both sides are the gate's: `up_FD` is not used, and the gate multiplies itself.",
            wrong=lambda x, gate, up, down: (F.silu(x @ gate.T) * (x @ gate.T)) @ down.T,
            hint=1,
        ),
        Misconception(
            "residual",
            "The token itself was added. That residual is the block's business; an expert returns its own "
            "contribution alone.",
            wrong=lambda x, gate, up, down: x + reference(x, gate, up, down),
            hint=3,
        ),
        Misconception(
            "no_down",
            "This is the hidden layer, [N, F]. One more product, with `down_DF`, brings it back to width D.",
            wrong=lambda x, gate, up, down: F.silu(x @ gate.T) * (x @ up.T),
            hint=3,
        ),
        Misconception(
            "two_matrices",
            "The up projection is not used: this is the older FFN with two matrices. SwiGLU has a third, "
            "whose result the gate multiplies.",
            wrong=lambda x, gate, up, down: F.silu(x @ gate.T) @ down.T,
            hint=1,
        ),
    ),
    hints=(
        "Two of the three matrices read the token. Which of the two results decides how much passes, and "
        "which is what passes?",
        "`F.silu(z)` is `z * torch.sigmoid(z)`. `x @ matrix.T` applies a matrix stored as [out, in].",
        "`gated_NF = F.silu(gate side) * (up side)`, then one more product with `down_DF.T`.",
    ),
    notice=(
        "Two of the three products read the same input, which is why production code stacks gate and up "
        "into one matrix, multiplies once and splits the result."
    ),
)
