import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import sinkhorn_plan, sinkhorn_topk, tokens_per_expert


def draw(n_tokens, n_experts, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n_tokens, n_experts, generator=generator, dtype=dtype)


@settings(max_examples=40, deadline=None)
@given(n_tokens=st.integers(1, 20), n_experts=st.integers(1, 8), seed=st.integers(0, 999))
def test_rows_sum_to_one_and_columns_to_their_share(n_tokens, n_experts, seed):
    plan_TE = sinkhorn_plan(draw(n_tokens, n_experts, seed), n_iterations=2000, tolerance=1e-9).exp()
    ones_T = torch.ones(n_tokens, dtype=torch.float64)
    torch.testing.assert_close(plan_TE.sum(1), ones_T, rtol=0, atol=1e-8)
    shares_E = torch.full((n_experts,), n_tokens / n_experts, dtype=torch.float64)
    torch.testing.assert_close(plan_TE.sum(0), shares_E, rtol=1e-9, atol=0)


def naive_plan(logits_TE, n_iterations):
    """The textbook way, in plain exponentials and by loop; Megatron's plan times T."""
    n_tokens, n_experts = logits_TE.shape
    kernel = logits_TE.exp().tolist()
    u, v = [1.0] * n_tokens, [1.0] * n_experts
    for _ in range(n_iterations):
        u = [1 / sum(k * w for k, w in zip(row, v, strict=True)) for row in kernel]
        v = [
            n_tokens / n_experts / sum(u[t] * kernel[t][e] for t in range(n_tokens)) for e in range(n_experts)
        ]
    return [[u[t] * kernel[t][e] * v[e] for e in range(n_experts)] for t in range(n_tokens)]


@pytest.mark.parametrize("n_iterations", [1, 3, 50])
def test_the_logarithmic_plan_is_the_textbook_plan(n_iterations):
    logits_TE = draw(7, 4)
    plan_TE = sinkhorn_plan(logits_TE, n_iterations=n_iterations, tolerance=0).exp()
    expected_TE = torch.tensor(naive_plan(logits_TE, n_iterations), dtype=torch.float64)
    torch.testing.assert_close(plan_TE, expected_TE, rtol=1e-12, atol=0)


def test_the_plan_is_the_best_balanced_one():
    """No step that keeps all sums can raise sum(plan * logits) + entropy."""
    logits_TE = draw(8, 4)
    plan_TE = sinkhorn_plan(logits_TE, n_iterations=5000, tolerance=1e-12).exp()

    def objective(plan_TE):
        return float((plan_TE * logits_TE).sum() + torch.special.entr(plan_TE).sum())

    for seed in range(20):
        step_TE = draw(8, 4, seed=seed + 1)
        step_TE = step_TE - step_TE.mean(0) - (step_TE - step_TE.mean(0)).mean(1, keepdim=True)
        step_TE *= 0.1 * plan_TE.min() / step_TE.abs().max()
        assert objective(plan_TE + step_TE) < objective(plan_TE)
        assert objective(plan_TE - step_TE) < objective(plan_TE)


def test_it_stops_when_it_is_done():
    logits_TE = draw(16, 4)
    early_TE = sinkhorn_plan(logits_TE, tolerance=0.5)
    assert not torch.equal(early_TE, sinkhorn_plan(logits_TE, tolerance=1e-6))
    assert torch.equal(
        sinkhorn_plan(logits_TE, n_iterations=1, tolerance=0), sinkhorn_plan(logits_TE, n_iterations=1)
    )


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_large_logits_stay_finite_where_plain_exponentials_do_not(size):
    logits_TE = size * draw(12, 4, dtype=torch.float32)
    logits_TE.requires_grad_()
    assert logits_TE.exp().isinf().any()
    log_plan_TE = sinkhorn_plan(logits_TE)
    assert log_plan_TE.isfinite().all()
    log_plan_TE.exp().sum().backward()
    assert logits_TE.grad.isfinite().all()
    assert sinkhorn_topk(logits_TE, 2).topk_weights_TK.isfinite().all()


def test_the_plan_is_differentiable():
    logits_TE = draw(5, 3).requires_grad_()

    def plan(logits_TE):
        return sinkhorn_plan(logits_TE, n_iterations=6, tolerance=0).exp()

    assert torch.autograd.gradcheck(plan, (logits_TE,))


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_plan_selects_and_the_logits_weigh(top_k):
    logits_TE = draw(32, 4).requires_grad_()
    logits_TE.data[:, 1] += 3
    routing = sinkhorn_topk(logits_TE, top_k)
    plan_TE = torch.tensor(naive_plan(logits_TE.detach(), 200))
    assert torch.equal(routing.topk_ids_TK, plan_TE.topk(top_k).indices)
    scores_TE = logits_TE.sigmoid() if top_k == 1 else logits_TE.softmax(1)
    torch.testing.assert_close(routing.topk_weights_TK, scores_TE.gather(1, routing.topk_ids_TK))
    assert torch.autograd.gradcheck(lambda logits: sinkhorn_topk(logits, top_k).topk_weights_TK, (logits_TE,))
    silent = sinkhorn_topk(logits_TE, top_k, training=False)
    assert torch.equal(silent.topk_ids_TK, logits_TE.topk(top_k).indices)


def test_it_evens_out_a_favourite_but_not_exactly():
    logits_TE = draw(512, 8)
    logits_TE[:, 1] += 3
    plain_E = tokens_per_expert(sinkhorn_topk(logits_TE, 1, training=False).topk_ids_TK, 8)
    even_E = tokens_per_expert(sinkhorn_topk(logits_TE, 1).topk_ids_TK, 8)
    assert int(plain_E.max()) > 250
    assert 64 < int(even_E.max()) < 90


@pytest.mark.parametrize("n_iterations", [0, -3])
def test_no_iterations_are_refused(n_iterations):
    with pytest.raises(ValueError, match=rf"n_iterations is {n_iterations}: make at least 1"):
        sinkhorn_plan(draw(4, 2), n_iterations=n_iterations)


def test_an_expert_that_nobody_may_choose_leaves_no_plan():
    logits_TE = draw(4, 2)
    logits_TE[:, 1] = -torch.inf
    with pytest.raises(ValueError, match=r"logits_TE leaves no plan: every token and every expert needs"):
        sinkhorn_topk(logits_TE, 1)
    logits_TE[0, 1] = 0.0  # one token may: the others' share of it goes to nobody
    assert sinkhorn_plan(logits_TE).isfinite().any(dim=0).all()
