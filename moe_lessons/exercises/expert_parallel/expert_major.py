"""Exercise 14.expert_major: rows arrive sorted by sender, and the grouped product wants them by expert."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Answer = Callable[[Tensor], tuple[Tensor, Tensor]]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Unequal numbers of senders and experts; an idle expert, a silent sender, one sender alone."""

    def case(
        G: int, L: int, zeros: Sequence[tuple[int, int]] = (), note: str = "", edge: bool = False
    ) -> Case:
        counts_GL = rng.integers(1, 5, (G, L))
        counts_GL[0, L - 1] += 2  # no symmetric table, and no two sums alike by design
        for g, e in zeros:
            counts_GL[g, e] = 0
        rows = int(counts_GL.sum())
        return Case(
            f"G={G}, L={L}, {rows} rows{note}", {"arriving_GL": counts_GL.astype(np.int64)}, edge=edge
        )

    return [
        case(3, 2),
        case(2, 4, [(0, 1), (1, 1)], ", nobody for expert 1"),
        case(4, 3, [(2, 0), (2, 1), (2, 2)], ", nothing from rank 2"),
        case(3, 3),
        case(1, 3, note="", edge=True),
        case(3, 1, edge=True),
    ]


def _ids(arriving_GL: Tensor) -> Tensor:
    """The expert of each row, in order of arrival."""
    n_ranks, n_local = arriving_GL.shape
    return torch.arange(n_local).repeat(n_ranks).repeat_interleave(arriving_GL.flatten())


def _senders(arriving_GL: Tensor) -> Tensor:
    return torch.arange(len(arriving_GL)).repeat_interleave(arriving_GL.sum(dim=1))


def _ends(arriving_GL: Tensor) -> Tensor:
    return arriving_GL.sum(dim=0).cumsum(dim=0)


