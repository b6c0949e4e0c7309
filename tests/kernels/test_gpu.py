"""The same kernels compiled, on a GPU: these tests run where one is, and are skipped elsewhere."""

import pytest
import torch
from kernel_cases import EDGES, LIMITS, assert_close, draw_case, oracle, run

from moe_lessons.dispatch import moe_unbind
from moe_lessons.kernels import moe, moe_triton, tiles, triton_supported
from moe_lessons.kernels.plan import make_plan
from moe_lessons.kernels.up import up

pytestmark = [
    pytest.mark.skipif(
        not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)),
        reason="needs a CUDA GPU of compute capability 8.0 or higher",
    ),
    pytest.mark.slow,
]
LAYER = (1000, 256, 384, 16, 4)
EACH_DTYPE = pytest.mark.parametrize("dtype", list(LIMITS), ids=str)
ALL_TILES = {name: value for name, value in vars(tiles).items() if isinstance(value, tiles.Tiles)}
GROUPED = tiles.HOPPER._asdict()
for field in ("up", "down", "pre_gradient", "hidden_gradient"):
    GROUPED[field] = GROUPED[field]._replace(group=8, tma=field != "pre_gradient")
ALL_TILES["LEVERS"] = tiles.Tiles(**GROUPED | {"up": GROUPED["up"]._replace(persistent=1)})
ONLY_ON_HOPPER = ("HOPPER", "LEVERS")


def draw(*sizes, dtype=torch.bfloat16):
    return draw_case(*sizes, dtype=dtype, device="cuda")


@pytest.fixture(params=["from the table", "with all levers"])
def tiles_of_both_kinds(request, monkeypatch):
    """What launches differently: descriptors that the host fills in, and a grid of the GPU's size."""
    if request.param == "with all levers":
        if torch.cuda.get_device_capability()[0] != 9:
            pytest.skip("these tiles are for Hopper")
        monkeypatch.setattr(moe, "_tiles", lambda *_: ALL_TILES["LEVERS"])


def needs_memory(gigabytes):
    if torch.cuda.mem_get_info()[0] < gigabytes * 1e9:
        pytest.skip(f"needs {gigabytes} GB of free GPU memory")


@EACH_DTYPE
def test_equals_the_definition(dtype):
    case = draw(*LAYER, dtype=dtype)
    assert triton_supported(case[0]) == (True, "")
    mine, exact = run(moe_triton, case), oracle(case, moe_unbind)
    assert_close(mine, exact, LIMITS[dtype])
    with pytest.raises(AssertionError, match="relative error"):
        assert_close([torch.zeros_like(tensor) for tensor in mine], exact, LIMITS[dtype])


@pytest.mark.parametrize("sizes", EDGES.values(), ids=EDGES.keys())
def test_edges(sizes):
    case = draw(*sizes, dtype=torch.float32)
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        mine = run(moe_triton, case)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(mine, oracle(case, moe_unbind), LIMITS[torch.float32])


@EACH_DTYPE
@pytest.mark.parametrize("name", ALL_TILES)
def test_every_choice_of_tiles(name, dtype, monkeypatch):
    too_large = dtype == torch.float32 and name in ONLY_ON_HOPPER
    if too_large or (name in ONLY_ON_HOPPER and torch.cuda.get_device_capability()[0] != 9):
        pytest.skip("these tiles are for 16-bit floats on Hopper")
    monkeypatch.setattr(moe, "_tiles", lambda *_: ALL_TILES[name])
    case = draw(*LAYER, dtype=dtype)
    assert_close(run(moe_triton, case), oracle(case, moe_unbind), LIMITS[dtype])


@pytest.mark.parametrize(
    "levers",
    [{"group": 8}, {"persistent": 1}, {"tma": True}, {"tma": True, "persistent": 2, "group": 3}],
    ids=str,
)
def test_levers_do_not_change_what_up_computes(levers):
    """With several pieces for each program of the persistent grid. The sums are the same to a bit."""
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("these tiles are for Hopper")
    hidden_TD, ids_TK, _, gate_up, _ = draw(9000, 256, 384, 16, 4)
    plan = make_plan(ids_TK, 16, 128)
    plain = up(hidden_TD, gate_up, plan, tiles.HOPPER.up, store_pre=True)
    mine = up(hidden_TD, gate_up, plan, tiles.HOPPER.up._replace(**levers), store_pre=True)
    assert torch.equal(mine[1], plain[1])
    assert_close(mine[:1], plain[:1], LIMITS[torch.bfloat16], ("activations",))


@EACH_DTYPE
def test_repeats_bit_for_bit(dtype):
    case = draw(*LAYER, dtype=dtype)
    first = run(moe_triton, case)
    for _ in range(5):
        assert all(torch.equal(*pair) for pair in zip(run(moe_triton, case), first, strict=True))


