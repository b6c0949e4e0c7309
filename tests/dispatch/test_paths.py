"""Every path against the loop over tokens: values, gradients, and all that may surround them."""

import pytest
import torch
from dispatch_cases import assert_close, cases, draw_case, relative_error, run
from hypothesis import given, settings
from torch.autograd import forward_ad

from moe_lessons.dispatch import (
    PATHS,
    grouped_supported,
    moe_auto,
    moe_grouped,
    moe_loop,
)

ALL = PATHS | {"auto": moe_auto}


@pytest.mark.parametrize("path", ["slots", "unbind", "fused", "padded", "auto"])
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_in_fp64_a_path_is_the_loop(path, case):
    actual, expected = run(ALL[path], case), run(moe_loop, case)
    if case[0].shape[0] == 0:
        assert actual[0].shape == expected[0].shape == case[0].shape
        assert not any(gradient.any() for gradient in actual[1:] if gradient is not None)
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


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("path", [name for name in ALL if name != "loop"])
def test_16_bits_are_close_to_the_fp64_loop(path, dtype, limit):
    case = draw_case(65, 32, 48, 7, 3, dtype=dtype)
    exact = [tensor.double() if tensor.is_floating_point() else tensor for tensor in case]
    actual = run(ALL[path], case)
    assert actual[0].dtype == dtype
    assert actual[2].dtype == torch.float32  # routing weights stay fp32, and so do their gradients
    assert_close(actual, run(moe_loop, exact), limit)
    with torch.no_grad():
        assert relative_error(ALL[path](*case), moe_loop(*exact)) < limit


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


@pytest.mark.parametrize("path", [name for name in ALL if name != "loop"])
def test_an_expert_without_rows_has_gradient_exactly_zero(path):
    case = list(draw_case(6, 8, 4, 5, 1, dtype=torch.float32))
    case[1] = torch.full((6, 1), 3)
    _, _, _, d_gate_up, d_down = run(ALL[path], case)
    for gradient in (d_gate_up, d_down):
        assert (gradient[[0, 1, 2, 4]] == 0).all()
        assert (gradient[3] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("path", ALL)
def test_runs_are_bitwise_equal(path, dtype):
    case = draw_case(33, 16, 24, 5, 3, dtype=dtype)
    first, second = run(ALL[path], case), run(ALL[path], case)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("path", [name for name in ALL if name != "loop"])
def test_a_token_does_not_depend_on_its_neighbours_order(path):
    hidden_TD, ids_TK, weights_TK, *weights = draw_case(20, 8, 8, 4, 2, dtype=torch.float32)
    order_T = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled_TD = ALL[path](hidden_TD[order_T], ids_TK[order_T], weights_TK[order_T], *weights)
    torch.testing.assert_close(shuffled_TD, ALL[path](hidden_TD, ids_TK, weights_TK, *weights)[order_T])


@pytest.mark.parametrize("path", [name for name in ALL if name != "loop"])
def test_non_contiguous_inputs(path):
    case = draw_case(10, 8, 4, 3, 2, dtype=torch.float32)
    strided = [tensor.mT.contiguous().mT for tensor in case]
    assert not any(tensor.is_contiguous() for tensor in strided)
    upstream_TD = torch.ones(1, 1).expand(10, 8)  # what sum().backward() sends: all strides zero

    def without_copies(*arguments):
        return ALL[path](*[tensor.mT.contiguous().mT for tensor in arguments])

    assert_close(run(without_copies, strided, upstream_TD), run(moe_loop, case, upstream_TD), 1e-5)


@pytest.mark.parametrize("path", ["unbind", "slots"])
def test_the_loops_over_experts_avoid_the_indexing_trap(path):
    # Indexing W[e] records one select per expert; each one's backward fills a tensor as large as all experts.
    case = [t.requires_grad_() if t.is_floating_point() else t for t in draw_case(12, 4, 4, 6, 2)]
    seen, todo = set(), [PATHS[path](*case).grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(parent for parent, _ in node.next_functions)
    names = [node.name() for node in seen]
    assert "SelectBackward0" not in names
    assert names.count("UnbindBackward0") == 2


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


@pytest.mark.parametrize("path", [name for name in ALL if name != "loop"])
def test_autocast_computes_in_bf16_like_linear(path):
    case = draw_case(9, 16, 8, 3, 2, dtype=torch.float32)

    def under_autocast(*arguments):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return ALL[path](*arguments)

    actual, exact = run(under_autocast, case), run(moe_loop, case)
    assert {tensor.dtype for tensor in actual} == {torch.float32}
    assert_close(actual, exact, 3e-2)
    assert relative_error(actual[0], exact[0]) > 1e-4


@pytest.mark.parametrize("path", ALL)
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
        ALL[path](*case)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ALL)
def test_narrow_ids_are_ids(path):
    case = list(draw_case(9, 16, 8, 3, 2, dtype=torch.float32))
    expected = ALL[path](*case)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        case[1] = case[1].to(dtype)
        assert torch.equal(ALL[path](*case), expected)
    with pytest.raises(ValueError, match=r"topk_ids_TK is torch.float32: give whole numbers"):
        ALL[path](case[0], case[1].float(), *case[2:])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own forward mode
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("path", ALL)
def test_forward_mode_gives_the_derivative_or_says_that_it_cannot(path, gradients):
    case = draw_case(9, 16, 8, 3, 2, dtype=torch.float32)
    tangent_TD = torch.ones_like(case[0])
    with torch.set_grad_enabled(gradients), forward_ad.dual_level():
        try:
            dual_TD = ALL[path](forward_ad.make_dual(case[0], tangent_TD), *case[1:])
        except NotImplementedError:
            return
        found_TD = forward_ad.unpack_dual(dual_TD).tangent
    step = 1e-2
    up_TD, down_TD = (moe_loop(case[0] + sign * step * tangent_TD, *case[1:]) for sign in (1, -1))
    torch.testing.assert_close(found_TD, (up_TD - down_TD) / (2 * step), rtol=0.01, atol=0.01)
