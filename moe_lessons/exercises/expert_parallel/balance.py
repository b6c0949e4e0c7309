"""Exercise 14.balance: copies for hot experts, then the heaviest first onto the least loaded rank."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.expert_parallel.greedy import (
    Numbers,
    after_the_next,
    coldest,
    copies_of,
    dealt,
    halved,
    hottest_each,
    hottest_in_turn,
    in_order,
    in_proportion,
    lightest_first,
    no_room,
    one_takes_all,
    packed,
    placed,
    share_of_the_rest,
    snake,
    sorted_in_order,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Placed = tuple[Tensor, Tensor]
Copier = Callable[[Numbers, int], list[int]]
Packer = Callable[[Numbers, int, int], Numbers]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Loads like 1 / rank**z in random order, with room for copies; no room for any; one rank."""

    def case(E: int, G: int, slots: int, z: float, edge: bool = False) -> Case:
        load_E = rng.permutation((np.arange(E) + 1.0) ** -z * rng.uniform(0.8, 1.2, E) * 100)
        args: dict[str, Plain] = {"load_E": load_E, "n_ranks": G, "slots": slots}
        return Case(f"E={E}, {G} ranks of {slots} slots", args, edge=edge)

    return [
        case(12, 4, 4, 1.2),
        case(10, 3, 5, 1.3),
        case(16, 8, 3, 0.9),
        case(13, 5, 4, 1.1),
        case(9, 4, 6, 1.0),
        case(12, 4, 3, 1.6, edge=True),
        case(5, 1, 7, 1.0, edge=True),
    ]


def _answer(copier: Copier = copies_of, packer: Packer = packed, divided: bool = True) -> Any:
    def answer(load_E: Tensor, n_ranks: int, slots: int) -> Placed:
        load = load_E.tolist()
        copies = copier(load, n_ranks * slots)
        items = [load[e] / (copies[e] if divided else 1) for e in range(len(load)) for _ in range(copies[e])]
        return torch.tensor(copies), torch.tensor(packer(items, n_ranks, slots), dtype=torch.float64)

    return answer


reference = _answer()


