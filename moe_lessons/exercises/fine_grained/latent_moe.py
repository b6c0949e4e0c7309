"""Exercise 11.latent_moe: experts in a narrower width, between one projection down and one up."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.fine_grained.more_latent import LATENT_MISTAKES
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

SHAPES = ((5, 8, 4, 6, 2, 3), (7, 6, 2, 5, 3, 4), (4, 10, 5, 3, 1, 2))


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three shapes, all sizes different, no choice on a hair, K = 1 among them."""
    cases = []
    for n_tokens, d_model, d_latent, n_experts, top_k, d_expert in SHAPES:

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32)

        hidden_TD = normal(n_tokens, d_model)
        router_ED = _apart(rng, hidden_TD, normal(n_experts, d_model), top_k)
        args = {
            "hidden_TD": hidden_TD,
            "router_ED": router_ED,
            "down_LD": normal(d_latent, d_model) / d_model**0.5,
            "gate_up_EHL": normal(n_experts, 2 * d_expert, d_latent),
            "down_ELF": normal(n_experts, d_latent, d_expert),
            "up_DL": normal(d_model, d_latent),
            "top_k": top_k,
        }
        name = f"T={n_tokens}, D={d_model}, latent {d_latent}, E={n_experts}, K={top_k}, F={d_expert}"
        cases.append(Case(name, args))
    return cases


def _apart(rng: np.random.Generator, hidden_TD: np.ndarray, router_ED: np.ndarray, top_k: int) -> np.ndarray:
    """Draw routers until no choice hangs on a hair."""
    while True:
        ranked_TE = -np.sort(-(hidden_TD @ router_ED.T), axis=-1)
        if (ranked_TE[:, top_k - 1] - ranked_TE[:, top_k]).min() > 0.02:
            return router_ED
        router_ED = rng.standard_normal(router_ED.shape).astype(np.float32)


def expert(rows_NL: Tensor, gate_up_HL: Tensor, down_LF: Tensor) -> Tensor:
    """One SwiGLU expert."""
    gate_NF, up_NF = (rows_NL @ gate_up_HL.T).chunk(2, dim=-1)
    return (F.silu(gate_NF) * up_NF) @ down_LF.T


def reference(
    hidden_TD: Tensor,
    router_ED: Tensor,
    down_LD: Tensor,
    gate_up_EHL: Tensor,
    down_ELF: Tensor,
    up_DL: Tensor,
    top_k: int,
) -> Tensor:
    """Route at full width, compute in the latent, come back once."""
    return _latent(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k)


def _latent(
    hidden_TD: Tensor,
    router_ED: Tensor,
    down_LD: Tensor,
    gate_up_EHL: Tensor,
    down_ELF: Tensor,
    up_DL: Tensor,
    top_k: int,
    logits: Callable[..., Tensor] | None = None,
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None,
    on_input: bool = False,
) -> Tensor:
    latent_TL = hidden_TD @ down_LD.T
    logits_TE = hidden_TD @ router_ED.T if logits is None else logits(hidden_TD, router_ED, down_LD)
    best_TK, ids_TK = logits_TE.topk(top_k, dim=-1)
    weights_TK = best_TK.softmax(dim=-1) if weigh is None else weigh(logits_TE, ids_TK)
    rows = []
    for t, latent_L in enumerate(latent_TL):
        total = torch.zeros_like(latent_L)
        for weight, e in zip(weights_TK[t], ids_TK[t], strict=True):
            row = weight * latent_L if on_input else latent_L
            answer = expert(row[None], gate_up_EHL[e], down_ELF[e])[0]
            total = total + (answer if on_input else weight * answer)
        rows.append(total)
    return torch.stack(rows) @ up_DL.T


def _with(**how: Any) -> Callable[..., Tensor]:
    return lambda *args: _latent(*args, **how)


