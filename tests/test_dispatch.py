import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.dispatch import (
    PATHS,
    grouped_supported,
    moe_grouped,
    moe_loop,
    moe_unbind,
    permutation_plan,
)


def draw_case(n_tokens, d_model, d_expert, n_experts, top_k, *, seed=0, crowd=None, dtype=torch.float64):
    """Draw the five arguments of a path; `crowd` sends all first choices to one expert."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    scores_TE = torch.rand(n_tokens, n_experts, generator=generator)
    if crowd is not None:
        scores_TE[:, crowd] = 2
    ids_TK = scores_TE.topk(top_k, dim=1).indices
    weights_TK = torch.rand(n_tokens, top_k, generator=generator, dtype=torch.float64)
    weights_TK = weights_TK.to(torch.promote_types(dtype, torch.float32))
    gate_up_proj = normal(n_experts, 2 * d_expert, d_model) / d_model**0.5
    down_proj = normal(n_experts, d_model, d_expert) / d_expert**0.5
    return normal(n_tokens, d_model), ids_TK, weights_TK, gate_up_proj, down_proj


def run(path, case, upstream_TD=None):
    """Return the output and the gradients of hidden, weights and both projections."""
    leaves = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    output_TD = path(*leaves)
    if upstream_TD is None:
        upstream_TD = torch.randn(output_TD.shape, generator=torch.Generator().manual_seed(99))
    output_TD.backward(upstream_TD.to(output_TD.dtype))
    gradients = [leaf.grad for leaf in leaves if leaf.is_floating_point()]
    return [output_TD.detach(), *gradients]


def relative_error(actual, expected):
    """Frobenius norm of the difference over that of the expected tensor; 1 for an all-zero answer."""
    difference, scale = (actual.double() - expected.double()).norm(), expected.double().norm()
    return float(difference / scale) if scale > 0 else float(difference)


def assert_close(actual, expected, limit):
    names = ("output", "d hidden", "d weights", "d gate_up_proj", "d down_proj")
    for name, mine, theirs in zip(names, actual, expected, strict=True):
        assert mine.shape == theirs.shape
        error = relative_error(mine, theirs)
        assert error <= limit, f"{name}: relative error {error:.2e} above {limit:.0e}"


@st.composite
def cases(draw, d_models=(1, 3, 5, 8), d_experts=(1, 2, 7, 8), max_tokens=9):
    n_experts = draw(st.sampled_from([1, 2, 3, 7, 8]))
    top_k = draw(st.sampled_from(sorted({1, min(2, n_experts), n_experts})))
    return draw_case(
        draw(st.sampled_from([0, 1, 2, max_tokens])),
        draw(st.sampled_from(d_models)),
        draw(st.sampled_from(d_experts)),
        n_experts,
        top_k,
        seed=draw(st.integers(0, 2**16)),
        crowd=draw(st.sampled_from([None, 0, n_experts - 1])),
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_unbind_is_the_loop(case):
    actual, expected = run(moe_unbind, case), run(moe_loop, case)
    if case[0].shape[0] == 0:
        assert actual[0].shape == expected[0].shape == case[0].shape
        assert all((gradient == 0).all() for gradient in actual[1:])
    else:
        assert_close(actual, [e if e is not None else torch.zeros(()) for e in expected], 1e-12)


@settings(max_examples=40, deadline=None)
@given(cases(d_models=(4, 8), d_experts=(4, 12)))
def test_grouped_is_the_loop(case):
    narrow = [tensor.float() if tensor.is_floating_point() else tensor for tensor in case]
    assert grouped_supported(narrow[0], *narrow[3:])
    actual = run(moe_grouped, narrow)
    assert all(tensor.isfinite().all() for tensor in actual)
    if case[0].shape[0]:
        assert_close(actual, run(moe_loop, case), 1e-5)


@pytest.mark.parametrize("path", ["unbind", "grouped"])
def test_bf16_is_close_to_the_fp64_loop(path):
    case = draw_case(65, 32, 48, 7, 3, dtype=torch.bfloat16)
    exact = [tensor.double() if tensor.is_floating_point() else tensor for tensor in case]
    actual = run(PATHS[path], case)
    assert actual[0].dtype == torch.bfloat16
    assert_close(actual, run(moe_loop, exact), 2e-2)


def test_the_comparison_rejects_wrong_answers():
    case = draw_case(65, 32, 48, 7, 3)
    expected = run(moe_loop, case)
    with pytest.raises(AssertionError, match="output: relative error 1"):
        assert_close([torch.zeros_like(tensor) for tensor in expected], expected, 2e-2)
    hidden_TD, ids_TK, *rest = case
    wrong_ids = run(moe_loop, [hidden_TD, (ids_TK + 1) % 7, *rest])
    with pytest.raises(AssertionError, match="output"):
        assert_close(wrong_ids, expected, 2e-2)


@pytest.mark.parametrize("path", PATHS)
def test_gradients_with_an_empty_expert(path):
    hidden_TD, _, weights_TK, gate_up_proj, down_proj = draw_case(4, 3, 2, 4, 2)
    ids_TK = torch.tensor([[0, 2], [2, 0], [3, 0], [0, 3]])  # nobody visits expert 1
    leaves = [tensor.requires_grad_() for tensor in (hidden_TD, weights_TK, gate_up_proj, down_proj)]
    assert torch.autograd.gradcheck(
        lambda hidden, weights, gate_up, down: PATHS[path](hidden, ids_TK, weights, gate_up, down), leaves
    )


@pytest.mark.parametrize("path", ["unbind", "grouped"])
def test_an_expert_without_rows_has_gradient_exactly_zero(path):
    case = list(draw_case(6, 8, 4, 5, 1, dtype=torch.float32))
    case[1] = torch.full((6, 1), 3)
    _, _, _, d_gate_up, d_down = run(PATHS[path], case)
    for gradient in (d_gate_up, d_down):
        assert (gradient[[0, 1, 2, 4]] == 0).all()
        assert (gradient[3] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("path", PATHS)
def test_runs_are_bitwise_equal(path, dtype):
    case = draw_case(33, 16, 24, 5, 3, dtype=dtype)
    first, second = run(PATHS[path], case), run(PATHS[path], case)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("path", ["unbind", "grouped"])
def test_a_token_does_not_depend_on_its_neighbours_order(path):
    hidden_TD, ids_TK, weights_TK, *weights = draw_case(20, 8, 8, 4, 2, dtype=torch.float32)
    order_T = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled_TD = PATHS[path](hidden_TD[order_T], ids_TK[order_T], weights_TK[order_T], *weights)
    torch.testing.assert_close(shuffled_TD, PATHS[path](hidden_TD, ids_TK, weights_TK, *weights)[order_T])


@pytest.mark.parametrize("path", ["unbind", "grouped"])
def test_non_contiguous_inputs(path):
    case = draw_case(10, 8, 4, 3, 2, dtype=torch.float32)
    strided = [tensor.mT.contiguous().mT for tensor in case]
    assert not any(tensor.is_contiguous() for tensor in strided)
    upstream_TD = torch.ones(1, 1).expand(10, 8)  # what sum().backward() sends: all strides zero

    def without_copies(*arguments):
        return PATHS[path](*[tensor.mT.contiguous().mT for tensor in arguments])

    assert_close(run(without_copies, strided, upstream_TD), run(moe_loop, case, upstream_TD), 1e-5)


def test_unbind_avoids_the_indexing_trap():
    # Indexing W[e] records one select per expert; each one's backward fills a tensor as large as all experts.
    case = [t.requires_grad_() if t.is_floating_point() else t for t in draw_case(12, 4, 4, 6, 2)]
    seen, todo = set(), [moe_unbind(*case).grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(parent for parent, _ in node.next_functions)
    names = [node.name() for node in seen]
    assert "SelectBackward0" not in names
    assert names.count("UnbindBackward0") == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.sampled_from([1, 3, 8, 256, 257, 40_000]), st.integers(0, 2**16))
def test_plan_is_a_stable_sort(n_tokens, n_experts, seed):
    top_k = min(2, n_experts)
    generator = torch.Generator().manual_seed(seed)
    ids_TK = torch.randint(n_experts, (n_tokens, top_k), generator=generator)
    if n_tokens:
        ids_TK[0, 0] = n_experts - 1  # the largest id of the narrow key
    plan = permutation_plan(ids_TK, n_experts)
    expected = sorted(range(n_tokens * top_k), key=lambda slot: int(ids_TK.flatten()[slot]))
    assert plan.row_ids_S.tolist() == expected
    assert plan.token_ids_S.tolist() == [slot // top_k for slot in expected]
    assert torch.equal(plan.row_ids_S[plan.inverse_S], torch.arange(n_tokens * top_k))
    assert torch.equal(plan.tokens_per_expert_E, torch.bincount(ids_TK.flatten(), minlength=n_experts))
    assert plan.expert_ends_E.dtype == torch.int32
    assert plan.expert_ends_E.tolist() == plan.tokens_per_expert_E.cumsum(0).tolist()


def test_where_grouped_products_are_possible():
    def supported(d_model, d_expert, dtype):
        hidden_TD, _, _, gate_up_proj, down_proj = draw_case(2, d_model, d_expert, 2, 1, dtype=dtype)
        return grouped_supported(hidden_TD, gate_up_proj, down_proj)

    assert supported(4, 8, torch.float32)
    assert supported(8, 16, torch.bfloat16)
    assert not supported(4, 8, torch.bfloat16)  # 4 bf16 numbers are 8 bytes
    assert not supported(4, 6, torch.float32)
    assert not supported(5, 8, torch.float32)
    assert not supported(4, 8, torch.float64)
    meta = torch.empty(2, 4, device="meta")
    assert not grouped_supported(meta, torch.empty(2, 16, 4), torch.empty(2, 4, 8))
    flat = torch.zeros(2 * 16 * 4 + 1)
    shifted = flat[1:].view(2, 16, 4)  # contiguous, but it starts 4 bytes off
    assert not grouped_supported(torch.zeros(2, 4), shifted, torch.zeros(2, 4, 8))


def test_grouped_under_autocast_computes_in_bf16_like_linear():
    case = draw_case(9, 16, 8, 3, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grouped_TD, unbind_TD = moe_grouped(*case), moe_unbind(*case)
    assert grouped_TD.dtype == unbind_TD.dtype == torch.float32
    exact_TD = moe_loop(*case)
    assert 1e-4 < relative_error(grouped_TD, exact_TD) < 2e-2
    assert 1e-4 < relative_error(unbind_TD, exact_TD) < 2e-2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, torch.zeros(4, 8), r"hidden_TD has shape \(4, 8\): .* ask for \(5, 8\)"),
        (0, torch.zeros(5, 7), r"hidden_TD has shape \(5, 7\)"),
        (2, torch.zeros(5, 1), r"topk_weights_TK has shape \(5, 1\): .* ask for \(5, 2\)"),
        (3, torch.zeros(3, 4, 8), r"gate_up_proj has shape \(3, 4, 8\): .* ask for \(3, 8, 8\)"),
        (1, torch.full((5, 2), 3), r"topk_ids_TK runs from 3 to 3 with 3 experts: keep ids in 0..2"),
        (1, torch.full((5, 2), -1), r"topk_ids_TK runs from -1 to -1 with 3 experts"),
    ],
)
def test_bad_arguments_get_one_clear_line(path, position, replacement, message):
    case = list(draw_case(5, 8, 4, 3, 2, dtype=torch.float32))
    case[position] = replacement
    with pytest.raises(ValueError, match=message) as error:
        PATHS[path](*case)
    assert "\n" not in str(error.value)


def test_a_plan_needs_two_axes():
    with pytest.raises(ValueError, match=r"topk_ids_TK has shape \(3,\): give \(T, K\)"):
        permutation_plan(torch.zeros(3, dtype=torch.int64), 2)
