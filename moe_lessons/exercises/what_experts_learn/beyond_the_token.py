"""Exercise 12.beyond_the_token: what an expert tells of the domain that the token had not told."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output
from moe_lessons.exercises.what_experts_learn.bits import beyond, bits, miller_beyond, shared
from moe_lessons.exercises.what_experts_learn.more_information import INFORMATION_MISTAKES

Tensor = torch.Tensor
Measure = Callable[[Tensor, Tensor, Tensor], float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Tokens that betray their domain, experts that follow now the token, now the domain; gaps in the ids."""
    cases = []
    for n, n_experts, n_tokens, n_domains in ((60, 4, 6, 3), (80, 5, 7, 3), (50, 3, 5, 4), (70, 6, 4, 2)):
        domains_N = rng.integers(0, n_domains, n)
        follows_N = (2 * domains_N + rng.integers(0, 2, n)) % n_tokens
        tokens_N = np.where(rng.random(n) < 0.6, follows_N, rng.integers(0, n_tokens, n))
        by_domain_N = np.where(rng.random(n) < 0.5, domains_N % n_experts, rng.integers(0, n_experts, n))
        experts_N = np.where(rng.random(n) < 0.5, tokens_N % n_experts, by_domain_N)
        tokens_N[0], domains_N[0], experts_N[0] = n_tokens - 1, n_domains - 1, n_experts - 1
        tokens_N = np.where(tokens_N == 1, n_tokens + 3, tokens_N)  # an id between two others does not occur
        args = {"experts_N": experts_N, "tokens_N": tokens_N, "domains_N": domains_N}
        name = f"{n} tokens of {n_tokens} kinds, {n_experts} experts, {n_domains} domains"
        cases.append(Case(name, args))
    return cases


def reference(experts_N: Tensor, tokens_N: Tensor, domains_N: Tensor) -> float:
    """H(expert, token) + H(domain, token) - H(all three) - H(token)."""
    return beyond(experts_N, domains_N, tokens_N)


def _by_token(weighted: Callable[[list[float], list[float]], float]) -> Measure:
    """Combines the informations among tokens of one kind with the kinds' shares."""

    def measure(e: Tensor, t: Tensor, d: Tensor) -> float:
        groups = [t == value for value in t.unique()]
        found = [shared(e[g], d[g]) for g in groups]
        return weighted(found, [g.double().mean().item() for g in groups])

    return measure


def _first_numbers(e: Tensor, t: Tensor, d: Tensor) -> float:
    """The kinds 0, 1, ... as many as there are different ones; numbers that do not occur add nothing."""
    groups = [t == value for value in range(len(t.unique()))]
    return sum(g.double().mean().item() * shared(e[g], d[g]) for g in groups if g.any())


