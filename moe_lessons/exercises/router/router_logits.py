"""Exercise 01.router_logits: hidden states in, one logit per token and expert out, in fp32."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Small shapes with T, D and E all different, once in fp32 and once in bf16."""
    cases = []
    for n_tokens, d_model, n_experts, dtype in [(5, 3, 4, ""), (1, 6, 2, ""), (4, 16, 8, "bfloat16")]:
        args = {
            "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "router_ED": rng.standard_normal((n_experts, d_model)).astype(np.float32),
        }
        name = f"T={n_tokens}, D={d_model}, E={n_experts}, {dtype or 'float32'}"
        cases.append(Case(name, args, dict.fromkeys(args, dtype) if dtype else {}))
    return cases


def reference(hidden_TD: torch.Tensor, router_ED: torch.Tensor) -> torch.Tensor:
    """One inner product per token and expert, in fp32."""
    return hidden_TD.float() @ router_ED.float().T


def _shifted(hidden_TD: torch.Tensor, router_ED: torch.Tensor) -> torch.Tensor:
    logits_TE = reference(hidden_TD, router_ED)
    return logits_TE - logits_TE.amax(dim=-1, keepdim=True)


def _rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right in fp32; on bf16 inputs off by about bf16's rounding, though not as one rounded product is."""
    found_TE, right_TE = got["logits_TE"], want["logits_TE"]
    if not case.casts:
        return bool(np.allclose(found_TE, right_TE, rtol=1e-4, atol=1e-5))
    hidden_TD, router_ED = (torch.from_numpy(np.asarray(x)).bfloat16() for x in case.args.values())
    once_TE = (hidden_TD @ router_ED.T).float().numpy()
    near = np.abs(found_TE - right_TE).max() < 0.02 * np.abs(right_TE).max()
    return bool(near) and not any(np.allclose(found_TE, x, rtol=1e-4, atol=1e-5) for x in (once_TE, right_TE))


ROUTER_LOGITS = Exercise(
    id="01.router_logits",
    title="The router is one matrix",
    task=(
        "Return the logits `[T, E]`: for each token and expert, the inner product of the token's hidden "
        "state with the expert's router vector, computed in fp32 whatever the inputs' dtype. Stay with "
        "tensor operations, so that the router can learn."
    ),
    entry="router_logits",
    points=2,
    minutes=5,
    difficulty=1,
    outputs=(Output("logits_TE", "TE", dtype="float32"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "input_dtype",
            "The logits keep the dtype of the inputs. Near 128 neighbouring bf16 numbers are a whole 1 "
            "apart, so 128.5 becomes 128. Routers compute in fp32: convert both inputs before the product.",
            wrong=lambda hidden_TD, router_ED: hidden_TD @ router_ED.T,
            hint=2,
        ),
        Misconception(
            "late_fp32",
            "The result is converted to fp32 after the product. The rounding has happened by then: convert "
            "both inputs first.",
            wrong=lambda hidden_TD, router_ED: (hidden_TD @ router_ED.T).float(),
            hint=2,
        ),
        Misconception(
            "rounded_on_the_way",
            "Right for fp32 inputs; for bf16 inputs something was rounded to bf16 on the way, such as each "
            "product before the sum. Converting at the end cannot bring that back: convert both inputs "
            "first.",
            detects=_rounded,
            hint=2,
        ),
        Misconception(
            "choice",
            "This is already a choice: the number of each token's best expert. The router itself only "
            "scores; return all E scores of each token.",
            wrong=lambda hidden_TD, router_ED: (hidden_TD.float() @ router_ED.float().T).argmax(dim=-1),
        ),
        Misconception(
            "probabilities",
            "These are probabilities, not logits: each row went through a softmax. The next step needs the "
            "raw inner products.",
            wrong=lambda hidden_TD, router_ED: (hidden_TD.float() @ router_ED.float().T).softmax(dim=-1),
        ),
        Misconception(
            "shifted",
            "Each token's largest logit was subtracted. A softmax would not notice, and computes that way "
            "inside; a sigmoid gate would. The router returns the products as they are.",
            wrong=_shifted,
            hint=1,
        ),
        Misconception(
            "reshape",
            "`router_ED` was reshaped to [D, E]. That keeps the order in memory and mixes up experts and "
            "dimensions; a transpose swaps the axes.",
            wrong=lambda hidden_TD, router_ED: (
                hidden_TD.float() @ router_ED.float().reshape(hidden_TD.shape[1], -1)
            ),
            hint=3,
        ),
        Misconception(
            "sigmoid",
            "Each logit went through a sigmoid. Some gates do that in their first step (this lesson comes "
            "to them); the router itself returns the raw inner products.",
            wrong=lambda hidden_TD, router_ED: (hidden_TD.float() @ router_ED.float().T).sigmoid(),
            hint=1,
        ),
        Misconception(
            "cosine",
            "Tokens and router vectors were normalised to length 1 first. A linear router does not do "
            "that: a longer router vector gives larger logits, and that is part of what it can learn.",
            wrong=lambda hidden_TD, router_ED: (
                F.normalize(hidden_TD.float(), dim=-1) @ F.normalize(router_ED.float(), dim=-1).T
            ),
        ),
        Misconception(
            "attention_scale",
            "The products were divided by the square root of D. Attention does that with its queries and "
            "keys; a router does not. It would act as a temperature on every gate after it.",
            wrong=lambda hidden_TD, router_ED: (
                hidden_TD.float() @ router_ED.float().T / hidden_TD.shape[1] ** 0.5
            ),
        ),
    ),
    hints=(
        "Which axis do `hidden_TD` and `router_ED` share? That is the one to sum over.",
        "`tensor.float()` gives fp32. Do it to both inputs before they meet.",
        "`A @ B.T` sums over the last axis of both A and B.",
    ),
    notice=(
        "`.float()` stands before the product, not behind it: two bf16 matrices give a product that is "
        "rounded already, and widening it brings nothing back."
    ),
)
