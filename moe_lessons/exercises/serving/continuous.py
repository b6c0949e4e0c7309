"""Exercise 15.continuous: a slot that is free goes to the next request at once."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.serving.queueing import Tensor, batched, fixed, in_order, slotted, stepped
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Answer = Callable[[Tensor, Tensor, int], Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Queues that build up and run dry, long requests among short ones; more slots than requests."""
    sizes = ((16, 3, 3, 14), (22, 4, 3, 16), (14, 2, 6, 9), (18, 3, 4, 12))
    cases = [_case(rng, *size) for size in sizes]
    return [*cases, _case(rng, 6, 8, 3, 9, edge=True), _case(rng, 7, 1, 4, 5, edge=True)]


def _case(rng: np.random.Generator, n: int, n_slots: int, gap: int, longest: int, edge: bool = False) -> Case:
    arrival_N = np.cumsum(rng.integers(0, gap, n))
    arrival_N[: n_slots + 1] = arrival_N[0]  # a queue from the start, and ties
    length_N = rng.integers(1, longest, n)
    length_N[:2] = longest, 1
    arrival_N[-1] += 3 * longest  # and a request that finds everything empty
    args: dict[str, Any] = {"arrival_N": arrival_N, "length_N": length_N, "n_slots": n_slots}
    return Case(f"{n} requests, {n_slots} slots", args, edge=edge)


def reference(arrival_N: Tensor, length_N: Tensor, n_slots: int) -> Tensor:
    """Step for step."""
    return stepped(arrival_N, length_N, n_slots)


