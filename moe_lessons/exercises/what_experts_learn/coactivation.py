"""Exercise 12.coactivation: who is chosen with whom, and how far beyond what the loads explain."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

Tensor = torch.Tensor
Pair = tuple[Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Uneven loads, K from 2 to 4, every expert chosen at least once and in the first slot."""
    cases = []
    for n_tokens, top_k, n_experts in ((40, 2, 5), (50, 3, 6), (60, 4, 7), (30, 2, 4)):
        favour_E = rng.dirichlet(np.full(n_experts, 2.0)) + 0.02
        favour_E /= favour_E.sum()
        rows = [rng.choice(n_experts, top_k, replace=False, p=favour_E) for _ in range(n_tokens)]
        for expert in range(n_experts):
            others = [e for e in range(n_experts) if e != expert]
            rows[expert] = np.array([expert, *rng.choice(others, top_k - 1, replace=False)])
        cases.append(
            Case(
                f"T={n_tokens}, K={top_k}, E={n_experts}",
                {"topk_ids_TK": np.stack(rows), "n_experts": n_experts},
            )
        )
    return cases


def _counts(topk_ids_TK: Tensor, n_experts: int) -> tuple[Tensor, Tensor]:
    """Tokens that choose both of two experts (the diagonal included), and each expert's own."""
    chosen_TE = F.one_hot(topk_ids_TK, n_experts).sum(dim=1).double()
    both_EE = chosen_TE.T @ chosen_TE
    return both_EE, both_EE.diagonal().clone()


def _expected(topk_ids_TK: Tensor, n_E: Tensor) -> Tensor:
    """Share of expert i's tokens that would have j too, if the other choices went by load."""
    return (topk_ids_TK.shape[1] - 1) * n_E[None, :] / (n_E.sum() - n_E)[:, None]


def reference(topk_ids_TK: Tensor, n_experts: int) -> Pair:
    """Counts of pairs over the row expert's tokens; that over the expectation; diagonals 0."""
    both_EE, n_E = _counts(topk_ids_TK, n_experts)
    given_EE = (both_EE / n_E[:, None]).fill_diagonal_(0)
    return given_EE.float(), (given_EE / _expected(topk_ids_TK, n_E)).float()


