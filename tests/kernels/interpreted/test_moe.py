"""The kernels together: `moe_triton` against the definition, forward and backward."""

import pytest
import torch
from kernel_cases import EDGES, LIMITS, NAMES, assert_close, draw_case, oracle, relative_error, run

from moe_lessons.dispatch import moe_unbind
from moe_lessons.kernels import moe_triton, triton_supported
from moe_lessons.kernels.moe import moe_forward

EACH_DTYPE = pytest.mark.parametrize("dtype", list(LIMITS), ids=str)
SIZES = EDGES["odd D and F, prime E"]  # K = 3


def test_the_interpreter_counts_as_support():
    assert triton_supported(torch.ones(1, 1)) == (True, "")


def test_example():
    weights_TK, gate_up_proj = torch.tensor([[0.5]]), torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]])
    output_TD = moe_triton(
        torch.ones(1, 1), torch.tensor([[1]]), weights_TK, gate_up_proj, torch.ones(2, 1, 1)
    )
    torch.testing.assert_close(output_TD, torch.tensor([[50.0]]))  # half of silu(50) * 2


@pytest.mark.parametrize("sizes", EDGES.values(), ids=EDGES.keys())
def test_equals_the_definition(sizes):
    case = draw_case(*sizes, dtype=torch.float32)
    assert_close(run(moe_triton, case), oracle(case), LIMITS[torch.float32])


@EACH_DTYPE
def test_equals_the_definition_in_each_dtype_and_zeros_do_not(dtype):
    case = draw_case(*SIZES, dtype=dtype)
    mine, exact = run(moe_triton, case), oracle(case)
    assert_close(mine, exact, LIMITS[dtype])
    assert [tensor.dtype for tensor in mine] == [dtype, dtype, torch.float32, dtype, dtype]
    for position in range(len(NAMES)):
        spoiled = [torch.zeros_like(tensor) if i == position else tensor for i, tensor in enumerate(mine)]
        with pytest.raises(AssertionError, match=NAMES[position]):
            assert_close(spoiled, exact, LIMITS[dtype])


def test_an_expert_without_rows_gets_zero_gradients():
    hidden_TD, ids_TK, *rest = draw_case(9, 8, 5, 4, 2, dtype=torch.float32)
    *_, d_gate_up, d_down = run(moe_triton, (hidden_TD, ids_TK % 2, *rest))
    assert (d_gate_up[2:] == 0).all()
    assert (d_down[2:] == 0).all()


@EACH_DTYPE
def test_repeats_bit_for_bit(dtype):
    case = draw_case(*SIZES, dtype=dtype)
    for first, second in zip(run(moe_triton, case), run(moe_triton, case), strict=True):
        assert torch.equal(first, second)


@EACH_DTYPE
def test_names_of_experts_do_not_matter_to_a_bit(dtype):
    hidden_TD, ids_TK, weights_TK, gate_up, down = draw_case(*SIZES, dtype=dtype)
    old_of_new = torch.tensor([3, 0, 4, 1, 2])
    renamed = (hidden_TD, old_of_new.argsort()[ids_TK], weights_TK, gate_up[old_of_new], down[old_of_new])
    mine, theirs = run(moe_triton, (hidden_TD, ids_TK, weights_TK, gate_up, down)), run(moe_triton, renamed)
    for first, second in zip(mine[:3], theirs[:3], strict=True):
        assert torch.equal(first, second)
    for first, second in zip(mine[3:], theirs[3:], strict=True):
        assert torch.equal(first[old_of_new], second)


def test_a_token_does_not_see_the_others():
    hidden_TD, ids_TK, weights_TK, *experts = draw_case(*SIZES, dtype=torch.float32)
    together_TD = moe_triton(hidden_TD, ids_TK, weights_TK, *experts)
    alone_TD = moe_triton(hidden_TD[7:8], ids_TK[7:8], weights_TK[7:8], *experts)
    assert torch.equal(together_TD[7:8], alone_TD)
    hidden_TD[:7] = float("nan")  # nor what is not a number in the rows beside its own
    assert torch.equal(moe_triton(hidden_TD, ids_TK, weights_TK, *experts)[7:], together_TD[7:])


