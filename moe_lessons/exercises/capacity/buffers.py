"""Exercise 07.dispatch_combine: rows into fixed buffers, results back, and what becomes of the dropped."""

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.capacity.buffer_draws import draw
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Outputs, Property

Layer = tuple[Tensor, Tensor]


def reference(x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor) -> Layer:
    """One spare cell takes the dropped rows on the way in, and holds zeros on the way back."""
    kept_TK = positions < capacity
    return _layer(x, ids, w, positions, capacity, experts, kept_TK)


def _layer(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor, kept_TK: Tensor
) -> Layer:
    buffers_ECD = _filled(x, ids, positions, capacity, experts, kept_TK)
    results_TKD = _results(buffers_ECD, ids, positions, experts, kept_TK)
    return buffers_ECD, (results_TKD * w[..., None]).sum(dim=1)


def _filled(
    x: Tensor, ids: Tensor, positions: Tensor, capacity: int, experts: Tensor, kept: Tensor
) -> Tensor:
    buffers_ECD = torch.zeros(len(experts), capacity, x.shape[1])
    tokens, choices = kept.nonzero(as_tuple=True)
    buffers_ECD[ids[tokens, choices], positions[tokens, choices]] = x[tokens]
    return buffers_ECD


def _results(buffers: Tensor, ids: Tensor, positions: Tensor, experts: Tensor, kept: Tensor) -> Tensor:
    """What each slot gets back: its row of the experts' results, zeros where it was dropped."""
    rows_TKD = (buffers @ experts)[ids, positions.clamp(max=buffers.shape[1] - 1)]
    return rows_TKD * kept[..., None]


def _one_short(x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor) -> Layer:
    return _layer(x, ids, w, positions, capacity, experts, positions + 1 < capacity)