Made = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""Of the ids, the counts of pairs, those of experts, and E."""


def _made(
    given: Made | None = None, lift: Made | None = None, *, diagonal: bool = False
) -> Callable[..., Pair]:
    """An answer with another `given_EE`, another lift, or both; 0 on the diagonal unless it is kept."""

    def answer(topk_ids_TK: Tensor, n_experts: int) -> Pair:
        both_EE, n_E = _counts(topk_ids_TK, n_experts)
        found = list(reference(topk_ids_TK, n_experts))
        for place, make in enumerate((given, lift)):
            if make is not None:
                found[place] = make(topk_ids_TK, both_EE, n_E, n_experts).clone()
                if not diagonal:
                    found[place].fill_diagonal_(0)
        return found[0], found[1]

    return answer


def _lift_over(expected: Made) -> Callable[..., Pair]:
    return _made(lift=lambda ids, both, n, e: both / n[:, None] / expected(ids, both, n, e))


def _ordered(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """Pairs counted once, from an earlier slot to a later one."""
    both_EE = torch.zeros(n_experts, n_experts, dtype=torch.double)
    for first in range(topk_ids_TK.shape[1]):
        for second in range(first + 1, topk_ids_TK.shape[1]):
            places = topk_ids_TK[:, first], topk_ids_TK[:, second]
            both_EE.index_put_(places, torch.ones(len(topk_ids_TK), dtype=torch.double), accumulate=True)
    return both_EE


def _ordered_pairs(topk_ids_TK: Tensor, n_experts: int) -> Pair:
    _, n_E = _counts(topk_ids_TK, n_experts)
    given_EE = _ordered(topk_ids_TK, n_experts) / n_E[:, None]
    return given_EE, given_EE / _expected(topk_ids_TK, n_E)


COACTIVATION = Exercise(
    id="12.coactivation",
    title="Who is chosen with whom?",
    task=(
        "Each row of `topk_ids_TK` holds K different experts; every expert is chosen by some token. Let "
        "$n_i$ be the tokens that choose expert i, and $n_{ij}$ those that choose both i and j. Return two "
        "tables, 0 on the diagonal: `given_EE[i, j]` $= n_{ij} / n_i$, the share of i's tokens that have j "
        "too; and `lift_EE[i, j]`, that share divided by what the loads alone would give: the $K - 1$ other "
        "choices of a token of i, spread over all choices that are not i's, would fall on j "
        "$(K - 1)\\, n_j / (T K - n_i)$ times."
    ),
    entry="coactivation",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("given_EE", "EE"), Output("lift_EE", "EE")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "diagonal_kept",
            'The diagonal is not 0. Every token that chooses an expert has it "together with itself": that '
            "says nothing about pairs.",
            wrong=_made(
                lambda ids, both, n, e: both / n[:, None],
                lambda ids, both, n, e: both / n[:, None] / _expected(ids, n),
                diagonal=True,
            ),
            also=(_made(lambda ids, both, n, e: both / n[:, None], diagonal=True),),
            hint=2,
        ),
        Misconception(
            "transposed",
            "Divided by the other expert's tokens: this is the share of *j's* tokens that have i too. A "
            "rare expert may be always with a popular one, and not the other way round. Row i is divided "
            "by $n_i$.",
            wrong=_made(lambda ids, both, n, e: both / n[None, :]),
            also=(
                _made(
                    lambda ids, both, n, e: both / n[None, :],
                    lambda ids, both, n, e: both / n[None, :] / _expected(ids, n),
                ),
                _made(
                    lambda ids, both, n, e: both / n[None, :],
                    lambda ids, both, n, e: (both / n[:, None] / _expected(ids, n)).T,
                ),
            ),
            hint=2,
        ),
        Misconception(
            "share_of_tokens",
            "The counts were divided by T: the share of *all* tokens that choose both. Asked is the share of "
            "the tokens of expert i.",
            wrong=_made(lambda ids, both, n, e: both / len(ids)),
            also=(
                _made(
                    lambda ids, both, n, e: both / len(ids),
                    lambda ids, both, n, e: both / len(ids) / _expected(ids, n),
                ),
                _made(lambda ids, both, n, e: both),
                _made(
                    lambda ids, both, n, e: both,
                    lambda ids, both, n, e: both / _expected(ids, n),
                ),
            ),
            hint=2,
        ),
        Misconception(
            "jaccard",
            "The counts were divided by the tokens that choose i *or* j (the Jaccard index). Asked is the "
            "share of the tokens of expert i alone.",
            wrong=_made(lambda ids, both, n, e: both / (n[:, None] + n[None, :] - both)),
        ),
        Misconception(
            "even_chance",
            "The lift was taken over an even chance, $(K-1)/(E-1)$ or $K/E$. A popular expert is in many "
            "pairs for no other reason than its load: that is what the expectation has to know.",
            wrong=_lift_over(lambda ids, both, n, e: torch.tensor((ids.shape[1] - 1) / (e - 1))),
            also=(
                _lift_over(lambda ids, both, n, e: torch.tensor(ids.shape[1] / e)),
                _lift_over(lambda ids, both, n, e: torch.tensor((ids.shape[1] - 1) / e)),
            ),
        ),
        Misconception(
            "share_of_all_tokens",
            "The lift was taken over $n_j / T$, the share of all tokens that choose j. A token of i has only "
            "K - 1 choices left, so this expects too much.",
            wrong=_lift_over(lambda ids, both, n, e: n[None, :] / len(ids)),
            hint=3,
        ),
        Misconception(
            "k_draws",
            "The expectation gives a token of i all K choices for others. One of them is i itself: K - 1 are "
            "left.",
            wrong=_lift_over(lambda ids, both, n, e: _expected(ids, n) * ids.shape[1] / (ids.shape[1] - 1)),
            hint=3,
        ),
        Misconception(
            "one_draw",
            "The expectation gives a token of i one other choice. It has K - 1.",
            wrong=_lift_over(lambda ids, both, n, e: _expected(ids, n) / (ids.shape[1] - 1)),
            hint=3,
        ),
        Misconception(
            "one_draw_of_all",
            "The expectation is one draw of all T K choices, $n_j / (T K)$. A token of i has K - 1 other "
            "choices, and none of them can fall on i again.",
            wrong=_lift_over(lambda ids, both, n, e: n[None, :] / n.sum()),
            hint=3,
        ),
        Misconception(
            "symmetric",
            "`given_EE` was made symmetric. A rare expert may be always with a popular one, and not the "
            "other way round: rows and columns mean different things here.",
            wrong=_made(lambda ids, both, n, e: (both / n[:, None] + both / n[None, :]) / 2),
            also=(
                _made(lambda ids, both, n, e: both / (n[:, None] * n[None, :]).sqrt()),
                _made(lambda ids, both, n, e: both / torch.minimum(n[:, None], n[None, :])),
            ),
            hint=2,
        ),
        Misconception(
            "own_load",
            "In the expectation the loads of i and j have changed places: how often the other choices fall "
            "on j depends on how popular *j* is, and i's own choices are left out of the total.",
            wrong=_lift_over(lambda ids, both, n, e: _expected(ids, n).T),
            also=(
                _lift_over(lambda ids, both, n, e: (ids.shape[1] - 1) * n[:, None] / (n.sum() - n)[:, None]),
                _lift_over(lambda ids, both, n, e: (ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[None, :]),
            ),
            hint=3,
        ),
        Misconception(
            "own_choices_left_in",
            "The expectation spreads the other choices over all T K choices. None of them can fall on i "
            "again: take $n_i$ off the total.",
            wrong=_lift_over(lambda ids, both, n, e: (ids.shape[1] - 1) * n[None, :] / n.sum()),
            hint=3,
        ),
        Misconception(
            "tokens_for_choices",
            "The expectation is divided by T less the tokens of i. What is shared out are *choices*: there "
            "are T K of them, and $n_i$ are i's own.",
            wrong=_lift_over(
                lambda ids, both, n, e: (ids.shape[1] - 1) * n[None, :] / (len(ids) - n)[:, None]
            ),
            hint=3,
        ),
        Misconception(
            "first_two_slots",
            "Only the first two slots were paired. With K experts a token has K (K - 1) / 2 pairs. That is "
            "one only where K is 2.",
            wrong=lambda ids, e: reference(ids[:, :2], e),
            also=(
                _made(
                    lambda ids, both, n, e: _counts(ids[:, :2], e)[0] / n[:, None],
                    lambda ids, both, n, e: _counts(ids[:, :2], e)[0] / n[:, None] / _expected(ids, n),
                ),
            ),
            hint=2,
        ),
        Misconception(
            "ordered_pairs",
            "Each pair was counted in one direction only, from an earlier slot to a later one. Being chosen "
            "together has no direction: count it for (i, j) and for (j, i).",
            wrong=_ordered_pairs,
            also=(
                lambda ids, e: tuple(table.T for table in _ordered_pairs(ids, e)),
                lambda ids, e: tuple(table.triu() for table in reference(ids, e)),
                lambda ids, e: tuple(table.tril() for table in reference(ids, e)),
            ),
            hint=2,
        ),
        Misconception(
            "difference",
            "The expectation was taken off the share, or the logarithm taken. A lift is a ratio: 1 means as "
            "often as the loads explain.",
            wrong=_made(lift=lambda ids, both, n, e: both / n[:, None] - _expected(ids, n)),
            also=(
                _made(lift=lambda ids, both, n, e: (both / n[:, None] / _expected(ids, n)).log()),
                _made(lift=lambda ids, both, n, e: (both / n[:, None] / _expected(ids, n)).log2()),
            ),
        ),
    ),
    hints=(
        "For two experts: which tokens chose both? And how many of them would you expect if you knew only "
        "how popular each is?",
        "A table [T, E] that is 1 where a token chooses an expert, times itself (`H.T @ H`), counts every "
        "pair; its diagonal is $n_i$. Set the diagonal to 0 at the end (`fill_diagonal_`).",
        "`given = both / n[:, None]`; the expectation is `(K - 1) * n[None, :] / (n.sum() - n)[:, None]`, "
        "where `n.sum()` is T K.",
    ),
    notice=(
        "The table is divided by its row's load, so it is not symmetric: a rare expert can be always with a "
        "popular one that is hardly ever with it."
    ),
)
