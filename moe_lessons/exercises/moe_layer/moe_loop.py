"""Exercise 02.moe_loop: the MoE layer, token by token; the oracle for everything faster."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.moe_layer.inputs import routed_case
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several K, experts that nobody chooses, all tokens on one expert, and no token at all."""
    return [
        routed_case(rng, 5, 3, 2, 4, 2),
        routed_case(rng, 4, 2, 3, 6, 3),
        routed_case(rng, 3, 4, 2, 5, 1, only_expert=3),
        routed_case(rng, 0, 3, 2, 4, 2),
    ]


def reference(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_E2FD: Tensor, down_EDF: Tensor
) -> Tensor:
    """For each token, the weighted sum of its K experts, arXiv 1701.06538, eq. 1."""
    return _layer(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF)


Act = Callable[[Tensor], Tensor]


def _expert(
    rows_ND: Tensor, gate_up_2FD: Tensor, down_DF: Tensor, *, up_first: bool = False, act: Act = F.silu
) -> Tensor:
    gate_NF, up_NF = (rows_ND @ gate_up_2FD.T).chunk(2, dim=-1)
    if up_first:
        gate_NF, up_NF = up_NF, gate_NF
    return (act(gate_NF) * up_NF) @ down_DF.T


def _layer(
    hidden_TD: Tensor,
    ids_TK: Tensor,
    weights_TK: Tensor,
    gate_up_E2FD: Tensor,
    down_EDF: Tensor,
    *,
    up_first: bool = False,
    act: Act = F.silu,
) -> Tensor:
    pairs = zip(gate_up_E2FD, down_EDF, strict=True)
    all_ETD = torch.stack([_expert(hidden_TD, g, d, up_first=up_first, act=act) for g, d in pairs])
    mask_TE = torch.zeros(len(ids_TK), len(down_EDF)).scatter(1, ids_TK, weights_TK)
    return torch.einsum("te,etd->td", mask_TE, all_ETD)


def _detached(case: Case, got: Outputs, want: Outputs) -> bool:
    right = np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5)
    return bool(right) and not np.any(got["grad of topk_weights_TK"])


