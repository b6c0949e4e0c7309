"""Exercise 13.upcycle: a dense network made into experts that compute the same."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Layer = tuple[Tensor, Tensor, Tensor, float]
SHAPES = ((3, 4, 3, 2), (4, 6, 2, 3), (2, 8, 3, 4), (5, 4, 3, 1))  # D, F, copies R, slices G


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three that cut each copy, and one of whole copies."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Case(
            f"D={d}, F={f}, R={r} copies of G={g} slices",
            {
                "gate_up_HD": normal(2 * f, d),
                "down_DF": normal(d, f),
                "rows_RD": normal(r, d),
                "granularity": g,
            },
            edge=g == 1,
        )
        for d, f, r, g in SHAPES
    ]


def reference(gate_up_HD: Tensor, down_DF: Tensor, rows_RD: Tensor, granularity: int) -> Layer:
    """Cut gate, up and down into runs of units, and repeat the slices for each copy."""
    copies = len(rows_RD)
    slices = gate_up_HD.unflatten(0, (2, granularity, -1)).transpose(0, 1).flatten(1, 2)
    down = down_DF.unflatten(1, (granularity, -1)).transpose(0, 1)
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return slices.repeat(copies, 1, 1), down.repeat(copies, 1, 1), rows_ED, float(granularity)


Change = Callable[[Layer, Tensor, Tensor, Tensor, int], Layer]


def _but(change: Change) -> Callable[[Tensor, Tensor, Tensor, int], Layer]:
    """The right layer, with one of its parts replaced."""

    def wrong(gate_up: Tensor, down: Tensor, rows_RD: Tensor, granularity: int) -> Layer:
        return change(reference(gate_up, down, rows_RD, granularity), gate_up, down, rows_RD, granularity)

    return wrong


def _by_slice(values: Tensor, granularity: int) -> Tensor:
    return values.unflatten(0, (-1, granularity)).transpose(0, 1).flatten(0, 1)


def _strided_down(down: Tensor, granularity: int) -> Tensor:
    return down.unflatten(1, (-1, granularity)).permute(2, 0, 1)


def _strided_rows(gate_up: Tensor, granularity: int) -> Tensor:
    return gate_up.unflatten(0, (2, -1, granularity)).permute(2, 0, 1, 3).flatten(1, 2)


def _first_slice(slices: Tensor, granularity: int) -> Tensor:
    return slices[:1].expand_as(slices).clone() if granularity > 1 else slices


def _copies(factor: Callable[[int], float], repeat: bool = True) -> Callable[..., Layer]:
    """Whole copies in place of slices."""

    def wrong(gate_up: Tensor, down: Tensor, rows_RD: Tensor, granularity: int) -> Layer:
        n = len(rows_RD) * granularity
        rows_ED = rows_RD.repeat_interleave(granularity, 0) if repeat else rows_RD.repeat(granularity, 1)
        return gate_up.repeat(n, 1, 1), down.repeat(n, 1, 1), rows_ED, factor(granularity)

    return wrong


def _ffn(hidden_TD: np.ndarray, gate_up: np.ndarray, down: np.ndarray) -> np.ndarray:
    gate, up = np.split(hidden_TD @ gate_up.T, 2, axis=-1)
    hidden: np.ndarray = gate / (1 + np.exp(-gate)) * up
    return hidden @ down.T


def _same_function(case: Case, got: Outputs, want: Outputs) -> str | None:
    """Top-G of a softmax over the chosen logits, for three tokens, against the dense network."""
    gate_up, down = (np.asarray(case.args[name], dtype=float) for name in ("gate_up_HD", "down_DF"))
    n_slices = int(case.args["granularity"])  # type: ignore[arg-type]
    experts, downs, rows_ED = (
        np.asarray(got[n], dtype=float) for n in ("gate_up_EHD", "down_EDF", "rows_ED")
    )
    hidden_TD = np.sin(np.arange(3 * gate_up.shape[1], dtype=float).reshape(3, -1))
    gap = 0.0
    for token_D in hidden_TD:
        logits_E = rows_ED @ token_D
        chosen_K = np.argsort(-logits_E, kind="stable")[:n_slices]
        weights_K = np.exp(logits_E[chosen_K] - logits_E.max())
        weights_K *= float(got["factor"]) / weights_K.sum()
        output_D = sum(
            w * _ffn(token_D[None], experts[e], downs[e])[0] for e, w in zip(chosen_K, weights_K, strict=True)
        )
        gap = max(gap, float(np.abs(output_D - _ffn(token_D[None], gate_up, down)[0]).max()))
    if not gap < 1e-3:
        return f"with K={n_slices} the layer and the dense network differ by up to {gap:.3g}"
    return None


UPCYCLE = Exercise(
    id="13.upcycle",
    title="Dense to sparse",
    task=(
        "Make a dense SwiGLU network (`gate_up_HD` holds F gate rows, then F up rows; `down_DF` has F "
        "columns) into R copies of itself, each cut into `granularity` slices (G) of F/G neighbouring "
        "hidden units: E = R·G experts, copy 0's slices first, in order. Row r of `rows_RD` is for copy r: "
        "give all of its slices the *same* router row, so that a token gets each slice once. Return also "
        "`factor`: what the weights must be multiplied by, after a softmax over the G chosen logits, for the "
        "layer to give what the dense network gives."
    ),
    entry="upcycle",
    points=4,
    minutes=18,
    difficulty=3,
    outputs=(
        Output("gate_up_EHD", "EHD"),
        Output("down_EDF", "EDF"),
        Output("rows_ED", "ED"),
        Output("factor"),
    ),
    draw=draw,
    reference=reference,
    properties=(Property("the layer computes what the dense network does", _same_function),),
    misconceptions=(
        Misconception(
            "router_tiled",
            "The rows are repeated as a block (0, 1, 2, 0, 1, 2, ...), while the slices of a copy lie side "
            "by side (0, 0, 1, 1, ...). The slices that a token gets then belong to different copies, and "
            "some come twice.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:2], r.repeat(g, 1), s[3])),
            hint=2,
        ),
        Misconception(
            "slice_major",
            "The first slices of all copies come first, then all second ones, and their router rows do not "
            "follow (`repeat_interleave` on the slices does this). A token's G experts are then slices of "
            "several copies, or copies of one slice.",
            wrong=_but(lambda s, gu, d, r, g: (_by_slice(s[0], g), _by_slice(s[1], g), *s[2:])),
            hint=1,
        ),
        Misconception(
            "slice_major_with_rows",
            "The first slices of all copies come first, then all second ones. With the rows in the same "
            "order the layer is fine; asked is the other numbering, a copy's slices side by side.",
            wrong=_but(lambda s, gu, d, r, g: (_by_slice(s[0], g), _by_slice(s[1], g), r.repeat(g, 1), s[3])),
            hint=1,
        ),
        Misconception(
            "stacked_rows",
            "The 2F stacked rows were cut as they lie. The first slices then have gate rows only, the last "
            "ones up rows only. Take gate and up apart first; a slice needs the same units of both.",
            wrong=_but(lambda s, gu, d, r, g: (gu.unflatten(0, (g, -1)).repeat(len(r), 1, 1), *s[1:])),
            hint=2,
        ),
        Misconception(
            "down_reshaped",
            "`down_DF` was reshaped to the new sizes. Its hidden units are its columns: cut that axis.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], d.reshape(g, len(d), -1).repeat(len(r), 1, 1), *s[2:])),
            hint=2,
        ),
        Misconception(
            "down_strided",
            "The columns of `down_DF` were dealt out in turns, the rows of `gate_up_HD` in runs. A slice "
            "then multiplies its units with other units' columns. Cut both in the same way.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], _strided_down(d, g).repeat(len(r), 1, 1), *s[2:])),
            hint=2,
        ),
        Misconception(
            "every_gth_unit",
            "Each slice takes every G-th hidden unit. The layer computes the same, so as a cut this is fine. "
            "Asked here are runs of neighbours, so that slices can be compared.",
            wrong=_but(
                lambda s, gu, d, r, g: (
                    _strided_rows(gu, g).repeat(len(r), 1, 1),
                    _strided_down(d, g).repeat(len(r), 1, 1),
                    *s[2:],
                )
            ),
            hint=2,
        ),
        Misconception(
            "same_slice",
            "All experts of a copy hold its first slice. The others are lost, and the dense network with "
            "them.",
            wrong=_but(lambda s, gu, d, r, g: (_first_slice(s[0], g), _first_slice(s[1], g), *s[2:])),
            hint=1,
        ),
        Misconception(
            "router_zero",
            "The router rows are 0. Then all logits tie, always, and which slices a token gets is up to the "
            "sort.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:2], torch.zeros_like(s[2]), s[3])),
            hint=1,
        ),
        Misconception(
            "rows_divided",
            "The router rows were divided by G. Logits are compared, not added up: the rows stay, and the "
            "weights are made up for by the factor.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:2], s[2] / g, s[3])),
            hint=3,
        ),
        Misconception(
            "factor_one",
            "The factor is 1. G equal logits share the weight, so that each slice gets one G-th, while the "
            "dense network is the *sum* of its slices.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], 1.0)),
            hint=3,
        ),
        Misconception(
            "factor_inverse",
            "The factor is 1/G. The softmax has divided by G already; that has to be undone.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], 1.0 / g)),
            hint=3,
        ),
        Misconception(
            "factor_root",
            "The factor is the root of G, as if slices were independent of each other. They add up to one "
            "network.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], g**0.5)),
            hint=3,
        ),
        Misconception(
            "factor_copies",
            "The factor counts the copies. A token gets the slices of one copy: how many copies there are "
            "beside it changes nothing for it.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], float(len(r)))),
            also=(_but(lambda s, gu, d, r, g: (*s[:3], 1.0 / len(r))),),
            hint=3,
        ),
        Misconception(
            "factor_experts",
            "The factor counts all experts. A token gets G of them, and the weights of the others are not "
            "in its softmax.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], float(len(s[2])))),
            also=(_but(lambda s, gu, d, r, g: (*s[:3], 1.0 / len(s[2]))),),
            hint=3,
        ),
        Misconception(
            "down_shared_out",
            "`down_DF` was divided, as if all copies were added up. A token gets one copy: it needs it in "
            "full.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], s[1] / len(r), *s[2:])),
            also=(_but(lambda s, gu, d, r, g: (s[0], s[1] / g, *s[2:])),),
            hint=3,
        ),
        Misconception(
            "factor_in_down",
            "The factor was worked into `down_EDF`, and 1 returned. The layer computes the same. Asked is "
            "the factor by itself, so that slices still add up to their copy.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], g * s[1], s[2], 1.0)),
            hint=3,
        ),
        Misconception(
            "factor_twice",
            "`down_EDF` was multiplied by G, and the factor is G as well: the weights are made up for twice.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], g * s[1], *s[2:])),
            hint=3,
        ),
        Misconception(
            "whole_copies",
            "Each expert is a whole copy of the network. That has G times the work and the memory of what "
            "is asked: an expert holds F/G hidden units.",
            wrong=_copies(lambda g: 1.0),
            also=(_copies(float), _copies(lambda g: 1.0, repeat=False), _copies(float, repeat=False)),
            hint=1,
        ),
    ),
    hints=(
        "A dense network is a sum over its hidden units. Which experts must a token get for the sum to be "
        "whole, each term once?",
        "`gate_up_HD.chunk(2)` gives gate and up; cut each of them, and the columns of `down_DF`, into G "
        "runs. The list of slices is repeated R times, each router row G times (`repeat_interleave`).",
        "A softmax over G equal logits gives 1/G to each. What makes a sum of G such terms the plain sum "
        "again?",
    ),
    notice=("Copies part without any noise, because they get different tokens and so different gradients."),
)
