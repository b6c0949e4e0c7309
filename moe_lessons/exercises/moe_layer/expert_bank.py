"""Exercise 02.expert_bank: all experts on the same tokens, from stacked weights in either layout."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both layouts; one expert, one token, and sizes that let the shapes of both layouts agree."""
    cases = []
    for n_experts, n_tokens, d_model, d_expert, input_first in [
        (4, 5, 3, 2, False),
        (3, 7, 4, 5, True),
        (2, 1, 6, 4, True),
        (1, 3, 2, 5, False),
        (3, 5, 8, 4, True),  # D = 2F, and below D = F: a shape does not say which layout it is
        (4, 3, 6, 3, False),
        (2, 6, 4, 4, True),
        (3, 5, 7, 7, False),
    ]:
        gate_up = rng.standard_normal((n_experts, 2 * d_expert, d_model)).astype(np.float32)
        down = rng.standard_normal((n_experts, d_model, d_expert)).astype(np.float32)
        if input_first:
            gate_up, down = (np.ascontiguousarray(np.swapaxes(weight, 1, 2)) for weight in (gate_up, down))
        args: dict[str, Plain] = {
            "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
            "gate_up": gate_up,
            "down": down,
            "input_first": input_first,
        }
        name = f"E={n_experts}, T={n_tokens}, D={d_model}, F={d_expert}, input_first={input_first}"
        cases.append(Case(name, args))
    return cases


