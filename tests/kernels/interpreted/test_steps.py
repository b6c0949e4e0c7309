"""Each kernel against its naive twin in fp64, and what it may touch."""

import pytest
import torch
from kernel_cases import EDGES, LIMITS, assert_close, draw_case

from moe_lessons.kernels.combine import combine, combine_naive
from moe_lessons.kernels.limits import costs
from moe_lessons.kernels.plan import make_plan, make_plan_naive
from moe_lessons.kernels.pre_gradient import pre_gradient, pre_gradient_naive
from moe_lessons.kernels.product import product, product_naive
from moe_lessons.kernels.tiles import INTERPRETER, Tile
from moe_lessons.kernels.traffic import count_traffic
from moe_lessons.kernels.up import up, up_naive
from moe_lessons.kernels.weight_gradient import weight_gradient, weight_gradient_naive

TILE = INTERPRETER.up
DTYPES = list(LIMITS)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)
EACH_EDGE = pytest.mark.parametrize("sizes", EDGES.values(), ids=EDGES.keys())


def steps(case, tile):
    """Return, for each kernel, its outputs and its twin's on the same inputs in fp64."""
    hidden_TD, ids_TK, weights_TK, gate_up, down = case
    exact = [tensor.double() for tensor in (hidden_TD, weights_TK, gate_up, down)]
    plan = make_plan(ids_TK, down.shape[0], tile.m)
    grad_TD = hidden_TD.flip(0)  # any rows will do
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, tile, store_pre=True)
    results_SD = product(act_SF, down, plan, tile)
    d_pre, weighted_act, d_weights = pre_gradient(grad_TD, down, weights_TK, pre_S2F, plan, tile)
    d_down, d_gate_up = torch.empty_like(down), torch.empty_like(gate_up)
    return {
        "up": ((act_SF, pre_S2F), up_naive(exact[0], exact[2], plan)),
        "product": (results_SD, product_naive(act_SF.double(), exact[3], plan)),
        "product transposed": (
            product(pre_S2F, gate_up.mT, plan, tile),
            product_naive(pre_S2F.double(), exact[2].mT, plan),
        ),
        "combine": (
            combine(results_SD, weights_TK, plan),
            combine_naive(results_SD.double(), exact[1], plan),
        ),
        "combine plain": (combine(results_SD, None, plan), combine_naive(results_SD.double(), None, plan)),
        "pre_gradient": (
            (d_pre, weighted_act, d_weights),
            pre_gradient_naive(grad_TD.double(), exact[3], exact[1], pre_S2F.double(), plan),
        ),
        "weight_gradient": (
            weight_gradient(grad_TD, act_SF, plan, tile, out_EMN=d_down),
            weight_gradient_naive(grad_TD.double(), act_SF.double(), plan),
        ),
        "weight_gradient transposed": (
            weight_gradient(hidden_TD, pre_S2F, plan, tile, out_EMN=d_gate_up.mT),
            weight_gradient_naive(hidden_TD.double(), pre_S2F.double(), plan),
        ),
    }


@EACH_EDGE
def test_plan_equals_its_twin(sizes):
    ids_TK = draw_case(*sizes, dtype=torch.float32)[1]
    for block_rows in (1, 4, 16):
        mine = make_plan(ids_TK, sizes[3], block_rows)
        naive = make_plan_naive(ids_TK, sizes[3], block_rows)
        assert mine.top_k == naive.top_k
        for field in ("slots_S", "rows_S", "ends_E"):
            assert torch.equal(getattr(mine, field), getattr(naive, field)), field
        is_spare = naive.blocks_G2[:, 0] < 0
        assert torch.equal(mine.blocks_G2[:, 0], naive.blocks_G2[:, 0])
        assert torch.equal(mine.blocks_G2[~is_spare], naive.blocks_G2[~is_spare])


def test_plan_of_many_experts():
    ids_TK = torch.randint(300, (40, 2), generator=torch.Generator().manual_seed(0))  # more than uint8 holds
    mine, naive = make_plan(ids_TK, 300, 2), make_plan_naive(ids_TK, 300, 2)
    assert all(torch.equal(*pair) for pair in zip(mine[:4], naive[:4], strict=True))


@EACH_EDGE
def test_each_kernel_equals_its_twin(sizes):
    for name, (mine, twin) in steps(draw_case(*sizes, dtype=torch.float32), TILE).items():
        mine, twin = (pair if isinstance(pair, tuple) else (pair,) for pair in (mine, twin))
        assert_close(mine, twin, LIMITS[torch.float32], [name] * len(mine))


