"""Exercise 10.training_step: accumulation, clipping and schedule, graded by the weights after three steps."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Plain

Tensor = torch.Tensor


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three steps: one with a large gradient, one with a small one; as many real tokens as it happens."""
    cases = []
    for V, D, M, N, warmup, empty in [
        (5, 4, 3, 6, 2, False),
        (4, 3, 2, 8, 2, False),
        (6, 5, 4, 4, 1, False),
        (5, 3, 2, 5, 2, True),
    ]:
        inputs = rng.standard_normal((3, M, N, D)) * np.array([4.0, 0.3, 2.0])[:, None, None, None]
        targets = rng.integers(0, V, (3, M, N))
        for step in range(3):
            for part in range(M):
                n_real = 1 + (part * 2 + step) % (N - 1)  # uneven, never all
                targets[step, part, n_real:] = -100
        if empty:
            targets[1, 0] = -100
        args: dict[str, Plain] = {
            "weight_VD": (0.5 * rng.standard_normal((V, D))).astype(np.float32),
            "inputs_SMND": inputs.astype(np.float32),
            "targets_SMN": targets,
            "peak": 0.5,
            "warmup_steps": warmup,
            "max_norm": 0.6,
        }
        name = f"V={V}, D={D}, {M} micro-batches of {N}, warm-up {warmup}"
        name += ", one micro-batch of padding only" if empty else ""
        cases.append(Case(name, args, edge=empty))
    return cases


ALONE = ("alone", "alone and once")
"""Each micro-batch's gradient is clipped by itself, and perhaps their sum once more."""


class Ways(NamedTuple):
    """How a step may be done: the right way by default."""

    total: str = "real"  # what the summed loss is divided by
    clip: str = "once"
    rate: str = "warm-up"
    clear: bool = True
    step_each: bool = False


def loss_of(weight: Tensor, step_inputs: Tensor, step_targets: Tensor, part: int, total: str) -> Tensor:
    """What `backward()` is called on for one micro-batch."""
    logits, targets = step_inputs[part] @ weight.T, step_targets[part]
    n_parts = len(step_targets)
    summed = F.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
    if total == "real":
        return summed / (step_targets != -100).sum()
    if total == "all":
        return summed / step_targets.numel()
    mean = summed / (targets != -100).sum()
    return mean / n_parts if total == "means" else mean


def clipped(gradient: Tensor, how: str, max_norm: float) -> Tensor:
    """The gradient as it goes into the step."""
    if how in ("none", "alone"):
        return gradient
    if how == "values":
        return gradient.clamp(-max_norm, max_norm)
    factor = max_norm / (gradient.norm() + 1e-6)
    return gradient * (factor if how == "always" else factor.clamp(max=1.0))


def rate_at(step: int, peak: float, warmup_steps: int, how: str) -> float:
    """The learning rate of a step, counted from 0."""
    if how == "late":
        return peak * min(1.0, step / warmup_steps)
    if how == "rising":
        return peak * (step + 1) / warmup_steps
    return peak if how == "peak" else peak * min(1.0, (step + 1) / warmup_steps)


def steps(
    weight_VD: Tensor,
    inputs_SMND: Tensor,
    targets_SMN: Tensor,
    peak: float,
    warmup_steps: int,
    max_norm: float,
    ways: Ways = Ways(),  # noqa: B008  (it is immutable)
) -> Tensor:
    """Gradient descent, done one way or another."""
    weight = weight_VD.detach().clone()
    gradient = torch.zeros_like(weight)
    for step in range(len(inputs_SMND)):
        rate = rate_at(step, peak, warmup_steps, ways.rate)
        for part in range(inputs_SMND.shape[1]):
            leaf = weight.clone().requires_grad_()
            loss = loss_of(leaf, inputs_SMND[step], targets_SMN[step], part, ways.total)
            own = torch.autograd.grad(loss, leaf)[0]
            gradient = gradient + (clipped(own, "once", max_norm) if ways.clip in ALONE else own)
            if ways.clip == "each":
                gradient = clipped(gradient, "once", max_norm)
            if ways.step_each:
                weight = weight - rate * clipped(gradient, ways.clip, max_norm)
                gradient = torch.zeros_like(weight)
        if not ways.step_each:
            gradient = clipped(gradient, ways.clip, max_norm)
            weight = weight - rate * gradient
        if ways.clear:
            gradient = torch.zeros_like(weight)
    return weight


def reference(
    weight_VD: Tensor,
    inputs_SMND: Tensor,
    targets_SMN: Tensor,
    peak: float,
    warmup_steps: int,
    max_norm: float,
) -> Tensor:
    """The weights after the steps."""
    return steps(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm)