LATENT_MOE = Exercise(
    id="11.latent_moe",
    title="Experts in a latent",
    task=(
        "Return `[T, D]`. The router reads the tokens at full width; each token takes its K experts with the "
        "highest logits, weighted by a softmax over those K. The experts work in L dimensions: `down_LD` "
        "takes a token there, each expert is a SwiGLU network from L to L (`gate_up_EHL`: F gate rows, then "
        "F up rows; `down_ELF`), and `up_DL` brings the weighted sum back. No residual, no norm."
    ),
    entry="latent_moe",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("output_TD", "TD", atol=1e-4),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "routed_in_latent",
            "The router was taken into the latent, too. It reads the token at full width: in the latent it "
            "could not see what the projection has thrown away.",
            wrong=_with(logits=lambda x, r, v: (x @ v.T) @ (r @ v.T).T),
            hint=1,
        ),
        Misconception(
            "unweighted",
            "The chosen experts are added up without weights. Then nothing in the output depends on the "
            "router's logits but through the choice.",
            wrong=_with(weigh=lambda z, i: torch.ones_like(i, dtype=z.dtype)),
            hint=1,
        ),
        Misconception(
            "averaged",
            "The chosen experts are averaged with equal weights. The weights are a softmax over their "
            "logits.",
            wrong=_with(weigh=lambda z, i: torch.full_like(i, 1, dtype=z.dtype) / i.shape[1]),
            hint=1,
        ),
        Misconception(
            "softmax_over_all",
            "The softmax runs over all E experts, and the K weights do not sum to 1. Here it runs over the "
            "chosen ones.",
            wrong=_with(weigh=lambda z, i: z.softmax(dim=-1).gather(1, i)),
            hint=1,
        ),
        Misconception(
            "sigmoid_weights",
            "The weights are sigmoids of the logits. Here they are a softmax over the chosen K.",
            wrong=_with(weigh=lambda z, i: z.gather(1, i).sigmoid()),
            hint=1,
        ),
        Misconception(
            "logits_as_weights",
            "The weights are the logits themselves. A softmax over the chosen K makes them positive, and "
            "their sum 1.",
            wrong=_with(weigh=lambda z, i: z.gather(1, i)),
            hint=1,
        ),
        Misconception(
            "stays_in_latent",
            "The answer still lies in the latent, [T, L]. `up_DL` brings the sum back to the model's width.",
            wrong=lambda x, r, v, gu, dn, u, k: _latent(x, r, v, gu, dn, torch.eye(len(v)), k),
            hint=3,
        ),
        Misconception(
            "residual_added",
            "The token itself was added. That is the block's residual; the layer returns only its own part.",
            wrong=lambda x, *rest: x + _latent(x, *rest),
            hint=3,
        ),
        Misconception(
            "latent_residual",
            "The latent was added to the experts' sum before it came back. There is no way past the experts "
            "here.",
            wrong=lambda x, r, v, gu, dn, u, k: _latent(x, r, v, gu, dn, u, k) + (x @ v.T) @ u.T,
            hint=3,
        ),
        Misconception(
            "tied_up",
            "The way back is the way there, transposed. `up_DL` is a matrix of its own.",
            wrong=lambda x, r, v, gu, dn, u, k: _latent(x, r, v, gu, dn, v.T, k),
            hint=3,
        ),
        Misconception(
            "up_and_gate_swapped",
            "The activation falls on the up rows. The first half of `gate_up_EHL` is the gate.",
            wrong=lambda x, r, v, gu, dn, u, k: _latent(
                x, r, v, torch.cat(gu.chunk(2, dim=1)[::-1], dim=1), dn, u, k
            ),
            hint=2,
        ),
        Misconception(
            "relu",
            "The activation is not SiLU. SwiGLU is `silu(gate) * up`, with silu(x) = x · sigmoid(x).",
            wrong=lambda *args: _other_activation(torch.relu, *args),
            also=(
                lambda *args: _other_activation(torch.sigmoid, *args),
                lambda *args: _other_activation(F.gelu, *args),
            ),
            hint=2,
        ),
        Misconception(
            "weight_on_input",
            "The weight multiplies what goes into an expert. An expert is not linear: it belongs on what "
            "comes out.",
            wrong=_with(on_input=True),
            hint=2,
        ),
        Misconception(
            "all_experts",
            "Every token passes all experts. The router chooses K.",
            wrong=lambda x, r, v, gu, dn, u, k: _latent(x, r, v, gu, dn, u, len(r)),
            hint=1,
        ),
        Misconception(
            "first_expert_only",
            "Only each token's first expert is used. There are K of them to add up.",
            wrong=_with(weigh=lambda z, i: z.gather(1, i).softmax(-1) * (torch.arange(i.shape[1]) == 0)),
            also=(lambda x, r, v, gu, dn, u, k: _latent(x, r, v, gu, dn, u, 1),),
            hint=1,
        ),
        *LATENT_MISTAKES,
    ),
    hints=(
        "Two widths. Which three things see D, and which see L?",
        "Project once: `latent_TL = hidden_TD @ down_LD.T`. From there it is the layer of lesson 02 with L "
        "in D's place, and with the logits that you have already.",
        "Add the K weighted answers up in the latent, then one product with `up_DL.T` for all tokens.",
    ),
    notice=(
        "The sum comes back once, not each answer by itself: as the way up is linear both give the same, and "
        "one product is K times cheaper."
    ),
)


def _other_activation(act: Callable[[Tensor], Tensor], *args: Any) -> Tensor:
    hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k = args
    latent_TL = hidden_TD @ down_LD.T
    best_TK, ids_TK = (hidden_TD @ router_ED.T).topk(top_k, dim=-1)
    gate_TKF, up_TKF = torch.einsum("tl,tkhl->tkh", latent_TL, gate_up_EHL[ids_TK]).chunk(2, dim=-1)
    answers_TKL = torch.einsum("tkf,tklf->tkl", act(gate_TKF) * up_TKF, down_ELF[ids_TK])
    return (best_TK.softmax(dim=-1).unsqueeze(-1) * answers_TKL).sum(dim=1) @ up_DL.T
