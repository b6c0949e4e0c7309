"""Exercise 05.z_loss: the squared logsumexp that keeps router logits small."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from moe_lessons.exercises.load_loss.draws import lopsided_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Ordinary logits, logits that drifted far up, and one token far down: its logsumexp is negative."""
    cases = []
    for n_tokens, n_experts, shift in [(6, 4, 0.0), (5, 3, 120.0), (1, 5, -6.0)]:
        shift_T1 = shift * rng.uniform(0.9, 1.1, (n_tokens, 1))
        logits_TE = (lopsided_logits(rng, n_tokens, n_experts) + shift_T1).astype(np.float32)
        cases.append(Case(f"T={n_tokens}, E={n_experts}, logits around {shift:g}", {"logits_TE": logits_TE}))
    return cases


def reference(logits_TE: Tensor) -> Tensor:
    """Mean over tokens of the squared logsumexp."""
    return logits_TE.logsumexp(dim=-1).square().mean()


Z_LOSS = Exercise(
    id="05.z_loss",
    title="The z-loss",
    task=(
        "Return the router z-loss, the mean over tokens of the *squared* logsumexp of their logits "
        "(ST-MoE, arXiv 2202.08906, eq. 5). Logits around 120 must not overflow. Gradients are checked too."
    ),
    entry="z_loss",
    points=2,
    minutes=6,
    difficulty=1,
    outputs=(Output("loss"), Output("gradient_TE", "TE")),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0]},
    misconceptions=(
        Misconception(
            "square_of_mean",
            "The mean was taken first, then squared. A token at +10 and one at -10 would cancel. Square each "
            "token's, then average.",
            wrong=lambda z: z.logsumexp(dim=-1).mean().square(),
            hint=3,
        ),
        Misconception(
            "not_squared",
            "The square is missing. Without it the loss rewards logits that drift towards minus infinity.",
            wrong=lambda z: z.logsumexp(dim=-1).mean(),
            hint=1,
        ),
        Misconception(
            "absolute",
            "The absolute value was taken for the square. It pulls at a logsumexp of 1 as hard as at one of "
            "100; the square pulls harder the further the logits have drifted.",
            wrong=lambda z: z.logsumexp(dim=-1).abs().mean(),
            hint=1,
        ),
        Misconception(
            "detached",
            "The value is right, but no gradient arrives at the logits, so it can shrink nothing. Look for "
            "`detach`, `no_grad`, `item`, `.data` or numpy.",
            wrong=lambda z: reference(z).detach(),
            hint=3,
        ),
        Misconception(
            "bare_exp",
            "exp, sum, log, one after the other: in fp32 exp overflows from about 89 on, and the loss is "
            "infinite. `logsumexp` subtracts the largest logit first.",
            wrong=lambda z: z.exp().sum(dim=-1).log().square().mean(),
            hint=2,
        ),
        Misconception(
            "max_not_added",
            "The largest logit was subtracted before `exp`, which is right, and not added again after the "
            "log. So the loss no longer sees how large the logits are, which is what it is for.",
            wrong=lambda z: (z - z.amax(dim=-1, keepdim=True)).logsumexp(dim=-1).square().mean(),
            hint=2,
        ),
        Misconception(
            "after_softmax",
            "The logits went through a softmax first. Probabilities sum to 1 whatever the size of the "
            "logits, so their size, which this loss is about, is gone.",
            wrong=lambda z: z.softmax(dim=-1).logsumexp(dim=-1).square().mean(),
            hint=1,
        ),
        Misconception(
            "log_softmax",
            "These are squared log-probabilities. They measure how sure a token is; this loss measures how "
            "large its logits are.",
            wrong=lambda z: z.log_softmax(dim=-1).square().mean(),
            hint=1,
        ),
        Misconception(
            "squared_logits",
            "The logits themselves were squared, and averaged or added up. That is a weight on every logit "
            "alike; the logsumexp cares for the largest.",
            wrong=lambda z: z.square().mean(),
            also=(lambda z: z.square().sum(dim=-1).mean(), lambda z: z.square().sum()),
            hint=2,
        ),
        Misconception(
            "max_only",
            "The largest logit was taken for the logsumexp. Close, but its gradient reaches one expert only.",
            wrong=lambda z: z.amax(dim=-1).square().mean(),
            hint=2,
        ),
        Misconception(
            "over_tokens",
            "The logsumexp ran over the tokens. Each token has its own, over its experts: the last axis.",
            wrong=lambda z: z.logsumexp(dim=0).square().mean(),
            hint=3,
        ),
        Misconception(
            "over_everything",
            "One logsumexp ran over all logits of all tokens. Each token has its own, over its experts: the "
            "last axis. Only then comes the mean.",
            wrong=lambda z: z.flatten().logsumexp(dim=0).square(),
            hint=3,
        ),
        Misconception(
            "summed",
            "The tokens are added up. Take the mean, or a larger batch weighs more.",
            wrong=lambda z: z.logsumexp(dim=-1).square().sum(),
            hint=3,
        ),
    ),
    hints=(
        "What is large when logits are large, for one token? A number for each token, before any softmax.",
        "`torch.logsumexp` is the log of the softmax's denominator.",
        "`logits_TE.logsumexp(dim=-1)` is [T]. Square it, then average.",
    ),
    notice=(
        "`logsumexp` takes the largest logit out before it exponentiates; written out by hand, exp(120) "
        "is infinite in fp32."
    ),
)