def test_names_of_experts_do_not_matter_to_a_bit():
    hidden_TD, ids_TK, weights_TK, gate_up, down = draw(*LAYER)
    old_of_new = torch.randperm(16, generator=torch.Generator().manual_seed(1)).cuda()
    renamed = (hidden_TD, old_of_new.argsort()[ids_TK], weights_TK, gate_up[old_of_new], down[old_of_new])
    mine, theirs = run(moe_triton, (hidden_TD, ids_TK, weights_TK, gate_up, down)), run(moe_triton, renamed)
    assert all(torch.equal(*pair) for pair in zip(mine[:3], theirs[:3], strict=True))
    assert all(
        torch.equal(first[old_of_new], second) for first, second in zip(mine[3:], theirs[3:], strict=True)
    )


@pytest.mark.usefixtures("tiles_of_both_kinds")
def test_the_host_never_waits():
    case = draw(*LAYER)
    run(moe_triton, case)  # compiles
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    upstream_TD = torch.randn_like(leaves[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        moe_triton(*leaves).backward(upstream_TD)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("tiles_of_both_kinds")
def test_a_cuda_graph_replays_with_another_routing():
    static, other = draw(*LAYER), draw_case(*LAYER, 3, dtype=torch.bfloat16, seed=5, device="cuda")
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in static]
    differentiable = [leaf for leaf in leaves if leaf.requires_grad]
    upstream_TD = torch.randn(leaves[0].shape, generator=torch.Generator().manual_seed(99)).to(leaves[0])

    def both():
        output_TD = moe_triton(*leaves)
        return [output_TD, *torch.autograd.grad(output_TD, differentiable, upstream_TD)]

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
        for leaf, tensor in zip(leaves, other, strict=True):
            leaf.copy_(tensor)
    graph.replay()
    for mine, eager in zip(captured, run(moe_triton, other), strict=True):
        assert torch.equal(mine, eager)


@pytest.mark.usefixtures("tiles_of_both_kinds")
def test_torch_compile():
    case = draw(*LAYER)
    compiled = torch.compile(moe_triton, fullgraph=True)
    for mine, eager in zip(run(compiled, case), run(moe_triton, case), strict=True):
        assert torch.equal(mine, eager)


def test_more_than_two_to_the_31_pre_activations():
    needs_memory(24)
    n_tokens, d_expert, last = 140_000, 8192, 64
    assert n_tokens * 2 * d_expert > 2**31
    hidden_TD, ids_TK, weights_TK, gate_up, down = draw(n_tokens, 64, d_expert, 4, 1)
    ids_TK[-last:] = 3  # the last tokens fill the last rows
    leaves = [hidden_TD.requires_grad_(), ids_TK, weights_TK.requires_grad_(), gate_up, down]
    output_TD = moe_triton(*leaves)
    output_TD.backward(torch.ones_like(output_TD))
    exact = [
        leaf.detach()[-last:].double() if leaf.is_floating_point() else leaf[-last:] for leaf in leaves[:3]
    ]
    exact = [exact[0].requires_grad_(), exact[1], exact[2].requires_grad_(), gate_up.double(), down.double()]
    exact_TD = moe_unbind(*exact)
    exact_TD.backward(torch.ones_like(exact_TD))
    mine = (output_TD[-last:], leaves[0].grad[-last:], leaves[2].grad[-last:])
    theirs = (exact_TD, exact[0].grad, exact[2].grad)
    assert_close(mine, theirs, LIMITS[torch.bfloat16], ("output", "d hidden", "d weights"))


def test_more_than_two_to_the_31_weights():
    needs_memory(40)
    n_experts, d_model, d_expert = 36, 4096, 8192
    assert n_experts * 2 * d_expert * d_model > 2**31
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, device="cuda", dtype=torch.bfloat16)

    gate_up, down = normal(n_experts, 2 * d_expert, d_model), normal(n_experts, d_model, d_expert)
    gate_up, down = (weight.div_(64).requires_grad_() for weight in (gate_up, down))
    hidden_TD, weights_TK = normal(40, d_model), torch.ones(40, 1, device="cuda")
    ids_TK = torch.full((40, 1), n_experts - 1, device="cuda")
    output_TD = moe_triton(hidden_TD, ids_TK, weights_TK, gate_up, down)
    output_TD.backward(torch.ones_like(output_TD))
    last = [weight.detach()[-1:].double().requires_grad_() for weight in (gate_up, down)]
    exact_TD = moe_unbind(hidden_TD.double(), torch.zeros_like(ids_TK), weights_TK.double(), *last)
    exact_TD.backward(torch.ones_like(exact_TD))
    mine = (output_TD, gate_up.grad[-1:], down.grad[-1:])
    theirs = (exact_TD, last[0].grad, last[1].grad)
    assert_close(mine, theirs, LIMITS[torch.bfloat16], ("output", "d gate_up_proj", "d down_proj"))
    assert not gate_up.grad[:-1].any()
