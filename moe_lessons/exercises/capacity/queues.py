"""Exercise 07.positions: every slot's place in its expert's queue, without a loop."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.capacity.draws import crowded_ids
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

LONG = 3200


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K from 1 to 3, an expert that nobody asks, everybody at one expert, and no token at all."""
    cases = []
    for n_tokens, n_experts, top_k in [(9, 4, 2), (8, 5, 3), (12, 3, 1), (7, 6, 2), (0, 4, 2)]:
        ids_TK = crowded_ids(rng, n_tokens, n_experts, top_k)
        args: dict[str, Plain] = {
            "topk_ids_TK": ids_TK,
            "n_experts": n_experts + 1,
        }  # the last one is not asked
        cases.append(Case(f"T={n_tokens}, E={n_experts + 1}, K={top_k}", args))
    args = {"topk_ids_TK": np.full((5, 1), 2, dtype=np.int64), "n_experts": 4}
    cases.append(Case("T=5, E=4, K=1, all at expert 2", args))
    # Longer than a count in 8 bits, in bf16 or in fp16 can go: 255, 256, 2,048.
    args = {"topk_ids_TK": rng.choice([0, 2, 2, 2], (LONG, 1)).astype(np.int64), "n_experts": 3}
    return [*cases, Case(f"T={LONG:,}, E=3, K=1, three in four at expert 2", args)]


