"""Further mistakes in 11.hierarchical: other softmaxes, other groups, weights that meet other experts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moe_lessons.exercises.spec import Misconception

Gate = tuple[Tensor, Tensor, Tensor]


def _levels(
    groups_TA: Tensor,
    experts_TAB: Tensor,
    k1: int,
    k2: int,
    *,
    groups: Callable[[Tensor, Tensor, int], Tensor] | None = None,
    looked_at: Callable[[Tensor, Tensor], Tensor] | None = None,
    first: Callable[[Tensor], Tensor] = lambda v: v.softmax(dim=-1),
    second: Callable[[Tensor], Tensor] = lambda v: v.softmax(dim=-1),
    product: Callable[[Tensor, Tensor], Tensor] = lambda p, q: p.unsqueeze(-1) * q,
    number: Callable[[Tensor, Tensor, int, int], Tensor] = lambda a, b, n, size: a.unsqueeze(-1) * size + b,
    importance: Callable[[Tensor, Tensor, int], Tensor] | None = None,
) -> Gate:
    """The right gate, with any of its steps replaced."""
    n_groups, size = experts_TAB.shape[1:]
    groups_TG = groups_TA.topk(k1).indices if groups is None else groups(groups_TA, experts_TAB, k1)
    seen_TG = groups_TG if looked_at is None else looked_at(groups_TG, groups_TA)
    values, places = experts_TAB.gather(1, seen_TG.unsqueeze(-1).expand(-1, -1, size)).topk(k2)
    weights = product(first(groups_TA.gather(1, groups_TG)), second(values)).flatten(1)
    ids = number(groups_TG, places, n_groups, size).flatten(1)
    if importance is None:
        total_E = torch.zeros(n_groups * size).index_add(0, ids.flatten(), weights.flatten())
    else:
        total_E = importance(ids, weights, n_groups * size)
    return ids, weights, total_E.view(n_groups, size)


def _with(**how: Any) -> Callable[..., Gate]:
    return lambda *args: _levels(*args, **how)


def numbered(number: Callable[[Tensor, Tensor, int, int], Tensor]) -> Callable[..., Gate]:
    """Numbers made otherwise of group, expert, A and B; the importance stands at these numbers, too."""
    return _with(number=lambda a, b, n, size: number(a.unsqueeze(-1), b, n, size))


def _overwritten(ids: Tensor, weights: Tensor, n: int) -> Tensor:
    total_E = torch.zeros(n)
    total_E[ids.flatten()] = weights.flatten()
    return total_E


def _overwritten_by_token(ids: Tensor, weights: Tensor, n: int) -> Tensor:
    total_E = torch.zeros(n)
    for ids_K, weights_K in zip(ids, weights, strict=True):
        total_E[ids_K] = weights_K
    return total_E


def _squared(ids: Tensor, weights: Tensor, n: int) -> Tensor:
    return torch.zeros(n).index_add(0, ids.flatten(), weights.flatten().square())


def _share(positive: Tensor) -> Tensor:
    return positive / positive.sum(dim=-1, keepdim=True)


def _best_of(reduce: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    return lambda groups_TA, experts_TAB, k1: reduce(experts_TAB).topk(k1).indices


def _weighed_by(reduce: Callable[[Tensor], Tensor]) -> Callable[..., Gate]:
    """Groups chosen by, and weighted by, what their experts' logits come to."""
    return lambda groups_TA, experts_TAB, k1, k2: _levels(reduce(experts_TAB), experts_TAB, k1, k2)


def _max(experts_TAB: Tensor) -> Tensor:
    return experts_TAB.amax(dim=-1)


def _mean(experts_TAB: Tensor) -> Tensor:
    return experts_TAB.mean(dim=-1)


def _sum(experts_TAB: Tensor) -> Tensor:
    return experts_TAB.sum(dim=-1)


def _top_two(experts_TAB: Tensor) -> Tensor:
    return experts_TAB.topk(2).values.sum(dim=-1)


def _sigmoid(values: Tensor) -> Tensor:
    return values.sigmoid()


def _whole(p: Tensor, q: Tensor) -> Tensor:
    """The group's weights repeated as a block, against experts that are listed group by group."""
    return (p.repeat(1, q.shape[-1]) * q.flatten(1)).view(q.shape)


