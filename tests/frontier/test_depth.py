"""Who passes a block: against a loop, and without the future."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.frontier.depth import (
    DECIDE,
    MoDBlock,
    causal_depth,
    causal_depth_loop,
    decide_by,
    sequence_topk,
)
from moe_lessons.frontier.tasks import coin_model
from moe_lessons.frontier.tiny import CausalAttention, mlp
from moe_lessons.routing.causality import leak_rate


def scores(n_sequences, length, seed):
    return torch.randn(n_sequences, length, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 20),
    st.sampled_from([0.1, 0.25, 0.5, 0.6, 0.9, 1.0]),
    st.integers(0, 99),
)
def test_the_comparison_agrees_with_prefix_after_prefix(n_sequences, length, share, seed):
    scores_BL = scores(n_sequences, length, seed)
    assert torch.equal(causal_depth(scores_BL, share), causal_depth_loop(scores_BL, share))


@settings(deadline=None)
@given(st.integers(2, 20), st.sampled_from([0.25, 0.5, 0.6]), st.integers(0, 99))
def test_a_prefix_of_the_scores_has_the_prefix_of_the_mask(length, share, seed):
    scores_BL = scores(3, length, seed)
    mask_BL = causal_depth(scores_BL, share)
    for t in range(1, length):
        assert torch.equal(causal_depth(scores_BL[:, :t], share), mask_BL[:, :t])


def test_rounding_of_the_share_does_not_let_one_more_pass():
    """0.6 * 5 is a little above 3 in single precision."""
    scores_BL = torch.tensor([[5.0, 4.0, 3.0, 1.0, 2.0]])  # the last one is beaten by three
    assert not causal_depth(scores_BL, 0.6)[0, 4]
    assert sequence_topk(scores_BL, 0.6).sum() == 3


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
@pytest.mark.parametrize("function", [causal_depth, causal_depth_loop, sequence_topk])
def test_a_share_out_of_range_is_refused(function, share):
    with pytest.raises(ValueError, match=r"share is .*: choose a number above 0"):
        function(torch.zeros(1, 3), share)


def block(decide):
    torch.manual_seed(0)
    made = MoDBlock(16, CausalAttention(16, 2), mlp(16, 32), share=0.5, decide=decide)
    return made.eval()


@pytest.mark.parametrize(("decide", "leaks"), [("topk", True), ("predictor", False), ("running", False)])
def test_the_best_of_a_sequence_leaks_and_nothing_else_does(decide, leaks):
    """The test of lesson 06, on the block's output and on who passes."""
    made = block(decide)

    def output(hidden_TD):
        with torch.no_grad():
            return made(hidden_TD[None])[0][0]

    assert (leak_rate(output, n_trials=50).trials > 0.3) == leaks
    assert (leak_rate(lambda x: [output(x), made.passed_BL[0].double()][1], n_trials=50).trials > 0) == leaks


def test_who_does_not_pass_keeps_its_stream():
    made = block(lambda scores_BL: torch.tensor([[True, False, True, False]]))
    stream_BLD = torch.randn(1, 4, 16)
    with torch.no_grad():
        after_BLD, _ = made(stream_BLD)
    same_BL = (after_BLD == stream_BLD).all(-1)
    assert same_BL.tolist() == [[False, True, False, True]]


def test_who_does_not_pass_is_seen_by_nobody():
    made = block(lambda scores_BL: torch.tensor([[True, False, True, False]]))
    first = torch.randn(1, 4, 16)
    second = first.clone()
    second[0, 1] = torch.randn(16)
    with torch.no_grad():
        gap_L = (made(first)[0] - made(second)[0]).abs().amax(-1)[0]
    assert gap_L[1] > 0.1
    assert gap_L[[0, 2, 3]].max() == 0


def test_the_router_gets_a_gradient_and_the_predictor_changes_no_stream():
    made = block("topk").train()
    stream_BLD = torch.randn(2, 6, 16, requires_grad=True)
    out, extra = made(stream_BLD)
    extra.backward()
    assert stream_BLD.grad is None or stream_BLD.grad.abs().max() == 0
    out.square().sum().backward()
    assert made.router.weight.grad.abs().max() > 0


def test_decisions_can_be_exchanged_and_unknown_ones_are_refused():
    model = coin_model("topk", seed=0)
    decide_by(model, "running")
    assert [b.decide for b in model.modules() if isinstance(b, MoDBlock)] == ["running"] * 2
    with pytest.raises(ValueError, match="decide is 'later': choose one of " + ", ".join(DECIDE)):
        MoDBlock(8, CausalAttention(8, 2), mlp(8, 8), 0.5, "later")


def test_a_seed_determines_all_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = coin_model("topk", 3), coin_model("topk", 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