@pytest.mark.parametrize("tile", [Tile(16, 32, 16, 4, 1), Tile(32, 16, 8, 4, 1)], ids=["wide", "tall"])
def test_tiles_need_not_be_square(tile):
    case = draw_case(*EDGES["odd D and F, prime E"], dtype=torch.float32)
    for name, (mine, twin) in steps(case, tile).items():
        mine, twin = (pair if isinstance(pair, tuple) else (pair,) for pair in (mine, twin))
        assert_close(mine, twin, LIMITS[torch.float32], [name] * len(mine))


@EACH_DTYPE
def test_each_kernel_in_each_dtype(dtype):
    case = draw_case(*EDGES["sizes above one tile"], dtype=dtype)
    for name, (mine, twin) in steps(case, TILE).items():
        mine, twin = (pair if isinstance(pair, tuple) else (pair,) for pair in (mine, twin))
        assert_close(mine, twin, LIMITS[dtype], [name] * len(mine))
        zeros = [torch.zeros_like(tensor) for tensor in mine]
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(zeros, twin, LIMITS[dtype], [name] * len(mine))


@EACH_EDGE
def test_kernels_touch_their_tensors_only_and_write_each_element_once(sizes):
    written = ("rows_S", "blocks_G2", "act_SF", "pre_S2F", "out_SN", "out_TD", "out_EMN")
    written += ("d_pre_S2F", "weighted_act_SF", "d_weight_parts_SP")
    with count_traffic() as moved:  # raises where an address is none of the launch's tensors
        steps(draw_case(*sizes, dtype=torch.float32), TILE)
    for name in moved.tensors:
        times = 1 if name.split(".")[-1] in written else 0
        assert (moved.writes(name) == times).all(), name


def test_pre_activations_are_stored_for_training_only():
    hidden_TD, ids_TK, _, gate_up, _ = draw_case(19, 21, 13, 5, 3, dtype=torch.float32)
    plan = make_plan(ids_TK, 5, TILE.m)
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, TILE, store_pre=False)
    assert pre_S2F.shape == (0, 26)
    assert torch.equal(act_SF, up(hidden_TD, gate_up, plan, TILE, store_pre=True)[0])


def test_traffic_is_the_least_where_one_tile_covers_all():
    """The bytes that `limits` counts are what the kernels move when nothing has to be read twice."""
    tile, sizes = Tile(16, 16, 16, 4, 1), (30, 16, 16, 3, 1)
    wide = Tile(16, 16, 32, 4, 1)  # the gradient of the tokens sums 2F at once
    tall = Tile(16, 32, 16, 4, 1)  # the gradient of gate and up is 2F wide
    hidden_TD, _, weights_TK, gate_up, down = draw_case(*sizes, dtype=torch.float32)
    plan = make_plan(torch.arange(30).remainder(3).reshape(30, 1), 3, 16)
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, tile, store_pre=True)
    d_pre, _, _ = pre_gradient(hidden_TD, down, weights_TK, pre_S2F, plan, tile)
    calls = {
        "up": lambda: up(hidden_TD, gate_up, plan, tile, store_pre=True),
        "down": lambda: product(act_SF, down, plan, tile),
        "combine": lambda: combine(act_SF, weights_TK, plan),
        "pre_gradient": lambda: pre_gradient(hidden_TD, down, weights_TK, pre_S2F, plan, tile),
        "hidden_gradient": lambda: product(d_pre, gate_up.mT, plan, wide),
        "hidden_combine": lambda: combine(act_SF, None, plan),
        "gate_up_gradient": lambda: weight_gradient(
            hidden_TD, d_pre, plan, tall, out_EMN=torch.empty_like(gate_up).mT
        ),
        "down_gradient": lambda: weight_gradient(
            hidden_TD, act_SF, plan, tile, out_EMN=torch.empty_like(down)
        ),
    }
    least = costs(*sizes, itemsize=4)
    small = ("slots_S", "rows_S", "ends_E", "blocks_G2", "weights_S", "d_weight_parts_SP")
    assert list(calls) == list(least)
    for name, call in calls.items():
        with count_traffic() as moved:
            call()
        bytes_moved = sum(
            int(moved.reads(tensor).sum() + moved.writes(tensor).sum()) * 4
            for tensor in moved.tensors
            if tensor not in small
        )
        assert bytes_moved == least[name].bytes, name
