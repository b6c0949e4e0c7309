import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import capacity as cap


def fallback_loop(scores_TE, top_k, capacity, n_tries):
    """The oracle: rounds of wishes, one token after the other."""
    free, placed = [capacity] * scores_TE.shape[1], [[] for _ in scores_TE]
    ranked = [sorted(range(len(row)), key=lambda e, row=row: (-row[e], e)) for row in scores_TE.tolist()]
    for r in range(n_tries):
        for t, wishes in enumerate(ranked):
            if len(placed[t]) < top_k and free[wishes[r]] > 0:
                free[wishes[r]] -= 1
                placed[t].append(wishes[r])
    return placed


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fallback_is_what_asking_round_by_round_gives(data):
    n_tokens, n_experts = data.draw(st.integers(0, 20)), data.draw(st.integers(1, 6))
    top_k = data.draw(st.integers(1, n_experts))
    n_tries, capacity = data.draw(st.integers(top_k, n_experts)), data.draw(st.integers(0, 8))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    scores_TE = torch.randn(n_tokens, n_experts, generator=generator) - torch.arange(n_experts) / 2
    admission = cap.admit_with_fallback(scores_TE, top_k, capacity=capacity, n_tries=n_tries)
    ids, kept = admission.expert_ids_TK.tolist(), admission.kept_TK.tolist()
    served = [[e for e, k in zip(*row, strict=True) if k] for row in zip(ids, kept, strict=True)]
    assert served == fallback_loop(scores_TE, top_k, capacity, n_tries)
    assert all(len(set(row)) == top_k for row in ids)
    cells = (admission.expert_ids_TK * capacity + admission.positions_TK)[admission.kept_TK].tolist()
    assert len(set(cells)) == len(cells)
    if n_tries == top_k:  # nobody falls back
        first = cap.admit(
            scores_TE.topk(top_k).indices,
            scores_TE.topk(top_k).values,
            n_experts=n_experts,
            capacity=capacity,
            priority="choice",
        )
        assert int(first.kept_TK.sum()) == int(admission.kept_TK.sum())
    if top_k == 1 and n_tries == n_experts and capacity * n_experts >= n_tokens:
        assert admission.kept_TK.all()


@pytest.mark.parametrize("change", [{"top_k": 4}, {"capacity": -1}, {"n_tries": 1}, {"n_tries": 4}])
def test_fallback_refuses_what_makes_no_sense(change):
    with pytest.raises(ValueError, match=r"choose 1 to 3|give 0 or more places, 2 to 3 tries"):
        cap.admit_with_fallback(**({"scores_TE": torch.zeros(5, 3), "top_k": 2, "capacity": 1} | change))
    with pytest.raises(ValueError, match="scores_TE holds NaN"):
        cap.admit_with_fallback(torch.full((2, 2), torch.nan), 1, capacity=1)