def reference(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """Running count of each expert, token after token, read off at the slot's own expert, minus itself."""
    ids_S = topk_ids_TK.flatten()
    arrived_SE = F.one_hot(ids_S, n_experts).cumsum(dim=0)
    return (arrived_SE.gather(1, ids_S[:, None])[:, 0] - 1).view_as(topk_ids_TK)


def _choice_major(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return reference(topk_ids_TK.T.contiguous(), n_experts).T


def _each_choice_alone(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return torch.cat([reference(column_T1, n_experts) for column_T1 in topk_ids_TK.split(1, dim=1)], dim=1)


def _one_line(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return torch.arange(topk_ids_TK.numel()).view_as(topk_ids_TK)


def _from_the_end(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return reference(topk_ids_TK.flatten().flip(0)[:, None], n_experts).flip(0).view_as(topk_ids_TK)


def _row_of_the_buffer(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    order_S = topk_ids_TK.flatten().argsort(stable=True)
    return order_S.argsort().view_as(topk_ids_TK)


def _order_as_rank(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    ids_S = topk_ids_TK.flatten()
    counts_E = torch.bincount(ids_S, minlength=n_experts)
    starts_E = counts_E.cumsum(0) - counts_E
    return (ids_S.argsort(stable=True) - starts_E[ids_S]).view_as(topk_ids_TK)


def _left_sorted(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """Right positions, in the order of the sorted slots."""
    ids_S = topk_ids_TK.flatten()
    order_S = ids_S.argsort(stable=True)
    return reference(topk_ids_TK, n_experts).flatten()[order_S].view_as(topk_ids_TK)


def _over_all_experts(reduce: Callable[[Tensor], Tensor], to_itself: int) -> Callable[[Tensor, int], Tensor]:
    """What each slot reads off the running counts of all experts, instead of off its own expert's."""

    def wrong(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
        arrived_SE = F.one_hot(topk_ids_TK.flatten(), n_experts)
        counts_SE = arrived_SE.cumsum(dim=0) - (arrived_SE if to_itself == 0 else to_itself)
        return reduce(counts_SE).view_as(topk_ids_TK)

    return wrong


def _one_per_token(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    tokens_T1 = torch.arange(len(topk_ids_TK))[:, None]
    return tokens_T1.expand_as(topk_ids_TK)


def _no_two_alike(case: Case, got: Outputs, want: Outputs) -> str | None:
    ids, positions = np.asarray(case.args["topk_ids_TK"]).ravel(), got["positions_TK"].ravel()
    for expert in np.unique(ids):
        mine = sorted(positions[ids == expert].tolist())
        if len(set(mine)) < len(mine):
            twice = next(p for p in mine if mine.count(p) > 1)
            return f"expert {expert} has {mine.count(twice)} slots at position {twice}"
    return None


def _ends_for_starts(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    ends_E = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).cumsum(0)
    return _row_of_the_buffer(topk_ids_TK, n_experts) - ends_E[topk_ids_TK]


def _narrow(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right where at most 100 wait, and beyond some length not: another number, or the same for several."""
    got_S, want_S = got["positions_TK"].ravel(), want["positions_TK"].ravel()
    if got_S.shape != want_S.shape or not np.array_equal(got_S[want_S < 100], want_S[want_S < 100]):
        return False
    return len(want_S) < LONG or not np.array_equal(got_S, want_S)


POSITIONS = Exercise(
    id="07.positions",
    title="Positions in the queues, without a loop",
    task=(
        "Each of the T * K slots queues at its expert. Return its position there `[T, K]`: how many slots "
        "before it asked for the *same* expert. The order is token-major: all choices of token 0, then all "
        "of token 1, and so on. T may be 0. Try it without a loop over tokens."
    ),
    entry="positions",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("positions_TK", "TK", kind="int"),),
    draw=draw,
    reference=reference,
    properties=(Property("no two slots stand at one position of one expert", _no_two_alike),),
    misconceptions=(
        Misconception(
            "from_one",
            "These count from 1: the running count includes the slot itself. With `position < C` an expert "
            "would then keep C - 1 rows. (The listing in the Switch paper does exactly that.)",
            wrong=lambda ids, n: reference(ids, n) + 1,
            hint=3,
        ),
        Misconception(
            "narrow_count",
            "Right in short queues, wrong in long ones: the count was kept in a type that cannot hold it. "
            "uint8 ends at 255 and int8 at 127; bf16 skips whole numbers from 256 on and fp16 from 2,048 "
            "on. Count in int32 or int64.",
            detects=_narrow,
            hint=2,
        ),
        Misconception(
            "ends_for_starts",
            "The positions are negative: from each row its group's *end* was taken away. `cumsum` of the "
            "counts includes the group itself; take the counts off again to have where it starts.",
            wrong=_ends_for_starts,
            hint=3,
        ),
        Misconception(
            "choice_major",
            "All first choices were served before any second choice. That is GShard's order, and it looks "
            "ahead: a later token's first choice pushes back an earlier token's second. Asked for is token "
            "after token.",
            wrong=_choice_major,
            hint=1,
        ),
        Misconception(
            "each_choice_alone",
            "First and second choices were counted in separate queues, each from 0. But they share the "
            "expert's places, so two rows would land in one place. Count all slots in one line.",
            wrong=_each_choice_alone,
            hint=1,
        ),
        Misconception(
            "running_counts",
            "These are the running counts of all E experts, one row for each slot. A slot stands in one "
            "queue: read its own expert's count (`gather`), without the slot itself, and fold into [T, K].",
            wrong=lambda ids, E: F.one_hot(ids.flatten(), E).cumsum(dim=0) - 1,
            also=(lambda ids, E: F.one_hot(ids.flatten(), E).cumsum(dim=0),),
            hint=3,
        ),
        Misconception(
            "one_line",
            "That numbers all slots in one line. Every expert has a queue of its own, and a slot waits only "
            "behind those that asked for the same expert.",
            wrong=_one_line,
            hint=2,
        ),
        Misconception(
            "one_per_token",
            "That is the token's number, the same for all experts. A position counts those who asked for the "
            "same expert earlier.",
            wrong=_one_per_token,
            hint=2,
        ),
        Misconception(
            "count_over_experts",
            "Everybody is first: all positions are 0. A running count along the experts' axis, or within one "
            "token, gives that. It has to run along the slots, down each expert's column.",
            wrong=lambda ids, n: torch.zeros_like(ids),
            hint=2,
        ),
        Misconception(
            "from_the_end",
            "The last slot stands first. Count from the beginning: who comes earlier is served earlier.",
            wrong=_from_the_end,
            hint=1,
        ),
        Misconception(
            "row_of_the_buffer",
            "That is the row in the sorted list of all slots. Within an expert's queue, positions start at 0 "
            "again: take away where the expert's group begins.",
            wrong=_row_of_the_buffer,
            hint=3,
        ),
        Misconception(
            "left_sorted",
            "The positions are right and stand in the order of the sorted rows. They are asked for slot by "
            "slot: the last step is the way back, `result[order] = positions` or the inverse permutation.",
            wrong=_left_sorted,
            hint=3,
        ),
        Misconception(
            "longest_queue",
            "Each slot was given the length of the longest queue so far. It stands in one queue only, its "
            "own expert's: read the running counts at that column.",
            wrong=_over_all_experts(lambda counts_SE: counts_SE.amax(dim=1), 0),
            also=(_over_all_experts(lambda counts_SE: counts_SE.amax(dim=1), 1),),
            hint=3,
        ),
        Misconception(
            "order_as_rank",
            "`argsort` says which slot stands at a sorted row. You need the reverse, the row of each slot: "
            "the inverse permutation.",
            wrong=_order_as_rank,
            hint=3,
        ),
    ),
    hints=(
        "`topk_ids_TK.flatten()` is one line of slots in the right order: token 0's choices, then token 1's. "
        "What does the slot in the middle need to know about those before it?",
        "`F.one_hot(ids_S, n_experts)` marks in each row who is asked. What does `.cumsum(dim=0)` make of a "
        "column?",
        "Read the running count at each slot's own expert with `gather(1, ids_S[:, None])`, take away the "
        "slot itself, and bring it back to [T, K].",
    ),
    notice=(
        "`cumsum` of a one-hot matrix counts all queues at once and holds T·K·E numbers to do so; a "
        "stable sort by expert gives the same positions from T·K."
    ),
)
