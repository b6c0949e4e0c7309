"""What `torch.compile` makes of the experts: one graph where no load is read on the way, the same numbers."""

import pytest
import torch
from dispatch_cases import assert_close, draw_case, relative_error, run
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.dispatch import PATHS, moe_auto, moe_grouped, moe_loop
from moe_lessons.dispatch.by_hand import lay_out
from moe_lessons.dispatch.operators import fused_forward, most_rows

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


def compiled(path):
    torch._dynamo.reset()
    return torch.compile(path, backend="aot_eager")


def n_graphs(path, case):
    """Count as `torch.compile` without options cuts."""
    torch._dynamo.reset()
    return torch._dynamo.explain(path)(*case).graph_count


@pytest.mark.parametrize("name", ["fused", "padded", "auto"])
@pytest.mark.parametrize("sizes", [(16, 8, 8, 3, 2), (9, 5, 3, 4, 1), (40, 4, 6, 3, 3)])
def test_one_graph_and_the_same_numbers(name, sizes):
    path, case = PATHS.get(name, moe_auto), draw_case(*sizes)
    doubled = run(compiled(lambda *arguments: path(*arguments) * 2), case)
    assert_close(doubled, [2 * tensor for tensor in run(moe_loop, case)], 1e-12)
    with torch.no_grad():
        assert relative_error(compiled(path)(*case), moe_loop(*case)) < 1e-12
        assert n_graphs(path, case) == 1
    assert n_graphs(path, [tensor.requires_grad_(tensor.is_floating_point()) for tensor in case]) == 1


@pytest.mark.parametrize("name", ["slots", "counted", "unbind", "grouped"])
def test_paths_that_read_loads_break_the_graph_and_go_on(name):
    path, case = PATHS[name], draw_case(4, 8, 8, 3, 2, dtype=torch.float32)
    assert n_graphs(path, case) != 1
    assert_close(run(compiled(path), case), run(moe_loop, case), 1e-5)


def test_in_bf16_auto_compiles_into_one_graph():
    case = draw_case(16, 8, 8, 3, 2, dtype=torch.bfloat16)
    torch.testing.assert_close(compiled(moe_auto)(*case), moe_grouped(*case))
    assert n_graphs(moe_auto, case) == 1


def test_under_autocast_too():
    case = draw_case(16, 5, 3, 3, 2, dtype=torch.float32)  # widths that no grouped product takes
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine, eager = run(compiled(moe_auto), case), run(moe_auto, case)
    assert_close(mine, eager, 1e-6)


@pytest.mark.parametrize("without", [0, 1, 2, 3])
def test_each_input_may_be_frozen(without):
    hidden_TD, ids_TK, *rest = draw_case(12, 4, 3, 3, 2)
    inputs = [hidden_TD, *rest]
    for i, tensor in enumerate(inputs):
        tensor.requires_grad_(i != without)
    leaves = [tensor for tensor in inputs if tensor.requires_grad]

    def loss(path):
        return path(inputs[0], ids_TK, *inputs[1:]).square().sum()

    mine = torch.autograd.grad(loss(compiled(PATHS["fused"])), leaves)
    for found, expected in zip(mine, torch.autograd.grad(loss(moe_loop), leaves), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sizes", [(6, 4, 3, 3, 2), (40, 2, 3, 2, 1)])
def test_pytorch_finds_the_operator_in_order(sizes, training):
    hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj = draw_case(*sizes)
    inputs = [tensor.requires_grad_(training) for tensor in (hidden_TD, weights_TK, gate_up_proj, down_proj)]
    torch.library.opcheck(fused_forward, (*inputs, ids_TK, training))


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any), st.booleans())
def test_rooms_never_outgrow_what_is_kept(loads, narrow):
    dtype = torch.bfloat16 if narrow else torch.float32
    ids_T1 = torch.repeat_interleave(torch.arange(len(loads)), torch.tensor(loads)).unsqueeze(1)
    down_proj = torch.zeros(len(loads), 2, 3, dtype=dtype)
    inputs = [torch.zeros(len(ids_T1), 2, dtype=dtype), torch.ones(ids_T1.shape), down_proj, down_proj]
    assert lay_out(inputs, ids_T1, padded=False).n_rows <= most_rows(ids_T1, down_proj)


def test_wrong_ids_are_said_from_within_the_graph():
    hidden_TD, ids_TK, *rest = draw_case(4, 4, 3, 3, 2)
    ids_TK[0, 0] = 7
    with pytest.raises(ValueError, match=r"topk_ids_TK runs from \d to 7 with 3 experts"):
        compiled(PATHS["fused"])(hidden_TD, ids_TK, *rest)
