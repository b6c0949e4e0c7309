"""Each lever of a tile leaves the result as it is: against the naive twins, and against the plain kernels."""

import itertools

import pytest
import torch
import triton
import triton.language as tl
from kernel_cases import EDGES, LIMITS, assert_close, draw_case

from moe_lessons.kernels.common import descriptor, share
from moe_lessons.kernels.plan import make_plan
from moe_lessons.kernels.pre_gradient import pre_gradient, pre_gradient_naive
from moe_lessons.kernels.product import product, product_naive
from moe_lessons.kernels.tiles import INTERPRETER, Tile
from moe_lessons.kernels.traffic import count_traffic
from moe_lessons.kernels.up import up, up_naive
from moe_lessons.kernels.weight_gradient import weight_gradient

PLAIN = INTERPRETER.up
# T, D, F, E, K, crowd: rows of fp32 start on 16 bytes, of 16-bit floats too; neither D nor F is whole tiles.
ALIGNED = {
    "D and F above one tile": (37, 40, 24, 4, 2, None),
    "D and F below one tile, prime E": (19, 8, 8, 5, 3, None),
    "fewer tokens than a block, most experts empty": (2, 24, 40, 11, 2, None),
    "all on one expert": (35, 16, 48, 3, 1, 1),
    "one token": (1, 8, 16, 6, 3, None),
}
EACH_ALIGNED = pytest.mark.parametrize("sizes", ALIGNED.values(), ids=ALIGNED.keys())
LEVERS = [
    {"group": 2},
    {"group": 3},
    {"group": 50},
    {"tma": True},
    {"tma": True, "group": 2},
    {"persistent": 1},
    {"persistent": 2, "group": 3},
    {"tma": True, "persistent": 1, "group": 2},
]


def named(levers):
    return ", ".join(f"{name}={value}" for name, value in levers.items())


def results(case, tile):
    """Of every kernel that takes these levers, what it computes and what its twin does in fp64."""
    hidden_TD, ids_TK, weights_TK, gate_up, down = case
    plan = make_plan(ids_TK, down.shape[0], tile.m)
    exact = [tensor.double() for tensor in (hidden_TD, weights_TK, gate_up, down)]
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, PLAIN, store_pre=True)
    found = {"up": (up(hidden_TD, gate_up, plan, tile, store_pre=True), up_naive(exact[0], exact[2], plan))}
    if not tile.persistent:
        found["down"] = (
            (product(act_SF, down, plan, tile),),
            (product_naive(act_SF.double(), exact[3], plan),),
        )
        found["hidden_gradient"] = (
            (product(pre_S2F, gate_up.mT, plan, tile),),
            (product_naive(pre_S2F.double(), exact[2].mT, plan),),
        )
    if not tile.persistent and not tile.tma:
        found["pre_gradient"] = (
            pre_gradient(hidden_TD, down, weights_TK, pre_S2F, plan, tile),
            pre_gradient_naive(exact[0], exact[3], exact[1], pre_S2F.double(), plan),
        )
    return found


@EACH_ALIGNED
@pytest.mark.parametrize("levers", LEVERS, ids=named)
def test_levers_change_nothing(levers, sizes):
    case = draw_case(*sizes, dtype=torch.float32)
    plain = results(case, PLAIN)
    for name, (mine, twin) in results(case, PLAIN._replace(**levers)).items():
        assert_close(mine, twin, LIMITS[torch.float32], [name] * len(mine))
        assert all(torch.equal(*pair) for pair in zip(mine, plain[name][0], strict=True)), name


@pytest.mark.parametrize("edge", [name for name in EDGES if name != "no token"])  # no row, no launch
@pytest.mark.parametrize("levers", [{"group": 2}, {"persistent": 1}], ids=named)
def test_levers_without_descriptors_take_any_size(levers, edge):
    case = draw_case(*EDGES[edge], dtype=torch.float32)
    for name, (mine, twin) in results(case, PLAIN._replace(**levers)).items():
        assert_close(mine, twin, LIMITS[torch.float32], [name] * len(mine))


@pytest.mark.parametrize("dtype", list(LIMITS), ids=str)
@pytest.mark.parametrize("levers", [{"group": 2}, {"tma": True, "persistent": 1}, {"tma": True}], ids=named)
def test_levers_in_each_dtype(levers, dtype):
    case = draw_case(*ALIGNED["D and F above one tile"], dtype=dtype)
    for name, (mine, twin) in results(case, Tile(16, 32, 16, 4, 1, **levers)).items():
        assert_close(mine, twin, LIMITS[dtype], [name] * len(mine))
        with pytest.raises(AssertionError, match="relative error"):
            assert_close([torch.zeros_like(x) for x in mine], twin, LIMITS[dtype], [name] * len(mine))


