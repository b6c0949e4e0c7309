"""Each compiled kernel beside its twin, and the layer as a whole, on a GPU; skipped where there is none."""

import pytest
import torch
from interpreted.test_steps import TILE, steps
from kernel_cases import EDGES, LIMITS, assert_close, draw_case, oracle, relative_error, run

from moe_lessons import MoELayer
from moe_lessons.dispatch import moe_unbind
from moe_lessons.kernels import moe_triton, tiles

pytestmark = [
    pytest.mark.skipif(
        not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)),
        reason="needs a CUDA GPU of compute capability 8.0 or higher",
    ),
    pytest.mark.slow,
]
EACH_DTYPE = pytest.mark.parametrize("dtype", list(LIMITS), ids=str)
WITH_ROWS = {name: sizes for name, sizes in EDGES.items() if sizes[0] > 0}  # without rows none is launched
SIZES = (256, 384, 16, 4)  # D, F, E, K of the layer as a whole


@EACH_DTYPE
@pytest.mark.parametrize("tile", [TILE, tiles.FP32.down], ids=["16", "64"])
@pytest.mark.parametrize("sizes", WITH_ROWS.values(), ids=WITH_ROWS.keys())
def test_each_kernel_equals_its_twin(sizes, tile, dtype):
    for name, (mine, twin) in steps(draw_case(*sizes, dtype=dtype, device="cuda"), tile).items():
        mine, twin = (pair if isinstance(pair, tuple) else (pair,) for pair in (mine, twin))
        assert_close(mine, twin, LIMITS[dtype], [name] * len(mine))
        for zero, exact in zip(map(torch.zeros_like, mine), twin, strict=True):
            assert exact.norm() == 0 or relative_error(zero, exact) > LIMITS[dtype], name


@EACH_DTYPE
@pytest.mark.parametrize("sizes", EDGES.values(), ids=EDGES.keys())
def test_edges_in_each_dtype_and_zeros_do_not_pass(sizes, dtype):
    case = draw_case(*sizes, dtype=dtype, device="cuda")
    mine, exact = run(moe_triton, case), oracle(case, moe_unbind)
    assert_close(mine, exact, LIMITS[dtype])
    if sizes[0] > 0:
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(list(map(torch.zeros_like, mine)), exact, LIMITS[dtype])


def make_layer(seed=0):
    return MoELayer(*SIZES, generator=torch.Generator().manual_seed(seed))


def tokens(seed, n_tokens=1000):
    return torch.randn(n_tokens, SIZES[0], generator=torch.Generator().manual_seed(seed))


def results(layer, hidden_TD, call=None):
    """The layer's output, and the gradients of the tokens and of all weights."""
    hidden_TD = hidden_TD.clone().requires_grad_()
    output_TD = (call or layer)(hidden_TD).hidden
    upstream_TD = tokens(99, len(hidden_TD)).to(output_TD)
    gradients = torch.autograd.grad(output_TD, [hidden_TD, *layer.parameters()], upstream_TD)
    return [output_TD.detach(), *gradients]


def test_the_layer_takes_the_kernels_and_equals_itself_on_the_cpu():
    here, there, hidden_TD = make_layer(), make_layer().cuda(), tokens(1)
    assert there.path_for(hidden_TD.cuda()) == "triton"
    mine, exact = results(there, hidden_TD.cuda()), results(here.double(), hidden_TD.double())
    names = ["output", "d hidden", *(name for name, _ in here.named_parameters())]
    assert_close([tensor.cpu() for tensor in mine], exact, 1e-4, names)
    assert torch.equal(there(hidden_TD.cuda()).routing.topk_ids_TK.cpu(), here(hidden_TD.double())[1][1])


def test_under_autocast_the_layer_equals_itself_on_the_cpu_as_far_as_bf16_goes():
    here, there, hidden_TD = make_layer(), make_layer().cuda(), tokens(1)
    with torch.autocast("cuda", torch.bfloat16):
        assert there.path_for(hidden_TD.cuda()) == "triton"
        mine = results(there, hidden_TD.cuda())
    exact = results(here.double(), hidden_TD.double())
    assert mine[0].dtype == torch.float32
    assert relative_error(mine[0].cpu(), exact[0]) < LIMITS[torch.bfloat16]
    assert all(tensor.isfinite().all() for tensor in mine)


def test_the_layer_repeats_bit_for_bit():
    layer, hidden_TD = make_layer().cuda(), tokens(1).cuda()
    first = results(layer, hidden_TD)
    for _ in range(3):
        assert all(torch.equal(*pair) for pair in zip(results(layer, hidden_TD), first, strict=True))


def test_the_host_never_waits_for_the_layer():
    layer, hidden_TD = make_layer().cuda(), tokens(1).cuda().requires_grad_()
    upstream_TD = torch.randn_like(hidden_TD)
    layer(hidden_TD).hidden.backward(upstream_TD)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        layer(hidden_TD).hidden.backward(upstream_TD)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_cuda_graph_of_the_layer_replays_with_other_tokens():
    layer, other_TD = make_layer().cuda(), tokens(2).cuda()
    static_TD, upstream_TD = tokens(1).cuda().requires_grad_(), tokens(99).cuda()

    def both():
        output_TD = layer(static_TD).hidden
        return [output_TD, *torch.autograd.grad(output_TD, [static_TD, *layer.parameters()], upstream_TD)]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            both()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both()
    with torch.no_grad():
        static_TD.copy_(other_TD)
    graph.replay()
    assert all(torch.equal(*pair) for pair in zip(captured, results(layer, other_TD), strict=True))


def test_torch_compile_of_the_layer():
    layer, hidden_TD = make_layer().cuda(), tokens(1).cuda()
    mine, eager = results(layer, hidden_TD, torch.compile(layer)), results(layer, hidden_TD)
    assert_close(mine, eager, 1e-4, ["result"] * len(mine))
