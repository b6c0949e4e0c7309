"""Exercise 11.split_expert: cut every expert into slices, so that the layer computes what it did."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.fine_grained.more_cuts import split_mistakes
from moe_lessons.exercises.fine_grained.more_parts import part_mistakes
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Cut = tuple[Tensor, Tensor, Tensor, float]
SHAPES = ((2, 3, 6, 2), (3, 5, 6, 3), (4, 2, 8, 4), (2, 4, 3, 1))


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three cuts, all sizes different, and one that cuts nothing."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Case(
            f"E={e}, D={d}, F={f}, G={g}",
            {
                "gate_up_proj": normal(e, 2 * f, d),
                "down_proj": normal(e, d, f),
                "router_ED": normal(e, d),
                "granularity": g,
            },
            edge=g == 1,
        )
        for e, d, f, g in SHAPES
    ]


def reference(gate_up_proj: Tensor, down_proj: Tensor, router_ED: Tensor, granularity: int) -> Cut:
    """Runs of F / G neighbouring units: rows of gate and of up, columns of down."""
    units = gate_up_proj.unflatten(1, (2, granularity, -1)).transpose(1, 2)
    down = down_proj.unflatten(2, (granularity, -1)).transpose(1, 2).flatten(0, 1)
    router_ED = router_ED.repeat_interleave(granularity, dim=0)
    return units.flatten(2, 3).flatten(0, 1), down, router_ED, float(granularity)


Change = Callable[[Cut, Tensor, Tensor, Tensor, int], Cut]


def _but(change: Change) -> Callable[[Tensor, Tensor, Tensor, int], Cut]:
    """The right cut, with one of its parts replaced."""

    def wrong(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Cut:
        right = reference(gate_up, down, router_ED, granularity)
        return change(right, gate_up, down, router_ED, granularity)

    return wrong


def _strided_down(down: Tensor, granularity: int) -> Tensor:
    return down.unflatten(2, (-1, granularity)).permute(0, 3, 1, 2).flatten(0, 1)


def _strided_rows(gate_up: Tensor, granularity: int) -> Tensor:
    units = gate_up.unflatten(1, (2, -1, granularity))
    return units.permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)


def _up_first(slices: Tensor) -> Tensor:
    return torch.cat(slices.chunk(2, dim=1)[::-1], dim=1)


def _same_up(slices: Tensor, gate_up: Tensor) -> Tensor:
    n_experts, n_units = gate_up.shape[0], slices.shape[1] // 2
    first = gate_up[:, gate_up.shape[1] // 2 :][:, :n_units]
    up = first.repeat_interleave(len(slices) // n_experts, dim=0)
    return torch.cat([slices[:, :n_units], up], dim=1)


def _by_slice(values: Tensor, granularity: int) -> Tensor:
    return values.unflatten(0, (-1, granularity)).transpose(0, 1).flatten(0, 1)


def _answer(hidden_TD: np.ndarray, gate_up: np.ndarray, down: np.ndarray) -> np.ndarray:
    gate, up = np.split(hidden_TD @ gate_up.T, 2, axis=-1)
    hidden: np.ndarray = gate / (1 + np.exp(-gate)) * up
    return hidden @ down.T


def _layer(
    gate_up: np.ndarray, down: np.ndarray, router_ED: np.ndarray, top_k: int, factor: float
) -> np.ndarray:
    """What a layer with a softmax over the chosen logits makes of three fixed tokens."""
    hidden_TD = np.sin(np.arange(3 * router_ED.shape[1], dtype=float).reshape(3, -1))
    logits_TE = hidden_TD @ router_ED.T
    output_TD = np.zeros_like(hidden_TD)
    for t, logits_E in enumerate(logits_TE):
        chosen_K = np.argsort(-logits_E, kind="stable")[:top_k]
        weights_K = np.exp(logits_E[chosen_K] - logits_E.max())
        for e, weight in zip(chosen_K, factor * weights_K / weights_K.sum(), strict=True):
            output_TD[t] += weight * _answer(hidden_TD[t : t + 1], gate_up[e], down[e])[0]
    return output_TD


def _same_function(case: Case, got: Outputs, want: Outputs) -> str | None:
    whole = [np.asarray(case.args[name], dtype=float) for name in ("gate_up_proj", "down_proj", "router_ED")]
    granularity = int(case.args["granularity"])  # type: ignore[arg-type]
    parts = [np.asarray(got[name], dtype=float) for name in ("gate_up_proj", "down_proj", "router_ED")]
    before = _layer(whole[0], whole[1], whole[2], 1, 1.0)
    after = _layer(parts[0], parts[1], parts[2], granularity, float(got["factor"]))
    gap = float(np.abs(after - before).max())
    if not gap < 1e-3:
        return f"the layer with K=1 and the cut one with K={granularity} differ by up to {gap:.3g}"
    return None


SPLIT_EXPERT = Exercise(
    id="11.split_expert",
    title="Cut the experts",
    task=(
        "Cut each of the E experts into `granularity` slices (G, a divisor of F), and give each slice the "
        "router row that makes top-GK take all slices of the experts that top-K took. Slice s of expert e "
        "has number `e·G + s` and takes the s-th run of F/G *neighbouring* hidden units. `gate_up_proj` "
        "holds F gate rows, then F up rows, and so shall each slice. Return also `factor`: what all weights "
        "must be multiplied by, after a softmax over the chosen logits, for the layer to compute exactly "
        "what it did."
    ),
    entry="split_experts",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(
        Output("gate_up_proj", "EHD"),
        Output("down_proj", "EDF"),
        Output("router_ED", "ED"),
        Output("factor"),
    ),
    draw=draw,
    reference=reference,
    properties=(Property("the cut layer computes the same", _same_function),),
    misconceptions=(
        Misconception(
            "stacked_rows",
            "The 2F stacked rows were cut as they lie. The first slices then hold gate rows only, and the "
            "last ones up rows only: gates are multiplied with gates. Take gate and up apart first; a slice "
            "needs the same units of both.",
            wrong=_but(lambda s, gu, d, r, g: (gu.reshape(s[0].shape), *s[1:])),
            also=(_but(lambda s, gu, d, r, g: (gu.reshape(s[0].shape), d.reshape(s[1].shape), *s[2:])),),
            hint=2,
        ),
        Misconception(
            "down_strided",
            "The columns of `down_proj` were dealt out in turns (every G-th one), the rows of `gate_up_proj` "
            "in runs. A slice then multiplies its units with other units' columns. Cut both in the same way.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], _strided_down(d, g), *s[2:])),
            hint=2,
        ),
        Misconception(
            "rows_strided",
            "The rows of `gate_up_proj` were dealt out in turns (every G-th one), the columns of `down_proj` "
            "in runs. A slice then multiplies its units with other units' columns. Cut both in the same way.",
            wrong=_but(lambda s, gu, d, r, g: (_strided_rows(gu, g), *s[1:])),
            hint=2,
        ),
        Misconception(
            "every_gth_unit",
            "Each slice takes every G-th hidden unit. The layer computes the same, so as a cut this is fine. "
            "Asked here are runs of neighbours, so that slices can be compared.",
            wrong=_but(lambda s, gu, d, r, g: (_strided_rows(gu, g), _strided_down(d, g), *s[2:])),
            hint=2,
        ),
        Misconception(
            "slice_major",
            "The first slices of all experts come first, then all second ones. The layer computes the same; "
            "asked is the other numbering, `e·G + s`, in which the slices of an expert are neighbours.",
            wrong=_but(lambda s, gu, d, r, g: (*(_by_slice(x, g) for x in s[:3]), s[3])),  # type: ignore[arg-type,return-value]
            hint=1,
        ),
        Misconception(
            "up_not_cut",
            "The gate rows are cut, and every slice has the same up rows, the first ones. Each unit has a "
            "row of both: cut up as you cut the gate.",
            wrong=_but(lambda s, gu, d, r, g: (_same_up(s[0], gu), *s[1:])),
            hint=2,
        ),
        Misconception(
            "down_reshaped",
            "`down_proj` was reshaped to the new sizes. Its hidden units are its *last* axis, so that a "
            "reshape mixes rows of different outputs: cut that axis (`chunk(G, dim=2)`, or a slice of "
            "columns).",
            wrong=_but(lambda s, gu, d, r, g: (s[0], d.reshape(s[1].shape), *s[2:])),
            hint=2,
        ),
        Misconception(
            "up_first",
            "Each slice has its up rows first and its gate rows second. The activation then falls on the "
            "wrong half.",
            wrong=_but(lambda s, gu, d, r, g: (_up_first(s[0]), *s[1:])),
            hint=2,
        ),
        Misconception(
            "router_tiled",
            "The router's rows are repeated as a block (0, 1, 2, 0, 1, 2, ...), while the slices of an "
            "expert are neighbours (0, 0, 1, 1, ...). Slices answer for experts that were not chosen.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:2], r.repeat(g, 1), s[3])),
            hint=1,
        ),
        Misconception(
            "router_divided",
            "The router's rows were divided by G. That changes the logits and with them the softmax: it "
            "becomes flatter. The rows stay; what has to be made up for is in the weights.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:2], s[2] / g, s[3])),
            hint=3,
        ),
        Misconception(
            "factor_one",
            "The factor is 1, as if nothing happened to the weights. G equal logits share what one of them "
            "had: each slice gets a G-th of it.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], 1.0)),
            hint=3,
        ),
        Misconception(
            "factor_inverse",
            "The factor is 1/G. That is what the softmax has done to the weights already; it has to be "
            "undone.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], 1.0 / g)),
            hint=3,
        ),
        Misconception(
            "factor_root",
            "The factor is the root of G. That keeps the *size* of a sum of independent answers. The slices "
            "of one expert are no independent answers: they add up to one.",
            wrong=_but(lambda s, gu, d, r, g: (*s[:3], g**0.5)),
            also=(_but(lambda s, gu, d, r, g: (*s[:3], g**-0.5)),),
            hint=3,
        ),
        Misconception(
            "factor_twice",
            "`down_proj` was multiplied by G, and the factor is G as well: the weights are made up for "
            "twice.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], g * s[1], *s[2:])),
            hint=3,
        ),
        Misconception(
            "factor_in_down",
            "The factor was worked into `down_proj`, and 1 returned. The layer computes the same. Asked is "
            "the factor by itself, so that the slices still add up to their expert.",
            wrong=_but(lambda s, gu, d, r, g: (s[0], g * s[1], s[2], 1.0)),
            hint=3,
        ),
        Misconception(
            "copies",
            "Each expert was copied G times. A slice holds F/G of its hidden units: the experts' parameters "
            "stay as many as they were.",
            wrong=lambda gu, d, r, g: (
                gu.repeat_interleave(g, 0),
                d.repeat_interleave(g, 0),
                r.repeat_interleave(g, 0),
                1.0,
            ),
            also=(
                lambda gu, d, r, g: (
                    gu.repeat_interleave(g, 0),
                    d.repeat_interleave(g, 0),
                    r.repeat_interleave(g, 0),
                    float(g),
                ),
                lambda gu, d, r, g: (
                    gu.repeat_interleave(g, 0),
                    d.repeat_interleave(g, 0),
                    r.repeat_interleave(g, 0),
                    1.0 / g,
                ),
            ),
            hint=1,
        ),
        *split_mistakes(reference),
        *part_mistakes(reference),
    ),
    hints=(
        "Write an expert as a sum over its hidden units: down column times silu(gate row · x) times (up row "
        "· x). Which sum is being cut, and which rows and columns belong to one term?",
        "`gate_up_proj.chunk(2, dim=1)` gives gate and up. Cut each of them and `down_proj` into runs of "
        "F/G (`chunk`, `unflatten`, or a loop with slices), then put gate and up together again.",
        "`repeat_interleave(G, dim=0)` for the router. A softmax over G·K logits that are equal in groups of "
        "G gives each slice 1/G of its expert's weight.",
    ),
    notice=(
        "The cut copies no number of an expert, so that it can be undone to the bit; only the router has "
        "grown, and only the factor keeps the output's size."
    ),
)
