"""Exercise 15.expert_cache: keep the experts that were used last, and what a token needs at once."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.serving.caching import (
    RAREST,
    Replayed,
    Tensor,
    first_in,
    in_common,
    last_used,
    last_uses,
    least_often,
    mask,
    most_popular,
    replay,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Uneven popularity that drifts, K from 2 to 4, one cache for all; and the limits K = 1 and C = E."""
    sizes = ((50, 9, 2, 4), (40, 12, 3, 6), (45, 8, 3, 4), (36, 10, 4, 6))
    cases = [_case(rng, *size) for size in sizes]
    return [*cases, _case(rng, 14, 5, 1, 2, edge=True), _case(rng, 11, 6, 2, 6, edge=True)]


def _case(
    rng: np.random.Generator, n: int, n_all: int, top_k: int, capacity: int, edge: bool = False
) -> Case:
    favour_E = rng.permutation((np.arange(n_all) + 1.0) ** -0.8)
    rows = []
    for token in range(n):
        if token == n // 2:
            favour_E = rng.permutation(favour_E)  # what was popular no longer is
        rows.append(rng.choice(n_all, top_k, replace=False, p=favour_E / favour_E.sum()))
    args: dict[str, Any] = {"ids_NK": np.stack(rows), "capacity": capacity, "n_experts": n_all}
    return Case(f"N={n}, K={top_k}, C={capacity}, E={n_all}", args, edge=edge)


def reference(ids_NK: Tensor, capacity: int, n_experts: int) -> Replayed:
    """Evict the expert that was used longest ago, among those that the token does not need."""
    return replay(ids_NK, capacity, n_experts)


def _with(**how: Any) -> Callable[..., Replayed]:
    return lambda ids, capacity, n_experts: replay(ids, capacity, n_experts, **how)


def _hits(change: Callable[[Tensor, Tensor, int], Tensor]) -> Callable[..., Replayed]:
    """Other hits, beside what is really inside."""

    def answer(ids_NK: Tensor, capacity: int, n_experts: int) -> Replayed:
        hits_N, inside_E = reference(ids_NK, capacity, n_experts)
        return change(hits_N, ids_NK, capacity), inside_E

    return answer


def _inside(change: Callable[[Tensor, int], Tensor]) -> Callable[..., Replayed]:
    """The right hits, beside something else for what is inside."""
    return lambda ids, capacity, n_experts: (
        reference(ids, capacity, n_experts)[0],
        change(ids, n_experts),
    )


def _at_most_k(case: Case, got: Outputs, want: Outputs) -> str | None:
    top_k = np.asarray(case.args["ids_NK"]).shape[1]
    low, high = got["hits_N"].min(), got["hits_N"].max()
    return None if low >= 0 and high <= top_k else f"hits go from {low} to {high}, and K is {top_k}"


def _full(case: Case, got: Outputs, want: Outputs) -> str | None:
    held, capacity = int(got["inside_E"].sum()), int(case.args["capacity"])  # type: ignore[arg-type]
    return None if held <= capacity else f"{held} experts are inside, and there are {capacity} places"


def _last_token(case: Case, got: Outputs, want: Outputs) -> str | None:
    row = np.asarray(case.args["ids_NK"])[-1]
    missing = [int(e) for e in row if not got["inside_E"][e]]
    return f"expert {missing[0]} of the last token is not inside at the end" if missing else None


