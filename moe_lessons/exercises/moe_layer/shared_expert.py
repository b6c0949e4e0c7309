"""Exercise 02.shared_expert: routed experts, scaled, plus one that sees every token."""

from collections.abc import Callable, Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K of 1, 2 and 3, three scales, one token among them."""
    cases = []
    for n_tokens, top_k, d_model, d_shared, scale in [
        (5, 2, 3, 4, 2.5),
        (4, 3, 2, 5, 1.0),
        (3, 1, 4, 2, 2.5),
        (1, 2, 3, 4, 0.8),
    ]:
        args: dict[str, Plain] = {
            "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "results_TKD": rng.standard_normal((n_tokens, top_k, d_model)).astype(np.float32),
            "topk_weights_TK": rng.uniform(0.15, 0.75, (n_tokens, top_k)).astype(np.float32),
            "scale": scale,
            "gate_up_2GD": rng.standard_normal((2 * d_shared, d_model)).astype(np.float32),
            "down_DG": rng.standard_normal((d_model, d_shared)).astype(np.float32),
        }
        cases.append(Case(f"T={n_tokens}, K={top_k}, D={d_model}, G={d_shared}, scale={scale}", args))
    return cases


def reference(
    hidden_TD: Tensor,
    results_TKD: Tensor,
    topk_weights_TK: Tensor,
    scale: float,
    gate_up_2GD: Tensor,
    down_DG: Tensor,
) -> Tensor:
    """DeepSeekMoE, arXiv 2401.06066, eq. 9, without the residual; the scale as in arXiv 2412.19437."""
    return scale * _routed(results_TKD, topk_weights_TK) + _shared(hidden_TD, gate_up_2GD, down_DG)


def _routed(results_TKD: Tensor, topk_weights_TK: Tensor) -> Tensor:
    return (results_TKD * topk_weights_TK.unsqueeze(-1)).sum(dim=1)


def _shared(
    hidden_TD: Tensor,
    gate_up_2GD: Tensor,
    down_DG: Tensor,
    act: Callable[[Tensor], Tensor] = F.silu,
) -> Tensor:
    gate_TG, up_TG = (hidden_TD @ gate_up_2GD.T).chunk(2, dim=-1)
    return (act(gate_TG) * up_TG) @ down_DG.T


SHARED_EXPERT = Exercise(
    id="02.shared_expert",
    title="An expert for everyone",
    task=(
        "Return `[T, D]`. `results_TKD` holds what each token's K routed experts answered. The routed part "
        "is their weighted sum times `scale` (a fixed factor that some models have). To it is added the "
        "answer of a shared expert: a SwiGLU network that reads every token and that the router has no say "
        "in. The first G rows of `gate_up_2GD` are its gate, the last G its up."
    ),
    entry="with_shared_expert",
    points=2,
    minutes=8,
    difficulty=2,
    outputs=(Output("output_TD", "TD"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "scaled",
            "The shared expert was multiplied by `scale` too. The factor belongs to the routed part only: "
            "add the shared answer after it.",
            wrong=lambda x, r, w, scale, gate_up, down: scale * (_routed(r, w) + _shared(x, gate_up, down)),
            hint=2,
        ),
        Misconception(
            "once_per_choice",
            "The shared answer was added once for each of the K choices. It is added once per token: take "
            "it out of the loop over choices.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + w.shape[1] * _shared(x, gate_up, down)
            ),
            hint=2,
        ),
        Misconception(
            "averaged",
            "The routed and the shared part were averaged. They are added.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                (scale * _routed(r, w) + _shared(x, gate_up, down)) / 2
            ),
            hint=3,
        ),
        Misconception(
            "gated",
            "The shared answer was multiplied by a routing weight. The router chooses among the routed "
            "experts; the shared one always counts with weight 1. (Qwen2-MoE gives it a gate of its own, a "
            "separate matrix.)",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + w[:, :1] * _shared(x, gate_up, down)
            ),
            hint=1,
        ),
        Misconception(
            "remainder",
            "The shared answer got the weight that the routed ones left over, 1 minus their sum. It counts "
            "with weight 1, whatever the routed weights sum to.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + (1 - w.sum(dim=1, keepdim=True)) * _shared(x, gate_up, down)
            ),
            hint=1,
        ),
        Misconception(
            "in_series",
            "The shared expert read the routed output. It stands beside the routed experts, not behind "
            "them: it reads the token's hidden state.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + _shared(scale * _routed(r, w), gate_up, down)
            ),
            hint=1,
        ),
        Misconception(
            "residual",
            "The token itself was added too. That residual is the block's business; the layer returns only "
            "its own contribution, or the token would be counted twice.",
            wrong=lambda x, r, w, scale, gate_up, down: x + scale * _routed(r, w) + _shared(x, gate_up, down),
            hint=3,
        ),
        Misconception(
            "no_weights",
            "The routed answers are added as they are. Each is first multiplied by its weight.",
            wrong=lambda x, r, w, scale, gate_up, down: scale * r.sum(dim=1) + _shared(x, gate_up, down),
            hint=3,
        ),
        Misconception(
            "routed_mean",
            "The routed answers were averaged over K. Their weights already say how much each counts: add "
            "them up.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) / w.shape[1] + _shared(x, gate_up, down)
            ),
            hint=3,
        ),
        Misconception(
            "scale_on_shared",
            "`scale` multiplies the shared answer instead of the routed part. It is the routed part that it "
            "belongs to.",
            wrong=lambda x, r, w, scale, gate_up, down: _routed(r, w) + scale * _shared(x, gate_up, down),
            hint=2,
        ),
        Misconception(
            "renormalized",
            "The weights were rescaled to sum to 1. Whether they do is the gate's decision, made before; use "
            "them as they come.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w / w.sum(dim=1, keepdim=True)) + _shared(x, gate_up, down)
            ),
            hint=3,
        ),
        Misconception(
            "no_shared",
            "The shared expert is missing: this is the routed part alone. Its answer to `hidden_TD` is "
            "added.",
            wrong=lambda x, r, w, scale, gate_up, down: scale * _routed(r, w),
            hint=2,
        ),
        Misconception(
            "no_silu",
            "Inside the shared expert, gate and up are multiplied without silu. It is a SwiGLU network "
            "like the others.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + _shared(x, gate_up, down, act=lambda z: z)
            ),
            hint=2,
        ),
        Misconception(
            "up_first",
            "Inside the shared expert, gate and up are swapped: the first G rows of `gate_up_2GD` are the "
            "gate, and silu belongs to them.",
            wrong=lambda x, r, w, scale, gate_up, down: (
                scale * _routed(r, w) + _shared(x, gate_up.roll(down.shape[1], dims=0), down)
            ),
            hint=2,
        ),
        Misconception(
            "unscaled",
            "`scale` is not used. It multiplies the routed part.",
            wrong=lambda x, r, w, scale, gate_up, down: _routed(r, w) + _shared(x, gate_up, down),
            hint=3,
        ),
    ),
    hints=(
        "What does the shared expert read, and does anything in it depend on the router?",
        "Two parts, worked out apart: the weighted sum over K with its factor; one SwiGLU on `hidden_TD`.",
        "`scale * (results_TKD * topk_weights_TK.unsqueeze(-1)).sum(dim=1)`, plus the shared answer.",
    ),
    notice=(
        "Nothing that the shared expert reads was made by the router, so it needs no dispatch: it is a "
        "plain feed-forward network on all tokens, and the scale does not touch it."
    ),
)
