"""Exercise 16.product_keys: the best of N times M keys for N plus M products."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Found = tuple[Tensor, Tensor]
SHAPES = ((5, 3, 7, 9, 4), (3, 4, 12, 10, 9), (4, 2, 6, 8, 5))


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Tables of different sizes, K a square and not; the best are clearly apart from the rest."""
    cases = []
    for n_tokens, half, n_first, n_second, top_k in SHAPES:
        while True:
            query_TP = rng.normal(size=(n_tokens, 2 * half)).astype(np.float32)
            first_NH = rng.normal(size=(n_first, half)).astype(np.float32)
            second_MH = rng.normal(size=(n_second, half)).astype(np.float32)
            ranked_TS = -np.sort(-_all_sums(query_TP, first_NH, second_MH), axis=1)
            gaps = ranked_TS[:, :top_k] - ranked_TS[:, 1 : top_k + 1]
            if gaps.min() > 1e-3:
                break
        args: dict[str, Any] = {
            "query_TP": query_TP,
            "first_NH": first_NH,
            "second_MH": second_MH,
            "top_k": top_k,
        }
        cases.append(Case(f"T={n_tokens}, N={n_first}, M={n_second}, K={top_k}", args))
    return cases


def _all_sums(query_TP: Any, first_NH: Any, second_MH: Any) -> Any:
    half = first_NH.shape[1]
    first_TN, second_TM = query_TP[:, :half] @ first_NH.T, query_TP[:, half:] @ second_MH.T
    return (first_TN[:, :, None] + second_TM[:, None, :]).reshape(len(query_TP), -1)


