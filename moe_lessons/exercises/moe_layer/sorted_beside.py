"""What 02.moe_sorted returns beside its output: its canonical form, and how each of it goes wrong."""

from typing import Any

import numpy as np

from moe_lessons.exercises.spec import Case, Outputs


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Any order of an expert's own rows is right: sort the token ids within each expert."""
    counts, token_ids = values["tokens_per_expert_E"], values["token_ids_S"]
    if np.ndim(token_ids) == 1 and np.ndim(counts) == 1 and np.sum(counts) == len(token_ids):
        groups = np.split(token_ids, np.cumsum(counts)[:-1].astype(int))
        values["token_ids_S"] = np.concatenate([np.sort(group) for group in groups])
    return values


def slots(case: Case, got: Outputs, want: Outputs) -> bool:
    """The sorted slots stand for their tokens."""
    top_k = np.asarray(case.args["topk_ids_TK"]).shape[1]
    tokens = dict(got) | {"token_ids_S": np.asarray(got["token_ids_S"]) // top_k}
    right = np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5)
    return bool(right) and np.array_equal(canonical(tokens)["token_ids_S"], want["token_ids_S"])


def experts(case: Case, got: Outputs, want: Outputs) -> bool:
    """The experts of the sorted rows stand for their tokens."""
    right = np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5)
    return bool(right) and np.array_equal(
        got["token_ids_S"], np.sort(np.asarray(case.args["topk_ids_TK"]).ravel())
    )


def in_token_order(case: Case, got: Outputs, want: Outputs) -> bool:
    """The tokens stand in their own order."""
    n_tokens, top_k = np.asarray(case.args["topk_ids_TK"]).shape
    right = np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5)
    tokens_S = np.repeat(np.arange(n_tokens), top_k)
    counts_E, raw = want["tokens_per_expert_E"], {"token_ids_S": tokens_S}
    as_judged = canonical(raw | {"tokens_per_expert_E": counts_E})["token_ids_S"]
    return bool(right) and np.array_equal(got["token_ids_S"], as_judged)


def short_counts(case: Case, got: Outputs, want: Outputs) -> bool:
    """The counts end at the last expert that was chosen."""
    counts, wanted = got["tokens_per_expert_E"], want["tokens_per_expert_E"]
    if np.shape(counts) == np.shape(wanted):
        tokens, wanted_tokens = (canonical(dict(one))["token_ids_S"] for one in (got, want))
        same = np.array_equal(counts, wanted) and np.array_equal(tokens, wanted_tokens)
        return same and bool(np.allclose(got["output_TD"], want["output_TD"], rtol=1e-4, atol=1e-5))
    return np.array_equal(counts, wanted[: len(counts)]) and not np.any(wanted[len(counts) :])


def only_used(case: Case, got: Outputs, want: Outputs) -> bool:
    """Experts that nobody chose are missing from the counts."""
    counts, wanted = got["tokens_per_expert_E"], want["tokens_per_expert_E"]
    return np.array_equal(counts, wanted[wanted > 0]) and len(counts) < len(wanted)
