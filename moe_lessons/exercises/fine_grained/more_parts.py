"""Mistakes in 11.split_expert and 11.cut_costs that concern one part: its order, its rounding, its bits."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Misconception, Outputs

Answer = Callable[..., Any]


def part_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 11.split_expert: runs that do not meet, and factors that no known mistake has."""

    def rolled(by: int) -> Answer:
        """Up rows of another slice than the gate rows."""

        def wrong(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
            gate, up = gate_up.chunk(2, dim=1)
            moved = up.roll(by * up.shape[1] // granularity, dims=1)
            return reference(torch.cat([gate, moved], dim=1), down, router_ED, granularity)

        return wrong

    def backwards(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
        rows, columns, router, factor = reference(gate_up, down, router_ED, granularity)
        turned = [part.unflatten(0, (-1, granularity)).flip(1).flatten(0, 1) for part in (rows, columns)]
        return *turned, router, factor

    def first_run(part: int) -> Answer:
        def wrong(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
            found = list(reference(gate_up, down, router_ED, granularity))
            own = found[part].unflatten(0, (-1, granularity))
            found[part] = own[:, :1].expand_as(own).flatten(0, 1)
            return tuple(found)

        return wrong

    def in_turns(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
        apart = torch.cat([gate_up[:, 0::2], gate_up[:, 1::2]], dim=1)
        return reference(apart, down, router_ED, granularity)

    def masked(gate_up: Tensor, down: Tensor, router_ED: Tensor, granularity: int) -> Any:
        _, _, router, factor = reference(gate_up, down, router_ED, granularity)
        n = down.shape[2]
        own = torch.arange(n) // (n // granularity) == torch.arange(granularity)[:, None]
        keep = own.to(down.dtype)
        rows = gate_up[:, None] * torch.cat([keep, keep], dim=1)[None, :, :, None]
        return rows.flatten(0, 1), (down[:, None] * keep[None, :, None, :]).flatten(0, 1), router, factor

    return (
        Misconception(
            "slices_backwards",
            "The slices of each expert come from the last to the first. The layer computes the same; asked "
            "is the s-th run for slice s.",
            wrong=backwards,
            hint=2,
        ),
        Misconception(
            "up_of_another_slice",
            "The up rows of a slice are those of another one than its gate rows. A hidden unit has a row of "
            "both, and they stay together.",
            wrong=rolled(1),
            also=(rolled(-1),),
            hint=2,
        ),
        Misconception(
            "first_run_for_all",
            "All slices of an expert have the same run, its first one. Slice s takes the s-th.",
            wrong=first_run(1),
            also=(first_run(0),),
            hint=2,
        ),
        Misconception(
            "rows_in_turns",
            "Gate and up rows were read as if they came in turns. `gate_up_proj` holds F gate rows, then F "
            "up rows.",
            wrong=in_turns,
            hint=2,
        ),
        Misconception(
            "masked_not_cut",
            "The slices are as wide as their expert, with zeros for what they do not have. That computes the "
            "same and saves nothing: a slice *has* F/G units.",
            wrong=masked,
            hint=2,
        ),
        Misconception(
            "another_factor",
            "The three tables are right, the factor is not. Think of one expert with weight w: its G slices "
            "have equal logits. What does each get from the softmax, and what times that is w again?",
            detects=_another_factor,
            hint=3,
        ),
    )


def _another_factor(case: Case, got: Outputs, want: Outputs) -> bool:
    granularity, factor = float(want["factor"]), float(got["factor"])
    tables = ("gate_up_proj", "down_proj", "router_ED")
    if not all(np.allclose(got[name], want[name], rtol=1e-4, atol=1e-5) for name in tables):
        return False
    if granularity == 1:  # where nothing is cut most rules say 1
        return True
    known = (1.0, 1 / granularity, granularity**0.5, granularity**-0.5, granularity)
    return factor == granularity or not np.isclose(factor, known, rtol=1e-4).any()


def _rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    """Counts right; share and bits as they should be, or rounded."""
    if got["total"] != want["total"] or got["active"] != want["active"]:
        return False
    return all(
        any(float(got[name]) == round(float(want[name]), n) for n in range(7))
        or bool(np.isclose(got[name], want[name], rtol=1e-4))
        for name in ("router_share", "choices_bits")
    )


def bit_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 11.cut_costs."""

    def but(change: Callable[..., Any]) -> Answer:
        return lambda d, f, e, k, g: change(reference(d, f, e, k, g), d, f, e, k, g)

    return (
        Misconception(
            "rounded",
            "The numbers were rounded. Return them as they are; rounding is for printing.",
            detects=_rounded,
            hint=2,
        ),
        Misconception(
            "any_number_of_slices",
            "Here each slice is in or out, however many that makes. A token takes K·G of them, no more and "
            "no fewer.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:3], e * g)),
            hint=3,
        ),
        Misconception(
            "bits_gained",
            "This is what the cut adds to the choices, or multiplies them by. Asked are the choices after "
            "the cut.",
            wrong=but(lambda r, d, f, e, k, g: (*r[:3], r[3] - math.log2(math.comb(e, k)))),
            also=(but(lambda r, d, f, e, k, g: (*r[:3], r[3] / math.log2(math.comb(e, k)))),),
            hint=3,
        ),
        Misconception(
            "one_expert_a_token",
            "The active experts are one, where `top_k` was meant.",
            wrong=but(
                lambda r, d, f, e, k, g: (
                    r[0],
                    d * e * g + 3 * d * f,
                    d * e * g / (d * e * g + 3 * d * f),
                    r[3],
                )
            ),
            also=(but(lambda r, d, f, e, k, g: (r[0], d * e * g + 3 * d * f, *r[2:])),),
            hint=2,
        ),
    )
