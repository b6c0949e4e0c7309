"""What goes wrong in 01.topk_gates, by name."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.exercises.router.draws import SWAPPED_RETURN
from moe_lessons.exercises.spec import Case, Misconception, Outputs

Gates = tuple[torch.Tensor, torch.Tensor]
Rescale = Callable[[torch.Tensor], torch.Tensor]


def gates(
    logits_TE: torch.Tensor,
    top_k: int,
    renormalize: bool,
    *,
    axis: int = -1,
    largest: bool = True,
    rescale: Rescale = lambda weights_TK: weights_TK / weights_TK.sum(dim=-1, keepdim=True),
) -> Gates:
    """Softmax over all experts, top-k along the expert axis, then rescale if asked to."""
    weights_TK, ids_TK = logits_TE.softmax(dim=axis).topk(top_k, dim=-1, largest=largest)
    return ids_TK, rescale(weights_TK) if renormalize else weights_TK


def _no_softmax(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = logits_TE.topk(top_k, dim=-1)
    return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True) if renormalize else weights_TK


def _equal(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    ids_TK, weights_TK = gates(logits_TE, top_k, renormalize)
    return ids_TK, torch.full_like(weights_TK, 1 / top_k)


def _all_experts(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    ids_TK, weights_TK = gates(logits_TE, top_k, renormalize)
    return ids_TK, torch.zeros_like(logits_TE).scatter(-1, ids_TK, weights_TK)


def _tied_in(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    ids_TK, weights_TK = gates(logits_TE, top_k, False)
    reach_TE = logits_TE.softmax(dim=-1) * (logits_TE >= logits_TE.gather(-1, ids_TK[:, -1:]))
    return ids_TK, weights_TK / reach_TE.sum(dim=-1, keepdim=True) if renormalize else weights_TK


def _log_softmax(logits_TE: torch.Tensor, top_k: int, renormalize: bool) -> Gates:
    weights_TK, ids_TK = F.log_softmax(logits_TE, dim=-1).topk(top_k, dim=-1)
    return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True) if renormalize else weights_TK


def _sliced_rows(case: Case, got: Outputs, want: Outputs) -> bool:
    n_tokens, n_experts = np.asarray(case.args["logits_TE"]).shape
    rows = (min(int(case.args["top_k"]), n_tokens), n_experts)  # type: ignore[arg-type]
    return bool(np.shape(got["topk_ids_TK"]) == rows)


def _another_k(case: Case, got: Outputs, want: Outputs) -> bool:
    """Two choices a token whatever K is; on a row of K = 2 the shape tells nothing."""
    n_tokens = len(np.asarray(case.args["logits_TE"]))
    return np.shape(got["topk_ids_TK"]) == (n_tokens, 2)


def _bare_exp(case: Case, got: Outputs, want: Outputs) -> bool:
    weights_TK = np.asarray(got["topk_weights_TK"])
    if "near 200" in case.name:
        return not np.isfinite(weights_TK).all()
    return bool(np.allclose(weights_TK, want["topk_weights_TK"], rtol=1e-4, atol=1e-5))


def _misplaced(case: Case, got: Outputs, want: Outputs) -> bool:
    weights_TK, wanted_TK = (np.sort(x["topk_weights_TK"], axis=-1) for x in (got, want))
    ids_TK = got["topk_ids_TK"]
    same_ids = ids_TK.dtype.kind in "iu" and np.array_equal(ids_TK, want["topk_ids_TK"])
    return same_ids and bool(np.allclose(weights_TK, wanted_TK, rtol=1e-4, atol=1e-5))


MISTAKES = (
    SWAPPED_RETURN,
    Misconception(
        "equal_weights",
        "Each chosen expert has the weight 1/K. Then the router says only who is chosen, not how much each "
        "counts, and no gradient tells it which expert helped. Read the weights from the probabilities.",
        wrong=_equal,
        hint=2,
    ),
    Misconception(
        "sliced_rows",
        "The choice ran along the first axis. In a batch that axis is tokens: `[-k:]` keeps the last k "
        "*tokens* with all their experts, and `dim=0` compares tokens with each other. It works on one "
        "token alone and breaks on two. Choose along the last axis.",
        detects=_sliced_rows,
        hint=1,
    ),
    Misconception(
        "fixed_k",
        "Each token gets two experts, whatever `top_k` says. K is an argument: pass it on to `topk`.",
        detects=_another_k,
        hint=2,
    ),
    Misconception(
        "all_experts",
        "The weights are right, and stand in a row of E numbers with zeros between them. Asked for are the "
        "K weights alone, in the order of the ids: what `topk` returned, before it was spread out.",
        wrong=_all_experts,
        hint=2,
    ),
    Misconception(
        "softmax_over_tokens",
        "The softmax ran down the columns: each expert's values sum to 1 over the tokens. A token's "
        "weights then depend on who else is in the batch. The competition is between experts, along "
        "the last axis.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, renormalize, axis=0),
        hint=1,
    ),
    Misconception(
        "always_renormalized",
        "The weights always sum to 1. That is right for `renormalize=True`. Without it the weights stay "
        "probabilities among all E experts, also those that were not chosen.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, True),
        hint=2,
    ),
    Misconception(
        "never_renormalized",
        "`renormalize=True` changes nothing here. Either the argument is not looked at, or the weights "
        "were divided by the sum over all E experts, which is already 1. Divide by the sum over the K "
        "that were kept.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, False),
        hint=3,
    ),
    Misconception(
        "kept_at_k1",
        "With `renormalize=True` and K = 1 the weight stays a probability. That would be wise in training, "
        "as the lesson says next. But the argument asks for weights that sum to 1, and a single weight that "
        "does is 1.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, renormalize and top_k > 1),
        hint=3,
    ),
    Misconception(
        "flag_swapped",
        "The two conventions are swapped: the weights sum to 1 exactly when `renormalize` is False.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, not renormalize),
        hint=2,
    ),
    Misconception(
        "smallest",
        "These are the K *least* likely experts. `argsort` sorts upwards, so the best are at the end "
        "of each row, not at its beginning.",
        wrong=lambda logits_TE, top_k, renormalize: gates(logits_TE, top_k, renormalize, largest=False),
        hint=2,
    ),
    Misconception(
        "softmax_twice",
        "A second softmax was put on top of the probabilities. That flattens the weights. To "
        "renormalise, divide; or take one softmax, over the K chosen *logits*.",
        wrong=lambda logits_TE, top_k, renormalize: gates(
            logits_TE, top_k, renormalize, rescale=lambda weights_TK: weights_TK.softmax(dim=-1)
        ),
        hint=3,
    ),
    Misconception(
        "length_one",
        "The weights were divided by their length, the root of the sum of their squares; `F.normalize` does "
        "that unless told otherwise. Their squares then sum to 1. Divide by their plain sum.",
        wrong=lambda logits_TE, top_k, renormalize: gates(
            logits_TE, top_k, renormalize, rescale=lambda weights_TK: F.normalize(weights_TK, dim=-1)
        ),
        hint=3,
    ),
    Misconception(
        "by_the_largest",
        "The weights were divided by the largest of them, so the best expert has weight 1 and the sum is "
        "more. Divide by their sum.",
        wrong=lambda logits_TE, top_k, renormalize: gates(
            logits_TE,
            top_k,
            renormalize,
            rescale=lambda weights_TK: weights_TK / weights_TK.amax(dim=-1, keepdim=True),
        ),
        hint=3,
    ),
    Misconception(
        "tied_in",
        "Right without ties. Where two experts have the same probability at the edge of the choice, both "
        "reach the K-th largest value, and the sum took both in. Sum the K weights that were kept, not all "
        "that reach a threshold.",
        wrong=_tied_in,
        hint=3,
    ),
    Misconception(
        "no_softmax",
        "The weights are the logits themselves. A logit may be negative or 200; a weight is meant to "
        "be a share. Put a softmax in between.",
        wrong=_no_softmax,
        hint=2,
    ),
    Misconception(
        "log_softmax",
        "These are logarithms of probabilities: `log_softmax` gives those, for use in a loss. A weight is a "
        "probability itself.",
        wrong=_log_softmax,
        hint=2,
    ),
    Misconception(
        "sum_over_batch",
        "The weights were divided by one sum over the whole batch. Each token needs its own sum: sum "
        "over the last axis, and keep that axis so that the division lines up.",
        wrong=lambda logits_TE, top_k, renormalize: gates(
            logits_TE, top_k, renormalize, rescale=lambda weights_TK: weights_TK / weights_TK.sum()
        ),
        hint=3,
    ),
    Misconception(
        "weights_misplaced",
        "Right experts, right weights, but not together: ids and weights stand in different orders. "
        "`topk` lists the best first, `argsort` lists it last. Take both from one call, or read the "
        "weights at the ids with `gather`.",
        detects=_misplaced,
        hint=2,
    ),
    Misconception(
        "bare_exp",
        "Right on small logits; near 200 the weights are not numbers, because exp(200) is beyond fp32. "
        "A softmax may subtract each row's maximum first without changing its value. `torch.softmax` "
        "does.",
        detects=_bare_exp,
        hint=2,
    ),
)