BEYOND_THE_TOKEN = Exercise(
    id="12.beyond_the_token",
    title="Beyond the token",
    task=(
        "Token n is of the kind `tokens_N[n]`, stands in a text of the domain `domains_N[n]` and went to "
        "expert `experts_N[n]`. Return in bits what the expert tells about the domain to someone who *knows "
        "the token already*: among the tokens of one kind, the mutual information of expert and domain; of "
        "that the mean over kinds, weighted by how often each occurs. (A number without a correction for "
        "chance.)"
    ),
    entry="beyond_the_token",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("information", atol=1e-6),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "not_conditional",
            "This is what the expert tells about the domain in all, with what the token gives away in it. An "
            "expert of underscores knows nothing of code, and yet seems to.",
            wrong=lambda e, t, d: shared(e, d),
        ),
        Misconception(
            "token_subtracted",
            "What the token tells was subtracted from what the expert tells. The two overlap in part only, "
            "so the difference is neither one's own share, and can fall below 0. Look among tokens of one "
            "kind.",
            wrong=lambda e, t, d: shared(e, d) - shared(t, d),
            also=(
                lambda e, t, d: shared(e, d) - shared(e, t),
                lambda e, t, d: shared(e, t) - shared(e, d),
                lambda e, t, d: shared(t, d) - shared(e, d),
                lambda e, t, d: max(0.0, shared(e, d) - shared(t, d)),
            ),
        ),
        Misconception(
            "unweighted",
            "Every kind of token counts the same here. One that occurs twice cannot say much, and says it "
            "loudly: weight each by its share of the tokens.",
            wrong=_by_token(lambda found, shares: sum(found) / len(found)),
            hint=2,
        ),
        Misconception(
            "summed",
            "The informations of all kinds of tokens were added up. Asked is their mean, weighted by how "
            "often each kind occurs.",
            wrong=_by_token(lambda found, shares: sum(found)),
            hint=2,
        ),
        Misconception(
            "nats",
            "The logarithm was natural, or to base 10. A bit is the logarithm to base 2.",
            wrong=lambda e, t, d: reference(e, t, d) * math.log(2),
            also=(lambda e, t, d: reference(e, t, d) * math.log10(2),),
            hint=3,
        ),
        Misconception(
            "together",
            "This is what expert and token *together* tell about the domain. Take off what the token tells "
            "alone.",
            wrong=lambda e, t, d: shared(t, d) + reference(e, t, d),
            hint=3,
        ),
        Misconception(
            "token_left_in",
            "An entropy of the token is missing in the sum: $H(t)$ stands in $H(e, t)$ and in $H(d, t)$, "
            "and in $H(e, t, d)$ once. Without it the number is far more than an expert could tell.",
            wrong=lambda e, t, d: reference(e, t, d) + bits(t),
            hint=2,
        ),
        Misconception(
            "pairs_collide",
            "Expert and token were made one number by a sum or a product, and different pairs get the same "
            "one. A pair needs a number of its own: expert times the number of tokens, plus token.",
            wrong=lambda e, t, d: shared(e + t, d) - shared(t, d),
            also=(lambda e, t, d: shared(e * t, d) - shared(t, d),),
            hint=3,
        ),
        Misconception(
            "ids_not_kinds",
            "Kinds of tokens were counted from 0 on, as many as there are. Not every number occurs: the "
            "last kinds were never looked at. Go through the values that do occur.",
            wrong=_first_numbers,
            hint=2,
        ),
        Misconception(
            "roles_swapped",
            "The roles of token and domain are swapped: this is what the expert tells about the *token* to "
            "someone who knows the domain.",
            wrong=lambda e, t, d: beyond(e, t, d),
        ),
        Misconception(
            "given_the_expert",
            "This is what the *token* tells about the domain to someone who knows the expert. Here the token "
            "is known, and the expert is the news.",
            wrong=lambda e, t, d: beyond(t, d, e),
        ),
        Misconception(
            "missing_bits",
            "This is a conditional entropy: what is still unknown about the domain, or the expert, once the "
            "rest is known. Asked is how much the expert makes known.",
            wrong=lambda e, t, d: bits(e, t, d) - bits(e, t),
            also=(
                lambda e, t, d: bits(d, t) - bits(t),
                lambda e, t, d: bits(e, t) - bits(t),
                lambda e, t, d: bits(e, t, d) - bits(d, t),
            ),
            hint=3,
        ),
        Misconception(
            "normalised",
            "This was divided by an entropy, which makes it a share. Asked are bits.",
            wrong=lambda e, t, d: reference(e, t, d) / bits(d),
            also=(
                lambda e, t, d: reference(e, t, d) / bits(e),
                lambda e, t, d: reference(e, t, d) / (bits(d, t) - bits(t)),
                lambda e, t, d: reference(e, t, d) / min(bits(d), bits(e)),
            ),
        ),
        Misconception(
            "shared_by_all",
            "This is what all three share: the expert's information about the domain *less* the part that is "
            "new beyond the token. Asked is the part that is new.",
            wrong=lambda e, t, d: shared(e, d) - reference(e, t, d),
            also=(lambda e, t, d: reference(e, t, d) - shared(e, d),),
        ),
        Misconception(
            "chance_taken_off",
            "Chance was taken off already. The next exercise does that; here the number is asked for as it "
            "is.",
            wrong=lambda e, t, d: reference(e, t, d) - miller_beyond(e, d, t),
            also=(lambda e, t, d: max(0.0, reference(e, t, d) - miller_beyond(e, d, t)),),
        ),
        *INFORMATION_MISTAKES,
    ),
    hints=(
        "Look at one kind of token only, all the letters e. Does the expert still tell you in which domain "
        "you are? Then do so for every kind.",
        "Loop over `tokens_N.unique()`: the mutual information among these tokens, times their share of all "
        "tokens. Or by entropies: $H(e, t) + H(d, t) - H(e, t, d) - H(t)$.",
        "An entropy of several labels at once: `torch.stack([a, b, c]).unique(dim=1, return_counts=True)[1]` "
        "are the counts; divide by N and take `-(p * p.log2()).sum()`.",
    ),
    notice=(
        "It is a difference of entropies of one, two and three labels, so no table of experts by tokens by "
        "domains has to be built."
    ),
)