def _first_group_only(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    ids, weights, total_AB = _levels(g, e, k1, k2)
    first = torch.zeros(total_AB.numel()).index_add(0, ids[:, :k2].flatten(), weights[:, :k2].flatten())
    return ids, weights, first.view(total_AB.shape)


def _of_groups(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    ids, weights, total_AB = _levels(g, e, k1, k2)
    return ids, weights, total_AB.sum(dim=1)


def _groups_spread(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    ids, weights, total_AB = _levels(g, e, k1, k2)
    return ids, weights, total_AB.sum(dim=1, keepdim=True).expand_as(total_AB)


def _taken(scores_TAB: Tensor, k: int) -> Gate:
    weights, ids = scores_TAB.flatten(1).topk(k)
    weights = _share(weights)
    total_E = torch.zeros(scores_TAB[0].numel()).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, total_E.view(scores_TAB.shape[1:])


def _best_product(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    best, chosen = g.topk(k1)
    outer = torch.zeros_like(g).scatter(1, chosen, best.softmax(-1))
    return _taken(outer.unsqueeze(-1) * e.softmax(-1), k1 * k2)


def _zeros_elsewhere(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    chosen = torch.zeros_like(g).scatter(1, g.topk(k1).indices, 1.0)
    return _taken((e * chosen.unsqueeze(-1)).softmax(-1) * g.softmax(-1).unsqueeze(-1), k1 * k2)


def best_of_all(g: Tensor, e: Tensor, k1: int, k2: int) -> Gate:
    """The best of the product of both full softmaxes, with the product for weight."""
    weights, ids = (g.softmax(-1).unsqueeze(-1) * e.softmax(-1)).flatten(1).topk(k1 * k2)
    total_E = torch.zeros(e[0].numel()).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, total_E.view(e.shape[1:])


LEVEL_MISTAKES = (
    Misconception(
        "not_softmax",
        "The weights are no softmax: sigmoids, or logits over their sum, do not share out a whole in the "
        "same proportion. Both levels take a softmax over what was chosen.",
        wrong=_with(first=_sigmoid, second=_sigmoid),
        also=(
            _with(first=_sigmoid),
            _with(second=_sigmoid),
            _with(first=lambda v: _share(v.sigmoid()), second=lambda v: _share(v.sigmoid())),
            _with(first=_share, second=_share),
            _with(first=lambda v: v, second=lambda v: v),
            _with(first=torch.exp, second=torch.exp),
        ),
        hint=2,
    ),
    Misconception(
        "first_groups",
        "The experts come from groups 0 to k1 - 1, whichever groups the token chose. Index with the groups "
        "that `topk` found: `gather` along the axis of the groups.",
        wrong=_with(looked_at=lambda chosen, g: torch.arange(chosen.shape[1]).expand_as(chosen)),
        hint=2,
    ),
    Misconception(
        "groups_in_other_order",
        "Experts are taken from the right groups in another order than the groups' weights and numbers. "
        "Keep one order, that of `topk`, from the beginning to the end.",
        wrong=_with(looked_at=lambda chosen, g: chosen.sort(dim=-1).values),
        also=(
            _with(looked_at=lambda chosen, g: chosen.flip(-1)),
            _with(first=lambda v: v.softmax(-1).flip(-1)),
        ),
        hint=2,
    ),
    Misconception(
        "one_softmax_for_all",
        "The second softmax runs over all chosen experts at once. Each group shares out its own weight: a "
        "softmax for each group, over its `top_experts`.",
        wrong=_with(second=lambda v: v.flatten(1).softmax(dim=-1).view(v.shape)),
        hint=2,
    ),
    Misconception(
        "softmax_along_another_axis",
        "A softmax runs along the wrong axis: over the groups, or over the tokens. Over the experts of a "
        "group it is the last axis of [T, k1, k2], over the groups the last of [T, k1].",
        wrong=_with(second=lambda v: v.softmax(dim=1)),
        also=(
            _with(second=lambda v: v.softmax(dim=0)),
            _with(first=lambda v: v.softmax(dim=0)),
            _with(first=lambda v: v.softmax(dim=0), second=lambda v: v.softmax(dim=0)),
            _with(first=lambda v: v.softmax(dim=0), second=lambda v: v.softmax(dim=1)),
        ),
        hint=2,
    ),
    Misconception(
        "repeated_not_interleaved",
        "The groups' weights are repeated as a block, while the experts are listed group by group. A weight "
        "belongs to `top_experts` neighbours: `repeat_interleave`, or a new last axis for the product.",
        wrong=_with(product=_whole),
        hint=2,
    ),
    Misconception(
        "groups_by_their_experts",
        "The groups were chosen by their experts' logits, their best ones, as in lesson 06. Here a group has "
        "a logit of its own, and no expert is looked at before.",
        wrong=_with(groups=_best_of(_max)),
        also=(
            _weighed_by(_max),
            _with(groups=_best_of(_mean)),
            _weighed_by(_mean),
            _with(groups=_best_of(_sum)),
            _weighed_by(_sum),
            _with(groups=_best_of(_top_two)),
            _weighed_by(_top_two),
        ),
        hint=1,
    ),
    Misconception(
        "importance_overwritten",
        "`importance_AB` holds one token's weight where there should be a sum: writing with an index, also "
        "with `+=`, keeps one value for each place. `index_add` adds them up.",
        wrong=_with(importance=_overwritten),
        also=(_with(importance=_overwritten_by_token),),
        hint=3,
    ),
    Misconception(
        "importance_squared",
        "`importance_AB` adds up the squares of the weights. Asked is the sum of the weights.",
        wrong=_with(importance=_squared),
        hint=3,
    ),
    Misconception(
        "times_chosen",
        "The numbers do not go by B. A group has B experts, whether a token takes one of them or all: the "
        "number is `a·B + b`.",
        wrong=_with(number=lambda a, b, n, size: a.unsqueeze(-1) * b.shape[-1] + b),
        also=(
            _with(number=lambda a, b, n, size: a.unsqueeze(-1) + b),
            _with(number=lambda a, b, n, size: b * size + a.unsqueeze(-1)),
            _with(number=lambda a, b, n, size: a.unsqueeze(-1) * (size - 1) + b),
        ),
        hint=3,
    ),
    Misconception(
        "lowest_chosen",
        "The groups, or the experts, with the *lowest* logits were chosen.",
        wrong=_with(groups=lambda g, e, k1: (-g).topk(k1).indices),
        also=(lambda g, e, k1, k2: _levels(-g, -e, k1, k2), lambda g, e, k1, k2: _levels(-g, e, k1, k2)),
        hint=1,
    ),
    Misconception(
        "not_the_product",
        "The two weights were not multiplied: a root, a logarithm, or the smaller or larger of the two. An "
        "expert's weight is the product, so that a token's weights sum to 1.",
        wrong=_with(product=lambda p, q: (p.unsqueeze(-1) * q).sqrt()),
        also=(
            _with(product=lambda p, q: p.unsqueeze(-1).log() + q.log()),
            _with(product=lambda p, q: torch.minimum(p.unsqueeze(-1).expand_as(q), q)),
            _with(product=lambda p, q: torch.maximum(p.unsqueeze(-1).expand_as(q), q)),
            _with(product=lambda p, q: (p.unsqueeze(-1) * q).square()),
        ),
        hint=2,
    ),
    Misconception(
        "levels_exchanged",
        "`top_groups` and `top_experts` have changed places: the first is the number of groups, the second "
        "that of experts in each.",
        wrong=lambda g, e, k1, k2: _levels(g, e, k2, k1),
        hint=1,
    ),
    Misconception(
        "importance_of_a_part",
        "`importance_AB` is that of whole groups, or only of a token's first group. All chosen experts of "
        "all tokens add their weight, each at its own place.",
        wrong=_first_group_only,
        also=(_of_groups, _groups_spread),
        hint=3,
    ),
    Misconception(
        "best_of_chosen_groups",
        "The experts of the chosen groups compete with each other, by the product of both softmaxes. Each "
        "chosen group gives exactly `top_experts`, and their softmax runs over them alone.",
        wrong=_best_product,
        also=(_zeros_elsewhere,),
        hint=2,
    ),
)
