"""Exercise 08.permutation_plan: which slot stands where once rows are sorted by expert."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.dispatch.draws import choices, inverse_of
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Plan = tuple[Tensor, Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K of 2, 3 and 1, idle experts in the middle and at the end, and no token at all."""

    def case(T: int, E: int, K: int, used: int | None = None, note: str = "") -> Case:
        last_idle = note.endswith("last expert idle")
        ids_TK = choices(rng, T, E - last_idle, K, used)
        return Case(f"T={T}, E={E}, K={K}{note}", {"topk_ids_TK": ids_TK, "n_experts": E})

    return [
        case(9, 4, 2),
        case(11, 7, 3, 5, ", two experts idle"),
        case(8, 5, 1, 3, ", two experts idle"),
        case(10, 6, 2, note=", the last expert idle"),
        case(0, 3, 2, note=", no token"),
    ]


def reference(ids: Tensor, n_experts: int) -> Plan:
    """Stable sort, integer division, running sum of the counts."""
    return _plan(ids, n_experts, ids.flatten().argsort(stable=True))


def _plan(ids: Tensor, n_experts: int, order_S: Tensor) -> Plan:
    return order_S, order_S // ids.shape[1], _counts(ids, n_experts).cumsum(0)


def _counts(ids: Tensor, n_experts: int) -> Tensor:
    return torch.bincount(ids.flatten(), minlength=n_experts)


def _sorted_steps(case: Case, got: Outputs) -> np.ndarray:
    """From each sorted row's expert to the next one's."""
    return np.diff(np.asarray(case.args["topk_ids_TK"]).reshape(-1)[got["row_ids_S"]])


def _ties_shuffled(case: Case, got: Outputs, want: Outputs) -> bool:
    """All else is right. On some inputs the order may be too: a sort that is not stable often looks so."""
    n_choices = np.shape(np.asarray(case.args["topk_ids_TK"]))[1]
    all_else = np.array_equal(got["token_ids_S"], got["row_ids_S"] // n_choices) and np.array_equal(
        got["expert_ends_E"], want["expert_ends_E"]
    )
    by_expert = _permutation(case, got, want) is None and bool(np.all(_sorted_steps(case, got) >= 0))
    return all_else and by_expert and len(got["row_ids_S"]) == len(want["row_ids_S"])


def _descending(case: Case, got: Outputs, want: Outputs) -> bool:
    # How ties are treated does not matter here.
    return _permutation(case, got, want) is None and bool(np.all(_sorted_steps(case, got) <= 0))


def _positions(ids: Tensor, n_experts: int) -> Plan:
    return _plan(ids, n_experts, inverse_of(ids.flatten().argsort(stable=True)))


def _choice_major(ids: Tensor, n_experts: int) -> Plan:
    order_S = ids.T.flatten().argsort(stable=True)
    return order_S, order_S % max(len(ids), 1), _counts(ids, n_experts).cumsum(0)


def _modulo_k(ids: Tensor, n_experts: int) -> Plan:
    order_S, _, ends_E = reference(ids, n_experts)
    return order_S, order_S % ids.shape[1], ends_E


def _sizes(ids: Tensor, n_experts: int) -> Plan:
    return *reference(ids, n_experts)[:2], _counts(ids, n_experts)


def _starts(ids: Tensor, n_experts: int) -> Plan:
    order_S, token_ids_S, ends_E = reference(ids, n_experts)
    return order_S, token_ids_S, ends_E - _counts(ids, n_experts)


def _last_positions(ids: Tensor, n_experts: int) -> Plan:
    order_S, token_ids_S, ends_E = reference(ids, n_experts)
    return order_S, token_ids_S, ends_E - 1


def _no_minlength(ids: Tensor, n_experts: int) -> Plan:
    return *reference(ids, n_experts)[:2], torch.bincount(ids.flatten()).cumsum(0)


def _only_used(ids: Tensor, n_experts: int) -> Plan:
    return *reference(ids, n_experts)[:2], torch.unique(ids, return_counts=True)[1].cumsum(0)


def _over_experts(ids: Tensor, n_experts: int) -> Plan:
    order_S, _, ends_E = reference(ids, n_experts)
    return order_S, order_S // n_experts, ends_E


def _sorted_ids(ids: Tensor, n_experts: int) -> Plan:
    return ids.flatten().sort(stable=True).values, *reference(ids, n_experts)[1:]


def _tokens_of_positions(ids: Tensor, n_experts: int) -> Plan:
    order_S, _, ends_E = reference(ids, n_experts)
    return order_S, torch.arange(len(order_S)) // ids.shape[1], ends_E


def _with_zero(ids: Tensor, n_experts: int) -> Plan:
    order_S, token_ids_S, ends_E = reference(ids, n_experts)
    return order_S, token_ids_S, torch.cat([ends_E.new_zeros(1), ends_E])


def _by_itself(dim: int) -> Callable[[Tensor, int], Plan]:
    """Each column, or each token's choices, sorted by itself: small numbers, again and again."""
    return lambda ids, n_experts: _plan(ids, n_experts, ids.argsort(dim=dim, stable=True).flatten())


def _permutation(case: Case, got: Outputs, want: Outputs) -> str | None:
    found = np.sort(got["row_ids_S"])
    if not np.array_equal(found, np.arange(len(found))):
        return "row_ids_S must name every slot 0..S-1 exactly once"
    return None


def _by_expert(case: Case, got: Outputs, want: Outputs) -> str | None:
    falls = np.flatnonzero(_sorted_steps(case, got) < 0)
    if len(falls):
        p = int(falls[0])
        ids_S = np.asarray(case.args["topk_ids_TK"]).reshape(-1)[got["row_ids_S"]]
        return f"a row of expert {ids_S[p + 1]} stands after one of expert {ids_S[p]}, at position {p + 1}"
    return None


