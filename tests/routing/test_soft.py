import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import empty_slots, fill_slots, soft_slots


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 4)] * 4), seed=st.integers(0, 999))
def test_by_loop(sizes, seed):
    n_tokens, n_experts, n_slots, d_model = sizes
    logits_TEP, hidden_TD = draw(n_tokens, n_experts, n_slots, seed=seed), draw(n_tokens, d_model, seed=1)
    slots = soft_slots(logits_TEP)
    read_EPD = fill_slots(hidden_TD, slots)
    results_EPD = torch.stack([(e + 1) * read_EPD[e].tanh() for e in range(n_experts)])
    output_TD = empty_slots(results_EPD, slots)
    places = [(e, p) for e in range(n_experts) for p in range(n_slots)]
    for e, p in places:
        exps = [math.exp(float(logits_TEP[t, e, p])) for t in range(n_tokens)]
        mixed_D = sum(x / sum(exps) * hidden_TD[t] for t, x in enumerate(exps))
        torch.testing.assert_close(read_EPD[e, p], mixed_D)
    for t in range(n_tokens):
        exps = {place: math.exp(float(logits_TEP[t, *place])) for place in places}
        mixed_D = sum(exps[place] / sum(exps.values()) * results_EPD[place] for place in places)
        torch.testing.assert_close(output_TD[t], mixed_D)


def test_gradients_reach_everything():
    logits_TEP, hidden_TD = draw(4, 3, 2).requires_grad_(), draw(4, 5).requires_grad_()

    def layer(logits_TEP, hidden_TD):
        slots = soft_slots(logits_TEP)
        return empty_slots(fill_slots(hidden_TD, slots).tanh(), slots)

    assert torch.autograd.gradcheck(layer, (logits_TEP, hidden_TD))


def test_without_tokens_slots_are_zero():
    slots = soft_slots(torch.zeros(0, 3, 2))
    assert torch.equal(fill_slots(torch.zeros(0, 4), slots), torch.zeros(3, 2, 4))
    assert empty_slots(torch.zeros(3, 2, 4), slots).shape == (0, 4)


def test_a_lone_token_fills_every_slot():
    hidden_TD = draw(1, 4)
    read_EPD = fill_slots(hidden_TD, soft_slots(draw(1, 3, 2)))
    torch.testing.assert_close(read_EPD, hidden_TD.expand(3, 2, 4))


def test_large_logits_stay_finite():
    slots = soft_slots(1e4 * draw(5, 3, 2).float())
    assert all(part.isfinite().all() for part in slots)


def test_narrow_hidden_states_stay_narrow():
    slots = soft_slots(draw(5, 3, 2).bfloat16())
    assert slots.dispatch_TEP.dtype == torch.float32
    read_EPD = fill_slots(draw(5, 4).bfloat16(), slots)
    assert read_EPD.dtype == empty_slots(read_EPD, slots).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 0), (4, 0, 2), (1, 4, 3, 2)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"logits_TEP has shape \(.*\): give \(T, E, P\), at least one slot"):
        soft_slots(torch.zeros(shape))
