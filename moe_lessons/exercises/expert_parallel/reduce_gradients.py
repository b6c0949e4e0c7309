"""Exercise 14.reduce_gradients: which ranks' gradients belong together, and by what to divide them."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Reduced = tuple[Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several replicas of two to four shards; one replica alone, and no expert parallelism at all."""

    def case(W: int, n_ep: int, P: int, Q: int, edge: bool = False) -> Case:
        args: dict[str, Plain] = {
            "dense_WP": rng.normal(size=(W, P)).astype(np.float32),
            "expert_WQ": rng.normal(size=(W, Q)).astype(np.float32),
            "n_ep": n_ep,
        }
        return Case(f"{W // n_ep} replicas of {n_ep} shards", args, edge=edge)

    return [
        case(6, 3, 4, 5),
        case(8, 2, 3, 4),
        case(12, 4, 2, 3),
        case(6, 2, 5, 2),
        case(4, 4, 2, 3, edge=True),
        case(3, 1, 4, 2, edge=True),
    ]


def _all(grad_WP: Tensor) -> Tensor:
    """The sum over all ranks, on every rank."""
    return grad_WP.sum(dim=0, keepdim=True).expand(len(grad_WP), -1)


def _column(grad_WQ: Tensor, n_ep: int) -> Tensor:
    """The sum over the ranks with the same shard, on each of them."""
    table = grad_WQ.view(-1, n_ep, grad_WQ.shape[1])
    return table.sum(dim=0, keepdim=True).expand_as(table).reshape(grad_WQ.shape)


def _replica(grad_WP: Tensor, n_ep: int) -> Tensor:
    """The sum over the ranks of the same replica, on each of them."""
    table = grad_WP.view(-1, n_ep, grad_WP.shape[1])
    return table.sum(dim=1, keepdim=True).expand_as(table).reshape(grad_WP.shape)


def _strided(grad_WQ: Tensor, n_ep: int) -> Tensor:
    """As ``_column`` if ranks were numbered shard by shard."""
    table = grad_WQ.view(n_ep, -1, grad_WQ.shape[1])
    return table.sum(dim=1, keepdim=True).expand_as(table).reshape(grad_WQ.shape)


def reference(dense_WP: Tensor, expert_WQ: Tensor, n_ep: int) -> Reduced:
    """Dense: mean over all. Experts: sum over the replicas of a shard, over all ranks."""
    n_ranks = len(dense_WP)
    return _all(dense_WP) / n_ranks, _column(expert_WQ, n_ep) / n_ranks


def _experts(make: Callable[[Tensor, int, int], Tensor]) -> Callable[[Tensor, Tensor, int], Reduced]:
    """A mistake with the experts, of (gradients, shards, ranks), with the dense part right."""
    return lambda d, e, n_ep: (_all(d) / len(d), make(e, n_ep, len(e)))


def _dense(make: Callable[[Tensor, int, int], Tensor]) -> Callable[[Tensor, Tensor, int], Reduced]:
    """A mistake with the dense part, with the experts right."""
    return lambda d, e, n_ep: (make(d, n_ep, len(d)), _column(e, n_ep) / len(e))


def _replicas_agree(case: Case, got: Outputs, want: Outputs) -> str | None:
    n_ep, dense_WP = int(str(case.args["n_ep"])), got["dense_WP"]
    if not np.allclose(dense_WP, dense_WP[:1], rtol=1e-4, atol=1e-5):
        return "dense_WP differs between ranks, which all hold the same dense weights"
    table = got["expert_WQ"].reshape(-1, n_ep, got["expert_WQ"].shape[1])
    if not np.allclose(table, table[:1], rtol=1e-4, atol=1e-5):
        return "expert_WQ differs between ranks that hold the same shard, so their weights drift apart"
    return None