TRAINING_STEP = Exercise(
    id="10.training_step",
    title="The training step",
    task=(
        "Train the smallest model there is, one matrix, and return it after S steps. Its logits are "
        "`inputs @ weight.T`. A step has M micro-batches of N tokens; a target of -100 is padding and counts "
        "for nothing. **The loss of a step is the mean over all real tokens of the step**, whichever "
        "micro-batch they are in. The gradient is collected over the micro-batches, then clipped once, so "
        "that its norm is at most `max_norm` (a smaller one stays as it is), then "
        "`weight -= rate * gradient`. The rate of step s, counted from 0, is `peak * (s + 1) / warmup_steps` "
        "during the warm-up and `peak` afterwards. Work on a copy: `weight_VD` itself stays as it is."
    ),
    entry="training_steps",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("weight_VD", "VD", rtol=1e-3, atol=1e-4),),
    draw=draw,
    reference=reference,
    gradient="ignored",
    misconceptions=(
        Misconception(
            "mean_of_means",
            "Each micro-batch's own mean is taken, and their mean is the step's loss. Micro-batches have "
            "different numbers of real tokens, so a token of a short one counts for more. Divide each *sum* "
            "by the number of real tokens of the whole step.",
            wrong=partial(steps, ways=Ways(total="means")),
            hint=2,
        ),
        Misconception(
            "means_added",
            "The micro-batches' means are added and never divided: with M of them the gradient is about M "
            "times too large. Cutting a step into more pieces must not change it.",
            wrong=partial(steps, ways=Ways(total="sum of means")),
            hint=2,
        ),
        Misconception(
            "padding_counted",
            "The loss is divided by all positions, padding included. The more padding, the smaller the step.",
            wrong=partial(steps, ways=Ways(total="all")),
            hint=2,
        ),
        Misconception(
            "step_per_micro_batch",
            "The weights change after every micro-batch. Accumulation is there to make *one* step out of "
            "them, as if all had been computed at once.",
            wrong=partial(steps, ways=Ways(step_each=True)),
            hint=1,
        ),
        Misconception(
            "clipped_each_time",
            "The gradient is clipped after every micro-batch, while it is still incomplete. Later ones then "
            "weigh more than earlier ones. Clip once, when all are in.",
            wrong=partial(steps, ways=Ways(clip="each")),
            hint=1,
        ),
        Misconception(
            "each_clipped",
            "The gradient of each micro-batch is clipped by itself. A large one is cut and a small one is "
            "not, so their sum points elsewhere than the gradient of the step. Add them up first; then clip.",
            wrong=partial(steps, ways=Ways(clip="alone")),
            also=(partial(steps, ways=Ways(clip="alone and once")),),
            hint=3,
        ),
        Misconception(
            "not_clipped",
            "The gradient reaches the weights unclipped: either it never is, or it is clipped after the "
            "step, when it is too late. One batch that is unlike the others then throws the weights far off.",
            wrong=partial(steps, ways=Ways(clip="none")),
            hint=3,
        ),
        Misconception(
            "clipped_by_value",
            "Every entry is cut to `max_norm` by itself. That turns the gradient into another direction. "
            "Clip its norm: one factor for all of it.",
            wrong=partial(steps, ways=Ways(clip="values")),
            hint=3,
        ),
        Misconception(
            "always_rescaled",
            "The gradient is brought to the length `max_norm` even where it is shorter. Clipping only ever "
            "shortens: near a minimum steps are to become small.",
            wrong=partial(steps, ways=Ways(clip="always")),
            hint=3,
        ),
        Misconception(
            "never_cleared",
            "The gradient of the step before is still there when the next one is added. After each step it "
            "begins at zero (`zero_grad`).",
            wrong=partial(steps, ways=Ways(clear=False)),
            hint=1,
        ),
        Misconception(
            "rate_too_late",
            "The rate is one step behind: the first step has the rate 0 and changes nothing. Set the rate of "
            "step s before step s, and count `s + 1`.",
            wrong=partial(steps, ways=Ways(rate="late")),
            hint=3,
        ),
        Misconception(
            "no_warm_up",
            "Every step has the peak rate: there is no warm-up.",
            wrong=partial(steps, ways=Ways(rate="peak")),
            hint=3,
        ),
        Misconception(
            "rises_for_ever",
            "The rate goes on rising when the warm-up is over. It stays at `peak` then.",
            wrong=partial(steps, ways=Ways(rate="rising")),
            hint=3,
        ),
    ),
    hints=(
        "Two loops, one inside the other. Which of the four belongs into the inner one: backward, clip, "
        "step, clear?",
        '`F.cross_entropy(..., ignore_index=-100, reduction="sum")` divided by the number of real targets '
        "of the whole step, `(targets_SMN[s] != -100).sum()`.",
        "After the inner loop: set `rate = peak * min(1, (s + 1) / warmup_steps)`, then multiply the "
        "gradient by `min(1, max_norm / norm)`, then step, then clear.",
    ),
    notice=(
        "Every micro-batch is divided by the real tokens of the *whole* step; divided by its own, the "
        "tokens of a short one would weigh more; and the gradient is clipped once, when it is complete."
    ),
)
