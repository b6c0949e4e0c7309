"""Exercise 05.scope: the same loss over a sequence, a micro-batch or the global batch."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.load_loss.draws import chosen, lopsided_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain

SCOPES = ("sequence", "micro_batch", "global_batch")


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Each sequence has favourites of its own, so that the three scopes differ."""
    cases = []
    for scope, sizes in zip(SCOPES * 2, [(2, 3, 4, 5, 2)] * 3 + [(3, 2, 5, 4, 1)] * 3, strict=True):
        n_micro, n_sequences, length, n_experts, top_k = sizes
        logits_MBLE = lopsided_logits(rng, n_micro, n_sequences, length, n_experts, lean=2.0)
        for m in range(n_micro):
            for b in range(n_sequences):
                logits_MBLE[m, b] = np.roll(logits_MBLE[m, b], 2 * m + b, axis=-1)
        args: dict[str, Plain] = {"logits_MBLE": logits_MBLE, "top_k": top_k, "scope": scope}
        name = f"{scope}: M={n_micro}, B={n_sequences}, L={length}, E={n_experts}, K={top_k}"
        cases.append(Case(name, args))
    return cases


def grouped(logits_MBLE: Tensor, scope: str) -> Tensor:
    """Tokens by the groups in which the load shall be even, [groups, tokens, E]."""
    start, end = {"sequence": (0, 1), "micro_batch": (1, 2), "global_batch": (0, 2)}[scope]
    flat = logits_MBLE.flatten(start, end)
    return flat[None] if scope == "global_batch" else flat


def losses(logits_GTE: Tensor, top_k: int) -> Tensor:
    """E * sum of f P in each group."""
    f_GE = chosen(logits_GTE, top_k).mean(dim=1) / top_k
    return logits_GTE.shape[-1] * (f_GE * logits_GTE.softmax(dim=-1).mean(dim=1)).sum(dim=-1)


def reference(logits_MBLE: Tensor, top_k: int, scope: str) -> Tensor:
    """A loss for each group, and their mean."""
    return losses(grouped(logits_MBLE, scope), top_k).mean()


Scoped = Callable[[Tensor, int, str], Tensor]


def _renamed(names: dict[str, str]) -> Scoped:
    return lambda z, k, scope: reference(z, k, names.get(scope, scope))


def _positions(z: Tensor, k: int, scope: str) -> Tensor:
    """Groups of the tokens that stand at the same position."""
    return reference(z.transpose(1, 2) if scope == "sequence" else z, k, scope)


def _tokens(z: Tensor, k: int, scope: str) -> Tensor:
    return losses(z.flatten(0, 2)[:, None], k).mean() if scope == "sequence" else reference(z, k, scope)


def _summed(z: Tensor, k: int, scope: str) -> Tensor:
    return losses(grouped(z, scope), k).sum()


def _views(z: Tensor, k: int, scope: str) -> Tensor:
    """A reshape that keeps the order in memory and so mixes sequences: [B, L] read as [L, B]."""
    n_groups = {"sequence": z.shape[0] * z.shape[2], "micro_batch": z.shape[0], "global_batch": 1}[scope]
    return losses(z.reshape(n_groups, -1, z.shape[-1]), k).mean()


def _by_length(z: Tensor, k: int, scope: str) -> Tensor:
    """For sequences, a reshape to as many groups as a sequence has tokens."""
    if scope != "sequence":
        return reference(z, k, scope)
    return losses(z.reshape(z.shape[2], -1, z.shape[3]), k).mean()


def _no_E(z: Tensor, k: int, scope: str) -> Tensor:
    return reference(z, k, scope) / z.shape[-1]


def _detached(z: Tensor, k: int, scope: str) -> Tensor:
    return reference(z, k, scope).detach()


def _no_K(z: Tensor, k: int, scope: str) -> Tensor:
    return k * reference(z, k, scope)