def _found(
    query_TP: Tensor,
    first_NH: Tensor,
    second_MH: Tensor,
    top_k: int,
    *,
    each: Callable[[int], int] = lambda k: k,
    join: Callable[[Tensor, Tensor], Tensor] = lambda a, b: a + b,
    stride: Callable[[int, int, int], int] = lambda n, m, k: m,
    turned: bool = False,
    largest: bool = True,
    split: Callable[[Tensor, int], Found] = lambda q, half: (q[:, :half], q[:, half:]),
) -> Found:
    """The right look-up; the mistakes are its variants."""
    left_TH, right_TH = split(query_TP, first_NH.shape[1])
    n = min(max(1, each(top_k)), len(first_NH), len(second_MH))
    first_TK, rows_TK = (left_TH @ first_NH.T).topk(n, largest=largest)
    second_TK, columns_TK = (right_TH @ second_MH.T).topk(n, largest=largest)
    sums_TS = join(first_TK.unsqueeze(2), second_TK.unsqueeze(1)).flatten(1)
    scores_TK, places_TK = sums_TS.topk(min(top_k, n * n), largest=largest)
    i, j = (places_TK % n, places_TK // n) if turned else (places_TK // n, places_TK % n)
    by = stride(len(first_NH), len(second_MH), n)
    return rows_TK.gather(1, i) * by + columns_TK.gather(1, j), scores_TK


def reference(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> Found:
    """The K best of the K times K sums of the best halves."""
    return _found(query_TP, first_NH, second_MH, top_k)


def _but(**how: Any) -> Callable[..., Found]:
    return lambda q, a, b, k: _found(q, a, b, k, **how)


def _scores(change: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Found]:
    """The right ids, with other scores made of: scores, query, and both tables."""

    def wrong(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> Found:
        ids_TK, scores_TK = reference(query_TP, first_NH, second_MH, top_k)
        half = first_NH.shape[1]
        firsts_TK = (query_TP[:, :half] @ first_NH.T).gather(1, ids_TK // len(second_MH))
        return ids_TK, change(scores_TK, firsts_TK, query_TP, first_NH)

    return wrong


def _paired(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> Found:
    half = first_NH.shape[1]
    first_TK, rows_TK = (query_TP[:, :half] @ first_NH.T).topk(top_k)
    second_TK, columns_TK = (query_TP[:, half:] @ second_MH.T).topk(top_k)
    return rows_TK * len(second_MH) + columns_TK, first_TK + second_TK


def _places(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int, step: int = 0) -> Found:
    left_TH, right_TH = query_TP.tensor_split([first_NH.shape[1]], dim=1)
    first_TK, second_TK = (left_TH @ first_NH.T).topk(top_k)[0], (right_TH @ second_MH.T).topk(top_k)[0]
    scores_TK, places_TK = (first_TK.unsqueeze(2) + second_TK.unsqueeze(1)).flatten(1).topk(top_k)
    return places_TK // top_k * (step or top_k) + places_TK % top_k, scores_TK


def _one_row(of_first: bool) -> Callable[..., Found]:
    def wrong(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> Found:
        half = first_NH.shape[1]
        sizes = (1, top_k) if of_first else (top_k, 1)
        first_TX, rows_TX = (query_TP[:, :half] @ first_NH.T).topk(sizes[0])
        second_TX, columns_TX = (query_TP[:, half:] @ second_MH.T).topk(sizes[1])
        return rows_TX * len(second_MH) + columns_TX, first_TX + second_TX

    return wrong


def _swapped(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> Found:
    ids_TK, scores_TK = reference(query_TP, first_NH, second_MH, top_k)
    M = len(second_MH)
    return ids_TK % M * len(first_NH) + ids_TK // M, scores_TK


def by_id(outputs: dict[str, Any]) -> dict[str, Any]:
    """Both outputs in the order of the ids."""
    ids_TK, scores_TK = np.asarray(outputs["ids_TK"]), np.asarray(outputs["scores_TK"])
    if ids_TK.ndim != 2 or ids_TK.shape != scores_TK.shape:
        return outputs
    order_TK = np.argsort(ids_TK, axis=1, kind="stable")
    return {
        "ids_TK": np.take_along_axis(ids_TK, order_TK, 1),
        "scores_TK": np.take_along_axis(scores_TK, order_TK, 1),
    }


def _truth(case: Case, got: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums_TS = _all_sums(case.args["query_TP"], case.args["first_NH"], case.args["second_MH"])
    ids_TK = np.asarray(got["ids_TK"], dtype=np.int64)
    return sums_TS, ids_TK, np.asarray(got["scores_TK"], dtype=float)


def _scores_fit(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_TS, ids_TK, scores_TK = _truth(case, got)
    if ids_TK.min() < 0 or ids_TK.max() >= sums_TS.shape[1]:
        return f"there are {sums_TS.shape[1]} keys, numbered from 0; one of the ids is {ids_TK.max()}"
    gap = np.abs(np.take_along_axis(sums_TS, ids_TK, 1) - scores_TK).max()
    return f"a score is off by {gap:.3g} from that of its key" if gap > 1e-3 else None


def _none_better(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_TS, ids_TK, _ = _truth(case, got)
    if ids_TK.min() < 0 or ids_TK.max() >= (left_TS := sums_TS.copy()).shape[1]:
        return None
    np.put_along_axis(left_TS, ids_TK, -np.inf, 1)
    missed = int((left_TS.max(1) > np.take_along_axis(sums_TS, ids_TK, 1).min(1) + 1e-4).sum())
    return f"for {missed} of {len(ids_TK)} queries a better key is left out" if missed else None


PRODUCT_KEYS = Exercise(
    id="16.product_keys",
    title="The best of N · M keys",
    task=(
        "Key `i · M + j` is row i of `first_NH` followed by row j of `second_MH`; its score is its inner "
        "product with a query of width `2 H`, so the sum of two inner products. Return the ids `[T, K]` of "
        "the `top_k` keys with the highest scores, in any order, and their scores. Do it without scoring all "
        "N · M keys. K is at most N and at most M."
    ),
    entry="product_keys",
    points=3,
    minutes=20,
    difficulty=3,
    outputs=(Output("ids_TK", "TK", kind="int"), Output("scores_TK", "TK")),
    draw=draw,
    reference=reference,
    gradient="ignored",
    canonical=by_id,
    properties=(
        Property("scores are those of the ids", _scores_fit),
        Property("no better key is left out", _none_better),
    ),
    misconceptions=(
        Misconception(
            "root_of_k_from_each",
            "Fewer than K candidates are taken from each table. The K best sums may all share one first "
            "half, and then need K different second halves. So take K from each.",
            wrong=_but(each=math.isqrt),
            also=(
                _but(each=lambda k: math.ceil(k**0.5)),
                _but(each=lambda k: math.isqrt(k) + 1),
                _but(each=lambda k: -(-k // 2)),
                _but(each=lambda k: max(k // 2, math.ceil(k**0.5))),
            ),
            hint=1,
        ),
        Misconception(
            "paired_not_crossed",
            "The best first half is put with the best second half, the next with the next, and so on. Any "
            "first half can stand with any second one: look at all K x K sums.",
            wrong=_paired,
            hint=2,
        ),
        Misconception(
            "one_half_fixed",
            "One half is always the best of its table, and only the other one varies. The runner-up of both "
            "tables can make a better pair: look at all K x K sums.",
            wrong=_one_row(True),
            also=(_one_row(False),),
            hint=2,
        ),
        Misconception(
            "halves_swapped",
            "The second half of the query meets the first table. A key has the row of `first_NH` in front.",
            wrong=_but(split=lambda q, half: (q[:, half:], q[:, :half])),
            hint=2,
        ),
        Misconception(
            "taken_in_turn",
            "The query was taken apart number by number, even places for one table and odd ones for the "
            "other. Its halves are runs: the first H numbers, and the last H.",
            wrong=_but(split=lambda q, half: (q[:, ::2], q[:, 1::2])),
            hint=2,
        ),
        Misconception(
            "ids_swapped",
            "The ids are numbered `j · N + i`. Key `i · M + j` has i from the first table: M keys share "
            "each i.",
            wrong=_swapped,
            hint=3,
        ),
        Misconception(
            "positions_not_ids",
            "The ids are places in the K x K block of sums. Look up which rows of the tables stand there: "
            "`gather` the ids that `topk` gave for each half.",
            wrong=_places,
            also=(lambda q, a, b, k: _places(q, a, b, k, len(b)),),
            hint=3,
        ),
        Misconception(
            "stride_of_the_other_table",
            "The first half's row is multiplied by N. Each of the N first rows has M keys, one for each "
            "second row: multiply by M.",
            wrong=_but(stride=lambda n, m, k: n),
            hint=3,
        ),
        Misconception(
            "stride_k",
            "The first half's row is multiplied by K. That is the width of the block of candidates; the ids "
            "count all M second rows.",
            wrong=_but(stride=lambda n, m, k: k),
            hint=3,
        ),
        Misconception(
            "row_and_column_mixed_up",
            "Rows and columns of the K x K block were mixed up: after `flatten`, place `p` lies in row "
            "`p // K` and column `p % K`, and the rows belong to the table that was put on the first axis.",
            wrong=_but(turned=True),
            hint=3,
        ),
        Misconception(
            "scores_multiplied",
            "The two halves' scores are multiplied, or the larger one is taken. The inner product with a "
            "joined vector is the *sum* of those of its parts.",
            wrong=_but(join=lambda a, b: a * b),
            also=(_but(join=torch.maximum),),
            hint=1,
        ),
        Misconception(
            "scores_of_the_halves",
            "The ids are right; the scores are those of one half only. A key's score is the sum of both.",
            wrong=_scores(lambda scores, firsts, q, a: firsts),
            also=(
                _scores(lambda scores, firsts, q, a: scores - firsts),
                lambda q, a, b, k: (reference(q, a, b, k)[0], (q[:, : a.shape[1]] @ a.T).topk(k).values),
            ),
            hint=1,
        ),
        Misconception(
            "scores_softmaxed",
            "The ids are right, and the scores went through a softmax. Asked are the scores themselves; a "
            "layer makes weights of them later.",
            wrong=_scores(lambda scores, firsts, q, a: scores.softmax(-1)),
            hint=2,
        ),
        Misconception(
            "lowest",
            "These are the keys with the *lowest* scores.",
            wrong=_but(largest=False),
            hint=2,
        ),
    ),
    hints=(
        "Can a pair be among the K best if its first half is not among the K best first halves?",
        "`topk` on each half's scores, then all K x K sums: `a[:, :, None] + b[:, None, :]`.",
        "`.flatten(1).topk(K)` gives scores and places p; the first half is candidate `p // K`, the second "
        "`p % K`, and `gather` turns candidates into rows of the tables. The id is `i * M + j`.",
    ),
    notice=(
        "Scoring all N · M keys is right as well, and passes: for a thousand rows in each table that is a "
        "million inner products of width 2 H instead of two thousand of width H."
    ),
)
