"""Exercise 10.moe_block: normalise, route, mix the experts, add to the stream."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.mini_transformer.draws import smallest_gap
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

Tensor = torch.Tensor
Split = Callable[[Tensor], tuple[Tensor, ...]]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes, K = 1 and K = E among them; one stream so small that eps matters."""
    sizes = [(6, 5, 4, 7, 2, 1.0), (3, 8, 6, 4, 1, 3.0), (4, 6, 3, 5, 3, 2e-3), (2, 4, 5, 3, 3, 1.0)]
    return [_case(rng, *size) for size in sizes]


def _case(
    rng: np.random.Generator,
    n_tokens: int,
    d_model: int,
    d_expert: int,
    n_experts: int,
    top_k: int,
    scale: float,
) -> Case:
    while True:
        args = {
            "stream_TD": scale * (rng.standard_normal((n_tokens, d_model)) + 0.5),
            "norm_D": rng.uniform(0.5, 1.5, d_model),
            "router_ED": rng.standard_normal((n_experts, d_model)),
            "gate_up_proj": rng.standard_normal((n_experts, 2 * d_expert, d_model)),
            "down_proj": rng.standard_normal((n_experts, d_model, d_expert)),
        }
        args = {name: value.astype(np.float32) for name, value in args.items()}
        rms_T1 = np.sqrt((args["stream_TD"] ** 2).mean(-1, keepdims=True) + 1e-5)
        # A top-k near a tie would depend on rounding, and so on the machine.
        if smallest_gap((args["stream_TD"] / rms_T1 * args["norm_D"]) @ args["router_ED"].T) > 0.01:
            break
    name = f"T={n_tokens}, D={d_model}, F={d_expert}, E={n_experts}, K={top_k}, stream of size {scale:g}"
    return Case(name, {**args, "top_k": top_k, "eps": 1e-5})


def rms_norm(x_TD: Tensor, norm_D: Tensor, eps: float) -> Tensor:
    """Divide by the root of the mean square, then scale each dimension."""
    return x_TD * torch.rsqrt(x_TD.square().mean(dim=-1, keepdim=True) + eps) * norm_D