def _but(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Answer:
    return lambda arrival_N, length_N, n_slots: change(
        reference(arrival_N, length_N, n_slots), arrival_N, length_N
    )


def _no_earlier(case: Case, got: Outputs, want: Outputs) -> str | None:
    soonest_N = np.asarray(case.args["arrival_N"]) + np.asarray(case.args["length_N"])
    early = np.nonzero(got["finish_N"] < soonest_N)[0]
    if not len(early):
        return None
    i = early[0]
    return f"request {i} cannot be done before step {soonest_N[i]}, and this says {got['finish_N'][i]}"


def _no_more(case: Case, got: Outputs, want: Outputs) -> str | None:
    finish_N, n_slots = got["finish_N"], int(case.args["n_slots"])  # type: ignore[arg-type]
    start_N = finish_N - np.asarray(case.args["length_N"])
    for step in np.unique(start_N):
        running = int(((start_N <= step) & (step < finish_N)).sum())
        if running > n_slots:
            return f"{running} requests run in step {step}, and there are {n_slots} slots"
    return None


CONTINUOUS = Exercise(
    id="15.continuous",
    title="A free slot waits for nobody",
    task=(
        "A server has `n_slots` slots; in each step every running request produces one token. Request n "
        "arrives at the beginning of step `arrival_N[n]` (in rising order) and needs `length_N[n]` tokens. "
        "Whoever came first is served first, the lower number among equals. A request that starts in step s "
        "is finished at s + length, and from that step on its slot can serve the next one. Return for each "
        "request the step at which it is finished [N], as int64."
    ),
    entry="finish_steps",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("finish_N", "N", kind="int"),),
    draw=draw,
    reference=reference,
    properties=(
        Property("nobody is done before arrival + length", _no_earlier),
        Property("never more requests at once than slots", _no_more),
    ),
    misconceptions=(
        Misconception(
            "whole_batches",
            "This is *static* batching: the next batch begins when the longest of this one is done, and "
            "finished slots stand idle until then. A free slot takes the next request at once.",
            wrong=batched,
            also=(lambda a, n, s: batched(torch.zeros_like(a), n, s),),
            hint=1,
        ),
        Misconception(
            "waits_for_a_full_batch",
            "Nobody starts before there are enough requests for all slots, nor before the batch ahead is "
            "done. That is *static* batching of full batches. A slot runs by itself: a free one takes the "
            "next request at once, whatever the others do.",
            wrong=lambda a, n, s: batched(a, n, s, full=True),
            hint=1,
        ),
        Misconception(
            "one_at_a_time",
            "Requests run one after the other, as if there were a single slot.",
            wrong=lambda a, n, s: stepped(a, n, 1),
            also=(lambda a, n, s: n.cumsum(0),),
            hint=1,
        ),
        Misconception(
            "no_limit",
            "Everybody starts upon arrival. With all slots taken one has to wait.",
            wrong=lambda a, n, s: a + n,
            hint=1,
        ),
        Misconception(
            "one_slot_more",
            "There is one slot too many, or one too few.",
            wrong=lambda a, n, s: stepped(a, n, s + 1),
            also=(lambda a, n, s: stepped(a, n, max(s - 1, 1)),),
            hint=3,
        ),
        Misconception(
            "slot_free_a_step_late",
            "A slot stands empty for a step after each request. It can serve the next one in the very step "
            "at which the last is finished.",
            wrong=lambda a, n, s: slotted(a, n, s, pause=1),
            hint=3,
        ),
        Misconception(
            "slot_free_a_step_early",
            "A slot takes the next request while the last one still makes its last token. It is free at "
            "start + length.",
            wrong=lambda a, n, s: slotted(a, n, s, pause=-1),
            hint=3,
        ),
        Misconception(
            "a_step_late",
            "Every request is finished a step too late. One that arrives in a step starts in that very step "
            "if a slot is free, and one of a single token is finished one step later, no more.",
            wrong=lambda a, n, s: stepped(a + 1, n, s),
            hint=3,
        ),
        Misconception(
            "newest_first",
            "Of those who wait, the newest is served first. Whoever came first may then wait for ever.",
            wrong=lambda a, n, s: stepped(a, n, s, lambda waiting, a, n: waiting[-1]),
            hint=1,
        ),
        Misconception(
            "shortest_first",
            "Of those who wait, the shortest is served first. A server does not know beforehand how long an "
            "answer will be; it serves in the order of arrival.",
            wrong=lambda a, n, s: stepped(a, n, s, lambda waiting, a, n: min(waiting, key=lambda i: n[i])),
            also=(lambda a, n, s: stepped(a, n, s, lambda waiting, a, n: max(waiting, key=lambda i: n[i])),),
            hint=1,
        ),
        Misconception(
            "start_not_end",
            "These are the steps at which requests *start*. Asked is when they are finished.",
            wrong=_but(lambda finish, a, n: finish - n),
            hint=3,
        ),
        Misconception(
            "last_step",
            "This is the step in which the last token is made. A request of one token that starts in step 0 "
            "is finished at 1.",
            wrong=_but(lambda finish, a, n: finish - 1),
            hint=3,
        ),
        Misconception(
            "time_from_arrival",
            "This is how long each request takes from its arrival, or how long it waits. Asked is the step "
            "at which it is finished.",
            wrong=_but(lambda finish, a, n: finish - a),
            also=(_but(lambda finish, a, n: finish - a - n),),
            hint=3,
        ),
        Misconception(
            "arrivals_ignored",
            "All requests are there from the beginning. One that has not arrived cannot start, even if a "
            "slot is free.",
            wrong=lambda a, n, s: stepped(torch.zeros_like(a), n, s),
            hint=2,
        ),
        Misconception(
            "arrival_added",
            "The arrival is added to the step at which a slot is free. It is one *or* the other, whichever "
            "is later.",
            wrong=lambda a, n, s: stepped(torch.zeros_like(a), n, s) + a,
            also=(lambda a, n, s: _added(a, n, s),),
            hint=2,
        ),
        Misconception(
            "fixed_slots",
            "Each request waits for a certain slot (its number modulo the slots), though another may be free "
            "long before.",
            wrong=fixed,
            hint=2,
        ),
        Misconception(
            "released_in_order",
            "A slot is free only when all requests before it are finished, too. A short answer behind a long "
            "one may leave first.",
            wrong=in_order,
            hint=2,
        ),
        Misconception(
            "sorted_by_end",
            "The steps are right and sorted. Request n's own belongs at place n: a late short one may be "
            "done before an early long one.",
            wrong=_but(lambda finish, a, n: finish.sort().values),
            hint=3,
        ),
    ),
    hints=(
        "When does the next request start: when the batch is done, or when a slot is?",
        "Keep for each slot the step from which on it is free. Which of them does the next request take, and "
        "what if it arrives later than that?",
        "`start = max(min(free), arrival)`, and that slot is free again at `start + length`. A heap "
        "(`heapq`) has the smallest in front.",
    ),
    notice=(
        "No clock is needed: as everybody is served in turn, the earliest free slot is all that the next "
        "request has to know."
    ),
)


def _added(arrival_N: Tensor, length_N: Tensor, n_slots: int) -> Tensor:
    free, finish = [0] * n_slots, []
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        i = free.index(min(free))
        free[i] += arrival + length
        finish.append(free[i])
    return torch.tensor(finish)