def _extra_only(load_E: Tensor, n_ranks: int, slots: int) -> Placed:
    copies_E, load_G = reference(load_E, n_ranks, slots)
    return copies_E - 1, load_G


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Ranks in the order of their loads: their numbers do not matter."""
    return {**values, "load_G": np.sort(np.asarray(values["load_G"], dtype=np.float64), axis=None)}


def _slots_used(case: Case, got: Outputs, want: Outputs) -> str | None:
    slots = int(str(case.args["n_ranks"])) * int(str(case.args["slots"]))
    if np.min(got["copies_E"]) < 1:
        return f"expert {int(np.argmin(got['copies_E']))} has no copy anywhere"
    found = int(np.sum(got["copies_E"]))
    return f"copies_E adds up to {found}, and there are {slots} slots" if found != slots else None


def _nothing_lost(case: Case, got: Outputs, want: Outputs) -> str | None:
    total, found = float(np.sum(case.args["load_E"])), float(np.sum(got["load_G"]))  # type: ignore[arg-type]
    if abs(found - total) > 1e-3 * total:
        return f"load_G adds up to {found:.4g}, the load to {total:.4g}"
    return None


BALANCE = Exercise(
    id="14.balance",
    title="Copies for the hot, room for all",
    task=(
        "`load_E` says how many rows each expert gets. G = `n_ranks` ranks have `slots` slots each, together "
        "at least E. *First* copy: every expert has one copy; as long as a slot is left, the expert with the "
        "largest load *per copy* gets one more. Copies share an expert's load evenly. *Then* place all "
        "copies: the heaviest first, each on the rank with the smallest load so far that has a free slot. "
        "Return `copies_E`, and `load_G`, the load of each rank (in any order)."
    ),
    entry="balance",
    points=4,
    minutes=25,
    difficulty=4,
    gradient="ignored",
    outputs=(Output("copies_E", "E", kind="int", plain=True), Output("load_G", "G", plain=True)),
    draw=draw,
    reference=reference,
    canonical=canonical,
    properties=(
        Property("every expert is somewhere, and every slot is used", _slots_used),
        Property("the ranks have the whole load between them", _nothing_lost),
    ),
    misconceptions=(
        Misconception(
            "one_copy_for_each_of_the_hottest",
            "Each of the hottest experts got one copy more. If one of them is far hotter than the rest, it "
            "may need two or three before the next one's turn: ask anew after each copy.",
            wrong=_answer(hottest_each),
            also=(_answer(hottest_in_turn),),
            hint=1,
        ),
        Misconception(
            "all_to_the_hottest",
            "All further copies went to the hottest expert. After a copy it has only half to do on each: "
            "compare loads *per copy*.",
            wrong=_answer(one_takes_all),
            hint=1,
        ),
        Misconception(
            "in_proportion",
            "Slots were given out in proportion to the load, and rounded. A small expert keeps a whole slot "
            "whatever its share, so shares of all slots do not come out. Give them out one by one.",
            wrong=_answer(in_proportion),
            also=(_answer(share_of_the_rest),),
            hint=1,
        ),
        Misconception(
            "after_the_next_copy",
            "Copies went to whoever would have most to do with *one more* copy. Asked is who has most to do "
            "now.",
            wrong=_answer(after_the_next),
            hint=3,
        ),
        Misconception(
            "halved_each_time",
            "Each further copy has halved the load again. The third copy leaves a *third* on each, not a "
            "quarter: divide the whole load by the number of copies.",
            wrong=_answer(halved),
            hint=1,
        ),
        Misconception(
            "no_copies",
            "Nothing was copied. There are `n_ranks * slots` slots in all, and `slots` of them on each rank: "
            "what is left beyond one for each expert is for copies.",
            wrong=_answer(lambda load, n_slots: [1] * len(load)),
            hint=3,
        ),
        Misconception(
            "further_copies_only",
            "`copies_E` counts the further copies only. Every expert is there once in any case: count that "
            "one too, or its load would be divided by 0.",
            wrong=_extra_only,
            hint=3,
        ),
        Misconception(
            "coldest_copied",
            "The coldest experts were copied. A copy halves what an expert's rank has to do: it belongs "
            "where that is most.",
            wrong=_answer(coldest),
            hint=1,
        ),
        Misconception(
            "load_not_divided",
            "The copies are right, and each was placed with its expert's *whole* load. They share it: what "
            "the ranks have to do together must not grow by copying.",
            wrong=_answer(divided=False),
            hint=2,
        ),
        Misconception(
            "one_copy_too_few",
            "A slot is left empty: there is one copy less than slots.",
            wrong=_answer(lambda load, n_slots: copies_of(load, n_slots - (n_slots > len(load)))),
            hint=3,
        ),
        Misconception(
            "not_sorted",
            "The copies are right, and were placed in the order of their numbers. A heavy one that comes "
            "last finds no rank to even it out: begin with the heaviest.",
            wrong=_answer(packer=placed),
            hint=2,
        ),
        Misconception(
            "filled_in_order",
            "The copies are right, and one rank was filled after the other. Copies of the same expert are "
            "neighbours, so that they even end on one rank: look at the loads so far.",
            wrong=_answer(packer=in_order),
            also=(_answer(packer=sorted_in_order),),
            hint=2,
        ),
        Misconception(
            "dealt_in_turn",
            "The copies are right, and were dealt to the ranks in turn; to begin with the lightest comes to "
            "the same. The heaviest is first, and each next one goes to whoever has least so far.",
            wrong=_answer(packer=dealt),
            also=(_answer(packer=snake), _answer(packer=lightest_first)),
            hint=2,
        ),
        Misconception(
            "no_room_limit",
            "The copies are right, and some rank holds more than `slots` of them. A slot is memory for one "
            "expert: a full rank takes no more, however little it has to do.",
            wrong=_answer(packer=no_room),
            hint=3,
        ),
    ),
    hints=(
        "Which copy has most to do now? After one more copy of its expert, how much has each?",
        "Two loops, one after the other. In both, an expert's load counts as `load / copies`. For the "
        "second, sort all copies from heavy to light and keep two lists: load and free slots of each rank.",
        "`e = (load_E / copies).argmax(); copies[e] += 1`, `n_ranks * slots - E` times. Then, for each copy "
        "from heavy to light: the `min` of the loads among ranks with a free slot.",
    ),
    notice=(
        "Greedy copying is optimal for the largest share of a copy; greedy packing is not, and a plan is "
        "made every few minutes on a load that is already past."
    ),
)
