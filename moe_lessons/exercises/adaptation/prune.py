"""Exercise 13.prune: experts taken out of a layer, and everything that counts them with them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.adaptation.prune_cases import draw
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Pruned = tuple[Tensor, Tensor, Tensor, Tensor]


def _kept(saliency_E: Tensor, n_keep: int) -> Tensor:
    return saliency_E.topk(n_keep).indices.sort().values


def _with(keep_N: Tensor, router: Tensor, bias: Tensor, experts: Tensor, ids_TK: Tensor) -> Pruned:
    """Rows of these experts in this order, and their new numbers."""
    new_E = torch.full((len(router),), -1)
    new_E[keep_N] = torch.arange(len(keep_N))
    return router[keep_N], bias[keep_N], experts[keep_N], new_E[ids_TK]


def reference(
    router_ED: Tensor,
    bias_E: Tensor,
    experts_EP: Tensor,
    saliency_E: Tensor,
    n_keep: int,
    topk_ids_TK: Tensor,
) -> Pruned:
    """Index everything that has a row for each expert, and look the ids up in a table."""
    return _with(_kept(saliency_E, n_keep), router_ED, bias_E, experts_EP, topk_ids_TK)


Given = tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor]


def _but(change: Callable[[Pruned, Given], Pruned]) -> Callable[..., Pruned]:
    """The right result, with a part of it replaced."""
    return lambda *given: change(reference(*given), given)


def _keeping(which: Callable[[Tensor, int], Tensor]) -> Callable[..., Pruned]:
    """Other experts kept, or in another order."""
    return lambda r, b, x, s, n, ids: _with(which(s, n), r, b, x, ids)


def _zeroed(how: Callable[[Tensor], Tensor]) -> Callable[..., Pruned]:
    """Nothing removed: the rows of the others become 0, or what `how` makes of their bias."""

    def wrong(r: Tensor, b: Tensor, x: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
        keep_E = torch.zeros(len(r), dtype=torch.bool)
        keep_E[_kept(s, n)] = True
        return r * keep_E[:, None], torch.where(keep_E, b, how(b)), x * keep_E[:, None], ids

    return wrong


def _old_ids(saliency_E: Tensor, n_keep: int, ids_TK: Tensor) -> Tensor:
    return torch.where(torch.isin(ids_TK, _kept(saliency_E, n_keep)), ids_TK, -1)


def _next_best(router: Tensor, bias: Tensor, experts: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
    """A removed expert's tokens are given to the nearest one that was kept before it."""
    keep_N = _kept(s, n)
    place = (torch.searchsorted(keep_N, ids, right=True) - 1).clamp(min=0)
    return router[keep_N], bias[keep_N], experts[keep_N], place