def _weighted_input(hidden: Tensor, ids: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    ones_T1 = torch.ones(len(ids), 1)
    slots = range(ids.shape[1])
    return sum(
        (_layer(hidden * weights[:, k : k + 1], ids[:, k : k + 1], ones_T1, gate_up, down) for k in slots),
        torch.zeros_like(hidden),
    )


MOE_LOOP = Exercise(
    id="02.moe_loop",
    title="The layer as a loop",
    task=(
        "Return `[T, D]`: for token t, the sum over its K choices of `topk_weights_TK[t, k]` times the "
        "answer of expert `topk_ids_TK[t, k]` to that token. Loop over tokens and choices as plainly as you "
        "can: this is the version to trust. Gradients are checked too, and T may be 0."
    ),
    entry="moe_loop",
    points=3,
    minutes=15,
    difficulty=2,
    outputs=(
        Output("output_TD", "TD"),
        Output("grad of hidden_TD", "TD"),
        Output("grad of topk_weights_TK", "TK"),
        Output("grad of gate_up_E2FD", "EGD"),
        Output("grad of down_EDF", "EDF"),
    ),
    driver="gradient",
    options={"wrt": [0, 2, 3, 4]},
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "no_weights",
            "The experts' answers are added as they are. Each is first multiplied by its routing weight; "
            "without it the router could not learn either.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, torch.ones_like(w), gate_up, down),
            hint=1,
        ),
        Misconception(
            "average",
            "The K answers are averaged. The router says how much each one counts: use its weights.",
            wrong=lambda x, ids, w, gate_up, down: _layer(
                x, ids, torch.ones_like(w) / w.shape[1], gate_up, down
            ),
            hint=1,
        ),
        Misconception(
            "renormalized",
            "The weights were rescaled to sum to 1. That is the gate's decision, made before; the layer "
            "uses the weights as it gets them.",
            wrong=lambda x, ids, w, gate_up, down: _layer(
                x, ids, w / w.sum(dim=-1, keepdim=True), gate_up, down
            ),
            hint=1,
        ),
        Misconception(
            "overwritten",
            "Only the last choice of each token is left: the assignment inside the loop replaces what the "
            "choices before it gave. Add to it.",
            wrong=lambda x, ids, w, gate_up, down: _layer(
                x, ids, torch.cat([torch.zeros_like(w[:, 1:]), w[:, -1:]], dim=1), gate_up, down
            ),
            hint=3,
        ),
        Misconception(
            "first_choice",
            "Only the first choice of each token counts. Each token has K of them: loop over them all, and "
            "return after the loop rather than in it.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids[:, :1], w[:, :1], gate_up, down),
            hint=1,
        ),
        Misconception(
            "never_reset",
            "The first token is right, and every later one also contains those before it: the sum goes on "
            "from token to token. Start it anew, from zeros, for each token.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w, gate_up, down).cumsum(dim=0),
            hint=3,
        ),
        Misconception(
            "choice_as_expert",
            "Choice k was sent to expert k. k only counts a token's choices; which expert that is, stands "
            "in `topk_ids_TK[t, k]`.",
            wrong=lambda x, ids, w, gate_up, down: _layer(
                x, torch.arange(ids.shape[1]).expand_as(ids), w, gate_up, down
            ),
            hint=2,
        ),
        Misconception(
            "detached",
            "The output is right, but no gradient reaches the weights: they left the graph, through "
            "`.item()`, `float(...)`, `.detach()`, `no_grad`, or a new `torch.tensor(...)`. The router "
            "learns through these weights only. Multiply by the tensor element itself.",
            detects=_detached,
            hint=3,
        ),
        Misconception(
            "weighted_input",
            "The weight multiplies the expert's input. An expert is not linear, so that is another function "
            "(Llama 4 does this on purpose). Here the weight multiplies the answer.",
            wrong=_weighted_input,
            hint=1,
        ),
        Misconception(
            "every_expert",
            "Every expert's answer is in the sum, without a weight. Each token has K experts, and "
            "`topk_ids_TK` says which.",
            wrong=lambda x, ids, w, gate_up, down: sum(
                (_expert(x, g, d) for g, d in zip(gate_up, down, strict=True)), torch.zeros_like(x)
            ),
            hint=1,
        ),
        Misconception(
            "softmaxed",
            "The weights went through a softmax. They are weights already: the gate has made them, and the "
            "layer uses them as they come.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w.softmax(dim=-1), gate_up, down),
            hint=1,
        ),
        Misconception(
            "divided_by_k",
            "Each weighted answer was divided by K as well. The weights already say how much each one "
            "counts: add them up.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w / w.shape[1], gate_up, down),
            hint=1,
        ),
        Misconception(
            "weights_squared",
            "The weights are in there twice, once for an answer and once for the sum. Once is enough.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w * w, gate_up, down),
            hint=1,
        ),
        Misconception(
            "residual",
            "The token itself is in the sum: it began from `hidden_TD` rather than from zeros. The "
            "residual is the block's business; the layer returns its own contribution alone.",
            wrong=lambda x, ids, w, gate_up, down: x + _layer(x, ids, w, gate_up, down),
            hint=3,
        ),
        Misconception(
            "no_silu",
            "Gate and up are multiplied without silu. Each expert is the SwiGLU of this lesson's first "
            "exercise.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w, gate_up, down, act=lambda z: z),
            hint=2,
        ),
        Misconception(
            "up_first",
            "Inside the expert, gate and up are swapped: the first F rows of `gate_up_E2FD` are the gate, "
            "and silu belongs to them.",
            wrong=lambda x, ids, w, gate_up, down: _layer(x, ids, w, gate_up, down, up_first=True),
            hint=2,
        ),
    ),
    crashes=(
        Crash(
            "fixed_k",
            "A choice is asked for that this token does not have: K differs from input to input. Take it "
            "from `topk_ids_TK.shape[1]`.",
            pattern=r"index (?P<index>\d+) is out of bounds for dimension [01] with size (?P=index)\b",
            line=r"^(?!.*w\w*\[\w+, *(\w*ids\w*\[|e\b|expert))",
            edge=False,
            hint=1,
        ),
        Crash(
            "weight_by_expert",
            "A weight is looked up by its expert's id. `topk_weights_TK` has one column for each *choice*, "
            "0 to K - 1: choice k of token t has the weight `topk_weights_TK[t, k]`.",
            pattern=r"index \d+ is out of bounds for dimension [01] with size",
            line=r"w\w*\[\w+, *(\w*ids\w*\[|e\b|expert)",
            edge=False,
            hint=3,
        ),
    ),
    hints=(
        "For one token: which experts, how much does each count, and what is done with their answers?",
        "`e = int(topk_ids_TK[t, k])` is the expert; `gate_up_E2FD[e]` and `down_EDF[e]` are its matrices.",
        "`row_D = row_D + topk_weights_TK[t, k] * answer_D`, starting from zeros; collect the rows. With no "
        "token, `torch.stack` of an empty list fails: start from a zero tensor [T, D] instead.",
    ),
    notice=(
        "It is slow and can be read off the formula, which makes it worth keeping: every fast path of "
        "this course's `MoELayer` is tested against such a loop."
    ),
)