def reference(arriving_GL: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by expert, stably; add up the experts' rows."""
    return _ids(arriving_GL).argsort(stable=True), _ends(arriving_GL)


def _order(make: Callable[[Tensor], Tensor]) -> Answer:
    """A mistake in the order, with the right ends."""
    return lambda arriving_GL: (make(arriving_GL), _ends(arriving_GL))


def _last(make: Callable[[Tensor], Tensor]) -> Answer:
    """A mistake in the ends, with the right order."""
    return lambda arriving_GL: (reference(arriving_GL)[0], make(arriving_GL))


def _keyed(key: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Answer:
    """Sort by another key made of expert, sender and number of senders."""

    def order(arriving_GL: Tensor) -> Tensor:
        ids_R, senders_R = _ids(arriving_GL), _senders(arriving_GL)
        return key(ids_R, senders_R, torch.arange(len(ids_R))).argsort(stable=True)

    return _order(order)


def _one_rise(arriving_GL: Tensor) -> tuple[Tensor, Tensor]:
    """Ids that do not begin anew with each sender: 0 0 1 1 for 0 1 0 1."""
    n_ranks, n_local = arriving_GL.shape
    sizes_L = arriving_GL.reshape(n_local, n_ranks).sum(dim=1)
    return torch.arange(int(arriving_GL.sum())), sizes_L.cumsum(dim=0)


def _by_rank(arriving_GL: Tensor) -> Tensor:
    """Ends of what came from each sender, cut or filled up to L."""
    n_ranks, n_local = arriving_GL.shape
    ends_G = arriving_GL.sum(dim=1).cumsum(dim=0)
    return torch.nn.functional.pad(ends_G, (0, max(0, n_local - n_ranks)))[:n_local]


def _without_base(arriving_GL: Tensor) -> Tensor:
    """Places counted within each sender's rows."""
    first_GL = arriving_GL.cumsum(dim=1) - arriving_GL
    n_ranks, n_local = arriving_GL.shape
    pairs = [(g, e) for e in range(n_local) for g in range(n_ranks)]
    return torch.cat([torch.arange(int(arriving_GL[p])) + first_GL[p] for p in pairs])


def _whole_numbers(case: Case, got: Outputs, want: Outputs) -> str | None:
    found = np.sort(got["order_R"], axis=None)
    if not np.array_equal(found, np.arange(found.size)):
        return "order_R must name each arrived row exactly once"
    return None


def _grouped(case: Case, got: Outputs, want: Outputs) -> str | None:
    counts_GL = np.asarray(case.args["arriving_GL"])
    n_ranks, n_local = counts_GL.shape
    ids_R = np.tile(np.arange(n_local), n_ranks).repeat(counts_GL.flatten())
    if np.any(np.diff(ids_R[got["order_R"]]) < 0):
        return "taken in this order, a row of a higher expert comes before one of a lower"
    return None


EXPERT_MAJOR = Exercise(
    id="14.expert_major",
    title="From senders to experts",
    task=(
        "A rank with L experts has received rows from G ranks. They lie sorted by sender, and for each "
        "sender by expert: `arriving_GL[g, e]` rows from rank g for local expert e. Return `order_R` and "
        "`ends_L`: `rows[order_R]` must lie sorted by expert, and within an expert as they came; expert e's "
        "rows end *before* position `ends_L[e]`, as `grouped_mm` wants to know it."
    ),
    entry="expert_major",
    points=3,
    minutes=15,
    difficulty=3,
    gradient="ignored",
    outputs=(Output("order_R", "R", kind="int", plain=True), Output("ends_L", "L", kind="int", plain=True)),
    draw=draw,
    reference=reference,
    properties=(
        Property("the order names each row once", _whole_numbers),
        Property("taken in this order, rows lie sorted by expert", _grouped),
    ),
    misconceptions=(
        Misconception(
            "not_sorted",
            "The order leaves the rows as they came, sorted by sender. Each expert's rows are then scattered "
            "over G places, and a grouped product needs them in one. If you did sort: do the ids that you "
            "sorted by begin anew with each sender?",
            wrong=_order(lambda a: torch.arange(int(a.sum()))),
            hint=1,
        ),
        Misconception(
            "where_it_goes",
            "This is the inverse: to which place each arrived row goes. `rows[order_R]` *reads*, so place p "
            "has to hold the number of the row that comes there.",
            wrong=_order(lambda a: reference(a)[0].argsort()),
            hint=2,
        ),
        Misconception(
            "counts_read_across",
            "The counts were read expert by expert. Rows come sender by sender: a sender's L counts stand in "
            "a *row* of the table.",
            wrong=_order(lambda a: reference(a.T.reshape(a.shape))[0]),
            hint=2,
        ),
        Misconception(
            "ids_begin_only_once",
            "The ids rise from the first row to the last, as if all senders had put their rows for expert 0 "
            "in front. So there was nothing left to sort, and the ends count other experts' rows. Each "
            "sender brings rows for all L experts: the ids begin anew with it.",
            wrong=_one_rise,
            hint=2,
        ),
        Misconception(
            "senders_reversed",
            "Within an expert the last sender's rows come first. The sum comes out the same for each token, "
            "but rows no longer stand as in one process, and sums over rows (weight gradients) are rounded "
            "differently.",
            wrong=_keyed(lambda ids, senders, place: ids * 1000 - senders),
            hint=2,
        ),
        Misconception(
            "not_stable",
            "Rows of one expert do not stand in the order in which they came. A stable sort keeps it.",
            wrong=_keyed(lambda ids, senders, place: ids * 10_000 - place),
            also=(_keyed(lambda ids, senders, place: (ids * 1000 + senders) * 10_000 - place),),
            hint=2,
        ),
        Misconception(
            "experts_reversed",
            "The last expert's rows come first. `ends_L` counts from expert 0.",
            wrong=_keyed(lambda ids, senders, place: -ids),
            also=(_keyed(lambda ids, senders, place: -(ids * 10_000 + place)),),
            hint=2,
        ),
        Misconception(
            "ids_for_order",
            "This is the expert of each row rather than a row's number. Asked is which row comes first, "
            "which second, and so on: what a sort of these ids returns as indices.",
            wrong=_order(_ids),
            also=(_order(lambda a: _ids(a).sort().values),),
            hint=2,
        ),
        Misconception(
            "without_the_senders_start",
            "The places are counted anew for every sender. Rows of the second sender lie behind *all* rows "
            "of the first.",
            wrong=_order(_without_base),
            hint=2,
        ),
        Misconception(
            "ends_by_sender",
            "The order is right, and `ends_L` says where each *sender's* rows end. The product wants to know "
            "it of each expert: add up over senders.",
            wrong=_last(_by_rank),
            also=(_last(lambda a: a.sum(dim=1).cumsum(dim=0)), _last(lambda a: a[-1].cumsum(dim=0))),
            hint=3,
        ),
        Misconception(
            "sizes_for_ends",
            "`ends_L` holds how many rows each expert has. An end is the sum of all sizes up to it.",
            wrong=_last(lambda a: a.sum(dim=0)),
            hint=3,
        ),
        Misconception(
            "starts_for_ends",
            "`ends_L` says where each expert's rows begin, with a 0 in front. `grouped_mm` takes the ends: "
            "the last of them is the number of rows.",
            wrong=_last(lambda a: _ends(a) - a.sum(dim=0)),
            also=(_last(lambda a: torch.nn.functional.pad(_ends(a), (1, 0))),),
            hint=3,
        ),
        Misconception(
            "last_for_ends",
            "`ends_L` names the last row of each expert. As in a slice, the end is the place *behind* it.",
            wrong=_last(lambda a: _ends(a) - 1),
            hint=3,
        ),
        Misconception(
            "sums_over_all",
            "`ends_L` adds up sender after sender, and not only over experts: those are the ends of the G x "
            "L blocks. Add over senders first.",
            wrong=_last(lambda a: a.flatten().cumsum(0)),
            also=(_last(lambda a: a.flatten().cumsum(0)[: a.shape[1]]),),
            hint=3,
        ),
    ),
    hints=(
        "Which expert does each arriving row belong to? Write the ids out for 2 senders and 2 experts.",
        "`torch.arange(L).repeat(G).repeat_interleave(arriving_GL.flatten())` has the expert of each row, in "
        "the order of arrival. A *stable* argsort of that is the order.",
        "`ids.argsort(stable=True)`, and `arriving_GL.sum(0).cumsum(0)`.",
    ),
    notice=(
        "Only the counts are read here and never a row, so this order can be computed while the rows are "
        "still on their way."
    ),
)