def _global_missed(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right at the two smaller scopes, and at the largest what one group for each token comes to."""
    if case.args["scope"] != "global_batch":
        return bool(np.isclose(got["loss"], want["loss"], rtol=1e-4, atol=1e-5))
    logits, k, _ = case.args.values()
    flat = torch.as_tensor(np.asarray(logits)).flatten(0, 2)
    n_tokens, n_experts = flat.shape
    # With [tokens, E] for [groups, tokens, E], the means run over the experts: each token's f and P are 1/E.
    made = [n_tokens / n_experts, 1 / n_experts, float(losses(flat[:, None], int(str(k))).mean())]
    return any(np.isclose(got["loss"], one, rtol=1e-4, atol=1e-5) for one in made)


SCOPE = Exercise(
    id="05.scope",
    title="Balanced where?",
    task=(
        "One step sees M micro-batches of B sequences of L tokens. Return the loss `E · sum(f · P)` at "
        'one of three scopes: `"sequence"` (one loss for each of the M·B sequences), `"micro_batch"` (one '
        'for each micro-batch), `"global_batch"` (one for all tokens together). Of several losses, return '
        "the mean. f is the share of routed rows. Gradients are checked too. (A group is what a layer was: "
        "you may copy your `balancing_loss` into the cell, and spend your time on the groups.)"
    ),
    entry="scoped_loss",
    points=4,
    minutes=10,
    difficulty=3,
    outputs=(Output("loss"), Output("gradient_MBLE", "MBLE")),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0]},
    misconceptions=(
        Misconception(
            "averaged_first",
            "All three scopes give the same number, that of the global batch. Somewhere f or P is averaged "
            "over the groups before the two are multiplied. The mean of products is not the product of "
            "means, and that difference is the whole of this exercise.",
            wrong=_renamed(dict.fromkeys(SCOPES, "global_batch")),
            hint=1,
        ),
        Misconception(
            "always_micro",
            "The scope changes nothing: there is one loss for each micro-batch, always.",
            wrong=_renamed(dict.fromkeys(SCOPES, "micro_batch")),
            hint=2,
        ),
        Misconception(
            "always_sequence",
            "The scope changes nothing: there is one loss for each sequence, always.",
            wrong=_renamed(dict.fromkeys(SCOPES, "sequence")),
            hint=2,
        ),
        Misconception(
            "global_is_micro",
            'For "global_batch" the micro-batches\' losses were averaged. That is what "micro_batch" asks '
            "for. The global f is counted over all tokens before anything is multiplied.",
            wrong=_renamed({"global_batch": "micro_batch"}),
            hint=1,
        ),
        Misconception(
            "global_is_sequence",
            'For "global_batch" the sequences\' losses were averaged. That is what "sequence" asks for. The '
            "global f is counted over all tokens before anything is multiplied.",
            wrong=_renamed({"global_batch": "sequence"}),
            hint=1,
        ),
        Misconception(
            "reversed",
            '"sequence" and "global_batch" are the wrong way round.',
            wrong=_renamed({"sequence": "global_batch", "global_batch": "sequence"}),
            hint=2,
        ),
        Misconception(
            "sequence_and_micro",
            '"sequence" and "micro_batch" are the wrong way round. A micro-batch holds B sequences: it is '
            "the larger group of the two.",
            wrong=_renamed({"sequence": "micro_batch", "micro_batch": "sequence"}),
            hint=2,
        ),
        Misconception(
            "micro_and_global",
            '"micro_batch" and "global_batch" are the wrong way round. The global batch is all tokens of the '
            "step, one group.",
            wrong=_renamed({"micro_batch": "global_batch", "global_batch": "micro_batch"}),
            hint=2,
        ),
        Misconception(
            "global_tokens",
            'For "global_batch" every token became a group of its own. `flatten(0, 2)` is [tokens, E], and '
            "the mean then runs over something else: one group needs an axis of size 1 in front, `[None]`.",
            detects=_global_missed,
            hint=3,
        ),
        Misconception(
            "positions",
            'For "sequence" the mean ran over the sequences of a micro-batch instead of along a sequence: '
            "the groups are positions. Axis 2 is L, the tokens of one sequence.",
            wrong=_positions,
            hint=3,
        ),
        Misconception(
            "tokens",
            'For "sequence" every token is a group of its own. Its f is 1/K at what it chose: the loss would '
            "ask each single token to be undecided.",
            wrong=_tokens,
            hint=2,
        ),
        Misconception(
            "summed",
            "The groups' losses are added up. Take their mean, or alpha means something else at each scope.",
            wrong=_summed,
            hint=1,
        ),
        Misconception(
            "mixed_reshape",
            'The tokens were reshaped into M·L groups of B for "sequence". A reshape keeps the order in '
            "memory: there are M·B sequences, and each has its L tokens side by side.",
            wrong=_views,
            hint=3,
        ),
        Misconception(
            "reshaped_by_length",
            'For "sequence" the logits were reshaped to L groups, [L, M·B, E]. A reshape keeps the order in '
            "memory, so that parts of several sequences land in one group. Each sequence is a group of its "
            "own: there are M·B of them.",
            wrong=_by_length,
            hint=3,
        ),
        Misconception(
            "first_choice",
            "f counts only each token's first choice. All K choices are routed rows.",
            wrong=lambda z, k, scope: reference(z, 1, scope),
            hint=3,
        ),
        Misconception(
            "no_K",
            "f is a fraction of the tokens and sums to K. Divide by K: it is a share of the routed rows.",
            wrong=_no_K,
            hint=3,
        ),
        Misconception(
            "no_E",
            "The factor E is missing, or a mean over the experts has cancelled it. The balanced value is 1/E "
            "then, and not 1.",
            wrong=_no_E,
            hint=3,
        ),
        Misconception(
            "detached",
            "The value is right, but no gradient arrives at the logits. f has none; through P the loss must "
            "reach the router. Look for `detach`, `no_grad`, `item`, `.data` or numpy.",
            wrong=_detached,
            hint=3,
        ),
    ),
    hints=(
        "How many losses are there at each scope? M·B, M, 1. Each has an f and a P of its own.",
        "Bring the logits to the shape [groups, tokens, E] first. After that one formula serves all three.",
        '`logits_MBLE.flatten(0, 1)` for "sequence", `.flatten(1, 2)` for "micro_batch", and for '
        '"global_batch" `.flatten(0, 2)[None]`. Then means over dim 1.',
    ),
    notice=(
        "Only the grouping differs, a `flatten` over other axes; behind it one piece of code serves all "
        "three scopes."
    ),
)