def mix(
    x_TD: Tensor,
    router_ED: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    top_k: int,
    *,
    router_input_TD: Tensor | None = None,
    renormalize: bool = True,
    split: Split = lambda pair: tuple(pair.chunk(2, dim=-1)),
    activation: Callable[[Tensor], Tensor] = F.silu,
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Every expert on every token, weighted by a matrix that is zero where an expert was not chosen."""
    logits_TE = (x_TD if router_input_TD is None else router_input_TD) @ router_ED.T
    probs_TE = logits_TE.softmax(dim=-1)
    kept_TE = torch.zeros_like(probs_TE).scatter(-1, logits_TE.topk(top_k, dim=-1).indices, 1.0) * probs_TE
    if renormalize:
        kept_TE = kept_TE / kept_TE.sum(dim=-1, keepdim=True)
    if weigh is not None:
        kept_TE = weigh(logits_TE, (kept_TE > 0).to(logits_TE.dtype))
    gate_TEF, up_TEF = split(torch.einsum("td,efd->tef", x_TD, gate_up_proj))
    return torch.einsum("te,tef,edf->td", kept_TE, activation(gate_TEF) * up_TEF, down_proj)


def reference(
    stream_TD: Tensor,
    norm_D: Tensor,
    router_ED: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    top_k: int,
    eps: float,
) -> Tensor:
    """Pre-norm: only what the block reads is normalised, and its output is added to the stream."""
    return stream_TD + mix(rms_norm(stream_TD, norm_D, eps), router_ED, gate_up_proj, down_proj, top_k)


def _inside(**change: Any) -> Callable[..., Tensor]:
    """The block with one thing done differently inside the mixture."""
    return lambda x, g, *w: x + mix(rms_norm(x, g, w[-1]), *w[:-1], **change)


def _without_eps(case: Case, got: Outputs, want: Outputs) -> bool:
    """Nothing where `eps` belongs, or the tiny number that `F.rms_norm` takes when it is given none."""
    stream, norm, router, gate_up, down, top_k, _ = map(torch.as_tensor, case.args.values())
    found = (
        reference(stream, norm, router, gate_up, down, int(top_k), eps)
        for eps in (0.0, torch.finfo(torch.float32).eps)
    )
    return any(np.allclose(got["stream_TD"], stream_TD, rtol=1e-3, atol=1e-5) for stream_TD in found)


def _overwritten(x: Tensor, g: Tensor, *w: Any) -> Tensor:
    router_ED, gate_up_proj, down_proj, top_k, eps = w
    normed_TD = rms_norm(x, g, eps)
    topk_logits_TK, ids_TK = (normed_TD @ router_ED.T).topk(top_k)
    last_T1 = ids_TK.argmax(dim=-1, keepdim=True)
    weight_T1 = topk_logits_TK.softmax(dim=-1).gather(-1, last_T1)
    e_T = ids_TK.gather(-1, last_T1)[:, 0]
    gate_TF, up_TF = torch.einsum("tfd,td->tf", gate_up_proj[e_T], normed_TD).chunk(2, dim=-1)
    return x + weight_T1 * torch.einsum("tdf,tf->td", down_proj[e_T], F.silu(gate_TF) * up_TF)


MOE_BLOCK = Exercise(
    id="10.moe_block",
    title="The block",
    task=(
        "Return the stream after one MoE block, `[T, D]`: RMSNorm of the stream, router and top-k experts "
        "on the normalised stream, their weighted sum added to the stream. RMSNorm divides by "
        "`sqrt(mean of squares + eps)` and multiplies by `norm_D`. The K weights are a softmax over the K "
        "chosen logits. An expert is SwiGLU: `down @ (silu(gate @ x) * (up @ x))`; the first F rows of "
        "`gate_up_proj[e]` are the gate, the last F are up."
    ),
    entry="moe_block",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("stream_TD", "TD"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "no_residual",
            "The update comes back without the stream. A block adds to what it was given; return the sum.",
            wrong=lambda x, g, *w: mix(rms_norm(x, g, w[-1]), *w[:-1]),
        ),
        Misconception(
            "residual_from_normed",
            "The update is added to the normalised stream. The norm is for what the block reads; what it "
            "adds to is the stream as it came in, or every block would reset its length.",
            wrong=lambda x, g, *w: rms_norm(x, g, w[-1]) + mix(rms_norm(x, g, w[-1]), *w[:-1]),
        ),
        Misconception(
            "post_norm",
            "The norm comes after the addition. That is post-norm, the order of the first transformer; here "
            "the block reads a normalised stream and adds to the raw one.",
            wrong=lambda x, g, *w: rms_norm(x + mix(x, *w[:-1]), g, w[-1]),
        ),
        Misconception(
            "layer_norm",
            "This norm subtracts the mean first: that is LayerNorm. RMSNorm leaves the mean in and divides "
            "by the root of the mean square.",
            wrong=lambda x, g, *w: x + mix(F.layer_norm(x, x.shape[-1:], g, eps=w[-1]), *w[:-1]),
            hint=2,
        ),
        Misconception(
            "eps_outside",
            "`eps` is added after the square root. It belongs inside: `sqrt(mean of squares + eps)`. The "
            "difference shows where the stream is small.",
            wrong=lambda x, g, *w: (
                x + mix(x / (x.square().mean(-1, keepdim=True).sqrt() + w[-1]) * g, *w[:-1])
            ),
            hint=2,
        ),
        Misconception(
            "no_eps",
            "Right where the stream is large, off where it is small: `eps` is not used. (`F.rms_norm` takes "
            "a far smaller number of its own if it is not given one.)",
            detects=_without_eps,
            hint=2,
        ),
        Misconception(
            "sum_of_squares",
            "The stream is divided by the root of the *sum* of squares, its length. RMSNorm takes the mean: "
            "the result is sqrt(D) times longer.",
            wrong=lambda x, g, *w: (
                x + mix(x / (x.square().sum(-1, keepdim=True) + w[-1]).sqrt() * g, *w[:-1])
            ),
            hint=2,
        ),
        Misconception(
            "no_scale",
            "`norm_D` is not used. After the division RMSNorm multiplies each dimension by a learned scale.",
            wrong=lambda x, g, *w: x + mix(rms_norm(x, torch.ones_like(g), w[-1]), *w[:-1]),
            hint=2,
        ),
        Misconception(
            "swapped",
            "Gate and up are swapped: silu was applied to the last F rows of `gate_up_proj[e]`. The gate is "
            "in the first F.",
            wrong=_inside(split=lambda pair: tuple(pair.chunk(2, dim=-1)[::-1])),
            hint=3,
        ),
        Misconception(
            "routes_on_stream",
            "The router reads the raw stream, the experts the normalised one. Both read the same: the "
            "normalised stream.",
            wrong=lambda x, g, *w: x + mix(rms_norm(x, g, w[-1]), *w[:-1], router_input_TD=x),
        ),
        Misconception(
            "experts_on_stream",
            "The router reads the normalised stream, the experts the raw one. Both read the same: the "
            "normalised stream.",
            wrong=lambda x, g, *w: x + mix(x, *w[:-1], router_input_TD=rms_norm(x, g, w[-1])),
        ),
        Misconception(
            "overwritten",
            "Each token keeps the output of one expert only: a later expert's rows replaced those that stood "
            "there, as `update[token] = ...` does. A token's K outputs are added.",
            wrong=_overwritten,
            hint=3,
        ),
        Misconception(
            "interleaved",
            "Gate and up were taken as every other row. Some models are stored so; here the gate is the "
            "first F rows of `gate_up_proj[e]`, and up the last F.",
            wrong=_inside(split=lambda pair: (pair[..., 0::2], pair[..., 1::2])),
            hint=3,
        ),
        Misconception(
            "gelu",
            "The gate goes through GELU. That is GEGLU; SwiGLU takes SiLU, `x * sigmoid(x)`.",
            wrong=_inside(activation=F.gelu),
        ),
        Misconception(
            "sigmoid",
            "The gate goes through a sigmoid alone. SiLU is `x * sigmoid(x)`.",
            wrong=_inside(activation=torch.sigmoid),
        ),
        Misconception(
            "relu",
            "The gate goes through ReLU. SwiGLU takes SiLU, `x * sigmoid(x)`, which is smooth.",
            wrong=_inside(activation=F.relu),
        ),
        Misconception(
            "no_weights",
            "The K experts are added as they are. Each output counts with its weight.",
            wrong=_inside(weigh=lambda logits_TE, chosen_TE: chosen_TE),
            hint=3,
        ),
        Misconception(
            "logits_for_weights",
            "The chosen logits were used as weights. Logits may be negative and sum to anything: the "
            "weights are their softmax.",
            wrong=_inside(weigh=lambda logits_TE, chosen_TE: logits_TE * chosen_TE),
            hint=3,
        ),
        Misconception(
            "not_renormalised",
            "The weights are probabilities over all E experts, so the K that are kept sum to less than 1. "
            "Here the softmax is over the K chosen logits.",
            wrong=_inside(renormalize=False),
            hint=3,
        ),
    ),
    hints=(
        "What does the block read, and what does it add to? One of them is normalised, the other is not.",
        "`x.square().mean(dim=-1, keepdim=True)` is the mean square of each token; `torch.rsqrt` is one over "
        "a square root.",
        "For expert e: `token, slot = torch.where(ids_TK == e)`, then "
        "`gate, up = (x[token] @ gate_up_proj[e].T).chunk(2, dim=-1)`.",
    ),
    notice=(
        "Only what the block reads is normalised; the stream itself goes past it untouched, and so do "
        "gradients."
    ),
)