REDUCE_GRADIENTS = Exercise(
    id="14.reduce_gradients",
    title="Whose gradient is it?",
    task=(
        "W ranks are R replicas of `n_ep` ranks each: rank `replica * n_ep + shard`. All hold the same dense "
        "weights; the experts of a shard are on R ranks, one in each replica. Each rank has called "
        "`backward` on the mean loss of its own tokens, and the exchanges have carried the gradients along: "
        "`expert_WQ[w]` already holds what all ranks of w's *replica* have to say about w's shard. Training "
        "shall be that of one process whose loss is the mean of the W losses. Return both gradients, `[W, "
        "P]` and `[W, Q]`, as each rank should hold them before the optimizer's step."
    ),
    entry="reduce_gradients",
    points=4,
    minutes=20,
    difficulty=4,
    gradient="ignored",
    outputs=(Output("dense_WP", "WP"), Output("expert_WQ", "WQ")),
    draw=draw,
    reference=reference,
    properties=(Property("ranks that hold the same weights get the same gradient", _replicas_agree),),
    misconceptions=(
        Misconception(
            "averaged_over_all",
            "The experts' gradients were averaged over all ranks. Ranks of other shards hold *other "
            "experts*: the update of expert 0 is then mixed with that of expert 7, and nothing warns you.",
            wrong=_experts(lambda e, n, w: _all(e) / w),
            also=(_experts(lambda e, n, w: _all(e)), _experts(lambda e, n, w: _all(e) / n)),
            hint=2,
        ),
        Misconception(
            "not_divided",
            "The right ranks were added up, and nothing divided. The loss is a *mean* over W ranks, also for "
            "a weight that only some of them hold. With Adam the loss curve would hardly show the factor.",
            wrong=_experts(lambda e, n, w: _column(e, n)),
            hint=1,
        ),
        Misconception(
            "divided_by_holders",
            "The experts' gradients were averaged over the R ranks that hold the shard. But W losses went "
            "into them: through the exchanges every rank's tokens reach every shard. They are `n_ep` times "
            "too large.",
            wrong=_experts(lambda e, n, w: _column(e, n) / (w // n)),
            hint=1,
        ),
        Misconception(
            "divided_by_shards",
            "The right ranks were added up and divided by `n_ep`. That is one replica's share: there are R "
            "of them, and the loss is a mean over W ranks.",
            wrong=_experts(lambda e, n, w: _column(e, n) / n),
            hint=1,
        ),
        Misconception(
            "divided_twice",
            "The experts' gradients were averaged over their holders and then divided by W once more. Each "
            "division is for the same thing: the loss is a mean over W ranks.",
            wrong=_experts(lambda e, n, w: _column(e, n) / (w // n) / w),
            also=(_experts(lambda e, n, w: _column(e, n) / w / n),),
            hint=1,
        ),
        Misconception(
            "replicas_not_summed",
            "Each rank has divided its own experts' gradient, by W or by `n_ep`, and not heard the other "
            "replicas. They hold the same experts, and their tokens count as well; the copies would drift "
            "apart.",
            wrong=_experts(lambda e, n, w: e / w),
            also=(_experts(lambda e, n, w: e / n),),
            hint=2,
        ),
        Misconception(
            "left_alone",
            "The experts' gradients were left as they were. That is not even right for one replica: they are "
            "a *sum* over the losses of `n_ep` ranks, and the loss is a mean.",
            wrong=_experts(lambda e, n, w: e),
            hint=1,
        ),
        Misconception(
            "axes_swapped",
            "The experts' gradients were added up *within* a replica, over ranks that hold different "
            "experts. The ranks with the same shard stand `n_ep` apart.",
            wrong=_experts(lambda e, n, w: _replica(e, n) / w),
            also=(
                _experts(lambda e, n, w: _replica(e, n) / n),
                _experts(lambda e, n, w: _strided(e, n) / w),
                _experts(lambda e, n, w: _replica(e, n)),
                _experts(lambda e, n, w: _column(e, w // n) / w),
            ),
            hint=2,
        ),
        Misconception(
            "given_back_to_others",
            "The sums over the replicas are right, and many ranks get those of another shard: each sum was "
            "repeated for neighbouring ranks. Neighbours hold *different* shards; the row of sums as a whole "
            "comes once for each replica.",
            wrong=_experts(lambda e, n, w: e.view(-1, n, e.shape[1]).sum(0).repeat_interleave(w // n, 0) / w),
            hint=3,
        ),
        Misconception(
            "dense_within_replica",
            "The dense gradients were averaged within each replica. All W ranks hold these weights: "
            "the replicas would train R different models.",
            wrong=_dense(lambda d, n, w: _replica(d, n) / n),
            also=(_dense(lambda d, n, w: _replica(d, n) / w),),
            hint=2,
        ),
        Misconception(
            "dense_like_experts",
            "The dense gradients were added up over the ranks of one shard only, as the experts' are. All W "
            "ranks hold the dense weights, whatever their shard.",
            wrong=_dense(lambda d, n, w: _column(d, n) / w),
            also=(_dense(lambda d, n, w: _column(d, n) / (w // n)),),
            hint=2,
        ),
        Misconception(
            "dense_summed",
            "The dense gradients are a sum over the ranks, or were divided by fewer than there are. The loss "
            "is the mean of W losses.",
            wrong=_dense(lambda d, n, w: _all(d)),
            also=(
                _dense(lambda d, n, w: _all(d) / n),
                _dense(lambda d, n, w: _all(d) / (w // n)),
            ),
            hint=1,
        ),
        Misconception(
            "dense_left_alone",
            "The dense gradients are each rank's own. All ranks hold the same dense weights, and only with "
            "the same gradient do they stay the same.",
            wrong=_dense(lambda d, n, w: d),
            also=(_dense(lambda d, n, w: d / w),),
            hint=2,
        ),
    ),
    hints=(
        "The loss is a mean over W ranks. Through how many ranks' losses does an expert's weight act? And by "
        "how many of them is its sum divided, if all were one process?",
        "Which ranks hold the same shard? `expert_WQ.view(R, n_ep, Q)` puts them into a column. Everybody "
        "holds the dense weights.",
        "`expert_WQ.view(R, n_ep, Q).sum(0) / W`, given back to every replica with `repeat(R, 1)`.",
    ),
    notice=(
        "The divisor is W for both: what differs is whom to add up, since an exchange has already added up "
        "the ranks of a replica."
    ),
)
