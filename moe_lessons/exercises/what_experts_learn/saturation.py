"""Exercise 12.saturation: how many of the final experts a token had already, and how many by chance."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output
from moe_lessons.exercises.what_experts_learn.more_chances import overlap_mistakes
from moe_lessons.exercises.what_experts_learn.more_traces import saturation_mistakes

Tensor = torch.Tensor
Answer = Callable[[Tensor, Tensor, int], tuple[float, float]]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sets in different orders, loads that moved on the way, K from 2 to 4."""
    cases = []
    for n_tokens, top_k, n_experts in ((30, 2, 6), (25, 3, 8), (40, 4, 9), (20, 2, 5)):
        favour_E = rng.dirichlet(np.full(n_experts, 1.5)) + 0.01
        favour_E /= favour_E.sum()
        then_TK = np.stack([rng.choice(n_experts, top_k, replace=False, p=favour_E) for _ in range(n_tokens)])
        finally_TK = then_TK.copy()
        for token in range(n_tokens):
            if rng.random() < 0.6:
                finally_TK[token] = rng.choice(n_experts, top_k, replace=False)
            else:
                finally_TK[token] = rng.permutation(then_TK[token])
        finally_TK[0] = then_TK[0][::-1]  # the same set, every expert in another slot or the middle one
        cases.append(
            Case(
                f"T={n_tokens}, K={top_k}, E={n_experts}",
                {"then_TK": then_TK, "finally_TK": finally_TK, "n_experts": n_experts},
            )
        )
    return cases


