"""Further mistakes in 12.locality and 12.saturation."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Case, Misconception, Outputs

Tensor = torch.Tensor
Answer = Callable[..., Any]


def _squares(experts: Tensor, n_experts: int) -> float:
    shares_E = torch.bincount(experts.flatten(), minlength=n_experts).double()
    return (shares_E / shares_E.sum()).square().sum().item()


def locality_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.locality: tokens left out of the loads or the pairs."""

    def repeated(of: Callable[[Tensor, Tensor], float]) -> Answer:
        return lambda x, n, e: (of(x, n), reference(x, n, e)[1])

    def chance(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
        return lambda x, n, e: (reference(x, n, e)[0], of(x, n, e))

    def real(x: Tensor, n: Tensor) -> Tensor:
        return torch.arange(x.shape[1]) < n[:, None]

    def later(x: Tensor, n: Tensor, e: int) -> float:
        return _squares(x[:, 1:][real(x, n)[:, 1:]], e)

    def earlier(x: Tensor, n: Tensor, e: int) -> float:
        return _squares(x[:, :-1][real(x, n)[:, 1:]], e)

    def entropy(x: Tensor, n: Tensor, e: int) -> float:
        shares_E = torch.bincount(x[real(x, n)], minlength=e).double()
        return torch.special.entr(shares_E / shares_E.sum()).sum().item()

    def some_left_out(x: Tensor, kept: Tensor, pairs: Tensor, e: int) -> tuple[float, float]:
        alike = (x[:, 1:] == x[:, :-1]) & pairs
        return alike.sum().item() / pairs.sum().item(), _squares(x[kept], e)

    def both_used(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        used = x != 0
        return some_left_out(x, used, used[:, 1:] & used[:, :-1], e)

    def later_used(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        return some_left_out(x, x != 0, (x != 0)[:, 1:], e)

    def alike_and_used(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        pairs = real(x, n)[:, 1:]
        return ((x[:, 1:] == x[:, :-1]) & pairs & (x[:, 1:] != 0)).sum().item() / pairs.sum().item(), 0.0

    def without_first(x: Tensor, n: Tensor, e: int) -> float:
        shares_E = torch.bincount(x[real(x, n)], minlength=e).double() / n.sum()
        return shares_E[1:].square().sum().item()

    def shortest(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        cut = x[:, : int(n.min())]
        return (cut[:, 1:] == cut[:, :-1]).double().mean().item(), _squares(cut, e)

    def full_only(x: Tensor, n: Tensor, e: int) -> tuple[float, float]:
        whole = x[n == x.shape[1]]
        return (whole[:, 1:] == whole[:, :-1]).double().mean().item(), _squares(whole, e)

    def one_short(x: Tensor, n: Tensor, e: int) -> float:
        """The pair at the end of each window is left out."""
        pairs = torch.arange(x.shape[1] - 1) < n[:, None] - 2
        return ((x[:, 1:] == x[:, :-1]) & pairs).sum().item() / max(pairs.sum().item(), 1)

    def alike_pairs(x: Tensor, n: Tensor) -> float:
        return ((x[:, 1:] == x[:, :-1]) & real(x, n)[:, 1:]).sum().item()

    return (
        Misconception(
            "expert_0_left_out",
            "Expert 0 was taken for padding. Behind the end of a window 0 means nothing, but *inside* one it "
            "is an expert like any other: the lengths say which is which.",
            wrong=both_used,
            also=(
                later_used,
                lambda x, n, e: (both_used(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (later_used(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (alike_and_used(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (alike_and_used(x, n, e)[0], both_used(x, n, e)[1]),
                chance(lambda x, n, e: both_used(x, n, e)[1]),
                chance(without_first),
            ),
            hint=2,
        ),
        Misconception(
            "loads_of_some",
            "The loads are those of some of the tokens: of the later ones of all pairs, or of the earlier "
            "ones. $p_e$ is a share of *all* real tokens.",
            wrong=chance(later),
            also=(chance(earlier), chance(lambda x, n, e: (later(x, n, e) + earlier(x, n, e)) / 2)),
            hint=3,
        ),
        Misconception(
            "windows_left_out",
            "Windows were cut to the shortest one's length, or only full ones were looked at. Every window "
            "counts, up to its own end.",
            wrong=shortest,
            also=(
                full_only,
                lambda x, n, e: (shortest(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (full_only(x, n, e)[0], reference(x, n, e)[1]),
                lambda x, n, e: (one_short(x, n, e), reference(x, n, e)[1]),
            ),
            hint=2,
        ),
        Misconception(
            "wrong_number_of_pairs",
            "The repeats are counted well and divided by another number of pairs. A window of n tokens has "
            "n - 1 of them, so each window takes one off, not all of them together.",
            wrong=repeated(lambda x, n: alike_pairs(x, n) / (n.sum().item() - 1)),
            also=(
                repeated(lambda x, n: alike_pairs(x, n) / (n.sum().item() + len(n))),
                repeated(lambda x, n: alike_pairs(x, n) / (n.sum().item() - len(n) - 1)),
                repeated(lambda x, n: alike_pairs(x, n) / (n.sum().item() - 2 * len(n))),
            ),
            hint=2,
        ),
        Misconception(
            "entropy_for_chance",
            "Chance was replaced by the entropy of the loads. An entropy says how even they are, in bits; "
            "how often two draws agree is $\\sum_e p_e^2$.",
            wrong=chance(entropy),
            also=(
                chance(lambda x, n, e: entropy(x, n, e) / math.log(2)),
                chance(lambda x, n, e: entropy(x, n, e) / math.log(e)),
                chance(lambda x, n, e: 1 - entropy(x, n, e) / math.log(e)),
                chance(lambda x, n, e: 2 ** -entropy(x, n, e)),
            ),
            hint=3,
        ),
        Misconception(
            "spread_for_chance",
            "Chance was made of the spread of the loads, or of their mean square: there the experts' number "
            "stands below. The squares are added up, not averaged.",
            wrong=chance(lambda x, n, e: reference(x, n, e)[1] / e),
            also=(
                chance(lambda x, n, e: reference(x, n, e)[1] - 1 / e),
                chance(lambda x, n, e: math.sqrt(max(0.0, reference(x, n, e)[1] / e - 1 / e**2))),
                chance(lambda x, n, e: e * reference(x, n, e)[1]),
                chance(lambda x, n, e: 1 / reference(x, n, e)[1]),
            ),
            hint=3,
        ),
    )


def _chosen(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return F.one_hot(topk_ids_TK, n_experts).sum(dim=1).double()


_PAIRINGS = (1, 2, 3, 5, 10, 20)


def _few_pairings(case: Case, got: Outputs, want: Outputs) -> bool:
    """The right overlap; for chance a number that one pairing of the tokens can give, or a mean of few."""
    n_tokens, top_k = np.asarray(case.args["then_TK"]).shape
    if abs(float(got["overlap"]) - float(want["overlap"])) > 1e-5:
        return False
    chance = float(got["by_chance"])
    if abs(chance - float(want["by_chance"])) < 1e-5:
        return True
    steps = [chance * n_tokens * top_k * n for n in _PAIRINGS]
    near = abs(chance - float(want["by_chance"])) < 0.15
    return near and any(abs(s - round(s)) < 1e-4 * n for s, n in zip(steps, _PAIRINGS, strict=True))


def saturation_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.saturation: loads where tokens are asked for, experts where tokens are."""

    def overlap(of: Callable[[Tensor, Tensor, int], float]) -> Answer:
        return lambda a, b, e: (of(a, b, e), reference(a, b, e)[1])

    def loads(a: Tensor, b: Tensor, e: int) -> tuple[Tensor, Tensor]:
        p, q = (_chosen(ids, e).mean(dim=0) for ids in (a, b))
        return p / p.sum(), q / q.sum()

    def kept(a: Tensor, b: Tensor, e: int) -> tuple[Tensor, Tensor, Tensor]:
        a_TE, b_TE = _chosen(a, e), _chosen(b, e)
        return (a_TE * b_TE).sum(dim=0), a_TE.sum(dim=0), b_TE.sum(dim=0)

    def by_expert(a: Tensor, b: Tensor, e: int) -> float:
        both, _, later = kept(a, b, e)
        return (both / later.clamp(min=1)).mean().item()

    def by_earlier(a: Tensor, b: Tensor, e: int) -> float:
        both, before, _ = kept(a, b, e)
        return (both / before.clamp(min=1)).mean().item()

    def of_used(a: Tensor, b: Tensor, e: int) -> float:
        both, _, later = kept(a, b, e)
        return (both / later)[later > 0].mean().item()

    def cosine(a: Tensor, b: Tensor, e: int) -> float:
        return F.cosine_similarity(*loads(a, b, e), dim=0).item()

    def top_experts(a: Tensor, b: Tensor, e: int) -> float:
        """The K most popular experts of both, compared."""
        best = [set(_chosen(ids, e).sum(dim=0).topk(a.shape[1]).indices.tolist()) for ids in (a, b)]
        return len(best[0] & best[1]) / a.shape[1]

    def first_met(a: Tensor, b: Tensor, e: int) -> float:
        return (a == b[:, :1]).any(dim=1).double().mean().item()

    def first_found(a: Tensor, b: Tensor, e: int) -> float:
        return (b == a[:, :1]).any(dim=1).double().mean().item()

    return (
        Misconception(
            "loads_compared",
            "The two *loads* were compared, not the tokens' sets. Loads can be the same while every token "
            "has changed its experts. Count token by token.",
            wrong=overlap(lambda a, b, e: torch.minimum(*loads(a, b, e)).sum().item()),
            also=(
                overlap(cosine),
                overlap(lambda a, b, e: 1 - (loads(a, b, e)[0] - loads(a, b, e)[1]).abs().sum().item()),
                overlap(lambda a, b, e: a.shape[1] * torch.minimum(*loads(a, b, e)).sum().item()),
                overlap(top_experts),
            ),
            hint=2,
        ),
        Misconception(
            "mean_over_experts",
            "This is the mean over experts: one with two tokens counts as much as one with half of them. "
            "Asked is the mean over tokens.",
            wrong=overlap(by_expert),
            also=(overlap(by_earlier), overlap(of_used)),
            hint=2,
        ),
        Misconception(
            "all_with_all",
            "The overlap was taken over all pairs of tokens, so that it comes out as chance. It compares "
            "each token with *itself*, then and finally.",
            wrong=overlap(lambda a, b, e: reference(a, b, e)[1]),
            hint=2,
        ),
        Misconception(
            "itself_for_chance",
            "Chance was taken over the tokens' own pairs, so that it comes out as the overlap. By chance "
            "means that a token's final set meets the earlier set of *any* token.",
            wrong=lambda a, b, e: (reference(a, b, e)[0], reference(a, b, e)[0]),
            hint=3,
        ),
        Misconception(
            "one_of_the_first",
            "Only one slot of the one set was looked for in the other. All K of a token's experts count.",
            wrong=overlap(first_met),
            also=(overlap(first_found),),
            hint=2,
        ),
        Misconception(
            "one_other_pairing",
            "Chance was measured on one other pairing of the tokens, or on few: moved, turned round or "
            "shuffled. Asked is the mean over all T x T pairs, and that has a formula.",
            detects=_few_pairings,
            hint=3,
        ),
    )
