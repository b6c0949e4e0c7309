"""Further mistakes in 11.split_expert and 11.cut_costs, each with the right answer changed."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moe_lessons.exercises.spec import Misconception

Answer = Callable[..., Any]


def split_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 11.split_expert: one of the parts in another order, layout or size."""

    def but(place: int, change: Callable[[Tensor, Tensor, Tensor, Tensor, int], Any]) -> Answer:
        """One output changed; of what it should be, the three arguments and G."""

        def wrong(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
            found = list(reference(gate_up, down, router_ED, granularity))
            found[place] = change(found[place], gate_up, down, router_ED, granularity)
            return tuple(found)

        return wrong

    def turned(out: Tensor, gu: Tensor, down: Tensor, r: Tensor, g: int) -> Tensor:
        return down.transpose(1, 2).reshape(len(out), -1, down.shape[1])

    def one_row(out: Tensor, gu: Tensor, d: Tensor, r: Tensor, g: int) -> Tensor:
        return out * (torch.arange(len(out)) % g == 0)[:, None]

    def runs_of_g(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
        runs = [slice(s * granularity, (s + 1) * granularity) for s in range(granularity)]
        gate, up = gate_up.chunk(2, dim=1)
        both = [torch.cat([gate[:, run], up[:, run]], dim=1) for run in runs]
        router_ED = router_ED.repeat_interleave(granularity, dim=0)
        downs = torch.stack([down[:, :, run] for run in runs], dim=1).flatten(0, 1)
        return torch.stack(both, dim=1).flatten(0, 1), downs, router_ED, float(granularity)

    return (
        Misconception(
            "rows_in_pairs",
            "A slice has the gate row and the up row of each unit beside each other. Whoever takes it apart "
            "with `chunk(2)` then gets a mixture: all gate rows of a slice come first, then its up rows.",
            wrong=but(0, lambda out, gu, d, r, g: out.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)),
            hint=2,
        ),
        Misconception(
            "parts_in_two_orders",
            "One of the two, `gate_up_proj` or `down_proj`, is listed slice by slice (all first ones, then "
            "all second ones), the other expert by expert. A slice then gets the rows of one expert and the "
            "columns of another. Both go by `e·G + s`: `stack` on a new axis behind that of the experts, "
            "then `flatten(0, 1)`.",
            wrong=but(1, lambda out, gu, d, r, g: _by_slice(out, g)),
            also=(but(0, lambda out, gu, d, r, g: _by_slice(out, g)),),
            hint=2,
        ),
        Misconception(
            "down_divided",
            "`down_proj` was divided, as if the slices were averaged. They are parts of one sum and keep "
            "their numbers. The weights are what has become smaller, and the factor alone makes up for that.",
            wrong=but(1, lambda out, gu, d, r, g: out / g),
            also=(but(1, lambda out, gu, d, r, g: out / g**0.5),),
            hint=3,
        ),
        Misconception(
            "router_rows_missing",
            "There are not more rows in the router: it is as it was, or its rows were made longer. A row "
            "reads a token and has D numbers; each slice gets a whole one. The experts are the axis to "
            "repeat along.",
            wrong=but(2, lambda out, gu, d, r, g: r.repeat_interleave(g, 1)),
            also=(
                but(2, lambda out, gu, d, r, g: r.repeat(1, g)),
                but(2, lambda out, gu, d, r, g: r),
            ),
            hint=3,
        ),
        Misconception(
            "one_slice_chosen",
            "Only the first slice of an expert has its router row. The others are never chosen together with "
            "it, and the sum is not complete: all G slices need the same row.",
            wrong=but(2, one_row),
            hint=3,
        ),
        Misconception(
            "down_turned",
            "`down_proj` was turned round to be cut, and not turned back. A slice of it is [D, F/G], as an "
            "expert of it was [D, F].",
            wrong=but(1, turned),
            also=(but(1, lambda out, gu, d, r, g: out.transpose(1, 2)),),
            hint=2,
        ),
        Misconception(
            "runs_of_g",
            "The runs are G units long. There are G runs, and each has F/G units.",
            wrong=runs_of_g,
            hint=2,
        ),
    )


def _by_slice(values: Tensor, granularity: int) -> Tensor:
    return values.unflatten(0, (-1, granularity)).transpose(0, 1).flatten(0, 1)


def cost_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 11.cut_costs."""

    def but(change: Callable[..., Any]) -> Answer:
        return lambda d, f, e, k, g: change(reference(d, f, e, k, g), d, f, e, k, g)

    def sizes(
        router: Callable[..., float], expert: Callable[..., float], n: Callable[..., tuple[float, float]]
    ) -> Answer:
        """Both counts and the share from the router's size, an expert's, and how many there are and work."""

        def wrong(d: int, f: int, e: int, k: int, g: int) -> Any:
            rows, one, (all_of, used) = router(d, e, g), expert(d, f, g), n(e, k, g)
            active = rows + used * one
            return int(rows + all_of * one), int(active), rows / active, reference(d, f, e, k, g)[3]

        return wrong

    def rows(d: int, e: int, g: int) -> float:
        return d * e * g

    return (
        Misconception(
            "router_not_used",
            "The router is missing in one of the two counts. It is part of the layer, and a token meets all "
            "of its rows: that is how the slices are chosen.",
            wrong=but(lambda r, d, f, e, k, g: (r[0], r[1] - d * e * g, *r[2:])),
            also=(
                but(lambda r, d, f, e, k, g: (r[0], r[1] - d * e * g, d * e * g / (r[1] - d * e * g), r[3])),
                but(lambda r, d, f, e, k, g: (r[0] - d * e * g, *r[1:])),
            ),
            hint=2,
        ),
        Misconception(
            "share_upside_down",
            "The share is upside down, or that of the experts. Asked is the router's part of what a token "
            "uses, a number below 1.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:2], 1 / r[2], r[3])),
            also=(but(lambda r, d, f, e, k, g: (*r[:2], 1 - r[2], r[3])),),
            hint=2,
        ),
        Misconception(
            "share_in_percent",
            "The share is in percent. A share of one half is 0.5.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:2], 100 * r[2], r[3])),
            hint=2,
        ),
        Misconception(
            "share_of_one_slice",
            "The share is that of the old router, or of one row, or it stands beside one slice or one "
            "expert. It is the router after the cut, with all its rows, over all that a token uses.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:2], r[2] / g, r[3])),
            also=(
                but(lambda r, d, f, e, k, g: (*r[:2], d * e / (d * e + 3 * k * d * f), r[3])),
                but(lambda r, d, f, e, k, g: (*r[:2], d / r[1], r[3])),
                but(lambda r, d, f, e, k, g: (*r[:2], d * e * g / (d * e * g + 3 * d * f / g), r[3])),
                but(lambda r, d, f, e, k, g: (*r[:2], d * e * g / (d * e * g + 3 * d * f), r[3])),
                but(lambda r, d, f, e, k, g: (*r[:2], d * k * g / r[1], r[3])),
            ),
            hint=2,
        ),
        Misconception(
            "number_not_grown",
            "The slices are a G-th of an expert, and only as many were counted as there were experts. A cut "
            "throws nothing away: G of them make up the expert. (Or they were cut in two directions: a "
            "slice still reads D numbers and writes D.)",
            wrong=sizes(rows, lambda d, f, g: 3 * d * f / g, lambda e, k, g: (e, k)),
            also=(
                sizes(rows, lambda d, f, g: 3 * d * f / g, lambda e, k, g: (e, k * g)),
                sizes(lambda d, e, g: d * e, lambda d, f, g: 3 * d * f / g, lambda e, k, g: (e, k)),
            ),
            hint=1,
        ),
        Misconception(
            "one_slice_of_each",
            "These choices take the experts first and then slices within them. After the cut a token may "
            "take *any* K·G of the E·G slices, however many of an expert.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:3], math.log2(math.comb(e, k) * g**k))),
            also=(
                but(lambda r, d, f, e, k, g: (*r[:3], g * math.log2(math.comb(e, k)))),
                but(lambda r, d, f, e, k, g: (*r[:3], math.log2(math.comb(e, k) * g))),
                but(lambda r, d, f, e, k, g: (*r[:3], math.log2(math.comb(e, k)) + math.log2(g) * k * g)),
            ),
            hint=3,
        ),
        Misconception(
            "biases_counted",
            "Biases were counted. By the task neither the router nor the experts have any.",
            wrong=sizes(lambda d, e, g: (d + 1) * e * g, lambda d, f, g: 3 * d * f, lambda e, k, g: (e, k)),
            also=(
                sizes(rows, lambda d, f, g: 3 * d * f + 2 * f + g * d, lambda e, k, g: (e, k)),
                sizes(rows, lambda d, f, g: 3 * d * f + 2 * f + d, lambda e, k, g: (e, k)),
                sizes(
                    lambda d, e, g: (d + 1) * e * g,
                    lambda d, f, g: 3 * d * f + 2 * f + g * d,
                    lambda e, k, g: (e, k),
                ),
            ),
            hint=1,
        ),
        Misconception(
            "one_matrix",
            "The experts are counted with one matrix, or with four. SwiGLU has three: gate, up and down.",
            wrong=sizes(rows, lambda d, f, g: d * f, lambda e, k, g: (e, k)),
            also=(sizes(rows, lambda d, f, g: 4 * d * f, lambda e, k, g: (e, k)),),
            hint=1,
        ),
        Misconception(
            "operations",
            "These are operations, two for each multiply-add. Asked are parameters.",
            wrong=but(lambda r, d, f, e, k, g: (r[0], 2 * r[1], *r[2:])),
            also=(but(lambda r, d, f, e, k, g: (2 * r[0], 2 * r[1], *r[2:])),),
            hint=1,
        ),
    )