def _one_before(router: Tensor, bias: Tensor, experts: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
    """The same by a running count of the kept ones: -1 where none was kept before."""
    keep_N = _kept(s, n)
    place = torch.searchsorted(keep_N, ids, right=True) - 1
    return router[keep_N], bias[keep_N], experts[keep_N], place


def _marked_late(router: Tensor, bias: Tensor, experts: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
    """New numbers first; then -1 for whatever is none of the *old* ids that are kept."""
    *rows, new_TK = reference(router, bias, experts, s, n, ids)
    mixed_TK = torch.where(new_TK >= 0, new_TK, ids)
    return *rows, torch.where(torch.isin(mixed_TK, _kept(s, n)), mixed_TK, -1)  # type: ignore[return-value]


def _above(s: Tensor, place: int) -> Tensor:
    """Experts with a score above the one at this place of all, counted from the highest."""
    return (s > s.sort(descending=True).values[place]).nonzero().flatten()


def _shifted(router: Tensor, bias: Tensor, experts: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
    """Numbered from 1 on."""
    kept = reference(router, bias, experts, s, n, ids)
    return *kept[:3], torch.where(kept[3] >= 0, kept[3] + 1, -1)


def _by_rank(router: Tensor, bias: Tensor, experts: Tensor, s: Tensor, n: int, ids: Tensor) -> Pruned:
    """Rows in order of id, ids renumbered by rank in saliency."""
    kept = reference(router, bias, experts, s, n, ids)
    new_E = torch.full((len(router),), -1)
    new_E[s.topk(n).indices] = torch.arange(n)
    return *kept[:3], new_E[ids]


def _rows_of_tokens(case: Case, got: Outputs, want: Outputs) -> str | None:
    """A token that chose an expert which is kept must find its row again."""
    experts_EP, ids_TK = np.asarray(case.args["experts_EP"]), np.asarray(case.args["topk_ids_TK"])
    new_TK, kept_NP = np.asarray(got["new_ids_TK"]), np.asarray(got["experts_NP"])
    if new_TK.shape != ids_TK.shape or kept_NP.ndim != 2 or kept_NP.shape[1:] != experts_EP.shape[1:]:
        return None
    for (t, k), new in np.ndenumerate(new_TK):
        if 0 <= new < len(kept_NP) and not np.allclose(kept_NP[new], experts_EP[ids_TK[t, k]]):
            return f"token {t} chose expert {ids_TK[t, k]}, and number {new} is now another one"
    return None


PRUNE = Exercise(
    id="13.prune",
    title="Take experts out",
    task=(
        "Keep the `n_keep` experts with the highest `saliency_E`, *in the order of their old ids*, and take "
        "the others out: of the router's rows, of `bias_E` (one number for each expert), and of `experts_EP` "
        "(row e holds all of expert e's parameters). Return the three, smaller, and `topk_ids_TK` with new "
        "numbers: where a token had chosen a kept expert, that expert's row in what you return, and -1 where "
        "its expert is gone. No two scores are equal."
    ),
    entry="prune",
    points=3,
    minutes=12,
    difficulty=2,
    gradient="ignored",
    outputs=(
        Output("router_ND", "ND"),
        Output("bias_N", "N"),
        Output("experts_NP", "NP"),
        Output("new_ids_TK", "TK", kind="int"),
    ),
    draw=draw,
    reference=reference,
    properties=(Property("a token finds its expert again", _rows_of_tokens),),
    misconceptions=(
        Misconception(
            "in_order_of_saliency",
            "The kept experts stand in the order of their scores, as `topk` returns them. Sort their ids: "
            "whoever compares the pruned layer with the old one expects neighbours to stay neighbours.",
            wrong=_keeping(lambda s, n: s.topk(n).indices),
            also=(
                _keeping(lambda s, n: s.argsort()[len(s) - n :]),
                _keeping(lambda s, n: _kept(s, n).flip(0)),
            ),
            hint=1,
        ),
        Misconception(
            "least_kept",
            "The experts with the *lowest* scores are kept. A high score means that one would be missed.",
            wrong=_keeping(lambda s, n: _kept(-s, n)),
            also=(_keeping(lambda s, n: (-s).topk(n).indices),),
            hint=1,
        ),
        Misconception(
            "first_kept",
            "The first experts are kept, whatever their scores.",
            wrong=_keeping(lambda s, n: torch.arange(n)),
            hint=1,
        ),
        Misconception(
            "last_removed_count",
            "Another number of experts is kept than `n_keep`: as many as should go, or one too few or many. "
            "Where scores are compared with a limit, the expert whose score it is counts as well.",
            wrong=_keeping(lambda s, n: _kept(s, max(len(s) - n, 1))),
            also=(
                _keeping(lambda s, n: _above(s, n - 1)),
                _keeping(lambda s, n: _kept(s, min(n + 1, len(s)))),
            ),
            hint=1,
        ),
        Misconception(
            "router_first_rows",
            "The router keeps its first rows, and the experts are others. Each row would then send tokens to "
            "somebody else's expert. The same index for both.",
            wrong=_but(lambda out, given: (given[0][: given[4]], *out[1:])),
            hint=2,
        ),
        Misconception(
            "router_by_saliency",
            "The router's rows are in another order than the experts. Row and expert belong together: one "
            "index for all three.",
            wrong=_but(lambda out, given: (given[0][given[3].topk(given[4]).indices], *out[1:])),
            hint=2,
        ),
        Misconception(
            "router_whole",
            "The router keeps all of its rows. It would go on choosing experts that are gone.",
            wrong=_but(lambda out, given: (given[0], *out[1:])),
            hint=2,
        ),
        Misconception(
            "bias_first_entries",
            "The bias keeps its first numbers, or all. Each belongs to an expert and goes where that goes.",
            wrong=_but(lambda out, given: (out[0], given[1][: given[4]], *out[2:])),
            also=(_but(lambda out, given: (out[0], given[1], *out[2:])),),
            hint=2,
        ),
        Misconception(
            "experts_first_rows",
            "Router and bias are cut rightly, and the experts are simply the first ones.",
            wrong=_but(lambda out, given: (*out[:2], given[2][: given[4]], out[3])),
            also=(_but(lambda out, given: (*out[:2], given[2], out[3])),),
            hint=2,
        ),
        Misconception(
            "ids_not_renumbered",
            "The ids are still the old ones. There is no row with such a number any more, or it is another "
            "expert's: look the new number up.",
            wrong=_but(lambda out, given: (*out[:3], _old_ids(given[3], given[4], given[5]))),
            also=(_but(lambda out, given: (*out[:3], given[5])),),
            hint=3,
        ),
        Misconception(
            "ids_by_rank",
            "The rows are in order of id, and the new numbers are ranks in saliency. The number must be the "
            "row's place in what you return.",
            wrong=_by_rank,
            hint=3,
        ),
        Misconception(
            "removed_become_0",
            "Tokens whose expert is gone have the number 0. That is a real expert, and it would get all of "
            "them. They need a number that no expert has.",
            wrong=_but(lambda out, given: (*out[:3], out[3].clamp(min=0))),
            hint=3,
        ),
        Misconception(
            "ids_modulo",
            "The ids were taken modulo the new number of experts. That gives everybody *some* expert, and "
            "hardly anybody their own.",
            wrong=_but(lambda out, given: (*out[:3], given[5] % given[4])),
            also=(_but(lambda out, given: (*out[:3], given[5].clamp(max=given[4] - 1))),),
            hint=3,
        ),
        Misconception(
            "given_to_a_neighbour",
            "Tokens whose expert is gone were given to a neighbour of it. Their router decides that, with "
            "new logits; here they are marked by -1.",
            wrong=_next_best,
            also=(_one_before,),
            hint=3,
        ),
        Misconception(
            "marked_late",
            "The ids were renumbered, and then looked for among the *old* ids that are kept. By then a "
            "number means another expert: tokens of kept ones are marked as gone. Mark before that.",
            wrong=_marked_late,
            hint=3,
        ),
        Misconception(
            "numbered_from_1",
            "The new numbers begin with 1. Rows are counted from 0.",
            wrong=_shifted,
            hint=3,
        ),
        Misconception(
            "zeroed_not_removed",
            "The rows were set to 0, and nothing was taken out. A router row of 0 has the logit 0, which "
            "beats every negative one: tokens go on choosing experts that answer with nothing.",
            wrong=_zeroed(lambda b: torch.zeros_like(b)),
            also=(
                _zeroed(lambda b: b),
                _zeroed(lambda b: torch.full_like(b, -1e9)),
                lambda r, b, x, s, n, ids: (
                    *_zeroed(lambda bias: torch.zeros_like(bias))(r, b, x, s, n, ids)[:3],
                    _old_ids(s, n, ids),
                ),
                lambda r, b, x, s, n, ids: (
                    *_zeroed(lambda bias: torch.zeros_like(bias))(r, b, x, s, n, ids)[:3],
                    reference(r, b, x, s, n, ids)[3],
                ),
            ),
            hint=2,
        ),
    ),
    hints=(
        "Which ids are kept, in ascending order? Everything else follows from that one list.",
        "`saliency_E.topk(n_keep).indices.sort().values` is the list. Whatever has a row for each expert is "
        "indexed by it: three times the same index.",
        "A table of E numbers, all -1, in which the kept ids hold 0, 1, 2, ...: `new_E[topk_ids_TK]` looks "
        "every id up at once.",
    ),
    notice=(
        "In a checkpoint there is more that counts experts: `num_experts` in the config, group sizes, and "
        "`top_k`, which must not exceed what is left."
    ),
)