def _chosen(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return F.one_hot(topk_ids_TK, n_experts).sum(dim=1).double()


def _shared(then_TK: Tensor, finally_TK: Tensor, n_experts: int) -> Tensor:
    """How many experts each token has in common."""
    return (_chosen(then_TK, n_experts) * _chosen(finally_TK, n_experts)).sum(dim=1)


def _met(first_TK: Tensor, second_TK: Tensor, n_experts: int) -> float:
    """Shares of tokens that choose each expert, by the one and by the other, multiplied and added up."""
    first_E, second_E = (_chosen(ids, n_experts).mean(dim=0) for ids in (first_TK, second_TK))
    return (first_E * second_E).sum().item()


def reference(then_TK: Tensor, finally_TK: Tensor, n_experts: int) -> tuple[float, float]:
    """Common experts over K; the same with the two routers' sets paired at random."""
    top_k = then_TK.shape[1]
    found = _shared(then_TK, finally_TK, n_experts).mean().item() / top_k
    return found, _met(then_TK, finally_TK, n_experts) / top_k


def _overlap(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
    """Another overlap, beside the right chance."""
    return lambda a, b, e: (of(a, b, e), reference(a, b, e)[1])


def _chance(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
    """The right overlap, beside another chance."""
    return lambda a, b, e: (reference(a, b, e)[0], of(a, b, e))


def _whole_sets(a: Tensor, b: Tensor, e: int) -> float:
    return (a.sort(dim=1).values == b.sort(dim=1).values).all(dim=1).double().mean().item()


def _jaccard(a: Tensor, b: Tensor, e: int) -> float:
    shared_T = _shared(a, b, e)
    return (shared_T / (2 * a.shape[1] - shared_T)).mean().item()


def _sorted_slots(a: Tensor, b: Tensor, e: int) -> float:
    return (a.sort(dim=1).values == b.sort(dim=1).values).double().mean().item()


SATURATION = Exercise(
    id="12.saturation",
    title="When was it decided?",
    task=(
        "`then_TK` are each token's K experts at some step of training, `finally_TK` at the end, in no "
        "particular order; a row holds K different experts. Return two numbers: `overlap`, the mean over "
        "tokens of the share of its K final experts that it had already; and `by_chance`, the same if each "
        "token's final set were paired with the earlier set of *any* token, averaged over all T x T pairs. "
        "With the shares of tokens that choose expert e, $a_e$ then and $b_e$ finally, that is "
        "$\\frac{1}{K}\\sum_e a_e b_e$."
    ),
    entry="saturation",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("overlap"), Output("by_chance")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "slot_by_slot",
            "Slots were compared: first with first, second with second. A token that has the same experts "
            "in another order has them all the same. Compare sets.",
            wrong=_overlap(lambda a, b, e: (a == b).double().mean().item()),
            also=(_overlap(_sorted_slots),),
            hint=2,
        ),
        Misconception(
            "in_anybodys",
            "Each final expert was looked up among the earlier experts of *all* tokens, where nearly every "
            "expert is to be found. It has to be among those of the same token.",
            wrong=_overlap(lambda a, b, e: torch.isin(b, a).double().mean().item()),
            hint=2,
        ),
        Misconception(
            "k_over_e",
            "Chance is taken to be K/E, or 1/E. K/E holds where all experts are equally loaded; a popular "
            "one is in both sets more often than that, for no other reason than its load.",
            wrong=_chance(lambda a, b, e: a.shape[1] / e),
            also=(_chance(lambda a, b, e: 1 / e), _chance(lambda a, b, e: a.shape[1] ** 2 / e)),
        ),
        Misconception(
            "first_only",
            "Only the first slot was looked at. The order of the slots means nothing here: all K of a "
            "token's experts count.",
            wrong=lambda a, b, e: (
                (a[:, 0] == b[:, 0]).double().mean().item(),
                _met(a[:, :1], b[:, :1], e),
            ),
            also=(_overlap(lambda a, b, e: (a[:, 0] == b[:, 0]).double().mean().item()),),
            hint=2,
        ),
        Misconception(
            "whole_sets",
            "This counts the tokens whose set is the same as a whole. A token that kept one of two experts "
            "has an overlap of one half, not of 0.",
            wrong=_overlap(_whole_sets),
        ),
        Misconception(
            "any_common",
            "This counts the tokens that kept at least one expert. How many of the K they kept is lost.",
            wrong=_overlap(lambda a, b, e: (_shared(a, b, e) > 0).double().mean().item()),
        ),
        Misconception(
            "jaccard",
            "The common experts were divided by the union of the two sets (the Jaccard index). Asked is the "
            "share of the K final experts: divide by K.",
            wrong=_overlap(_jaccard),
            hint=3,
        ),
        Misconception(
            "counts",
            "These are numbers of experts. Asked are shares of K.",
            wrong=lambda a, b, e: tuple(a.shape[1] * x for x in reference(a, b, e)),
            also=(
                _overlap(lambda a, b, e: _shared(a, b, e).mean().item()),
                _chance(lambda a, b, e: _met(a, b, e)),
            ),
            hint=3,
        ),
        Misconception(
            "one_load_twice",
            "Chance was made of one router's load twice. The two sets come from two routers, and the loads "
            "moved during training: one factor from each.",
            wrong=_chance(lambda a, b, e: _met(a, a, e) / a.shape[1]),
            also=(_chance(lambda a, b, e: _met(b, b, e) / a.shape[1]),),
        ),
        Misconception(
            "load_shares",
            "Chance was made of shares of all *choices*, which add up to 1. A token makes K of them: here "
            "$a_e$ and $b_e$ are shares of the tokens, and add up to K.",
            wrong=_chance(lambda a, b, e: _met(a, b, e) / a.shape[1] ** 2),
            also=(_chance(lambda a, b, e: _met(a, b, e) / a.shape[1] ** 3),),
            hint=3,
        ),
        Misconception(
            "chance_subtracted",
            "Chance was taken off the overlap, or the overlap put in proportion to it. Return both numbers "
            "as they are.",
            wrong=_overlap(lambda a, b, e: reference(a, b, e)[0] - reference(a, b, e)[1]),
            also=(
                _overlap(lambda a, b, e: reference(a, b, e)[0] / reference(a, b, e)[1]),
                _overlap(
                    lambda a, b, e: (
                        (reference(a, b, e)[0] - reference(a, b, e)[1]) / (1 - reference(a, b, e)[1])
                    )
                ),
            ),
        ),
        Misconception(
            "absences_counted",
            "Experts that are in *neither* set were counted as agreement. With many experts nearly all of "
            "them are. Only what both sets hold counts.",
            wrong=_overlap(lambda a, b, e: (_chosen(a, e) == _chosen(b, e)).double().mean().item()),
            hint=2,
        ),
        Misconception(
            "changed",
            "This is the share of the final experts that are *new*. Asked is the share that was there "
            "before.",
            wrong=lambda a, b, e: (1 - reference(a, b, e)[0], 1 - reference(a, b, e)[1]),
            also=(_overlap(lambda a, b, e: 1 - reference(a, b, e)[0]),),
        ),
        *saturation_mistakes(reference),
        *overlap_mistakes(reference),
    ),
    hints=(
        "Two sets of K experts: how many do they have in common? And if you took the two sets from two "
        "strangers, when would expert e be in both?",
        "`then_TK[:, :, None] == finally_TK[:, None, :]` compares every slot with every slot of the same "
        "token; or make a table [T, E] that is 1 where a token chooses an expert.",
        "With such tables A and B: `(A * B).sum(dim=1).mean() / K`, and "
        "`(A.mean(dim=0) * B.mean(dim=0)).sum() / K`.",
    ),
    notice=(
        "Both numbers come from the same two tables of zeros and ones; chance is what is left when only "
        "their column means are kept."
    ),
)