def _one_too_many(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    return _layer(x, ids, w, positions, capacity + 1, experts, positions <= capacity)


def _clamped_read(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    buffers_ECD = _filled(x, ids, positions, capacity, experts, positions < capacity)
    everyone = torch.ones_like(ids, dtype=torch.bool)
    return buffers_ECD, (_results(buffers_ECD, ids, positions, experts, everyone) * w[..., None]).sum(dim=1)


def _input_instead(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    buffers_ECD, output_TD = reference(x, ids, w, positions, capacity, experts)
    served_T = (positions < capacity).any(dim=1)
    return buffers_ECD, torch.where(served_T[:, None], output_TD, x)


def _renormalised(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    kept_TK = w * (positions < capacity)
    w = kept_TK / kept_TK.sum(dim=1, keepdim=True).clamp_min(1e-9)
    return reference(x, ids, w, positions, capacity, experts)


def _weighted_input(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    """The weight goes in with the row; these experts are linear, so the output is the same."""
    buffers_ECD, output_TD = reference(x, ids, w, positions, capacity, experts)
    tokens, choices = (positions < capacity).nonzero(as_tuple=True)
    weighted_ECD = torch.zeros_like(buffers_ECD)
    cells = ids[tokens, choices], positions[tokens, choices]
    weighted_ECD[cells] = x[tokens] * w[tokens, choices, None]
    return weighted_ECD, output_TD


def _residual_added(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    buffers_ECD, output_TD = reference(x, ids, w, positions, capacity, experts)
    return buffers_ECD, output_TD + x


def _no_weights(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    return reference(x, ids, torch.ones_like(w), positions, capacity, experts)


def _whole_token(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    buffers_ECD, output_TD = reference(x, ids, w, positions, capacity, experts)
    return buffers_ECD, output_TD * (positions < capacity).all(dim=1, keepdim=True)


def _transposed(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    return reference(x, ids, w, positions, capacity, experts.mT)


def _overwritten(case: Case, got: Outputs, want: Outputs) -> bool:
    """Each token has one of its slots' results, whichever: that depends on what was written last."""
    ids, w, positions, capacity, experts = (torch.as_tensor(a) for a in list(case.args.values())[1:])
    buffers_ECD = torch.from_numpy(want["buffers_ECD"]).float()
    kept_TK = positions < capacity
    results_TKD = _results(buffers_ECD, ids, positions, experts, kept_TK) * w[..., None]
    one_TK = np.isclose(got["output_TD"][:, None], results_TKD.numpy(), rtol=1e-4, atol=1e-5).all(axis=2)
    one_TK &= kept_TK.numpy() | ~kept_TK.any(dim=1, keepdim=True).numpy()
    all_else = np.array_equal(got["buffers_ECD"], want["buffers_ECD"]) and got["output_TD"].ndim == 2
    return all_else and bool(one_TK.any(axis=1).all())


def _layout_swapped(
    x: Tensor, ids: Tensor, w: Tensor, positions: Tensor, capacity: int, experts: Tensor
) -> Layer:
    """Cell number position * E + expert, then viewed as [E, C, D]."""
    n_experts, kept_TK = len(experts), positions < capacity
    cells_TK = (positions * n_experts + ids).masked_fill(~kept_TK, n_experts * capacity)
    flat = torch.zeros(n_experts * capacity + 1, x.shape[1])
    flat[cells_TK.flatten()] = x.repeat_interleave(ids.shape[1], dim=0)
    buffers_ECD = flat[:-1].view(n_experts, capacity, -1)
    results = torch.cat([(buffers_ECD @ experts).view(-1, x.shape[1]), torch.zeros(1, x.shape[1])])
    return buffers_ECD, (results[cells_TK] * w[..., None]).sum(dim=1)


def _dropped_are_zero(case: Case, got: Outputs, want: Outputs) -> str | None:
    lost_T = (np.asarray(case.args["positions_TK"]) >= case.args["capacity"]).all(axis=1)
    for t in np.flatnonzero(lost_T):
        if np.abs(got["output_TD"][t]).max() > 1e-6:
            shown = got["output_TD"][t].round(2).tolist()
            return f"token {t} found no place anywhere, yet its output is {shown}"
    return None


def _clamped_write(case: Case, got: Outputs, want: Outputs) -> bool:
    """The buffers are right but for the last places of experts that overflow: another row is there."""
    ids, positions = np.asarray(case.args["topk_ids_TK"]), np.asarray(case.args["positions_TK"])
    last = int(str(case.args["capacity"])) - 1
    over = np.unique(ids[positions > last])
    if got["buffers_ECD"].shape != want["buffers_ECD"].shape:
        return False
    differs_EC = (np.abs(got["buffers_ECD"] - want["buffers_ECD"]) > 1e-5).any(axis=-1)
    expected_EC = np.zeros_like(differs_EC)
    expected_EC[over, last] = True
    return bool((differs_EC <= expected_EC).all() and differs_EC.any() == bool(len(over)))


DISPATCH_COMBINE = Exercise(
    id="07.dispatch_combine",
    title="Dispatch and combine, with drops",
    task=(
        "A slot has a place if its position is *below* the capacity; else it is dropped. Copy the tokens of "
        "the kept slots to `buffers_ECD[expert, position]`, with zeros in places that nobody took. Expert e "
        "is here just the matrix `experts_EDD[e]`: its results are `buffers_ECD[e] @ experts_EDD[e]`. Bring "
        "them back: each token gets the sum of its kept slots' results times their weights, *as they are*. "
        "Return the buffers `[E, C, D]` and the layer's output `[T, D]`, without the residual. T may be 0."
    ),
    entry="dispatch_combine",
    points=5,
    minutes=25,
    difficulty=4,
    outputs=(Output("buffers_ECD", "ECD"), Output("output_TD", "TD")),
    draw=draw,
    reference=reference,
    properties=(Property("a token without any place gets zeros", _dropped_are_zero),),
    crashes=(
        Crash(
            "no_such_place",
            "A slot was sent to a place that its expert does not have. Positions start at 0, so the places "
            "are 0 to C - 1: is the test `<` or `<=`, and is it applied before the rows are written and "
            "read?",
            pattern=r"out of bounds",
            hint=1,
        ),
    ),
    misconceptions=(
        Misconception(
            "one_short",
            "Every expert keeps one row too few: the last of its C places stays empty. Positions start at 0, "
            "so the last place is C - 1 and the test is `position < C`.",
            wrong=_one_short,
            hint=1,
        ),
        Misconception(
            "one_too_many",
            "Position C was kept as well. Positions start at 0, so 0 to C - 1 are C places, and `<=` makes "
            "it C + 1.",
            wrong=_one_too_many,
            hint=1,
        ),
        Misconception(
            "clamped_read",
            "Dropped slots got somebody's result. Their index was clamped to the last place, and there sits "
            "another token. A dropped slot must add zero.",
            wrong=_clamped_read,
            hint=3,
        ),
        Misconception(
            "clamped_write",
            "Dropped rows were written to the last place, over the row that stood there. Clamping an index "
            "sends those that have no place to somebody else's. Leave them out before you write.",
            detects=_clamped_write,
            hint=2,
        ),
        Misconception(
            "input_instead",
            "A token without a place returns its own input. But the caller adds the residual: the token "
            "would come out doubled. A dropped token's layer output is zero, and the residual does the rest.",
            wrong=_input_instead,
            hint=3,
        ),
        Misconception(
            "renormalised",
            "The weights of the kept choices were rescaled to sum to 1. DeepSpeed's top-2 gate does that; "
            "here, as in GShard and Switch, what a dropped choice would have added is simply missing.",
            wrong=_renormalised,
            hint=2,
        ),
        Misconception(
            "no_weights",
            "The experts' results are added as they are. Multiply each by its slot's routing weight.",
            wrong=_no_weights,
            hint=2,
        ),
        Misconception(
            "weighted_input",
            "The weights were multiplied into the rows before the experts saw them. With these experts, "
            "which are matrices, the output happens to be the same; with a nonlinear one it is not. Copy the "
            "rows as they are, and weigh the results.",
            wrong=_weighted_input,
            hint=2,
        ),
        Misconception(
            "residual_added",
            "Every token's input is in its output. The caller adds the residual, so it would count twice.",
            wrong=_residual_added,
            hint=3,
        ),
        Misconception(
            "whole_token",
            "A token that lost one of its choices lost everything. Only the refused expert's share is "
            "missing; the other choices still count.",
            wrong=_whole_token,
            hint=2,
        ),
        Misconception(
            "overwritten",
            "A token with several places keeps the result of only one of its experts. `output[tokens] = ...` "
            "writes each over the one before, and so does `+=` where a token stands in the index twice. They "
            "have to be added.",
            detects=_overwritten,
            hint=3,
        ),
        Misconception(
            "transposed",
            "Each row met the transpose of its expert's matrix, as `F.linear` takes it. Here a row is "
            "multiplied from the left: `rows @ experts_EDD[e]`.",
            wrong=_transposed,
            hint=2,
        ),
        Misconception(
            "layout_swapped",
            "The rows went to cell `position * E + expert`, but the buffer is [E, C, D]: an expert's C "
            "places lie side by side. Rows of different experts are mixed, and each is multiplied by a "
            "wrong matrix.",
            wrong=_layout_swapped,
            hint=3,
        ),
    ),
    hints=(
        "Positions start at 0. Which are the C positions that have a place?",
        "`kept.nonzero(as_tuple=True)` lists the kept slots as tokens and choices. With them, the expert and "
        "the position of each is an index away, on the way in and on the way back.",
        "`buffers_ECD[ids[t, k], positions[t, k]] = hidden_TD[t]` fills all kept places at once. On the way "
        "back, `index_add` the weighted results of the kept slots onto zeros: whoever was dropped stays at "
        "0.",
    ),
    notice=(
        "Only kept slots are written, and only they are read back: a dropped row cannot reach the output, "
        "and no mask has to be multiplied in."
    ),
)