def reference(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    """Bring both layouts to output first, then one batched product per projection."""
    gate_up_E2FD, down_EDF = (gate_up.mT, down.mT) if input_first else (gate_up, down)
    return _finish(hidden_TD @ gate_up_E2FD.mT, down_EDF)


def _finish(gate_up_ET2F: Tensor, down_EDF: Tensor) -> Tensor:
    gate_ETF, up_ETF = gate_up_ET2F.chunk(2, dim=-1)
    return (F.silu(gate_ETF) * up_ETF) @ down_EDF.mT


def _output_first(gate_up: Tensor, down: Tensor, input_first: bool) -> tuple[Tensor, Tensor]:
    return (gate_up.mT, down.mT) if input_first else (gate_up, down)


def _up_first(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    gate_up_E2FD, down_EDF = _output_first(gate_up, down, input_first)
    return _finish(hidden_TD @ gate_up_E2FD.roll(down_EDF.shape[-1], dims=1).mT, down_EDF)


def _interleaved(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    gate_up_E2FD, down_EDF = _output_first(gate_up, down, input_first)
    both = hidden_TD @ gate_up_E2FD.mT
    return (F.silu(both[..., ::2]) * both[..., 1::2]) @ down_EDF.mT


def _reshaped_to_output_first(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    if input_first:
        n_experts, d_model, twice = gate_up.shape
        gate_up, down = gate_up.reshape(n_experts, twice, d_model), down.reshape(n_experts, d_model, -1)
    return _finish(hidden_TD @ gate_up.mT, down)


def _reshaped_to_input_first(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    if not input_first:
        n_experts, twice, d_model = gate_up.shape
        gate_up, down = gate_up.reshape(n_experts, d_model, twice), down.reshape(n_experts, -1, d_model)
    return _finish(hidden_TD @ gate_up, down.mT)


def _viewed(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    right_ETD = reference(hidden_TD, gate_up, down, input_first)
    return right_ETD.transpose(0, 1).reshape(right_ETD.shape)


def _first_expert(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    right_ETD = reference(hidden_TD, gate_up, down, input_first)
    return right_ETD[:1].expand_as(right_ETD)


def _no_silu(hidden_TD: Tensor, gate_up: Tensor, down: Tensor, input_first: bool) -> Tensor:
    gate_up_E2FD, down_EDF = _output_first(gate_up, down, input_first)
    gate_ETF, up_ETF = (hidden_TD @ gate_up_E2FD.mT).chunk(2, dim=-1)
    return (gate_ETF * up_ETF) @ down_EDF.mT


def _guessed(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right where D is neither F nor 2F; there a guess may be right too."""
    hidden_TD, gate_up, down = (np.asarray(case.args[name]) for name in ("hidden_TD", "gate_up", "down"))
    alike = len(down) * hidden_TD.shape[1] ** 2 in (gate_up.size, down.size)
    if np.shape(got["output_ETD"]) != np.shape(want["output_ETD"]):
        return False
    right = np.allclose(got["output_ETD"], want["output_ETD"], rtol=1e-4, atol=1e-5)
    return alike if not right else not alike


_RESHAPED = (
    "was brought to the other one with `reshape`. That keeps the numbers in the order in which they lie in "
    "memory, so rows of one matrix are cut into pieces of others. A transpose swaps the axes."
)


def _put_together(case: Case, got: Outputs, want: Outputs) -> bool:
    found_TD, right_ETD = np.asarray(got["output_ETD"]), np.asarray(want["output_ETD"])
    together = (right_ETD.sum(axis=0), right_ETD.mean(axis=0))
    return any(found_TD.shape == x.shape and np.allclose(found_TD, x, rtol=1e-4, atol=1e-5) for x in together)


EXPERT_BANK = Exercise(
    id="02.expert_bank",
    title="E experts in two tensors",
    task=(
        "Return `[E, T, D]`: every expert's answer to every token. Checkpoints stack the experts in one of "
        "two layouts. With `input_first=False` (Mixtral) `gate_up` is [E, 2F, D] and `down` [E, D, F]; with "
        "`input_first=True` (Llama 4) `gate_up` is [E, D, 2F] and `down` [E, F, D]. In both, the first F of "
        "the 2F are the gate, the last F are up."
    ),
    entry="expert_bank",
    points=2,
    minutes=12,
    difficulty=2,
    outputs=(Output("output_ETD", "ETD"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "up_first",
            "The halves are swapped: silu went to the last F of the 2F. Here the gate comes first. (Files "
            "differ in this, which is why it is worth a check against a known output.)",
            wrong=_up_first,
            hint=2,
        ),
        Misconception(
            "interleaved",
            "Gate and up were taken as every other row. gpt-oss stores them so; in both layouts here they "
            "are two halves, one after the other.",
            wrong=_interleaved,
            hint=2,
        ),
        Misconception(
            "reshaped_input_first",
            f"The input-first layout {_RESHAPED}",
            wrong=_reshaped_to_output_first,
            hint=1,
        ),
        Misconception(
            "reshaped_output_first",
            f"The output-first layout {_RESHAPED}",
            wrong=_reshaped_to_input_first,
            hint=1,
        ),
        Misconception(
            "viewed",
            "The numbers are right, but in the wrong places: results with axes [T, E, D] were given the "
            "shape [E, T, D] by `view` or `reshape`. Swapping two axes takes a transpose.",
            wrong=_viewed,
            hint=3,
        ),
        Misconception(
            "layout_guessed",
            "Right as long as the shapes give the layout away. With D = 2F, or D = F, one of the tensors "
            "has the same shape in both layouts, and looking at shapes cannot tell. `input_first` says it.",
            detects=_guessed,
            hint=1,
        ),
        Misconception(
            "token_first",
            "The numbers are right, with the first two axes swapped: [T, E, D] where [E, T, D] is asked for.",
            wrong=lambda x, gate_up, down, first: reference(x, gate_up, down, first).transpose(0, 1),
            hint=3,
        ),
        Misconception(
            "summed",
            "The experts' answers were added up or averaged. This exercise keeps them apart, one [T, D] for "
            "each expert: who counts how much is decided later, by the router's weights.",
            detects=_put_together,
            hint=3,
        ),
        Misconception(
            "first_expert",
            "All E answers are those of expert 0. Each expert has its own slice of both tensors.",
            wrong=_first_expert,
            hint=3,
        ),
        Misconception(
            "no_silu",
            "Gate and up are multiplied without silu. Each expert is the SwiGLU of the previous exercise.",
            wrong=_no_silu,
            hint=2,
        ),
    ),
    crashes=(
        Crash(
            "layouts_mixed",
            "The sizes of a product do not fit, so the two layouts are not kept apart. Bring both tensors, "
            "`gate_up` and `down`, to one layout first, whichever you like. Only `input_first` says which "
            "one they come in: where D = 2F or D = F, a shape cannot.",
            pattern=r"cannot be multiplied|batch2 tensor to be|einsum\(\)",
            hint=1,
        ),
        Crash(
            "cut_along_another_axis",
            "Gate and up have different shapes here. 2F was to be cut into two halves of F: along which axis "
            "did the cut run? In [E, T, 2F] it is the last.",
            pattern=r"size of tensor a .* must match the size of tensor b",
            hint=2,
        ),
    ),
    hints=(
        "Write down the axes of `gate_up` in both cases. Which operation turns one order of axes into the "
        "other without mixing up the numbers?",
        "`tensor.mT` swaps the last two axes of a stack of matrices; `both.chunk(2, dim=-1)` cuts 2F into "
        "two halves.",
        "`hidden_TD @ stack_E2FD.mT` multiplies the same tokens with every expert's matrix and gives "
        "[E, T, 2F]. A list over experts and `torch.stack` does too.",
    ),
    notice=(
        "The tokens have no expert axis; broadcasting gives them one, so that a single `@` runs all "
        "experts, and `.mT` turns one layout into the other without moving a number."
    ),
)