PERMUTATION_PLAN = Exercise(
    id="08.permutation_plan",
    title="The permutation plan",
    task=(
        "Slot `t * K + k` is choice k of token t. Sort the S = T * K slots by expert; slots of one expert "
        "keep their order. Return three things: the slot at each sorted position `[S]`; the token at each "
        "sorted position `[S]`; and where each expert's rows *end*: the first position that is no longer "
        "its own `[E]`. Some experts get no row, and T may be 0."
    ),
    entry="permutation_plan",
    points=3,
    minutes=15,
    difficulty=2,
    outputs=(
        Output("row_ids_S", "S", kind="int"),
        Output("token_ids_S", "S", kind="int"),
        Output("expert_ends_E", "E", kind="int"),
    ),
    draw=draw,
    reference=reference,
    properties=(
        Property("every slot stands somewhere, once", _permutation),
        Property("the experts come in order", _by_expert),
    ),
    misconceptions=(
        Misconception(
            "ties_shuffled",
            "Each expert has its own rows, but not in the order of the tokens: the sort is not stable "
            "(torch and numpy promise that only if asked), or was turned round. The plan, and every sum that "
            "follows it, then depends on how a sort happens to treat ties.",
            detects=_ties_shuffled,
            hint=2,
        ),
        Misconception(
            "descending",
            "The last expert comes first. The ends count from expert 0 upwards, so the rows must too.",
            detects=_descending,
            hint=2,
        ),
        Misconception(
            "positions",
            "This is the inverse: the position of each slot, as argsort of argsort gives it. The plan asks "
            "the other way round: stand at a position, which slot is there?",
            wrong=_positions,
            hint=1,
        ),
        Misconception(
            "choice_major",
            "The ids were laid out choice by choice, first all first choices. That is a possible numbering, "
            "but here slot numbers run along a token: t * K + k.",
            wrong=_choice_major,
            hint=1,
        ),
        Misconception(
            "modulo_k",
            "`slot % K` is the choice k. The token is how many whole groups of K came before.",
            wrong=_modulo_k,
            hint=1,
        ),
        Misconception(
            "sizes",
            "These are group sizes. An end is where all groups so far stop: add the sizes up as you go.",
            wrong=_sizes,
            hint=3,
        ),
        Misconception(
            "starts",
            "These are starts: expert 0 begins at 0. An end includes the expert's own rows in the sum.",
            wrong=_starts,
            hint=3,
        ),
        Misconception(
            "last_positions",
            "Off by one: these are the last positions that belong to the expert. The end is one further, as "
            "in a Python slice; only so does an idle expert have an empty range.",
            wrong=_last_positions,
            hint=3,
        ),
        Misconception(
            "over_experts",
            "The slot was divided by E. Slots are numbered t * K + k: whole groups of *K* came before, one "
            "for each token, however many experts there are.",
            wrong=_over_experts,
            hint=1,
        ),
        Misconception(
            "sorted_ids",
            "These are the sorted *experts*, not the slots: `sort` returns values and indices, and the order "
            "is in the indices.",
            wrong=_sorted_ids,
            hint=2,
        ),
        Misconception(
            "experts_for_tokens",
            "The second list holds *experts*, sorted. Asked is which token each slot belongs to.",
            wrong=lambda ids, n: (reference(ids, n)[0], ids.flatten().sort().values, reference(ids, n)[2]),
        ),
        Misconception(
            "tokens_of_positions",
            "The token was computed from the position, which is 0, 1, 2, ... after any sort. It belongs to "
            "the slot that stands there.",
            wrong=_tokens_of_positions,
            hint=3,
        ),
        Misconception(
            "with_zero",
            "There is one number too many: the list begins with 0. Expert e's end stands at index e; its "
            "start is the end of the one before.",
            wrong=_with_zero,
            hint=3,
        ),
        Misconception(
            "not_flattened",
            "Each column was sorted by itself, so the same small numbers come again and again. All S slots "
            "stand in one line: flatten the ids before you sort.",
            wrong=_by_itself(0),
            hint=2,
        ),
        Misconception(
            "within_tokens",
            "`argsort` works along the last axis: each token's K choices were sorted by themselves. All S "
            "slots stand in one line: flatten the ids before you sort.",
            wrong=_by_itself(-1),
            hint=2,
        ),
        Misconception(
            "no_minlength",
            "The list of ends stops at the last expert that has a row. `bincount` counts up to the largest "
            "id it sees; say `minlength=n_experts`, or the idle experts at the end are missing.",
            wrong=_no_minlength,
            hint=2,
        ),
        Misconception(
            "only_used",
            "Experts without rows are missing, so every later end belongs to the wrong expert. Counting "
            "what occurs forgets what does not: there must be E ends.",
            wrong=_only_used,
            hint=2,
        ),
    ),
    hints=(
        "Write the slots of three tokens with K = 2 on paper, one under the other, their experts beside "
        "them. Which token does slot 5 belong to? What did you compute?",
        "`topk_ids_TK.flatten()` lists the experts slot by slot, and `argsort(stable=True)` sorts them. "
        "`torch.bincount` has a `minlength`.",
        "`order = topk_ids_TK.flatten().argsort(stable=True)`; tokens are `order // K`; ends are the "
        "`cumsum` of the counts.",
    ),
    notice=(
        "`stable=True` keeps one expert's rows in the order of their slots, for PyTorch promises no order "
        "among equal ids without it; the ends are what its grouped product takes as `offs`."
    ),
)