def test_noncontiguous_and_offset_tensors():
    case = draw_case(*SIZES, dtype=torch.float32)

    def stretched(tensor):
        wide = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1), 7).to(tensor)
        view = wide[..., 1::2]
        view.copy_(tensor)
        return view

    def turned(tensor):
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)

    expected = run(moe_triton, case)
    for change in (stretched, turned):
        changed = [change(tensor) for tensor in case]
        assert not any(tensor.is_contiguous() for tensor in changed)
        leaves = [tensor.requires_grad_(tensor.is_floating_point()) for tensor in changed]
        output_TD = moe_triton(*leaves)
        upstream_TD = torch.randn(output_TD.shape, generator=torch.Generator().manual_seed(99))
        gradients = torch.autograd.grad(
            output_TD, [leaf for leaf in leaves if leaf.requires_grad], upstream_TD
        )
        assert all(torch.equal(*pair) for pair in zip((output_TD, *gradients), expected, strict=True))


def test_an_expanded_upstream_gradient():
    case = draw_case(*SIZES, dtype=torch.float32)
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    moe_triton(*leaves).sum().backward()  # the gradient of a sum has strides of 0
    exact = [tensor.double().requires_grad_() if tensor.is_floating_point() else tensor for tensor in case]
    moe_unbind(*exact).sum().backward()
    for mine, theirs in zip(leaves, exact, strict=True):
        if mine.is_floating_point():
            assert relative_error(mine.grad, theirs.grad) <= LIMITS[torch.float32]


@pytest.mark.parametrize("wanted", [0, 2, 3, 4])
def test_only_what_is_wanted_gets_a_gradient(wanted):
    case = [tensor.clone() for tensor in draw_case(*SIZES, dtype=torch.float32)]
    everything = run(moe_triton, case)
    case[wanted].requires_grad_()
    output_TD = moe_triton(*case)
    upstream_TD = torch.randn(output_TD.shape, generator=torch.Generator().manual_seed(99))
    output_TD.backward(upstream_TD)
    assert torch.equal(case[wanted].grad, everything[{0: 1, 2: 2, 3: 3, 4: 4}[wanted]])
    assert all(tensor.grad is None for i, tensor in enumerate(case) if i != wanted)


def test_only_inputs_and_pre_activations_are_kept():
    case = draw_case(*SIZES, dtype=torch.float32)
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        moe_triton(*leaves)
    n_tokens, _, d_expert, _, top_k, _ = SIZES
    rows = n_tokens * top_k
    floating = sorted(tuple(tensor.shape) for tensor in kept if tensor.is_floating_point())
    inputs = [tuple(leaf.shape) for leaf in leaves if leaf.is_floating_point()]
    assert floating == sorted([*inputs, (rows, 2 * d_expert)])


def test_without_gradients_nothing_is_kept(monkeypatch):
    seen = []
    original = moe_forward._opoverload
    case = draw_case(*SIZES, dtype=torch.float32)
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in case]

    def spy(*arguments, training):
        seen.append(training)
        return original(*arguments, training)

    monkeypatch.setattr("moe_lessons.kernels.moe.moe_forward", spy)
    with torch.no_grad():
        moe_triton(*leaves)
    moe_triton(*case)
    moe_triton(*leaves)
    assert seen == [False, False, True]


def test_autocast_computes_in_bf16_and_returns_the_input_dtype():
    case = draw_case(*SIZES, dtype=torch.float32)

    def path(*arguments):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return moe_triton(*arguments)

    mine = run(path, case)
    assert all(tensor.dtype == torch.float32 for tensor in mine)
    assert_close(mine, oracle(case), LIMITS[torch.bfloat16])
    assert relative_error(mine[0], oracle(case)[0]) > LIMITS[torch.float32]


def test_ids_may_be_int32():
    hidden_TD, ids_TK, *rest = draw_case(*SIZES, dtype=torch.float32)
    assert torch.equal(moe_triton(hidden_TD, ids_TK.int(), *rest), moe_triton(hidden_TD, ids_TK, *rest))


def test_torch_compile_takes_it_whole():
    case = draw_case(*SIZES, dtype=torch.float32)
    compiled = torch.compile(moe_triton, fullgraph=True, backend="aot_eager")
    for mine, eager in zip(run(compiled, case), run(moe_triton, case), strict=True):
        assert torch.equal(mine, eager)


@pytest.mark.parametrize("training", [True, False])
def test_operators_keep_their_promises(training):
    case = draw_case(5, 6, 3, 3, 2, dtype=torch.float32)
    leaves = [tensor.clone().requires_grad_(training and tensor.is_floating_point()) for tensor in case]
    torch.library.opcheck(moe_forward, (*leaves, training))
