"""Exercise 06.group_limited: top-k among the experts of the few best groups."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.router.draws import SWAPPED_RETURN, by_expert
from moe_lessons.exercises.routing_zoo.weights import WEIGHTS_SUM_TO_ONE
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Gates = tuple[Tensor, Tensor]
SHAPES = ((7, 12, 3, 2, 3), (6, 16, 4, 2, 4), (8, 8, 2, 1, 3), (5, 12, 4, 2, 2))


def _in_groups(values_TE: Tensor, n_groups: int) -> Tensor:
    return values_TE.unflatten(1, (n_groups, -1))


def _strided(values_TE: Tensor, n_groups: int) -> Tensor:
    return values_TE.unflatten(1, (-1, n_groups)).transpose(1, 2)


def _best_two(grouped_TGM: Tensor) -> Tensor:
    return grouped_TGM.topk(2, dim=-1).values.sum(dim=-1)


def _allowed(
    scores_TE: Tensor,
    biased_TE: Tensor,
    n_groups: int,
    kept: int,
    value: Callable[[Tensor], Tensor] = _best_two,
    on_biased: bool = True,
    largest: bool = True,
    strided: bool = False,
    tiled: bool | None = None,
) -> Tensor:
    """Which experts each token may choose, as a mask (T, E)."""
    grouping = _strided if strided else _in_groups
    groups_TG = value(grouping(biased_TE if on_biased else scores_TE, n_groups))
    best = groups_TG.topk(kept, dim=-1, largest=largest).indices
    mask_TG = torch.zeros_like(groups_TG).scatter(1, best, 1.0).bool()
    size = scores_TE.shape[1] // n_groups
    tiled = strided if tiled is None else tiled
    return mask_TG.repeat(1, size) if tiled else mask_TG.repeat_interleave(size, dim=1)


def _variant(
    fill: float = -torch.inf,
    biased_weights: bool = False,
    limited: bool = True,
    late: bool = False,
    biased_choice: bool = True,
    **how: Any,
) -> Callable[..., Gates]:
    """The right gate, with one of its parts replaced."""

    def gate(
        scores_TE: Tensor, expert_bias_E: Tensor, n_groups: int, groups_per_token: int, top_k: int
    ) -> Gates:
        biased_TE = scores_TE + expert_bias_E
        mask_TE = _allowed(scores_TE, biased_TE, n_groups, groups_per_token, **how)
        choice_TE = biased_TE if biased_choice else scores_TE
        ranked_TE = choice_TE.masked_fill(~mask_TE, fill) if limited and not late else choice_TE
        ids_TK = ranked_TE.topk(top_k, dim=-1).indices
        weighed_TE = biased_TE if biased_weights else scores_TE
        weighed_TE = weighed_TE * mask_TE if late else weighed_TE
        weights_TK = weighed_TE.gather(-1, ids_TK)
        return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True)

    return gate


reference = _variant()
WRONG = {
    "unlimited": _variant(limited=False),
    "best_of_group": _variant(value=lambda x_TGM: x_TGM.amax(dim=-1)),
    "mean_of_group": _variant(value=lambda x_TGM: x_TGM.mean(dim=-1)),
    "masked_with_zero": _variant(fill=0.0),
    "unbiased_groups": _variant(on_biased=False),
    "strided_groups": _variant(strided=True),
    "mask_inverted": _variant(largest=False),
    "tiled_mask": _variant(tiled=True),
    "unbiased_choice": _variant(biased_choice=False),
    "no_bias": lambda s, b, g, n, k: reference(s, torch.zeros_like(b), g, n, k),
}


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several shapes; a bias pushes many selection scores below 0, and every mistake changes some choice."""
    cases = []
    for n_tokens, n_experts, n_groups, kept, top_k in SHAPES:
        while True:
            scores_TE = rng.uniform(0.05, 0.95, (n_tokens, n_experts)).astype(np.float32)
            bias_E = rng.uniform(-1.1, 0.3, n_experts).astype(np.float32)
            args: dict[str, Any] = {
                "scores_TE": scores_TE,
                "expert_bias_E": bias_E,
                "n_groups": n_groups,
                "groups_per_token": kept,
                "top_k": top_k,
            }
            if _decisive(args):
                break
        name = f"T={n_tokens}, E={n_experts} in {n_groups} groups, {kept} per token, K={top_k}"
        cases.append(Case(name, args))
    return cases


def _decisive(args: dict[str, Any]) -> bool:
    given: list[Any] = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in args.values()]
    scores_TE, bias_E, n_groups, kept, _ = given
    biased_TE = scores_TE + bias_E
    right_TK = reference(*given)[0].sort().values
    different = (not torch.equal(right_TK, f(*given)[0].sort().values) for f in WRONG.values())
    groups_TG = _best_two(_in_groups(biased_TE, n_groups)).sort(dim=-1, descending=True).values
    gaps = biased_TE.sort(dim=-1).values.diff(dim=-1).min()
    return (
        all(different)
        and bool(gaps > 5e-4)
        and bool((groups_TG[:, kept - 1] - groups_TG[:, kept]).min() > 1e-3)
    )