EXPERT_CACHE = Exercise(
    id="15.expert_cache",
    title="Which experts stay?",
    task=(
        "One layer's experts lie in slow memory, and `capacity` of them fit into fast memory, which starts "
        "empty. Row n of `ids_NK` holds token n's K different experts; they are used in that order, and the "
        "layer needs all K of them *inside at once*. An expert that is inside is a **hit**. Any other is "
        "loaded; if there is no room, the one that was used longest ago leaves, *among those that this token "
        "does not need*. Hits and loads both count as uses. Return the hits of each token [N], and at the "
        "end which experts are inside: a bool for each of the `n_experts`."
    ),
    entry="expert_cache",
    points=3,
    minutes=15,
    difficulty=2,
    outputs=(Output("hits_N", "N", kind="int"), Output("inside_E", "E", kind="bool")),
    draw=draw,
    reference=reference,
    properties=(
        Property("no token has more than K hits", _at_most_k),
        Property("no more experts inside than there are places", _full),
        Property("the last token's experts are inside", _last_token),
    ),
    misconceptions=(
        Misconception(
            "first_in_first_out",
            "The expert that was *loaded* longest ago leaves. One that is used by every token leaves then, "
            "too, as soon as its turn comes: a hit has to make an expert young again.",
            wrong=_with(victim=first_in, touch=False),
            hint=1,
        ),
        Misconception(
            "own_experts_evicted",
            "An expert that this very token needs can be thrown out to make room for another of its experts. "
            "All K must be inside together: they are no candidates.",
            wrong=_with(protect=False),
            also=(
                _with(protect=False, victim=first_in, touch=False),
                _with(protect=False, victim=lambda cache, all: max(all)),
            ),
            hint=1,
        ),
        Misconception(
            "most_recent_out",
            "The expert that was used *last* leaves, and the oldest stay for ever. It is the one used "
            "longest ago that has to go.",
            wrong=_with(victim=last_used),
            also=(_with(victim=last_used, protect=False),),
            hint=1,
        ),
        Misconception(
            "least_frequent",
            "The expert that was used least *often* leaves (LFU). That is a rule, too, and the lesson comes "
            "to it; here the time of the last use decides.",
            wrong=_with(victim=least_often),
            also=(
                _with(victim=least_often, misses_count=False),
                _with(victim=least_often, forget=True),
                *(_with(victim=rule, forget=forget) for rule in RAREST for forget in (False, True)),
            ),
            hint=1,
        ),
        Misconception(
            "by_number",
            "Who leaves is decided by the experts' numbers. A number says nothing about when an expert was "
            "used.",
            wrong=_with(victim=lambda cache, all: min(all)),
            also=(_with(victim=lambda cache, all: max(all)),),
            hint=1,
        ),
        Misconception(
            "one_place_more",
            "One expert too many fits inside: room is made only when there are *more* than `capacity`. Check "
            "before loading whether all places are taken.",
            wrong=lambda ids, c, e: replay(ids, c + 1, e),
            hint=3,
        ),
        Misconception(
            "one_place_less",
            "One place stays empty: an expert leaves although there is still room for one.",
            wrong=lambda ids, c, e: replay(ids, c - 1, e),
            hint=3,
        ),
        Misconception(
            "loads_counted_as_hits",
            "The hits were counted after the missing experts had been loaded, when all are inside. Look "
            "first, then load.",
            wrong=_hits(lambda hits, ids, c: torch.full_like(hits, ids.shape[1])),
            hint=2,
        ),
        Misconception(
            "misses_returned",
            "These are the experts that had to be loaded. Asked are the others, the hits.",
            wrong=_hits(lambda hits, ids, c: ids.shape[1] - hits),
            hint=2,
        ),
        Misconception(
            "whole_tokens",
            "A token counts only if *all* its experts were inside. Each expert that need not be loaded saves "
            "its own bytes: count them one by one.",
            wrong=_hits(lambda hits, ids, c: (hits == ids.shape[1]).long()),
            also=(
                _hits(lambda hits, ids, c: torch.where(hits == ids.shape[1], hits, 0)),
                _hits(lambda hits, ids, c: (hits > 0).long()),
            ),
            hint=2,
        ),
        Misconception(
            "running_total",
            "The hits are added up from token to token. Asked is the number of each token by itself.",
            wrong=_hits(lambda hits, ids, c: hits.cumsum(0)),
            hint=2,
        ),
        Misconception(
            "first_choice_only",
            "Only each token's first expert goes through the cache. A token has K of them, and the layer "
            "needs them all.",
            wrong=lambda ids, c, e: replay(ids[:, :1], c, e),
            also=(lambda ids, c, e: (replay(ids[:, :1], c, e)[0], reference(ids, c, e)[1]),),
            hint=2,
        ),
        Misconception(
            "forgotten_between_tokens",
            "The cache starts anew with each token, so that nothing is ever found in it. It has to live "
            "through the whole trace.",
            wrong=lambda ids, c, e: (torch.zeros(len(ids), dtype=torch.long), mask(ids[-1].tolist(), e)),
            also=(
                lambda ids, c, e: (torch.full((len(ids),), ids.shape[1]), mask(ids[-1].tolist(), e)),
                _hits(lambda hits, ids, c: torch.zeros_like(hits)),
            ),
            hint=2,
        ),
        Misconception(
            "neighbour_only",
            "Each token is compared with the one before it. The cache remembers further back than that.",
            wrong=lambda ids, c, e: (in_common(ids), mask(ids[-1].tolist(), e)),
            also=(_hits(lambda hits, ids, c: in_common(ids)),),
            hint=2,
        ),
        Misconception(
            "hits_served_first",
            "The experts that are inside are used first, and the missing ones after them. They are used in "
            "the order of k; who comes later is younger.",
            wrong=_with(hits_first=True),
            hint=3,
        ),
        Misconception(
            "one_time_for_all",
            "All K experts of a token have the same time of last use, so that chance decides between them. "
            "They are used one after the other: the later k is the younger one.",
            wrong=_with(one_time=True),
            also=(_with(one_time=True, victim=lambda cache, all: min(sorted(all), key=cache.used.get)),),
            hint=3,
        ),
        Misconception(
            "loads_are_no_uses",
            "Only a hit makes an expert young. One that was just loaded is used, too, and would leave first.",
            wrong=_with(loads_are_uses=False),
            also=(_with(loads_are_uses=False, victim=lambda c, all: min(sorted(all), key=c.used.get)),),
            hint=1,
        ),
        Misconception(
            "uses_kept_not_experts",
            "The last `capacity` *uses* are kept, so that an expert that was used twice takes two places.",
            wrong=last_uses,
            also=(lambda ids, c, e: last_uses(ids, c, e, at_once=True),),
            hint=3,
        ),
        Misconception(
            "starts_full",
            "The cache starts with the first experts by number inside. It starts empty: the first use of "
            "each expert is a miss.",
            wrong=lambda ids, c, e: replay(ids, c, e, warm=range(c)),
            also=(lambda ids, c, e: replay(ids, c, e, warm=range(c - 1, -1, -1)),),
            hint=2,
        ),
        Misconception(
            "most_popular",
            "A fixed set of experts is inside, the most popular of the whole trace. While it serves token n, "
            "a cache does not know what comes after it. (The lesson tries this rule, too.)",
            wrong=most_popular,
            hint=2,
        ),
        Misconception(
            "all_ever_loaded",
            "`inside_E` marks all experts that were ever loaded. Those that had to leave are no longer "
            "inside.",
            wrong=_inside(lambda ids, e: mask(ids.unique().tolist(), e)),
            hint=3,
        ),
        Misconception(
            "last_token_only",
            "`inside_E` marks the last token's experts and no others. What was not thrown out is still "
            "there.",
            wrong=_inside(lambda ids, e: mask(ids[-1].tolist(), e)),
            hint=3,
        ),
    ),
    hints=(
        "What must never leave while a token is being served? And what changes for an expert when it is a "
        "hit?",
        "An `OrderedDict` that outlives the loop over tokens: `move_to_end(e)` after a use, and the oldest "
        "comes first. Look whether an expert is inside before you load it.",
        "For each e of a row: a hit moves to the end; otherwise, if `len(cache) == capacity`, delete "
        "`next(old for old in cache if old not in row)`, then `cache[e] = True`.",
    ),
    notice=(
        "Keeping the token's own experts off the list is what no textbook cache has to do: it serves one "
        "request at a time, and a layer needs K at once."
    ),
)
