"""Exercise 09.down_gradient: the gradient of each expert's down projection, one program per tile of it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Plain
from moe_lessons.exercises.triton_kernels.down_mistakes import LONG, MISTAKES, OUT
from moe_lessons.exercises.triton_kernels.memory import SIZES, kernel


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """An empty expert between and one at the end; ragged and whole widths; and 80 rows that nearly cancel."""
    cases = [
        _case(rng, "", [5, 0, 19], d_model=18, d_expert=20),
        _case(rng, "", [16, 9, 0], d_model=16, d_expert=33),
        _case(rng, LONG + ", ", [80], d_model=16, d_expert=16),
    ]
    grad_SD, act_SF = np.asarray(cases[2].args["grad_SD"]), np.asarray(cases[2].args["act_SF"])
    grad_SD[:], act_SF[:] = 0, 1
    grad_SD[[0, 16, 32, 48, 64]] = np.array([2048, 0.75, 0.75, 0.75, -2048])[:, None]
    act_SF[[16, 32, 48]] = rng.uniform(0.8, 1.2, (3, 16))
    return cases


def _case(rng: np.random.Generator, name: str, counts: list[int], d_model: int, d_expert: int) -> Case:
    n_rows, n_experts = sum(counts), len(counts)
    args: dict[str, Plain] = {
        "grad_SD": rng.standard_normal((n_rows, d_model)).astype(np.float16),
        "act_SF": rng.standard_normal((n_rows, d_expert)).astype(np.float16),
        "ends_E": np.cumsum(counts).astype(np.int32),
        OUT: np.full((n_experts, d_model, d_expert), np.nan, np.float16),
    }
    return Case(f"{name}rows per expert {counts}, D={d_model}, F={d_expert}", args)


def reference(grad_SD: Tensor, act_SF: Tensor, ends_E: Tensor, d_down_EDF: Tensor) -> None:
    """Transposed gradients times activations, one expert at a time, in fp32."""
    bounds = ends_E[:-1].tolist()
    pairs = zip(grad_SD.float().tensor_split(bounds), act_SF.float().tensor_split(bounds), strict=True)
    d_down_EDF.copy_(torch.stack([grad.T @ act for grad, act in pairs]))


DOWN_GRADIENT = Exercise(
    id="09.down_gradient",
    title="The gradient of the down projection",
    task=(
        "Forward, row p of expert e was `down[e] @ act_SF[p]`. Given `grad_SD`, the gradient with respect to "
        "those results, write the kernel behind `down_gradient`: `d_down_EDF[e]` becomes the sum over the "
        "rows p of expert e of the outer product of `grad_SD[p]` and `act_SF[p]`. One program makes one "
        "BLOCK by BLOCK tile of one expert's gradient and walks over that expert's rows, BLOCK at a time. "
        "Add up in fp32; an expert without rows has gradient zero, and that must be written too." + SIZES
    ),
    entry="down_gradient",
    points=5,
    minutes=25,
    difficulty=4,
    **kernel(OUT, "EDF", "grad_SD", "act_SF", "ends_E", OUT),
    draw=draw,
    reference=reference,
    misconceptions=MISTAKES,
    hints=(
        "What does one program own, and over what does it sum? The sum runs over rows now, so it is the "
        "number of rows of *this* expert that ends the loop.",
        "The rows of expert e begin at `ends_E[e - 1]`, for e = 0 at 0, and end before `ends_E[e]`. In the "
        "loop both tiles are masked along rows and along columns, with `other=0.0`.",
        "Load the gradient's tile *as its transpose*: [D, rows], with `grad_SD + row[None, :] * d_model + "
        "d[:, None]`, where `row` is an int64 (`.to(tl.int64)`). The activations are [rows, F]. Then "
        "`acc = tl.dot(grad, act, acc)`.",
    ),
    notice=(
        "An expert without rows walks over nothing and still stores its tile of zeros: memory that is "
        "handed to a kernel holds whatever was there before."
    ),
)