def _few_groups(case: Case, got: Outputs, want: Outputs) -> str | None:
    n_groups, kept = int(case.args["n_groups"]), int(case.args["groups_per_token"])  # type: ignore[arg-type]
    size = np.asarray(case.args["scores_TE"]).shape[1] // n_groups
    for t, ids_K in enumerate(got["topk_ids_TK"].tolist()):
        n = len({e // size for e in ids_K})
        if n > kept:
            return f"token {t} has experts of {n} groups, and may have {kept}"
    return None


def _within(scores_TE: Tensor, bias_E: Tensor, n_groups: int, kept: int, top_k: int) -> Gates:
    grouped_TGM = _in_groups(scores_TE + bias_E, n_groups)
    best = _best_two(grouped_TGM).topk(kept, dim=-1).indices
    short = grouped_TGM.gather(1, best[..., None].expand(-1, -1, grouped_TGM.shape[2])).flatten(1)
    ids_TK = short.topk(top_k, dim=-1).indices
    weights_TK = scores_TE.gather(1, ids_TK)
    return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True)


GROUP_LIMITED = Exercise(
    id="06.group_limited",
    title="Group-limited top-k",
    task=(
        "The E experts stand in `n_groups` groups of neighbours (0, 1, 2 in the first, and so on): one group "
        "per machine. A group is worth the sum of its two highest scores *plus bias*. Each token keeps its "
        "best `groups_per_token` groups and chooses its K experts among theirs, by score plus bias. Weights: "
        "the scores without bias, rescaled to sum to 1 (arXiv 2412.19437, section 2.1.2)."
    ),
    entry="group_limited_topk",
    points=4,
    minutes=12,
    difficulty=4,
    outputs=(Output("topk_ids_TK", "TK", kind="int"), Output("topk_weights_TK", "TK")),
    draw=draw,
    reference=reference,
    canonical=by_expert,
    properties=(Property("each token stays within its groups", _few_groups), WEIGHTS_SUM_TO_ONE),
    misconceptions=(
        SWAPPED_RETURN,
        Misconception(
            "unlimited",
            "The groups played no part: this is plain top-k. A token may then have experts on as many "
            "machines as it has experts.",
            wrong=WRONG["unlimited"],
            hint=1,
        ),
        Misconception(
            "best_of_group",
            "A group was judged by its best expert alone. DeepSeek-V2 did that for its devices; here it is "
            "the sum of the *two* best, since a token takes more than one from a group.",
            wrong=WRONG["best_of_group"],
            hint=2,
        ),
        Misconception(
            "mean_of_group",
            "A group was judged by all of its experts. Those that the token will not use say nothing about "
            "what it can get there. Only the two best count.",
            wrong=WRONG["mean_of_group"],
            hint=2,
        ),
        Misconception(
            "masked_with_zero",
            "The experts of the other groups were set to 0. With a negative bias an allowed expert may stand "
            "*below* 0, and a forbidden one wins. Set them to minus infinity.",
            wrong=WRONG["masked_with_zero"],
            hint=3,
        ),
        Misconception(
            "unbiased_groups",
            "The groups were judged by the scores without the bias, the experts with it. A choice is a "
            "choice: the bias takes part in both.",
            wrong=WRONG["unbiased_groups"],
            hint=1,
        ),
        Misconception(
            "strided_groups",
            "The groups are the wrong ones: experts 0, G, 2G, ... were taken together. Neighbours form a "
            "group, so the group is the *slower* axis of the reshape.",
            wrong=WRONG["strided_groups"],
            also=(_variant(strided=True, tiled=False),),  # worth by the one grouping, mask by the other
            hint=2,
        ),
        Misconception(
            "tiled_mask",
            "The mask of the groups was laid out the wrong way: `repeat` gives groups 0, 1, 2, 0, 1, 2, ..., "
            "and the experts of a group are neighbours, 0, 0, 1, 1, 2, 2. `repeat_interleave` does that.",
            wrong=WRONG["tiled_mask"],
            hint=3,
        ),
        Misconception(
            "unbiased_choice",
            "The groups were judged with the bias, the experts within them without it. A choice is a choice: "
            "the bias takes part in both.",
            wrong=WRONG["unbiased_choice"],
            hint=1,
        ),
        Misconception(
            "no_bias",
            "The bias took no part in anything. It is there to steer who is chosen: groups, and experts "
            "within them.",
            wrong=WRONG["no_bias"],
            hint=1,
        ),
        Misconception(
            "not_rescaled",
            "The weights are the plain scores of the chosen experts. Divide each token's by their sum.",
            wrong=lambda s, b, g, n, k: (
                reference(s, b, g, n, k)[0],
                s.gather(1, reference(s, b, g, n, k)[0]),
            ),
            hint=1,
        ),
        Misconception(
            "ids_within_groups",
            "The ids count within the groups that the token kept, from 0. The layer needs the expert's own "
            "id: a mask over all E leaves every expert at its place.",
            wrong=_within,
            hint=3,
        ),
        Misconception(
            "mask_inverted",
            "The best groups were shut out and the worst kept. Look at which side of the mask is filled.",
            wrong=WRONG["mask_inverted"],
            hint=3,
        ),
        Misconception(
            "mask_on_weights",
            "The experts were chosen without regard to groups, and those outside got weight 0. The token "
            "still travels to them, or has fewer than K experts left. The limit belongs before the top-k.",
            wrong=_variant(late=True),
            hint=3,
        ),
        Misconception(
            "bias_in_weight",
            "The bias leaked into the weights. It steers who is chosen, nothing else.",
            wrong=_variant(biased_weights=True),
            hint=1,
        ),
    ),
    hints=(
        "Three decisions: which groups, which experts, which weights. Which of them see the bias?",
        "`biased_TE.unflatten(1, (n_groups, -1))` puts each group's experts on an axis of their own. "
        "`topk(2, dim=-1).values.sum(dim=-1)` is what a group is worth.",
        "Make a mask `[T, n_groups]` of the kept groups, stretch it with `repeat_interleave(size, dim=1)`, "
        "and `masked_fill(~mask_TE, -torch.inf)` before the top-k.",
    ),
    notice=(
        "The mask fills with -inf and not with 0: a bias can push scores below 0, and then a forbidden "
        "expert at 0 would win, as it can in published code that fills with 0."
    ),
)
