"""Exercise 04.load_shares: from the chosen ids to each expert's share of the routed rows."""

from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K from 1 to 3, uneven loads, an unused last expert, and padding in all but one case."""
    cases = []
    for n_tokens, n_experts, top_k, n_padding in [(11, 4, 2, 3), (9, 6, 1, 2), (14, 7, 3, 0), (17, 5, 2, 6)]:
        popular_E = rng.permutation(np.linspace(0.5, 3.0, n_experts))
        popular_E[-1] = 0 if n_experts == 7 else popular_E[-1]
        shares_E = popular_E / popular_E.sum()
        rows = [rng.choice(n_experts, top_k, replace=False, p=shares_E) for _ in range(n_tokens)]
        mask_T = np.ones(n_tokens, dtype=bool)
        mask_T[rng.permutation(n_tokens)[:n_padding]] = False
        args: dict[str, Plain] = {"topk_ids_TK": np.array(rows), "n_experts": n_experts, "mask_T": mask_T}
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, {n_padding} of padding", args))
    return cases


def _counts(topk_ids_TK: torch.Tensor, n_experts: int) -> torch.Tensor:
    return torch.bincount(topk_ids_TK.reshape(-1), minlength=n_experts).float()


def reference(topk_ids_TK: torch.Tensor, n_experts: int, mask_T: torch.Tensor) -> torch.Tensor:
    """Count the real rows and divide by their number."""
    counts_E = _counts(topk_ids_TK[mask_T], n_experts)
    return counts_E / counts_E.sum()


def _mask_repeated(topk_ids_TK: torch.Tensor, n_experts: int, mask_T: torch.Tensor) -> torch.Tensor:
    weights = mask_T.float().repeat(topk_ids_TK.shape[1])
    counts_E = torch.bincount(topk_ids_TK.flatten(), weights=weights, minlength=n_experts)
    return counts_E / counts_E.sum()


def _only_used(topk_ids_TK: torch.Tensor, n_experts: int, mask_T: torch.Tensor) -> torch.Tensor:
    counts_U = topk_ids_TK[mask_T].unique(return_counts=True)[1]
    return counts_U / counts_U.sum()


LOAD_SHARES = Exercise(
    id="04.load_shares",
    title="Who got how much?",
    task=(
        "Return each expert's share of the routed rows, `[E]`: how many of the chosen ids name it, as a "
        "fraction of all chosen ids. Tokens that `mask_T` marks False are padding and count for nobody. "
        "The shares sum to 1, and an expert that nobody chose has 0."
    ),
    entry="load_shares",
    points=2,
    minutes=5,
    difficulty=1,
    outputs=(Output("shares_E", "E"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "padding_counted",
            "Padding is counted. A router routes padding too, usually all of it to the same experts, and a "
            "batch of short texts then looks collapsed. Leave out the tokens whose mask is False.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids, n_experts) / ids.numel(),
            hint=2,
        ),
        Misconception(
            "padding_to_zero",
            "Padding is counted for expert 0. Ids times the mask are still ids: 0 is the first expert's. "
            "Leave the masked tokens out, or give their rows the weight 0.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids * mask_T[:, None], n_experts) / ids.numel(),
            hint=2,
        ),
        Misconception(
            "mask_inverted",
            "Only padding is counted: the mask is read the wrong way round. In some codes True marks "
            "padding; here it marks the real tokens.",
            wrong=lambda ids, n_experts, mask_T: reference(ids, n_experts, ~mask_T),
            hint=2,
        ),
        Misconception(
            "per_token",
            "The shares sum to K: the counts are divided by the number of tokens, and each token has K "
            "rows. Both conventions are in use (lesson 05 meets them again); here shares sum to 1.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids[mask_T], n_experts) / mask_T.sum(),
            hint=3,
        ),
        Misconception(
            "first_choice",
            "Only each token's first choice is counted. Every one of the K chosen experts computes the "
            "token, so all K columns are load.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids[mask_T][:, 0], n_experts) / mask_T.sum(),
        ),
        Misconception(
            "no_minlength",
            "The result is too short when experts are unused: `bincount` stops at the largest id it saw, and "
            "`unique` leaves out every expert that nobody chose. An unused expert is what one looks for "
            "here, so it must be in the list, with 0.",
            wrong=lambda ids, n_experts, mask_T: (
                torch.bincount(ids[mask_T].reshape(-1)) / ids[mask_T].numel()
            ),
            also=(_only_used,),
            hint=2,
        ),
        Misconception(
            "mask_repeated",
            "The mask meets the wrong ids. `repeat` lays K whole masks one after the other, while the "
            "flattened ids stand token by token, K side by side. `repeat_interleave` does that; or index "
            "with the mask before flattening.",
            wrong=_mask_repeated,
            hint=2,
        ),
        Misconception(
            "divided_by_all",
            "Padding is left out of the counts but not of the number they are divided by, so the shares "
            "sum to less than 1.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids[mask_T], n_experts) / ids.numel(),
            hint=3,
        ),
        Misconception(
            "times_even",
            "These are loads relative to an even load: 1 is even, and they sum to E. A useful number, but "
            "not a share; divide by E.",
            wrong=lambda ids, n_experts, mask_T: n_experts * reference(ids, n_experts, mask_T),
        ),
        Misconception(
            "counts",
            "These are the counts themselves. A share is a count over the number of all counted rows; "
            "without that, batches of different sizes cannot be compared.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids[mask_T], n_experts),
            hint=3,
        ),
        Misconception(
            "whole_division",
            "The counts were divided with `//`, which throws the fraction away: a share below 1 becomes 0. "
            "Divide with `/`.",
            wrong=lambda ids, n_experts, mask_T: reference(ids, n_experts, mask_T).floor(),
            hint=3,
        ),
        Misconception(
            "counted_once",
            "Every expert in use has the same share. `counts[ids] += 1` adds 1 once, however often an id "
            "stands in the index: it reads all places, adds, and writes back. `bincount` or `index_add` "
            "counts each.",
            wrong=lambda ids, n_experts, mask_T: (
                (_counts(ids[mask_T], n_experts) > 0) / (_counts(ids[mask_T], n_experts) > 0).sum()
            ),
            hint=2,
        ),
        Misconception(
            "softmax",
            "The counts went through a softmax. It sums to 1 as well, but it gives an unused expert a share "
            "and the fullest one nearly everything. Counts become shares by division.",
            wrong=lambda ids, n_experts, mask_T: _counts(ids[mask_T], n_experts).softmax(dim=0),
            hint=3,
        ),
    ),
    hints=(
        "How many expert computations does one token cause? Each of them is a row of load.",
        "`topk_ids_TK[mask_T]` keeps the real tokens; `torch.bincount(..., minlength=n_experts)` counts.",
        "Count all ids of the real tokens, flattened, and divide the counts by their own sum.",
    ),
    notice=(
        "`minlength` keeps an expert in the list that nobody chose: without it the code is right until "
        "the expert with the highest number falls idle, and then returns too few shares."
    ),
)