@EACH_ALIGNED
@pytest.mark.parametrize("levers", LEVERS, ids=named)
def test_levers_touch_their_tensors_only_and_write_each_element_once(levers, sizes):
    written = ("act_SF", "pre_S2F", "out_SN", "d_pre_S2F", "weighted_act_SF", "d_weight_parts_SP")
    hidden_TD, ids_TK, weights_TK, gate_up, down = draw_case(*sizes, dtype=torch.float32)
    tile = PLAIN._replace(**levers)
    plan = make_plan(ids_TK, down.shape[0], tile.m)
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, PLAIN, store_pre=True)
    calls = [lambda: up(hidden_TD, gate_up, plan, tile, store_pre=True)]
    if not tile.persistent:
        calls += [lambda: product(act_SF, down, plan, tile), lambda: product(pre_S2F, gate_up.mT, plan, tile)]
    if not tile.persistent and not tile.tma:
        calls += [lambda: pre_gradient(hidden_TD, down, weights_TK, pre_S2F, plan, tile)]
    for call in calls:
        with count_traffic() as moved:
            call()
        for name in moved.tensors:
            is_output = name.split(".")[-1] in written and not (moved.reads(name) > 0).any()
            assert (moved.writes(name) == (1 if is_output else 0)).all(), name


def test_a_value_beside_a_block_is_kept_out():
    """Where a block of a descriptor reaches past D or into the next expert, nothing of it gets into a sum."""
    hidden_TD, _, _, gate_up, down = draw_case(20, 24, 40, 3, 1, dtype=torch.float32)
    ids_TK = torch.arange(20).remainder(2).mul(2).reshape(20, 1)  # expert 1 has no row
    tile = PLAIN._replace(tma=True)
    plan = make_plan(ids_TK, 3, tile.m)
    gate_up[1], down[1] = torch.nan, torch.inf
    act_SF, pre_S2F = up(hidden_TD, gate_up, plan, tile, store_pre=True)
    assert act_SF.isfinite().all()
    assert product(act_SF, down, plan, tile).isfinite().all()
    assert product(pre_S2F, gate_up.mT, plan, tile).isfinite().all()


def test_rows_that_do_not_start_on_16_bytes_are_refused():
    hidden_TD, ids_TK, _, gate_up, down = draw_case(19, 21, 13, 5, 3, dtype=torch.float32)
    tile = PLAIN._replace(tma=True)
    plan = make_plan(ids_TK, 5, tile.m)
    with pytest.raises(ValueError, match=r"tile.tma=True: gate_up_E2FD has rows of 84 bytes"):
        up(hidden_TD, gate_up, plan, tile, store_pre=False)
    with pytest.raises(ValueError, match="rows_SK has rows of 52 bytes"):
        product(torch.zeros(57, 13), down, plan, tile)
    off_by_one = torch.zeros(100)[1:9].view(2, 4)
    with pytest.raises(ValueError, match=r"matrix has rows of 16 bytes from address \d+ on.*use a tile with"):
        descriptor(off_by_one, [1, 4], "matrix")


@pytest.mark.parametrize(
    ("kernel", "lever", "complaint"),
    [
        ("product", {"persistent": 1}, "tile.persistent=1: this kernel has group, tma; leave persistent=0"),
        ("pre_gradient", {"tma": True}, "tile.tma=True: this kernel has group; leave tma=False"),
        ("weight_gradient", {"group": 4}, "tile.group=4: this kernel has no levers; leave group=1"),
    ],
)
def test_a_lever_that_a_kernel_lacks_is_refused(kernel, lever, complaint):
    hidden_TD, ids_TK, weights_TK, gate_up, down = draw_case(5, 8, 8, 2, 1, dtype=torch.float32)
    tile = PLAIN._replace(**lever)
    plan = make_plan(ids_TK, 2, tile.m)
    pre_S2F = torch.zeros(5, 16)
    calls = {
        "product": lambda: product(pre_S2F, gate_up.mT, plan, tile),
        "pre_gradient": lambda: pre_gradient(hidden_TD, down, weights_TK, pre_S2F, plan, tile),
        "weight_gradient": lambda: weight_gradient(
            hidden_TD, pre_S2F, plan, tile, torch.empty_like(gate_up).mT
        ),
    }
    with pytest.raises(ValueError, match=complaint):
        calls[kernel]()


@triton.jit
def shares_kernel(out_N2, n_pieces, GROUP_M: tl.constexpr):
    task = tl.program_id(0)
    block, piece = share(task, tl.num_programs(0), n_pieces, GROUP_M)
    tl.store(out_N2 + 2 * task, block)
    tl.store(out_N2 + 2 * task + 1, piece)


@pytest.mark.parametrize("group", [1, 2, 3, 8])
def test_every_piece_is_somebodys_and_groups_take_turns(group):
    for n_blocks, n_pieces in ((1, 1), (7, 1), (1, 5), (6, 4), (7, 5)):
        out_N2 = torch.empty(n_blocks * n_pieces, 2, dtype=torch.int32)
        shares_kernel[(n_blocks * n_pieces,)](out_N2, n_pieces, GROUP_M=group)
        in_order = [
            (block, piece)
            for first in range(0, n_blocks, group)
            for piece in range(n_pieces)
            for block in range(first, min(first + group, n_blocks))
        ]
        if group == 1:
            in_order = list(itertools.product(range(n_blocks), range(n_pieces)))
        assert out_N2.tolist() == [list(pair) for pair in in_order]
